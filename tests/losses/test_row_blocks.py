"""Rows compared in blocks: the same as all at once, in less memory."""

import subprocess
import sys

import numpy as np
import oracles
import pytest
import tensorflow as tf
from batches import (
    assert_all_close,
    batch_of,
    curvature_of,
    shapes_of_all_tensors,
    value_and_gradients,
)
from model_harness import few

from keras_ncr.losses import neighbor_consistency

DIRECTIONS = ["self_to_neighbors", "neighbors_to_self"]


def in_blocks(rows_per_block, **arguments):
    return lambda *batch: neighbor_consistency(
        *batch, **arguments, rows_per_block=rows_per_block
    )


# Value and gradients


SIZES = [(19, 1), (19, 4), (20, 5), (19, 19), (19, 100)]
POWERS = [(2.5, 1.0, 2.5, 1.0, 2.5), (1.0, 2.5, 1.0, 2.5, 1.0)]


@pytest.mark.parametrize("num_neighbors", [1, 3, 18, None])
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("powers", few(POWERS[0], of=POWERS))
def test_blocks_equal_all_rows_at_once(num_neighbors, direction, powers):
    for power, (n, rows) in zip(powers, SIZES, strict=True):
        batch = batch_of(n, seed=n)
        arguments = {
            "num_neighbors": num_neighbors,
            "similarity_power": power,
            "direction": direction,
            "temperature_squared": True,
        }
        expected = value_and_gradients(in_blocks(None, **arguments), *batch)
        received = value_and_gradients(in_blocks(rows, **arguments), *batch)
        assert_all_close(received, expected, atol=1e-5)


@pytest.mark.parametrize("num_neighbors", [2, None])
def test_blocks_equal_the_oracle(num_neighbors):
    features, logits = batch_of(17)
    loss = neighbor_consistency(features, logits, num_neighbors, rows_per_block=5)
    expected = oracles.neighbor_consistency(features, logits, num_neighbors)
    np.testing.assert_allclose(loss, expected, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("n", [0, 1, 2])
def test_tiny_batches_are_no_exception(n):
    batch = batch_of(n)
    received = value_and_gradients(in_blocks(4), *batch)
    assert_all_close(received, value_and_gradients(in_blocks(None), *batch))


def test_float64_stays_float64():
    batch = batch_of(13, dtype="float64")
    expected = value_and_gradients(in_blocks(None, num_neighbors=3), *batch)
    received = value_and_gradients(in_blocks(5, num_neighbors=3), *batch)
    assert {part.dtype.name for part in received} == {"float64"}
    assert_all_close(received, expected, atol=1e-12)


def test_many_columns_are_searched_as_without_blocks():
    # From 64 examples for each neighbor on, rows are searched a part at a time.
    batch = batch_of(200, dim=16)
    expected = value_and_gradients(in_blocks(None, num_neighbors=2), *batch)
    received = value_and_gradients(in_blocks(64, num_neighbors=2), *batch)
    assert_all_close(received, expected, atol=1e-5)


def test_second_derivatives_pass_through_blocks():
    batch = batch_of(6, dtype="float64")
    expected = curvature_of(in_blocks(None, num_neighbors=2), *batch)
    assert all(np.max(np.abs(part)) > 1e-2 for part in expected)
    received = curvature_of(in_blocks(4, num_neighbors=2), *batch)
    assert_all_close(received, expected, atol=1e-12)


# Memory


def test_no_tensor_of_batch_by_batch_is_made():
    batch, rows = 60, 10
    loss = in_blocks(rows, num_neighbors=7, similarity_power=2.0)
    function = tf.function(
        lambda features, logits: value_and_gradients(loss, features, logits)
    ).get_concrete_function(tf.TensorSpec([batch, 4]), tf.TensorSpec([batch, 3]))
    shapes = set(shapes_of_all_tensors(function))
    assert (batch, 4) in shapes and (batch, 3) in shapes
    assert (batch, batch) not in shapes


PEAK = """
import resource, sys
import numpy as np
import tensorflow as tf
from keras_ncr.losses import neighbor_consistency

rng = np.random.default_rng(0)
batch, dim, num_classes = 16_384, 512, 1_000
features = tf.constant(np.maximum(rng.standard_normal((batch, dim), "float32"), 0))
logits = tf.constant(rng.standard_normal((batch, num_classes), "float32"))

@tf.function
def step(features, logits):
    with tf.GradientTape() as tape:
        tape.watch([features, logits])
        losses = neighbor_consistency(features, logits, rows_per_block=1024)
        loss = tf.reduce_mean(losses)
    return [loss, *tape.gradient(loss, [features, logits])]

assert all(np.all(np.isfinite(part)) for part in step(features, logits))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


@pytest.mark.slow
def test_a_batch_of_16384_takes_less_than_4_gigabytes():
    # All rows at once would take 1 GB for each of some five matrices.
    run = subprocess.run(
        [sys.executable, "-c", PEAK], capture_output=True, text=True, check=True
    )
    assert 0.5e9 < int(run.stdout) < 4e9
