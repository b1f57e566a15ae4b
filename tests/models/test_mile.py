"""MILe: golden losses of both phases, a slow oracle of the steps, what it learns."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from model_harness import (
    WEIGHTS,
    X,
    Y,
    beside_cross_entropy,
    compiled,
    fit,
    new_model,
    numeric_gradient,
)

from keras_ncr.models import MILeModel

LOGITS = np.array([[2, 0, -1], [1, 1, 0], [0, 2, 1], [-1, 0, 3]], "float32")
LABELS = np.array([0, 0, 1, 2])


class OfLogits(MILeModel):
    """MILe whose network returns its inputs, the teacher twice as much."""

    def features_and_logits(self, inputs, training=None):
        super().features_and_logits(inputs, training)
        return inputs, tf.convert_to_tensor(inputs)

    def predicted_labels(self, x):
        self.teacher = lambda x, training: 2 * x
        return super().predicted_labels(x)


def oracle(logits, targets):
    """Binary cross-entropy of every class, added up, by example."""
    losses = []
    for row, target in zip(logits, targets, strict=True):
        p = 1 / (1 + np.exp(-row.astype("float64")))
        terms = target * np.log(p) + (1 - target) * np.log(1 - p)
        losses.append(-np.sum(terms))
    return np.array(losses)


def loss_of(logits, steps):
    """The loss of a step, and its gradient to the logits."""
    model = OfLogits(keras.layers.Identity(), 3, teacher_steps=2, student_steps=3)
    model.compile("sgd", run_eagerly=True)
    model(logits)
    model.optimizer.iterations.assign(steps)
    logits = tf.constant(logits)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = model.supervised_loss(logits, LABELS, logits, logits)
    return float(loss), tape.gradient(loss, logits)


def test_golden_losses_of_both_phases():
    for steps in (0, 1, 5, 6):
        assert loss_of(LOGITS, steps)[0] == pytest.approx(1.660335, abs=1e-6)
    for steps in (2, 3, 4, 7):
        assert loss_of(LOGITS / 2, steps)[0] == pytest.approx(1.492728, abs=1e-6)


@pytest.mark.parametrize("steps", [0, 2])
def test_gradient_is_that_of_differences_with_constant_targets(steps):
    targets = np.eye(3)[LABELS] if steps < 2 else LOGITS > 0
    expected = numeric_gradient(
        lambda z: np.mean(oracle(z, targets)), LOGITS.astype("float64")
    )
    _, received = loss_of(LOGITS, steps)
    np.testing.assert_allclose(received, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("threshold", "expected"),
    [
        (0.5, [[1, 0, 0], [1, 1, 0], [0, 1, 1], [0, 0, 1]]),
        (0.25, [[1, 1, 1], [1, 1, 1], [1, 1, 1], [1, 1, 1]]),
        (0.9, [[0, 0, 0], [0, 0, 0], [0, 0, 0], [0, 0, 1]]),
    ],
)
def test_classes_above_the_threshold_are_labels(threshold, expected):
    model = new_model("mile", threshold=threshold)
    model.teacher = lambda x, training: x
    np.testing.assert_array_equal(model.predicted_labels(LOGITS), expected)


def test_sigmoids_start_near_one_of_the_classes():
    model = MILeModel(keras.layers.Identity(), 8)
    model.build((None, 5))
    np.testing.assert_allclose(model.classifier.bias, -np.log(8), rtol=1e-6)


@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_steps_are_those_of_a_slow_oracle(weights):
    """Two steps by labels and two by the copy, twice, in which the copy stays."""
    model = compiled("mile", {"teacher_steps": 2, "student_steps": 2, "threshold": 0.3})
    model(X)
    kernel, bias, head, head_bias = [w.numpy() for w in model.trainable_weights]
    received = fit(model, epochs=8, batch_size=24, sample_weight=weights)["loss"]
    factors = 1 if weights is None else weights
    # By hand: one hidden layer, its velocity, and the copy.
    parts = [kernel, bias, head, head_bias]
    velocities = [np.zeros_like(part) for part in parts]
    for step, loss in enumerate(received):
        if step % 4 == 2:
            teacher = [part.copy() for part in parts]
        hidden = np.maximum(X @ parts[0] + parts[1], 0)
        logits = hidden @ parts[2] + parts[3]
        targets = np.eye(3)[Y]
        if step % 4 >= 2:
            seen = np.maximum(X @ teacher[0] + teacher[1], 0) @ teacher[2] + teacher[3]
            targets = 1 / (1 + np.exp(-seen)) > 0.3
        assert loss == pytest.approx(
            np.mean(oracle(logits, targets) * factors), rel=1e-4
        )
        to_logits = (1 / (1 + np.exp(-logits)) - targets) / len(X)
        to_logits *= np.reshape(factors, (-1, 1))
        to_hidden = (to_logits @ parts[2].T) * (hidden > 0)
        gradients = [
            *(X.T @ to_hidden, to_hidden.sum(0)),
            *(hidden.T @ to_logits, to_logits.sum(0)),
        ]
        velocities = [
            0.9 * v - 0.1 * g for v, g in zip(velocities, gradients, strict=True)
        ]
        parts = [p + v for p, v in zip(parts, velocities, strict=True)]
    for weight, part in zip(model.trainable_weights, parts, strict=True):
        np.testing.assert_allclose(weight, part, atol=1e-5)


def test_the_copy_is_no_part_of_training_and_predicts_as_in_evaluation():
    backbone = keras.Sequential(
        [
            keras.layers.Dense(6),
            keras.layers.BatchNormalization(momentum=0.5),
            keras.layers.Dropout(0.5),
        ]
    )
    model = MILeModel(backbone, 3, teacher_steps=1, student_steps=4, threshold=0.3)
    model.compile(keras.optimizers.SGD(0.1), run_eagerly=True)
    fit(model, epochs=1)
    assert not model.teacher.trainable_weights
    kept = [weight.numpy() for weight in model.teacher.weights]
    seen = model.predicted_labels(X)
    fit(model, epochs=1)
    for weight, before in zip(model.teacher.weights, kept, strict=True):
        np.testing.assert_array_equal(weight, before)
    np.testing.assert_array_equal(model.predicted_labels(X), seen)


@pytest.mark.slow
def test_it_learns_more_than_cross_entropy_from_wrong_labels():
    plain, predicted, _ = beside_cross_entropy(
        MILeModel, 60, teacher_steps=8, student_steps=32, threshold=0.3
    )
    assert predicted > plain + 0.05
