"""A loss that is not finite ends a trial, with the step and its examples named."""

import keras
import numpy as np

# How many examples a message names.
_NUM_NAMED = 5


class NonFiniteLoss(RuntimeError):
    """The loss of a trial became infinite or NaN."""

    def __init__(self, message, place):
        super().__init__(message)
        self.place = place


class FailAtNonFiniteLoss(keras.callbacks.Callback):
    """Ends a trial at the first loss that is not finite."""

    def __init__(self, steps_per_epoch, learning_rate_at, examples_at):
        super().__init__()
        self.steps_per_epoch = steps_per_epoch
        self.learning_rate_at = learning_rate_at
        self.examples_at = examples_at

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        loss = (logs or {}).get("loss", 0.0)
        # Keras reports the mean of the epoch so far: it was finite before this step.
        if not np.isfinite(loss):
            place = self.place(batch)
            examples = self.examples_at(self.epoch, batch)
            raise NonFiniteLoss(
                f"The loss became {loss} in epoch {place['epoch']}, {_words(place)}. "
                f"The batch held {_named(examples)}. Look at these, or lower the "
                "learning rate.",
                {**place, **examples},
            )

    def on_epoch_end(self, epoch, logs=None):
        # The last step may have ruined the weights: no training loss shows that.
        loss = (logs or {}).get("val_loss", 0.0)
        if not np.isfinite(loss):
            place = self.place(self.steps_per_epoch - 1)
            raise NonFiniteLoss(
                f"The loss became {loss} in epoch {place['epoch']}, on the test images "
                f"after {_words(place)}. Lower the learning rate.",
                place,
            )

    def place(self, batch):
        """Returns the place of a step, counted from 1, and its learning rate."""
        overall = self.epoch * self.steps_per_epoch + batch
        return {
            "epoch": self.epoch + 1,
            "step": batch + 1,
            "step_of_run": overall + 1,
            "learning_rate": float(self.learning_rate_at(overall)),
        }


def _words(place):
    """Returns a step in words."""
    return (
        f"step {place['step']} ({place['step_of_run']} of the run), at a learning rate "
        f"of {place['learning_rate']:.4g}"
    )


def _named(examples):
    """Returns the first of some examples in words."""
    indices = examples["indices"]
    ids = examples.get("ids")
    names = [
        f"{index}" if ids is None else f"{index} ({ids[position]!r})"
        for position, index in enumerate(indices[:_NUM_NAMED])
    ]
    num_others = len(indices) - len(names)
    others = f" and {num_others} others, all in result.json" if num_others else ""
    return f"the examples {', '.join(names)}{others}"
