"""Predictions as if the labels that they judge had not been seen in training.

A model leans toward the labels that it was trained on. The mean prediction of an
example's neighbors does not: they have not seen its label. With p the example's own
prediction, g that mean, y the given label and a the advantage of seen labels:

    p'_k = p_k exp(-a [k = y]), scaled to sum to 1
    b    = (p' + g) / 2

One a >= 0 for all examples is such that b finds on average as many labels wrong as g.
"""

import numpy as np

from keras_ncr.audit.neighborhood import neighbor_predictions

# As many examples as it takes to find one number.
SAMPLE = 10_000
# No probability is taken for smaller.
SMALLEST = 1e-9
# The largest advantage: odds of 3 million to 1.
_LARGEST = 15.0


def unseen_predictions(predictions, neighborhood=None, advantage=0.0, examples=None):
    """Yields blocks of examples, b, and g.

    Args:
        predictions: `Predictions` of n examples.
        neighborhood: Optional `Neighborhood` of n examples. Defaults to `None`: the
            predictions are out of sample, and b and g are the examples' own.
        advantage: Number from `advantage_of_seen`. Defaults to 0.
        examples: Optional int array: only these examples. Defaults to all.

    Yields:
        Tuples of an int array of examples, and two float64 arrays of shape
        `(size, num_classes)` without zeros.

    Example:
    >>> from keras_ncr.audit.predictions import from_probabilities
    >>> from keras_ncr.audit.unseen import unseen_predictions
    >>> [(rows, b, g)] = unseen_predictions(from_probabilities([0], [[0.75, 0.25]]))
    >>> b
    array([[0.75, 0.25]])
    """
    for rows, own, means in neighbor_predictions(predictions, neighborhood, examples):
        yield rows, *_unseen(own, means, predictions.labels[rows], advantage)


def advantage_of_seen(predictions, neighborhood):
    """Returns a, found on a sample of the examples.

    Args:
        predictions: `Predictions` of n examples.
        neighborhood: `Neighborhood` of n examples.

    Returns:
        Float of at least 0.

    Example:
    Both neighbors are sure of class 0; each example has learned its own label.

    >>> from keras_ncr.audit.neighborhood import Neighborhood
    >>> from keras_ncr.audit.predictions import from_probabilities
    >>> from keras_ncr.audit.unseen import advantage_of_seen
    >>> predictions = from_probabilities([0, 1], [[0.9, 0.1], [0.4, 0.6]])
    >>> neighborhood = Neighborhood(np.array([[1], [0]]), np.ones((2, 1)))
    >>> advantage_of_seen(predictions, neighborhood) > 1
    True
    """
    from scipy.optimize import brentq

    chosen = sample(predictions)
    blocks = list(neighbor_predictions(predictions, neighborhood, chosen))
    rows, own, means = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
    labels = predictions.labels[rows]
    _, by_neighbors = _unseen(own, means, labels, 0)
    wanted = _mean_right(by_neighbors, labels)

    def surplus(advantage):
        return _mean_right(_unseen(own, means, labels, advantage)[0], labels) - wanted

    if surplus(0) <= 0:
        return 0.0
    if surplus(_LARGEST) >= 0:
        return _LARGEST
    return brentq(surplus, 0, _LARGEST, xtol=1e-3)


def log_margins(b, labels):
    """Returns log b_y - log max b_k over all other k, and that k, for each example.

    Example:
    >>> from keras_ncr.audit.unseen import log_margins
    >>> log_margins(np.array([[0.2, 0.8]]), np.array([1]))
    (array([1.38629436]), array([0]))
    """
    rows = np.arange(len(b))
    others = b.copy()
    others[rows, labels] = -1
    best = others.argmax(axis=1)
    return np.log(b[rows, labels]) - np.log(b[rows, best]), best


def right_by_margin(margins):
    """Returns P(right): one half where another class is twice as probable as y.

    Example:
    >>> from keras_ncr.audit.unseen import right_by_margin
    >>> right_by_margin(np.log([1 / 4, 1 / 2, 1.0]))
    array([0.2, 0.5, 0.8])
    """
    return 1 / (1 + np.exp(-2 * (margins + np.log(2))))


def _unseen(own, means, labels, advantage):
    """Returns b and g."""
    means = _distributions(means)
    own = _distributions(own)
    own[np.arange(len(own)), labels] *= np.exp(-advantage)
    own /= own.sum(axis=1, keepdims=True)
    return (own + means) / 2, means


def sample(predictions):
    """Returns evenly spaced examples, no more than `SAMPLE`.

    Example:
    >>> from keras_ncr.audit.unseen import sample
    >>> sample(range(4))
    array([0, 1, 2, 3])
    """
    return np.arange(0, len(predictions), -(-len(predictions) // SAMPLE))


def _mean_right(b, labels):
    """Returns the share of labels that are right, by margin."""
    return right_by_margin(log_margins(b, labels)[0]).mean()


def _distributions(probabilities):
    """Returns rows without zeros that sum to 1."""
    positive = np.maximum(probabilities.astype("float64"), SMALLEST)
    return positive / positive.sum(axis=1, keepdims=True)
