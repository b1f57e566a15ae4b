"""How much of a mixture is its owner, where it is drawn in the training step."""

import numpy as np
import tensorflow as tf


def owner_shares(alpha, num_shares=4096):
    """Returns values of `max(u, 1 - u)`, `u ~ Beta(alpha, alpha)`, all as probable.

    To take one of them at random is as good as a draw, and compiles with XLA, where
    TensorFlow's gamma numbers, from which Keras makes those of Beta, do not.

    Args:
        alpha: Positive float.
        num_shares: Int, at least 1. Defaults to 4096.

    Returns:
        NumPy float32 array of shape `(num_shares,)`, in [0.5, 1], rising.

    Example:
    >>> from keras_ncr.models.owner_shares import owner_shares
    >>> owner_shares(alpha=1.0, num_shares=2).round(4)
    array([0.625, 0.875], dtype=float32)
    """
    # The larger share is beyond the median, where the other half of Beta mirrors it.
    levels = 0.5 + (np.arange(num_shares) + 0.5) / (2 * num_shares)
    alpha = np.float64(alpha)
    low, high = np.full(num_shares, 0.5), np.ones(num_shares)
    for _ in range(24):  # As many as float32 has binary digits.
        middle = (low + high) / 2
        is_below = tf.math.betainc(alpha, alpha, middle).numpy() < levels
        low, high = np.where(is_below, middle, low), np.where(is_below, high, middle)
    return ((low + high) / 2).astype("float32")
