"""The loss of the paper against known values, an oracle, differences and edges."""

import functools
import itertools

import batches
import keras
import numpy as np
import oracles
import pytest
import tensorflow as tf
from batches import assert_all_close, central_differences, random_batch
from model_harness import few

from keras_ncr import NeighborConsistencyLoss
from keras_ncr.losses import PassThrough, neighbor_consistency

FEATURES = np.array([[1, 0], [1, 1], [0, 2], [1, 3]], "float32")
LOGITS = np.array([[2, 0, -1], [1, 1, 0], [0, 2, 1], [-1, 0, 3]], "float32")
DIRECTIONS = ["self_to_neighbors", "neighbors_to_self"]
both_directions = pytest.mark.parametrize("direction", DIRECTIONS)
powers = pytest.mark.parametrize("similarity_power", [0.5, 1.0, 3.0])


def value_and_gradients(features, logits, upstream=1.0, **arguments):
    """The loss, and the gradients of its sum weighted by `upstream`."""
    loss = functools.partial(neighbor_consistency, **arguments)
    values = batches.value_and_gradients(loss, features, logits, upstream)
    return [value.numpy() for value in values]


def assert_sane(loss, *gradients):
    assert np.all(np.isfinite(loss)) and np.all(loss >= 0)
    for gradient in gradients:
        assert np.all(np.isfinite(gradient))


# Known values


@pytest.mark.parametrize(
    "num_neighbors, direction, expected, mean",
    [
        (1, "self_to_neighbors", [0.122183, 0.574768, 0.418532, 0.395975], 0.377865),
        (2, "self_to_neighbors", [0.258624, 0.079054, 0.147646, 0.467395], 0.238180),
        (3, "self_to_neighbors", [0.258624, 0.079054, 0.147646, 0.516909], 0.250558),
        (1, "neighbors_to_self", [0.122697, 0.574102, 0.395975, 0.418532], 0.377827),
        (2, "neighbors_to_self", [0.270957, 0.087663, 0.139011, 0.470054], 0.241921),
        (3, "neighbors_to_self", [0.270957, 0.087663, 0.139011, 0.516538], 0.253542),
    ],
)
def test_golden_numbers(num_neighbors, direction, expected, mean):
    # The table has six digits, hence half a unit of the last one more.
    layer = NeighborConsistencyLoss(num_neighbors, direction=direction)
    loss = layer(FEATURES, LOGITS).numpy()
    np.testing.assert_allclose(loss, expected, rtol=0, atol=1.5e-6)
    np.testing.assert_allclose(loss.mean(), mean, rtol=0, atol=1.5e-6)
    oracle = oracles.neighbor_consistency(
        FEATURES, LOGITS, num_neighbors, direction=direction
    )
    np.testing.assert_allclose(oracle, expected, rtol=0, atol=5.1e-7)


@pytest.mark.parametrize(
    "num_neighbors, mean", [(1, 1.511307), (2, 0.967685), (3, 1.014169)]
)
def test_golden_numbers_of_the_released_form(num_neighbors, mean):
    layer = NeighborConsistencyLoss(
        num_neighbors, direction="neighbors_to_self", temperature_squared=True
    )
    loss = layer(FEATURES, LOGITS).numpy()
    np.testing.assert_allclose(loss.mean(), mean, rtol=0, atol=1.5e-6)


@pytest.mark.parametrize("negative", [True, False])
@pytest.mark.parametrize(
    "n, dim, num_classes, num_neighbors",
    [(2, 3, 2, 1), (5, 1, 3, 2), (8, 4, 3, 3), (17, 8, 10, 5), (24, 2, 4, None)],
)
@powers
@both_directions
def test_equals_the_oracle(
    n, dim, num_classes, num_neighbors, negative, direction, similarity_power
):
    features, logits = random_batch(n, dim, num_classes, seed=n, negative=negative)
    for temperature, temperature_squared in [(0.5, True), (1, False), (2, True)]:
        arguments = {
            "num_neighbors": num_neighbors,
            "temperature": temperature,
            "similarity_power": similarity_power,
            "direction": direction,
            "temperature_squared": temperature_squared,
        }
        loss = NeighborConsistencyLoss(**arguments)(features, logits)
        expected = oracles.neighbor_consistency(features, logits, **arguments)
        np.testing.assert_allclose(loss, expected, rtol=2e-5, atol=2e-6)


