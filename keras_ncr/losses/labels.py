"""What the losses start from: labels as distributions, predictions as logits."""

import keras
import tensorflow as tf

from keras_ncr.checks import check_known

# Half precision holds neither the small probabilities nor the class numbers above 2048.
_DTYPES = ("float32", "float64")


def label_distributions(y_true, logits):
    """Returns labels as one distribution over the classes per example.

    A number that is none of the classes becomes a row of NaN, and so does its loss: a
    row of zeros would drop the example in silence.

    Args:
        y_true: Float tensor of shape `(batch,)` or `(batch, 1)`, class numbers, or of
            shape `(batch, num_classes)`, one-hot labels or probabilities.
        logits: Tensor of shape `(batch, num_classes)`.

    Returns:
        Tensor of shape `(batch, num_classes)` and the dtype of `y_true`.

    Raises:
        ValueError: If the shapes are none of these.

    Example:
    >>> from keras_ncr.losses.labels import label_distributions
    >>> label_distributions(tf.constant([1., 0.]), tf.zeros((2, 3))).numpy()
    array([[0., 1., 0.],
           [1., 0., 0.]], dtype=float32)
    """
    y_true = tf.convert_to_tensor(y_true)  # Keras passes a list on as a list.
    num_classes = logits.shape[-1]
    fit = y_true.shape[:1].is_compatible_with(logits.shape[:1])
    fit = fit and logits.shape.rank == 2 and num_classes is not None
    if fit and y_true.shape.rank == 2 and y_true.shape[1] == num_classes:
        return y_true
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


def as_logits(y_pred, from_logits):
    """Returns predictions as logits, whose softmax they are.

    Keras clips probabilities before it takes their logarithm, and a clipped one has no
    gradient. Here Keras' epsilon is added to all: the gradient is finite at
    probability 0, and never lost.

    Args:
        y_pred: Tensor of shape `(batch, num_classes)`.
        from_logits: Bool. Whether `y_pred` holds logits, and not probabilities.

    Returns:
        Tensor of the same shape and dtype.

    Example:
    >>> from keras_ncr.losses.labels import as_logits
    >>> logits = as_logits(tf.constant([[0.25, 0.75]]), from_logits=False)
    >>> tf.nn.softmax(logits).numpy().round(4)
    array([[0.25, 0.75]], dtype=float32)
    """
    y_pred = tf.convert_to_tensor(y_pred)
    return y_pred if from_logits else tf.math.log(y_pred + keras.config.epsilon())


def check_dtype(dtype):
    """Returns the dtype in which a loss is computed, or raises.

    Args:
        dtype: String.

    Returns:
        `dtype`.

    Raises:
        ValueError: If it is neither `"float32"` nor `"float64"`.

    Example:
    >>> from keras_ncr.losses.labels import check_dtype
    >>> check_dtype("float32")
    'float32'
    """
    return check_known(dtype, _DTYPES, "dtype")
