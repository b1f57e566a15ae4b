"""SGN: golden numbers, a slow oracle of its steps, its average, what it learns."""

import keras
import numpy as np
import oracles
import pytest
import tensorflow as tf
from batches import central_differences
from model_harness import (
    WEIGHTS,
    X,
    Y,
    beside_cross_entropy,
    compiled,
    dense,
    fit,
    new_model,
)
from scipy.stats import multivariate_normal

from keras_ncr.models import SGNModel
from keras_ncr.models.sgn import helmert, log_ratio_loss

# Of three classes, the label 0 smoothed by .001, in the tenth epoch.
TARGETS, MEANS = np.array([[5.660885, 3.268314]]), np.array([[1, -0.5]])
SPREAD, AVERAGE = np.array([[0.3, 0.2]]), np.array([[0.8, -0.2]])
SHARE = 1 - 0.995**10


def oracle(targets, means, spread, average_means, share):
    """The likelihood of each example by its whole covariance."""
    losses = []
    for t, m, r, m_average in zip(targets, means, spread, average_means, strict=True):
        mean = m + share * (t - m_average)
        covariance = np.eye(len(t)) + np.outer(r, r)
        losses.append(-multivariate_normal(mean, covariance).logpdf(t))
    return np.array(losses)


def log_ratios(label, smoothing):
    """Log-ratios of a smoothed label: of classes before, against the next one."""
    y = (1 - smoothing) * label + smoothing / len(label)
    return np.array(
        [
            np.sqrt(i / (i + 1)) * (np.mean(np.log(y[:i])) - np.log(y[i]))
            for i in range(1, len(y))
        ]
    )


def test_helmerts_rows_are_the_golden_ones_and_orthonormal():
    expected = [[0.707107, -0.707107, 0], [0.408248, 0.408248, -0.816497]]
    np.testing.assert_allclose(helmert(3), expected, atol=1e-6)
    rows = helmert(7)
    np.testing.assert_allclose(rows @ rows.T, np.eye(6), atol=1e-12)
    np.testing.assert_allclose(rows.sum(axis=1), 0, atol=1e-12)


def test_golden_likelihood_and_prediction():
    np.testing.assert_allclose(log_ratios(np.eye(3)[0], 0.001), TARGETS[0], atol=1e-6)
    parts = [tf.constant(part) for part in (TARGETS, MEANS, SPREAD, AVERAGE)]
    np.testing.assert_allclose(log_ratio_loss(*parts, SHARE), [16.303425], atol=1e-5)
    prediction = oracles.softmax((MEANS @ helmert(3))[0])
    np.testing.assert_allclose(prediction, [0.464526, 0.112934, 0.422540], atol=1e-6)


def test_value_and_gradients_are_those_of_the_oracle():
    rng = np.random.default_rng(0)
    parts = [rng.normal(size=(5, 3)) for _ in range(4)]
    inputs = [tf.constant(part) for part in parts]
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        losses = log_ratio_loss(*inputs, 0.3)
    np.testing.assert_allclose(losses, oracle(*parts, 0.3), rtol=1e-10)
    to_means, to_spread, to_average = tape.gradient(losses, inputs[1:])
    targets, means, spread, average = parts
    for received, function, at in (
        (to_means, lambda x: oracle(targets, x, spread, average, 0.3), means),
        (to_spread, lambda x: oracle(targets, means, x, average, 0.3), spread),
    ):
        expected = central_differences(lambda x, f=function: np.sum(f(x)), at)
        np.testing.assert_allclose(received, expected, rtol=1e-6, atol=1e-8)
    assert to_average is None  # The target is a constant for the gradient.


def sgn(**arguments):
    arguments = {"average_decay": 0.6, "smoothing": 0.001, **arguments}
    model = new_model("sgn", **arguments)
    model.compile(keras.optimizers.SGD(0.05), run_eagerly=True)
    model(X)
    return model


@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_three_steps_are_those_of_a_slow_oracle(weights):
    model = sgn()
    reference = sgn()
    reference.set_weights(model.get_weights())
    steps = fit(model, epochs=3, batch_size=24, sample_weight=weights)["loss"]
    rows = helmert(3)
    targets = np.array([log_ratios(np.eye(3)[label], 0.001) for label in Y])
    trained = [*reference.backbone.weights, *reference.classifier.weights]
    average = [weight.numpy() for weight in trained]
    optimizer = keras.optimizers.SGD(0.05)
    for step, received in enumerate(steps):
        decay = min(1 - 1 / max(step, 1), 0.6)
        average = [
            decay * mean + (1 - decay) * weight.numpy()
            for mean, weight in zip(average, trained, strict=True)
        ]
        kernel, bias, mean_kernel, mean_bias, *_ = average
        hidden = np.maximum(X @ kernel + bias, 0)
        average_means = hidden @ mean_kernel + mean_bias
        share = 1 - 0.5**step
        with tf.GradientTape() as tape:
            features = reference.backbone(X)
            means = reference.classifier.mean(features)
            spread = reference.classifier.spread(features)
            each = log_ratio_loss(
                *(tf.cast(x, "float32") for x in (targets, means, spread)),
                tf.cast(average_means, "float32"),
                share,
            )
            loss = tf.reduce_mean(each * (1 if weights is None else weights))
        expected = oracle(targets, means, spread, average_means, share)
        np.testing.assert_allclose(each, expected, rtol=1e-4)
        assert received == pytest.approx(float(loss), rel=1e-5)
        optimizer.apply(tape.gradient(loss, trained), trained)
    np.testing.assert_allclose(model.predict(X, verbose=0), reference(X), atol=1e-4)
    assert np.allclose(reference(X), means @ rows, atol=0.5)


def test_epochs_count_with_their_fractions():
    model = sgn()
    fit(model, epochs=2, batch_size=8)
    assert int(model.epoch_length) == 3
    assert float(model.corrected_share()) == pytest.approx(1 - 0.5**2)
    model.optimizer.iterations.assign(7)
    assert float(model.corrected_share()) == pytest.approx(1 - 0.5 ** (7 / 3))


def test_nothing_is_corrected_where_the_decay_is_one():
    model = sgn(correction_decay=1.0)
    fit(model, epochs=3)
    assert float(model.corrected_share()) == 0


def test_the_average_is_no_part_of_training_and_keeps_batch_statistics():
    backbone = keras.Sequential(
        [dense(6, 1), keras.layers.BatchNormalization(momentum=0.5)]
    )
    model = SGNModel(backbone, 3, average_decay=1.0)
    model.compile(keras.optimizers.SGD(0.1), run_eagerly=True)
    fit(model, epochs=3)
    assert not model.average.trainable_weights
    model.batch_objective(X, Y)
    for weight, mean in zip(
        model.backbone.weights, model.average.backbone.weights, strict=True
    ):
        if "moving" not in weight.path and "gamma" not in weight.path:
            assert not np.array_equal(weight, mean), weight.path


def test_data_of_unknown_length_is_refused():
    dataset = (
        tf.data.Dataset.from_tensor_slices((X, Y)).batch(8).filter(lambda *_: True)
    )
    with pytest.raises(ValueError, match="`steps_per_epoch` must be given to `fit`"):
        fit(compiled("sgn"), dataset.repeat(1), None, batch_size=None)


@pytest.mark.slow
def test_it_learns_more_than_cross_entropy_from_wrong_labels():
    plain, corrected, _ = beside_cross_entropy(
        SGNModel, 60, correction_decay=0.9, average_decay=0.99
    )
    assert corrected > plain + 0.08
