"""Mixtures of the rows of a batch, as mixup makes them."""

import keras
import numpy as np
import tensorflow as tf


class Mixture:
    """Mixes each row of a batch with that of a partner."""

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
    """Returns a `Mixture` by one weight, of equally probable ones, in any order."""
    drawn = keras.random.randint((), 0, len(owner_weights), seed=seed_generator)
    partners = keras.random.shuffle(tf.range(num_rows), seed=seed_generator)
    return Mixture(tf.gather(owner_weights, drawn), partners)


def likely_owner_weights(alpha, num_weights=4096):
    """Returns values of `max(u, 1 - u)`, `u ~ Beta(alpha, alpha)`, all as probable."""
    # To take one of them at random is as good as a draw, and compiles with XLA, where
    # TensorFlow's gamma numbers, from which Keras makes those of Beta, do not.
    from scipy.special import betaincinv

    # The larger share is beyond the median, where the other half of Beta mirrors it.
    levels = 0.5 + (np.arange(num_weights) + 0.5) / (2 * num_weights)
    return betaincinv(alpha, alpha, levels).astype("float32")
