"""A callback that keeps what a model predicted of its examples all through training."""

import keras
import numpy as np
import tensorflow as tf

from keras_ncr.checks import check_integer
from keras_ncr.distribution.replicas import has_other_replicas


class MeanPredictions(keras.callbacks.Callback):
    """Keeps each training example's mean prediction over the epochs of `fit`.

    A model that learns a wrong label by heart contradicted it in the epochs before. The
    mean of its softmax over these still tells, and costs nothing: it is taken from the
    training steps, on the examples as augmented. The means take
    `2 * num_examples * num_classes` bytes.

    It works with models of this package that have one network, `NCRModel` and
    `ELRModel` among them, on one device, and expects targets with the key `"index"`.

    Args:
        num_examples: Int, at least 1: the number of training examples.
        num_classes: Int, at least 2.
        first_epoch: Int: the first epoch that counts, from 0. Defaults to 0.

    Raises:
        ValueError: If an argument is out of its range, or the model or its strategy is
            of another kind.

    Reference:
        - Pickler, Kamassury and Silva, 2025, "Benchmarking noisy label detection
          methods": the mean of probabilities over the epochs of one training.

    Example:
    >>> from keras_ncr.models.mean_predictions import MeanPredictions
    >>> train, _ = keras_ncr.datasets.digits()
    >>> model = keras_ncr.NCRModel(keras_ncr.backbones.mlp((8, 8, 1)), num_classes=10)
    >>> model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(True))
    >>> kept = MeanPredictions(num_examples=64, num_classes=10)
    >>> targets = {"label": train.labels[:64], "index": np.arange(64)}
    >>> _ = model.fit(train.images[:64], targets, verbose=0, callbacks=[kept])
    >>> kept.means().shape, bool(kept.counts.numpy().min() == 1)
    ((64, 10), True)
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
        """Returns the means, float32 `(num_examples, num_classes)`, rows sum to 1.

        The row of an example that no counted step has seen is all NaN.
        """
        rows = self.rows.numpy().astype("float32")
        sums = rows.sum(axis=1, keepdims=True)
        return np.where(sums > 0, rows / np.where(sums > 0, sums, 1), np.nan)
