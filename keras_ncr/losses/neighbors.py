"""Cosine similarities, and which examples are the k nearest.

Terms as in the paper (Section 4.1): `s_ij` is the cosine of two features, `NN_k(i)` the
k most similar *other* examples. The weights are not normalized here: their sums are
cheaper to get where they are used, from `(batch, num_classes)`.
"""

from typing import NamedTuple

import tensorflow as tf

from keras_ncr.distribution import replicas

# The cosine of two float32 vectors carries an error of about this size: two that differ
# by less are a tie, and one below it is no similarity.
ROUNDING = 1e-6

# Features shorter than this fade to zero, where a direction has no meaning. (From
# lengths of 1e19 on the square of float32 overflows, and they fade as well.)
SMALLEST_LENGTH = 1e-12

# A row is searched for its largest values in blocks of this many, if that is faster.
BLOCK = 32


class Pool(NamedTuple):
    """The examples that neighbors are chosen from; `first` is this replica's first."""

    vectors: tf.Tensor  # (batch, dim), of length 1 or 0
    log_predictions: tf.Tensor  # (batch, num_classes), softened
    first: int | tf.Tensor = 0
    past_vectors: tf.Tensor | None = None  # (past, dim), of a queue
    past_log_predictions: tf.Tensor | None = None  # (past, num_classes)


def pool_of(vectors, log_predictions, cross_replica):
    """Returns the `Pool` of a batch, with the parts that other replicas have."""
    if not cross_replica or not replicas.has_other_replicas():
        return Pool(vectors, log_predictions)
    return Pool(
        replicas.gather_replicas(vectors),
        replicas.gather_replicas(log_predictions),
        replicas.first_of_replica(log_predictions),
    )


@tf.custom_gradient
def unit_vectors(features):
    """Returns the rows of `features` scaled to length 1; a row of zeros stays zero."""
    squares = tf.reduce_sum(tf.square(features), axis=1, keepdims=True)
    shrink = tf.math.rsqrt(tf.maximum(squares, SMALLEST_LENGTH**2))
    vectors = features * shrink

    def gradient(upstream):
        # What lies along a vector would change its length, which is fixed.
        along = tf.reduce_sum(upstream * vectors, axis=1, keepdims=True)
        return (upstream - along * vectors) * shrink

    return vectors, gradient


def cosine_similarities(vectors, pool):
    """Returns the cosines of unit vectors and all of a `Pool`, `(batch, pool)`."""
    if pool.vectors is vectors:
        similarities = self_similarities(vectors)
    else:
        similarities = tf.matmul(vectors, pool.vectors, transpose_b=True)
    if pool.past_vectors is None:
        return similarities
    to_past = tf.matmul(vectors, pool.past_vectors, transpose_b=True)
    return tf.concat([similarities, to_past], axis=1)


@tf.custom_gradient
def self_similarities(vectors):
    """Returns `vectors @ vectors.T`; its gradient is one product instead of two."""

    def gradient(upstream):
        return tf.matmul(upstream + tf.transpose(upstream), vectors)

    return tf.matmul(vectors, vectors, transpose_b=True), gradient


def neighbor_weights(similarities, num_neighbors, similarity_power, first=0):
    """Returns the similarities to the nearest neighbors, and zero for all others."""
    similarities = without_self(similarities, first)
    largest, kth_largest = row_extremes(similarities, num_neighbors)
    values = powers(similarities, largest, similarity_power)
    excess = similarities - tf.maximum(kth_largest - ROUNDING, ROUNDING)
    is_alone = tf.cast(largest[:, 0] < ROUNDING, largest.dtype)
    return where_above(values, excess, is_alone, first)


def powers(similarities, largest, similarity_power):
    """Returns weights of similarities, up to a factor that is a row's own."""
    if similarity_power == 1.0:
        return similarities
    # Only the ratios in a row matter: with the largest at 1 no power underflows.
    # At 0 the slope is infinite: values that do not count are kept away from it.
    scale = tf.stop_gradient(tf.maximum(largest, ROUNDING))
    return (tf.maximum(similarities, ROUNDING) / scale) ** similarity_power


