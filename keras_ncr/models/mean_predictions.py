"""A callback that keeps what a model predicted of its examples all through training."""

import keras
import numpy as np
import tensorflow as tf

from keras_ncr.checks import check_integer
from keras_ncr.distribution.replicas import has_other_replicas


class MeanPredictions(keras.callbacks.Callback):
    """Keeps the mean of what training steps predicted of each example, over epochs.

    A model that learns a wrong label by heart contradicted it in the epochs before,
    which the mean still tells. Targets need the key `"index"`, and the model one
    network and one device. The means take `2 * num_examples * num_classes` bytes.

    Reference:
        - Pickler, Kamassury and Silva, 2025, "Benchmarking noisy label detection
          methods": the mean of probabilities over the epochs of one training.
    """

    def __init__(self, num_examples: int, num_classes: int, first_epoch: int = 0):
        super().__init__()
        num_examples = check_integer(num_examples, "num_examples", minimum=1)
        num_classes = check_integer(num_classes, "num_classes", minimum=2)
        self.first_epoch = check_integer(first_epoch, "first_epoch", minimum=0)
        # Plain variables: they belong to the run and are no weights of the model.
        self.rows = tf.Variable(
            tf.zeros((num_examples, num_classes), "float16"), trainable=False
        )
        self.counts = tf.Variable(tf.zeros(num_examples, "int32"), trainable=False)
        self.is_counted = tf.Variable(first_epoch == 0, trainable=False)

    @property
    def variables(self):
        """The variables that a checkpoint has to hold."""
        return [self.rows, self.counts]

    def attach(self, model):
        """Lets the steps of a model write what they predict; `fit` does it too."""
        is_one = hasattr(model, "mean_predictions") and hasattr(model, "backbone")
        if not is_one or model.num_views > 1:
            raise ValueError(
                "`MeanPredictions` needs a model of this package, of one network. "
                f"Received: a {type(model).__name__}."
            )
        if model.distribute_strategy.num_replicas_in_sync > 1:
            raise ValueError(
                "`MeanPredictions` needs a model on one device. Received: "
                f"{model.distribute_strategy.num_replicas_in_sync} replicas."
            )
        model.mean_predictions = self

    def on_train_begin(self, logs=None):
        self.attach(self.model)

    def on_epoch_begin(self, epoch, logs=None):
        self.is_counted.assign(epoch >= self.first_epoch)

    def update(self, index, logits):
        """Adds the predictions of a batch to the means of its examples."""
        if has_other_replicas():
            return
        predictions = tf.nn.softmax(tf.cast(logits, "float32"))
        counts = tf.gather(self.counts, index) + tf.cast(self.is_counted, "int32")
        share = tf.cast(self.is_counted, "float32") / tf.cast(
            tf.maximum(counts, 1), "float32"
        )
        before = tf.cast(tf.gather(self.rows, index), "float32")
        means = before + share[:, None] * (predictions - before)
        self.rows.scatter_update(tf.IndexedSlices(tf.cast(means, "float16"), index))
        self.counts.scatter_update(tf.IndexedSlices(counts, index))

    def means(self):
        """Returns float32 `(num_examples, num_classes)`; NaN for examples not seen."""
        rows = self.rows.numpy().astype("float32")
        sums = rows.sum(axis=1, keepdims=True)
        return np.where(sums > 0, rows / np.where(sums > 0, sums, 1), np.nan)
