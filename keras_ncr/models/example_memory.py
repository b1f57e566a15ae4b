"""What a model remembers about each training example, by the example's number."""

import keras
import numpy as np
import tensorflow as tf

from keras_ncr.checks import check_integer
from keras_ncr.distribution import replicas
from keras_ncr.distribution.targets import label_of


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

    def __init__(
        self, width: int, num_examples: int | None = None, initializer="zeros", **kwargs
    ):
        # An index is not a number to compute with in half precision.
        super().__init__(**{**kwargs, "dtype": "float32"}, autocast=False)
        self.width = check_integer(width, "width", minimum=1)
        self.initializer = keras.initializers.get(initializer)
        self.num_examples = None
        self.rows = None
        # Where `fit`, or a file of weights, makes room later on.
        self.strategy = tf.distribute.get_strategy()
        if num_examples is not None:
            self.reserve(num_examples)

    def reserve(self, num_examples: int):
        """Makes room for so many examples, once.

        Raises:
            ValueError: If there is room for another number already.
        """
        num_examples = check_integer(num_examples, "num_examples", minimum=1)
        if self.num_examples not in (None, num_examples):
            raise ValueError(
                f"`num_examples` must stay {self.num_examples}: the model remembers "
                f"that many already. Received: {num_examples}. Make a new model for "
                "another training set."
            )
        if self.rows is None:
            self.num_examples = num_examples
            with self.strategy.scope():
                # All replicas write the same rows, those of the global batch.
                self.rows = replicas.add_state(
                    self, "rows", (num_examples, self.width), self.initializer
                )
            self.built = True

    def build(self, input_shape=None):
        if self.rows is None:
            raise ValueError(
                "`num_examples` must be known before anything is remembered. Received: "
                "None. Pass it to the constructor, or call `reserve`."
            )

    def load_own_variables(self, store):
        """As in `keras.Layer`, and makes the room for the rows that were saved."""
        num_saved = store["0"].shape[0] if "0" in store else None
        if self.num_examples not in (None, num_saved):
            raise ValueError(
                "Weights must be those of a model with as many examples to remember, "
                f"num_examples={self.num_examples}. Received: those of another number, "
                "or of none. Make the model without `num_examples` to load them."
            )
        if num_saved is not None:
            self.reserve(num_saved)
        super().load_own_variables(store)

    def call(self, index):
        index = tf.cast(index, "int64")
        rows = tf.gather(self.rows.value, index)
        # Not all devices refuse an index that has no row: some return another one's.
        is_known = (index >= 0) & (index < self.num_examples)
        return tf.where(is_known[:, None], rows, float("nan"))

    def write(self, index, rows):
        """Replaces the rows of examples, at once and in place.

        Args:
            index: Ints of shape `(batch,)`.
            rows: Float32 tensor of shape `(batch, width)`.
        """
        self.build()
        index, rows = tf.cast(index, "int64"), tf.convert_to_tensor(rows)
        if replicas.has_other_replicas():
            index = replicas.gather_replicas(index)
            rows = replicas.gather_replicas(rows)
        self.rows.value.scatter_update(tf.IndexedSlices(rows, index))

    def get_config(self):
        return {
            **super().get_config(),
            "width": self.width,
            "num_examples": self.num_examples,
            "initializer": keras.initializers.serialize(self.initializer),
        }


def numbered(y, num_views=1):
    """Returns the `y` of `fit` with the key `"index"`, where arrays can be numbered."""
    if y is None or (isinstance(y, dict) and "index" in y):
        return y
    targets = y if isinstance(y, dict) else {"label": y}
    return {**targets, "index": np.arange(len(label_of(y))) // num_views}


def num_examples_of(x, y, num_examples=None):
    """Returns how many examples there are to remember something about, or raises."""
    if y is not None:
        last = check_indices(y["index"], num_examples)
        return num_examples or last + 1
    # A dataset without targets is refused later, where labels are checked.
    spec = x.element_spec if isinstance(x, tf.data.Dataset) else None
    if isinstance(spec, tuple) and len(spec) > 1:
        index_of(spec[1])
    if num_examples is None:
        raise ValueError(
            "`num_examples` must be given to the model where training data are not "
            "arrays, to make room for what it remembers about each example. Received: "
            "num_examples=None."
        )
    return num_examples


def check_indices(index, num_examples=None):
    """Returns the largest of examples' numbers, or raises unless all have room."""
    index = np.asarray(index)
    if index.size == 0:
        raise ValueError("`y` must hold at least one label. Received: none.")
    if index.dtype.kind not in "iu" or np.min(index) < 0:
        raise ValueError(
            '`y["index"]` must hold the number of each example, ints from 0. Received: '
            f"dtype {index.dtype}, the smallest {np.min(index)}. Leave it out, and "
            "`fit` numbers arrays by itself."
        )
    last = int(np.max(index))
    if num_examples is not None and last >= num_examples:
        raise ValueError(
            f"`y` must have an index below num_examples={num_examples}. Received: "
            f"{last}. A model that remembers examples is trained on the same ones; "
            "make a new one for others."
        )
    return last


def index_of(y):
    """Returns the numbers of a batch's examples, ints `(batch,)`, or raises."""
    if not isinstance(y, dict) or "index" not in y:
        raise ValueError(
            'Targets must be a dict with the keys "label" and "index", the number of '
            "each example from 0, the same in every epoch. Received: "
            f"{sorted(y) if isinstance(y, dict) else 'labels alone'}. Pass arrays to "
            "`fit`; or number a dataset before it is shuffled, with "
            "`dataset.enumerate()`; or pass "
            '`carry=["index"]` to `keras_ncr.pipelines.training_batches`.'
        )
    return y["index"]
