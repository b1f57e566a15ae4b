"""The nearest neighbors of every example, over a whole data set.

Training searches single batches, with gradients, by `losses.neighbors`. Here features
are fixed, and the similarities of all pairs are never held at once.
"""

import warnings

import keras
import numpy as np
import tensorflow as tf

from keras_ncr.checks import check_integer

# Up to here all pairs are compared. 100,000 x 512 take some two minutes on two cores,
# and ten times as many would take a hundred times as long.
EXACT_LIMIT = 100_000

# Pairs are compared in tiles of this many rows and columns: 128 MB of similarities.
ROWS = 1024
COLUMNS = 32 * ROWS

# More examples are divided into 2 sqrt(n) cells by k-means of a sample, and each is
# compared with those in the cells nearest to it (recall: benchmarks/nearest.py).
CELLS_PER_ROOT = 2
CELLS_SEARCHED = 12
SAMPLED_PER_CELL = 40
SEED = 0


def nearest_neighbors(
    features, num_neighbors: int, exact_limit: int = EXACT_LIMIT, verbose: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the nearest other examples of each example, and their similarities.

    The nearest are those with the largest cosine similarity. An example is never its
    own neighbor, but a copy of it can be. A row of zeros has similarity 0 to all.

    Up to `exact_limit` examples, all pairs are compared, and of equal neighbors the
    first in the data set come first. Larger data sets are divided into cells by
    k-means, and each example is compared only with those in the cells nearest to it: a
    few neighbors are missed, and the next ones take their place.

    Args:
        features: Array-like of shape `(n, dim)`, for example float16 or float32. The
            lengths of its rows do not matter.
        num_neighbors: Int, at least 1. Clamped to `n - 1`.
        exact_limit: Int. Up to this many examples the result is exact. Defaults to
            100,000.
        verbose: 0, or 1 for a progress bar.

    Returns:
        Tuple `(indices, similarities)` of NumPy arrays, int32 and float32, of shape
        `(n, num_neighbors)`, the nearest first.

    Raises:
        ValueError: If an argument is out of its range, or a feature is not finite.

    Reference:
        - [Sivic and Zisserman, 2003](https://doi.org/10.1109/ICCV.2003.1238663), for
          the search by cells (an inverted file).

    Example:
    >>> features = [[1, 0], [0, 2], [3, 0], [1, 1]]
    >>> indices, similarities = keras_ncr.features.nearest_neighbors(features, 2)
    >>> indices
    array([[2, 3],
           [3, 0],
           [0, 3],
           [0, 1]], dtype=int32)
    >>> similarities.round(2)
    array([[1.  , 0.71],
           [0.71, 0.  ],
           [1.  , 0.71],
           [0.71, 0.71]], dtype=float32)
    """
    features = np.asarray(features)
    if features.ndim != 2 or len(features) == 0:
        raise ValueError(
            "`features` must have shape (n, dim), n at least 1. Received: shape "
            f"{features.shape}. Flatten images with `features.reshape(n, -1)`."
        )
    num_neighbors = check_integer(num_neighbors, "num_neighbors", minimum=1)
    exact_limit = check_integer(exact_limit, "exact_limit", minimum=0)
    num_examples = len(features)
    for rows in blocks(num_examples, COLUMNS):
        check_finite(features[rows], rows.start)
    num_neighbors = min(num_neighbors, num_examples - 1)
    search = _Search(features, num_neighbors, verbose)
    everyone = np.arange(num_examples)
    if num_examples <= exact_limit:
        search.compare(everyone, everyone)
    else:
        for visitors, members in _cells(features):
            search.compare(visitors, members)
        # Those whose cells hold too few examples to fill all columns.
        (short,) = np.nonzero(np.isneginf(search.similarities).any(axis=1))
        search.similarities[short] = -np.inf
        if len(short):
            search.compare(short, everyone)
    return search.without_self()


def vote_shares(neighbors, labels, num_classes):
    """Returns the share of each class among an example's neighbors, `(n, classes)`."""
    rows = np.arange(len(neighbors))[:, None] * num_classes
    cells = len(neighbors) * num_classes
    counts = np.bincount((rows + labels[neighbors]).ravel(), minlength=cells)
    return counts.reshape(-1, num_classes) / neighbors.shape[1]


def check_finite(block, start=0):
    """Raises for the first row that is not finite, numbered from `start`."""
    is_finite = np.isfinite(block).all(axis=1)
    if not is_finite.all():
        row = int(np.argmin(is_finite))
        value = block[row][~np.isfinite(block[row])][0]
        raise ValueError(
            f"`features` must be finite. Received: {value} in row {start + row}. Leave "
            "such examples out, or look for what makes the model diverge."
        )


def unit_rows(block):
    """Returns the rows as float32 of length 1; a row of zeros stays zero."""
    block = block.astype(np.result_type(block.dtype, "float32"))
    # Divided by its largest number first, no row's square overflows or vanishes.
    block /= _divisors(np.abs(block).max(axis=1, initial=0))
    block /= _divisors(np.linalg.norm(block, axis=1))
    return block.astype("float32", copy=False)


def _divisors(lengths):
    """Returns a column of lengths to divide rows by, 1 where a length is 0."""
    return np.where(lengths == 0, 1, lengths)[:, None].astype(lengths.dtype)


def blocks(count, size):
    """Yields slices of `size` that cover `count` rows."""
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))


