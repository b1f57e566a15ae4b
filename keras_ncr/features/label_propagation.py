"""Label propagation: labels of all examples from those of their neighbors, by a graph.

The transductive baseline that the paper starts from (Section 3, eq. 2): the features
are fixed, all examples are there at once, and only their labels are corrected. Nothing
is trained.
"""

import numpy as np

from keras_ncr.checks import (
    check_clean_labels,
    check_integer,
    check_positive,
    check_rate,
)
from keras_ncr.losses.neighbors import ROUNDING


def propagate_labels(
    features,
    labels,
    num_classes,
    num_neighbors=50,
    similarity_power=3.0,
    alpha=0.99,
    tolerance=1e-5,
    max_iterations=10_000,
):
    """Returns the scores of all classes that a graph of neighbors gives each example.

    It joins `neighbor_graph` and `spread_labels`; where several `alpha` are tried, call
    these, since the graph takes most of the time. Wrong labels are corrected by the
    majority around them, and missing ones filled in: `np.argmax(scores, axis=1)`.

    50,000 examples with 512 features and 10 classes take about 65 seconds of CPU time,
    most of it spread over all cores.

    Args:
        features: Array-like of shape `(n, dim)`, of a trained model for example
            (`keras_ncr.features.features_of`). The lengths of its rows do not matter.
        labels: Ints of shape `(n,)`, -1 where there is no label.
        num_classes: Int, at least 2.
        num_neighbors: As in `neighbor_graph`.
        similarity_power: As in `neighbor_graph`.
        alpha: As in `spread_labels`, as all that follow.
        tolerance: See there.
        max_iterations: See there.

    Returns:
        NumPy float32 array of shape `(n, num_classes)` whose rows sum to 1.

    Raises:
        ValueError: If an argument is out of its range, a feature is not finite, or
            there is no label.

    Reference:
        - [Iscen et al., 2022](https://arxiv.org/abs/2202.02200), Section 3.
        - [Iscen et al., 2019](https://arxiv.org/abs/1904.04717), for the graph.

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
    _check_spread(alpha, tolerance, max_iterations)
    if np.shape(features)[:1] != labels.shape:
        raise ValueError(
            "`features` and `labels` must have one row per example. Received: shapes "
            f"{np.shape(features)} and {labels.shape}."
        )
    graph = neighbor_graph(features, num_neighbors, similarity_power)
    return spread_labels(graph, labels, num_classes, alpha, tolerance, max_iterations)


def neighbor_graph(features, num_neighbors=50, similarity_power=3.0):
    """Returns the graph that joins each example to its nearest ones: a sparse matrix.

    Two examples are joined if one of them is among the other's `num_neighbors` most
    similar, itself not counted, and their similarity is positive. Of several that tie
    with the last neighbor, some are taken.

    Formula:

        W_ij = cos(v_i, v_j)**similarity_power if joined, else 0

    Args:
        features: Array-like of shape `(n, dim)`. A row of zeros has no neighbors.
        num_neighbors: Int, at least 1; more than there are others are all of them.
            Defaults to 50, as Iscen et al., 2019 have it. With a hundred or so examples
            per class, fewer are better.
        similarity_power: Positive number. Above 1 favors the closest neighbors.
            Defaults to 3.0, as Iscen et al., 2019 have it.

    Returns:
        `scipy.sparse.csr_matrix` of float64 and shape `(n, n)`: symmetric, with zeros
        on the diagonal.

    Raises:
        ValueError: If an argument is out of its range, or a feature is not finite.

    Example:
    >>> graph = keras_ncr.features.label_propagation.neighbor_graph(
    ...     [[1, 0], [2, 0], [1, 1], [0, -1]], num_neighbors=2, similarity_power=2
    ... )
    >>> graph.toarray().round(3)
    array([[0. , 1. , 0.5, 0. ],
           [1. , 0. , 0.5, 0. ],
           [0.5, 0.5, 0. , 0. ],
           [0. , 0. , 0. , 0. ]])
    """
    from scipy.sparse import csr_matrix
    from sklearn.neighbors import NearestNeighbors

    features = _checked_features(features)
    num_neighbors = check_integer(num_neighbors, "num_neighbors", minimum=1)
    similarity_power = check_positive(similarity_power, "similarity_power")
    num_examples = len(features)
    # A row of zeros would be nearer to all others than those at an obtuse angle.
    lengths = np.linalg.norm(features, axis=1)
    (nonzero,) = np.nonzero(lengths)
    num_neighbors = min(num_neighbors, len(nonzero) - 1)
    if num_neighbors < 1:
        return csr_matrix((num_examples, num_examples))
    # Of unit vectors the nearest are the most similar; without an argument,
    # `kneighbors` leaves out each vector itself, also where it has twins.
    vectors = features[nonzero] / lengths[nonzero, None]
    search = NearestNeighbors(n_neighbors=num_neighbors, algorithm="brute")
    distances, columns = search.fit(vectors).kneighbors()
    similarities = 1 - distances.ravel() ** 2 / 2
    rows = np.repeat(nonzero, num_neighbors)
    joined = similarities > ROUNDING
    weights = similarities[joined] ** similarity_power
    places = rows[joined], nonzero[columns.ravel()[joined]]
    graph = csr_matrix((weights, places), shape=(num_examples, num_examples))
    return graph.maximum(graph.T).tocsr()


def spread_labels(
    graph, labels, num_classes, alpha=0.99, tolerance=1e-5, max_iterations=10_000
):
    """Returns the scores of all classes that labels spread over a graph give.

    Zhou et al.'s iteration, by scikit-learn's `LabelSpreading`. Its limit minimizes the
    paper's eq. 2 with mu = 2 (1 - alpha) / alpha; the rows are then scaled to sum to 1.
    An example that no label reaches gets the same score for all classes.

    Formula:

        S = D**-0.5 W D**-0.5,  D the diagonal of the sums of W's rows
        P <- alpha S P + (1 - alpha) Y,  Y one-hot, and zero without a label

    Args:
        graph: Sparse matrix of shape `(n, n)`, as `neighbor_graph` returns it (W).
        labels: Ints of shape `(n,)`, -1 where there is no label.
        num_classes: Int, at least 2.
        alpha: Number above 0 and below 1: the neighbors' share of a score, against that
            of the example's own label. Defaults to 0.99, the choice of Zhou et al. and
            of Iscen et al., 2019.
        tolerance: Positive number. Iteration ends when scores, before they are scaled,
            change by less than this in sum for each label given. Defaults to 1e-5.
        max_iterations: Int, at least 1. Defaults to 10,000, which `alpha` up to 0.99
            does not need.

    Returns:
        NumPy float32 array of shape `(n, num_classes)` whose rows sum to 1.

    Raises:
        ValueError: If an argument is out of its range, or there is no label.

    Reference:
        - [Zhou et al., 2004](https://proceedings.neurips.cc/paper/2003/hash/87682805257e619d49b8e0dfdc14affa-Abstract.html)

    Example:
    A chain of four, with labels at its ends:

    >>> chain = np.diag([1.0, 1.0, 1.0], 1) + np.diag([1.0, 1.0, 1.0], -1)
    >>> keras_ncr.features.label_propagation.spread_labels(
    ...     chain, [0, -1, -1, 1], num_classes=2, alpha=0.5
    ... ).round(2)
    array([[0.96, 0.04],
           [0.78, 0.22],
           [0.22, 0.78],
           [0.04, 0.96]], dtype=float32)
    """
    from scipy.sparse import csr_matrix
    from sklearn.semi_supervised import LabelSpreading

    labels = _checked_labels(labels, num_classes)
    _check_spread(alpha, tolerance, max_iterations)
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
    # The features that it asks for would only go to `kernel`.
    spreading.fit(np.zeros((num_examples, 1)), labels)
    scores = np.zeros((num_examples, num_classes), "float32")
    scores[:, spreading.classes_] = spreading.label_distributions_
    scores[scores.sum(axis=1) == 0] = 1 / num_classes
    return scores


def _checked_labels(labels, num_classes):
    """Returns the labels, of which at least one is known, or raises."""
    num_classes = check_integer(num_classes, "num_classes", minimum=2)
    labels = check_clean_labels(labels, num_classes, name="labels")
    if np.all(labels == -1):
        raise ValueError(
            "`labels` must hold at least one label to propagate. Received: -1, which "
            f"stands for none, {len(labels)} times."
        )
    return labels


def _checked_features(features):
    """Returns the features as a finite float64 matrix, or raises."""
    # In float64 no square of a float32 number overflows or vanishes.
    features = np.asarray(features, "float64")
    if features.ndim != 2 or len(features) == 0:
        raise ValueError(
            "`features` must have shape (n, dim), n at least 1. Received: shape "
            f"{features.shape}. Flatten images with `features.reshape(n, -1)`."
        )
    is_finite = np.isfinite(features).all(axis=1)
    if not is_finite.all():
        row = int(np.argmin(is_finite))
        value = features[row][~np.isfinite(features[row])][0]
        raise ValueError(
            f"`features` must be finite. Received: {value} in row {row}. Leave such "
            "examples out, or look for what makes the model diverge."
        )
    return features


def _check_spread(alpha, tolerance, max_iterations):
    """Raises unless the arguments of the iteration are in their ranges."""
    if check_rate(alpha, "alpha") in (0, 1):
        raise ValueError(
            f"`alpha` must be above 0 and below 1. Received: alpha={alpha!r}. At 0 "
            "labels stay as they are, at 1 they have no say."
        )
    check_positive(tolerance, "tolerance")
    check_integer(max_iterations, "max_iterations", minimum=1)
