"""What models of two stages share: who tells them, and what they refuse."""

import keras

from keras_ncr.checks import check_rate


class SecondStage(keras.callbacks.Callback):
    """Tells a model of two stages, as an epoch begins, to which of them it belongs."""

    def on_epoch_begin(self, epoch, logs=None):
        start = self.model.first_stage_share * self.params["epochs"]
        self.model.is_second_stage.assign(epoch >= start)
        if start <= epoch < start + 1:
            self.model.begin_second_stage()


def check_num_epochs(num_epochs):
    """Returns the number of epochs that `fit` tells a callback, or raises for none."""
    if num_epochs is None:
        raise ValueError(
            "`callbacks` must be a list, or a CallbackList made with `epochs`: stages "
            "are shares of them. Received: no number of epochs."
        )
    return num_epochs


def check_first_stage_share(share):
    """Returns a share of epochs after which others are left, or raises."""
    checked = check_rate(share, "first_stage_share")
    if checked == 1:
        raise ValueError(
            "`first_stage_share` must be below 1. Received: first_stage_share="
            f"{share!r}, with which the second stage never comes in."
        )
    return checked
