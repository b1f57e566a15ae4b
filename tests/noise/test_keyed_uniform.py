"""The hash is SplitMix64, equal in NumPy and TensorFlow, and looks random."""

import numpy as np
import pytest
import tensorflow as tf

from keras_ncr.noise.keyed_uniform import hash_keys, hash_keys_in_graph

MASK = 2**64 - 1


def slow_mix(bits):
    """SplitMix64's finalizer in Python integers."""
    bits = ((bits ^ (bits >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    bits = ((bits ^ (bits >> 27)) * 0x94D049BB133111EB) & MASK
    return bits ^ (bits >> 31)


def slow_hash(key, seed):
    start = slow_mix((seed + 0x9E3779B97F4A7C15) & MASK)
    return slow_mix((start + key * 0x9E3779B97F4A7C15) & MASK)


def test_slow_mix_is_split_mix():
    # The first outputs of SplitMix64 from state 0, as other libraries print them.
    states = [(k * 0x9E3779B97F4A7C15) & MASK for k in (1, 2, 3)]
    assert [slow_mix(state) for state in states] == [
        0xE220A8397B1DCDAF,
        0x6E789E6AA1B965F4,
        0x06C45D188009454F,
    ]


INTEGER_KEYS = [0, 1, 2, 255, 2**31 - 1, 2**32, 2**63 - 1, -1, -(2**63)]


@pytest.mark.parametrize("seed", [0, 1, 12345, 2**64 - 1])
def test_hash_equals_python_integers(seed):
    expected = [slow_hash(key, seed) for key in INTEGER_KEYS]
    assert hash_keys(INTEGER_KEYS, seed).tolist() == expected
    in_graph = tf.function(hash_keys_in_graph)(
        tf.constant(INTEGER_KEYS, tf.int64), seed
    )
    assert in_graph.numpy().tolist() == expected


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int32", "uint32", "uint64"])
def test_hash_does_not_depend_on_the_integer_dtype(dtype):
    keys = np.arange(100)
    expected = hash_keys(keys, seed=3)
    np.testing.assert_array_equal(hash_keys(keys.astype(dtype), seed=3), expected)
    in_graph = hash_keys_in_graph(tf.cast(keys, dtype), seed=3)
    np.testing.assert_array_equal(in_graph, expected)


def test_string_hashes_are_stable():
    # Literal values: a change would change every label ever drawn by string ids.
    keys = ["", "a", "train-00001__17", "Zürich"]
    expected = [
        5049504775758276635,
        2367305998064110308,
        3555831183914489164,
        10509629407787869715,
    ]
    assert hash_keys(keys, seed=0).tolist() == expected
    assert hash_keys([key.encode() for key in keys], seed=0).tolist() == expected
    assert hash_keys(np.array(keys, object), seed=0).tolist() == expected
    assert hash_keys_in_graph(tf.constant(keys), seed=0).numpy().tolist() == expected


@pytest.mark.parametrize("shape", [(), (4,), (2, 2), (0,)])
def test_hash_in_graph_keeps_the_shape(shape):
    for keys in (tf.zeros(shape, tf.int64), tf.fill(shape, "id")):
        assert hash_keys_in_graph(keys, seed=0).shape == shape


@pytest.mark.parametrize(
    "keys",
    [[0.5, 1.0], [True, False], [[1, 2]], 3, [None], np.array(["a", 1.5], object)],
)
def test_keys_that_are_no_keys_are_refused(keys):
    with pytest.raises(ValueError, match="`keys` must be integers or strings"):
        hash_keys(keys, seed=0)


def uniforms(keys, seed):
    return hash_keys(keys, seed) / 2.0**64


def correlation(first, second):
    return np.corrcoef(first, second)[0, 1]


@pytest.mark.parametrize("seed", [0, 1, 2, 1000])
def test_neighboring_keys_look_independent(seed):
    numbers = uniforms(np.arange(100_000), seed)
    bound = 4.5 / np.sqrt(len(numbers))
    for lag in (1, 2, 3, 10, 64, 256, 1000):
        assert abs(correlation(numbers[:-lag], numbers[lag:])) < bound
    counts = np.histogram(numbers, bins=100, range=(0, 1))[0]
    chi_square = np.sum((counts - 1000) ** 2 / 1000)  # 99 degrees of freedom
    assert 99 - 4.5 * np.sqrt(198) < chi_square < 99 + 4.5 * np.sqrt(198)


def test_seeds_look_independent():
    numbers = np.stack([uniforms(np.arange(20_000), seed) for seed in range(40)])
    correlations = np.corrcoef(numbers)[np.triu_indices(40, k=1)]
    assert np.max(np.abs(correlations)) < 5 / np.sqrt(20_000)
    # Nor is one seed's stream another's, moved by some keys.
    for shift in (1, 2, 3):
        assert abs(correlation(numbers[0][shift:], numbers[shift][:-shift])) < 0.04


def test_keys_and_seeds_are_not_exchangeable():
    table = np.stack([hash_keys(np.arange(100), seed) for seed in range(100)])
    assert len(np.unique(table)) == table.size
