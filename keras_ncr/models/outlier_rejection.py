"""Leaves examples of no class out of what is learned from labels."""

import keras
import numpy as np
import tensorflow as tf

from keras_ncr.checks import check_rate
from keras_ncr.distribution import replicas
from keras_ncr.models.example_memory import ExampleMemory, index_of
from keras_ncr.models.unlabeled import without_labels

# What an example's mean keeps at each visit, as ELR's targets do, and the threshold at
# each step.
MOMENTUM, THRESHOLD_MOMENTUM = 0.7, 0.95


@keras.saving.register_keras_serializable(package="keras_ncr")
class OutlierRejection(keras.layers.Layer):
    """Layer that finds the examples which a model gives no class much of its weight.

    It keeps of each example the moving average of its energy over the visits, and of
    the batches the quantile below which the expected share of outliers lies:

        energy_i = log(sum_c exp(logits_ic))

    Networks fit what their classes share first. What belongs to none gets small logits
    in all of them, also where its label is learned by heart later on. From the second
    epoch on examples below the quantile are left out, as if they had no label; one that
    rises above it comes back.

    Args:
        share: Float above 0, below 1: the expected share of outliers.
        num_examples: Int, or `None` if it is to be told later. Defaults to `None`.
        **kwargs: As in `keras.layers.Layer`.

    Call arguments:
        logits: Tensor of shape `(batch, num_classes)`.
        y: The batch's targets, a dict with the keys `"label"` and `"index"`.

    Returns:
        The targets, with -1, for no label, where examples are left out.

    Raises:
        ValueError: If the share is out of its range, or targets do not say which
            examples they are of.

    Reference:
        - [Liu et al., 2020](https://arxiv.org/abs/2010.03759), for the energy as a
          score; its average over the training, and what is done with it, are ours.

    Example:
    >>> from keras_ncr.models import OutlierRejection
    >>> layer = OutlierRejection(share=0.4, num_examples=4)
    >>> logits = np.array([[9.0, 0.0], [0.0, 9.0], [9.0, 0.0], [0.1, 0.0]], "float32")
    >>> y = {"label": np.array([0, 1, 0, 1]), "index": np.arange(4)}
    >>> layer.update(logits, y)  # The first epoch, of one batch.
    >>> layer(logits, y)["label"].numpy()[3], int(layer.scores().argmin())
    (np.int64(-1), 3)
    """

    def __init__(self, share, num_examples=None, **kwargs):
        super().__init__(**{**kwargs, "dtype": "float32"}, autocast=False)
        self.share = check_rate(share, "reject_outliers")
        # Averages, and the weights that they have so far.
        self.energies = ExampleMemory(2, num_examples, name="energies")
        self.threshold, self.num_seen = (
            self.add_weight(
                name=name,
                shape=[],
                initializer="zeros",
                trainable=False,
                autocast=False,
                aggregation="only_first_replica",
            )
            for name in ("threshold", "num_seen")
        )
        self.built = True

    def moved(self, logits, y):
        """Returns the averages of a batch's examples with this visit, `(batch, 2)`."""
        logits = tf.stop_gradient(tf.cast(logits, "float32"))
        visit = tf.reduce_logsumexp(logits, axis=1, keepdims=True)
        visit = tf.concat([visit, tf.ones_like(visit)], axis=1)
        return MOMENTUM * self.energies(index_of(y)) + (1 - MOMENTUM) * visit

    def call(self, logits, y):
        is_outlier = energies_of(self.moved(logits, y)) < self.threshold
        is_due = tf.convert_to_tensor(self.num_seen) > 0.999
        return without_labels(y, is_outlier & is_due)

    def update(self, logits, y):
        """Counts a batch, once, after all replicas have been called."""
        moved = self.moved(logits, y)
        self.energies.write(index_of(y), moved)
        energies = energies_of(moved)
        if replicas.has_other_replicas():
            energies = replicas.gather_replicas(energies)
        size = tf.cast(tf.size(energies), "float32")
        place = tf.cast(self.share * (size - 1), "int32")
        quantile = tf.sort(energies)[place]
        kept = tf.where(self.num_seen > 0, THRESHOLD_MOMENTUM, 0.0)
        self.threshold.assign(kept * self.threshold + (1 - kept) * quantile)
        self.num_seen.assign(self.num_seen + size / self.energies.num_examples)

    def scores(self):
        """Returns a score of each example: float32 `(num_examples,)`, low for outliers.

        The example of median energy scores 0.5, the one of the largest 1, as the
        audit's scores are of distances; one that was never seen scores 0.5.
        """
        rows = self.energies.rows.numpy()
        is_seen = rows[:, 1] > 0
        energies = rows[:, 0] / np.where(is_seen, rows[:, 1], 1)
        energies[~is_seen] = np.median(energies[is_seen]) if is_seen.any() else 0
        distances = energies.max() - energies
        typical = np.median(distances)
        return (1 / (1 + distances / (typical if typical > 0 else 1))).astype("float32")

    def get_config(self):
        return {
            **super().get_config(),
            "share": self.share,
            "num_examples": self.energies.num_examples,
        }


def energies_of(averages):
    """Returns energies from averages and their weights, `(batch,)`."""
    return tf.math.divide_no_nan(averages[:, 0], averages[:, 1])
