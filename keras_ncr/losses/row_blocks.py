"""Neighbors of a large batch in little memory: some rows at a time.

A block of rows is compared with all candidates, mixed and forgotten. The gradient makes
its similarities once more. That is two matrix products of the features more than for
the whole matrix, seven instead of five, in memory of `rows * candidates`.
"""

import tensorflow as tf

from keras_ncr.losses import neighbors


def mixture_by_blocks(vectors, candidates, search):
    """Returns the mixture, and each row's largest and k-th largest similarity.

    The arguments are those of `mixture.neighbor_mixture`. No gradient flows.
    """
    all_vectors, all_predictions = (
        candidates.all_vectors(),
        candidates.all_predictions(),
    )

    def mix(start, totals, block):
        first = candidates.first + start
        similarities = similarities_of(block, all_vectors, first)
        extremes = neighbors.row_extremes(similarities, search.num_neighbors)
        weights = neighbors.weights_between(
            similarities, *extremes, search.similarity_power, first
        )
        # The extremes are what costs most to find: they are kept.
        return [tf.matmul(weights, all_predictions), *extremes], totals

    parts, _ = over_blocks(
        mix, [vectors], [vectors.dtype] * 3, [], search.rows_per_block
    )
    return parts


def gradients_by_blocks(upstream, vectors, candidates, extremes, search):
    """Returns gradients: of `vectors`, and the batch's vectors and predictions.

    Args:
        upstream: Tensor of shape `(batch, num_classes)`, the gradient of the mixture.
        vectors: As in `mixture.neighbor_mixture`.
        candidates: See there.
        extremes: What `mixture_by_blocks` returns beside the mixture.
        search: See there.
    """
    all_vectors, all_predictions = (
        candidates.all_vectors(),
        candidates.all_predictions(),
    )
    num_in_batch = tf.shape(candidates.vectors)[0]

    def of_batch(columns):
        if candidates.past_vectors is None:
            return columns
        return columns[:, :num_in_batch]

    def pull_back(start, totals, block, upstream, *extremes):
        first = candidates.first + start
        similarities = similarities_of(block, all_vectors, first)
        with tf.GradientTape() as tape:
            tape.watch(similarities)
            weights = neighbors.weights_between(
                similarities, *extremes, search.similarity_power, first
            )
        to_weights = tf.matmul(upstream, all_predictions, transpose_b=True)
        slope = tape.gradient(weights, similarities, to_weights)
        to_vectors, to_predictions = totals
        return [tf.matmul(slope, all_vectors)], [
            to_vectors + tf.matmul(of_batch(slope), block, transpose_a=True),
            to_predictions + tf.matmul(of_batch(weights), upstream, transpose_a=True),
        ]

    (to_own_vectors,), totals = over_blocks(
        pull_back,
        [vectors, upstream, *extremes],
        [vectors.dtype],
        [tf.zeros_like(candidates.vectors), tf.zeros_like(candidates.predictions)],
        search.rows_per_block,
    )
    return [to_own_vectors, *totals]


def similarities_of(block, all_vectors, first):
    """Returns similarities of a block of rows to all, with 0 for oneself."""
    similarities = tf.matmul(block, all_vectors, transpose_b=True)
    return neighbors.without_self(similarities, first)


def over_blocks(function, matrices, dtypes, totals, rows_per_block):
    """Applies a function to blocks of rows, one after the other.

    Args:
        function: Callable `(start, totals, *blocks)` that returns a list of matrices, a
            row for each of the block's, and a list of totals. The last rows it sees may
            be zeros, which fill up a block.
        matrices: Tensors of as many rows, which are cut into blocks.
        dtypes: List of the dtypes of the matrices that the function returns.
        totals: List of tensors that go from each block to the next.
        rows_per_block: Int, at least 1, or `None`: all rows are one block.

    Returns:
        A list of the matrices of all blocks, one below the other, and the totals.
    """
    if rows_per_block is None:
        return function(0, totals, *matrices)
    num_rows = tf.shape(matrices[0])[0]
    # All blocks have one size, which XLA wants to know, and are as even as can be.
    num_blocks = tf.maximum(-(-num_rows // rows_per_block), 1)
    rows = -(-num_rows // num_blocks)
    blocks = [in_blocks(matrix, num_blocks, rows) for matrix in matrices]

    def step(number, arrays, totals):
        block = [matrix[number] for matrix in blocks]
        parts, totals = function(number * rows, totals, *block)
        arrays = [
            array.write(number, part) for array, part in zip(arrays, parts, strict=True)
        ]
        return number + 1, arrays, totals

    arrays = [tf.TensorArray(dtype, num_blocks) for dtype in dtypes]
    _, arrays, totals = tf.while_loop(
        lambda number, *others: number < num_blocks,
        step,
        [0, arrays, totals],
        # Two at a time would take the memory of two.
        parallel_iterations=1,
    )
    return [array.concat()[:num_rows] for array in arrays], totals


def in_blocks(matrix, num_blocks, rows):
    """Returns a matrix as `(num_blocks, rows, columns)`, filled up with zeros."""
    num_rows, columns = tf.unstack(tf.shape(matrix))
    filled = tf.pad(matrix, [[0, num_blocks * rows - num_rows], [0, 0]])
    return tf.reshape(filled, [num_blocks, rows, columns])
