"""The heteroscedastic classifier: golden numbers, an oracle, gradients, its noise."""

import keras
import numpy as np
import oracles
import pytest
import tensorflow as tf
from batches import assert_all_close, central_differences
from model_harness import few

from keras_ncr.backbones import HeteroscedasticClassifier
from keras_ncr.backbones.heteroscedastic_classifier import log_mean_softmax

MEAN, FACTORS = np.array([[2.0, 0, -1]]), np.array([[[1.0], [0], [-0.5]]])
DEVIATIONS = np.array([[0.3, 0.2, 0.1]])
TEMPERATURE = 1.5


def noise_of(*samples, num_chunks=1):
    """Returns given noise of equal weight as `log_mean_softmax` draws it."""
    shared, own = (np.array(part, "float64") for part in zip(*samples, strict=True))
    weights = np.full(len(shared), -np.log(len(shared)))
    size = len(shared) // num_chunks

    def samples_of(chunk):
        parts = [tf.constant(part) for part in (shared, own, weights)]
        return [part[chunk * size : (chunk + 1) * size] for part in parts]

    return samples_of


def divided(*parts):
    return [tf.constant(part / TEMPERATURE) for part in parts]


def random_case(num_samples=6, seed=0):
    rng = np.random.default_rng(seed)
    parts = rng.normal(size=(4, 3)), rng.normal(size=(4, 3, 2)), rng.random((4, 3))
    samples = [(rng.normal(size=2), rng.normal(size=3)) for _ in range(num_samples)]
    return parts, samples


def oracle(location, factors, deviations, samples):
    """The logarithm of the mean softmax, example by example, sample by sample."""
    result = []
    for mean, factor, deviation in zip(location, factors, deviations, strict=True):
        softmaxes = [
            oracles.softmax(mean + factor @ shared + deviation * own)
            for shared, own in samples
        ]
        result.append(np.log(np.mean(softmaxes, axis=0)))
    return np.array(result)


def test_one_sample_is_the_golden_softmax():
    samples = noise_of(([0.5], [1, -1, 0.5]))
    logs = log_mean_softmax(*divided(MEAN, FACTORS, DEVIATIONS), samples, 1)
    np.testing.assert_allclose(np.exp(logs[0]), [0.83, 0.112328, 0.057671], atol=1e-6)


def test_many_samples_approach_the_golden_expectation():
    layer = HeteroscedasticClassifier(
        3, rank=1, temperature=TEMPERATURE, num_samples=100_000, samples_at_once=25_000
    )
    layer.build((None, 1))
    deviations = np.log(np.expm1(DEVIATIONS[0] - 1e-3))  # Softplus comes on top.
    for part, bias in (
        (layer.location, MEAN[0]),
        (layer.factors, FACTORS[0, :, 0]),
        (layer.deviations, deviations),
    ):
        part.set_weights([np.zeros((1, 3)), bias])
    received = np.exp(layer(np.ones((1, 1))))[0]
    # Three standard errors: single values deviate by less than .2.
    np.testing.assert_allclose(received, [0.688853, 0.193551, 0.117596], atol=2e-3)


