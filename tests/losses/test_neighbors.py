"""Who is whose neighbor, on one device and over replicas, and what memory it takes."""

import functools
import math

import numpy as np
import oracles
import pytest
import tensorflow as tf
from batches import random_batch, shapes_of_all_tensors, value_and_gradients
from model_harness import few
from replica_runs import on_replicas, split

from keras_ncr import NeighborConsistencyLoss
from keras_ncr.losses import neighbor_consistency, neighbors

# Cosines of six examples; the diagonal must not matter.
SIMILARITIES = np.array(
    [
        [1.0, 0.9, 0.8, 0.8, 0.1, -0.5],
        [0.9, 1.0, 0.3, 0.2, 0.0, -0.9],
        [0.8, 0.3, 1.0, 0.8, 0.8, 0.8],
        [0.8, 0.2, 0.8, 1.0, 0.0, 0.0],
        [0.1, 0.0, 0.8, 0.0, 1.0, -0.1],
        [-0.5, -0.9, 0.0, 0.0, -0.1, 1.0],
    ],
    "float32",
)


# Features


@pytest.mark.parametrize("length", [1e-11, 1e-3, 1.0, 1e10, 1e18])
def test_unit_vectors_have_length_one(length):
    features = np.array([[3, 4], [-3, 4], [0, -5]]) / 5
    vectors = neighbors.unit_vectors(tf.constant(length * features, "float32"))
    np.testing.assert_allclose(vectors, features, rtol=1e-6)


@pytest.mark.parametrize("length", [0.0, 1e-38, 1e-20])
def test_a_vector_of_nothing_fades_to_zero_with_a_finite_gradient(length):
    features = tf.constant([[3 * length, 4 * length], [3.0, 4.0]])
    with tf.GradientTape() as tape:
        tape.watch(features)
        vectors = neighbors.unit_vectors(features)
    np.testing.assert_allclose(vectors, [[0, 0], [0.6, 0.8]], rtol=1e-6, atol=1e-7)
    assert np.all(np.isfinite(tape.gradient(vectors, features)))


def test_self_similarities_and_their_gradient_equal_the_plain_product():
    vectors = tf.constant(random_batch(6, dtype="float64")[0])
    upstream = np.random.default_rng(1).normal(size=(6, 6))
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(vectors)
        received = neighbors.self_similarities(vectors)
        expected = tf.matmul(vectors, vectors, transpose_b=True)
    np.testing.assert_allclose(received, expected, rtol=1e-12)
    np.testing.assert_allclose(
        tape.gradient(received, vectors, upstream),
        tape.gradient(expected, vectors, upstream),
        rtol=1e-12,
    )


# Neighbors


@pytest.mark.parametrize(
    "num_neighbors, expected",
    [
        (1, [{1}, {0}, {0, 3, 4, 5}, {0, 2}, {2}, {5}]),
        (2, [{1, 2, 3}, {0, 2}, {0, 3, 4, 5}, {0, 2}, {2, 0}, {5}]),
        (3, [{1, 2, 3}, {0, 2, 3}, {0, 3, 4, 5}, {0, 2, 1}, {2, 0}, {5}]),
        (4, [{1, 2, 3, 4}, {0, 2, 3}, {0, 3, 4, 5}, {0, 2, 1}, {2, 0}, {5}]),
        (5, [{1, 2, 3, 4}, {0, 2, 3}, {0, 1, 3, 4, 5}, {0, 2, 1}, {2, 0}, {5}]),
        (6, [{1, 2, 3, 4}, {0, 2, 3}, {0, 1, 3, 4, 5}, {0, 2, 1}, {2, 0}, {5}]),
        (None, [{1, 2, 3, 4}, {0, 2, 3}, {0, 1, 3, 4, 5}, {0, 2, 1}, {2, 0}, {5}]),
    ],
)
@pytest.mark.parametrize("diagonal", [1.0, 1.0000002, 0.0])
def test_neighbors_are_the_nearest_positive_others_and_ties(
    num_neighbors, expected, diagonal
):
    # Row 2 ties at every place up to the fourth; row 5 has only itself.
    similarities = SIMILARITIES + (diagonal - 1) * np.eye(6, dtype="float32")
    weights = neighbors.neighbor_weights(similarities, num_neighbors, 1.0).numpy()
    assert [set(np.flatnonzero(row)) for row in weights] == expected
    for i in range(5):
        j = list(expected[i])
        np.testing.assert_array_equal(weights[i, j], SIMILARITIES[i, j])
    np.testing.assert_array_equal(weights[5], [0, 0, 0, 0, 0, 1])


@pytest.mark.parametrize("similarity_power", [0.5, 2.0, 3.0, 50.0])
def test_the_power_applies_to_the_ratios_of_similarities(similarity_power):
    weights = neighbors.neighbor_weights(SIMILARITIES, 5, similarity_power).numpy()
    shares = weights / weights.sum(axis=1, keepdims=True)
    for i in range(5):
        positive = np.maximum(SIMILARITIES[i].astype("float64"), 0)
        positive[i] = 0
        expected = positive**similarity_power / np.sum(positive**similarity_power)
        np.testing.assert_allclose(shares[i], expected, rtol=2e-5, atol=1e-30)
    np.testing.assert_array_equal(weights[5], [0, 0, 0, 0, 0, 1])


