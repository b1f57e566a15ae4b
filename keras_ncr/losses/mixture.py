"""What an example's neighbors predict, weighted by how similar they are.

The result is the same whichever way it is made, and memory and time are not:

- all rows at once: products of the whole matrix of weights, TensorFlow's gradient;
- blocks of rows (`row_blocks`): as many products and two more, in little memory;
- neighbor by neighbor (`few_neighbors`): where few of many candidates count, only the
  similarities are a product of matrices.
"""

from typing import NamedTuple

import tensorflow as tf

from keras_ncr.losses import few_neighbors, neighbors, row_blocks


class Search(NamedTuple):
    """Which neighbors count, and how they are sought."""

    num_neighbors: int | None  # None: all others
    similarity_power: float
    rows_per_block: int | None  # None: all rows at once


def neighbor_mixture(vectors, candidates, search):
    """Returns the sums of the neighbors' predictions, weighted and not normalized.

    Args:
        vectors: Float tensor of shape `(batch, dim)`, of length 1 or 0.
        candidates: The `Candidates`. On one device they hold `vectors` itself.
        search: The `Search`, whose arguments are those of `NeighborConsistencyLoss`.

    Returns:
        Tensor of shape `(batch, num_classes)`.
    """
    is_few = few_neighbors.are_few(
        search.num_neighbors, neighbors.size_of(vectors, axis=0), candidates.size()
    )
    # Where the size of the batch is not known before the run, neither is the way. That
    # would be a condition around products whose gradients TensorFlow makes, of which it
    # logs that its types do not fit.
    if search.rows_per_block is None and is_few is not True:
        return mixture_of_all_rows(vectors, candidates, search)
    return mixture_with_own_gradient(vectors, candidates, search, is_few)


def mixture_of_all_rows(vectors, candidates, search):
    """Returns `neighbor_mixture` from the whole matrix of weights."""
    similarities = (
        neighbors.self_similarities(vectors)
        if candidates.vectors is vectors
        else tf.matmul(vectors, candidates.vectors, transpose_b=True)
    )
    if candidates.past_vectors is not None:
        to_past = tf.matmul(vectors, candidates.past_vectors, transpose_b=True)
        similarities = tf.concat([similarities, to_past], axis=1)
    weights = neighbors.neighbor_weights(
        similarities, search.num_neighbors, search.similarity_power, candidates.first
    )
    if candidates.past_predictions is None:
        return tf.matmul(weights, candidates.predictions)
    return mixture_with_past(
        weights, candidates.predictions, candidates.past_predictions
    )


@tf.custom_gradient
def mixture_with_past(weights, predictions, past):
    """Returns `weights @ [predictions; past]`, without a gradient for the past."""
    pool = tf.concat([predictions, past], axis=0)

    def gradient(upstream):
        of_batch = weights[:, : tf.shape(predictions)[0]]
        to_predictions = tf.matmul(of_batch, upstream, transpose_a=True)
        return tf.matmul(upstream, pool, transpose_b=True), to_predictions, None

    return tf.matmul(weights, pool), gradient


def mixture_with_own_gradient(vectors, candidates, search, is_few):
    """Returns `neighbor_mixture` from blocks of rows or neighbor by neighbor.

    The conditions are within the gradient, and not the gradient within conditions: only
    so XLA compiles blocks of a batch whose size it is not told.

    Args:
        vectors: As in `neighbor_mixture`.
        candidates: See there.
        search: See there.
        is_few: Bool or tensor: whether the neighbors are few.
    """

    @tf.custom_gradient
    def mixture_of(vectors, batch_vectors, batch_predictions):
        everyone = candidates._replace(
            vectors=batch_vectors, predictions=batch_predictions
        )
        # A tape that runs without a graph keeps all that leads from what it watches.
        fixed = tf.stop_gradient(vectors), everyone.without_gradient()
        found, by_rank = few_neighbors.nearest_if_few(*fixed, search, is_few)

        def of_ranks():
            mixture = few_neighbors.mixture_by_rank(fixed[1], found, search)
            return [mixture, found.similarities[:, :1], found.similarities[:, :1]]

        def of_blocks():
            return row_blocks.mixture_by_blocks(*fixed, search)

        mixture, *extremes = neighbors.either(by_rank, of_ranks, of_blocks)

        def gradient(upstream):
            arguments = upstream, vectors, everyone
            return neighbors.either(
                by_rank,
                lambda: few_neighbors.gradients_by_rank(*arguments, found, search),
                lambda: row_blocks.gradients_by_blocks(*arguments, extremes, search),
            )

        return mixture, gradient

    return mixture_of(vectors, candidates.vectors, candidates.predictions)
