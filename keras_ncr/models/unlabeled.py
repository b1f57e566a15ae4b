"""Rows without a label, which is -1: they take part in neighbor consistency alone."""

import tensorflow as tf

from keras_ncr.distribution.targets import label_of


def is_missing(labels):
    """Returns which entries are -1; no unsigned number is."""
    return tf.cast(labels, "float32") == -1.0


def has_label(labels):
    """Returns which rows have a label, a number or a distribution: `(batch,)`."""
    rows = tf.reshape(is_missing(labels), [tf.shape(labels)[0], -1])
    return ~tf.reduce_all(rows, axis=1)


def without_labels(y, is_left_out):
    """Returns a dict of targets whose labels, in any form, are -1 in some rows."""
    labels = tf.convert_to_tensor(label_of(y))
    if labels.dtype.is_unsigned:
        labels = tf.cast(labels, "int64")
    is_left_out = tf.reshape(is_left_out, [-1, *[1] * (labels.shape.rank - 1)])
    return {**y, "label": tf.where(is_left_out, -tf.ones_like(labels), labels)}


def masked(labels, logits):
    """Returns labels, all of them classes, and logits whose mask omits the rest."""
    logits = tf.identity(logits)
    logits._keras_mask = has_label(labels)
    return tf.where(is_missing(labels), tf.zeros_like(labels), labels), logits
