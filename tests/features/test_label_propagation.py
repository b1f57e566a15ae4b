"""Label propagation: the graph, its closed form, classes of many sizes, digits."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
from scipy.sparse import csr_matrix
from sklearn.exceptions import ConvergenceWarning

import keras_ncr
from keras_ncr.features.label_propagation import (
    neighbor_graph,
    propagate_labels,
    spread_labels,
)


def slow_graph(features, num_neighbors, similarity_power):
    """The graph by its definition, one pair at a time."""
    count = len(features)
    lengths = [sum(value * value for value in row) ** 0.5 for row in features]
    cosines = np.zeros((count, count))
    for i, j in itertools.permutations(range(count), 2):
        if lengths[i] and lengths[j]:
            cosines[i, j] = features[i] @ features[j] / (lengths[i] * lengths[j])
    graph = np.zeros((count, count))
    for i in range(count):
        others = [j for j in range(count) if j != i]
        for j in sorted(others, key=lambda j: -cosines[i, j])[:num_neighbors]:
            if cosines[i, j] > 1e-6:
                graph[i, j] = cosines[i, j] ** similarity_power
    return graph + graph.T


def one_hot(labels, num_classes):
    """One row per label; zeros for a label of -1."""
    return np.array([[label == c for c in range(num_classes)] for label in labels], "d")


def closed_form(graph, targets, alpha):
    """The limit of the iteration, by one inverse; not scaled."""
    sums = graph.sum(axis=1)
    inverse_roots = np.array([value**-0.5 if value else 0.0 for value in sums])
    normalized = inverse_roots[:, None] * graph * inverse_roots
    return np.linalg.solve(np.eye(len(graph)) - alpha * normalized, targets) * (
        1 - alpha
    )


def scaled(scores, labels=None):
    """Rows that sum to 1; with labels, columns are divided by their numbers first."""
    if labels is not None:
        sizes = [max(np.sum(labels == c), 1) for c in range(scores.shape[1])]
        scores = scores / sizes
    return scores / scores.sum(axis=1, keepdims=True)


def example(num_examples=40, dim=5, num_classes=3, seed=0):
    """Features on all sides of the origin, and labels of which a third is missing."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(num_examples, dim))
    labels = rng.integers(0, num_classes, num_examples)
    labels[::3] = -1
    return features, labels


# The graph.


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("power", [1, 3.0])
@pytest.mark.parametrize("num_examples, num_neighbors", [(2, 1), (40, 1), (40, 7)])
def test_graph_equals_its_definition(num_examples, num_neighbors, power, dtype):
    features = example(num_examples)[0].astype(dtype)
    graph = neighbor_graph(features, num_neighbors, power)
    expected = slow_graph(features, num_neighbors, power)
    np.testing.assert_allclose(graph.toarray(), expected, atol=1e-6)
    assert (graph != graph.T).nnz == 0


def test_graph_of_half_precision_is_that_of_its_values():
    features = example()[0].astype("float16")
    expected = slow_graph(features.astype("float64"), 5, 3)
    np.testing.assert_allclose(
        neighbor_graph(features, 5).toarray(), expected, atol=1e-6
    )


@pytest.mark.parametrize("num_neighbors", [39, 40, 1000])
def test_more_neighbors_than_others_are_all_others(num_neighbors):
    features = np.abs(example()[0])
    graph = neighbor_graph(features, num_neighbors)
    assert graph.nnz == 40 * 39


def test_twins_are_neighbors_and_nobody_is_its_own():
    features = np.repeat([[1.0, 0.0], [0.0, 2.0]], 6, axis=0)
    graph = neighbor_graph(features, num_neighbors=3).toarray()
    assert not graph.diagonal().any()
    assert not graph[:6, 6:].any()
    assert ((graph > 0).sum(axis=1) >= 3).all()
    # 1 where one is the other's neighbor, 2 where both are.
    np.testing.assert_allclose(graph[graph > 0], graph[graph > 0].round(), atol=1e-6)
    assert graph.max() == pytest.approx(2, abs=1e-6)


