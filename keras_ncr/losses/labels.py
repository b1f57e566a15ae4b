"""What the losses start from: labels as distributions, predictions as logits."""

import keras
import tensorflow as tf

from keras_ncr.checks import check_bool, check_known, plain_arguments

# Half precision holds neither the small probabilities nor the class numbers above 2048.
_DTYPES = ("float32", "float64")


@keras.saving.register_keras_serializable(package="keras_ncr")
class LabelLoss(keras.losses.Loss):
    """Base of the losses that compare labels with logits, by `of_labels`."""

    def __init__(self, from_logits=True, dtype="float32", **kwargs):
        super().__init__(dtype=check_known(dtype, _DTYPES, "dtype"), **kwargs)
        self.from_logits = check_bool(from_logits, "from_logits")

    def call(self, y_true, y_pred):
        logits = tf.convert_to_tensor(y_pred)
        if not self.from_logits:
            logits = tf.math.log(logits + keras.config.epsilon())
        return self.of_labels(label_distributions(y_true, logits), logits)

    def of_labels(self, labels, logits):
        """Returns the loss per example; both have shape `(batch, num_classes)`."""
        raise NotImplementedError

    def get_config(self):
        return {**super().get_config(), **plain_arguments(self, LabelLoss)}


def label_distributions(y_true, logits):
    """Returns labels as one distribution over the classes per example."""
    # A number that is none of the classes becomes a row of NaN, and so does its loss: a
    # row of zeros would drop the example in silence.
    y_true = tf.convert_to_tensor(y_true)  # Keras passes a list on as a list.
    num_classes = logits.shape[-1]
    fit = y_true.shape[:1].is_compatible_with(logits.shape[:1])
    fit = fit and logits.shape.rank == 2 and num_classes is not None
    if fit and y_true.shape.rank == 2 and y_true.shape[1] in (None, num_classes):
        return tf.ensure_shape(y_true, (None, num_classes))
    is_column = y_true.shape.rank == 2 and y_true.shape[1] == 1
    if not fit or not (y_true.shape.rank == 1 or is_column):
        raise ValueError(
            "`y_pred` must have shape (batch, num_classes), and `y_true` (batch,), "
            "(batch, 1) or (batch, num_classes). Received: "
            f"y_pred.shape={logits.shape}, y_true.shape={y_true.shape}."
        )
    classes = tf.range(num_classes, dtype=y_true.dtype)
    is_label = tf.reshape(y_true, (-1, 1)) == classes  # (batch, num_classes)
    is_known = tf.reduce_any(is_label, axis=1, keepdims=True)
    nan = tf.constant(float("nan"), y_true.dtype)
    return tf.where(is_known, tf.cast(is_label, y_true.dtype), nan)


def log_of_label(labels, log_zero):
    """Returns logarithms of labels, those of zeros as given, without an infinity."""
    is_zero = labels == 0
    log_labels = tf.math.log(tf.where(is_zero, tf.ones_like(labels), labels))
    return tf.where(is_zero, tf.cast(log_zero, labels.dtype), log_labels)
