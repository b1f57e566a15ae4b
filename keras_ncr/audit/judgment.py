"""Whether a label is right: one probability, by two accounts of how labels go wrong.

With b the prediction of an example as if its label had not been seen (`unseen`), c the
class that it prefers and y the given label:

    by class   A wrong label depends on the true class alone. T_cy is the share of
               label y among the fifth of the examples of class c of which b is surest;
               q = b**beta, scaled to sum to 1, as sure as it is accurate on average.
               P(right) = q_y T_yy / sum_k q_k T_ky                    (Bayes' rule)
    by margin  Labels are wrong where they are hard to tell, for the model as well.
               P(right) = 1 / (1 + (max_{k != y} b_k / 2 b_y)**2): one half where
               another class is twice as probable as y
    s          share of the wrong labels of that fifth that fall on the second choices
               of their own example, rather than on those of its class: the likeliest
    weight     1 / (1 + (1.5 (1 - s) / s)**6), of the account by margin in their mean

In sample b has learned something of the labels, wrong ones among them, and s comes out
too large. The weight is then halved, unless the account by margin is beyond doubt:
hardly any label of the surest examples is wrong, or b wavers on none of those that it
does not agree with.

The mean is the quality of the label, 1 minus it the probability that it is wrong. All
that is said of labels follows from it: order, calls, noise rate, transition matrix.
Where the two accounts differ, so do the bounds of what is stated.
"""

import functools
from typing import NamedTuple

import numpy as np

from keras_ncr.audit.unseen import (
    advantage_of_seen,
    log_margins,
    right_by_margin,
    sample,
    unseen_predictions,
)

# The share of each class's examples that the transition matrix is counted on: of more
# of them a weak model's own errors would count as noise.
_SURE_SHARE = 0.2
# If more of them carry another label, b knows the classes too badly to count by.
_MOST_OF_SURE = 0.5
# So many labels speak for the account by margin where there are none to tell.
_MORE_OF_OWN = 3
# How decidedly an account is preferred, and from which odds on that by margin is.
_DECISION = 6
_ODDS = 1.5
# In sample: where labels of sure examples are wrong for a quarter of what the margins
# say, and where b wavers on 4 % of what it does not agree with.
_SOME_OF_SURE = 0.25
_WAVERING = 0.04
# So many wrong labels a class has beside those that were seen: none is ruled out.
_UNSEEN = 1e-5
# From hardly evened out to all but even.
_LOG_EVENNESS = (-12, 8)
# From hardly any example to more than there are.
_LOG_ADDED = (-2, 12)
# No label that b prefers is likelier wrong than this.
_PREFERRED_WRONG = 0.2


class Judgment(NamedTuple):
    """What is thought of the labels of n examples.

    Attributes:
        quality: Float32 array of shape `(n,)`, in [0, 1]: the probability that the
            label is right.
        suggested: Int64 array of shape `(n,)`: the class that the prediction prefers.
        given_confidence: Float32 array of shape `(n,)`: b of the given label.
        suggested_confidence: Float32 array of shape `(n,)`: b of the suggested one.
        right_by_class: Float32 array of shape `(n,)`: quality by the one account.
        right_by_margin: Float32 array of shape `(n,)`: quality by the other.
        transition_matrix: Float64 array of shape `(num_classes, num_classes)`: `[i, j]`
            is the share of examples of true class i that carry label j, estimated.
        share_of_sure: Float: the share of wrong labels among the surest examples.
    """

    quality: np.ndarray
    suggested: np.ndarray
    given_confidence: np.ndarray
    suggested_confidence: np.ndarray
    right_by_class: np.ndarray
    right_by_margin: np.ndarray
    transition_matrix: np.ndarray
    share_of_sure: float


