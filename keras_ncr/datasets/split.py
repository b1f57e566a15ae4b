"""A part of the data held out for testing, or each part in its turn."""

import warnings

import numpy as np

from keras_ncr.checks import check_integer, check_labels, check_rate
from keras_ncr.datasets.source import Source


def hold_out(source: Source, fraction: float, seed: int = 0) -> tuple[Source, Source]:
    """Returns two sources: one to train on, and one held out of every class.

    A class of n examples gives `fraction * n` of them, rounded down or up so that the
    whole number is right as well. It always keeps one for training; a class of one
    example gives none. scikit-learn's stratified split refuses such classes.

    Args:
        source: `keras_ncr.datasets.Source`.
        fraction: Number above 0 and below 1: the share to hold out.
        seed: Int, at least 0. It decides which examples these are. Defaults to 0.

    Returns:
        Tuple `(train, test)` of `Source`, each in the order of the whole.

    Raises:
        ValueError: If `fraction` is out of range, or so small that it holds out none.

    Example:
    >>> whole, _ = keras_ncr.datasets.digits()
    >>> train, test = keras_ncr.datasets.hold_out(whole, 0.2)
    >>> train.num_examples, test.num_examples
    (1150, 287)
    """
    kept, held_out = split_indices(source.labels, source.num_classes, fraction, seed)
    return (
        source.subset(kept, f"{source.name}/train"),
        source.subset(held_out, f"{source.name}/test"),
    )


def split_indices(labels, num_classes, fraction, seed=0):
    """Returns the indices of both parts, as `hold_out` draws them from the labels."""
    fraction = check_rate(fraction, "fraction")
    seed = check_integer(seed, "seed", minimum=0)
    labels = check_labels(labels, num_classes)
    counts = np.bincount(labels, minlength=num_classes)
    splittable = np.where(counts > 1, counts, 0)
    # Rounding class by class would hold out none of 1,000 classes of three examples.
    totals = np.floor(fraction * np.cumsum(splittable) + 0.5).astype(np.int64)
    held_out = np.minimum(np.diff(totals, prepend=0), np.maximum(counts - 1, 0))
    if fraction == 1 or not np.any(held_out):
        raise ValueError(
            "`fraction` must be below 1 and hold out at least one example. Received: "
            f"fraction={fraction}, of {len(labels)} examples "
            f"in {np.count_nonzero(counts)} classes."
        )
    # RandomState's stream is frozen for ever; default_rng's may change with NumPy.
    order = np.random.RandomState(seed).permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]  # class by class
    position_in_class = np.arange(len(order)) - np.repeat(
        np.cumsum(counts) - counts, counts
    )
    is_test = np.zeros(len(labels), bool)
    is_test[order] = position_in_class < held_out[labels[order]]
    return np.flatnonzero(~is_test), np.flatnonzero(is_test)


def stratified_folds(labels, num_folds, seed=0):
    """Returns pairs of the indices to train on and those held out, one a fold."""
    from sklearn.model_selection import StratifiedKFold

    check_integer(num_folds, "num_folds", minimum=2)
    largest = int(np.bincount(labels).max())
    if num_folds > largest:
        raise ValueError(
            "`num_folds` must be at most the number of examples of the most frequent "
            f"label, {largest}. Received: num_folds={num_folds}."
        )
    splitter = StratifiedKFold(num_folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        # A label with fewer examples than folds is in some of them only.
        warnings.filterwarnings("ignore", "The least populated class")
        return list(splitter.split(np.zeros((len(labels), 0)), labels))
