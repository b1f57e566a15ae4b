"""Few neighbors of many candidates, by rank: the same as the whole matrix."""

import itertools

import numpy as np
import oracles
import pytest
import tensorflow as tf
from batches import assert_all_close, batch_of, curvature_of, value_and_gradients
from replica_runs import on_replicas, split

from keras_ncr import NeighborConsistencyLoss
from keras_ncr.losses import few_neighbors, neighbor_consistency
from keras_ncr.losses.candidates import Candidates
from keras_ncr.losses.mixture import Search

DIRECTIONS = ["self_to_neighbors", "neighbors_to_self"]

# From so many candidates on one neighbor is few, and two are.
ONE, TWO = (k * few_neighbors.COLUMNS_PER_NEIGHBOR for k in (1, 2))


def loss_with(num_neighbors, **arguments):
    return lambda *batch: neighbor_consistency(*batch, num_neighbors, **arguments)


def by_matrix(monkeypatch, function, *arguments):
    """What a function returns where no neighbors are few."""
    with monkeypatch.context() as patch:
        patch.setattr(few_neighbors, "are_few", lambda *sizes: False)
        return function(*arguments)


def is_by_rank(features, num_neighbors, rows_per_block=None):
    """Whether a batch goes rank by rank, in the end."""
    vectors = tf.math.l2_normalize(features, axis=1)
    return few_neighbors.nearest_if_few(
        vectors,
        Candidates(vectors, None),
        Search(num_neighbors, 1.0, rows_per_block),
        few_neighbors.are_few(num_neighbors, len(features), len(features)),
    )[1]


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_ranks_equal_the_oracle(direction):
    features, logits = batch_of(ONE, dim=3)
    assert is_by_rank(features, 1)
    loss = neighbor_consistency(features, logits, 1, direction=direction)
    expected = oracles.neighbor_consistency(features, logits, 1, direction=direction)
    np.testing.assert_allclose(loss, expected, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("rows_per_block", [None, 64])
def test_ranks_equal_the_whole_matrix(rows_per_block, monkeypatch):
    for direction, power in itertools.product(DIRECTIONS, [0.5, 1.0, 2.5]):
        loss = loss_with(
            2,
            rows_per_block=rows_per_block,
            similarity_power=power,
            direction=direction,
        )
        batch = batch_of(TWO + 7, dim=5)
        assert is_by_rank(batch[0], 2, rows_per_block)
        received = value_and_gradients(loss, *batch)
        expected = by_matrix(monkeypatch, value_and_gradients, loss, *batch)
        assert_all_close(received, expected, atol=2e-5)


@pytest.mark.parametrize("rows_per_block", [None, 64])
def test_more_who_tie_than_there_is_room_for_are_all_neighbors(
    rows_per_block, monkeypatch
):
    features, logits = batch_of(TWO)
    features[10:40] = features[3]
    assert not is_by_rank(features, 2, rows_per_block)
    loss = loss_with(2, rows_per_block=rows_per_block)
    received = value_and_gradients(loss, features, logits)
    expected = by_matrix(monkeypatch, value_and_gradients, loss, features, logits)
    assert_all_close(received, expected, atol=2e-5)


def test_examples_that_are_all_alone_have_no_loss_and_no_gradient():
    features, logits = np.zeros([ONE, 4], "float32"), batch_of(ONE)[1]
    assert is_by_rank(features, 1)
    value, to_features, to_logits = value_and_gradients(loss_with(1), features, logits)
    np.testing.assert_allclose(value, 0, atol=1e-6)
    np.testing.assert_array_equal(to_features, 0)
    np.testing.assert_allclose(to_logits, 0, atol=1e-6)


def test_opposite_features_are_no_neighbors():
    features = np.tile([[1.0], [-1.0]], [ONE // 2, 3]).astype("float32")
    features[2:] = 0
    assert is_by_rank(features, 1)
    np.testing.assert_allclose(loss_with(1)(features, batch_of(ONE)[1]), 0, atol=1e-6)


def test_float64_and_second_derivatives(monkeypatch):
    batch = batch_of(ONE, dtype="float64")
    for rows_per_block in (None, 64):
        loss = loss_with(1, similarity_power=1.5, rows_per_block=rows_per_block)
        for function in (value_and_gradients, curvature_of):
            received = function(loss, *batch)
            expected = by_matrix(monkeypatch, function, loss, *batch)
            assert {part.dtype.name for part in received} == {"float64"}
            assert np.max(np.abs(expected[1])) > 1e-2
            assert_all_close(received, expected, atol=1e-9)


def test_past_candidates_are_among_the_nearest(monkeypatch):
    features, logits = batch_of(TWO + few_neighbors.FEWEST_ROWS)
    loss = NeighborConsistencyLoss(2, queue_size=TWO)
    loss.build((None, 4), (None, 3))

    def of_last(features, logits):
        loss.queue.count.assign(0)
        loss(features[:TWO], logits[:TWO], training=True)
        return value_and_gradients(
            lambda *batch: loss(*batch, training=True), features[TWO:], logits[TWO:]
        )

    ways = []
    by_rank = few_neighbors.mixture_by_rank
    monkeypatch.setattr(
        few_neighbors,
        "mixture_by_rank",
        lambda *arguments: ways.append("rank") or by_rank(*arguments),
    )
    received = of_last(features, logits)
    assert "rank" in ways
    expected = by_matrix(monkeypatch, of_last, features, logits)
    assert np.max(np.abs(expected[1])) > 1e-3
    assert_all_close(received, expected)


def test_few_are_few_of_many_candidates_for_many_rows():
    assert few_neighbors.are_few(2, TWO, TWO) is True
    assert few_neighbors.are_few(2, TWO, TWO - 1) is False
    assert few_neighbors.are_few(2, few_neighbors.FEWEST_ROWS - 1, 10**6) is False
    assert few_neighbors.are_few(None, TWO, TWO) is False


# Graphs


@pytest.mark.parametrize(
    "size, rows_per_block, jit_compile",
    [
        (TWO, None, False),
        (TWO, None, True),
        (None, 64, False),
        pytest.param(None, 64, True, marks=pytest.mark.slow),
    ],
)
def test_one_graph_fits_many_candidates_and_few(size, rows_per_block, jit_compile):
    loss = loss_with(2, rows_per_block=rows_per_block, similarity_power=0.5)
    compiled = tf.function(
        lambda features, logits: value_and_gradients(loss, features, logits),
        input_signature=[tf.TensorSpec([size, 4]), tf.TensorSpec([size, 3])],
        jit_compile=jit_compile,
    )
    crowd = batch_of(TWO)
    crowd[0][10:40] = crowd[0][3]
    few = [] if size else [batch_of(19), batch_of(4)]
    for inputs in [batch_of(TWO), *few, crowd]:
        expected = value_and_gradients(loss, *inputs)
        assert_all_close(compiled(*inputs), expected, atol=2e-5)


def test_a_tape_outside_of_the_graph_finds_the_gradients():
    for size, rows_per_block in [(TWO, None), (TWO, 64), (None, 64)]:
        loss = loss_with(2, rows_per_block=rows_per_block)
        compiled = tf.function(
            loss, input_signature=[tf.TensorSpec([size, 4]), tf.TensorSpec([size, 3])]
        )
        batch = batch_of(TWO)
        received = value_and_gradients(compiled, *batch)
        assert_all_close(received, value_and_gradients(loss, *batch), atol=2e-5)


def test_twice_is_the_same_bit_for_bit():
    batch = batch_of(2 * TWO, dim=16, num_classes=10)
    batch[0][:300] = np.abs(batch[0][:300]) + 10 * (np.arange(16) == 3)
    function = tf.function(lambda *batch: value_and_gradients(loss_with(2), *batch))
    first = function(*batch)
    for _ in range(5):
        for one, other in zip(function(*batch), first, strict=True):
            np.testing.assert_array_equal(one, other)


# Replicas


@pytest.mark.slow
def test_ranks_of_replicas_see_the_global_batch(two_replicas):
    # The whole batch has a size that is known only when it runs.
    layer = NeighborConsistencyLoss(1, rows_per_block=64)

    def of_layer(features, logits, upstream):
        with tf.GradientTape() as tape:
            tape.watch([features, logits])
            losses = layer(features, logits)
            total = tf.reduce_sum(losses * upstream)
        return [losses, *tape.gradient(total, [features, logits])]

    distributed = on_replicas(two_replicas, of_layer)
    for sizes in [(ONE // 2, ONE // 2), (ONE, 1)]:
        n = sum(sizes)
        batch = [*batch_of(n), np.linspace(0.5, 2, n, dtype="float32")]
        expected = of_layer(*map(tf.constant, batch))
        received = distributed(*[split(x, sizes) for x in batch])
        for parts, whole in zip(received, expected, strict=True):
            assert_all_close([np.concatenate(parts)], [whole], 5e-6)