@pytest.mark.parametrize("num_chunks", [1, 2, 3, 6])
def test_value_and_gradients_in_chunks_are_those_of_the_oracle(num_chunks):
    parts, samples = random_case()
    inputs = [tf.constant(part) for part in parts]
    upstream = np.random.default_rng(1).normal(size=(4, 3))
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        samples_of = noise_of(*samples, num_chunks=num_chunks)
        logs = log_mean_softmax(*inputs, samples_of, num_chunks)
    np.testing.assert_allclose(logs, oracle(*parts, samples), rtol=1e-10)
    gradients = tape.gradient(logs, inputs, tf.constant(upstream))
    for place, gradient in enumerate(gradients):

        def total(x, place=place):
            changed = [x if i == place else part for i, part in enumerate(parts)]
            return np.sum(upstream * oracle(*changed, samples))

        expected = central_differences(total, parts[place])
        np.testing.assert_allclose(gradient, expected, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("jit_compile", few(False, of=[False, True]))
def test_graphs_of_any_batch_give_what_eager_execution_gives(jit_compile):
    layer = HeteroscedasticClassifier(3, num_samples=50, samples_at_once=20, seed=1)
    layer.build((None, 4))

    def value_and_gradients(features):
        with tf.GradientTape() as tape:
            tape.watch(features)
            logs = layer(features)
            loss = -tf.reduce_sum(logs[:, 0])
        return logs, tape.gradient(loss, features)

    compiled = tf.function(
        value_and_gradients,
        input_signature=[tf.TensorSpec([None, 4])],
        jit_compile=jit_compile,
    )
    for n in (5, 2):
        features = tf.constant(np.random.default_rng(n).normal(size=(n, 4)), "float32")
        assert_all_close(compiled(features), value_and_gradients(features))


def test_without_noise_it_is_the_softmax_of_the_mean():
    parts = divided(MEAN, 0 * FACTORS, 0 * DEVIATIONS)
    logs = log_mean_softmax(*parts, noise_of(([3.0], [1, 2, 3])), 1)
    expected = oracles.softmax(MEAN[0] / TEMPERATURE)
    np.testing.assert_allclose(np.exp(logs[0]), expected, rtol=1e-12)


def test_extreme_logits_have_finite_values_and_gradients():
    features = tf.constant([[1e4, -1e4], [0.0, 0.0]])
    layer = HeteroscedasticClassifier(3, num_samples=8)
    with tf.GradientTape() as tape:
        tape.watch(features)
        loss = -tf.reduce_sum(layer(features), axis=1)
    assert np.all(np.isfinite(loss)) and np.max(loss) > 100
    assert np.all(np.isfinite(tape.gradient(loss, features)))


@pytest.mark.parametrize(("num_samples", "at_once"), [(7, 3), (7, 7), (7, 100), (1, 1)])
def test_samples_are_as_many_as_asked_for_and_different(num_samples, at_once):
    layer = HeteroscedasticClassifier(
        3, num_samples=num_samples, samples_at_once=at_once
    )
    chunks = [layer.samples(tf.constant(0), i) for i in range(layer.num_chunks)]
    shared, _, weights = (np.concatenate(part) for part in zip(*chunks, strict=True))
    is_sample = weights > -1e29
    np.testing.assert_allclose(np.exp(weights[is_sample]), 1 / num_samples, rtol=1e-6)
    assert len(np.unique(shared[is_sample], axis=0)) == num_samples
    assert all(len(part[0]) <= at_once for part in chunks)


def test_noise_is_new_in_training_and_always_the_same_otherwise():
    layer = HeteroscedasticClassifier(3, num_samples=5, seed=3)
    features = np.ones((2, 4), "float32")
    first, second = (np.array(layer(features)) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(first[0], first[1])  # The examples share it.
    trained = [np.array(layer(features, training=True)) for _ in range(2)]
    assert np.all(trained[0] != trained[1])
    copy = HeteroscedasticClassifier.from_config(layer.get_config())
    copy.build((None, 4))
    copy.set_weights(layer.get_weights())
    for training in (True, False):
        assert_all_close(
            copy(features, training=training), layer(features, training=training), 0
        )


def test_the_global_seed_decides_where_none_is_given():
    seeds = []
    for seed in (0, 0, 1):
        keras.utils.set_random_seed(seed)
        seeds.append(HeteroscedasticClassifier(3).seed)
    assert seeds[0] == seeds[1] != seeds[2]


@pytest.mark.parametrize(
    "argument", ["num_classes", "rank", "num_samples", "samples_at_once", "temperature"]
)
def test_arguments_out_of_range_are_refused(argument):
    with pytest.raises(ValueError, match=f"`{argument}` must be .*{argument}=0"):
        HeteroscedasticClassifier(**{"num_classes": 3, argument: 0})


@pytest.mark.slow
def test_it_learns_where_labels_are_unsure():
    """Half of the examples have random labels: there its probabilities are flatter."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 600)
    x = np.eye(3)[labels] + rng.normal(size=(600, 3), scale=0.1)
    is_unsure = np.arange(600) % 2
    labels = np.where(is_unsure, rng.integers(0, 3, 600), labels)
    x = np.column_stack([x, is_unsure]).astype("float32")
    hidden = keras.layers.Dense(32, activation="relu")
    layer = HeteroscedasticClassifier(3, num_samples=100, seed=0)
    model = keras.Sequential([hidden, layer])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.01), loss, metrics=["accuracy"])
    model.fit(x, labels, epochs=40, verbose=0)
    confidence = np.exp(model.predict(x, verbose=0)).max(axis=1)
    assert model.evaluate(x[::2], labels[::2], verbose=0)[1] > 0.95
    assert confidence[::2].mean() > 0.85 > 0.55 > confidence[1::2].mean()
