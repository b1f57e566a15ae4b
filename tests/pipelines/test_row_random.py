"""Random numbers of many seeds are those of `tf.random`, seed by seed."""

import numpy as np
import pytest
import tensorflow as tf

from keras_ncr.pipelines import row_random

NUMBERS = [0, 1, 5, 77, -3, 2**31 - 1]


@pytest.fixture(params=["int32", "int64"])
def seeds(request):
    """Seeds of all kinds: small, negative, of two full words."""
    largest = np.iinfo(request.param).max
    rng = np.random.default_rng(0)
    rows = rng.integers(-largest, largest, (20, 2), dtype=request.param)
    return tf.constant(np.concatenate([rows, [[0, 0], [0, 7], [-1, 3]]]), request.param)


@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_numbers_are_folded_in_as_tf_random_does_it(dtype):
    seed, numbers = tf.constant([3, -7], dtype), tf.constant(NUMBERS, dtype)
    expected = [tf.random.fold_in(seed, number) for number in numbers]
    np.testing.assert_array_equal(row_random.fold_in(seed, numbers), expected)


@pytest.mark.parametrize("num", [1, 2, 5])
def test_seeds_are_split_as_tf_random_does_it(seeds, num):
    actual = row_random.split(seeds, num)
    assert actual.dtype == seeds.dtype
    expected = tf.stack([tf.random.split(seed, num) for seed in seeds], axis=1)
    np.testing.assert_array_equal(actual, expected)


def test_uniform_numbers_are_those_of_tf_random(seeds):
    expected = [tf.random.stateless_uniform([], seed) for seed in seeds]
    np.testing.assert_array_equal(row_random.uniform(seeds), expected)


@pytest.mark.parametrize(("num", "end"), [(1, 1), (2, 9), (7, 1000)])
def test_integers_are_those_of_a_random_crop(seeds, num, end):
    draws = [
        tf.random.stateless_uniform([num], seed, maxval=tf.int32.max, dtype=tf.int32)
        for seed in seeds
    ]
    expected = np.transpose(draws) % end
    np.testing.assert_array_equal(row_random.integers(seeds, num, end), expected)
