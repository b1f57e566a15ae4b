"""Says which part of a batch a replica has, by what the compiled loss counts."""

import keras
import tensorflow as tf

from keras_ncr.distribution import replicas
from keras_ncr.distribution.targets import factors_of, label_of
from keras_ncr.models.fitting import counts_in_loss, ignored_class
from keras_ncr.models.unlabeled import has_label


def relative_part(model, y, sample_weight, size):
    """Returns how many times as much as an equal part of the batch this replica has."""
    first, *_ = keras.tree.flatten(model.loss) or [None]
    reduction = getattr(first, "reduction", "sum_over_batch_size")
    has_ignored = ignored_class(model.loss) is not None
    if reduction in ("sum", "none", None):
        return 1.0
    labels = tf.convert_to_tensor(label_of(y))
    part = tf.cast(tf.shape(labels)[0], "float32")
    is_weighted = reduction == "mean_with_sample_weight" and sample_weight is not None
    if model.takes_unlabeled or has_ignored or is_weighted:
        # The mean is over what counts, of which there may be more in one replica.
        counts = tf.ones(tf.shape(labels)[:1])
        if model.takes_unlabeled:
            counts *= tf.cast(has_label(labels), "float32")
        if has_ignored:
            counts *= tf.cast(counts_in_loss(model.loss, labels), "float32")
        if is_weighted:
            counts *= factors_of(sample_weight)
        part = tf.reduce_sum(counts)
        size = replicas.global_sum(part)
    num_replicas = tf.distribute.get_strategy().num_replicas_in_sync
    return tf.math.divide_no_nan(part * num_replicas, size)
