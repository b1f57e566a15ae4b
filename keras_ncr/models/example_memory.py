"""A row of numbers for each training example, kept with the model."""

import keras
import tensorflow as tf

from keras_ncr.checks import check_integer
from keras_ncr.distribution.replicas import gather_replicas, has_other_replicas


@keras.saving.register_keras_serializable(package="keras_ncr")
class ExampleMemory(keras.layers.Layer):
    """Layer that keeps a row for each training example, by the example's index.

    The rows are a weight that no optimizer trains: saved with the model, and restored.
    They take `4 * num_examples * width` bytes. Under a `tf.distribute` strategy each
    replica writes the rows of its part of the batch, and all read the same.

    Args:
        width: Int, at least 1: numbers per example.
        num_examples: Int, or `None` as long as it is not known: `reserve` then makes
            the room. Defaults to `None`.
        initializer: What the rows start from, as for a Keras layer. Defaults to zeros.
        **kwargs: As in `keras.layers.Layer`.

    Call arguments:
        index: Ints of shape `(batch,)`, 0 to `num_examples - 1`.

    Returns:
        Float32 tensor of shape `(batch, width)`: the examples' rows.

    Raises:
        ValueError: If an argument is out of its range, or there is no room yet.

    Example:
    >>> from keras_ncr.models.example_memory import ExampleMemory
    >>> memory = ExampleMemory(width=2, num_examples=3)
    >>> memory.write(np.array([2]), np.array([[0.25, 0.75]], "float32"))
    >>> memory(np.array([0, 2])).numpy()
    array([[0.  , 0.  ],
           [0.25, 0.75]], dtype=float32)
    """

    def __init__(self, width, num_examples=None, initializer="zeros", **kwargs):
        # An index is not a number to compute with in half precision.
        super().__init__(**{**kwargs, "dtype": "float32"}, autocast=False)
        self.width = check_integer(width, "width", minimum=1)
        self.initializer = keras.initializers.get(initializer)
        self.num_examples = None
        self.rows = None
        if num_examples is not None:
            self.reserve(num_examples)

    def reserve(self, num_examples):
        """Makes room for so many examples, once.

        Raises:
            ValueError: If there is room for another number already.
        """
        num_examples = check_integer(num_examples, "num_examples", minimum=1)
        if self.num_examples not in (None, num_examples):
            raise ValueError(
                f"`num_examples` must stay {self.num_examples}, of which the model "
                f"remembers something already. Received: {num_examples}. Make a new "
                "model for another training set."
            )
        if self.rows is None:
            self.num_examples = num_examples
            self.rows = self.add_weight(
                shape=(num_examples, self.width),
                initializer=self.initializer,
                trainable=False,
                autocast=False,
                # All replicas write the same rows, those of the global batch.
                aggregation="only_first_replica",
                name="rows",
            )
            self.built = True

    def build(self, input_shape=None):
        if self.rows is None:
            raise ValueError(
                "`num_examples` must be known before anything is remembered. Received: "
                "None. Pass it to the constructor, or call `reserve`."
            )

    def call(self, index):
        return tf.gather(self.rows.value, index)

    def write(self, index, rows):
        """Replaces the rows of examples, at once and in place.

        Args:
            index: Ints of shape `(batch,)`.
            rows: Float32 tensor of shape `(batch, width)`.
        """
        self.build()
        index, rows = tf.convert_to_tensor(index), tf.convert_to_tensor(rows)
        if has_other_replicas():
            index, rows = gather_replicas(index), gather_replicas(rows)
        self.rows.value.scatter_update(tf.IndexedSlices(rows, index))

    def get_config(self):
        return {
            **super().get_config(),
            "width": self.width,
            "num_examples": self.num_examples,
            "initializer": keras.initializers.serialize(self.initializer),
        }