class _Search:
    """The best neighbors found so far, each example itself among them."""

    def __init__(self, features, num_neighbors, verbose):
        self.features = features
        shape = len(features), num_neighbors + 1
        self.indices = np.zeros(shape, "int32")
        self.similarities = np.full(shape, -np.inf, "float32")
        self.bar = keras.utils.Progbar(
            len(features), verbose=verbose, unit_name="example"
        )

    def compare(self, visitors, members):
        """Compares some examples with others, tile by tile."""
        for band in blocks(len(members), COLUMNS):
            vectors = unit_rows(self.features[members[band]])
            for block in blocks(len(visitors), ROWS):
                rows = visitors[block]
                self.compare_tile(rows, members[band], vectors)
                self.bar.add(len(vectors) * len(rows) / len(visitors))

    def compare_tile(self, rows, members, vectors):
        """Puts the best of a tile among the best so far, first found first."""
        tile = tf.matmul(unit_rows(self.features[rows]), vectors, transpose_b=True)
        num_kept = self.indices.shape[1]
        best = tf.math.top_k(
            tf.concat([self.similarities[rows], tile], axis=1), num_kept
        )
        places = best.indices.numpy()
        kept = np.take_along_axis(
            self.indices[rows], np.minimum(places, num_kept - 1), axis=1
        )
        found = members[np.maximum(places - num_kept, 0)]
        self.indices[rows] = np.where(places < num_kept, kept, found)
        self.similarities[rows] = best.values

    def without_self(self):
        """Returns indices and similarities without each example itself."""
        # Where copies fill the whole row without it, the last goes.
        is_self = self.indices == np.arange(len(self.indices))[:, None]
        order = np.argsort(is_self, axis=1, kind="stable")[:, :-1]
        similarities = np.take_along_axis(self.similarities, order, axis=1)
        # Rounding takes copies a little beyond 1.
        np.clip(similarities, -1, 1, out=similarities)
        return np.take_along_axis(self.indices, order, axis=1), similarities


def _cells(features):
    """Yields, for each cell, the examples that are near it, and those in it."""
    # An example is in the cell whose center is nearest, and near several.
    centers = _centers(features)
    num_near = min(CELLS_SEARCHED, len(centers))
    near = np.empty((len(features), num_near), "int32")
    for rows in blocks(len(features), ROWS):
        tile = tf.matmul(unit_rows(features[rows]), centers, transpose_b=True)
        near[rows] = tf.math.top_k(tile, num_near).indices
    everyone = range(len(centers))
    own = np.argsort(near[:, 0], kind="stable")
    own_starts = np.searchsorted(near[own, 0], everyone)
    pairs = np.argsort(near, axis=None, kind="stable")
    starts = np.searchsorted(near.ravel()[pairs], everyone)
    visitors = np.split((pairs // num_near).astype("int32"), starts[1:])
    members = np.split(own, own_starts[1:])
    return zip(visitors, members, strict=True)


def _centers(features):
    """Returns unit vectors: the centers of the clusters of a sample."""
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    count = len(features)
    num_cells = int(CELLS_PER_ROOT * count**0.5)
    num_cells = max(1, min(num_cells, count // SAMPLED_PER_CELL))
    sample = np.random.default_rng(SEED).choice(
        count, min(num_cells * SAMPLED_PER_CELL, count), replace=False
    )
    means = KMeans(num_cells, init="random", n_init=1, max_iter=5, random_state=SEED)
    with warnings.catch_warnings():
        # Many copies make fewer clusters than cells, which does no harm.
        warnings.simplefilter("ignore", ConvergenceWarning)
        means.fit(unit_rows(features[np.sort(sample)]))
    return unit_rows(means.cluster_centers_)
