"""Which examples an epoch has, in which order, and how many batches they make."""

import numpy as np
import tensorflow as tf

from keras_ncr.checks import check_bool, check_integer


def epoch_sampler(labels, num_classes, size=None, balanced=False):
    """Returns a function that draws the examples of an epoch."""
    num_examples = len(labels)
    size = check_size(num_examples, size)
    if not check_bool(balanced, "balanced"):
        return lambda seed: _shuffled(num_examples, seed)[:size]
    if size == num_examples:
        raise ValueError(
            "`balanced` needs an epoch of fewer examples than the data set has: "
            f"without repetition, all {num_examples} are as balanced as they are. "
            f"Received: balanced={balanced}, size={size}. Give a smaller size."
        )
    counts = np.bincount(labels, minlength=num_classes)
    first_of_class = np.cumsum(counts) - counts
    with tf.device("CPU:0"):
        labels = tf.constant(labels)
        quotas = tf.constant(balanced_counts(counts, size))
        first_of_class = tf.constant(first_of_class)

    def draw(seed):
        order = _shuffled(num_examples, seed)
        labels_in_order = tf.gather(labels, order)
        # Positions in the order, class by class; in a class, those that come first.
        positions = tf.argsort(labels_in_order, stable=True)
        classes = tf.gather(labels_in_order, positions)
        rank = tf.range(num_examples, dtype=tf.int64)
        rank -= tf.gather(first_of_class, classes)
        kept = tf.boolean_mask(positions, rank < tf.gather(quotas, classes))
        return tf.gather(order, tf.sort(kept))

    return draw


def check_size(num_examples, size):
    """Returns how many examples an epoch has, or raises if there are not as many."""
    if size is None:
        return num_examples
    if check_integer(size, "size", minimum=1) > num_examples:
        raise ValueError(
            f"An epoch can have at most the {num_examples} examples that there are. "
            f"Received: {size}. Give fewer steps per epoch, or a smaller batch."
        )
    return size


def steps_per_epoch(
    num_examples: int, batch_size: int, drop_remainder: bool = False
) -> int:
    """Returns the number of batches in an epoch.

    Args:
        num_examples: Int, at least 1.
        batch_size: Int, at least 1.
        drop_remainder: Boolean. Whether a smaller last batch is left out. Defaults to
            `False`, as in `tf.data.Dataset.batch`.

    Returns:
        Int, at least 1.

    Raises:
        ValueError: If an argument is below 1, or if no batch would be full and smaller
            ones are left out.

    Example:
    >>> keras_ncr.pipelines.steps_per_epoch(1437, 256)
    6
    """
    check_integer(num_examples, "num_examples", minimum=1)
    check_integer(batch_size, "batch_size", minimum=1)
    if not drop_remainder:
        return -(-num_examples // batch_size)
    if batch_size > num_examples:
        raise ValueError(
            f"`batch_size` must be at most {num_examples}, the number of examples, "
            f"with `drop_remainder=True`. Received: batch_size={batch_size}. Lower it, "
            "or keep the smaller last batch (`drop_remainder=False`)."
        )
    return num_examples // batch_size


def balanced_counts(counts, size):
    """Returns how many examples each class gives to the most even draw."""
    counts = np.asarray(counts, np.int64)
    levels = np.arange(counts.max() + 1)
    # The highest level at which all classes can be cut without exceeding the size.
    sums = np.cumsum(np.bincount(counts)[::-1])[::-1]  # classes with at least so many
    total_at_level = np.concatenate([[0], np.cumsum(sums[1:])])
    level = levels[total_at_level <= size].max()
    quotas = np.minimum(counts, level)
    has_more = np.flatnonzero(counts > level)
    quotas[has_more[: size - quotas.sum()]] += 1
    return quotas


def _shuffled(num_examples, seed):
    """All indices in the order of a seed."""
    return tf.random.experimental.stateless_shuffle(
        tf.range(num_examples, dtype=tf.int64), seed
    )
