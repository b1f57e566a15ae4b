"""A replica's loss, as its share of the mean over the global batch.

Keras averages the compiled loss over the examples of each replica, and then over the
replicas. Where they hold unequal parts of a batch, as of the last one of an epoch, an
example of a smaller part weighs more. Here all examples weigh alike.
"""

import keras
import tensorflow as tf

from keras_ncr.distribution import replicas
from keras_ncr.distribution.targets import label_of, weight_of


def share_of_mean(supervised, loss, y, sample_weight, size, additional=0.0):
    """Returns this replica's share of the compiled loss over the global batch.

    Where all replicas hold as many examples it is what Keras returned, bit for bit.

    Args:
        supervised: Scalar: what `compute_loss` returned in this replica.
        loss: The compiled loss, for what it averages over.
        y: The batch's targets, as `compute_loss` was given them.
        sample_weight: As `compute_loss` was given it.
        size: Scalar: the number of examples in the global batch.
        additional: Scalar: the part of `supervised` that is no mean over examples.
            Defaults to 0.

    Returns:
        Scalar. The shares of all replicas add up to the loss of one device.

    Example:
    >>> from keras_ncr.distribution.shares import share_of_mean
    >>> float(share_of_mean(tf.constant(2.0), None, [0, 1], None, size=2.0))
    2.0
    """
    if not replicas.has_other_replicas():
        return supervised
    factor = tf.cast(relative_part(loss, y, sample_weight, size), supervised.dtype)
    # Written so that a factor of 1 changes no bit, and that of an empty part is 0.
    return supervised + (factor - 1) * (
        supervised - tf.cast(additional, supervised.dtype)
    )


def relative_part(loss, y, sample_weight, size):
    """Returns how many times as much as an equal part of the batch this replica has.

    Args:
        loss: As in `share_of_mean`, as all that follow.
        y: See there.
        sample_weight: See there.
        size: See there.

    Returns:
        Float32 scalar: 1 for an equal part, 0 for an empty one.

    Example:
    >>> from keras_ncr.distribution.shares import relative_part
    >>> float(relative_part(None, tf.constant([0, 1]), None, size=2.0))
    1.0
    """
    first, *_ = keras.tree.flatten(loss) or [None]
    reduction = getattr(first, "reduction", "sum_over_batch_size")
    ignored = getattr(first, "ignore_class", None)
    if reduction in ("sum", "none", None):
        return 1.0
    labels = tf.convert_to_tensor(label_of(y))
    part = tf.cast(tf.shape(labels)[0], "float32")
    is_weighted = reduction == "mean_with_sample_weight" and sample_weight is not None
    if ignored is not None or is_weighted:
        # The mean is over what counts, of which there may be more in one replica.
        counts = tf.ones_like(labels, "float32")
        if ignored is not None:
            counts = tf.cast(labels != tf.cast(ignored, labels.dtype), "float32")
        if is_weighted:
            weights = tf.cast(weight_of(sample_weight), "float32")
            counts = tf.reshape(counts, tf.shape(weights)) * weights
        part = tf.reduce_sum(counts)
        size = replicas.global_sum(part)
    num_replicas = tf.distribute.get_strategy().num_replicas_in_sync
    return tf.math.divide_no_nan(part * num_replicas, size)
