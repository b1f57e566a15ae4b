"""Transition matrices: rows sum to 1 and realize the rates the papers report."""

import numpy as np
import pytest

from keras_ncr import noise

# Superclass of each fine class of CIFAR-100, as the data set's files state it.
COARSE_LABELS = np.array(
    """
    4 1 14 8 0 6 7 7 18 3 3 14 9 18 7 11 3 9 7 11 6 11 5 10 7
    6 13 15 3 15 0 11 1 10 12 14 16 9 11 5 5 19 8 8 15 13 14 17 18 10
    16 4 17 4 2 0 17 4 18 17 10 3 2 12 12 16 12 1 9 19 2 10 0 1 16
    12 9 13 15 13 16 19 2 4 6 19 5 5 8 19 18 1 2 15 6 0 17 8 14 13
    """.split(),
    int,
)


def wrong_share(matrix):
    """Expected share of wrong labels when all classes are equally frequent."""
    return 1 - np.mean(np.diag(matrix))


MATRICES = {
    "symmetric, true included": lambda rate: noise.symmetric(
        7, rate, include_true=True
    ),
    "symmetric, true excluded": lambda rate: noise.symmetric(
        7, rate, include_true=False
    ),
    "cifar10": lambda rate: noise.asymmetric("cifar10", rate),
    "cifar100": lambda rate: noise.asymmetric("cifar100", rate),
    "cifar100 in blocks": lambda rate: noise.asymmetric("cifar100_blocks", rate),
    "pair flip": lambda rate: noise.pair_flip(7, rate),
}


@pytest.mark.parametrize("kind", MATRICES)
@pytest.mark.parametrize("rate", [0.0, 0.1, 1 / 3, 0.45, 1.0])
def test_rows_are_distributions(kind, rate):
    matrix = MATRICES[kind](rate)
    assert matrix.dtype == np.float64
    assert np.all(matrix >= 0)
    np.testing.assert_allclose(matrix.sum(axis=1), 1, atol=1e-12)


@pytest.mark.parametrize("kind", MATRICES)
def test_rate_zero_is_the_identity(kind):
    matrix = MATRICES[kind](0)
    np.testing.assert_array_equal(matrix, np.eye(len(matrix)))


@pytest.mark.parametrize(
    "num_classes, rate, realized",
    [(10, 0.2, 0.18), (10, 0.4, 0.36), (10, 0.5, 0.45), (10, 0.6, 0.54)]
    + [(10, 0.8, 0.72), (10, 0.9, 0.81), (100, 0.2, 0.198), (100, 0.5, 0.495)]
    + [(100, 0.8, 0.792), (100, 0.9, 0.891)],
)
def test_symmetric_realizes_the_published_rates(num_classes, rate, realized):
    included = noise.symmetric(num_classes, rate, include_true=True)
    excluded = noise.symmetric(num_classes, rate, include_true=False)
    assert wrong_share(included) == pytest.approx(realized, abs=1e-12)
    assert wrong_share(excluded) == pytest.approx(rate, abs=1e-12)


def test_symmetric_needs_to_know_the_convention():
    with pytest.raises(TypeError, match="include_true"):
        noise.symmetric(10, 0.4)


def test_asymmetric_cifar10_maps_look_alikes():
    names = "airplane automobile bird cat deer dog frog horse ship truck".split()
    matrix = noise.asymmetric("cifar10", 0.4)
    assert wrong_share(matrix) == pytest.approx(0.2, abs=1e-12)
    flips = {(names[i], names[j]) for i, j in np.argwhere(matrix == 0.4)}
    assert flips == {
        ("truck", "automobile"),
        ("bird", "airplane"),
        ("deer", "horse"),
        ("cat", "dog"),
        ("dog", "cat"),
    }


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("digits", {(2, 7), (3, 8), (5, 6), (6, 5), (7, 1)}),
        ("fashion_mnist", {(0, 6), (2, 4), (4, 2), (5, 7), (7, 9)}),
    ],
)
def test_asymmetric_noise_goes_between_look_alikes(name, expected):
    matrix = noise.asymmetric(name, 0.4)
    changed = np.argwhere((matrix > 0) & ~np.eye(10, dtype=bool))
    assert {(int(i), int(j)) for i, j in changed} == expected
    assert matrix[~np.eye(10, dtype=bool)].sum() == pytest.approx(0.4 * 5)


