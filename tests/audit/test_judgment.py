"""Tests of audit/judgment.py: how well labels fit, against a slow oracle and truth."""

import numpy as np
import pytest

from keras_ncr.audit import by_class, neighborhood, predictions
from keras_ncr.audit.judgment import Judgment, called_issues, judge
from keras_ncr.audit.neighborhood import Neighborhood
from keras_ncr.audit.plateau import plateau
from keras_ncr.audit.predictions import from_probabilities

# How exactly the likeliest numbers are looked for leaves this much in a probability.
TOLERANCE = 2e-3


def random_case(seed, num_examples=100, num_classes=4):
    """Returns labels, probabilities and a neighborhood with negative cosines in it."""
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet(np.full(num_classes, 0.5), num_examples)
    labels = probabilities.argmax(axis=1)
    labels[::4] = rng.integers(0, num_classes, len(labels[::4]))
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
    """Returns the quality of all labels, and the share of wrong ones."""
    own = np.asarray(probabilities, "float64")
    g = [oracle_floored(oracle_mean(own, neighbors, i)) for i in range(len(own))]
    advantage = oracle_advantage(own, g, labels) if neighbors else 0
    b = [oracle_unseen(*rows, advantage) for rows in zip(own, g, labels, strict=True)]
    preferred = [int(np.argmax(row)) for row in b]
    gaps = [np.log(np.sort(row)[-1] / np.sort(row)[-2]) for row in b]
    is_sure = oracle_sure(preferred, gaps)
    counts = np.zeros((own.shape[1], own.shape[1]))
    for c, label, sure in zip(preferred, labels, is_sure, strict=True):
        counts[c, label] += sure
    added = oracle_added(counts)
    matrix = oracle_matrix(counts, added)
    shares = oracle_shares(labels, matrix)
    beta = oracle_beta(b, oracle_accuracy(labels, preferred, gaps, matrix))
    q = oracle_weighted([oracle_sharpened(row, beta) for row in b], shares)
    share = oracle_share(labels, preferred, is_sure, g, counts, added)
    by_margin = [oracle_by_margin(row, y) for row, y in zip(b, labels, strict=True)]
    by_class = [
        oracle_by_class(row, y, matrix, y == c)
        for row, y, c in zip(q, labels, preferred, strict=True)
    ]
    counted = sum(shares[c] * (1 - matrix[c, c]) for c in range(len(matrix)))
    differs = labels != np.array(preferred)
    if not neighbors:  # The level has an oracle of its own.
        level = plateau(differs, np.array(preferred), np.array(gaps))
        counted = min(counted, np.mean(differs))
        counted -= max(counted - level, 0) / 4
    weight, rate = oracle_weighed(
        share,
        1 - np.mean(by_class),
        1 - np.mean(by_margin),
        np.mean(differs),
        counted,
        neighbors,
    )
    return weight * np.array(by_margin) + (1 - weight) * np.array(by_class), rate


def oracle_above(value, threshold):
    return value**6 / (value**6 + threshold**6)


def oracle_weighed(share, by_class, by_margin, differ, counted, neighbors):
    if share is None or by_class > 0.5:  # The model hardly knows the classes.
        return 1.0, by_margin
    weight = oracle_above(share, 1.5 * (1 - share))
    explained = by_class / by_margin
    if neighbors:
        wavering = max(1 - by_margin / differ, 1e-9)
        steady = 1 - oracle_above(wavering, 0.04)
        kept = 1 - oracle_above(explained, 0.25) * oracle_above(wavering, 0.04) / 2
        learned = oracle_above(wavering, 0.25)
        of_rate = max(weight * (learned + (1 - learned) * kept), steady)
        weight = max(weight * kept, steady)
        by_margin = (1 - learned / 2) * by_margin + learned / 2 * differ
    else:
        weight = max(weight, 1 - oracle_above(explained, 0.2))
        of_rate = weight * (1 - oracle_above(explained, 0.6))
    return weight, of_rate * by_margin + (1 - of_rate) * min(counted, differ)


def oracle_floored(row):
    return np.maximum(row, 1e-9) / np.maximum(row, 1e-9).sum()


def oracle_unseen(own, g, label, advantage):
    own = oracle_floored(own)
    own[label] *= np.exp(-advantage)
    return (own / own.sum() + g) / 2


