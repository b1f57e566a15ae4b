"""Nearest neighbors over a data set: by definition, at the edges, and by cells."""

import numpy as np
import pytest

from keras_ncr.models import nearest
from keras_ncr.models.nearest import nearest_neighbors


def slow_neighbors(features, num_neighbors):
    """The neighbors by their definition, one pair at a time."""
    indices, similarities = [], []
    for i, one in enumerate(features):
        cosines = {}
        for j, other in enumerate(features):
            lengths = np.sqrt(np.sum(one * one) * np.sum(other * other))
            cosines[j] = one @ other / lengths if lengths else 0.0
        others = sorted((-cosines[j], j) for j in cosines if j != i)[:num_neighbors]
        indices.append([j for _, j in others])
        similarities.append([-cosine for cosine, _ in others])
    return np.array(indices), np.array(similarities)


def example(num_examples=30, dim=6, seed=0):
    return np.random.default_rng(seed).normal(size=(num_examples, dim))


def clusters(num_examples, num_clusters=20, dim=32):
    """Float16 features in groups, not negative, as of a trained network."""
    rng = np.random.default_rng(0)
    centers = rng.normal(size=(num_clusters, dim))
    spread = rng.normal(size=(num_examples, dim))
    chosen = rng.integers(0, num_clusters, num_examples)
    return np.maximum(centers[chosen] + spread, 0).astype("float16")


def recall(found, expected):
    """The share of the expected neighbors that are among those found."""
    pairs = zip(found, expected, strict=True)
    return np.mean([len(np.intersect1d(a, b)) / len(b) for a, b in pairs])


@pytest.fixture
def small_tiles(monkeypatch):
    """Several tiles in both directions, also of a few examples."""
    monkeypatch.setattr(nearest, "ROWS", 4)
    monkeypatch.setattr(nearest, "COLUMNS", 8)


@pytest.mark.parametrize("num_neighbors", [1, 5, 29])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_neighbors_equal_their_definition(num_neighbors, dtype, small_tiles):
    features = example().astype(dtype)
    indices, similarities = nearest_neighbors(features, num_neighbors)
    expected = slow_neighbors(features, num_neighbors)
    np.testing.assert_array_equal(indices, expected[0])
    np.testing.assert_allclose(similarities, expected[1], atol=1e-6)
    assert (indices.dtype, similarities.dtype) == ("int32", "float32")


def test_neighbors_in_one_tile_equal_their_definition():
    features = example()
    indices, _ = nearest_neighbors(features, 7)
    np.testing.assert_array_equal(indices, slow_neighbors(features, 7)[0])


def test_half_precision_and_integers_count_with_their_values():
    features = np.round(8 * example())
    expected = nearest_neighbors(features, 4)
    for dtype in ("float16", "int8"):
        found = nearest_neighbors(features.astype(dtype), 4)
        np.testing.assert_array_equal(found[0], expected[0])
        np.testing.assert_allclose(found[1], expected[1], atol=1e-6)


@pytest.mark.parametrize("length", [1e-40, 1e-25, 1e30, 3e37])
def test_lengths_of_rows_do_not_matter(length):
    features = example().astype("float32")
    scaled = features.copy()
    scaled[::2] *= np.float32(length)
    expected = nearest_neighbors(features, 5)
    # The smallest of these numbers have but a few digits.
    tolerance = 1e-3 if length < 1e-38 else 1e-6
    np.testing.assert_allclose(
        nearest_neighbors(scaled, 5)[1], expected[1], atol=tolerance
    )


def test_permuted_examples_have_the_same_neighbors(small_tiles):
    features = example()
    order = np.random.default_rng(1).permutation(len(features))
    indices, similarities = nearest_neighbors(features, 6)
    permuted, permuted_similarities = nearest_neighbors(features[order], 6)
    np.testing.assert_array_equal(order[permuted], indices[order])
    np.testing.assert_allclose(permuted_similarities, similarities[order], atol=1e-6)


def test_twins_are_neighbors_of_each_other_and_never_of_themselves(small_tiles):
    # Fourteen twins, of which each has room for five, among ten others.
    features = np.concatenate([np.ones((14, 3)), [[-1, -1, -1]] * 10])
    indices, similarities = nearest_neighbors(features, 5)
    assert np.all(indices != np.arange(24)[:, None])
    assert np.all((indices < 14) == (np.arange(24) < 14)[:, None])
    np.testing.assert_allclose(similarities, 1, atol=1e-6)
    assert similarities.max() <= 1
    assert all(len(set(row)) == 5 for row in indices)


