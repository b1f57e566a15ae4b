"""MOIT's contrast of mixtures: near to those of both their labels, far from others."""

from typing import NamedTuple

import tensorflow as tf

from keras_ncr.losses.mean_prediction import LOWEST


class Embedded(NamedTuple):
    """Mixtures that are compared: all of `(rows,)`, `vectors` of `(rows, dim)`."""

    vectors: tf.Tensor  # of length 1
    labels: tf.Tensor  # of the mixtures' owners
    examples: tf.Tensor  # numbers of the owners in their batch, -1 for another batch
    views: tf.Tensor  # numbers of the owners' views

    def in_order(self):
        """Returns the same mixtures, by view and example."""
        order = tf.argsort(self.views * tf.size(self.views) + self.examples)
        return Embedded(*(tf.gather(part, order) for part in self))


def interpolated_contrast(
    rows, columns, partner_labels, partners, owner_weights, temperature, counts=None
):
    """Returns how far mixtures are from those of their two labels, `(rows,)`."""
    # With s the cosines over the temperature, and r itself left out,
    #     l_rc = s_rc - log(sum over c of exp(s_rc))
    #     loss_r = -(w * mean of l_rc over c in major + (1 - w) * mean over c in minor)
    # major: the columns with the label of r's owner, or of its example; minor: those
    # with its partner's label, the partner's own twice. `counts` says which columns are
    # there.
    same_example = rows.examples[:, None] == columns.examples
    is_other = ~(same_example & (rows.views[:, None] == columns.views))
    if counts is not None:
        is_other &= counts
    cosines = tf.matmul(rows.vectors, columns.vectors, transpose_b=True) / temperature
    others = tf.where(is_other, cosines, tf.constant(LOWEST, cosines.dtype))
    log_shares = cosines - tf.reduce_logsumexp(others, axis=1, keepdims=True)
    same_label = rows.labels[:, None] == columns.labels

    def mean_over(*masks):
        weights = sum(tf.cast(mask & is_other, cosines.dtype) for mask in masks)
        total = tf.reduce_sum(weights * log_shares, axis=1)
        return tf.math.divide_no_nan(total, tf.reduce_sum(weights, axis=1))

    major = mean_over(same_label | same_example)
    minor = mean_over(
        partner_labels[:, None] == columns.labels, partners[:, None] == columns.examples
    )
    return -(owner_weights * major + (1 - owner_weights) * minor)
