"""Batches too large for one matrix of similarities, and too small to hold neighbors."""

import keras
import tensorflow as tf

from keras_ncr.distribution import replicas


def by_blocks(function, vectors, log_own, pool, rows_per_block):
    """Returns `function(vectors, log_own, pool)`, computed all at once or by blocks."""
    if rows_per_block is None:
        return function(vectors, log_own, pool)

    def of_block(start, vectors, log_own, batch_vectors, log_batch):
        return function(
            vectors,
            log_own,
            pool._replace(
                vectors=batch_vectors,
                log_predictions=log_batch,
                first=pool.first + start,
            ),
        )

    @tf.custom_gradient
    def blocks(vectors, log_own, *batch):
        # A tape that runs without a graph keeps all that leads from what it watches.
        rows = [*map(tf.stop_gradient, [vectors, log_own])]
        fixed = [*map(tf.stop_gradient, batch)]

        def forward(start, totals, *rows):
            return [of_block(start, *rows, *fixed)], totals

        def backward(start, totals, upstream, *rows):
            with tf.GradientTape() as tape:
                tape.watch([rows, batch])
                loss = of_block(start, *rows, *batch)
            to_rows, to_batch = tape.gradient(loss, [rows, batch], upstream)
            return to_rows, [*map(tf.add, totals, to_batch)]

        def gradient(upstream):
            totals = [*map(tf.zeros_like, batch)]
            rows = [upstream, vectors, log_own]
            to_rows, to_batch = over_blocks(backward, rows, 2, totals, rows_per_block)
            return *to_rows, *to_batch

        (loss,), _ = over_blocks(forward, rows, 1, [], rows_per_block)
        return loss, gradient

    return blocks(vectors, log_own, pool.vectors, pool.log_predictions)


def over_blocks(function, matrices, num_results, totals, rows_per_block):
    """Returns what a function makes of all blocks of rows: rows, and totals."""
    # `function(start, totals, *blocks)` returns a list of tensors with a row for each
    # of a block's, and the new totals. The last rows it sees may be zeros.
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
    """Returns a matrix as `num_blocks` blocks of `rows` rows, filled up with zeros."""
    missing = num_blocks * rows - tf.shape(matrix)[0]
    filled = tf.pad(matrix, [[0, missing], *[[0, 0]] * (matrix.shape.rank - 1)])
    return tf.reshape(filled, [num_blocks, rows, *matrix.shape[1:]])


@keras.saving.register_keras_serializable(package="keras_ncr")
class RecentRows(keras.layers.Layer):
    """Base of queues of the last training examples: saved weights, never trained."""

    def __init__(self, size, **kwargs):
        super().__init__(**{**kwargs, "dtype": "float32"}, autocast=False)
        self.size = size

    def hold(self, **widths):
        """Makes room: an attribute of that name for rows of that width."""
        for name, width in widths.items():
            setattr(self, name, replicas.add_state(self, name, (self.size, width)))
        self.count = replicas.add_state(self, "count", (), dtype="int32")

    def is_filled(self):
        """Returns which rows hold an example, `(size,)`: the last ones."""
        return tf.range(self.size) >= self.size - tf.convert_to_tensor(self.count)

    def push(self, **rows):
        """Puts the rows of a global batch in the place of the oldest ones."""
        # One that is not finite, as where half precision overflows, enters as zeros: as
        # it is, it would spoil the loss of every batch until it left.
        parts = tf.concat(list(rows.values()), axis=1)
        is_finite = tf.reduce_all(tf.math.is_finite(parts), axis=1, keepdims=True)
        for name, new in rows.items():
            variable = getattr(self, name)
            new = tf.where(is_finite, tf.stop_gradient(new), 0.0)
            everything = tf.concat([tf.convert_to_tensor(variable), new], axis=0)
            variable.assign(tf.ensure_shape(everything[-self.size :], variable.shape))
        count = tf.convert_to_tensor(self.count) + tf.shape(parts)[0]
        self.count.assign(tf.minimum(count, self.size))

    def get_config(self):
        return {**super().get_config(), "size": self.size}


@keras.saving.register_keras_serializable(package="keras_ncr")
class RecentExamples(RecentRows):
    """A queue of unit vectors and log predictions, as the loss makes them."""

    def build(self, vectors_shape, predictions_shape):
        self.hold(vectors=vectors_shape[-1], log_predictions=predictions_shape[-1])

    def appended_to(self, pool):
        """Returns a `Pool` with the past, of similarity 0 until the queue is full."""
        vectors = tf.convert_to_tensor(self.vectors)
        is_full = tf.convert_to_tensor(self.count) >= self.size
        return pool._replace(
            past_vectors=tf.where(is_full, vectors, tf.zeros_like(vectors)),
            past_log_predictions=tf.convert_to_tensor(self.log_predictions),
        )

    def add(self, pool):
        """Puts the examples of a global batch in the place of the oldest ones."""
        self.push(vectors=pool.vectors, log_predictions=pool.log_predictions)