def oracle_advantage(own, g, labels):
    def mean_right(rows):
        pairs = zip(rows, labels, strict=True)
        return np.mean([oracle_by_margin(row, label) for row, label in pairs])

    low, high = 0, 15
    for _ in range(16):
        middle = (low + high) / 2
        rows = [oracle_unseen(*r, middle) for r in zip(own, g, labels, strict=True)]
        low, high = (
            (middle, high) if mean_right(rows) > mean_right(g) else (low, middle)
        )
    return middle


def oracle_by_margin(b, label):
    other = max(b[k] for k in range(len(b)) if k != label)
    return 1 / (1 + (other / (2 * b[label])) ** 2)


def oracle_by_class(q, label, matrix, is_preferred):
    joint = q * matrix[:, label]
    right = joint[label] / joint.sum()
    return max(right, 0.8) if is_preferred else right


def oracle_shares(labels, matrix):
    """Each step gives every label to the classes it may come from, by their shares."""
    num_classes = len(matrix)
    given = [np.sum(labels == y) + 0.5 for y in range(num_classes)]
    given = [count / sum(given) for count in given]
    shares = given
    for _ in range(10):
        moved = [0.0] * num_classes
        for y in range(num_classes):
            likely = [shares[c] * matrix[c, y] for c in range(num_classes)]
            for c in range(num_classes):
                moved[c] += given[y] * likely[c] / sum(likely)
        shares = moved
    return shares


def oracle_weighted(rows, shares):
    """Scales columns, then rows, so that the columns' means come near to the shares."""
    rows = np.array(rows)
    for _ in range(3):
        rows = rows * (np.array(shares) + 1e-6) / (rows.mean(axis=0) + 1e-6)
        rows /= rows.sum(axis=1, keepdims=True)
    return rows


def oracle_sure(preferred, gaps):
    is_sure = []
    for c, gap in zip(preferred, gaps, strict=True):
        of_class = sorted(
            (o for d, o in zip(preferred, gaps, strict=True) if d == c), reverse=True
        )
        share = max(0.2, min(150 / len(gaps), 0.5))
        is_sure.append(gap >= of_class[max(int(share * len(of_class)), 1) - 1])
    return is_sure


def oracle_share(labels, preferred, is_sure, g, counts, added):
    pairs = []
    for label, c, sure, row in zip(labels, preferred, is_sure, g, strict=True):
        if sure and label != c:
            others = added * (len(counts) - 1)
            of_class = counts[c].sum() - counts[c, c] - 1 + others
            pairs.append(
                (row[label] / (1 - row[c]), (counts[c, label] - 1 + added) / of_class)
            )

    def chance(s):
        return 3 * np.log(s) + sum(np.log(s * own + (1 - s) * of) for own, of in pairs)

    if (
        np.mean(
            [
                y != c
                for y, c, sure in zip(labels, preferred, is_sure, strict=True)
                if sure
            ]
        )
        > 0.5
    ):
        return None
    return oracle_best(chance, 0.01, 1)


def oracle_best(chance, low, high):
    """Returns the likeliest number, on finer and finer grids."""
    for _ in range(3):
        grid = np.linspace(low, high, 41)
        best = int(np.argmax([chance(x) for x in grid]))
        low, high = grid[max(best - 1, 0)], grid[min(best + 1, 40)]
    return grid[best]


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


def oracle_added(counts):
    wrong = counts * (1 - np.eye(len(counts)))
    return np.exp(oracle_best(lambda x: oracle_chance(wrong, np.exp(x)), -12, 8))


