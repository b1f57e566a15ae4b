"""Sets the weight of consistency in each epoch: none during warm-up."""

import keras

from keras_ncr.checks import check_rate


class ConsistencyWarmup(keras.callbacks.Callback):
    """Sets an `NCRModel`'s weight of the consistency loss as an epoch begins.

    `fit` adds one by itself. Pass a subclass with a `weight_at` of your own,
    in [0, 1], for another course of the weight over the epochs.

    Reference:
        - [Iscen et al., 2022](https://arxiv.org/abs/2202.02200), Section 4.1: the
          first e epochs without the term.

    Example:
    >>> class LinearRamp(keras_ncr.models.ConsistencyWarmup):
    ...     def weight_at(self, epoch):
    ...         return self.model.consistency_weight * min(1.0, (epoch + 1) / 10)
    """

    def weight_at(self, epoch: int) -> float:
        """Returns the weight in `epoch`, counted from 0: 0 during warm-up.

        Where a model sets its weight itself, with `consistency_weight="auto"`, it is
        the largest that it may come to in this epoch.
        """
        is_warm = epoch >= self.model.warmup_epochs
        return self.model.largest_consistency_weight if is_warm else 0.0

    def on_epoch_begin(self, epoch, logs=None):
        weight = check_rate(float(self.weight_at(epoch)), "weight_at(epoch)")
        if weight > 0 and self.model.consistency_weight == 0:
            raise ValueError(
                "`weight_at(epoch)` must be 0 for a model with consistency_weight=0, "
                f"which leaves the term out. Received: weight_at({epoch})={weight}. "
                "Give the model the largest weight that is to come."
            )
        self.model.current_consistency_weight.assign(weight)
