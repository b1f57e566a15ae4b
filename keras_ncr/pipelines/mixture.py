"""Mixtures of the rows of a batch, as mixup makes them."""

import keras
import numpy as np
import tensorflow as tf


class Mixture:
    """Mixes each row of a batch with that of a partner.

    Args:
        owner_weights: Floats in [0.5, 1]: a scalar for all rows, or one per row.
        partners: Ints of shape `(batch,)`: the rows that are mixed in.

    Example:
    >>> from keras_ncr.pipelines.mixture import Mixture
    >>> Mixture(tf.constant(0.75), tf.constant([1, 0])).rows(tf.constant([0., 4.]))
    <tf.Tensor: shape=(2,), dtype=float32, numpy=array([1., 3.], dtype=float32)>
    """

    def __init__(self, owner_weights, partners):
        self.owner_weights = owner_weights
        self.partners = partners

    def rows(self, rows, pool=None):
        """Returns the mixed rows in float32, not rounded; partners come from `pool`."""
        rows = tf.cast(rows, tf.float32)
        others = rows if pool is None else tf.cast(pool, tf.float32)
        others = self.of_partners(others)
        weights = tf.reshape(self.owner_weights, [-1] + [1] * (rows.shape.rank - 1))
        # Written so that a row mixed with its like, or by 1, stays exactly what it is.
        return rows + (1 - weights) * (others - rows)

    def of_partners(self, rows):
        """Returns each row's partner."""
        return tf.gather(rows, self.partners)


def drawn_mixture(owner_weights, num_rows, seed_generator):
    """Returns a `Mixture` by one weight, of equally probable ones, in any order.

    Args:
        owner_weights: As `likely_owner_weights` returns them.
        num_rows: Int, or scalar tensor.
        seed_generator: `keras.random.SeedGenerator`.

    Returns:
        `Mixture`, of which partners are a permutation of the rows.

    Example:
    >>> from keras_ncr.pipelines.mixture import drawn_mixture
    >>> drawn_mixture([0.75], 3, keras.random.SeedGenerator(0)).partners.shape
    TensorShape([3])
    """
    drawn = keras.random.randint((), 0, len(owner_weights), seed=seed_generator)
    partners = keras.random.shuffle(tf.range(num_rows), seed=seed_generator)
    return Mixture(tf.gather(owner_weights, drawn), partners)


def likely_owner_weights(alpha, num_weights=4096):
    """Returns values of `max(u, 1 - u)`, `u ~ Beta(alpha, alpha)`, all as probable.

    To take one of them at random is as good as a draw, and compiles with XLA, where
    TensorFlow's gamma numbers, from which Keras makes those of Beta, do not.

    Args:
        alpha: Positive float.
        num_weights: Int, at least 1. Defaults to 4096.

    Returns:
        NumPy float32 array of shape `(num_weights,)`, in [0.5, 1], rising.

    Example:
    >>> from keras_ncr.pipelines.mixture import likely_owner_weights
    >>> likely_owner_weights(alpha=1.0, num_weights=2).round(4)
    array([0.625, 0.875], dtype=float32)
    """
    from scipy.special import betaincinv

    # The larger share is beyond the median, where the other half of Beta mirrors it.
    levels = 0.5 + (np.arange(num_weights) + 0.5) / (2 * num_weights)
    return betaincinv(alpha, alpha, levels).astype("float32")