def judge(predictions, neighborhood=None):
    """Returns the `Judgment` of all labels.

    Args:
        predictions: `Predictions` of n examples.
        neighborhood: Optional `Neighborhood` of n examples, for predictions by a model
            that has seen the labels. Defaults to `None`: they are out of sample.

    Returns:
        `Judgment`.

    Example:
    Eight examples that the model is sure of; one label differs.

    >>> from keras_ncr.audit.judgment import judge
    >>> from keras_ncr.audit.predictions import from_probabilities
    >>> rows = [[0.9, 0.1]] * 4 + [[0.1, 0.9]] * 4
    >>> judgment = judge(from_probabilities([0, 0, 0, 1, 1, 1, 1, 1], rows))
    >>> int(judgment.quality.argmin()), int(judgment.suggested[3])
    (3, 0)
    """
    labels, num_classes = predictions.labels, predictions.num_classes
    advantage = 0.0
    if neighborhood is not None:
        advantage = advantage_of_seen(predictions, neighborhood)
    unseen = functools.partial(unseen_predictions, predictions, neighborhood, advantage)
    known = _known(labels, unseen())
    is_sure = _is_sure(known.preferred, known.gaps)
    counts = _counts(labels, known.preferred, is_sure, num_classes)
    matrix, evenness = _transition_matrix(counts)
    accuracy = _accuracy(labels, known.preferred, known.gaps, matrix)
    beta = _beta(unseen(examples=sample(predictions)), accuracy)
    by_class = _right_by_class(labels, unseen(), beta, matrix)
    is_preferred = labels == known.preferred
    by_class = np.where(
        is_preferred, np.maximum(by_class, 1 - _PREFERRED_WRONG), by_class
    )
    by_margin = right_by_margin(known.margins)
    is_told = is_sure & ~is_preferred
    share = _share_of_own(
        known.own_shares[is_told],
        _shares_of_class(counts, evenness, known.preferred[is_told], labels[is_told]),
    )
    share_of_sure = float(np.mean(~is_preferred[is_sure]))
    weight = 1.0
    if share_of_sure <= _MOST_OF_SURE:
        weight = _above(share / (1 - share), _ODDS)
    if neighborhood is not None:
        weight *= _kept_in_sample(by_class, by_margin, is_preferred)
    quality = weight * by_margin + (1 - weight) * by_class
    return Judgment(
        quality.astype("float32"),
        known.preferred,
        known.given.astype("float32"),
        known.largest.astype("float32"),
        by_class.astype("float32"),
        by_margin.astype("float32"),
        _matrix_of(labels, known.others, 1 - quality, num_classes),
        float(np.mean(labels[is_sure] != known.preferred[is_sure])),
    )


def called_issues(judgment, labels, threshold=0.5, expected_precision=None):
    """Returns which labels are called wrong: the first ones by `quality`.

    Args:
        judgment: `Judgment` of n examples.
        labels: Int array of shape `(n,)`: the labels as given.
        threshold: Number in [0, 1]: labels are called whose probability to be wrong is
            larger. Defaults to 0.5.
        expected_precision: Optional number above 0 and at most 1. As many labels are
            called, in place of those above the threshold, as keep the mean of their
            probabilities to be wrong at least as large. Defaults to `None`.

    Returns:
        Bool array of shape `(n,)`. None is called whose label is the suggested one, nor
        any that comes after such a label.

    Example:
    >>> from keras_ncr.audit.judgment import called_issues, judge
    >>> from keras_ncr.audit.predictions import from_probabilities
    >>> labels = np.array([0, 0, 0, 1, 1, 1])
    >>> rows = [[0.9, 0.1]] * 4 + [[0.1, 0.9]] * 2
    >>> called_issues(judge(from_probabilities(labels, rows)), labels)
    array([False, False, False,  True, False, False])
    """
    order = np.argsort(judgment.quality, kind="stable")
    wrong = 1 - judgment.quality[order].astype("float64")
    if expected_precision is None:
        count = np.count_nonzero(wrong > threshold)
    else:
        means = np.cumsum(wrong) / np.arange(1, len(wrong) + 1)
        count = np.count_nonzero(means >= expected_precision)
    is_preferred = (judgment.suggested == labels)[order]
    if is_preferred.any():
        count = min(count, int(is_preferred.argmax()))
    is_called = np.zeros(len(order), bool)
    is_called[order[:count]] = True
    return is_called


