"""Generalized and symmetric cross-entropy, and what holds for all robust losses."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from batches import central_differences
from label_losses import (
    CLASSES,
    LOGITS,
    NUM_CLASSES,
    ONE_HOT,
    P_LABEL,
    SOFT,
    P,
    per_example,
    value_and_gradient,
)

from keras_ncr import NCRModel
from keras_ncr.losses import (
    GeneralizedCrossEntropy,
    HardBootstrap,
    JensenShannon,
    SoftBootstrap,
    SymmetricCrossEntropy,
)

# One of each loss, far enough from cross-entropy to tell it.
LOSSES = {
    "soft bootstrap": lambda **kwargs: SoftBootstrap(0.4, temperature=2, **kwargs),
    "hard bootstrap": lambda **kwargs: HardBootstrap(0.4, **kwargs),
    "generalized": GeneralizedCrossEntropy,
    "symmetric": SymmetricCrossEntropy,
    "JS": JensenShannon,
    "GJS": lambda **kwargs: JensenShannon(num_views=2, **kwargs),
}
every_loss = pytest.mark.parametrize("make", LOSSES.values(), ids=LOSSES)
linear_in_the_label = pytest.mark.parametrize(
    "make", [LOSSES[n] for n in ("soft bootstrap", "hard bootstrap", "generalized")]
)


# Generalized cross-entropy


@pytest.mark.parametrize("labels", [ONE_HOT, SOFT], ids=["one-hot", "soft"])
@pytest.mark.parametrize("q", [0.1, 0.7, 1])
def test_generalized_equals_its_definition(q, labels):
    expected = [
        sum(label[c] * (1 - p[c] ** q) / q for c in range(NUM_CLASSES))
        for label, p in zip(labels, P, strict=True)
    ]
    loss = per_example(GeneralizedCrossEntropy, q)
    np.testing.assert_allclose(loss(labels, LOGITS), expected, rtol=1e-12)


def test_generalized_value_worked_by_hand():
    """The label has probability 1/4: (1 - sqrt(1/4)) / (1/2)."""
    loss = per_example(GeneralizedCrossEntropy, 0.5)
    np.testing.assert_allclose(loss([0], np.log([[0.25, 0.75]])), [1])


def test_generalized_equals_that_of_keras_on_probabilities():
    theirs = keras.losses.CategoricalGeneralizedCrossEntropy(0.7, reduction=None)
    ours = GeneralizedCrossEntropy(0.7, reduction=None)
    np.testing.assert_allclose(ours(CLASSES, LOGITS), theirs(CLASSES, P), rtol=1e-5)


@pytest.mark.parametrize("q", [1e-4, 1e-8, 1e-300])
def test_generalized_with_small_q_is_cross_entropy(q):
    loss = per_example(GeneralizedCrossEntropy, q)
    np.testing.assert_allclose(loss(CLASSES, LOGITS), -np.log(P_LABEL), rtol=1e-3)


def test_generalized_with_q_one_is_half_the_absolute_error():
    loss = per_example(GeneralizedCrossEntropy, 1)
    expected = np.sum(abs(P - ONE_HOT), axis=1) / 2
    np.testing.assert_allclose(loss(CLASSES, LOGITS), expected, rtol=1e-12)


@pytest.mark.parametrize("q", [0.1, 0.7, 1])
def test_generalized_gradient_is_that_of_cross_entropy_times_a_power(q):
    loss = per_example(GeneralizedCrossEntropy, q)
    _, gradient = value_and_gradient(loss, CLASSES, LOGITS)
    expected = P_LABEL[:, None] ** q * (P - ONE_HOT)
    np.testing.assert_allclose(gradient, expected, rtol=1e-10)


def test_generalized_is_finite_where_that_of_keras_is_not():
    logits, p = tf.constant([[1000.0, -1000.0]]), tf.constant([[1.0, 0.0]])
    theirs = keras.losses.CategoricalGeneralizedCrossEntropy(0.7)
    assert not np.all(np.isfinite(value_and_gradient(theirs, np.array([1]), p)[1]))
    loss = GeneralizedCrossEntropy(0.7)
    value, gradient = value_and_gradient(loss, [1], logits)
    np.testing.assert_allclose(value, 1 / 0.7, rtol=1e-6)
    assert gradient.numpy().tolist() == [[0, 0]]


# Symmetric cross-entropy


@pytest.mark.parametrize("labels", [ONE_HOT, SOFT], ids=["one-hot", "soft"])
@pytest.mark.parametrize("weights", [(0.1, 1), (6, 0.1), (1, 2)])
@pytest.mark.parametrize("log_zero", [-4, -1, -300])
def test_symmetric_equals_its_definition(log_zero, weights, labels):
    expected = []
    for label, p in zip(labels, P, strict=True):
        classes = range(NUM_CLASSES)
        cross_entropy = -sum(label[c] * np.log(p[c]) for c in classes)
        floor = np.exp(log_zero)
        reverse = -sum(p[c] * np.log(max(label[c], floor)) for c in classes)
        expected.append(weights[0] * cross_entropy + weights[1] * reverse)
    loss = per_example(SymmetricCrossEntropy, *weights, log_zero)
    np.testing.assert_allclose(loss(labels, LOGITS), expected, rtol=1e-12)


def test_symmetric_with_one_hot_labels_adds_the_absolute_error():
    loss = per_example(SymmetricCrossEntropy, 0.5, 2, log_zero=-3)
    expected = -0.5 * np.log(P_LABEL) + 2 * 3 * (1 - P_LABEL)
    np.testing.assert_allclose(loss(CLASSES, LOGITS), expected, rtol=1e-12)


def test_symmetric_gradient_is_the_closed_form():
    loss = per_example(SymmetricCrossEntropy, 0.5, 2, log_zero=-3)
    _, gradient = value_and_gradient(loss, CLASSES, LOGITS)
    expected = (0.5 + 2 * 3 * P_LABEL[:, None]) * (P - ONE_HOT)
    np.testing.assert_allclose(gradient, expected, rtol=1e-10)


def test_symmetric_defaults_are_those_for_cifar_10():
    loss = SymmetricCrossEntropy()
    assert (loss.cross_entropy_weight, loss.reverse_weight) == (0.1, 1)
    assert loss.log_zero == -4


# What holds for every loss


@every_loss
def test_gradient_equals_central_differences(make):
    loss = per_example(make)
    labels, logits = SOFT[:2], LOGITS[:2]
    _, gradient = value_and_gradient(loss, labels, logits)
    expected = central_differences(lambda z: np.sum(loss(labels, z)), logits)
    np.testing.assert_allclose(gradient, expected, rtol=1e-6, atol=1e-9)


@every_loss
@pytest.mark.parametrize("dtype", ["int64", "uint8", "float32"])
def test_numbers_columns_and_one_hot_labels_are_the_same(make, dtype):
    loss = per_example(make)
    labels = CLASSES.astype(dtype)
    expected = loss(ONE_HOT, LOGITS)
    assert expected.shape == (6,)
    assert np.array_equal(loss(labels, LOGITS), expected)
    assert np.array_equal(loss(labels[:, None], LOGITS), expected)
    assert np.array_equal(loss(labels.tolist(), LOGITS.tolist()), expected)


@every_loss
def test_pairs_of_examples_permute_with_their_losses(make):
    order = np.array([4, 5, 0, 1, 2, 3])  # Pairs, since two views stay together.
    loss = per_example(make)
    expected = np.array(loss(SOFT, LOGITS))[order]
    np.testing.assert_allclose(loss(SOFT[order], LOGITS[order]), expected)


@every_loss
def test_shifted_logits_change_nothing(make):
    loss = per_example(make)
    np.testing.assert_allclose(loss(SOFT, LOGITS + 50), loss(SOFT, LOGITS), rtol=1e-9)


@every_loss
@pytest.mark.parametrize("label", [0, 1])
@pytest.mark.parametrize("logits", [[1000.0, -1000.0], [3e4, -3e4], [0.0, 0.0]])
def test_extreme_logits_give_finite_values_and_gradients(make, logits, label):
    value, gradient = value_and_gradient(make(), [label, label], [logits, logits])
    assert np.isfinite(value) and value > -1e-6
    assert np.all(np.isfinite(gradient))


@every_loss
def test_probabilities_give_what_their_logits_give(make):
    loss = per_example(make, from_logits=False)
    expected = per_example(make)(CLASSES, LOGITS)
    np.testing.assert_allclose(loss(CLASSES, P), expected, rtol=1e-4)


@every_loss
@pytest.mark.parametrize("label", [0, 1])
def test_probability_zero_gives_finite_values_and_gradients(make, label):
    loss = make(from_logits=False)
    certain = [[0.0, 1.0], [0.0, 1.0]]
    value, gradient = value_and_gradient(loss, [label, label], certain)
    assert np.isfinite(value) and value > -1e-6
    assert np.all(np.isfinite(gradient))
    if label == 0:
        # A label that is held impossible still asks for more probability.
        assert np.all(gradient[:, 0] < gradient[:, 1])


@every_loss
def test_half_precision_logits_are_computed_in_float32(make):
    keras.config.set_dtype_policy("mixed_float16")
    keras.config.set_floatx("float16")
    logits = LOGITS.astype("float16")
    received = make(reduction=None)(CLASSES, tf.constant(logits))
    assert received.dtype == "float32"
    expected = per_example(make)(CLASSES, logits.astype("float64"))
    np.testing.assert_allclose(received, expected, rtol=1e-4, atol=1e-6)


def test_xla_gives_what_eager_execution_gives():
    losses = [make(reduction=None) for make in LOSSES.values()]

    def all_losses(labels, logits):
        return [value_and_gradient(loss, labels, logits) for loss in losses]

    batch = tf.constant(CLASSES), tf.constant(LOGITS, "float32")
    compiled = tf.function(all_losses, jit_compile=True)(*batch)
    for received, expected in zip(compiled, all_losses(*batch), strict=True):
        np.testing.assert_allclose(received[0], expected[0], rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(received[1], expected[1], rtol=1e-4, atol=1e-6)


@every_loss
def test_sample_weights_weigh_and_reductions_reduce(make):
    losses = np.array(per_example(make)(CLASSES, LOGITS))
    weights = np.array([0, 1, 2, 0.5, 0, 1])
    mean = make(dtype="float64")(CLASSES, LOGITS)
    np.testing.assert_allclose(mean, losses.mean())
    summed = make(dtype="float64", reduction="sum")(CLASSES, LOGITS, weights)
    np.testing.assert_allclose(summed, np.sum(weights * losses))


@linear_in_the_label
def test_mixed_labels_cost_the_mix_of_the_losses(make):
    loss = per_example(make)
    mixed = loss(0.3 * ONE_HOT + 0.7 * SOFT, LOGITS)
    expected = 0.3 * loss(ONE_HOT, LOGITS) + 0.7 * loss(SOFT, LOGITS)
    np.testing.assert_allclose(mixed, expected, rtol=1e-12)


@every_loss
@pytest.mark.parametrize("label", [4, -1, 0.5, float("nan")])
def test_label_that_is_no_class_is_not_dropped_in_silence(make, label):
    labels = np.array([0, 0, label, label])
    losses = np.array(per_example(make)(labels, LOGITS[:4]))
    assert np.isnan(losses).tolist() == [False, False, True, True]


@every_loss
def test_config_gives_the_loss_again(make):
    loss = make(from_logits=False, dtype="float64", reduction="sum", name="mine")
    copy = keras.losses.deserialize(keras.losses.serialize(loss))
    assert type(copy) is type(loss)
    assert copy.get_config() == loss.get_config()
    assert (copy.name, copy.reduction, copy.dtype) == ("mine", "sum", "float64")
    assert copy(CLASSES, P) == loss(CLASSES, P)


def test_model_trains_with_a_robust_loss_and_is_saved_with_it(tmp_path):
    backbone = keras.Sequential([keras.layers.Dense(8, activation="relu")])
    model = NCRModel(backbone, NUM_CLASSES, consistency_weight=0.5)
    model.compile("sgd", GeneralizedCrossEntropy(0.5), run_eagerly=True)
    model.fit(LOGITS, CLASSES, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.loss.q == 0.5
    assert np.array_equal(
        loaded.predict(LOGITS, verbose=0), model.predict(LOGITS, verbose=0)
    )


def test_model_refuses_a_robust_loss_on_probabilities():
    model = NCRModel(keras.Sequential([keras.layers.Dense(8)]), NUM_CLASSES)
    with pytest.raises(ValueError, match="must be one on logits"):
        model.compile("sgd", GeneralizedCrossEntropy(from_logits=False))


# Learning


def blobs(num_examples, seed):
    """Four clouds in eight dimensions that hardly overlap, and their labels."""
    centers = 2 * np.random.default_rng(7).normal(size=(4, 8))
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, num_examples)
    return centers[labels] + rng.normal(size=(num_examples, 8)), labels


def accuracy_after_training(loss):
    """Test accuracy of a network trained on 512 points, 40 % of the labels wrong."""
    points, labels = blobs(512, seed=0)
    rng = np.random.default_rng(1)
    is_noisy = rng.random(512) < 0.4
    labels = np.where(is_noisy, (labels + rng.integers(1, 4, 512)) % 4, labels)
    hidden = [keras.layers.Dense(128, activation="relu") for _ in range(2)]
    model = keras.Sequential([*hidden, keras.layers.Dense(4)])
    model.build((None, 8))
    optimizer = keras.optimizers.Adam(0.01)
    optimizer.build(model.trainable_variables)

    @tf.function
    def train(points, labels):
        for _ in tf.range(70):
            with tf.GradientTape() as tape:
                value = loss(labels, model(points))
            gradients = tape.gradient(value, model.trainable_variables)
            optimizer.apply(gradients)

    train(tf.constant(points, "float32"), tf.constant(labels))
    test_points, test_labels = blobs(2000, seed=2)
    return np.mean(np.argmax(model(test_points), axis=1) == test_labels)


@pytest.fixture(scope="module")
def accuracy_of_cross_entropy():
    keras.utils.set_random_seed(0)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    return accuracy_after_training(loss)


@pytest.mark.parametrize(
    "loss",
    [
        GeneralizedCrossEntropy(),
        *(
            pytest.param(loss, marks=pytest.mark.slow)
            for loss in (
                # Less sure than the label, or surer of its own prediction: Reed et
                # al.'s own weights are too small to tell from cross-entropy so soon.
                SoftBootstrap(0.8, temperature=2, stop_gradient=True),
                HardBootstrap(0.5),
                SymmetricCrossEntropy(),
                JensenShannon(0.9),
            )
        ),
    ],
    ids=lambda loss: type(loss).__name__,
)
def test_learns_more_than_cross_entropy_from_wrong_labels(
    loss, accuracy_of_cross_entropy
):
    assert accuracy_after_training(loss) > accuracy_of_cross_entropy + 0.08