@both_directions
def test_equals_the_oracle_on_a_batch_of_training_size(direction):
    features, logits = random_batch(128, 256, 10, negative=False)
    loss = NeighborConsistencyLoss(direction=direction)(features, logits)
    expected = oracles.neighbor_consistency(features, logits, direction=direction)
    np.testing.assert_allclose(loss, expected, rtol=2e-5, atol=2e-6)


def test_float64_stays_float64_in_the_function():
    features, logits = random_batch(9, 4, 3, dtype="float64")
    loss = neighbor_consistency(features, logits, num_neighbors=3)
    expected = oracles.neighbor_consistency(features, logits, num_neighbors=3)
    assert loss.dtype == "float64"
    np.testing.assert_allclose(loss, expected, rtol=1e-12)


@both_directions
def test_all_others_is_batch_minus_one_or_more(direction):
    features, logits = random_batch(9, 4, 3)
    expected = value_and_gradients(
        features, logits, num_neighbors=None, direction=direction
    )
    for num_neighbors in [8, 9, 10, 1000]:
        received = value_and_gradients(
            features, logits, num_neighbors=num_neighbors, direction=direction
        )
        assert_all_close(received, expected, atol=0)
    fewer = neighbor_consistency(features, logits, 1, direction=direction)
    assert np.max(np.abs(fewer - expected[0])) > 0.01


# Closed forms


@both_directions
def test_equal_predictions_cost_nothing(direction):
    features, _ = random_batch(6, 4, 3, negative=False)
    logits = np.tile(np.array([[3.0, -1.0, 0.5]], "float32"), (6, 1))
    loss = neighbor_consistency(features, logits, 3, direction=direction)
    np.testing.assert_allclose(loss, 0.0, atol=1e-6)


def test_twins_pay_the_divergence_between_them():
    features = np.array([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0], [0.0, 3.0]])
    logits = np.log([[0.9, 0.1], [0.5, 0.5], [0.2, 0.8], [0.2, 0.8]])
    loss = NeighborConsistencyLoss(1, temperature=1.0)(features, logits)
    first = 0.9 * np.log(0.9 / 0.5) + 0.1 * np.log(0.1 / 0.5)
    second = 0.5 * np.log(0.5 / 0.9) + 0.5 * np.log(0.5 / 0.1)
    np.testing.assert_allclose(loss, [first, second, 0, 0], atol=1e-6)


@pytest.mark.parametrize("num_neighbors", [1, 4, None])
def test_duplicates_of_everything_are_compared_with_the_mean_of_the_others(
    num_neighbors,
):
    # All tie with the first neighbor, so that k does not matter.
    features = np.tile(np.array([[0.3, -0.7, 2.0]], "float32"), (5, 1))
    _, logits = random_batch(5, 3, 4)
    predictions = tf.nn.softmax(logits / 2).numpy()
    loss = neighbor_consistency(features, logits, num_neighbors)
    for i in range(5):
        others = np.delete(predictions, i, axis=0).mean(axis=0)
        expected = oracles.kl_divergence(predictions[i], others)
        np.testing.assert_allclose(loss[i], expected, rtol=1e-5, atol=1e-6)


# Gradients


@pytest.mark.parametrize(
    "num_neighbors, similarity_power, negative",
    [(2, 1.0, False), (3, 0.5, True), (4, 3.0, False)],
)
@both_directions
def test_gradients_equal_central_differences(
    num_neighbors, similarity_power, negative, direction
):
    features, logits = random_batch(5, 3, 3, 9, negative, "float64")
    upstream = np.array([1.0, -0.5, 2.0, 0.0, 0.3])
    arguments = {
        "num_neighbors": num_neighbors,
        "similarity_power": similarity_power,
        "direction": direction,
        "temperature_squared": True,
    }

    def weighted_sum(features, logits):
        loss = neighbor_consistency(features, logits, **arguments)
        return np.sum(loss.numpy() * upstream)

    _, to_features, to_logits = value_and_gradients(
        features, logits, upstream, **arguments
    )
    expected = [
        central_differences(lambda x: weighted_sum(x, logits), features),
        central_differences(lambda x: weighted_sum(features, x), logits),
    ]
    assert np.max(np.abs(expected[0])) > 1e-3 and np.max(np.abs(expected[1])) > 1e-3
    assert_all_close([to_features, to_logits], expected, atol=1e-7)


