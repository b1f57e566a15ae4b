"""The Jensen-Shannon losses: definition, limits, views."""

import keras
import numpy as np
import oracles
import pytest
import tensorflow as tf

from keras_ncr.losses import JensenShannon

NUM_CLASSES = 4
RNG = np.random.default_rng(0)
LOGITS = 2 * RNG.normal(size=(12, NUM_CLASSES))
CLASSES = np.repeat([0, 3, 1], 4)  # whole groups for two, three or four views
ONE_HOT = np.eye(NUM_CLASSES)[CLASSES]
SOFT = np.repeat(RNG.dirichlet(np.ones(NUM_CLASSES), 1), 12, axis=0)
P = np.array([oracles.softmax(row) for row in LOGITS])
P_LABEL = np.sum(P * ONE_HOT, axis=1)


def per_example(*args, **kwargs):
    return JensenShannon(*args, reduction=None, dtype="float64", **kwargs)


def oracle(labels, logits, label_weight, num_views):
    """The definition, example by example and view by view."""
    losses = []
    for first in range(0, len(logits), num_views):
        views = [oracles.softmax(z) for z in logits[first : first + num_views]]
        distributions = [labels[first], *views]
        weights = [label_weight] + num_views * [(1 - label_weight) / num_views]
        mean = sum(w * d for w, d in zip(weights, distributions, strict=True))
        value = sum(
            w * oracles.kl_divergence(d, mean)
            for w, d in zip(weights, distributions, strict=True)
        )
        scale = -(1 - label_weight) * np.log(1 - label_weight)
        losses += num_views * [value / scale]
    return losses


@pytest.mark.parametrize("labels", [ONE_HOT, SOFT], ids=["one-hot", "soft"])
@pytest.mark.parametrize("num_views", [1, 2, 4])
@pytest.mark.parametrize("label_weight", [0.1, 0.5, 0.9])
def test_equals_the_oracle(label_weight, num_views, labels):
    loss = per_example(label_weight, num_views)
    expected = oracle(labels, LOGITS, label_weight, num_views)
    np.testing.assert_allclose(loss(labels, LOGITS), expected, rtol=1e-9)
    single = JensenShannon(label_weight, num_views, reduction=None)
    np.testing.assert_allclose(single(labels, LOGITS), expected, rtol=1e-4, atol=1e-6)


def test_values_worked_by_hand():
    """Uniform over two classes, weight 1/2: m = (3/4, 1/4), Z = log(2) / 2."""
    to_label = np.log(4 / 3)
    to_view = 0.5 * np.log(0.5 / 0.75) + 0.5 * np.log(0.5 / 0.25)
    expected = 0.5 * (to_label + to_view) / (0.5 * np.log(2))
    np.testing.assert_allclose(per_example()([0], [[1.0, 1.0]]), [expected])


def test_right_and_sure_costs_nothing_wrong_and_sure_the_bound():
    logits = np.array([[0, 500], [500, 0]])
    for weight in (0.1, 0.5, 0.9):
        bound = 1 + weight * np.log(weight) / ((1 - weight) * np.log(1 - weight))
        loss = per_example(weight)([1, 1], logits)
        np.testing.assert_allclose(loss, [0, bound], atol=1e-12)
    np.testing.assert_allclose(per_example(0.5)([1], [[500, 0]]), [2])


def test_small_label_weight_approaches_cross_entropy():
    cross_entropy = -np.log(P_LABEL)
    loss = per_example(1e-6)(CLASSES, LOGITS)
    np.testing.assert_allclose(loss, cross_entropy, rtol=1e-3)
    far = abs(per_example(1e-2)(CLASSES, LOGITS) - cross_entropy)
    assert np.all(abs(loss - cross_entropy) < far)


def test_large_label_weight_approaches_half_the_absolute_error():
    """As 1 / log(1 / (1 - w)): slowly, so the next term is checked as well."""
    half_error = np.sum(abs(P - ONE_HOT), axis=1) / 2
    rest = 1e-9
    next_term = (half_error + P_LABEL * np.log(P_LABEL)) / -np.log(rest)
    loss = per_example(1 - rest)(CLASSES, LOGITS)
    np.testing.assert_allclose(loss, half_error + next_term, rtol=1e-6)


