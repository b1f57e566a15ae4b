"""Who is near whom in a batch: cosine similarities and the k nearest neighbors.

Terms as in the paper (Section 4.1): `s_ij` is the cosine of two features, `NN_k(i)` the
k most similar *other* examples of the batch. The weights are left unnormalized here:
their sums cost a pass over `(batch, pool)` here, and one over `(batch, classes)` where
they are used.
"""

import tensorflow as tf

# The cosine of two float32 vectors carries an error of about this size: two that differ
# by less are a tie, and one below it is no similarity.
ROUNDING = 1e-6

# Features shorter than this fade to zero, where a direction has no meaning. (From
# lengths of 1e19 on the square of float32 overflows, and they fade as well.)
SMALLEST_LENGTH = 1e-12

# A row is searched for its largest values in blocks of this many, if that is faster.
BLOCK = 32


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


@tf.custom_gradient
def self_similarities(vectors):
    """Returns `vectors @ vectors.T`; its gradient is one product instead of two."""

    def gradient(upstream):
        return tf.matmul(upstream + tf.transpose(upstream), vectors)

    return tf.matmul(vectors, vectors, transpose_b=True), gradient


def neighbor_weights(similarities, num_neighbors, similarity_power, first=0):
    """Returns the similarities to the nearest neighbors, and zero for all others.

    A row keeps its `num_neighbors` largest similarities and all that tie with the last
    of them, so that the result does not depend on the order of the batch. Of these only
    positive ones count. A row that is left with none becomes its own neighbor: it
    agrees with itself, at no loss and no gradient.

    Args:
        similarities: Float tensor of shape `(batch, pool)`.
        num_neighbors: Positive int (the paper's k), or `None` for all others.
        similarity_power: Positive float, exponent on the similarities.
        first: Index in the pool of the batch's first example.

    Returns:
        Tensor of shape `(batch, pool)`, not normalized, with a positive sum per row.
    """
    similarities = without_self(similarities, first)
    extremes = row_extremes(similarities, num_neighbors)
    return weights_between(similarities, *extremes, similarity_power, first)


def without_self(similarities, first):
    """Returns the similarities with 0 where an example meets itself."""
    nothing = tf.zeros(tf.shape(similarities)[:1], similarities.dtype)
    return with_self_similarity(similarities, nothing, first)


def weights_between(similarities, largest, kth_largest, similarity_power, first):
    """Returns the weights of those who are at least as near as the k-th nearest.

    The arguments are as in `neighbor_weights`, without similarities to oneself, and
    what `row_extremes` returns.
    """
    values = powers(similarities, largest, similarity_power)
    alone = tf.cast(is_alone(largest[:, 0]), largest.dtype)
    return where_above(values, excess(similarities, kth_largest), alone, first)


def excess(similarities, kth_largest):
    """Returns by how much similarities are above those that are too small to count."""
    return similarities - tf.maximum(kth_largest - ROUNDING, ROUNDING)


def is_alone(largest):
    """Returns whether examples have no neighbor, from their largest similarity."""
    return largest < ROUNDING


def powers(similarities, largest, similarity_power):
    """Returns weights of similarities, up to a factor that is a row's own."""
    if similarity_power == 1.0:
        return similarities
    # Only the ratios in a row matter: with the largest at 1 no power underflows.
    # At 0 the slope is infinite: values that do not count are kept away from it.
    scale = tf.stop_gradient(tf.maximum(largest, ROUNDING))
    return (tf.maximum(similarities, ROUNDING) / scale) ** similarity_power


def where_above(values, excess, alone, first):
    """Returns `values` where `excess` is above 0, else 0, with `alone` on the diagonal.

    Both are one matrix after the other, and passes over them are what takes time: the
    gradient of ReLU does in one what a comparison and `tf.where` do in two.
    """

    @tf.custom_gradient
    def chosen(values):
        weights = tf.raw_ops.ReluGrad(gradients=values, features=excess)
        weights = with_diagonal(weights, alone, first)

        def gradient(upstream):
            upstream = with_diagonal(upstream, tf.zeros_like(alone), first)
            return tf.raw_ops.ReluGrad(gradients=upstream, features=weights)

        return weights, gradient

    return chosen(values)


def row_extremes(similarities, num_neighbors):
    """Returns a row's largest and k-th largest value, each of shape `(batch, 1)`."""
    pool = size_of(similarities, axis=1)

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
                best_blocks(similarities, num_neighbors)[0], num_neighbors
            ),
        )

    return either(num_neighbors >= pool - 1, of_all, of_some)


def size_of(tensor, axis):
    """Returns the size of an axis, as an int where it is known before the run."""
    size = tensor.shape[axis]
    return tf.shape(tensor)[axis] if size is None else size


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
    """Returns a part of each row in which its k largest values are, and its blocks.

    They stand in the k blocks with the largest maxima, or tie with values that do, and
    a maximum is found many times faster than the k largest. Value `i` of the part is in
    block `blocks[i // BLOCK]`, the last of which is filled up with zeros.
    """
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
    return tf.reshape(tf.gather(blocks, best, batch_dims=1), [batch, -1]), best


def with_self_similarity(matrix, values, first):
    """Returns `matrix` with `values` where an example meets itself."""

    # TensorFlow's own gradient of `set_diag` does not compile where the batch may vary.
    @tf.custom_gradient
    def with_constant(matrix):
        def gradient(upstream):
            return with_diagonal(upstream, tf.zeros_like(values), first)

        return with_diagonal(matrix, values, first), gradient

    return with_constant(matrix)


def with_diagonal(matrix, values, first):
    """Returns `matrix` with the vector `values` on the diagonal from column `first`."""
    if isinstance(first, int):
        return tf.linalg.set_diag(matrix, values, k=first)
    # XLA must know a diagonal when it compiles, and this one is known at run time. Rows
    # that only fill up a block may lie beyond the last column: they count for nothing.
    rows = tf.range(tf.shape(matrix)[0])
    columns = tf.minimum(first + rows, tf.shape(matrix)[1] - 1)
    return tf.tensor_scatter_nd_update(matrix, tf.stack([rows, columns], 1), values)