def test_the_first_of_equal_neighbors_come_first(small_tiles):
    indices, _ = nearest_neighbors(np.ones((20, 2)), 3)
    np.testing.assert_array_equal(indices[0], [1, 2, 3])
    np.testing.assert_array_equal(indices[19], [0, 1, 2])


def test_row_of_zeros_is_similar_to_none():
    features = np.concatenate([np.zeros((2, 4)), np.eye(4)])
    indices, similarities = nearest_neighbors(features, 3)
    np.testing.assert_array_equal(similarities, 0)
    assert np.all((indices >= 0) & (indices < 6))
    assert np.all(indices != np.arange(6)[:, None])


def test_one_example_has_no_neighbors():
    indices, similarities = nearest_neighbors([[1.0, 2.0]], 3)
    assert (indices.shape, similarities.shape) == ((1, 0), (1, 0))


def test_there_are_no_more_neighbors_than_others():
    indices, similarities = nearest_neighbors([[1.0, 0.0], [2.0, 0.0]], 10)
    np.testing.assert_array_equal(indices, [[1], [0]])
    np.testing.assert_allclose(similarities, [[1], [1]])


def test_progress_is_shown_only_when_asked_for(capsys):
    nearest_neighbors(example(), 2)
    assert capsys.readouterr().out == ""
    nearest_neighbors(example(), 2, verbose=1)
    assert "30/30" in capsys.readouterr().out


# By cells.


def test_search_by_cells_finds_nearly_all_neighbors():
    features = clusters(3000)
    exact, exact_similarities = nearest_neighbors(features, 20)
    found, similarities = nearest_neighbors(features, 20, exact_limit=2999)
    assert 0.95 < recall(found, exact) < 1
    assert np.all(found != np.arange(3000)[:, None])
    assert np.all(np.diff(similarities, axis=1) <= 0)
    # What it finds it rates as the exact search does.
    agrees = found == exact
    np.testing.assert_allclose(
        similarities[agrees], exact_similarities[agrees], atol=1e-6
    )


def test_search_by_cells_gives_the_same_result_again():
    features = clusters(500)
    first = nearest_neighbors(features, 5, exact_limit=0)
    second = nearest_neighbors(features, 5, exact_limit=0)
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])


@pytest.mark.parametrize("num_examples", [2, 3, 50, 200])
def test_few_examples_in_cells_fill_all_columns(num_examples):
    features = clusters(num_examples)
    expected = nearest_neighbors(features, num_examples - 1)
    found = nearest_neighbors(features, num_examples - 1, exact_limit=0)
    np.testing.assert_array_equal(np.sort(found[0]), np.sort(expected[0]))
    np.testing.assert_allclose(found[1], expected[1], atol=1e-6)


@pytest.mark.parametrize("num_copies", [300, 2000])
def test_copies_and_zeros_are_found_in_cells(num_copies):
    features = np.concatenate([np.ones((num_copies, 3)), np.zeros((5, 3))])
    indices, similarities = nearest_neighbors(features, 4, exact_limit=0)
    assert np.all(indices != np.arange(len(features))[:, None])
    np.testing.assert_allclose(similarities[:num_copies], 1, atol=1e-6)
    np.testing.assert_array_equal(similarities[num_copies:], 0)


# What is refused.


@pytest.mark.parametrize(
    "arguments, message",
    [
        ([np.zeros(3), 1], r"`features` must have shape \(n, dim\)"),
        ([np.zeros((0, 3)), 1], r"`features` must have shape \(n, dim\)"),
        ([np.zeros((2, 2, 2)), 1], r"`features` must have shape \(n, dim\)"),
        ([example(), 0], "`num_neighbors` must be an integer"),
        ([example(), -1], "`num_neighbors` must be an integer"),
        ([example(), 2.0], "`num_neighbors` must be an integer"),
        ([example(), True], "`num_neighbors` must be an integer"),
        ([example(), 1, 1e5], "`exact_limit` must be an integer"),
    ],
)
def test_wrong_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        nearest_neighbors(*arguments)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_feature_that_is_not_finite_is_named(value, small_tiles):
    features = example()
    features[17, 2] = value
    with pytest.raises(ValueError, match=f"Received: {value} in row 17"):
        nearest_neighbors(features, 1)