@pytest.mark.parametrize("num_neighbors", [1, 2, 10, None])
@pytest.mark.parametrize("as_tensor", [False, True])
def test_rows_of_a_pool_start_at_the_first_of_the_replica(num_neighbors, as_tensor):
    expected = neighbors.neighbor_weights(SIMILARITIES, num_neighbors, 1.0)
    first = tf.constant(2) if as_tensor else 2
    weights = neighbors.neighbor_weights(SIMILARITIES[2:5], num_neighbors, 1.0, first)
    np.testing.assert_array_equal(weights, expected[2:5])


def test_gradients_reach_the_similarities_of_neighbors_alone():
    similarities = tf.constant(SIMILARITIES)
    for similarity_power in [0.5, 1.0, 2.0]:
        with tf.GradientTape() as tape:
            tape.watch(similarities)
            weights = neighbors.neighbor_weights(similarities, 2, similarity_power)
        gradient = tape.gradient(weights, similarities).numpy()
        assert np.all(np.isfinite(gradient))
        others = weights.numpy()[:5] > 0
        np.testing.assert_array_equal(gradient[:5] > 0, others)
        assert not np.any(gradient[5])


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("num_neighbors", [1, 3, 20])
def test_neighbors_of_random_features_are_those_of_the_oracle(seed, num_neighbors):
    features, _ = random_batch(15, 6, seed=seed)
    vectors = neighbors.unit_vectors(tf.constant(features, "float32"))
    similarities = neighbors.self_similarities(vectors)
    weights = neighbors.neighbor_weights(similarities, num_neighbors, 1.0).numpy()
    for i in range(15):
        expected = oracles.nearest_others(i, features, num_neighbors) or {i: 1.0}
        assert set(np.flatnonzero(weights[i])) == set(expected)
        for j, similarity in expected.items():
            np.testing.assert_allclose(weights[i, j], similarity, atol=1e-6)


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("pool", [64, 100, 256, 300])
def test_extremes_found_in_blocks_are_those_of_the_whole_row(pool, jit_compile):
    values = np.random.default_rng(pool).uniform(size=(7, pool)).astype("float32")
    values[3] = values[3, 0]  # All tie.
    values[4] = 0  # None counts.
    extremes = tf.function(
        lambda values: neighbors.row_extremes(values, 1 + pool // 100),
        jit_compile=jit_compile,
        input_signature=[tf.TensorSpec([None, None])],
    )
    largest, kth_largest = extremes(values)
    in_order = -np.sort(-values, axis=1)
    np.testing.assert_array_equal(largest, in_order[:, :1])
    np.testing.assert_array_equal(kth_largest[:, 0], in_order[:, pool // 100])


# Memory


@pytest.mark.parametrize("batch, num_neighbors", [(64, 7), (64, None), (600, 2)])
def test_no_tensor_of_batch_by_neighbors_by_classes_is_made(batch, num_neighbors):
    dim, num_classes = 11, 17

    loss = functools.partial(
        neighbor_consistency, num_neighbors=num_neighbors, similarity_power=2.0
    )
    function = tf.function(
        functools.partial(value_and_gradients, loss)
    ).get_concrete_function(
        tf.TensorSpec([batch, dim]), tf.TensorSpec([batch, num_classes])
    )
    shapes = set(shapes_of_all_tensors(function))
    assert (batch, batch) in shapes and (batch, num_classes) in shapes
    # The search for the nearest cuts rows into blocks; classes are in no such tensor.
    blocks = {shape for shape in shapes if len(shape) > 2}
    assert all(len(shape) == 3 and shape[2] == neighbors.BLOCK for shape in blocks)
    assert bool(blocks) == (num_neighbors == 2)
    # How many are nearest is known only when it runs where they are sought in blocks.
    unknown = {shape for shape in shapes - blocks if -1 in shape}
    assert all(len(shape) <= 2 for shape in unknown)
    sizes = {math.prod(shape) for shape in shapes - blocks - unknown}
    assert max(sizes) == batch * batch
    assert batch * (num_neighbors or batch) * num_classes not in sizes


# Replicas


def of_both_layers(rows_per_block, features, logits, upstream):
    layers = [
        NeighborConsistencyLoss(2, rows_per_block=rows_per_block),
        NeighborConsistencyLoss(
            None,
            similarity_power=2.0,
            direction="neighbors_to_self",
            rows_per_block=rows_per_block,
        ),
    ]
    return value_and_gradients(
        lambda *batch: tf.add_n([layer(*batch) for layer in layers]),
        *(features, logits, upstream),
    )


@pytest.fixture(scope="module", params=[None, pytest.param(3, marks=pytest.mark.slow)])
def of_one_and_of_two(two_replicas, request):
    function = functools.partial(of_both_layers, request.param)
    return function, on_replicas(two_replicas, function)


@pytest.mark.parametrize(
    "sizes", few((5, 3), (3, 0), of=[(4, 4), (5, 3), (1, 4), (3, 0)])
)
def test_replicas_see_the_neighbors_of_the_global_batch(of_one_and_of_two, sizes):
    of_one, of_two = of_one_and_of_two
    n = sum(sizes)
    features, logits = random_batch(n)
    features[-1] = features[0]  # Twins, on two replicas in most splits.
    batch = [features, logits, np.linspace(0.5, 2, n, dtype="float32")]
    expected = of_one(*map(tf.constant, batch))
    for parts, whole in zip(
        of_two(*[split(x, sizes) for x in batch]), expected, strict=True
    ):
        assert tuple(len(part) for part in parts) == sizes
        np.testing.assert_allclose(np.concatenate(parts), whole, rtol=0, atol=2e-6)
