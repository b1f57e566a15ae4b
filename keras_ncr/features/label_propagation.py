"""Label propagation: corrects and completes labels by a graph of nearest neighbors.

The transductive baseline that the paper starts from (Section 3, eq. 2). The features
are fixed, all examples are there at once, and nothing is trained.
"""

import numpy as np

from keras_ncr.checks import (
    check_bool,
    check_clean_labels,
    check_integer,
    check_positive,
    check_rate,
)
from keras_ncr.losses.neighbors import ROUNDING
from keras_ncr.models.nearest import nearest_neighbors


def propagate_labels(
    features,
    labels,
    num_classes: int,
    num_neighbors: int = 50,
    similarity_power: float = 3.0,
    alpha: float = 0.99,
    balance_classes: bool = True,
    tolerance: float = 1e-5,
    max_iterations: int = 10_000,
) -> np.ndarray:
    """Returns the score of each class for each example, from a graph of neighbors.

    Calls `neighbor_graph` and `spread_labels`. To try several values of `alpha`, call
    these two: the graph takes most of the time. `np.argmax(scores, axis=1)` replaces
    wrong labels by those of the majority around them, and fills in missing ones.

    Args:
        features: Array-like of shape `(n, dim)`, for example of a trained model
            (`keras_ncr.features.features_of`). The lengths of its rows do not matter.
        labels: Ints of shape `(n,)`, -1 where there is no label.
        num_classes: Int, at least 2.
        num_neighbors: As in `neighbor_graph`.
        similarity_power: As in `neighbor_graph`.
        alpha: As in `spread_labels`.
        balance_classes: As in `spread_labels`.
        tolerance: As in `spread_labels`.
        max_iterations: As in `spread_labels`.

    Returns:
        NumPy float32 array of shape `(n, num_classes)` whose rows sum to 1.

    Raises:
        ValueError: If an argument is out of its range, a feature is not finite, or
            there is no label.

    Reference:
        - [Iscen et al., 2022](https://arxiv.org/abs/2202.02200), Section 3.
        - [Iscen et al., 2019](https://arxiv.org/abs/1904.04717), for the graph and the
          balance of the classes.

    Example:
    Two groups of four: one label is wrong, one is missing.

    >>> group = np.array([[9, 1], [8, 1], [8, 2], [9, 0]])
    >>> features = np.concatenate([group, group[:, ::-1]])
    >>> labels = np.array([0, 0, 1, 0, 1, 1, -1, 1])
    >>> scores = keras_ncr.features.propagate_labels(
    ...     features, labels, num_classes=2, num_neighbors=3
    ... )
    >>> np.argmax(scores, axis=1)
    array([0, 0, 0, 0, 1, 1, 1, 1])
    """
    labels = _checked_labels(labels, num_classes)
    _check_settings(alpha, balance_classes, tolerance, max_iterations)
    if np.shape(features)[:1] != labels.shape:
        raise ValueError(
            "`features` and `labels` must have one row per example. Received: shapes "
            f"{np.shape(features)} and {labels.shape}."
        )
    graph = neighbor_graph(features, num_neighbors, similarity_power)
    return spread_labels(
        graph, labels, num_classes, alpha, balance_classes, tolerance, max_iterations
    )


def neighbor_graph(features, num_neighbors: int = 50, similarity_power: float = 3.0):
    """Returns the sparse graph that joins each example to its nearest neighbors."""
    # As in Iscen et al., 2019: two examples that are among each other's neighbors are
    # joined twice as strongly. Negative similarities join nothing.
    from scipy.sparse import csr_matrix

    similarity_power = check_positive(similarity_power, "similarity_power")
    columns, similarities = nearest_neighbors(features, num_neighbors)
    num_examples, num_neighbors = columns.shape
    is_joined = similarities > ROUNDING
    weights = similarities[is_joined].astype("float64") ** similarity_power
    rows = np.repeat(np.arange(num_examples), np.count_nonzero(is_joined, axis=1))
    graph = csr_matrix(
        (weights, (rows, columns[is_joined])), shape=(num_examples, num_examples)
    )
    return (graph + graph.T).tocsr()


def spread_labels(
    graph,
    labels,
    num_classes: int,
    alpha: float = 0.99,
    balance_classes: bool = True,
    tolerance: float = 1e-5,
    max_iterations: int = 10_000,
) -> np.ndarray:
    """Returns the scores of all classes when labels spread over a graph."""
    from scipy.sparse import csr_matrix
    from sklearn.semi_supervised import LabelSpreading

    labels = _checked_labels(labels, num_classes)
    _check_settings(alpha, balance_classes, tolerance, max_iterations)
    num_examples = len(labels)
    if graph.shape != (num_examples, num_examples):
        raise ValueError(
            "`graph` must have a row and a column for each label. Received: "
            f"graph.shape={graph.shape} and {num_examples} labels."
        )
    spreading = LabelSpreading(
        kernel=lambda *_: csr_matrix(graph),
        alpha=alpha,
        tol=tolerance * np.count_nonzero(labels >= 0),
        max_iter=max_iterations,
    )
    # Only `kernel` would look at the features that `fit` asks for.
    spreading.fit(np.zeros((num_examples, 1)), labels)
    found = spreading.label_distributions_
    if balance_classes:  # The limit is linear in Y: dividing its columns is the same.
        found = found / np.bincount(labels[labels >= 0])[spreading.classes_]
    scores = np.zeros((num_examples, num_classes))
    scores[:, spreading.classes_] = found
    scores[scores.sum(axis=1) == 0] = 1
    return (scores / scores.sum(axis=1, keepdims=True)).astype("float32")


def _checked_labels(labels, num_classes):
    """Returns labels of which at least one is known, or raises."""
    num_classes = check_integer(num_classes, "num_classes", minimum=2)
    labels = check_clean_labels(labels, num_classes, name="labels")
    if np.all(labels == -1):
        raise ValueError(
            "`labels` must hold at least one label to propagate. Received: -1, which "
            f"stands for none, {len(labels)} times."
        )
    return labels


def _check_settings(alpha, balance_classes, tolerance, max_iterations):
    """Raises unless the settings of the iteration are in their ranges."""
    if check_rate(alpha, "alpha") in (0, 1):
        raise ValueError(
            f"`alpha` must be above 0 and below 1. Received: alpha={alpha!r}. At 0 "
            "labels stay as they are, at 1 they do not count."
        )
    check_bool(balance_classes, "balance_classes")
    check_positive(tolerance, "tolerance")
    check_integer(max_iterations, "max_iterations", minimum=1)
