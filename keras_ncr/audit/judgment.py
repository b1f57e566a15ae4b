"""Whether a label is right: one probability, by two accounts of how labels go wrong.

With b the prediction of an example as if its label had not been seen (`unseen`), c the
class that it prefers and y the given label:

    by class   A wrong label depends on the true class alone: P(right) by Bayes' rule,
               with shares of wrong labels counted on the examples of each class of
               which b is surest (`by_class`)
    by margin  Labels are wrong where they are hard to tell, for the model as well.
               P(right) = 1 / (1 + (max_{k != y} b_k / 2 b_y)**2): one half where
               another class is twice as probable as y
    s          share of the wrong labels of sure examples that fall on the second
               choices of their own example, rather than on those of its class
    weight     1 / (1 + (1.5 (1 - s) / s)**6), of the account by margin in their mean

Out of sample the account by margin is preferred wherever the other explains less than a
fifth of what it says: too few labels of sure examples are wrong to judge by these.
Where most labels are wrong by class, of the surest examples or of all, b does not know
the classes, and only the margins count.

In sample b has learned something of the labels, wrong ones among them, and s comes out
too large. The weight is then halved where labels of sure examples are wrong as well.
Where b wavers on none of the labels that it does not agree with, the account by margin
is beyond doubt, and has the whole weight.

The mean is the quality of the label, 1 minus it the probability that it is wrong. All
that is said of labels follows from it: order, calls, transition matrix.

The share of wrong labels is a mean of those of both accounts, with another weight. Out
of sample that of the margins falls where the other account explains more than 60 % of
what they say: labels of sure examples are wrong nearly as often as those of others, so
that many that differ where b wavers are its own errors. (A call can be looked at, so
that the list stays with the margins longer.) What is counted on sure examples beyond
the plateau (`keras_ncr.audit.plateau`) is b's own errors in part: a quarter of it is
left out. In sample a b that wavers on more than a quarter of the labels that it does
not prefer has learned them in part, and the examples it is sure of are those that it
learned: then the share is half way between the margins' and that of all labels that
differ.

Where the two accounts differ, so do the bounds of what is stated.
"""

import functools
from typing import NamedTuple

import numpy as np

from keras_ncr.audit.by_class import UNSEEN, judge_by_class
from keras_ncr.audit.plateau import plateau
from keras_ncr.audit.unseen import (
    advantage_of_seen,
    log_margins,
    right_by_margin,
    sample,
    unseen_predictions,
)

# If more labels are wrong by class, of sure examples or of all, b knows too little.
_MOST = 0.5
# How decidedly an account is preferred, and from which odds on that by margin is.
_DECISION = 6
_ODDS = 1.5
# In sample: where labels of sure examples are wrong for a quarter of what the margins
# say, and where b wavers on 4 % of what it does not agree with.
_SOME_OF_SURE = 0.25
_WAVERING = 0.04
# The account by class explains a part of what the margins say: from which part on the
# rest is not counted, and up to which it explains too little to be preferred.
_MOST_EXPLAINED = 0.6
_LITTLE_EXPLAINED = 0.2
# Out of sample, of what differs among the surest beyond the plateau, so much is taken
# for b's own errors.
_OWN_ERRORS = 0.25
# In sample, where b wavers on a quarter it has learned labels that it does not prefer.
_LEARNED = 0.25
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
        is_hopeless: Bool: whether most labels are wrong by class, of the surest
            examples or of all: b hardly knows the classes.
        plateau: Float: the share of labels that differ however sure b is: what its own
            errors do not explain.
        noise_rate: Float: the share of wrong labels, estimated.
        agreement: Float: the share of labels that the predictions prefer as they are,
            before what they learned of the labels is taken away.
    """

    quality: np.ndarray
    suggested: np.ndarray
    given_confidence: np.ndarray
    suggested_confidence: np.ndarray
    right_by_class: np.ndarray
    right_by_margin: np.ndarray
    transition_matrix: np.ndarray
    share_of_sure: float
    is_hopeless: bool
    plateau: float
    noise_rate: float
    agreement: float


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
    account = judge_by_class(labels, known, unseen, sample(predictions), num_classes)
    is_preferred = labels == known.preferred
    by_class = np.where(
        is_preferred, np.maximum(account.right, 1 - _PREFERRED_WRONG), account.right
    )
    by_margin = right_by_margin(known.margins)
    rates = np.mean(1 - by_class), np.mean(1 - by_margin), np.mean(~is_preferred)
    level = plateau(~is_preferred, known.preferred, known.gaps)
    is_hopeless = bool(max(account.share_of_sure, rates[0]) > _MOST)
    weight, noise_rate = 1.0, rates[1]
    if not is_hopeless:
        weight = _above(account.share_of_own / (1 - account.share_of_own), _ODDS)
        weight, noise_rate = _weighed(
            weight, account, rates, level, neighborhood is not None
        )
    quality = weight * by_margin + (1 - weight) * by_class
    return Judgment(
        quality.astype("float32"),
        known.preferred,
        known.given.astype("float32"),
        known.largest.astype("float32"),
        by_class.astype("float32"),
        by_margin.astype("float32"),
        _matrix_of(labels, known.others, 1 - quality, num_classes),
        account.share_of_sure,
        is_hopeless,
        level,
        float(noise_rate),
        float(np.mean(predictions.classes[:, 0] == labels)),
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


def _above(value, threshold):
    """Returns how far a number is above a threshold: from 0 to 1, one half at it."""
    return 1 / (1 + (threshold / max(value, 1e-9)) ** _DECISION)


def _weighed(weight, account, rates, level, is_in_sample):
    """Returns the weight of the account by margin, and the share of wrong labels."""
    by_class, by_margin, differing = rates
    explained = by_class / max(by_margin, 1e-9)
    # No more are wrong than differ, however uneven the classes seem.
    counted = min(account.noise_rate, differing)
    if is_in_sample:
        wavering = 1 - by_margin / max(differing, 1e-9)
        steady = 1 - _above(wavering, _WAVERING)
        kept = 1 - _above(explained, _SOME_OF_SURE) * (1 - steady) / 2
        learned = _above(wavering, _LEARNED)
        weight_of_rate = max(weight * (kept + learned * (1 - kept)), steady)
        weight = max(weight * kept, steady)
        by_margin += learned * (differing - by_margin) / 2
    else:
        weight = max(weight, 1 - _above(explained, _LITTLE_EXPLAINED))
        weight_of_rate = weight * (1 - _above(explained, _MOST_EXPLAINED))
        counted -= _OWN_ERRORS * max(counted - level, 0)
    return weight, weight_of_rate * by_margin + (1 - weight_of_rate) * counted


def _matrix_of(labels, others, wrong, num_classes):
    """Returns the transition matrix that the probabilities to be wrong amount to."""
    joint = np.zeros((num_classes, num_classes))
    np.add.at(joint, (labels, labels), 1 - wrong)
    np.add.at(joint, (others, labels), wrong)
    joint[np.diag_indices(num_classes)] += UNSEEN
    return joint / joint.sum(axis=1, keepdims=True)