def test_row_of_zeros_has_no_neighbors_and_displaces_none():
    features = np.array([[1.0, 0.0], [-1.0, 0.1], [0.1, 1.0], [0.0, 0.0]])
    with_zeros = neighbor_graph(features, num_neighbors=2).toarray()
    without = neighbor_graph(features[:3], num_neighbors=2).toarray()
    np.testing.assert_array_equal(with_zeros[:3, :3], without)
    assert not with_zeros[3].any()
    assert without.any()


def test_orthogonal_and_opposite_features_are_no_neighbors():
    # Turned by an angle, so that rounding leaves cosines that are not quite zero.
    turn = np.array([[np.cos(0.3), np.sin(0.3)], [-np.sin(0.3), np.cos(0.3)]])
    features = np.array([[1, 0], [0, 1], [-1, 0], [0, -1]]) @ turn
    for dtype in ("float32", "float64"):
        assert neighbor_graph(features.astype(dtype), 3, 1).nnz == 0


@pytest.mark.parametrize("features", [[[3.0, 4.0]], [[0.0], [0.0]], [[0.0], [1.0]]])
def test_nobody_to_join_gives_an_empty_graph(features):
    graph = neighbor_graph(features)
    assert graph.shape == (len(features), len(features))
    assert graph.nnz == 0


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_lengths_of_features_do_not_matter(scale):
    features = example()[0].astype("float32")
    stretched = features * np.float32(scale)
    np.testing.assert_allclose(
        neighbor_graph(stretched, 5).toarray(),
        neighbor_graph(features, 5).toarray(),
        rtol=1e-5,
    )


# The labels.


@pytest.mark.parametrize("balance_classes", [False, True])
@pytest.mark.parametrize("alpha", [0.1, 0.5, 0.99])
@pytest.mark.parametrize("num_classes", [2, 5])
@pytest.mark.parametrize("num_neighbors", [2, 10, 100])
def test_scores_equal_the_closed_form(
    num_neighbors, num_classes, alpha, balance_classes
):
    features, labels = example(num_classes=num_classes, seed=num_neighbors)
    scores = propagate_labels(
        features, labels, num_classes, num_neighbors,
        alpha=alpha, balance_classes=balance_classes, tolerance=1e-12,
    )  # fmt: skip
    graph = slow_graph(features, num_neighbors, 3)
    limit = closed_form(graph, one_hot(labels, num_classes), alpha)
    expected = scaled(limit, labels if balance_classes else None)
    np.testing.assert_allclose(scores, expected, atol=1e-6)


def test_default_is_what_the_authors_of_2019_solve():
    """Their code solves a system per class, with Y divided by the class's size."""
    features, labels = example(60)
    graph, expected = slow_graph(features, 10, 3), np.zeros((60, 3))
    roots = graph.sum(axis=1) ** 0.5
    system = np.eye(60) - 0.99 * graph / roots[:, None] / roots
    for c in range(3):
        (members,) = np.nonzero(labels == c)
        target = np.zeros(60)
        target[members] = 1 / len(members)
        expected[:, c] = np.linalg.solve(system, target)
    scores = propagate_labels(features, labels, 3, num_neighbors=10, tolerance=1e-12)
    np.testing.assert_allclose(scores, scaled(expected), atol=1e-6)


def test_balance_keeps_the_largest_class_from_flooding_the_next():
    """Five overlapping classes of 40 to 5 %, one label of ten given, 30 % wrong."""
    rng = np.random.default_rng(0)
    sizes = [400, 300, 150, 100, 50]
    classes = np.repeat(np.arange(5), sizes)
    features = rng.normal(size=(5, 16))[classes] + 0.9 * rng.normal(size=(1000, 16))
    labels = np.where(rng.random(1000) < 0.3, rng.integers(0, 5, 1000), classes)
    labels[rng.random(1000) > 0.1] = -1
    recalls = {}
    for balance_classes in (False, True):
        scores = propagate_labels(
            features, labels, 5, 20, balance_classes=balance_classes
        )
        is_right = scores.argmax(axis=1) == classes
        recalls[balance_classes] = [is_right[classes == c].mean() for c in range(5)]
    assert min(recalls[False]) < 0.1
    assert min(recalls[True]) > 0.6


