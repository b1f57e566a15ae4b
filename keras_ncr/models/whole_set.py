"""Callbacks that look at all training examples between two epochs."""

import math

import keras
import numpy as np
import tensorflow as tf

from keras_ncr.distribution.targets import label_of
from keras_ncr.losses.labels import label_distributions
from keras_ncr.models.example_memory import index_of
from keras_ncr.models.fitting import check_carries


class WholeSet(keras.callbacks.Callback):
    """Base of callbacks that look at all training examples as an epoch begins.

    A subclass calls `look` in `on_epoch_begin`. `dataset` is as in `CoDivide`.
    """

    def __init__(self, dataset: tf.data.Dataset):
        super().__init__()
        check_carries(dataset, "index")
        self.dataset = dataset

    def on_train_begin(self, logs=None):
        if not self.model.built:  # What the first epoch begins with may be kept.
            inputs, _ = next(iter(self.dataset))
            self.model(inputs)
        # Traced once, not once a shape: the last batch is smaller.
        self.see = (
            self.seen
            if self.model.run_eagerly
            else tf.function(self.seen, reduce_retracing=True)
        )

    def seen(self, inputs, labels):
        """Returns a batch's given labels and features, side by side; override this."""
        features, logits = self.model(inputs, training=False, return_features=True)
        features = tf.cast(features, "float32")
        return tf.concat([classes_of(labels, logits), features], axis=1)

    def look(self):
        """Returns what `seen` returns, of all examples: an array `(n, width)`."""
        num_examples = self.model.num_examples
        found = None
        num_looks = np.zeros(num_examples, int)
        for inputs, targets in self.dataset:
            index = np.asarray(index_of(targets))
            if index.size and not 0 <= index.min() <= index.max() < num_examples:
                raise ValueError(
                    f"`dataset` must have an index in 0..{num_examples - 1}. Received: "
                    f"indices from {index.min()} to {index.max()}. Pass the examples "
                    "that the model is trained on, numbered as there."
                )
            rows = np.asarray(self.see(inputs, label_of(targets)))
            if found is None:
                found = np.zeros((num_examples, rows.shape[1]), rows.dtype)
            found[index] = rows
            np.add.at(num_looks, index, 1)
        if not np.all(num_looks == 1):
            position = int(np.argmax(num_looks != 1))
            raise ValueError(
                f"`dataset` must hold each of the {num_examples} training examples "
                f"once. Received: the one with index {position} "
                f"{num_looks[position]} times. Neither repeat it nor leave out a rest."
            )
        return found


def classes_of(labels, logits):
    """Returns the classes of labels in any form, float32 of shape `(batch, 1)`."""
    given = label_distributions(tf.cast(labels, "float32"), logits)
    return tf.cast(tf.argmax(given, axis=1), "float32")[:, None]


def with_whole_set(arguments, cls):
    """Returns the arguments of `fit`, with a callback of a class, or raises."""
    callbacks = arguments["callbacks"]
    is_list = isinstance(callbacks, keras.callbacks.CallbackList)
    given = callbacks.callbacks if is_list else callbacks
    if any(isinstance(callback, cls) for callback in given):
        return arguments
    if arguments["y"] is None:
        raise ValueError(
            f"`callbacks` must have a `{cls.__name__}` where training data are not "
            "arrays: it needs all training examples as in evaluation. Received: "
            f"callbacks={callbacks!r}. Pass "
            f"`keras_ncr.models.{cls.__name__}(dataset)`; "
            "`keras_ncr.pipelines.evaluation_batches(source, 256, "
            'carry=["index"])` makes the dataset.'
        )
    callback = cls(evaluation_data(arguments))
    if is_list:
        callback.set_model(callbacks.model)
        callback.set_params(callbacks.params)
        callbacks.callbacks.insert(0, callback)
        return arguments
    return {**arguments, "callbacks": [callback, *given]}


def evaluation_data(arguments):
    """Returns the batches of arrays that a `WholeSet` wants, each example once."""
    x, y = arguments["x"], arguments["y"]
    # TensorFlow takes a list for one array, where Keras takes it for several inputs.
    x = tuple(x) if isinstance(x, list) else x
    y = {"label": y["label"], "index": y["index"]}
    arrays = training_part((x, y), arguments["validation_split"])
    dataset = tf.data.Dataset.from_tensor_slices(arrays)
    return dataset.batch(arguments["batch_size"] or 32)


def training_part(arrays, validation_split):
    """Returns arrays, nested in any way, without what `fit` keeps for validation."""

    def first_rows(array):
        return array[: math.floor(len(array) * (1.0 - validation_split))]

    return keras.tree.map_structure(first_rows, arrays) if validation_split else arrays
