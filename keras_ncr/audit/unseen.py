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
    """Yields blocks: examples, b, and g, float64 `(n, num_classes)` without zeros."""
    # Without a neighborhood, predictions are out of sample: b and g are their own.
    for rows, own, means in neighbor_predictions(predictions, neighborhood, examples):
        yield rows, *_unseen(own, means, predictions.labels[rows], advantage)


def advantage_of_seen(predictions, neighborhood):
    """Returns a, at least 0, found on a sample of the examples."""
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
    """Returns log b_y - log max b_k over all other k, and that k, for each example."""
    rows = np.arange(len(b))
    others = b.copy()
    others[rows, labels] = -1
    best = others.argmax(axis=1)
    return np.log(b[rows, labels]) - np.log(b[rows, best]), best


def right_by_margin(margins):
    """Returns P(right): one half where another class is twice as probable as y."""
    return 1 / (1 + np.exp(-2 * (margins + np.log(2))))


def _unseen(own, means, labels, advantage):
    """Returns b and g."""
    means = _distributions(means)
    own = _distributions(own)
    own[np.arange(len(own)), labels] *= np.exp(-advantage)
    own /= own.sum(axis=1, keepdims=True)
    return (own + means) / 2, means


def sample(predictions):
    """Returns evenly spaced examples, no more than `SAMPLE`."""
    return np.arange(0, len(predictions), -(-len(predictions) // SAMPLE))


def _mean_right(b, labels):
    """Returns the share of labels that are right, by margin."""
    return right_by_margin(log_margins(b, labels)[0]).mean()


def _distributions(probabilities):
    """Returns rows without zeros that sum to 1."""
    positive = np.maximum(probabilities.astype("float64"), SMALLEST)
    return positive / positive.sum(axis=1, keepdims=True)