def oracle_matrix(counts, added):
    num_classes = len(counts)
    mean = (np.trace(counts) + 1) / (counts.sum() + 1 + 1e-5)

    def chance(size):  # Of Polya's urn with two colors.
        result = 0
        for c in range(num_classes):
            right, total = int(counts[c, c]), int(counts[c].sum())
            result += sum(np.log(size * mean + k) for k in range(right))
            result += sum(np.log(size * (1 - mean) + k) for k in range(total - right))
            result -= sum(np.log(size + k) for k in range(total))
        return result

    size = np.exp(oracle_best(lambda x: chance(np.exp(x)), -2, 12))
    matrix = np.zeros((num_classes, num_classes))
    for c in range(num_classes):
        kept = (counts[c, c] + size * mean) / (counts[c].sum() + size)
        wrong = counts[c].sum() - counts[c, c]
        for y in range(num_classes):
            share = (counts[c, y] + added) / (wrong + added * (num_classes - 1))
            matrix[c, y] = kept if y == c else (1 - kept) * share
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
    powers = row**beta
    return powers / powers.sum()


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("has_neighbors", [False, True])
def test_quality_equals_the_formulas(seed, has_neighbors):
    labels, probabilities, neighbors = random_case(seed, num_examples=60)
    neighbors = neighbors if has_neighbors else None
    judgment = judge(from_probabilities(labels, probabilities), neighbors)
    quality, rate = oracle(labels, probabilities, neighbors)
    np.testing.assert_allclose(judgment.quality, quality, atol=TOLERANCE)
    assert judgment.noise_rate == pytest.approx(rate, abs=TOLERANCE)


# What is known to come out


def test_perfect_model_calls_no_right_label_wrong():
    labels = np.arange(300) % 3
    judgment = judge(from_probabilities(labels, 0.97 * np.eye(3)[labels] + 0.01))
    assert np.mean(1 - judgment.quality) < 0.01
    assert not called_issues(judgment, labels).any()
    np.testing.assert_allclose(judgment.transition_matrix, np.eye(3), atol=1e-4)


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
    assert np.mean(1 - judgment.quality) == pytest.approx(rate, abs=0.03)
    assert judgment.noise_rate == pytest.approx(rate, abs=0.03)
    np.testing.assert_allclose(judgment.transition_matrix, matrix, atol=0.06)
    is_wrong = labels != truth
    for expected in (0.8, 0.95):
        called = called_issues(judgment, labels, 0.5, expected)
        assert is_wrong[called].mean() >= expected - 0.05
        # A list that is short enough is always precise; this one is not that short.
        assert is_wrong[called].sum() > 0.5 * is_wrong.sum()
    assert is_wrong[np.argsort(judgment.quality)[: is_wrong.sum()]].mean() > 0.7


