"""The nearest neighbors of every example, over a whole data set.

A batch has its own search, `losses.neighbors`, which training differentiates. This
one is for features that are fixed: it returns who the neighbors are, and never holds
the similarities of all pairs.
"""

import importlib.util
import time

import keras
import numpy as np
import tensorflow as tf

from keras_ncr.checks import check_integer

# Up to here all pairs are compared. 100,000 x 512 take some two minutes on two cores,
# and ten times as many a hundred times as long.
EXACT_LIMIT = 100_000

# Pairs are compared in tiles of this many rows and columns: 128 MB of similarities.
ROWS = 1024
COLUMNS = 32 * ROWS

# The index is coarse, and among twice as many candidates hardly a neighbor is missing.
CANDIDATES_PER_NEIGHBOR = 2

# So many examples are looked up in the index at once. Their candidates, gathered in
# full precision, take 30 MB with 512 features and 50 neighbors.
QUERIES = 256

# The index has 4 sqrt(n) lists, as faiss' guidelines have it; it is trained on as many
# examples per list as faiss asks for at least. Of 50,000 examples 99 % of the true
# neighbors stand in these lists (benchmarks/nearest.py).
LISTS_SEARCHED = 16
TRAINED_PER_LIST = 39
SEED = 0


def nearest_neighbors(features, num_neighbors, exact_limit=EXACT_LIMIT, verbose=0):
    """Returns each example's nearest others in a data set, and their similarities.

    Nearest are those with the largest cosine similarity. Of equal ones the first come
    first. An example is never its own neighbor, but its twins are. One of all zeros has
    similarity 0 to all.

    Up to `exact_limit` examples all pairs are compared, by TensorFlow. Of more only
    those are that lie in the same regions, by an index of the library faiss
    (`pip install faiss-cpu`): a few of the neighbors are missed, and the next ones
    stand in their place. Without faiss all pairs are compared after all, and a line is
    printed that says how long that will take.

    Args:
        features: Array-like of shape `(n, dim)`, of float16 or float32 for example. The
            lengths of its rows do not matter.
        num_neighbors: Int, at least 1; more than there are others are all of them.
        exact_limit: Int. Up to this many examples the result is exact. Defaults to
            100,000.
        verbose: 0, or 1 for a progress bar.

    Returns:
        Tuple `(indices, similarities)` of NumPy arrays, int32 and float32, of shape
        `(n, k)`, where k is `num_neighbors`, or n - 1 if that is less. The nearest is
        in the first column.

    Raises:
        ValueError: If an argument is out of its range, or a feature is not finite.

    Reference:
        - [Douze et al., 2024](https://arxiv.org/abs/2401.08281), for faiss.

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
    for start in range(0, num_examples, COLUMNS):
        _check_finite(features[start : start + COLUMNS], start)
    num_neighbors = min(num_neighbors, num_examples - 1)
    if num_neighbors == 0:
        return np.zeros((1, 0), "int32"), np.zeros((1, 0), "float32")
    search = _search_all
    if num_examples > exact_limit:
        if _has_faiss():
            search = _search_lists
        else:
            _print_expected_time(features)
    return search(features, num_neighbors, verbose)


def _check_finite(block, start):
    """Raises for the first row that is not finite, by its number in the data set."""
    is_finite = np.isfinite(block).all(axis=1)
    if not is_finite.all():
        row = int(np.argmin(is_finite))
        value = block[row][~np.isfinite(block[row])][0]
        raise ValueError(
            f"`features` must be finite. Received: {value} in row {start + row}. Leave "
            "such examples out, or look for what makes the model diverge."
        )


def _unit_vectors(block):
    """Returns the rows as float32 of length 1; a row of zeros stays zero."""
    block = block.astype(np.result_type(block.dtype, "float32"))
    # Divided by its largest number first, no row's square overflows or vanishes.
    block /= _divisors(np.abs(block).max(axis=1, initial=0))
    block /= _divisors(np.linalg.norm(block, axis=1))
    return block.astype("float32", copy=False)


def _divisors(lengths):
    """Returns a column of lengths to divide rows by, 1 where a length is 0."""
    return np.where(lengths == 0, 1, lengths)[:, None].astype(lengths.dtype)


def _search_all(features, num_neighbors, verbose):
    """Returns the nearest of all, tile by tile; each row keeps its best so far."""
    num_examples = len(features)
    # One more, since each example is the nearest to itself.
    shape = num_examples, num_neighbors + 1
    indices = np.zeros(shape, "int32")
    similarities = np.full(shape, -np.inf, "float32")
    bar = keras.utils.Progbar(num_examples, verbose=verbose, unit_name="example")
    bands = range(0, num_examples, COLUMNS)
    for first in bands:
        band = _unit_vectors(features[first : first + COLUMNS])
        for rows in _blocks(num_examples, ROWS):
            found = _best_of_tile(_unit_vectors(features[rows]), band, shape[1])
            best = np.concatenate([similarities[rows], found.values], axis=1)
            names = np.concatenate([indices[rows], found.indices + first], axis=1)
            # What was found earlier stands first, and stays first among equals.
            order = np.argsort(-best, axis=1, kind="stable")[:, : shape[1]]
            similarities[rows] = np.take_along_axis(best, order, axis=1)
            indices[rows] = np.take_along_axis(names, order, axis=1)
            bar.add((rows.stop - rows.start) / len(bands))
    for rows in _blocks(num_examples, ROWS):
        indices[rows, :-1], similarities[rows, :-1] = _without_self(
            indices[rows], similarities[rows], rows
        )
    return indices[:, :-1], similarities[:, :-1]


def _best_of_tile(vectors, band, count):
    """Returns the largest similarities of a tile's rows, and their columns."""
    similarities = tf.matmul(vectors, band, transpose_b=True)
    return tf.math.top_k(similarities, min(count, len(band)))


