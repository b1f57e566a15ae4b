"""Those among whom neighbors are sought.

They are the examples of the batch, under a `tf.distribute` strategy those of all
replicas, and after them past examples, where a queue remembers some. Gradients flow to
the batch, and not to the past.
"""

from typing import NamedTuple

import tensorflow as tf

from keras_ncr.distribution import replicas
from keras_ncr.losses import neighbors


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

    def without_gradient(self):
        """Returns the same, of whom none gets a gradient."""
        return self._replace(
            vectors=tf.stop_gradient(self.vectors),
            predictions=tf.stop_gradient(self.predictions),
        )

    def all_vectors(self):
        """Returns the vectors of the batch, and below them those of the past."""
        return joined(self.vectors, self.past_vectors)

    def all_predictions(self):
        """Returns the predictions of the batch, and below them those of the past."""
        return joined(self.predictions, self.past_predictions)

    def size(self):
        """Returns how many they are, as an int where it is known before the run."""
        size = neighbors.size_of(self.vectors, axis=0)
        if self.past_vectors is None:
            return size
        return size + neighbors.size_of(self.past_vectors, axis=0)


def joined(batch, past):
    """Returns the rows of the batch, and below them those of the past, if any."""
    return batch if past is None else tf.concat([batch, past], axis=0)


def everyone(vectors, predictions, cross_replica=True):
    """Returns the `Candidates` of a batch: all of it, wherever its parts are."""
    if not cross_replica or not replicas.has_other_replicas():
        return Candidates(vectors, predictions)
    return Candidates(
        replicas.gather_replicas(vectors),
        replicas.gather_replicas(predictions),
        replicas.first_of_replica(predictions),
    )