def test_default_tolerance_comes_near_the_closed_form():
    features, labels = example(200)
    scores = propagate_labels(features, labels, 3)
    graph = slow_graph(features, 50, 3)
    expected = scaled(closed_form(graph, one_hot(labels, 3), 0.99), labels)
    np.testing.assert_allclose(scores, expected, atol=1e-3)


@pytest.mark.parametrize("alpha", [0.5, 0.9])
def test_closed_form_minimizes_eq_2(alpha):
    features, labels = example(12)
    graph, targets = slow_graph(features, 4, 3), one_hot(labels, 3)
    mu = 2 * (1 - alpha) / alpha
    degrees = graph.sum(axis=1)
    predictions = tf.Variable(closed_form(graph, targets, alpha))
    with tf.GradientTape() as tape:
        fit = tf.reduce_sum((predictions - targets) ** 2)
        rows = predictions / degrees[:, None] ** 0.5
        differences = tf.reduce_sum((rows[:, None] - rows[None]) ** 2, axis=2)
        smoothness = tf.reduce_sum(graph * differences)
        objective = mu / 2 * fit + smoothness / 2
    gradient = tape.gradient(objective, predictions)
    np.testing.assert_allclose(gradient, np.zeros((12, 3)), atol=1e-12)


def test_two_that_disagree_share_by_alpha():
    features = [[1.0, 0.0], [1.0, 0.0]]
    scores = propagate_labels(features, [0, 1], 2, alpha=0.5, tolerance=1e-9)
    np.testing.assert_allclose(scores, [[2 / 3, 1 / 3], [1 / 3, 2 / 3]], rtol=1e-6)


def test_own_label_counts_less_the_larger_alpha():
    features, labels = [[1.0, 0.0]] * 5, [0, 1, 1, 1, 1]
    kept, corrected = (
        propagate_labels(features, labels, 2, alpha=alpha, balance_classes=False)
        for alpha in (0.1, 0.9)
    )
    assert kept[0].argmax() == 0
    assert corrected[0].argmax() == 1


def test_scores_are_shares_in_float32():
    features, labels = example()
    scores = propagate_labels(features, labels, 4)
    assert scores.shape == (40, 4)
    assert scores.dtype == "float32"
    assert (scores >= 0).all()
    np.testing.assert_allclose(scores.sum(axis=1), 1, rtol=1e-6)
    # No example has the last class.
    assert not scores[:, 3].any()


def test_order_of_examples_does_not_matter():
    features, labels = example()
    order = np.random.default_rng(1).permutation(40)
    scores = propagate_labels(features, labels, 3, num_neighbors=5)
    permuted = propagate_labels(features[order], labels[order], 3, num_neighbors=5)
    np.testing.assert_allclose(permuted, scores[order], atol=1e-6)


def test_numbers_of_classes_do_not_matter():
    features, labels = example()
    names = np.array([2, 0, 1])
    renamed = np.where(labels == -1, -1, names[labels])
    scores = propagate_labels(features, labels, 3, num_neighbors=5)
    other = propagate_labels(features, renamed, 3, num_neighbors=5)
    np.testing.assert_allclose(other[:, names], scores, atol=1e-6)


def test_alone_an_example_keeps_its_label_or_has_none():
    features = [[1.0, 0.0], [1.0, 0.1], [0.0, 0.0], [0.0, 0.0]]
    scores = propagate_labels(features, [0, 0, 3, -1], 4)
    np.testing.assert_allclose(scores[2], [0, 0, 0, 1])
    np.testing.assert_allclose(scores[3], [0.25] * 4)


def test_one_class_is_everywhere():
    features = np.abs(example()[0])
    scores = propagate_labels(features, [1] + [-1] * 39, 2)
    np.testing.assert_allclose(scores, [[0, 1]] * 40)


@pytest.mark.parametrize("num_unlabeled", [1, 200])
def test_one_label_reaches_the_end_of_a_chain(num_unlabeled):
    graph = np.diag(np.ones(num_unlabeled), 1)
    graph = csr_matrix(graph + graph.T)
    labels = [1] + [-1] * num_unlabeled
    scores = spread_labels(graph, labels, 2)
    assert scores.argmax(axis=1).tolist() == [1] * (num_unlabeled + 1)