def _blocks(num_examples, size):
    """Yields slices of `size` examples."""
    for start in range(0, num_examples, size):
        yield slice(start, min(start + size, num_examples))


def _without_self(indices, similarities, rows):
    """Returns the columns but one: the example itself, or the last if it is missing.

    It is missing where it has twins enough to fill the row.
    """
    is_self = indices == np.arange(rows.start, rows.stop)[:, None]
    order = np.argsort(is_self, axis=1, kind="stable")[:, :-1]
    # Rounding takes twins a little beyond 1.
    similarities = np.clip(np.take_along_axis(similarities, order, axis=1), -1, 1)
    return np.take_along_axis(indices, order, axis=1), similarities


def _search_lists(features, num_neighbors, verbose):
    """Returns the nearest of those in the nearest lists of an inverted-list index."""
    import faiss

    num_examples = len(features)
    index = _index_of(features)
    indices = np.empty((num_examples, num_neighbors), "int32")
    similarities = np.empty((num_examples, num_neighbors), "float32")
    num_candidates = min(CANDIDATES_PER_NEIGHBOR * num_neighbors + 1, num_examples)
    few = faiss.SearchParametersIVF(nprobe=min(LISTS_SEARCHED, index.nlist))
    every = faiss.SearchParametersIVF(nprobe=index.nlist)
    bar = keras.utils.Progbar(num_examples, verbose=verbose, unit_name="example")
    for rows in _blocks(num_examples, QUERIES):
        vectors = _unit_vectors(features[rows])
        _, found = index.search(vectors, num_candidates, params=few)
        # Lists that hold too few examples are filled up with -1.
        (short,) = np.nonzero((found == -1).any(axis=1))
        if len(short):
            _, found[short] = index.search(vectors[short], num_candidates, params=every)
        exact = _similarities_to(features, found, vectors)
        # One more than the neighbors, since each example finds itself.
        found, exact = found[:, : num_neighbors + 1], exact[:, : num_neighbors + 1]
        indices[rows], similarities[rows] = _without_self(found, exact, rows)
        bar.add(rows.stop - rows.start)
    return indices, similarities


def _similarities_to(features, found, vectors):
    """Returns what a byte a number rounded: the similarities to those found.

    Puts `found` in their order, and equal ones in that of the data set.
    """
    found.sort(axis=1)
    candidates = _unit_vectors(features[found.ravel()]).reshape(*found.shape, -1)
    exact = np.matmul(candidates, vectors[:, :, None])[:, :, 0]
    order = np.argsort(-exact, axis=1, kind="stable")
    found[:] = np.take_along_axis(found, order, axis=1)
    return np.take_along_axis(exact, order, axis=1)


def _index_of(features):
    """Returns a faiss index of the examples, which holds a byte for each number."""
    import faiss

    num_examples, dim = features.shape
    num_lists = max(
        1, min(int(4 * num_examples**0.5), num_examples // TRAINED_PER_LIST)
    )
    index = faiss.IndexIVFScalarQuantizer(
        faiss.IndexFlatIP(dim),
        dim,
        num_lists,
        faiss.ScalarQuantizer.QT_8bit,
        faiss.METRIC_INNER_PRODUCT,
        False,  # Vectors themselves are stored, not what they differ from a centroid.
    )
    index.cp.seed = SEED
    index.cp.max_points_per_centroid = TRAINED_PER_LIST
    chosen = np.random.default_rng(SEED).choice(
        num_examples, min(num_examples, num_lists * TRAINED_PER_LIST), replace=False
    )
    index.train(_unit_vectors(features[np.sort(chosen)]))
    for rows in _blocks(num_examples, ROWS):
        index.add(_unit_vectors(features[rows]))
    return index


def _has_faiss():
    """Whether faiss is installed."""
    return importlib.util.find_spec("faiss") is not None


def _print_expected_time(features):
    """Prints how long all pairs take, from a small part of them."""
    vectors = _unit_vectors(features[:ROWS])
    # The first product also starts the threads.
    _best_of_tile(vectors, vectors, 1)
    start = time.perf_counter()
    _best_of_tile(vectors, vectors, 1)
    seconds = time.perf_counter() - start
    minutes = seconds * (len(features) / len(vectors)) ** 2 / 60
    print(
        f"Comparing all pairs of {len(features):,} examples will take about "
        f"{minutes:,.0f} minutes. `pip install faiss-cpu` makes it a fraction of that, "
        "at the price of a few neighbors."
    )
