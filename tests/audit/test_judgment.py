"""Tests of audit/judgment.py: how well labels fit, against a slow oracle and truth."""

import numpy as np
import pytest

from keras_ncr.audit import neighborhood, predictions
from keras_ncr.audit.judgment import Judgment, called_issues, judge
from keras_ncr.audit.neighborhood import Neighborhood
from keras_ncr.audit.predictions import from_probabilities

# How exactly the exponent beta is looked for leaves this much in a probability.
TOLERANCE = 2e-3


def random_case(seed, num_examples=24, num_classes=4):
    """Returns labels, probabilities and a neighborhood with negative cosines in it."""
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet(np.full(num_classes, 0.5), num_examples)
    labels = rng.integers(0, num_classes, num_examples)
    indices = rng.integers(0, num_examples, (num_examples, 3))
    similarities = rng.uniform(-0.5, 1, indices.shape)
    similarities[0] = -0.1  # The first has no similar neighbor.
    return labels, probabilities, Neighborhood(indices, similarities)


def calibrated_case(seed, matrix, num_examples=8000):
    """Returns true labels, noisy ones, and the posteriors that the true ones follow."""
    rng = np.random.default_rng(seed)
    num_classes = len(matrix)
    posteriors = rng.dirichlet(np.full(num_classes, 0.05), num_examples)

    def drawn(rows):
        beyond = rng.uniform(size=(len(rows), 1)) > rows.cumsum(axis=1)
        return np.minimum(beyond.sum(axis=1), num_classes - 1)

    truth = drawn(posteriors)
    return truth, drawn(matrix[truth]), posteriors


def symmetric(rate, num_classes=5):
    others = rate / (num_classes - 1)
    return (1 - rate - others) * np.eye(num_classes) + others


def pair_flip(rate, num_classes=5):
    one = np.eye(num_classes)
    return (1 - rate) * one + rate * np.roll(one, 1, axis=1)


# The oracle: the formulas of the module's docstring, one example at a time.


def oracle(labels, probabilities, neighbors):
    own = np.asarray(probabilities, "float64")
    mean = [oracle_mean(own, neighbors, i) for i in range(len(own))]
    preferred = [int(np.argmax(g)) for g in mean]
    margins = [np.log(np.sort(g)[-1] / max(np.sort(g)[-2], 1e-7)) for g in mean]
    matrix = oracle_matrix(labels, preferred, margins, own.shape[1])
    accuracy = oracle_accuracy(labels, preferred, margins, matrix)
    both = [(p + g) / 2 for p, g in zip(own, mean, strict=True)]
    quality = oracle_right(both, oracle_beta(both, accuracy), labels, matrix)
    right = oracle_right(mean, oracle_beta(mean, accuracy), labels, matrix)
    return quality, preferred, 1 - right, matrix


def oracle_mean(own, neighbors, i):
    if neighbors is None:
        return own[i]
    weights = [max(similarity, 0) for similarity in neighbors.similarities[i]]
    if sum(weights) == 0:
        return own[i]
    shares = [weight / sum(weights) for weight in weights]
    return sum(
        share * own[j] for share, j in zip(shares, neighbors.indices[i], strict=True)
    )