def test_wholly_sure_model_does_not_depend_on_the_order_of_the_labels():
    # Files are read class by class, and all of these are equally sure.
    labels = np.repeat([0, 1], [80, 20])
    judgment = judge(from_probabilities(labels, np.tile([1.0, 0.0], (100, 1))))
    np.testing.assert_allclose(
        judgment.transition_matrix, [[0.8, 0.2], [0, 1]], atol=2e-5
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
    assert judgment.quality.argmin() == 0 == (1 - judgment.quality).argmax()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("rate", [0.1, 0.3])
def test_noise_that_grows_with_difficulty_is_found(seed, rate):
    # As people err: on what is hard to tell, and toward what it looks like.
    rng = np.random.default_rng(seed)
    num_examples, num_classes = 6000, 10
    places = np.arange(num_examples)
    hardness = rng.beta(1, 4, num_examples)
    truth = rng.integers(0, num_classes, num_examples)
    twin = (truth + rng.integers(1, num_classes, num_examples)) % num_classes
    is_wrong = rng.uniform(size=num_examples) < hardness * rate / hardness.mean()
    labels = np.where(is_wrong, twin, truth)
    logits = rng.normal(0, 1, (num_examples, num_classes))
    logits[places, truth] += 6 * (1 - hardness) + 3
    logits[places, twin] += 4
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    judgment = judge(from_probabilities(labels, probabilities))
    is_called = called_issues(judgment, labels)
    assert judgment.noise_rate == pytest.approx(is_wrong.mean(), rel=0.25)
    assert is_wrong[is_called].mean() > 0.8 and is_called[is_wrong].mean() > 0.8


def in_sample_case(sharpness, hardness, step=None):
    """Returns the quality by neighbors of the same class, with 20 % of labels wrong."""
    rng = np.random.default_rng(0)
    truth = np.repeat(np.arange(5), 200)
    is_hard = np.arange(1000) % 2 == 1
    is_wrong = rng.uniform(size=1000) < np.where(
        is_hard, 0.2 + hardness, 0.2 - hardness
    )
    twin = (truth + (step or rng.integers(1, 5, 1000))) % 5
    logits = rng.normal(0, 1, (1000, 5))
    places = np.arange(1000)
    logits[places, truth] += sharpness + 2 * ~is_hard
    logits[places, twin] += 3
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = np.where(is_wrong, twin, truth)
    neighbors = Neighborhood(places[:, None], np.ones((1000, 1)))
    return judge(from_probabilities(labels, probabilities), neighbors)


@pytest.mark.parametrize(("sharpness", "hardness"), [(12, 0.0), (4, 0.2)])
def test_margins_are_believed_in_sample_where_they_leave_no_doubt(sharpness, hardness):
    # Nothing wavers; or the sure labels are right.
    judgment = in_sample_case(sharpness, hardness)
    np.testing.assert_allclose(judgment.quality, judgment.right_by_margin, atol=0.05)


def test_margins_count_half_in_sample_where_sure_labels_are_wrong_too():
    judgment = in_sample_case(4, 0.0)
    halves = (judgment.right_by_margin + judgment.right_by_class) / 2
    np.testing.assert_allclose(judgment.quality, halves, atol=0.01)


@pytest.mark.parametrize("seed", range(3))
def test_own_errors_of_a_model_are_not_noise_where_noise_has_no_rhyme(seed):
    matrix = symmetric(0.1, 10)
    truth, labels, posteriors = calibrated_case(seed, matrix)
    judgment = judge(from_probabilities(labels, posteriors))
    assert np.mean(posteriors.argmax(axis=1) == truth) < 0.8
    assert 1 - judgment.quality.mean() == pytest.approx(0.1, rel=0.25)
    assert judgment.noise_rate == pytest.approx(0.1, rel=0.25)
    is_called = called_issues(judgment, labels)
    assert np.mean(labels[is_called] != truth[is_called]) > 0.7


@pytest.mark.parametrize("seed", range(3))
def test_share_is_found_where_classes_lose_their_labels_one_way(seed):
    # Trained on such labels, a model sees half of the classes too rarely.
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 6, 6000)
    is_wrong = (truth % 2 == 0) & (rng.uniform(size=6000) < 0.4)
    labels = np.where(is_wrong, truth + 1, truth)
    logits = rng.normal(0, 1, (6000, 6))
    places = np.arange(6000)
    logits[places, truth] += np.where(truth % 2 == 0, 4.5, 6)
    logits[places, truth ^ 1] += np.where(truth % 2 == 0, 4, 0)
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert np.mean(probabilities.argmax(axis=1) == truth) > 0.8
    judgment = judge(from_probabilities(labels, probabilities))
    assert judgment.noise_rate == pytest.approx(is_wrong.mean(), rel=0.25)


def test_rule_of_twice_the_probability_holds_for_two_classes():
    # One other class only: nothing tells the two accounts apart.
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet([0.3, 0.3], 500)
    labels = np.where(rng.uniform(size=500) < 0.9, probabilities.argmax(axis=1), 0)
    is_called = called_issues(judge(from_probabilities(labels, probabilities)), labels)
    given = probabilities[np.arange(500), labels]
    np.testing.assert_array_equal(is_called, 1 - given > 2 * given)


def test_called_are_the_first_of_the_list_and_seem_less_likely_than_suggested():
    for seed in range(20):
        labels, probabilities, neighbors = random_case(seed)
        judgment = judge(from_probabilities(labels, probabilities), neighbors)
        is_called = called_issues(judgment, labels, 0.3)
        assert np.all(judgment.given_confidence <= judgment.suggested_confidence)
        assert not np.any(is_called & (judgment.suggested == labels))
        if is_called.any() and not is_called.all():
            worst = judgment.quality[is_called].max()
            assert worst <= judgment.quality[~is_called].min()


def test_no_more_labels_are_said_to_be_wrong_than_differ():
    # Where the surest examples have all wrong labels, counts say four times as many.
    rng = np.random.default_rng(0)
    truth, is_sure = rng.integers(0, 4, 2000), rng.uniform(size=2000) < 0.25
    chance = np.where(is_sure & (truth % 2 == 0), 0.4, 0)
    is_wrong = rng.uniform(size=2000) < chance
    labels = np.where(is_wrong, truth + 1, truth)
    logits = rng.normal(0, 0.5, (2000, 4))
    logits[np.arange(2000), truth] += np.where(is_sure, 8, 3)
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    judgment = judge(from_probabilities(labels, probabilities))
    assert judgment.share_of_sure > 3 * is_wrong.mean()
    assert judgment.noise_rate == pytest.approx(is_wrong.mean(), rel=0.05)


