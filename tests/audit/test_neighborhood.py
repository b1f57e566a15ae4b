"""Tests of audit/neighborhood.py: what neighbors predict, and what their labels are."""

import numpy as np
import pytest

from keras_ncr.audit import neighborhood
from keras_ncr.audit.neighborhood import (
    Neighborhood,
    neighbor_labels,
    neighbor_predictions,
)
from keras_ncr.audit.predictions import from_probabilities


def random_case(seed, num_examples=30, num_classes=4, num_neighbors=5):
    """Returns labels, probabilities and neighbors, some with negative cosines."""
    rng = np.random.default_rng(seed)
    indices = np.array(
        [
            rng.choice(np.delete(np.arange(num_examples), i), num_neighbors, False)
            for i in range(num_examples)
        ]
    )
    similarities = np.sort(rng.uniform(-0.6, 1, indices.shape))[:, ::-1]
    similarities[3] = -0.2
    return (
        rng.integers(0, num_classes, num_examples),
        rng.dirichlet(np.ones(num_classes), num_examples),
        Neighborhood(indices, similarities),
    )


def together(blocks):
    return [np.concatenate(parts) for parts in zip(*blocks, strict=True)]


@pytest.mark.parametrize("seed", range(3))
def test_means_are_weighed_by_similarity(seed):
    labels, probabilities, neighbors = random_case(seed)
    predictions = from_probabilities(labels, probabilities)
    rows, own, means = together(neighbor_predictions(predictions, neighbors))
    np.testing.assert_array_equal(rows, np.arange(30))
    np.testing.assert_allclose(own, probabilities, rtol=1e-5)
    for i in range(30):
        weights = [max(similarity, 0) for similarity in neighbors.similarities[i]]
        expected = probabilities[i]  # Without any similar neighbor, its own.
        if sum(weights):
            expected = sum(
                weight * probabilities[j] / sum(weights)
                for weight, j in zip(weights, neighbors.indices[i], strict=True)
            )
        np.testing.assert_allclose(means[i], expected, rtol=1e-5)
    np.testing.assert_allclose(means[3], probabilities[3], rtol=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_labels_are_weighed_by_similarity(seed):
    labels, _, neighbors = random_case(seed)
    found = neighbor_labels(neighbors, labels, 4)
    for i in range(30):
        weight_of = np.zeros(4)
        for j, similarity in zip(
            neighbors.indices[i], neighbors.similarities[i], strict=True
        ):
            weight_of[labels[j]] += max(similarity, 0)
        if weight_of.sum() == 0:
            assert found.labels[i] == -1 and found.agreement[i] == 0
            continue
        assert found.labels[i] == weight_of.argmax()
        share = weight_of[labels[i]] / weight_of.sum()
        assert found.agreement[i] == pytest.approx(share, abs=1e-6)
    assert found.agreement.dtype == np.float32 and found.labels.dtype == np.int64
    assert found.labels[3] == -1


def test_some_examples_have_the_means_of_all():
    labels, probabilities, neighbors = random_case(seed=4)
    predictions = from_probabilities(labels, probabilities)
    *_, means = together(neighbor_predictions(predictions, neighbors))
    chosen = np.array([20, 3, 7])
    rows, own, some = together(neighbor_predictions(predictions, neighbors, chosen))
    np.testing.assert_array_equal(rows, chosen)
    np.testing.assert_allclose(own, probabilities[chosen], rtol=1e-5)
    np.testing.assert_allclose(some, means[chosen], rtol=1e-6)


def test_without_neighbors_the_own_prediction_stands():
    labels, probabilities, _ = random_case(seed=5)
    ((_, own, means),) = neighbor_predictions(from_probabilities(labels, probabilities))
    np.testing.assert_array_equal(own, means)


def test_size_of_the_blocks_does_not_matter(monkeypatch):
    labels, probabilities, neighbors = random_case(seed=6)
    predictions = from_probabilities(labels, probabilities)
    whole = together(neighbor_predictions(predictions, neighbors))
    found = neighbor_labels(neighbors, labels, 4)
    monkeypatch.setattr(neighborhood, "_BLOCK", 7)
    assert len(list(neighbor_predictions(predictions, neighbors))) == 5
    for part, same in zip(
        together(neighbor_predictions(predictions, neighbors)), whole, strict=True
    ):
        np.testing.assert_allclose(part, same, rtol=1e-6)
    for part, same in zip(neighbor_labels(neighbors, labels, 4), found, strict=True):
        np.testing.assert_allclose(part, same, rtol=1e-6)


def test_weights_leave_the_neighborhood_as_it_is():
    _, _, neighbors = random_case(seed=7)
    before = [part.copy() for part in neighbors]
    weights = neighbors.weights().toarray()
    has_similar = neighbors.similarities.max(axis=1) > 0
    np.testing.assert_allclose(weights.sum(axis=1), has_similar, atol=1e-6)
    assert np.all(weights >= 0)
    for part, same in zip(neighbors, before, strict=True):
        np.testing.assert_array_equal(part, same)


def test_equal_labels_agree_wholly_and_not_more():
    # Shares of a tenth each add up to a little more than 1 in float32.
    indices = np.tile(np.arange(1, 11), (11, 1))
    neighbors = Neighborhood(indices, np.full(indices.shape, 0.1))
    assert neighbor_labels(neighbors, np.zeros(11, int), 2).agreement.max() == 1


def test_example_without_others_is_alone():
    neighbors = Neighborhood(np.zeros((1, 0), "int32"), np.zeros((1, 0), "float32"))
    found = neighbor_labels(neighbors, np.array([1]), 2)
    assert found.labels.tolist() == [-1] and found.agreement.tolist() == [0]
