"""Whether a label is right: how well it fits, and the probability that it is wrong.

A model's view of its own training labels is biased: it has seen them. So is, much less,
the view of an example's neighbors, who have not seen its label; from them the noise is
estimated. What is left of the bias makes the noise seem less than it is. Predictions
that are out of sample have none: then each example's own stands for its neighbors'.
With p the example's own prediction, g the mean of its neighbors', c the class that g
prefers and y the given label:

    T_cy = share of label y among the half of the examples of class c of which g is
           surest, with all that tie: the transition matrix. Between the wrong labels y
           of a class the shares are evened out, as far as the counts of all classes
           suggest it
    a(m) = share of examples with y = c, divided by T_cc, as it rises with the margin
           m = log(g_c / second largest g): the accuracy of g
    b    = g**beta, scaled to sum to 1: the true class, with beta such that g is as sure
           of its classes as it is accurate, mean(max(b)) = mean(a)
    P(right | g, y) = b_y T_yy / sum_k b_k T_ky             by Bayes' rule

The probability that the label is wrong is 1 - P(right | g, y). The quality of the
label, by which examples are ranked, is P(right | (p + g) / 2, y).
"""

from typing import NamedTuple

import numpy as np

from keras_ncr.audit.neighborhood import neighbor_predictions

# The share of each class's examples that the transition matrix is counted on. With
# fewer, the noise of labels that were trained on is estimated too low; with more, the
# model's own errors count as noise.
_SURE_SHARE = 0.5
# As many examples as it takes to find beta.
_SAMPLE = 10_000
# No probability is taken for smaller.
_SMALLEST = 1e-7
# So many wrong labels a class has beside those that were seen: none is ruled out.
_UNSEEN = 1e-5
# From hardly evened out to all but even.
_LOG_EVENNESS = (-12, 8)


class Judgment(NamedTuple):
    """What is thought of the labels of n examples.

    Attributes:
        quality: Float32 array of shape `(n,)`, in [0, 1]: low is suspicious.
        suggested: Int64 array of shape `(n,)`: the class that the neighbors prefer.
        issue_probability: Float32 array of shape `(n,)`: that the label is wrong.
        transition_matrix: Float64 array of shape `(num_classes, num_classes)`: `[i, j]`
            is the share of examples of true class i that carry label j, estimated.
        accuracy: Float in [0, 1]: the share of examples of which the suggested class
            is the true one, estimated.
    """

    quality: np.ndarray
    suggested: np.ndarray
    issue_probability: np.ndarray
    transition_matrix: np.ndarray
    accuracy: float = 1.0