def plain_formulation(features, logits, num_neighbors, power, direction):
    """Eq. 3 as one writes it down, with the gradients left to TensorFlow."""
    vectors = features / tf.norm(features, axis=1, keepdims=True)
    similarities = tf.matmul(vectors, vectors, transpose_b=True)
    similarities *= 1 - tf.eye(len(features), dtype=features.dtype)
    kth_largest = tf.sort(similarities, direction="DESCENDING")[:, num_neighbors - 1]
    is_neighbor = (similarities >= kth_largest[:, None]) & (similarities > 0)
    weights = tf.where(is_neighbor, tf.where(is_neighbor, similarities, 1) ** power, 0)
    weights /= tf.reduce_sum(weights, axis=1, keepdims=True)
    own = tf.nn.softmax(logits / 2)
    p, q = own, tf.matmul(weights, own)
    if direction == "neighbors_to_self":
        p, q = q, p
    return tf.reduce_sum(p * (tf.math.log(p) - tf.math.log(q)), axis=1)


@pytest.mark.parametrize("n, num_neighbors", [(6, 1), (20, 4), (20, 19)])
@powers
@both_directions
def test_gradients_equal_those_of_a_plain_formulation(
    n, num_neighbors, similarity_power, direction
):
    features, logits = random_batch(n, 5, 4, n, negative=False, dtype="float64")
    upstream = np.random.default_rng(1).normal(size=n)
    inputs = [tf.constant(features), tf.constant(logits)]
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        loss = plain_formulation(*inputs, num_neighbors, similarity_power, direction)
        total = tf.reduce_sum(loss * upstream)
    expected = [loss, *tape.gradient(total, inputs)]
    received = value_and_gradients(
        features,
        logits,
        upstream,
        num_neighbors=num_neighbors,
        similarity_power=similarity_power,
        direction=direction,
    )
    assert_all_close(received, expected, atol=1e-11)


@both_directions
def test_second_derivatives_equal_differences_of_the_first(direction):
    features, logits = random_batch(6, 4, 3, negative=False, dtype="float64")
    along = np.random.default_rng(2).normal(size=logits.shape)
    inputs = tf.constant(logits)
    with tf.GradientTape() as outer:
        outer.watch(inputs)
        with tf.GradientTape() as inner:
            inner.watch(inputs)
            total = tf.reduce_sum(
                neighbor_consistency(features, inputs, 2, direction=direction)
            )
        slope = tf.reduce_sum(inner.gradient(total, inputs) * along)

    def gradient(logits):
        return value_and_gradients(
            features, logits, num_neighbors=2, direction=direction
        )[2]

    step = 1e-5 * along
    expected = (gradient(logits + step) - gradient(logits - step)) / 2e-5
    np.testing.assert_allclose(outer.gradient(slope, inputs), expected, atol=1e-8)


# Invariance


def batch_with_ties():
    """Duplicates, and for row 0 two neighbors that tie at the second place."""
    _, logits = random_batch(10, 3, 4, seed=5)
    rows = [[1, 0, 0], [1, 0.1, 0], [1, 1, 0], [1, 0, 1], [0, 1, 1]]
    return np.array(rows + rows[::-1], "float32"), logits


@pytest.mark.parametrize("num_neighbors", [1, 2, 3, 4, 5, 9])
@both_directions
def test_permuting_the_batch_permutes_value_and_gradients(num_neighbors, direction):
    features, logits = batch_with_ties()
    arguments = {"num_neighbors": num_neighbors, "direction": direction}
    upstream = np.linspace(-1, 2, 10, dtype="float32")
    expected = value_and_gradients(features, logits, upstream, **arguments)
    for seed in range(5):
        order = np.random.default_rng(seed).permutation(10)
        received = value_and_gradients(
            features[order], logits[order], upstream[order], **arguments
        )
        assert_all_close(received, [part[order] for part in expected], atol=2e-6)


