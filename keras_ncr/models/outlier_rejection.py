"""Leaves examples of no class out of what is learned from labels."""

import keras
import numpy as np
import tensorflow as tf

from keras_ncr.backbones import HeteroscedasticClassifier
from keras_ncr.distribution import replicas
from keras_ncr.models.auto_weight import AUTO, number_or_auto
from keras_ncr.models.example_memory import ExampleMemory, index_of
from keras_ncr.models.unlabeled import without_labels

# What an example's mean keeps at each visit, as ELR's targets do, and the threshold at
# each step.
MOMENTUM, THRESHOLD_MOMENTUM = 0.7, 0.95
# As long as more have less energy than lies halfway between two classes, by the median,
# classes are not yet told apart.
LARGEST_SHARE = 0.25


@keras.saving.register_keras_serializable(package="keras_ncr")
class OutlierRejection(keras.layers.Layer):
    """Layer that finds the examples which a model gives no class much of its weight.

    It keeps of each example the moving average of its energy over the visits,

        energy_i = log(sum_c exp(logits_ic))

    and of the batches the moving average of a threshold. Networks fit what their
    classes share first. What belongs to none gets small logits in all of them, also
    where its label is learned by heart later on. From the second epoch on examples
    below the threshold are left out, as if they had no label; one that rises above it
    comes back. The threshold is the quantile below which the expected share of the
    energies lies, or, with `"auto"`, a low energy halfway between two classes: the
    first quartile of

        log(sum_c exp((logits_ic + logits_jc) / 2))

    over neighbors i and j in a batch of which the most probable classes differ. That
    average reaches back as far as those of the examples. As long as more than a quarter
    of a batch lies below the median of these, none is left out.

    Args:
        share: Float above 0, below 1: the expected share of outliers; or `"auto"`.
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
          score; its average over the training, both thresholds, and what is done with
          them, are ours.

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
        self.share = number_or_auto(share, "reject_outliers", "a share")
        # Averages, and the weights that they have so far.
        self.energies = ExampleMemory(2, num_examples, name="energies")
        self.threshold, self.num_seen, self.share_below = (
            replicas.add_state(self, name, [])
            for name in ("threshold", "num_seen", "share_below")
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
        if self.share == AUTO:
            is_due &= tf.convert_to_tensor(self.share_below) <= LARGEST_SHARE
        return without_labels(y, is_outlier & is_due)

    def update(self, logits, y):
        """Counts a batch, once, after all replicas have been called."""
        moved = self.moved(logits, y)
        self.energies.write(index_of(y), moved)
        energies, logits = energies_of(moved), tf.cast(logits, "float32")
        if replicas.has_other_replicas():
            energies = replicas.gather_replicas(energies)
            logits = replicas.gather_replicas(logits)
        epochs = tf.cast(tf.size(energies), "float32") / self.energies.num_examples
        num_seen = self.num_seen + epochs
        threshold = tf.convert_to_tensor(self.threshold)
        if self.share == AUTO:
            low, median = energies_between_classes(logits)
            value = tf.where(tf.math.is_finite(low), low, threshold)
            # That of an example's average, which decays once an epoch.
            weight = (1 - MOMENTUM**epochs) / (1 - MOMENTUM**num_seen)
            is_below = tf.reduce_logsumexp(logits, axis=1) < median
            below = tf.reduce_mean(tf.cast(is_below, "float32"))
            self.share_below.assign(below * weight + self.share_below * (1 - weight))
        else:
            largest = tf.cast(tf.size(energies) - 1, "float32")
            value = tf.sort(energies)[tf.cast(self.share * largest, "int32")]
            weight = tf.where(self.num_seen > 0, 1 - THRESHOLD_MOMENTUM, 1.0)
        self.threshold.assign(threshold + weight * (value - threshold))
        self.num_seen.assign(num_seen)

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


def energies_between_classes(logits):
    """Returns first quartile and median of energies halfway between classes."""
    # Rows are compared with the one before. Both are infinite where no classes differ.
    others = tf.roll(logits, 1, axis=0)
    differ = tf.argmax(logits, axis=1) != tf.argmax(others, axis=1)
    energies = tf.reduce_logsumexp((logits + others) / 2, axis=1)
    energies = tf.sort(tf.where(differ, energies, np.inf))
    last = tf.maximum(tf.reduce_sum(tf.cast(differ, "int32")) - 1, 0)
    return energies[last // 4], energies[last // 2]


def checked_share(share, model):
    """Returns the share of outliers that a model is to leave out, or raises."""
    share = number_or_auto(share, "reject_outliers", "a share")
    if share == 1 or (share and not model.takes_unlabeled):
        raise ValueError(
            '`reject_outliers` must be "auto", or at least 0 and below 1, and 0 for '
            "models other than keras_ncr.NCRModel and keras_ncr.ELRModel. Received: "
            f"{share!r} for {type(model).__name__}."
        )
    if share and isinstance(model.classifier, HeteroscedasticClassifier):
        raise ValueError(
            '`classifier` must not be "heteroscedastic" with `reject_outliers`: its '
            "logits are log probabilities, which add up to the same for every example. "
            f'Received: reject_outliers={share!r}. Take "linear" or "cosine".'
        )
    return share
