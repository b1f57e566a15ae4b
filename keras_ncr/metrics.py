"""Measures of training on wrong labels that need to know which are wrong."""

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable(package="keras_ncr")
class MemorizationRate(keras.metrics.Mean):
    """Share of the wrong labels that the model predicts as they are annotated.

    1 means that the noise has been learned by heart; 1 / num_classes would be chance,
    and a perfect classifier has 0. It is 0 where no label is wrong.

    Args:
        name: As in `keras.metrics.Metric`.
        dtype: As in `keras.metrics.Metric`.

    Returns:
        `result()` is a float32 scalar in [0, 1].

    Example:
    Three labels are wrong, and one of these three is predicted as annotated.

    >>> metric = keras_ncr.metrics.MemorizationRate()
    >>> annotated, clean = np.array([1, 1, 1, 0]), np.array([0, 0, 0, 0])
    >>> logits = np.array([[0., 9.], [9., 0.], [9., 0.], [9., 0.]])
    >>> metric.update_state(annotated, logits, clean)
    >>> round(float(metric.result()), 3)
    0.333
    """

    def __init__(self, name="memorization_rate", dtype=None):
        super().__init__(name=name, dtype=dtype)

    def update_state(self, labels, logits, clean_labels):
        """Counts a batch.

        Args:
            labels: Int tensor of shape `(batch,)`: the labels as annotated.
            logits: Float tensor of shape `(batch, num_classes)`; any scores will do.
            clean_labels: Int tensor of shape `(batch,)`: the true labels.
        """
        labels = tf.cast(labels, tf.int64)
        is_memorized = tf.equal(tf.argmax(logits, axis=-1), labels)
        is_noisy = tf.not_equal(labels, tf.cast(clean_labels, tf.int64))
        super().update_state(tf.cast(is_memorized, self.dtype), sample_weight=is_noisy)