def judge(predictions, neighborhood=None):
    """Returns the `Judgment` of all labels.

    Args:
        predictions: `Predictions` of n examples.
        neighborhood: Optional `Neighborhood` of n examples. Without it the model's own
            prediction stands for that of the neighbors, which is right only if it is
            out of sample.

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
    labels = predictions.labels
    preferred, margins = _preferences(predictions, neighborhood)
    matrix = _transition_matrix(labels, preferred, margins, predictions.num_classes)
    accuracy = _mean_accuracy(labels, preferred, margins, matrix)
    sharpness, sharpness_of_both = _sharpness(predictions, neighborhood, accuracy)
    quality, right = np.zeros((2, len(labels)), "float32")
    for rows, own, means in neighbor_predictions(predictions, neighborhood):
        right[rows] = _probability_right(means, sharpness, labels[rows], matrix)
        quality[rows] = _probability_right(
            (own + means) / 2, sharpness_of_both, labels[rows], matrix
        )
    return Judgment(quality, preferred, 1 - right, matrix, accuracy)


def called_issues(judgment, labels, expected_precision):
    """Returns which labels are called wrong: as many as can be.

    They are those most probably wrong of whose probabilities the mean is
    `expected_precision` at least. None is called whose suggested label is the given
    one.

    Args:
        judgment: `Judgment` of n examples.
        labels: Int array of shape `(n,)`: the labels as given.
        expected_precision: Number above 0 and at most 1.

    Returns:
        Bool array of shape `(n,)`.

    Example:
    >>> from keras_ncr.audit.judgment import Judgment, called_issues
    >>> probability = np.array([0.96, 0.6, 0.85, 0.1])
    >>> judgment = Judgment(None, np.array([1, 1, 1, 1]), probability, None)
    >>> called_issues(judgment, np.array([0, 0, 0, 0]), 0.9)
    array([ True, False,  True, False])
    """
    can_be_called = judgment.suggested != labels
    probability = np.where(can_be_called, judgment.issue_probability, 0)
    order = np.argsort(-probability, kind="stable")
    means = np.cumsum(probability[order], dtype="float64") / np.arange(
        1, len(order) + 1
    )
    is_called = np.zeros(len(order), bool)
    is_called[order[: np.count_nonzero(means >= expected_precision)]] = True
    return is_called & can_be_called


def _preferences(predictions, neighborhood):
    """Returns c, the class that the neighbors prefer, and the margin m of each."""
    preferred = np.zeros(len(predictions), "int64")
    margins = np.zeros(len(predictions))
    for rows, _, means in neighbor_predictions(predictions, neighborhood):
        preferred[rows] = means.argmax(axis=1)
        second, largest = np.partition(means, -2, axis=1)[:, -2:].T
        margins[rows] = np.log(largest) - np.log(np.maximum(second, _SMALLEST))
    return preferred, margins


def _transition_matrix(labels, preferred, margins, num_classes):
    """Returns T, from the labels of the examples that the neighbors are surest of."""
    counts = np.zeros((num_classes, num_classes))
    order = np.lexsort((-margins, preferred))  # Class by class, the surest first.
    sizes = np.bincount(preferred, minlength=num_classes)
    starts = np.cumsum(sizes) - sizes
    for label in np.flatnonzero(sizes):
        members = order[starts[label] : starts[label] + sizes[label]]
        num_sure = max(int(_SURE_SHARE * len(members)), 1)
        # All that tie with the last one are taken: where a model is wholly sure of most
        # examples, their order is that of the files, which is often that of the labels.
        sure = members[margins[members] >= margins[members[num_sure - 1]]]
        counts[label] = np.bincount(labels[sure], minlength=num_classes)
    right = np.diag(counts).copy()
    kept = (right + 1) / (counts.sum(axis=1) + 1 + _UNSEEN)
    np.fill_diagonal(counts, 0)
    counts += _evenness(counts)
    np.fill_diagonal(counts, 0)
    matrix = (1 - kept)[:, None] * counts / counts.sum(axis=1, keepdims=True)
    np.fill_diagonal(matrix, kept)
    return matrix


def _evenness(counts):
    """Returns s: as many labels more are counted for each wrong class.

    A class has few labels that are sure to be wrong. Where they spread over all other
    classes, what is even between these is a better guess than the few counts; where
    they all go to one, as those of look-alikes do, the counts are. Which it is, the
    likelihood of the counts of all classes says.
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import gammaln

    num_others = len(counts) - 1
    totals = counts.sum(axis=1)
    seen = counts[counts > 0]

    def surprise(log_s):
        # Of the Dirichlet-multinomial distribution; what does not depend on s left out.
        s = np.exp(log_s)
        of_classes = gammaln(s * num_others) - gammaln(s * num_others + totals)
        return -of_classes.sum() - (gammaln(s + seen) - gammaln(s)).sum()

    return np.exp(minimize_scalar(surprise, bounds=_LOG_EVENNESS, method="bounded").x)


def _mean_accuracy(labels, preferred, margins, matrix):
    """Returns mean(a): the share of examples of which c is the true class.

    Of examples whose true class is c, a share T_cc carries label c. Where fewer do, the
    neighbors are wrong about the others.
    """
    from sklearn.isotonic import IsotonicRegression

    agreement = (labels == preferred) / matrix[preferred, preferred]
    regression = IsotonicRegression(y_min=1 / len(matrix), y_max=1)
    return regression.fit_transform(margins, agreement).mean()


def _sharpness(predictions, neighborhood, accuracy):
    """Returns beta for the neighbors' prediction, and for its mean with the own."""
    step = -(-len(predictions) // _SAMPLE)
    sample = np.arange(0, len(predictions), step)
    blocks = list(neighbor_predictions(predictions, neighborhood, sample))
    own, means = (np.concatenate([block[i] for block in blocks]) for i in (1, 2))
    return _beta(means, accuracy), _beta((own + means) / 2, accuracy)


def _beta(probabilities, accuracy):
    """Returns the exponent with which predictions are as sure as they are accurate."""
    from scipy.optimize import brentq

    def surplus(log_beta):
        return _sharpened(probabilities, np.exp(log_beta)).max(axis=1).mean() - accuracy

    low, high = np.log(0.05), np.log(50.0)
    # No exponent makes equal probabilities sure, nor zeros and ones unsure.
    if surplus(low) >= 0:
        return np.exp(low)
    if surplus(high) <= 0:
        return np.exp(high)
    return np.exp(brentq(surplus, low, high, xtol=1e-3))


def _sharpened(probabilities, beta):
    """Returns b: probabilities to a power, scaled to sum to 1."""
    logs = beta * np.log(np.maximum(probabilities, _SMALLEST))
    powers = np.exp(logs - logs.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def _probability_right(probabilities, beta, labels, matrix):
    """Returns P(right | g, y) by Bayes' rule."""
    # Row by row b_k T_ky: how likely the true class is k and the label is y.
    joint = _sharpened(probabilities, beta) * matrix[:, labels].T
    right = np.take_along_axis(joint, labels[:, None], axis=1)[:, 0]
    return right / joint.sum(axis=1)
