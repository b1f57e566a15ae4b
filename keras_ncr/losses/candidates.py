"""Those among whom neighbors are sought, and what an example's neighbors predict.

They are the examples of the batch, under a `tf.distribute` strategy those of all
replicas, and after them past examples, where a queue remembers some. Gradients flow to
the batch, and not to the past.
"""

from typing import NamedTuple

import tensorflow as tf

from keras_ncr import neighbors, replicas


class Candidates(NamedTuple):
    """The examples of a batch and of the past, and where this replica's own begin."""

    vectors: tf.Tensor  # (batch, dim), of length 1 or 0
    predictions: tf.Tensor  # (batch, num_classes), softened
    first: int | tf.Tensor = 0
    past_vectors: tf.Tensor | None = None  # (past, dim)
    past_predictions: tf.Tensor | None = None  # (past, num_classes)

    def with_past(self, vectors, predictions):
        """Returns the same and past examples, who get no gradient."""
        return self._replace(past_vectors=vectors, past_predictions=predictions)


def everyone(vectors, predictions, cross_replica=True):
    """Returns the `Candidates` of a batch: all of it, wherever its parts are."""
    if not cross_replica or not replicas.has_other_replicas():
        return Candidates(vectors, predictions)
    return Candidates(
        replicas.gather_replicas(vectors),
        replicas.gather_replicas(predictions),
        replicas.first_of_replica(predictions),
    )


def neighbor_mixture(vectors, candidates, num_neighbors, similarity_power):
    """Returns the sums of the neighbors' predictions, weighted and not normalized.

    Args:
        vectors: Float tensor of shape `(batch, dim)`, of length 1 or 0.
        candidates: The `Candidates`. On one device they hold `vectors` itself.
        num_neighbors: As in `neighbors.neighbor_weights`.
        similarity_power: See there.

    Returns:
        Tensor of shape `(batch, num_classes)`.
    """
    similarities = (
        neighbors.self_similarities(vectors)
        if candidates.vectors is vectors
        else tf.matmul(vectors, candidates.vectors, transpose_b=True)
    )
    if candidates.past_vectors is not None:
        to_past = tf.matmul(vectors, candidates.past_vectors, transpose_b=True)
        similarities = tf.concat([similarities, to_past], axis=1)
    weights = neighbors.neighbor_weights(
        similarities, num_neighbors, similarity_power, candidates.first
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
