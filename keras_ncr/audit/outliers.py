"""Outliers: examples that are far even from their nearest neighbors."""

import numpy as np

from keras_ncr.losses.neighbors import ROUNDING

# Tukey's fence, in interquartile ranges above the upper quartile.
FENCE = 1.5


def outlier_scores(similarities):
    """Returns a score of each example: 0.5 at the median distance, low for outliers."""
    # The ranking is that of cleanlab's `OutOfDistribution`.
    similarities = np.asarray(similarities)
    num_examples, num_neighbors = similarities.shape
    if num_neighbors == 0:
        return np.ones(num_examples, "float32")
    # Column by column, to hold little memory.
    distances = sum(_distances(column) for column in similarities.T) / num_neighbors
    apart = distances[distances > 0]
    typical = np.median(apart) if len(apart) else 1.0
    return (1 / (1 + distances / typical)).astype("float32")


def _distances(similarities):
    """Returns the distances of unit vectors with these cosines; 0 for copies."""
    squares = 2 - 2 * similarities.astype("float64")
    return np.sqrt(np.where(squares < 2 * ROUNDING, 0, squares))


def is_outlier(scores):
    """Returns whether each example is farther from its neighbors than Tukey's fence."""
    scores = np.asarray(scores, "float64")
    # A score of 0 is an infinite distance; no real score is below 1e-6.
    distances = 1 / np.maximum(scores, 1e-6) - 1
    apart = distances[distances > 0]
    if len(apart) == 0:
        return np.zeros(len(scores), bool)
    first, third = np.quantile(apart, [0.25, 0.75])
    return distances > third + FENCE * (third - first)
