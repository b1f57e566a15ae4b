"""Few neighbors among many candidates: products of those that count, and no others.

Of a row of weights all but some `num_neighbors` are zero, and yet products of the whole
matrix take the time of all. Here only the similarities are such a product. What follows
goes by rank: first the nearest of each example, then the second, each a pass over
`(batch, dim)` and `(batch, num_classes)`.
"""

from typing import NamedTuple

import tensorflow as tf

from keras_ncr.losses import neighbors
from keras_ncr.losses.row_blocks import over_blocks, similarities_of

# A neighbor's passes take the time of some 200 columns of the products (of 1,000
# classes) to 300 (of 100): benchmarks/loss.py, on two CPU cores.
COLUMNS_PER_NEIGHBOR = 300

# With fewer rows the products of the whole matrix are done before a loop is.
FEWEST_ROWS = 256

# Room for those who tie with the last neighbor. Where more do, products of the whole
# matrix are the way.
ROOM_FOR_TIES = 8


class Nearest(NamedTuple):
    """The nearest candidates of each example, the most similar first."""

    similarities: tf.Tensor  # (batch, ranks)
    columns: tf.Tensor  # (batch, ranks), int: which candidates they are


def are_few(num_neighbors, num_rows, num_candidates):
    """Returns whether neighbors are so few that it is faster to go by rank.

    A bool, or a tensor if one of the sizes is.
    """
    if num_neighbors is None:
        return False
    is_few = num_neighbors * COLUMNS_PER_NEIGHBOR <= num_candidates
    is_worth_it = num_rows >= FEWEST_ROWS
    if isinstance(is_few, bool) and isinstance(is_worth_it, bool):
        return is_few and is_worth_it
    return tf.logical_and(is_few, is_worth_it)


def nearest_if_few(vectors, candidates, search, is_few):
    """Returns the `Nearest`, and whether they are all who count.

    They are not where neighbors are many, or more tie with the last than there is room
    for. The first three arguments are those of `mixture.neighbor_mixture`.
    """
    if is_few is False:
        return None, False
    room = search.num_neighbors + ROOM_FOR_TIES

    def everyone_ties():
        ones = tf.ones([tf.shape(vectors)[0], room], vectors.dtype)
        return Nearest(ones, tf.zeros_like(ones, "int32"))

    found = neighbors.either(
        is_few, lambda: nearest(vectors, candidates, search, room), everyone_ties
    )
    return found, ~tf.reduce_any(is_near(found, search.num_neighbors)[:, -1])


