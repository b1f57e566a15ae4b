"""Measures how many of the wrong labels a model has memorized."""

import keras
import tensorflow as tf

from keras_ncr.checks import check_integer
from keras_ncr.models.fitting import check_carries


@keras.saving.register_keras_serializable(package="keras_ncr")
class MemorizationRate(keras.metrics.Mean):
    """Share of the wrong labels that the model predicts as they are annotated.

    1 means that all of the noise has been learned; chance is 1 / num_classes, and a
    perfect classifier has 0. It is 0 where no label is wrong.

    Args:
        name: As in `keras.metrics.Metric`.
        dtype: As in `keras.metrics.Metric`.

    Returns:
        `result()` is a float32 scalar in [0, 1].

    Example:
    Three labels are wrong, and one of these three is predicted as annotated.

    >>> metric = keras_ncr.models.MemorizationRate()
    >>> annotated, clean = np.array([1, 1, 1, 0]), np.array([0, 0, 0, 0])
    >>> logits = np.array([[0., 9.], [9., 0.], [9., 0.], [9., 0.]])
    >>> metric.update_state(annotated, logits, clean)
    >>> round(float(metric.result()), 3)
    0.333
    """

    def __init__(self, name: str = "memorization_rate", dtype=None):
        super().__init__(name=name, dtype=dtype)

    def update_state(self, labels, logits, clean_labels):
        """Counts a batch: labels as annotated, any scores, and true labels."""
        labels = tf.cast(labels, tf.int64)
        is_memorized = tf.equal(tf.argmax(logits, axis=-1), labels)
        is_noisy = tf.not_equal(labels, tf.cast(clean_labels, tf.int64))
        super().update_state(tf.cast(is_memorized, self.dtype), sample_weight=is_noisy)


class MemorizationMonitor(keras.callbacks.Callback):
    """Adds `memorization_rate` to the logs of every epoch.

    It runs the model over the training images once more, as in evaluation, at the cost
    of one forward pass per epoch. `History`, `CSVLogger` and TensorBoard record the
    value where they come later in the list of callbacks.

    Args:
        dataset: `tf.data.Dataset` of batches `(inputs, {"label": ..., "clean_label":
            ...})`, the annotated and the true labels, ints of shape `(batch,)`.
        every: Int. Epochs between two looks. The value is repeated in between, since
            loggers want the same keys in every epoch. Defaults to 1.

    Example:
    >>> images = np.zeros((4, 2), "float32")
    >>> labels = {"label": np.array([0, 1, 0, 1]), "clean_label": np.zeros(4, int)}
    >>> dataset = tf.data.Dataset.from_tensor_slices((images, labels)).batch(2)
    >>> monitor = keras_ncr.models.MemorizationMonitor(dataset)
    """

    def __init__(self, dataset: tf.data.Dataset, every: int = 1):
        super().__init__()
        check_carries(dataset, "clean_label")
        self.dataset = dataset
        self.every = check_integer(every, "every", minimum=1)
        self.metric = MemorizationRate()

    def on_train_begin(self, logs=None):
        self.has_looked = False

    def on_epoch_end(self, epoch, logs=None):
        is_last = epoch + 1 == self.params.get("epochs")
        if epoch % self.every == 0 or is_last or not self.has_looked:
            self.look()
        if logs is not None:
            logs[self.metric.name] = float(self.metric.result())

    def look(self):
        """Computes the rate anew, over the whole dataset."""
        self.has_looked = True
        self.metric.reset_state()
        for inputs, labels in self.dataset:
            logits = self.model.predict_on_batch(inputs)
            # Under a strategy every replica predicts the whole batch.
            logits = logits[: len(labels["label"])]
            self.metric.update_state(labels["label"], logits, labels["clean_label"])
