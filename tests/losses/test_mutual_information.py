"""L_DMI: golden numbers, an oracle, invariance, absent classes, replicas."""

import keras
import numpy as np
import oracles
import pytest
import tensorflow as tf
from batches import central_differences
from label_losses import per_example, value_and_gradient
from replica_runs import on_replicas, split

from keras_ncr.losses import DeterminantMutualInformation

Z = np.array([[2.0, 0, -1], [1, 1, 0], [0, 2, 1], [-1, 0, 3]])
Y = np.array([0, 0, 1, 2])
GRADIENT = [
    [-0.121362, 0.091790, 0.029572],
    [-0.224635, 0.175565, 0.049070],
    [0.150868, -0.412303, 0.261435],
    [0.017148, 0.065270, -0.082418],
]


def loss_of(labels, logits, **kwargs):
    return DeterminantMutualInformation(dtype="float64", **kwargs)(labels, logits)


def oracle(labels, logits, weights=None):
    """The definition over the classes that have examples, example by example."""
    present = sorted(set(labels))
    joint = np.zeros((len(present), len(present)))
    weights = np.ones(len(labels)) if weights is None else weights
    for label, row, weight in zip(labels, logits, weights, strict=True):
        p = oracles.softmax(row)[present]
        joint[present.index(label)] += weight * p / len(labels)
    return -np.log(abs(np.linalg.det(joint)))


def random_batch(n, num_classes, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(num_classes), rng.integers(0, num_classes, n)])
    logits = rng.normal(size=(len(labels), num_classes))
    return labels, logits + 3 * np.eye(num_classes)[labels]


def test_golden_value_and_gradient():
    loss = DeterminantMutualInformation(dtype="float64")
    value, gradient = value_and_gradient(loss, Y, Z)
    np.testing.assert_allclose(value, 4.473965, atol=1e-6)
    # Of sums it is 3 log(4) less.
    np.testing.assert_allclose(value - 3 * np.log(4), 0.315082, atol=1e-6)
    np.testing.assert_allclose(gradient, GRADIENT, atol=1e-6)


@pytest.mark.parametrize("num_classes", [2, 3, 10])
def test_value_and_gradient_are_those_of_the_oracle(num_classes):
    labels, logits = random_batch(20, num_classes)
    weights = np.random.default_rng(1).random(len(labels))
    for sample_weight in (None, weights):
        loss = DeterminantMutualInformation(dtype="float64")
        with tf.GradientTape() as tape:
            inputs = tf.constant(logits)
            tape.watch(inputs)
            value = loss(labels, inputs, sample_weight)
        expected = oracle(labels, logits, sample_weight)
        np.testing.assert_allclose(value, expected, rtol=1e-9)
        expected = central_differences(
            lambda z, w=sample_weight: oracle(labels, z, w), logits
        )
        np.testing.assert_allclose(tape.gradient(value, inputs), expected, atol=1e-8)


def test_class_dependent_noise_adds_a_constant_and_leaves_the_gradient():
    labels, logits = random_batch(40, 3)
    transition = np.array([[0.6, 0.3, 0.1], [0.1, 0.7, 0.2], [0.2, 0.2, 0.6]])
    loss = DeterminantMutualInformation(dtype="float64")
    clean, to_clean = value_and_gradient(loss, labels, logits)
    # As the expected labels have it, of which a large batch's are a sample.
    noisy, to_noisy = value_and_gradient(loss, transition[labels], logits)
    np.testing.assert_allclose(noisy - clean, -np.log(np.linalg.det(transition)))
    np.testing.assert_allclose(to_noisy, to_clean, atol=1e-12)


def test_predictions_through_an_invertible_matrix_change_by_a_constant():
    labels, logits = random_batch(40, 3)
    transition = np.array([[0.6, 0.3, 0.1], [0.1, 0.7, 0.2], [0.2, 0.2, 0.6]])
    predictions = np.array([oracles.softmax(row) for row in logits])
    mixed = np.log(predictions @ transition)
    expected = loss_of(labels, logits) - np.log(np.linalg.det(transition))
    np.testing.assert_allclose(loss_of(labels, mixed), expected, rtol=1e-9)