def nearest(vectors, candidates, search, room):
    """Returns the `Nearest`, as many as there is room for.

    Of those with a similarity of 0 or less it may name wrong ones.
    """
    pool = candidates.all_vectors()

    def find(start, totals, block):
        similarities = similarities_of(block, pool, candidates.first + start)
        part, blocks = neighbors.best_blocks(similarities, room)
        # A graph for any number of candidates must fit few of them, too.
        values, places = tf.math.top_k(part, tf.minimum(room, tf.shape(part)[1]))
        blocks = tf.gather(blocks, places // neighbors.BLOCK, batch_dims=1)
        columns = blocks * neighbors.BLOCK + places % neighbors.BLOCK
        # What fills up the last block is no candidate.
        columns = tf.minimum(columns, tf.shape(pool)[0] - 1)
        padding = [[0, 0], [0, room - tf.shape(values)[1]]]
        return [tf.pad(values, padding), tf.pad(columns, padding)], totals

    dtypes = [vectors.dtype, tf.int32]
    (similarities, columns), _ = over_blocks(
        find, [vectors], dtypes, [], search.rows_per_block
    )
    # One who is alone is its own neighbor, as in `neighbors.neighbor_weights`.
    itself = candidates.first + tf.range(tf.shape(vectors)[0])
    is_alone = neighbors.is_alone(similarities[:, :1])
    return Nearest(similarities, tf.where(is_alone, itself[:, tf.newaxis], columns))


def is_near(found, num_neighbors):
    """Returns which of the `Nearest` are neighbors."""
    kth_largest = found.similarities[:, num_neighbors - 1 : num_neighbors]
    return neighbors.excess(found.similarities, kth_largest) > 0


def weights_by_rank(found, search):
    """Returns the number of ranks that count, and their weights, as a function.

    It takes the similarities of a rank's neighbors, of shape `(batch,)`, and the rank,
    and returns weights of the same shape.
    """
    largest = found.similarities[:, 0]
    is_alone = neighbors.is_alone(largest)
    counts = is_near(found, search.num_neighbors)
    num_ranks = tf.reduce_max(tf.math.count_nonzero(counts, axis=1, dtype="int32"))

    def weight_of(similarity, rank):
        values = neighbors.powers(similarity, largest, search.similarity_power)
        alone = tf.cast(is_alone & (rank == 0), values.dtype)
        return tf.where(counts[:, rank], values, alone)

    # Those who are alone count as well.
    return tf.maximum(num_ranks, 1), weight_of


def mixture_by_rank(candidates, found, search):
    """Returns the mixture: of the nearest, of the second nearest, and so on."""
    predictions = candidates.all_predictions()
    num_ranks, weight_of = weights_by_rank(found, search)

    def mix(rank, mixture):
        weight = weight_of(found.similarities[:, rank], rank)
        theirs = tf.gather(predictions, found.columns[:, rank])
        return [mixture + scaled(theirs, weight)]

    nothing = tf.zeros([tf.shape(found.columns)[0], tf.shape(predictions)[1]])
    return over_ranks(mix, num_ranks, [tf.cast(nothing, predictions.dtype)])[0]


def gradients_by_rank(upstream, vectors, candidates, found, search):
    """Returns what `row_blocks.gradients_by_blocks` does, rank by rank."""
    pool, predictions = candidates.all_vectors(), candidates.all_predictions()
    num_ranks, weight_of = weights_by_rank(found, search)
    num_in_batch = tf.shape(candidates.vectors)[0]

    def pull_back(rank, to_vectors, to_batch, to_predictions):
        columns = found.columns[:, rank]
        others, theirs = tf.gather(pool, columns), tf.gather(predictions, columns)
        similarity = tf.reduce_sum(vectors * others, axis=1)
        with tf.GradientTape() as tape:
            tape.watch(similarity)
            weight = weight_of(similarity, rank)
        to_weight = tf.reduce_sum(upstream * theirs, axis=1)
        slope = tape.gradient(weight, similarity, to_weight)
        to_vectors = to_vectors + scaled(others, slope)
        if candidates.past_vectors is not None:
            # The past gets nothing, wherever in the batch that is added.
            is_in_batch = tf.cast(columns < num_in_batch, slope.dtype)
            columns = tf.minimum(columns, num_in_batch - 1)
            slope, weight = slope * is_in_batch, weight * is_in_batch
        return [
            to_vectors,
            with_added(to_batch, columns, scaled(vectors, slope)),
            with_added(to_predictions, columns, scaled(upstream, weight)),
        ]

    batch = vectors, candidates.vectors, candidates.predictions
    zeros = [tf.zeros_like(matrix) for matrix in batch]
    return over_ranks(pull_back, num_ranks, zeros)


def over_ranks(function, num_ranks, totals):
    """Returns what `function(rank, *totals)` makes of totals, rank by rank."""
    _, *totals = tf.while_loop(
        lambda rank, *totals: rank < num_ranks,
        lambda rank, *totals: [rank + 1, *function(rank, *totals)],
        [0, *totals],
        parallel_iterations=1,
    )
    return totals


def scaled(rows, factors):
    """Returns rows, each times a factor of its own."""
    return factors[:, tf.newaxis] * rows


def with_added(matrix, places, rows):
    """Returns a matrix to which rows are added, several to one place if need be."""
    return tf.tensor_scatter_nd_add(matrix, places[:, tf.newaxis], rows)