def test_graph_may_be_dense():
    features, labels = example()
    graph = neighbor_graph(features, 5)
    np.testing.assert_array_equal(
        spread_labels(graph.toarray(), labels, 3), spread_labels(graph, labels, 3)
    )


def test_arguments_are_left_as_they_are():
    features, labels = example()
    copies = features.copy(), labels.copy()
    propagate_labels(features, labels, 3)
    np.testing.assert_array_equal(features, copies[0])
    np.testing.assert_array_equal(labels, copies[1])


def test_too_few_iterations_warn():
    features, labels = example()
    with pytest.warns(ConvergenceWarning, match="max_iter=2"):
        propagate_labels(features, labels, 3, max_iterations=2)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"labels": [-1] * 4}, "`labels` must hold at least one label .* 4 times"),
        ({"labels": [0, 1, 3, 0]}, "`labels` must be below 3.*3 at position 2"),
        ({"labels": [0, 1, -2, 0]}, "`labels` must be 0 or more.*-2 at position 2"),
        ({"labels": [0, 1, np.nan, 0]}, "`labels` must hold whole .*nan at position 2"),
        ({"labels": [0, 1]}, r"one row per example.*\(4, 2\) and \(2,\)"),
        ({"labels": np.eye(4)}, r"`labels` must have shape \(n,\)"),
        ({"features": [[1, 0], [1, 1], [np.nan, 0], [0, 1]]}, "finite.*nan in row 2"),
        ({"features": [[1, 0], [1, np.inf], [1, 0], [0, 1]]}, "finite.*inf in row 1"),
        ({"features": np.ones((4, 2, 2))}, r"`features` must have shape \(n, dim\)"),
        ({"num_classes": 1}, "`num_classes` must be an integer of at least 2"),
        ({"num_neighbors": 0}, "`num_neighbors` must be an integer of at least 1"),
        ({"num_neighbors": 2.5}, "`num_neighbors` must be an integer of at least 1"),
        ({"similarity_power": 0}, "`similarity_power` must be a positive"),
        ({"alpha": 0}, "`alpha` must be above 0 and below 1.*alpha=0"),
        ({"alpha": 1.0}, "`alpha` must be above 0 and below 1.*alpha=1.0"),
        ({"alpha": 1.5}, "`alpha` must be a number from 0 to 1.*alpha=1.5"),
        ({"balance_classes": 1}, "`balance_classes` must be"),
        ({"tolerance": 0}, "`tolerance` must be a positive"),
        ({"max_iterations": 0}, "`max_iterations` must be an integer of at least 1"),
    ],
)
def test_wrong_arguments_are_refused(changes, message):
    arguments = {
        "features": [[1, 0], [1, 1], [0, 2], [0, 1]],
        "labels": [0, 1, -1, 2],
        "num_classes": 3,
    }
    with pytest.raises(ValueError, match=message):
        propagate_labels(**{**arguments, **changes})


def test_graph_of_other_examples_is_refused():
    with pytest.raises(ValueError, match=r"`graph` must have.*\(3, 3\) and 2 labels"):
        spread_labels(csr_matrix((3, 3)), [0, 1], 2)


# Learning.


def test_wrong_labels_of_digits_are_corrected():
    train, _ = keras_ncr.datasets.digits()
    matrix = keras_ncr.noise.symmetric(10, 0.4, include_true=True)
    noisy_labels = keras_ncr.noise.LabelNoise(matrix, seed=0).corrupt(train.labels)
    pixels = np.reshape(train.images, (train.num_examples, -1))
    scores = propagate_labels(pixels, noisy_labels, 10)
    assert np.mean(noisy_labels == train.labels) < 0.67
    assert np.mean(scores.argmax(axis=1) == train.labels) > 0.9


def test_digits_without_labels_are_classified():
    train, test = keras_ncr.datasets.digits()
    pixels = np.concatenate([train.images, test.images]).reshape(1797, -1)
    labels = np.concatenate([train.labels, np.full(360, -1)])
    scores = propagate_labels(pixels, labels, 10, num_neighbors=10)
    assert np.mean(scores[1437:].argmax(axis=1) == test.labels) > 0.95