@pytest.mark.parametrize("num_classes", [3, 100, 1000])
def test_many_classes_neither_overflow_nor_vanish(num_classes):
    labels, logits = random_batch(0, num_classes)
    loss = DeterminantMutualInformation()
    value, gradient = value_and_gradient(loss, labels, logits.astype("float32"))
    assert np.isfinite(value) and np.all(np.isfinite(gradient))
    np.testing.assert_allclose(value, loss_of(labels, logits), rtol=1e-4)


def test_classes_that_a_batch_does_not_hold_are_left_out():
    labels, logits = np.array([0, 2, 2, 0, 4]), random_batch(0, 5)[1]
    loss = DeterminantMutualInformation(dtype="float64")
    value, gradient = value_and_gradient(loss, labels, logits)
    np.testing.assert_allclose(value, oracle(labels, logits), rtol=1e-9)
    expected = central_differences(lambda z: oracle(labels, z), logits)
    np.testing.assert_allclose(gradient, expected, atol=1e-8)


def test_a_determinant_of_zero_has_loss_and_gradient_zero():
    value, gradient = value_and_gradient(
        DeterminantMutualInformation(), Y, np.zeros((4, 3), "float32")
    )
    assert float(value) == 0 and not np.any(gradient)


def test_one_class_in_a_batch_is_refused():
    with pytest.raises(tf.errors.InvalidArgumentError, match="of two classes at least"):
        loss_of([1, 1, 1], Z[:3])


def test_the_loss_of_the_batch_stands_in_every_row():
    rows = per_example(DeterminantMutualInformation)(Y, Z)
    np.testing.assert_allclose(rows, [4.473965] * 4, atol=1e-6)
    assert loss_of(Y, Z) == loss_of(np.eye(3)[Y], Z) == loss_of(Y[:, None], Z)


def test_probabilities_give_what_their_logits_give():
    predictions = np.array([oracles.softmax(row) for row in Z])
    received = loss_of(Y, predictions, from_logits=False)
    np.testing.assert_allclose(received, loss_of(Y, Z), rtol=1e-5)


def test_xla_gives_what_eager_execution_gives():
    loss = DeterminantMutualInformation()
    batch = tf.constant(Y), tf.constant(Z, "float32")
    compiled = tf.function(value_and_gradient, jit_compile=True)(loss, *batch)
    for received, expected in zip(
        compiled, value_and_gradient(loss, *batch), strict=True
    ):
        np.testing.assert_allclose(received, expected, rtol=1e-4, atol=1e-6)


def test_config_gives_the_loss_again():
    loss = DeterminantMutualInformation(from_logits=False, dtype="float64", name="mine")
    copy = keras.losses.deserialize(keras.losses.serialize(loss))
    assert copy.get_config() == loss.get_config()


@pytest.mark.slow
def test_replicas_have_the_determinant_of_the_global_batch(two_replicas):
    labels, logits = random_batch(5, 3)
    loss = DeterminantMutualInformation(reduction=None)

    def value_and_gradient_of(labels, logits):
        with tf.GradientTape() as tape:
            tape.watch(logits)
            values = loss(labels, logits)
            share = tf.reduce_sum(values) / 8
        return values, tape.gradient(share, logits)

    batch = [labels, logits.astype("float32")]
    expected = value_and_gradient_of(*map(tf.constant, batch))
    parts = [split(x, (5, 3)) for x in batch]
    received = on_replicas(two_replicas, value_and_gradient_of)(*parts)
    for pair, whole in zip(received, expected, strict=True):
        np.testing.assert_allclose(np.concatenate(pair), whole, rtol=1e-4, atol=1e-6)