@pytest.mark.parametrize("num_views", [2, 3])
def test_views_that_agree_cost_what_one_view_costs(num_views):
    one = per_example(0.3)(CLASSES, LOGITS)
    repeated = per_example(0.3, num_views)(
        np.repeat(CLASSES, num_views), np.repeat(LOGITS, num_views, axis=0)
    )
    np.testing.assert_allclose(repeated, np.repeat(one, num_views), rtol=1e-12)


def test_views_that_disagree_cost_more_than_their_mean_prediction():
    """The divergence of several views is that of their mean, and their own spread."""
    mean = P.reshape(6, 2, NUM_CLASSES).mean(axis=1)
    of_mean = per_example(0.3)(CLASSES[::2], np.log(mean))
    of_views = per_example(0.3, 2)(CLASSES, LOGITS)[::2]
    assert np.all(of_views > of_mean)


def test_order_of_the_views_does_not_matter():
    swapped = LOGITS.reshape(6, 2, NUM_CLASSES)[:, ::-1].reshape(12, NUM_CLASSES)
    loss = per_example(0.3, 2)
    np.testing.assert_allclose(loss(CLASSES, swapped), loss(CLASSES, LOGITS))


def test_label_of_views_with_different_labels_is_their_mean():
    mixed = RNG.dirichlet(np.ones(NUM_CLASSES), 12)
    mean = np.repeat(mixed.reshape(6, 2, NUM_CLASSES).mean(axis=1), 2, axis=0)
    loss = per_example(0.3, 2)
    np.testing.assert_allclose(loss(mixed, LOGITS), loss(mean, LOGITS))


def test_view_of_another_example_does_not_matter():
    changed = LOGITS.copy()
    changed[2:4] += [1, 2, 3, 4]
    loss = per_example(num_views=2)
    same = np.array(loss(CLASSES, changed) == loss(CLASSES, LOGITS))
    assert same.tolist() == [True] * 2 + [False] * 2 + [True] * 8


def test_batch_that_splits_a_pair_is_refused():
    with pytest.raises(ValueError, match="multiple of num_views=2. Received: batch=5"):
        JensenShannon(num_views=2)(CLASSES[:5], LOGITS[:5])


def test_batch_of_unknown_size_that_splits_a_pair_is_refused_when_it_comes():
    loss = JensenShannon(num_views=2)
    row, rows = tf.TensorSpec([None], "int32"), tf.TensorSpec([None, 4], "float32")
    compiled = tf.function(loss.__call__, input_signature=[row, rows])
    labels, logits = tf.constant(CLASSES, "int32"), tf.constant(LOGITS, "float32")
    np.testing.assert_allclose(compiled(labels, logits), loss(labels, logits))
    with pytest.raises(tf.errors.InvalidArgumentError, match="num_views=2"):
        compiled(labels[:5], logits[:5])


@pytest.mark.slow
def test_two_replicas_train_as_one_device_does(two_replicas):
    def make():
        model = keras.Sequential(
            [keras.layers.Dense(NUM_CLASSES, kernel_initializer="zeros")]
        )
        model.build((None, 4))
        model.compile(keras.optimizers.SGD(0.5), JensenShannon(num_views=2))
        return model

    def fit(model):
        settings = {"batch_size": 8, "shuffle": False, "verbose": 0}
        history = model.fit(LOGITS, ONE_HOT, epochs=2, **settings).history["loss"]
        return history, model.layers[0].kernel.numpy()

    with two_replicas.scope():
        distributed = make()
    expected_history, expected_kernel = fit(make())
    history, kernel = fit(distributed)
    np.testing.assert_allclose(history, expected_history, rtol=1e-5)
    np.testing.assert_allclose(kernel, expected_kernel, rtol=1e-5, atol=1e-7)
    assert history[1] < history[0]
