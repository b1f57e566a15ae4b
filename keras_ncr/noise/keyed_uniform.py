"""One uniform random number per example, a function of a seed and a key alone.

Nothing is drawn in sequence, so the order in which examples are read, the number of
threads or processes and the number of passes over the data cannot matter.
"""

import numpy as np
import tensorflow as tf

# SplitMix64: https://doi.org/10.1145/2714064.2660195
_INCREMENT = np.uint64(0x9E3779B97F4A7C15)
_MULTIPLIERS = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_SHIFTS = np.uint64(30), np.uint64(27)
_LAST_SHIFT = np.uint64(31)


def hash_keys(keys, seed: int) -> np.ndarray:
    """Returns 64 random-looking bits for each key, a uint64 array `(n,)`."""
    keys = np.asarray(keys)
    is_text = keys.dtype.kind in "US" or all(
        isinstance(key, str | bytes) for key in keys.flat
    )
    if keys.ndim != 1 or not (is_text or keys.dtype.kind in "iu"):
        raise ValueError(
            "`keys` must be integers or strings of shape (n,), one per label. "
            f"Received: dtype {keys.dtype}, shape {keys.shape}."
        )
    if is_text:
        words = _fingerprint(tf.constant(keys.tolist(), tf.string)).numpy()
    else:
        words = keys.astype(np.uint64)
    return _hash_words(words, seed, np.right_shift, np.bitwise_xor)


def hash_keys_in_graph(keys, seed: int) -> tf.Tensor:
    """Returns the bits of `hash_keys` by TensorFlow operations alone."""
    keys = tf.convert_to_tensor(keys)
    words = _fingerprint(keys) if keys.dtype == tf.string else tf.cast(keys, tf.uint64)
    return _hash_words(words, seed, tf.bitwise.right_shift, tf.bitwise.bitwise_xor)


def _fingerprint(strings):
    """Returns one uint64 per string; tf.fingerprint wants a leading axis."""
    octets = tf.fingerprint(tf.reshape(strings, [-1]))
    return tf.reshape(tf.bitcast(octets, tf.uint64), tf.shape(strings))


def _hash_words(words, seed, right_shift, bitwise_xor):
    """Hashes NumPy or TensorFlow words; both wrap around at 64 bits."""
    # An array, since NumPy warns when a scalar wraps around.
    seed_word = np.array([int(seed) % 2**64], np.uint64) + _INCREMENT
    start = _mix(seed_word, np.right_shift, np.bitwise_xor)[0]
    return _mix(words * _INCREMENT + start, right_shift, bitwise_xor)


def _mix(bits, right_shift, bitwise_xor):
    """Applies SplitMix64's finalizer, a bijection in which each bit sways all."""
    for shift, multiplier in zip(_SHIFTS, _MULTIPLIERS, strict=True):
        bits = bitwise_xor(bits, right_shift(bits, shift)) * multiplier
    return bitwise_xor(bits, right_shift(bits, _LAST_SHIFT))
