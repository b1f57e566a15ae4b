"""Random batches, and what the loss of one is held against."""

import numpy as np
import tensorflow as tf


def random_batch(n, dim=4, num_classes=3, seed=0, negative=True, dtype="float32"):
    """Random features and logits."""
    rng = np.random.default_rng(seed)
    features, logits = rng.normal(size=(n, dim)), 2 * rng.normal(size=(n, num_classes))
    return (features if negative else abs(features)).astype(dtype), logits.astype(dtype)


def batch_of(n, dim=4, seed=0, dtype="float32"):
    """A random batch; of ten examples or more, one is alone, some are duplicates."""
    features, logits = random_batch(n, dim, seed=seed, dtype=dtype)
    if n >= 10:
        features[1] = 0
        features[[4, 7, -1]] = features[2]
    return features, logits


def value_and_gradients(loss, features, logits, upstream=None):
    """The loss, and the gradients of its sum weighted by `upstream`, else unequally."""
    features, logits = tf.convert_to_tensor(features), tf.convert_to_tensor(logits)
    if upstream is None:
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


def central_differences(function, at, step=1e-5):
    """The gradient of a function with one value, entry by entry."""
    gradient = np.zeros_like(at)
    for index in np.ndindex(*at.shape):
        change = np.zeros_like(at)
        change[index] = step
        difference = function(at + change) - function(at - change)
        gradient[index] = difference / (2 * step)
    return gradient


def shapes_of_all_tensors(concrete_function):
    """Shapes of floating-point tensors in a function and all functions it calls."""
    definition = concrete_function.graph.as_graph_def(add_shapes=True)
    nodes = list(definition.node)
    for function in definition.library.function:
        nodes.extend(function.node_def)
    for node in nodes:
        for shape in node.attr["_output_shapes"].list.shape:
            assert not shape.unknown_rank, node.name
            yield tuple(dimension.size for dimension in shape.dim)


def assert_all_close(received, expected, atol=2e-6):
    for one, other in zip(received, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=atol)
