"""Neighbors of a large batch in little memory: some rows at a time.

A block of rows is compared with all candidates, mixed and forgotten. The gradient makes
its similarities once more. That is two matrix products of the features more than for
the whole matrix, seven instead of five, in memory of `rows * candidates`.
"""

import tensorflow as tf

from keras_ncr import neighbors


def neighbor_mixture_in_blocks(
    vectors, candidates, num_neighbors, similarity_power, rows_per_block
):
    """Returns what `candidates.neighbor_mixture` does, from blocks of rows.

    Args:
        vectors: Float tensor of shape `(batch, dim)`, of length 1 or 0.
        candidates: The `Candidates`.
        num_neighbors: As in `neighbors.neighbor_weights`.
        similarity_power: See there.
        rows_per_block: Int, at least 1.

    Returns:
        Tensor of shape `(batch, num_classes)`.
    """

    def similarities_of(block, start, all_vectors):
        similarities = tf.matmul(block, all_vectors, transpose_b=True)
        return neighbors.without_self(similarities, candidates.first + start)

    def weights_of(similarities, extremes, start):
        return neighbors.weights_between(
            similarities, *extremes, similarity_power, candidates.first + start
        )

    @tf.custom_gradient
    def mixture_of(vectors, batch_vectors, batch_predictions):
        all_vectors = joined(batch_vectors, candidates.past_vectors)
        all_predictions = joined(batch_predictions, candidates.past_predictions)
        # A tape that runs without a graph keeps all that leads from what it watches.
        fixed_vectors = tf.stop_gradient(all_vectors)
        fixed_predictions = tf.stop_gradient(all_predictions)

        def mix(start, totals, block):
            similarities = similarities_of(block, start, fixed_vectors)
            extremes = neighbors.row_extremes(similarities, num_neighbors)
            weights = weights_of(similarities, extremes, start)
            # The extremes are what costs most to find: they are kept.
            return [tf.matmul(weights, fixed_predictions), *extremes], totals

        (mixture, *extremes), _ = over_blocks(
            mix, [tf.stop_gradient(vectors)], 3, [], rows_per_block
        )
        batch = tf.shape(batch_vectors)[0]

        def pull_back(start, totals, block, upstream, *extremes):
            similarities = similarities_of(block, start, all_vectors)
            with tf.GradientTape() as tape:
                tape.watch(similarities)
                weights = weights_of(similarities, extremes, start)
            to_weights = tf.matmul(upstream, all_predictions, transpose_b=True)
            slope = tape.gradient(weights, similarities, to_weights)
            to_batch_vectors, to_batch_predictions = totals
            return [tf.matmul(slope, all_vectors)], [
                to_batch_vectors + tf.matmul(of_batch(slope), block, transpose_a=True),
                to_batch_predictions
                + tf.matmul(of_batch(weights), upstream, transpose_a=True),
            ]

        def of_batch(columns):
            return columns if candidates.past_vectors is None else columns[:, :batch]

        def gradient(upstream):
            (to_vectors,), totals = over_blocks(
                pull_back,
                [vectors, upstream, *extremes],
                1,
                [tf.zeros_like(batch_vectors), tf.zeros_like(batch_predictions)],
                rows_per_block,
            )
            return to_vectors, *totals

        return mixture, gradient

    return mixture_of(vectors, candidates.vectors, candidates.predictions)


def joined(batch, past):
    """Returns the rows of the batch, and below them those of the past, if any."""
    return batch if past is None else tf.concat([batch, past], axis=0)


def over_blocks(function, matrices, num_results, totals, rows_per_block):
    """Applies a function to blocks of rows, one after the other.

    Args:
        function: Callable `(start, totals, *blocks)` that returns a list of matrices, a
            row for each of the block's, and a list of totals. The last rows it sees may
            be zeros, which fill up a block.
        matrices: Tensors of as many rows, which are cut into blocks.
        num_results: Int: how many matrices the function returns.
        totals: List of tensors that go from each block to the next.
        rows_per_block: Int, at least 1.

    Returns:
        A list of the matrices of all blocks, one below the other, and the totals.
    """
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

    arrays = [tf.TensorArray(matrices[0].dtype, num_blocks) for _ in range(num_results)]
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