def where_above(values, excess, is_alone, first):
    """Returns `values` where `excess` is above 0, else 0; `is_alone` for itself."""
    # The gradient of ReLU does in one pass what a comparison and `tf.where` do in two.

    @tf.custom_gradient
    def chosen(values):
        weights = tf.raw_ops.ReluGrad(gradients=values, features=excess)
        weights = with_diagonal(weights, is_alone, first)

        def gradient(upstream):
            upstream = with_diagonal(upstream, tf.zeros_like(is_alone), first)
            return tf.raw_ops.ReluGrad(gradients=upstream, features=weights)

        return weights, gradient

    return chosen(values)


def row_extremes(similarities, num_neighbors):
    """Returns a row's largest and k-th largest value, each of shape `(batch, 1)`."""
    pool = similarities.shape[1]
    pool = tf.shape(similarities)[1] if pool is None else pool

    def of_all():
        largest = tf.reduce_max(similarities, axis=1, keepdims=True)
        return largest, tf.zeros_like(largest)

    # With all others as neighbors no order is needed, and sorting is what costs most.
    if num_neighbors is None:
        return of_all()

    def of_some():
        return either(
            num_neighbors > pool // BLOCK // 2,
            lambda: extremes_of_top_k(similarities, num_neighbors),
            lambda: extremes_of_top_k(
                best_blocks(similarities, num_neighbors), num_neighbors
            ),
        )

    return either(num_neighbors >= pool - 1, of_all, of_some)


def either(condition, if_true, if_false):
    """Returns what one of two functions does; only a tensor puts both into a graph."""
    if isinstance(condition, bool):
        return if_true() if condition else if_false()
    return tf.cond(condition, if_true, if_false)


def extremes_of_top_k(values, k):
    """Returns the largest and the k-th largest value of each row."""
    k = tf.minimum(k, tf.shape(values)[1])
    top = tf.math.top_k(values, k, sorted=False).values
    return (
        tf.reduce_max(top, axis=1, keepdims=True),
        tf.reduce_min(top, axis=1, keepdims=True),
    )


def best_blocks(values, k):
    """Returns a part of each row in which its k largest values are."""
    # They stand in the k blocks with the largest maxima, or tie with values that do,
    # and a maximum is found many times faster than the k largest.
    batch, size = tf.unstack(tf.shape(values))
    num_blocks = -(-size // BLOCK)
    # Padded with zeros: only positive similarities count in the end.
    padding = num_blocks * BLOCK - size
    padded = tf.cond(
        padding > 0, lambda: tf.pad(values, [[0, 0], [0, padding]]), lambda: values
    )
    blocks = tf.reshape(padded, [batch, num_blocks, BLOCK])
    maxima = tf.reduce_max(blocks, axis=2)
    best = tf.math.top_k(maxima, tf.minimum(k, num_blocks), sorted=False).indices
    return tf.reshape(tf.gather(blocks, best, batch_dims=1), [batch, -1])


def without_self(similarities, first):
    """Returns the similarities with 0 where an example meets itself."""
    nothing = tf.zeros(tf.shape(similarities)[:1], similarities.dtype)

    # TensorFlow's own gradient of `set_diag` does not compile where the batch may vary.
    @tf.custom_gradient
    def with_zeros(matrix):
        return with_diagonal(matrix, nothing, first), lambda upstream: with_diagonal(
            upstream, nothing, first
        )

    return with_zeros(similarities)


def with_diagonal(matrix, values, first):
    """Returns `matrix` with the vector `values` on the diagonal from column `first`."""
    if isinstance(first, int):
        return tf.linalg.set_diag(matrix, values, k=first)
    # XLA must know a diagonal when it compiles, and this one is known at run time. Rows
    # that only fill up a block may lie beyond the last column: they count for nothing.
    rows = tf.range(tf.shape(matrix)[0])
    columns = tf.minimum(first + rows, tf.shape(matrix)[1] - 1)
    return tf.tensor_scatter_nd_update(matrix, tf.stack([rows, columns], 1), values)