@pytest.mark.parametrize("dim", [64, 2048])
def test_duplicates_tie_whatever_their_place_in_a_wide_batch(dim):
    features, logits = random_batch(48, dim, 5, negative=False)
    features, order = (
        np.tile(features, (2, 1)),
        np.random.default_rng(0).permutation(96),
    )
    logits = np.concatenate([logits, logits[::-1]])
    loss = neighbor_consistency(features, logits, 2).numpy()
    permuted = neighbor_consistency(features[order], logits[order], 2)
    np.testing.assert_allclose(permuted, loss[order], rtol=0, atol=1e-5)
    expected = oracles.neighbor_consistency(features, logits, 2)
    np.testing.assert_allclose(loss, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("factor", [1e-11, 1e-3, 1e6, 1e17])
def test_lengths_of_features_do_not_matter(factor):
    features, logits = random_batch(8, 4, 3)
    loss, to_features, to_logits = value_and_gradients(
        features, logits, num_neighbors=3
    )
    received = value_and_gradients(features * factor, logits, num_neighbors=3)
    # The gradient is that of a function of the direction alone.
    received[1] *= factor
    assert_all_close(received, [loss, to_features, to_logits], atol=5e-6)


def test_unequal_lengths_of_features_do_not_matter():
    features, logits = random_batch(8, 4, 3)
    lengths = np.array([[1e-8], [1e-4], [0.1], [1], [10], [1e4], [1e8], [1e17]])
    loss = neighbor_consistency(features * lengths.astype("float32"), logits, 3)
    expected = neighbor_consistency(features, logits, 3)
    np.testing.assert_allclose(loss, expected, atol=5e-6)


def test_a_constant_added_to_logits_changes_nothing():
    features, logits = random_batch(8, 4, 3)
    expected = value_and_gradients(features, logits, num_neighbors=3)
    constants = np.linspace(-50, 50, 8, dtype="float32")[:, None]
    received = value_and_gradients(features, logits + constants, num_neighbors=3)
    assert_all_close(received, expected, atol=1e-5)


# Edges

POSITIVE, SOME_LOGITS = random_batch(4, 3, 3, negative=False)
SATURATED = 1e4 * np.array([[1, 0, 0], [0, 1, 0], [0, 1, 0], [0, 0, -1]], "float32")
EDGES = {
    "zero row": (POSITIVE * np.float32([[0], [1], [1], [1]]), SOME_LOGITS),
    "all zero": (0 * POSITIVE, SOME_LOGITS),
    "orthogonal": (np.eye(4, dtype="float32"), SOME_LOGITS),
    "opposite": (np.float32([[1], [-1], [1], [-1]]), SOME_LOGITS),
    "only opposite": (np.float32([[1, 0], [-1, 0], [0, 1], [0, -1]]), SOME_LOGITS),
    "nearly orthogonal": (np.float32([[1, 0], [1e-3, 1], [1, 0], [0, 1]]), SOME_LOGITS),
    "all duplicates": (np.ones((4, 3), "float32"), np.ones((4, 3), "float32")),
    "batch of one": (POSITIVE[:1], SOME_LOGITS[:1]),
    "batch of two": (POSITIVE[:2], SOME_LOGITS[:2]),
    "no example": (POSITIVE[:0], SOME_LOGITS[:0]),
    "one class": (POSITIVE, SOME_LOGITS[:, :1]),
    "saturated": (POSITIVE, SATURATED),
    "huge logits": (POSITIVE, 1e26 * SATURATED),
    "tiny features": (1e-30 * POSITIVE, SOME_LOGITS),
    "small features": (1e-13 * POSITIVE, SOME_LOGITS),
    "huge features": (1e37 * POSITIVE, SOME_LOGITS),
    "features of all sizes": (
        np.float32([[1e-37], [1e-12], [1], [1e37]]) * POSITIVE,
        SOME_LOGITS,
    ),
}


@pytest.mark.parametrize("edge", EDGES)
@both_directions
def test_value_and_gradients_are_finite(edge, direction):
    features, logits = EDGES[edge]
    for num_neighbors in [1, 10, None]:
        for similarity_power in [0.5, 1.0, 20.0]:
            assert_sane(
                *value_and_gradients(
                    features,
                    logits,
                    num_neighbors=num_neighbors,
                    similarity_power=similarity_power,
                    direction=direction,
                )
            )


@pytest.mark.parametrize(
    "edge", ["all zero", "orthogonal", "only opposite", "batch of one", "tiny features"]
)
@powers
@both_directions
def test_without_neighbors_value_and_gradients_are_zero(
    edge, similarity_power, direction
):
    features, logits = EDGES[edge]
    loss, to_features, to_logits = value_and_gradients(
        features, logits, similarity_power=similarity_power, direction=direction
    )
    assert not np.any(to_features)
    # An example is its own neighbor then, up to the rounding of a sum of probabilities.
    np.testing.assert_allclose(loss, np.zeros_like(loss), atol=2.5e-7)
    np.testing.assert_allclose(to_logits, np.zeros_like(to_logits), atol=2.5e-7)


@both_directions
def test_opposite_features_are_no_neighbors(direction):
    features, logits = EDGES["opposite"]
    loss = neighbor_consistency(features, logits, direction=direction)
    expected = oracles.neighbor_consistency(features, logits, direction=direction)
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    assert np.all(expected > 0.01)


@both_directions
def test_a_large_power_of_small_similarities_does_not_underflow(direction):
    features = np.float32([[1, 0, 0], [1e-3, 1, 0], [2e-3, 0, 1]])
    arguments = {"similarity_power": 20.0, "direction": direction}
    loss = neighbor_consistency(features, SOME_LOGITS[:3], **arguments)
    expected = oracles.neighbor_consistency(features, SOME_LOGITS[:3], **arguments)
    np.testing.assert_allclose(loss, expected, rtol=1e-4)
    assert np.all(expected > 0.01)


DISAGREEMENTS = {
    # Every neighbor, near or far, finds impossible what the example is sure of.
    "all against one": ([0, 1, 1, 1, 1, 1], [0, 0, 0, 0, 0, 0]),
    # It holds two classes equally possible, and the neighbors only one of them.
    "two against one": ([0, 1, 2, 2, 1, 0], [0, 1, 1, 2, 2, 2]),
    "all different": ([0, 1, 2, 3, 3, 2], [1, 2, 3, 0, 2, 1]),
}


def logits_with_gap(gap, disagreement, dtype="float64"):
    """Logits of two classes that are so much above the others."""
    _, logits = random_batch(6, 3, 4, seed=2, dtype=dtype)
    for classes in DISAGREEMENTS[disagreement]:
        logits[np.arange(6), classes] = gap + logits[np.arange(6), classes] % 1
    return logits


@pytest.mark.parametrize("disagreement", DISAGREEMENTS)
@pytest.mark.parametrize("gap", few(0, 95, 120, 1000, of=[0, 40, 95, 120, 200, 1000]))
@both_directions
def test_value_and_gradients_are_exact_however_sure_the_predictions(
    gap, disagreement, direction
):
    features, _ = random_batch(6, 3, 4, seed=1, negative=False, dtype="float64")
    logits = logits_with_gap(gap, disagreement)
    for num_neighbors in (1, None):
        arguments = {"num_neighbors": num_neighbors, "direction": direction}

        def total(features, logits, arguments=arguments):
            return np.sum(oracles.neighbor_consistency(features, logits, **arguments))

        expected = [
            oracles.neighbor_consistency(features, logits, **arguments),
            central_differences(lambda x: total(x, logits), features),
            central_differences(lambda x: total(features, x), logits),
        ]
        received = value_and_gradients(features, logits, **arguments)
        scale = max(1, gap)  # Of differences, the rounding is that of the values.
        for one, other in zip(received, expected, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-7, atol=1e-8 * scale)
        for dtype, rtol in [("float32", 2e-5), ("float16", 2e-3)]:
            inputs = [x.astype(dtype).astype("float32") for x in (features, logits)]
            single = value_and_gradients(*inputs, **arguments)
            exact = value_and_gradients(
                *[x.astype("float64") for x in inputs], **arguments
            )
            assert_sane(*single)
            for one, other in zip(single, exact, strict=True):
                np.testing.assert_allclose(one, other, rtol=rtol, atol=1e-6 * scale)


def test_gradient_of_contradicting_twins_does_not_fade():
    # Each pulls the other toward its own class, as far as a softmax at 2 can go: 1 / 2.
    features = np.ones((2, 1))
    for gap in [95, 120, 1000]:
        logits = np.array([[gap, 0.0], [0.0, gap]])
        _, _, to_logits = value_and_gradients(features, logits, num_neighbors=1)
        np.testing.assert_allclose(to_logits, [[0.5, -0.5], [-0.5, 0.5]], rtol=1e-6)


@pytest.mark.parametrize("where", ["features", "logits"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_number_that_is_none_shows_in_the_mean_loss(where, bad):
    features, logits = random_batch(6, 4, 3)
    (features if where == "features" else logits)[2, 1] = bad
    assert np.isnan(np.mean(neighbor_consistency(features, logits, 2)))


# Faults of the authors' released code


@powers
def test_a_zero_feature_row_gives_a_finite_loss_and_leaves_the_others_alone(
    similarity_power,
):
    features, logits = random_batch(7, 4, 3, negative=False)
    features[3] = 0
    others = [0, 1, 2, 4, 5, 6]
    arguments = {"num_neighbors": 2, "similarity_power": similarity_power}
    with_zero = value_and_gradients(features, logits, **arguments)
    without = value_and_gradients(features[others], logits[others], **arguments)
    assert_all_close([part[others] for part in with_zero], without, atol=1e-6)
    for part in with_zero:
        np.testing.assert_allclose(part[3], 0 * part[3], atol=2.5e-7)


def test_a_row_without_a_positively_similar_neighbor_does_not_spoil_the_batch():
    for seed in range(50):
        features, logits = random_batch(8, 4, 3, seed)
        received = value_and_gradients(features, logits, num_neighbors=3)
        assert_sane(*received)
        expected = oracles.neighbor_consistency(features, logits, 3)
        np.testing.assert_allclose(received[0], expected, rtol=2e-5, atol=2e-6)


def test_with_duplicates_it_is_the_twin_that_counts_and_never_the_example_itself():
    features = np.float32([[1, 2], [1, 2], [1, 2], [-2, 1], [-2, 1]])
    logits = np.float32([[4, 0], [0, 4], [0, 4], [0, 4], [0, 4]])
    loss = neighbor_consistency(features, logits, num_neighbors=1).numpy()
    # Rows 1 and 2 have one twin that agrees and one that does not.
    alone, half = loss[0], loss[1]
    np.testing.assert_allclose(alone, oracle_kl([4, 0], [[0, 4]]), rtol=1e-5)
    np.testing.assert_allclose(half, oracle_kl([0, 4], [[4, 0], [0, 4]]), rtol=1e-5)
    np.testing.assert_allclose(loss[2:], [half, 0, 0], rtol=1e-5, atol=1e-6)


def oracle_kl(own, others, temperature=2):
    own, *others = (oracles.softmax(np.array(z) / temperature) for z in [own, *others])
    return oracles.kl_divergence(own, np.mean(others, axis=0))


def test_a_weight_of_zero_removes_its_example_and_raises_no_other():
    model = consistency_model()
    x, weights = random_batch(8, 5, 1)[0], np.float32([1, 0] * 4)
    per_example = model.predict(x, verbose=0)[1]
    targets = [np.zeros(8), np.zeros(8)]
    model.compile(loss=[None, PassThrough()], run_eagerly=True)
    weighted = model.evaluate(
        x, targets, sample_weight=[np.ones(8), weights], verbose=0
    )
    assert 0 < np.sum(per_example * weights) < np.sum(per_example)
    np.testing.assert_allclose(weighted, np.mean(per_example * weights), rtol=1e-5)


def test_padding_with_rows_of_zeros_changes_nothing():
    features, logits = random_batch(8, 4, 3)
    padding = [(0, 5), (0, 0)]
    expected = value_and_gradients(features, logits, num_neighbors=3)
    padded = value_and_gradients(
        np.pad(features, padding), np.pad(logits, padding), num_neighbors=3
    )
    for received, unpadded in zip(padded, expected, strict=True):
        np.testing.assert_allclose(received[:8], unpadded, rtol=0, atol=1e-6)
        np.testing.assert_allclose(received[8:], 0 * received[8:], atol=2.5e-7)


# Dtypes, compilation


@pytest.mark.parametrize(
    "dtype", ["float16", "bfloat16", "float32", "float64", "int32", "uint8"]
)
@pytest.mark.parametrize("as_tensor", [True, False])
def test_any_dtype_is_computed_in_float32(dtype, as_tensor):
    features, logits = random_batch(8, 4, 3, negative=False)
    features, logits = tf.cast(10 * features, dtype), tf.cast(abs(logits), dtype)
    expected = neighbor_consistency(
        tf.cast(features, "float32"), tf.cast(logits, "float32")
    )
    if not as_tensor:
        features, logits = features.numpy(), logits.numpy()
    loss = NeighborConsistencyLoss()(features, logits)
    assert loss.dtype == "float32"
    np.testing.assert_array_equal(loss, expected)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float64"])
def test_any_dtype_policy_computes_in_float32(policy):
    features, logits = random_batch(8, 4, 3)
    expected = NeighborConsistencyLoss(3)(features, logits)
    keras.config.set_dtype_policy(policy)
    for inputs in [(features, logits), (tf.constant(features), tf.constant(logits))]:
        loss = NeighborConsistencyLoss(3)(*inputs)
        assert loss.dtype == "float32"
        np.testing.assert_array_equal(loss, expected)


def test_features_of_a_half_precision_layer_get_gradients():
    keras.config.set_dtype_policy("mixed_float16")
    features, logits = random_batch(8, 4, 3)
    dense, loss = keras.layers.Dense(6), NeighborConsistencyLoss(3)
    with tf.GradientTape() as tape:
        projected = dense(features)
        value = tf.reduce_mean(loss(projected, logits))
    assert projected.dtype == "float16" and value.dtype == "float32"
    gradient = tape.gradient(value, dense.kernel).numpy()
    assert np.all(np.isfinite(gradient)) and np.max(np.abs(gradient)) > 1e-4


# XLA compiles each shape anew: by default it has one.
@pytest.mark.parametrize(
    "jit_compile, batch, num_neighbors, sizes, rows_per_block",
    [
        (False, None, 3, [9, 3], None),
        (False, None, 3, [19, 3], 6),
        (True, 9, None, [9], None),
        (True, None, 3, [19], 6),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in [
                (False, 9, None, [9], None),
                (True, None, 3, [9, 3], None),
                (True, None, 3, [19, 3], 6),
                *itertools.product([False, True], [9], [3], [[9]], [None]),
                *itertools.product([False, True], [19], [3, None], [[19]], [6]),
            ]
        ),
    ],
)
def test_compiled_equals_eager(
    jit_compile, batch, num_neighbors, sizes, rows_per_block
):
    arguments = {
        "num_neighbors": num_neighbors,
        "similarity_power": 0.5,
        "rows_per_block": rows_per_block,
    }
    layers = [NeighborConsistencyLoss(direction=d, **arguments) for d in DIRECTIONS]

    def of_both(features, logits):
        parts = [batches.value_and_gradients(one, features, logits) for one in layers]
        return [*parts[0], *parts[1]]

    compiled = tf.function(
        of_both,
        input_signature=[tf.TensorSpec([batch, 4]), tf.TensorSpec([batch, 3])],
        jit_compile=jit_compile,
    )
    for n in sizes:
        inputs = [tf.constant(x) for x in batches.batch_of(n, seed=n)]
        received = compiled(*inputs)
        atol = 1e-5 if rows_per_block else 2e-6
        assert_all_close(received, of_both(*inputs), atol)
    assert received[0].shape == (n,)


# Keras manners


def consistency_model():
    """The functional model of the docstring."""
    inputs = keras.Input((5,))
    features = keras.layers.Dense(8, activation="relu")(inputs)
    logits = keras.layers.Dense(3)(features)
    consistency = NeighborConsistencyLoss()(features, logits)
    return keras.Model(inputs, [logits, consistency])


def test_is_one_more_output_of_a_functional_model():
    model = consistency_model()
    assert [output.shape for output in model.outputs] == [(None, 3), (None,)]
    model.compile(
        optimizer=keras.optimizers.Adam(0.03),
        loss=[
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            PassThrough(),
        ],
        loss_weights=[0.1, 0.9],
    )
    x, _ = random_batch(64, 5, 1)
    labels = np.argmax(x[:, :3], axis=1)
    history = model.fit(x, [labels, labels], epochs=10, verbose=0, shuffle=False)
    loss = history.history["loss"]
    assert loss[-1] < 0.8 * loss[0]
    logits, consistency = model.predict(x, batch_size=64, verbose=0)
    features = model.layers[1](x)
    np.testing.assert_allclose(
        consistency, NeighborConsistencyLoss()(features, logits), atol=1e-6
    )


def test_a_functional_model_with_it_is_saved_and_loaded(tmp_path):
    model = consistency_model()
    model.compile("sgd", [None, PassThrough()], run_eagerly=True)
    x, y = random_batch(8, 5, 1)
    expected = model.evaluate(x, [y, y], verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.evaluate(x, [y, y], verbose=0) == pytest.approx(expected, rel=1e-6)


class HandWritten(keras.Model):
    """A model whose author adds the loss to a step of his own."""

    def __init__(self, consistency_weight):
        super().__init__()
        self.hidden = keras.layers.Dense(8, activation="relu")
        self.head = keras.layers.Dense(3)
        self.consistency = NeighborConsistencyLoss()
        self.consistency_weight = consistency_weight

    def call(self, x):
        return self.head(self.hidden(x))

    def train_step(self, data):
        x, y = data
        with tf.GradientTape() as tape:
            features = self.hidden(x)
            logits = self.head(features)
            supervised = self.compute_loss(x, y, logits)
            consistency = tf.reduce_mean(self.consistency(features, logits))
            alpha = self.consistency_weight
            objective = (1 - alpha) * supervised + alpha * consistency
        gradients = tape.gradient(objective, self.trainable_weights)
        self.optimizer.apply(gradients, self.trainable_weights)
        return {"supervised": supervised, "consistency": consistency}


def test_serves_in_a_hand_written_train_step():
    x, _ = random_batch(64, 5, 1)
    labels = np.argmax(x[:, :3], axis=1)
    last = {}
    for alpha in [0.0, 0.9]:
        keras.utils.set_random_seed(0)
        model = HandWritten(alpha)
        model.compile(
            optimizer=keras.optimizers.Adam(0.1),
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            run_eagerly=True,
        )
        logs = model.fit(x, labels, 64, epochs=6, verbose=0).history
        assert logs["supervised"][-1] < 0.7 * logs["supervised"][0]
        last[alpha] = logs["consistency"][-1]
    assert 0 < last[0.9] < 0.6 * last[0.0]


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {
            "num_neighbors": None,
            "temperature": 1,
            "similarity_power": 2.5,
            "direction": "neighbors_to_self",
            "temperature_squared": True,
            "name": "my_loss",
        },
        {"num_neighbors": np.int64(4), "temperature": np.float32(0.5)},
    ],
)
def test_config_round_trip(arguments):
    layer = NeighborConsistencyLoss(**arguments)
    config = keras.saving.serialize_keras_object(layer)
    assert config["registered_name"] == "keras_ncr>NeighborConsistencyLoss"
    copy = keras.saving.deserialize_keras_object(config)
    assert copy.get_config() == layer.get_config()
    for name, value in arguments.items():
        assert getattr(copy, name) == value
    features, logits = random_batch(8, 4, 3)
    np.testing.assert_array_equal(copy(features, logits), layer(features, logits))


def test_defaults_are_those_of_the_paper():
    layer = NeighborConsistencyLoss()
    assert layer.name.startswith("neighbor_consistency_loss")
    assert (layer.num_neighbors, layer.temperature) == (10, 2.0)
    assert layer.direction == "self_to_neighbors"
    assert (layer.similarity_power, layer.temperature_squared) == (1.0, False)
    assert layer.weights == []
