"""Outlier scores and the rule: definition, invariances, planted outliers."""

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import roc_auc_score
from sklearn.neural_network import MLPClassifier

from keras_ncr.audit.outliers import is_outlier, outlier_scores
from keras_ncr.models.nearest import nearest_neighbors


def slow_scores(similarities):
    """The scores by their definition, one example at a time."""
    distances = [
        sum((2 - 2 * value) ** 0.5 for value in row) / len(row) for row in similarities
    ]
    ordered = sorted(distances)
    middle = len(ordered) // 2
    median = (ordered[middle] + ordered[~middle]) / 2
    return [1 / (1 + distance / median) for distance in distances]


@pytest.mark.parametrize("num_examples", [1, 2, 9, 10])
def test_scores_equal_their_definition(num_examples):
    similarities = np.random.default_rng(0).uniform(-1, 0.99, (num_examples, 4))
    scores = outlier_scores(similarities)
    np.testing.assert_allclose(scores, slow_scores(similarities), rtol=1e-6)
    assert scores.dtype == "float32"


def test_scores_follow_their_examples_when_permuted():
    similarities = np.random.default_rng(0).uniform(0, 1, (20, 3))
    order = np.random.default_rng(1).permutation(20)
    expected = outlier_scores(similarities)[order]
    np.testing.assert_array_equal(outlier_scores(similarities[order]), expected)


def test_scores_fall_with_the_distance():
    scores = outlier_scores(np.linspace(0.99, -1, 50)[:, None])
    assert np.all(np.diff(scores) < 0)
    assert 0 < scores.min() and scores.max() < 1


def test_copies_score_one_and_do_not_move_the_others():
    similarities = np.array([[1.0]] * 7 + [[1 + 5e-7]] + [[0.5], [0.875], [0.5]])
    scores = outlier_scores(similarities)
    np.testing.assert_array_equal(scores[:8], 1)
    np.testing.assert_allclose(scores[8:], [1 / 2, 2 / 3, 1 / 2], rtol=1e-6)


def test_examples_that_are_all_the_same_are_no_outliers():
    scores = outlier_scores(np.ones((5, 2)))
    np.testing.assert_array_equal(scores, 1)
    assert not is_outlier(scores).any()


def test_example_without_others_is_no_outlier():
    scores = outlier_scores(np.zeros((1, 0)))
    np.testing.assert_array_equal(scores, [1])
    assert not is_outlier(scores).any()


# The rule.


@pytest.mark.parametrize("last, is_beyond", [(8.4, False), (8.6, True)])
def test_rule_calls_what_is_beyond_the_fence(last, is_beyond):
    # The quartiles of the distances are 2.25 and 4.75, so that the fence is at 8.5.
    distances = np.array([3, 1, 2, 4, 5, last])
    assert list(is_outlier(1 / (1 + distances))) == [False] * 5 + [is_beyond]


def test_rule_calls_the_stated_share_of_normal_distances():
    distances = np.random.default_rng(0).normal(1, 0.1, 100_000)
    share = is_outlier(1 / (1 + distances)).mean()
    assert share == pytest.approx(0.0035, abs=0.0006)


def test_rule_finds_one_outlier_among_equals():
    assert list(is_outlier([0.5, 0.5, 0.5, 0.5, 0.0])) == [False] * 4 + [True]


def test_rule_of_few_examples_calls_none():
    assert not is_outlier([0.9]).any()
    assert not is_outlier([0.9, 0.1]).any()


# With a trained network.


@pytest.fixture(scope="module")
def scores_of_digits():
    """Scores of 1,000 digits, and of 10 pictures of noise that were among them."""
    rng = np.random.default_rng(0)
    digits = load_digits(return_X_y=True)
    x = np.concatenate([digits[0][:1000] / 16, rng.uniform(0, 1, (10, 64))])
    labels = np.concatenate([digits[1][:1000], rng.integers(0, 10, 10)])
    network = MLPClassifier([64], max_iter=20, random_state=0)
    with pytest.warns(ConvergenceWarning):
        network.fit(x, labels)
    features = np.maximum(x @ network.coefs_[0] + network.intercepts_[0], 0)
    return outlier_scores(nearest_neighbors(features, 50)[1])


def test_planted_noise_has_the_lowest_scores(scores_of_digits):
    is_planted = np.arange(1010) >= 1000
    assert roc_auc_score(is_planted, -scores_of_digits) > 0.97


def test_rule_calls_most_of_the_noise_and_few_digits(scores_of_digits):
    called = is_outlier(scores_of_digits)
    assert called[1000:].mean() >= 0.8
    assert called[:1000].mean() <= 0.03
