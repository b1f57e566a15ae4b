"""Bootstrapping: eq. 5, and what a constant target does to its gradient."""

import keras
import numpy as np
import oracles
import pytest
from label_losses import (
    LOGITS,
    NUM_CLASSES,
    ONE_HOT,
    SOFT,
    P,
    gradient,
    per_example,
    value_and_gradient,
)

from keras_ncr.losses import HardBootstrap, SoftBootstrap

CROSS_ENTROPY = keras.losses.CategoricalCrossentropy(
    from_logits=True, reduction=None, dtype="float64"
)


def cross_entropy(target, p):
    return sum(-t * np.log(q) for t, q in zip(target, p, strict=True))


def oracle(labels, target_of, weight):
    """Eq. 5, example by example."""
    losses = []
    for label, logits in zip(labels, LOGITS, strict=True):
        p = oracles.softmax(logits)
        supervised, bootstrap = (
            cross_entropy(t, p) for t in (label, target_of(logits))
        )
        losses.append((1 - weight) * supervised + weight * bootstrap)
    return losses


@pytest.mark.parametrize("labels", [ONE_HOT, SOFT], ids=["one-hot", "soft"])
@pytest.mark.parametrize("weight", [0, 0.05, 0.5, 1])
@pytest.mark.parametrize("temperature", [0.5, 1, 3])
def test_soft_equals_the_oracle(temperature, weight, labels):
    expected = oracle(labels, lambda z: oracles.softmax(z / temperature), weight)
    for stop_gradient in (False, True):
        loss = per_example(SoftBootstrap, weight, temperature, stop_gradient)
        np.testing.assert_allclose(loss(labels, LOGITS), expected, rtol=1e-12)


@pytest.mark.parametrize("labels", [ONE_HOT, SOFT], ids=["one-hot", "soft"])
@pytest.mark.parametrize("weight", [0, 0.2, 1])
def test_hard_equals_the_oracle(weight, labels):
    expected = oracle(labels, lambda z: np.eye(NUM_CLASSES)[np.argmax(z)], weight)
    loss = per_example(HardBootstrap, weight)
    np.testing.assert_allclose(loss(labels, LOGITS), expected, rtol=1e-12)


def test_values_worked_by_hand():
    """Two classes, p = (1/4, 3/4), label 0."""
    logits = np.log([[0.25, 0.75]])
    quarter, three_quarters = np.log(4), np.log(4 / 3)
    soft = 0.6 * quarter + 0.4 * (0.25 * quarter + 0.75 * three_quarters)
    np.testing.assert_allclose(per_example(SoftBootstrap, 0.4)([0], logits), [soft])
    hard = 0.6 * quarter + 0.4 * three_quarters
    np.testing.assert_allclose(per_example(HardBootstrap, 0.4)([0], logits), [hard])


def test_defaults_are_those_of_reed():
    assert SoftBootstrap().weight == 0.05
    assert HardBootstrap().weight == 0.2
    assert SoftBootstrap().temperature == 1
    assert SoftBootstrap().stop_gradient is False


@pytest.mark.parametrize("cls", [SoftBootstrap, HardBootstrap])
def test_weight_zero_is_cross_entropy(cls):
    loss = per_example(cls, 0)
    np.testing.assert_allclose(loss(SOFT, LOGITS), CROSS_ENTROPY(SOFT, LOGITS))
    np.testing.assert_allclose(gradient(loss, SOFT), P - SOFT, atol=1e-15)


@pytest.mark.parametrize("weight", [0.05, 0.5, 1])
def test_constant_target_at_temperature_one_only_scales_the_gradient(weight):
    loss = per_example(SoftBootstrap, weight, stop_gradient=True)
    expected = (1 - weight) * gradient(CROSS_ENTROPY, ONE_HOT)
    np.testing.assert_allclose(gradient(loss, ONE_HOT), expected, atol=1e-15)


@pytest.mark.parametrize("weight", [0.05, 0.5, 1])
def test_flowing_target_at_temperature_one_adds_the_gradient_of_the_entropy(weight):
    """That is -p (log p + H(p)), for a softmax."""
    entropy = -np.sum(P * np.log(P), axis=1, keepdims=True)
    of_entropy = -P * (np.log(P) + entropy)
    expected = (1 - weight) * (P - ONE_HOT) + weight * of_entropy
    received = gradient(per_example(SoftBootstrap, weight), ONE_HOT)
    np.testing.assert_allclose(received, expected, atol=1e-14)


@pytest.mark.parametrize("temperature", [0.5, 3])
def test_constant_target_pulls_toward_the_tempered_prediction(temperature):
    loss = per_example(SoftBootstrap, 0.3, temperature, stop_gradient=True)
    targets = np.array([oracles.softmax(row / temperature) for row in LOGITS])
    expected = 0.7 * (P - ONE_HOT) + 0.3 * (P - targets)
    np.testing.assert_allclose(gradient(loss, ONE_HOT), expected, atol=1e-14)


def test_hard_target_has_no_gradient_of_its_own():
    predicted = np.eye(NUM_CLASSES)[np.argmax(LOGITS, axis=1)]
    expected = 0.7 * (P - ONE_HOT) + 0.3 * (P - predicted)
    received = gradient(per_example(HardBootstrap, 0.3), ONE_HOT)
    np.testing.assert_allclose(received, expected, atol=1e-14)


def test_soft_approaches_hard_as_the_temperature_goes_to_zero():
    soft = per_example(SoftBootstrap, 0.2, temperature=1e-3, stop_gradient=True)
    hard = per_example(HardBootstrap, 0.2)
    np.testing.assert_allclose(soft(ONE_HOT, LOGITS), hard(ONE_HOT, LOGITS))
    np.testing.assert_allclose(
        gradient(soft, ONE_HOT), gradient(hard, ONE_HOT), atol=1e-14
    )


def test_of_classes_that_tie_the_first_is_predicted():
    logits = np.array([[1.0, 2.0, 2.0, 0.0]])
    loss = per_example(HardBootstrap, 1)
    expected = -np.log(oracles.softmax(logits[0])[1])
    np.testing.assert_allclose(loss([3], logits), [expected])
    pull = value_and_gradient(loss, [3], logits)[1].numpy()[0]
    assert pull[1] < 0 < pull[2]
