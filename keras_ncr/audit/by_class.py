"""The account by class: whether a label is wrong depends on the true class alone.

With b the prediction of an example as if its label had not been seen, c the class that
it prefers and y the given label:

    sure   the fifth of the examples of class c of which b is surest; a larger share,
           at most one half, where that would be less than 150 examples in all
    T_cy   share of label y among the sure examples of class c
    pi     shares of the true classes: those whose labels, by T, are as many as the
           given ones (pi T = shares of the labels), after a few steps from these
    q      b_k**beta r_k, scaled to sum to 1: as sure as it is accurate on average, and
           with r such that all q together come near to the shares pi

    P(right) = q_y T_yy / sum_k q_k T_ky                             (Bayes' rule)
    rate     = sum_c pi_c (1 - T_cc), the share of wrong labels

r gives back to a class the examples that a model prefers to see elsewhere since many of
their labels are: those of a class of which half are labeled as its neighbor.

    s      share of the wrong labels of sure examples that fall on the second choices of
           their own example, rather than on those of its class: the likeliest
"""

from typing import NamedTuple

import numpy as np

# The share of each class's examples that the transition matrix is counted on: of more
# of them a weak model's own errors would count as noise.
_SURE_SHARE = 0.2
# Among fewer, chance says more than errors do: then they are up to half of all.
_FEW_SURE = 150
_MOST_SURE = 0.5
# So many labels speak against this account where there are none to tell.
_MORE_OF_OWN = 3
# So many wrong labels a class has beside those that were seen: none is ruled out.
UNSEEN = 1e-5
# From hardly evened out to all but even.
_LOG_EVENNESS = (-12, 8)
# From hardly any example to more than there are.
_LOG_ADDED = (-2, 12)
# More steps would follow chance where classes are mixed up in a circle.
_STEPS_OF_SHARES = 10
# After more steps r goes to extremes where a model is sure of nearly all.
_STEPS_OF_WEIGHTS = 3
# Half a label of each class more: no class is ruled out.
_HALF = 0.5
# No class has a smaller share than this.
_SMALLEST_SHARE = 1e-6


class ByClass(NamedTuple):
    """What the account by class says of n labels.

    Attributes:
        right: Float64 array of shape `(n,)`: the probability that a label is right.
        noise_rate: Float: the share of wrong labels.
        share_of_sure: Float: the share of labels of sure examples that differ from c.
        share_of_own: Float: s, the evidence against this account.
    """

    right: np.ndarray
    noise_rate: float
    share_of_sure: float
    share_of_own: float


def judge_by_class(labels, known, unseen, chosen, num_classes):
    """Returns the `ByClass` of all labels.

    Args:
        labels: Int array of shape `(n,)`: the labels as given.
        known: What is known of b of each example: arrays `preferred`, `gaps` and
            `own_shares` of shape `(n,)`.
        unseen: Function of the argument `examples` that yields blocks of examples and
            b, as `unseen_predictions` does.
        chosen: Int array: a sample of the examples.
        num_classes: Int.

    Returns:
        `ByClass`.

    Example:
    >>> from keras_ncr.audit.judgment import judge
    >>> from keras_ncr.audit.predictions import from_probabilities
    >>> rows = [[0.9, 0.1]] * 4 + [[0.1, 0.9]] * 4
    >>> judgment = judge(from_probabilities([0, 0, 0, 1, 1, 1, 1, 1], rows))
    >>> round(float(judgment.right_by_class[3]), 2)
    0.4
    """
    is_sure = _is_sure(known.preferred, known.gaps)
    counts = _counts(labels, known.preferred, is_sure, num_classes)
    matrix, evenness = _transition_matrix(counts)
    shares = _shares_of_classes(labels, matrix)
    b = np.concatenate([block for _, block, _ in unseen(examples=chosen)])
    beta = _beta(b, _accuracy(labels, known.preferred, known.gaps, matrix))
    weights = _weights_of_classes(_sharpened(b, beta), shares)
    is_told = is_sure & (labels != known.preferred)
    return ByClass(
        _right_by_class(labels, unseen(), beta, weights[:, None] * matrix),
        float(1 - shares @ np.diag(matrix)),
        float(np.mean(labels[is_sure] != known.preferred[is_sure])),
        _share_of_own(
            known.own_shares[is_told],
            _shares_of_class(
                counts, evenness, known.preferred[is_told], labels[is_told]
            ),
        ),
    )


def _is_sure(preferred, gaps):
    """Returns whether an example is of the surest of its class, with ties."""
    order = np.lexsort((-gaps, preferred))  # Class by class, the surest first.
    sizes = np.bincount(preferred)
    starts = np.cumsum(sizes) - sizes
    share = np.clip(_FEW_SURE / len(gaps), _SURE_SHARE, _MOST_SURE)
    num_sure = np.maximum((share * sizes).astype(int), 1)
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

    mean = (right.sum() + 1) / (totals.sum() + 1 + UNSEEN)

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


def _accuracy(labels, preferred, gaps, matrix):
    """Returns the share of examples of which c is the true class, by T.

    A share T_cc of the examples of true class c carries label c. Where fewer do, b
    is wrong about the others.
    """
    from sklearn.isotonic import IsotonicRegression

    agreement = (labels == preferred) / matrix[preferred, preferred]
    # The largest gap may exceed by rounding the one of those that count as its equals.
    regression = IsotonicRegression(
        y_min=1 / len(matrix), y_max=1, out_of_bounds="clip"
    )
    return regression.fit_transform(gaps, agreement).mean()


def _shares_of_classes(labels, matrix):
    """Returns pi, by expectation maximization."""
    given = np.bincount(labels, minlength=len(matrix)) + _HALF
    given /= given.sum()
    shares = given
    for _ in range(_STEPS_OF_SHARES):
        shares = shares * (matrix @ (given / (shares @ matrix)))
    return shares


def _weights_of_classes(q, shares):
    """Returns r, step by step."""
    weights = np.ones(len(shares))
    for _ in range(_STEPS_OF_WEIGHTS):
        # The mean over examples of their weighted q, scaled to sum to 1.
        means = weights * (q.T @ (1 / (q @ weights))) / len(q)
        weights *= (shares + _SMALLEST_SHARE) / (means + _SMALLEST_SHARE)
    return weights


def _right_by_class(all_labels, blocks, beta, matrix):
    """Returns P(right) by Bayes' rule; row k of the matrix is r_k T_k."""
    right = np.zeros(len(all_labels))
    for rows, b, _ in blocks:
        labels = all_labels[rows]
        # Row by row how likely it is that the true class is k and the label is y.
        joint = _sharpened(b, beta) * matrix[:, labels].T
        right[rows] = joint[np.arange(len(rows)), labels] / joint.sum(axis=1)
    return right


def _beta(b, accuracy):
    """Returns the exponent with which predictions are as sure as they are accurate."""
    from scipy.optimize import brentq

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