def test_margins_are_believed_in_sample_by_a_model_that_wavers_on_no_other_label():
    # A fifth goes to the next class, as by class alone, and the model is sure of it.
    judgment = in_sample_case(12, 0.0, step=1)
    np.testing.assert_allclose(judgment.quality, judgment.right_by_margin, atol=0.05)


def test_own_errors_among_the_surest_are_not_counted_as_noise():
    # All labels are right; the model errs on less the surer it is, down to none.
    rng = np.random.default_rng(0)
    sharpness = rng.uniform(0, 3, 4000)
    logits = rng.normal(size=(4000, 5)) * sharpness[:, None]
    posteriors = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = (posteriors.cumsum(axis=1) > rng.random((4000, 1))).argmax(axis=1)
    judgment = judge(from_probabilities(labels, posteriors))
    assert judgment.share_of_sure > 0.1 > judgment.plateau


def test_most_of_the_sure_labels_wrong_is_not_believed():
    labels, probabilities, _ = random_case(0)
    labels = (probabilities.argmax(axis=1) + 1) % 4
    judgment = judge(from_probabilities(labels, probabilities))
    assert judgment.share_of_sure == 1
    np.testing.assert_array_equal(judgment.quality, judgment.right_by_margin)


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
    for part in (judgment.quality, (1 - judgment.quality)):
        assert part.dtype == np.float32 and part.shape == (len(labels),)
        assert np.all((part >= 0) & (part <= 1))
    np.testing.assert_allclose(judgment.transition_matrix.sum(axis=1), 1)


def test_class_that_is_never_preferred_has_no_noise():
    labels = np.array([0, 0, 1, 1])
    judgment = judge(from_probabilities(labels, [[0.8, 0.1, 0.1]] * 4))
    np.testing.assert_allclose(judgment.transition_matrix[2], [0, 0, 1], atol=1e-5)


# Which labels are called


def judgment_of(probability, suggested):
    quality = 1 - np.array(probability, "float32")
    return Judgment(
        quality, np.array(suggested), *[None] * 5, 0.0, False, 0.0, 0.0, 1.0
    )


@pytest.mark.parametrize(
    ("threshold", "called"),
    [
        (0.95, [True, False, False, False]),
        (0.5, [True, True, False, False]),
        (0.2, [True, True, True, False]),
    ],
)
def test_labels_above_the_threshold_are_called(threshold, called):
    judgment = judgment_of([1.0, 0.9, 0.3, 0.1], [1, 1, 1, 1])
    assert called_issues(judgment, np.zeros(4, int), threshold).tolist() == called


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
    issues = called_issues(judgment, np.zeros(4, int), 0.5, expected_precision)
    assert issues.tolist() == called


def test_nothing_is_called_from_the_first_label_on_that_is_suggested():
    judgment = judgment_of([0.9, 0.8, 0.7, 0.6], [1, 1, 0, 1])
    for calls in ((0.01, None), (0.5, 0.01)):
        called = called_issues(judgment, np.zeros(4, int), *calls)
        assert called.tolist() == [True, True, False, False]


def test_none_is_called_where_none_is_probable_enough():
    judgment = judgment_of([0.5, 0.4], [1, 1])
    assert not called_issues(judgment, np.array([0, 0])).any()
    assert not called_issues(judgment, np.array([0, 0]), 0.5, 0.8).any()


def test_gap_that_is_the_largest_by_rounding_alone_counts_as_its_equals():
    # As shares of votes give them, added up in another order.
    gaps = np.append(np.linspace(0, 1.71297859, 50), np.nextafter(1.71297859, 2))
    labels, preferred = np.arange(51) % 2, np.ones(51, int)
    accuracy = by_class._accuracy(labels, preferred, gaps, np.full((2, 2), 0.5))
    assert accuracy == pytest.approx(50.5 / 51)