def oracle_matrix(labels, preferred, margins, num_classes):
    right, wrong = np.zeros(num_classes), np.zeros((num_classes, num_classes))
    for c in range(num_classes):
        members = [i for i in range(len(labels)) if preferred[i] == c]
        ranked = sorted((margins[i] for i in members), reverse=True)
        for i in members:
            if margins[i] >= ranked[max(len(members) // 2, 1) - 1]:
                right[c] += labels[i] == c
                wrong[c, labels[i]] += labels[i] != c
    added = max(np.exp(np.arange(-12, 8, 0.02)), key=lambda s: oracle_chance(wrong, s))
    matrix = np.zeros((num_classes, num_classes))
    for c in range(num_classes):
        matrix[c, c] = (right[c] + 1) / (right[c] + wrong[c].sum() + 1 + 1e-5)
        for y in set(range(num_classes)) - {c}:
            share = (wrong[c, y] + added) / (wrong[c].sum() + added * (num_classes - 1))
            matrix[c, y] = (1 - matrix[c, c]) * share
    return matrix


def oracle_chance(wrong, added):
    """The logarithm of the chance of these counts, as drawn from Polya's urn."""
    chance = 0.0
    for counts in wrong:
        drawn = 0
        for count in counts.astype(int):
            for already in range(count):
                others = added * (len(counts) - 1)
                chance += np.log((added + already) / (others + drawn))
                drawn += 1
    return chance


def oracle_accuracy(labels, preferred, margins, matrix):
    """The isotonic regression by its minimax formula; equal margins are one point."""
    places = np.unique(np.round(margins, 5), return_inverse=True)[1]
    right = np.array(
        [
            (label == c) / matrix[c, c]
            for label, c in zip(labels, preferred, strict=True)
        ]
    )

    def mean(first, last):
        return right[(places >= first) & (places <= last)].mean()

    fitted = [
        max(min(mean(i, j) for j in range(k, max(places) + 1)) for i in range(k + 1))
        for k in places
    ]
    return np.mean(np.clip(fitted, 1 / len(matrix), 1))


def oracle_beta(rows, accuracy):
    low, high = 0.05, 50.0
    for _ in range(60):
        middle = (low * high) ** 0.5
        sure = np.mean([np.max(oracle_sharpened(row, middle)) for row in rows])
        low, high = (middle, high) if sure < accuracy else (low, middle)
    return middle


def oracle_sharpened(row, beta):
    powers = np.maximum(row, 1e-7) ** beta
    return powers / powers.sum()


def oracle_right(rows, beta, labels, matrix):
    joint = [
        oracle_sharpened(row, beta) * matrix[:, label]
        for row, label in zip(rows, labels, strict=True)
    ]
    return np.array(
        [row[label] / row.sum() for row, label in zip(joint, labels, strict=True)]
    )


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("has_neighbors", [False, True])
def test_judgment_equals_the_formulas(seed, has_neighbors):
    labels, probabilities, neighbors = random_case(seed)
    neighbors = neighbors if has_neighbors else None
    judgment = judge(from_probabilities(labels, probabilities), neighbors)
    quality, preferred, issue, matrix = oracle(labels, probabilities, neighbors)
    np.testing.assert_array_equal(judgment.suggested, preferred)
    np.testing.assert_allclose(judgment.transition_matrix, matrix, atol=TOLERANCE)
    np.testing.assert_allclose(judgment.issue_probability, issue, atol=TOLERANCE)
    np.testing.assert_allclose(judgment.quality, quality, atol=TOLERANCE)


# What is known to come out


def test_perfect_model_calls_no_right_label_wrong():
    labels = np.arange(300) % 3
    judgment = judge(from_probabilities(labels, 0.97 * np.eye(3)[labels] + 0.01))
    assert np.mean(judgment.issue_probability) < 0.01
    assert not called_issues(judgment, labels, 0.8).any()
    np.testing.assert_allclose(judgment.transition_matrix, np.eye(3), atol=1e-5)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("matrix", "rate"),
    [
        (symmetric(0.2), 0.2),
        (symmetric(0.4), 0.4),
        (pair_flip(0.1), 0.1),
        (pair_flip(0.3), 0.3),
    ],
)
def test_calibrated_posteriors_give_back_the_noise(seed, matrix, rate):
    truth, labels, posteriors = calibrated_case(seed, matrix)
    judgment = judge(from_probabilities(labels, posteriors))
    assert np.mean(judgment.issue_probability) == pytest.approx(rate, abs=0.03)
    np.testing.assert_allclose(judgment.transition_matrix, matrix, atol=0.06)
    is_wrong = labels != truth
    for expected in (0.8, 0.95):
        called = called_issues(judgment, labels, expected)
        assert is_wrong[called].mean() >= expected - 0.05
        # A list that is short enough is always precise; this one is not that short.
        assert is_wrong[called].sum() > 0.5 * is_wrong.sum()
    assert is_wrong[np.argsort(judgment.quality)[: is_wrong.sum()]].mean() > 0.7


def test_wholly_sure_model_does_not_depend_on_the_order_of_the_labels():
    # Files are read class by class, and all of these are equally sure.
    labels = np.repeat([0, 1], [80, 20])
    judgment = judge(from_probabilities(labels, np.tile([1.0, 0.0], (100, 1))))
    np.testing.assert_allclose(
        judgment.transition_matrix, [[81 / 101, 20 / 101], [0, 1]], atol=2e-5
    )


def test_most_of_the_neighbors_outvote_the_own_prediction():
    probabilities = [[0.9, 0.1]] * 5 + [[0.1, 0.9]] * 5
    probabilities[0] = [0.2, 0.8]  # Learned by heart: label 1 among examples of 0.
    labels = [1, 0, 0, 0, 0, 1, 1, 1, 1, 1]
    indices = [[j for j in range(5) if j != i] for i in range(5)]
    indices += [[j for j in range(5, 10) if j != i] for i in range(5, 10)]
    neighbors = Neighborhood(np.array(indices), np.ones((10, 4)))
    judgment = judge(from_probabilities(labels, probabilities), neighbors)
    assert judgment.suggested.tolist() == [0] * 5 + [1] * 5
    assert judgment.quality.argmin() == 0 == judgment.issue_probability.argmax()


# Invariances


def test_order_of_the_examples_does_not_matter():
    labels, probabilities, neighbors = random_case(seed=5)
    order = np.random.default_rng(0).permutation(len(labels))
    moved = Neighborhood(
        np.argsort(order)[neighbors.indices[order]], neighbors.similarities[order]
    )
    one = judge(from_probabilities(labels, probabilities), neighbors)
    other = judge(from_probabilities(labels[order], probabilities[order]), moved)
    np.testing.assert_allclose(other.quality, one.quality[order], atol=1e-5)
    np.testing.assert_array_equal(other.suggested, one.suggested[order])
    np.testing.assert_allclose(other.transition_matrix, one.transition_matrix)


def test_numbers_of_the_classes_do_not_matter():
    labels, probabilities, neighbors = random_case(seed=6)
    new_number = np.array([2, 0, 3, 1])
    renamed = np.empty_like(probabilities)
    renamed[:, new_number] = probabilities
    one = judge(from_probabilities(labels, probabilities), neighbors)
    other = judge(from_probabilities(new_number[labels], renamed), neighbors)
    np.testing.assert_allclose(other.quality, one.quality, atol=1e-5)
    np.testing.assert_array_equal(other.suggested, new_number[one.suggested])
    matrix = other.transition_matrix[np.ix_(new_number, new_number)]
    np.testing.assert_allclose(matrix, one.transition_matrix)


def test_size_of_the_blocks_does_not_matter(monkeypatch):
    labels, probabilities, neighbors = random_case(seed=7)
    one = judge(from_probabilities(labels, probabilities), neighbors)
    monkeypatch.setattr(neighborhood, "_BLOCK", 7)
    other = judge(from_probabilities(labels, probabilities), neighbors)
    for part, same in zip(one, other, strict=True):
        np.testing.assert_allclose(part, same, atol=1e-6)


def test_classes_that_are_not_kept_hardly_matter(monkeypatch):
    rng = np.random.default_rng(0)
    num_examples, num_classes = 300, 50
    labels = rng.integers(0, num_classes, num_examples)
    probabilities = np.full((num_examples, num_classes), 1e-9)
    for row, label in zip(probabilities, labels, strict=True):
        row[(label + np.arange(5)) % num_classes] = rng.dirichlet([20, 1, 1, 1, 1])
    labels[:30] = rng.integers(0, num_classes, 30)
    sparse = from_probabilities(labels, probabilities)
    monkeypatch.setattr(predictions, "NUM_KEPT", num_classes)
    dense = from_probabilities(labels, probabilities)
    assert sparse.classes.shape == (300, 20) and dense.classes.shape == (300, 50)
    one, other = judge(sparse), judge(dense)
    np.testing.assert_allclose(one.quality, other.quality, atol=0.01)
    np.testing.assert_array_equal(one.suggested, other.suggested)
    np.testing.assert_allclose(one.transition_matrix, other.transition_matrix)


# Edges


@pytest.mark.parametrize(
    ("labels", "probabilities"),
    [
        ([1], [[0.3, 0.7]]),
        ([0], [[0.0, 1.0]]),
        ([0, 0], [[0.5, 0.5], [0.5, 0.5]]),
        ([0, 0, 0], [[1.0, 0.0, 0.0]] * 3),
        ([2, 2, 2], [[1.0, 0.0, 0.0]] * 3),
        ([0, 1, 2], [[1 / 3] * 3] * 3),
    ],
    ids=["one", "one_wrong", "ties", "one_class", "never_predicted", "know_nothing"],
)
def test_few_examples_and_classes_give_finite_numbers(labels, probabilities):
    judgment = judge(from_probabilities(labels, probabilities))
    for part in (judgment.quality, judgment.issue_probability):
        assert part.dtype == np.float32 and part.shape == (len(labels),)
        assert np.all((part >= 0) & (part <= 1))
    np.testing.assert_allclose(judgment.transition_matrix.sum(axis=1), 1)


def test_class_that_is_never_preferred_has_no_noise():
    labels = np.array([0, 0, 1, 1])
    judgment = judge(from_probabilities(labels, [[0.8, 0.1, 0.1]] * 4))
    np.testing.assert_allclose(judgment.transition_matrix[2], [0, 0, 1], atol=1e-5)


# Which labels are called


def judgment_of(probability, suggested):
    return Judgment(None, np.array(suggested), np.array(probability, "float32"), None)


@pytest.mark.parametrize(
    ("expected_precision", "called"),
    [
        (1.0, [True, False, False, False]),
        (0.94, [True, True, False, False]),
        (0.7, [True, True, True, False]),
        (0.01, [True, True, True, True]),
    ],
)
def test_as_many_are_called_as_keep_the_mean(expected_precision, called):
    judgment = judgment_of([1.0, 0.9, 0.3, 0.1], [1, 1, 1, 1])
    issues = called_issues(judgment, np.zeros(4, int), expected_precision)
    assert issues.tolist() == called


def test_label_that_is_suggested_is_never_called():
    judgment = judgment_of([0.9, 0.9, 0.9], [0, 1, 0])
    called = called_issues(judgment, np.array([0, 0, 0]), 0.01)
    assert called.tolist() == [False, True, False]


def test_none_is_called_where_none_is_probable_enough():
    judgment = judgment_of([0.5, 0.4], [1, 1])
    assert not called_issues(judgment, np.array([0, 0]), 0.8).any()
