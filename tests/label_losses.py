"""One batch of logits and labels, and what losses on labels are held against."""

import numpy as np
import oracles
import tensorflow as tf

NUM_CLASSES = 4
RNG = np.random.default_rng(0)
LOGITS = 2 * RNG.normal(size=(6, NUM_CLASSES))
CLASSES = np.array([0, 3, 1, 1, 2, 0])
ONE_HOT = np.eye(NUM_CLASSES)[CLASSES]
SOFT = RNG.dirichlet(np.ones(NUM_CLASSES), 6)
P = np.array([oracles.softmax(row) for row in LOGITS])
P_LABEL = np.sum(P * ONE_HOT, axis=1)


def per_example(make, *args, **kwargs):
    """A loss of float64 that returns one value for each example."""
    return make(*args, reduction=None, **{"dtype": "float64", **kwargs})


def value_and_gradient(loss, labels, predictions):
    """The losses, and the gradient of their sum with respect to the predictions."""
    predictions = tf.convert_to_tensor(predictions)
    with tf.GradientTape() as tape:
        tape.watch(predictions)
        losses = loss(labels, predictions)
    return losses, tape.gradient(losses, predictions)


def gradient(loss, labels):
    """The gradient of the sum of losses with respect to LOGITS."""
    return value_and_gradient(loss, labels, LOGITS)[1].numpy()