class _Known(NamedTuple):
    """What one pass over b keeps of each example."""

    preferred: np.ndarray  # c.
    largest: np.ndarray  # b_c.
    gaps: np.ndarray  # log b_c - log of the second largest.
    given: np.ndarray  # b_y.
    margins: np.ndarray  # log b_y - log of the largest other.
    others: np.ndarray  # The class of that.
    own_shares: np.ndarray  # Of what g gives all classes but c, the share of y.


def _known(all_labels, blocks):
    """Returns the `_Known` of all examples."""
    parts = []
    for rows, b, g in blocks:
        labels, places = all_labels[rows], np.arange(len(rows))
        preferred = b.argmax(axis=1)
        margins, others = log_margins(b, labels)
        gaps, _ = log_margins(b, preferred)
        own_shares = g[places, labels] / (1 - g[places, preferred] + 1e-12)
        columns = (b[places, preferred], gaps, b[places, labels], margins, others)
        parts.append((preferred, *columns, own_shares))
    return _Known(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _is_sure(preferred, gaps):
    """Returns whether an example is of the surest fifth of its class, with ties."""
    order = np.lexsort((-gaps, preferred))  # Class by class, the surest first.
    sizes = np.bincount(preferred)
    starts = np.cumsum(sizes) - sizes
    num_sure = np.maximum((_SURE_SHARE * sizes).astype(int), 1)
    # All that tie with the last one are taken: where a model is wholly sure of most
    # examples, their order is that of the files, which is often that of the labels.
    last = order[np.minimum(starts + num_sure, len(order)) - 1]
    return gaps >= gaps[last][preferred]


def _counts(labels, preferred, is_sure, num_classes):
    """Returns how many sure examples of each class carry each label."""
    counts = np.zeros((num_classes, num_classes))
    np.add.at(counts, (preferred[is_sure], labels[is_sure]), 1)
    return counts


def _transition_matrix(counts):
    """Returns T, and by how many labels its counts were evened out."""
    others = counts.copy()
    np.fill_diagonal(others, 0)
    kept = _kept(np.diag(counts), counts.sum(axis=1))
    evenness = _evenness(others)
    others += evenness
    np.fill_diagonal(others, 0)
    matrix = (1 - kept)[:, None] * others / others.sum(axis=1, keepdims=True)
    np.fill_diagonal(matrix, kept)
    return matrix, evenness


def _kept(right, totals):
    """Returns T_cc, with as many examples of the mean class added as is likeliest."""
    # Where classes differ by chance alone, or have few examples, the mean says more.
    from scipy.special import betaln

    mean = (right.sum() + 1) / (totals.sum() + 1 + _UNSEEN)

    def surprise(log_added):
        # The likelihood is that of the beta-binomial distribution.
        ones, zeros = np.exp(log_added) * mean, np.exp(log_added) * (1 - mean)
        chances = betaln(ones + right, zeros + totals - right) - betaln(ones, zeros)
        return -chances.sum()

    added = np.exp(_least(surprise, *_LOG_ADDED))
    return (right + added * mean) / (totals + added)


def _evenness(counts):
    """Returns how many labels more are counted for each wrong class."""
    # A class has few labels that are sure to be wrong. Where they spread over all other
    # classes, what is even between these is a better guess than the few counts; where
    # they all go to one, as those of look-alikes do, the counts are. Which it is, the
    # likelihood of the counts of all classes says.
    from scipy.special import gammaln

    num_others = len(counts) - 1
    totals = counts.sum(axis=1)
    seen = counts[counts > 0]

    def surprise(log_s):
        # The Dirichlet-multinomial distribution, without what does not depend on s.
        s = np.exp(log_s)
        of_classes = gammaln(s * num_others) - gammaln(s * num_others + totals)
        return -of_classes.sum() - (gammaln(s + seen) - gammaln(s)).sum()

    return np.exp(_least(surprise, *_LOG_EVENNESS))


def _least(surprise, low, high):
    """Returns where a function of one number, perhaps with several dips, is least."""
    from scipy.optimize import minimize_scalar

    grid = np.linspace(low, high, 41)
    best = int(np.argmin([surprise(x) for x in grid]))
    bounds = grid[max(best - 1, 0)], grid[min(best + 1, 40)]
    return minimize_scalar(surprise, bounds=bounds, method="bounded").x


def _shares_of_class(counts, evenness, preferred, labels):
    """Returns the share of each label among the other wrong labels of its class."""
    wrong = counts.sum(axis=1) - np.diag(counts)
    # The example itself is left out.
    seen = counts[preferred, labels] - 1 + evenness
    return seen / (wrong[preferred] - 1 + evenness * (len(counts) - 1))


def _share_of_own(own_shares, shares_of_class):
    """Returns s, the likeliest, where some more labels fell on own second choices."""

    def surprise(s):
        mixed = s * own_shares + (1 - s) * shares_of_class
        return -_MORE_OF_OWN * np.log(s) - np.log(np.maximum(mixed, 1e-12)).sum()

    return _least(surprise, 1e-6, 1 - 1e-6)


def _above(value, threshold):
    """Returns how far a number is above a threshold: from 0 to 1, one half at it."""
    return 1 / (1 + (threshold / max(value, 1e-9)) ** _DECISION)


def _kept_in_sample(by_class, by_margin, is_preferred):
    """Returns how much of its weight the account by margin keeps: one half or more."""
    rate = np.mean(1 - by_margin)
    wavering = 1 - rate / max(np.mean(~is_preferred), 1e-9)
    is_doubtful = _above(np.mean(1 - by_class) / max(rate, 1e-9), _SOME_OF_SURE)
    return 1 - is_doubtful * _above(wavering, _WAVERING) / 2


def _accuracy(labels, preferred, gaps, matrix):
    """Returns the share of examples of which c is the true class, by T.

    A share T_cc of the examples of true class c carries label c. Where fewer do, b
    is wrong about the others.
    """
    from sklearn.isotonic import IsotonicRegression

    agreement = (labels == preferred) / matrix[preferred, preferred]
    regression = IsotonicRegression(y_min=1 / len(matrix), y_max=1)
    return regression.fit_transform(gaps, agreement).mean()


def _right_by_class(all_labels, blocks, beta, matrix):
    """Returns P(right) by Bayes' rule."""
    right = np.zeros(len(all_labels))
    for rows, b, _ in blocks:
        labels = all_labels[rows]
        # Row by row q_k T_ky: how likely the true class is k and the label is y.
        joint = _sharpened(b, beta) * matrix[:, labels].T
        right[rows] = joint[np.arange(len(rows)), labels] / joint.sum(axis=1)
    return right


def _beta(blocks, accuracy):
    """Returns the exponent with which predictions are as sure as they are accurate."""
    from scipy.optimize import brentq

    b = np.concatenate([block for _, block, _ in blocks])

    def surplus(log_beta):
        return _sharpened(b, np.exp(log_beta)).max(axis=1).mean() - accuracy

    low, high = np.log(0.05), np.log(50.0)
    # No exponent makes equal probabilities sure, nor zeros and ones unsure.
    if surplus(low) >= 0:
        return np.exp(low)
    if surplus(high) <= 0:
        return np.exp(high)
    return np.exp(brentq(surplus, low, high, xtol=1e-3))


def _sharpened(b, beta):
    """Returns q: predictions to a power, scaled to sum to 1."""
    logs = beta * np.log(b)
    powers = np.exp(logs - logs.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def _matrix_of(labels, others, wrong, num_classes):
    """Returns the transition matrix that the probabilities to be wrong amount to."""
    joint = np.zeros((num_classes, num_classes))
    np.add.at(joint, (labels, labels), 1 - wrong)
    np.add.at(joint, (others, labels), wrong)
    joint[np.diag_indices(num_classes)] += _UNSEEN
    return joint / joint.sum(axis=1, keepdims=True)