def test_asymmetric_cifar100_stays_within_the_superclass():
    matrix = noise.asymmetric("cifar100", 0.4)
    assert wrong_share(matrix) == pytest.approx(0.4, abs=1e-12)
    sources, targets = np.argwhere(matrix == 0.4).T
    np.testing.assert_array_equal(COARSE_LABELS[sources], COARSE_LABELS[targets])
    for source, target in zip(sources, targets, strict=True):
        members = np.flatnonzero(COARSE_LABELS == COARSE_LABELS[source]).tolist()
        assert members.index(target) == (members.index(source) + 1) % 5


def test_asymmetric_cifar100_in_blocks_is_the_map_of_elr():
    """`asymmetric_noise` in ELR/data_loader/cifar100.py of the released code."""
    matrix = noise.asymmetric("cifar100_blocks", 0.4)
    expected = 0.6 * np.eye(100)
    for i in range(100):
        expected[i, 5 * (i // 5) + (i + 1) % 5] = 0.4
    np.testing.assert_allclose(matrix, expected)
    sources, targets = np.argwhere(matrix == 0.4).T
    assert np.sum(COARSE_LABELS[sources] == COARSE_LABELS[targets]) == 6


def test_asymmetric_takes_a_dict():
    matrix = noise.asymmetric({0: 2, 2: 1}, 0.5, num_classes=3)
    expected = [[0.5, 0, 0.5], [0, 1, 0], [0, 0.5, 0.5]]
    np.testing.assert_array_equal(matrix, expected)


def test_pair_flip_goes_round():
    matrix = noise.pair_flip(3, 0.4)
    np.testing.assert_array_equal(matrix == 0.4, np.roll(np.eye(3), 1, axis=1) == 1)


@pytest.mark.parametrize("rate", [-0.1, 1.5, float("nan"), "0.4", None, True])
@pytest.mark.parametrize("kind", MATRICES)
def test_rates_outside_zero_to_one_are_refused(kind, rate):
    with pytest.raises(
        ValueError, match="`rate` must be a number from 0 to 1. Received"
    ):
        MATRICES[kind](rate)


@pytest.mark.parametrize("num_classes", [1, 0, 2.5, None])
def test_too_few_classes_are_refused(num_classes):
    match = f"at least 2. Received: num_classes={num_classes}"
    with pytest.raises(ValueError, match=match):
        noise.symmetric(num_classes, 0.4, include_true=True)
    with pytest.raises(ValueError, match=match):
        noise.pair_flip(num_classes, 0.4)
    with pytest.raises(ValueError, match=match):
        noise.asymmetric({0: 1}, 0.4, num_classes=num_classes)


@pytest.mark.parametrize("mapping", [{0: 3}, {3: 0}, {-1: 0}, {1: 1}, {0: "dog"}])
def test_impossible_mappings_are_refused(mapping):
    with pytest.raises(ValueError, match="`mapping` must map classes to other classes"):
        noise.asymmetric(mapping, 0.4, num_classes=3)


def test_unknown_mapping_names_the_nearest():
    with pytest.raises(ValueError, match="cifar10.*'cifar-100'.*mean 'cifar100'"):
        noise.asymmetric("cifar-100", 0.4)
    with pytest.raises(ValueError, match="`mapping` must be a name or a dict"):
        noise.asymmetric([(0, 1)], 0.4, num_classes=2)


def test_named_mapping_has_its_own_number_of_classes():
    with pytest.raises(ValueError, match="has 10 classes. Received: num_classes=100"):
        noise.asymmetric("cifar10", 0.4, num_classes=100)
