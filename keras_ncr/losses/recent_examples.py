"""A queue of past examples that are candidates for neighbors: cross-batch memory."""

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable(package="keras_ncr")
class RecentExamples(keras.layers.Layer):
    """The unit vectors and softened predictions of the last training examples.

    They are what the loss makes of features and logits, so nothing is computed twice.
    They are weights that no optimizer trains, saved with the model, and no gradient
    flows into them.

    Args:
        size: Int: how many examples are remembered, the oldest first.
    """

    def __init__(self, size, **kwargs):
        super().__init__(**{**kwargs, "dtype": "float32"}, autocast=False)
        self.size = size

    def build(self, vectors_shape, predictions_shape):
        self.vectors = self.zeros("vectors", (self.size, vectors_shape[-1]))
        self.predictions = self.zeros("predictions", (self.size, predictions_shape[-1]))
        self.count = self.zeros("count", (), "int32")

    def zeros(self, name, shape, dtype="float32"):
        """Returns a variable that all replicas change alike."""
        return self.add_weight(
            name=name,
            shape=shape,
            dtype=dtype,
            initializer="zeros",
            trainable=False,
            # Half precision elsewhere in a model must not reach what is kept.
            autocast=False,
            aggregation="only_first_replica",
        )

    def content(self):
        """Returns vectors and predictions, with vectors of 0 until there are enough.

        They are similar to nothing, and so nobody's neighbors.
        """
        vectors = tf.convert_to_tensor(self.vectors)
        is_full = tf.convert_to_tensor(self.count) >= self.size
        vectors = tf.where(is_full, vectors, tf.zeros_like(vectors))
        return vectors, tf.convert_to_tensor(self.predictions)

    def add(self, vectors, predictions):
        """Puts the examples of a global batch in the place of the oldest ones.

        One that is not finite, as where half precision overflows, enters as zeros: as
        it is, it would spoil the loss of every batch until it left.
        """
        parts = tf.concat([vectors, predictions], axis=1)
        is_finite = tf.reduce_all(tf.math.is_finite(parts), axis=1, keepdims=True)
        for variable, new in (
            (self.vectors, vectors),
            (self.predictions, predictions),
        ):
            new = tf.where(is_finite, tf.stop_gradient(new), 0.0)
            everything = tf.concat([tf.convert_to_tensor(variable), new], axis=0)
            variable.assign(tf.ensure_shape(everything[-self.size :], variable.shape))
        count = tf.convert_to_tensor(self.count) + tf.shape(vectors)[0]
        self.count.assign(tf.minimum(count, self.size))

    def get_config(self):
        return {**super().get_config(), "size": self.size}
