"""Random batches, and what the loss of one is held against."""

import numpy as np
import tensorflow as tf


def batch_of(n, dim=4, num_classes=3, seed=0, dtype="float32"):
    """Random examples; of ten or more, one is alone and some are duplicates."""
    rng = np.random.default_rng(seed)
    features, logits = rng.normal(size=(n, dim)), 2 * rng.normal(size=(n, num_classes))
    if n >= 10:
        features[1] = 0
        features[[4, 7, -1]] = features[2]
    return features.astype(dtype), logits.astype(dtype)


def value_and_gradients(loss, features, logits):
    """The loss, and the gradients of its sum with unequal weights."""
    features, logits = tf.convert_to_tensor(features), tf.convert_to_tensor(logits)
    upstream = 0.5 + tf.range(tf.shape(logits)[0]) / 10
    with tf.GradientTape() as tape:
        tape.watch([features, logits])
        values = loss(features, logits)
        total = tf.reduce_sum(values * tf.cast(upstream, values.dtype))
    return [values, *tape.gradient(total, [features, logits])]


def curvature_of(loss, features, logits):
    """A second derivative of the loss, with respect to features and logits."""
    features, logits = tf.convert_to_tensor(features), tf.convert_to_tensor(logits)
    with tf.GradientTape() as outer:
        outer.watch([features, logits])
        with tf.GradientTape() as inner:
            inner.watch(logits)
            total = tf.reduce_sum(loss(features, logits))
        slope = tf.reduce_sum(inner.gradient(total, logits)[:, 0])
    return outer.gradient(slope, [features, logits])


def assert_all_close(received, expected, atol=2e-6):
    for one, other in zip(received, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=atol)
