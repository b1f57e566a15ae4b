"""Tests of audit/unseen.py: predictions as if a label had not been seen."""

import numpy as np
import pytest

from keras_ncr.audit.neighborhood import Neighborhood
from keras_ncr.audit.predictions import from_probabilities
from keras_ncr.audit.unseen import (
    advantage_of_seen,
    log_margins,
    right_by_margin,
    unseen_predictions,
)


def memorizing_case(advantage, num_examples=400):
    """Returns predictions that lean toward their labels, and twins that do not."""
    rng = np.random.default_rng(0)
    fair = rng.dirichlet(np.full(4, 0.4), num_examples // 2)
    fair = np.concatenate([fair, fair])
    labels = np.where(
        rng.uniform(size=num_examples) < 0.8,
        fair.argmax(axis=1),
        rng.integers(0, 4, num_examples),
    )
    seen = fair.copy()
    half = np.arange(num_examples // 2)
    seen[half, labels[half]] *= np.exp(advantage)
    seen /= seen.sum(axis=1, keepdims=True)
    # The neighbor of each of the first half is its twin, which is fair.
    twins = np.concatenate([half + num_examples // 2] * 2)
    neighbors = Neighborhood(twins[:, None], np.ones((num_examples, 1)))
    return from_probabilities(labels, seen), neighbors, fair


def test_out_of_sample_predictions_stay_as_they_are():
    predictions, _, _ = memorizing_case(0)
    for rows, b, g in unseen_predictions(predictions):
        own = predictions.as_sparse()[rows].toarray()
        np.testing.assert_allclose(b, own, atol=1e-6)
        np.testing.assert_allclose(b, g, rtol=1e-12)


@pytest.mark.parametrize("advantage", [1.0, 3.0])
def test_advantage_is_divided_out(advantage):
    predictions, neighbors, fair = memorizing_case(advantage)
    first = np.arange(200)
    labels = predictions.labels[first]
    [(_, b, _)] = unseen_predictions(predictions, neighbors, advantage, first)
    np.testing.assert_allclose(b, fair[first], atol=1e-5)
    assert right_by_margin(log_margins(b, labels)[0]).mean() == pytest.approx(
        right_by_margin(log_margins(fair[first], labels)[0]).mean(), abs=1e-5
    )


def test_labels_look_as_wrong_as_to_the_neighbors():
    predictions, neighbors, _ = memorizing_case(3.0)
    advantage = advantage_of_seen(predictions, neighbors)
    assert advantage > 0.5
    [(_, b, g)] = unseen_predictions(predictions, neighbors, advantage)
    by_both, by_neighbors = (
        right_by_margin(log_margins(part, predictions.labels)[0]).mean()
        for part in (b, g)
    )
    assert by_both == pytest.approx(by_neighbors, abs=1e-3)


def test_model_that_does_not_lean_to_its_labels_has_no_advantage():
    predictions, neighbors, _ = memorizing_case(-1.0)
    assert advantage_of_seen(predictions, neighbors) == 0


def test_margin_is_to_the_largest_other_class():
    b = np.array([[0.5, 0.25, 0.25], [0.1, 0.7, 0.2]])
    margins, others = log_margins(b, np.array([1, 1]))
    np.testing.assert_allclose(margins, np.log([0.5, 3.5]))
    assert others.tolist() == [0, 2]
