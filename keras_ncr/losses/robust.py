"""Losses that bound what one wrong label can cost: generalized and symmetric."""

import keras
import tensorflow as tf

from keras_ncr.checks import check_positive
from keras_ncr.losses.labels import LabelLoss, log_of_label


@keras.saving.register_keras_serializable(package="keras_ncr")
class GeneralizedCrossEntropy(LabelLoss):
    """Returns a loss between cross-entropy and the absolute error.

    With `p` the softmax of the logits and `y` the label, one-hot or soft:

        loss = sum_c y_c * (1 - p_c**q) / q

    It approaches cross-entropy as `q` goes to 0; at `q = 1` and for one-hot labels it
    is `1 - p_y`, half the sum of absolute errors. It is at most `1 / q`, and its
    gradient is `p_y**q` times that of cross-entropy: examples that the model finds
    improbable, wrong labels among them, count less.

    This is the plain loss. The truncated one of the same paper, in which examples whose
    label is too improbable cost a constant and have no gradient, is not here.

    Keras has `CategoricalGeneralizedCrossEntropy`, on probabilities only, whose
    gradient is infinite where the label's probability is 0. This one is computed from
    the logarithm of the softmax, and value and gradient are finite for all logits.

    Args:
        q: Number above 0 and at most 1. Defaults to 0.7, the value of Zhang & Sabuncu.
        from_logits: Bool. Whether the predictions are logits, and not probabilities.
            Defaults to `True`: the models of this package return logits.
        dtype: `"float32"` or `"float64"`: in what to compute, whatever the dtype
            policy. Defaults to `"float32"`.
        **kwargs: As in `keras.losses.Loss`.

    Call arguments:
        y_true: Class numbers of shape `(batch,)` or `(batch, 1)`, or one-hot labels or
            probabilities of shape `(batch, num_classes)`.
        y_pred: Tensor of shape `(batch, num_classes)`.

    Returns:
        Mean loss of the batch; with `reduction=None` a tensor of shape `(batch,)`.

    Raises:
        ValueError: If an argument is out of its range or a shape is none of these.

    Reference:
        - [Zhang & Sabuncu, 2018](https://arxiv.org/abs/1805.07836)

    Example:
    However improbable the label, it costs 1 / 0.7 at most.

    >>> logits = np.array([[0., 0.], [0., 9.], [0., 1000.]])
    >>> loss = keras_ncr.losses.GeneralizedCrossEntropy(reduction=None)
    >>> loss(np.array([0, 0, 0]), logits).numpy().round(3)
    array([0.549, 1.426, 1.429], dtype=float32)
    """

    def __init__(
        self, q: float = 0.7, from_logits: bool = True, dtype: str = "float32", **kwargs
    ):
        super().__init__(from_logits, dtype, **kwargs)
        self.q = check_positive(q, "q")
        if self.q > 1:
            raise ValueError(
                f"`q` must be above 0 and at most 1. Received: q={q!r}. Near 0 is "
                "cross-entropy, 1 the absolute error."
            )

    def of_labels(self, labels, logits):
        # 1 - p**q, right also where q is so small that p**q rounds to 1.
        one_minus_power = -tf.math.expm1(self.q * tf.nn.log_softmax(logits))
        return tf.reduce_sum(labels * one_minus_power, axis=-1) / self.q


@keras.saving.register_keras_serializable(package="keras_ncr")
class SymmetricCrossEntropy(LabelLoss):
    """Returns cross-entropy plus cross-entropy with label and prediction exchanged.

    With `p` the softmax of the logits and `y` the label, one-hot or soft:

        CE  = -sum_c y_c * log(p_c)
        RCE = -sum_c p_c * log(y_c),  log(y_c) at least log_zero
        loss = cross_entropy_weight * CE + reverse_weight * RCE

    For one-hot labels `RCE = -log_zero * (1 - p_y)`: the absolute error, which bears
    wrong labels better than cross-entropy but learns slowly alone.

    Args:
        cross_entropy_weight: Positive float (alpha in Wang et al.). Defaults to 0.1,
            their choice for CIFAR-10; for CIFAR-100 it is 6.0.
        reverse_weight: Positive float (their beta). Defaults to 1.0, their choice for
            CIFAR-10; for CIFAR-100 it is 0.1.
        log_zero: Negative float (their A): the least logarithm of a label. Defaults to
            -4.0, the value quoted from their paper; their released code has log(1e-4),
            which is -9.2.
        from_logits: As in `GeneralizedCrossEntropy`.
        dtype: As in `GeneralizedCrossEntropy`.
        **kwargs: As in `keras.losses.Loss`.

    Call arguments:
        y_true: As in `GeneralizedCrossEntropy`.
        y_pred: As in `GeneralizedCrossEntropy`.

    Returns:
        As `GeneralizedCrossEntropy`.

    Raises:
        ValueError: If an argument is out of its range or a shape is none of these.

    Reference:
        - [Wang et al., 2019](https://arxiv.org/abs/1908.06112)

    Example:
    >>> logits = np.array([[0., 3.], [0., 3.]])
    >>> loss = keras_ncr.losses.SymmetricCrossEntropy(reduction=None)
    >>> loss(np.array([0, 1]), logits).numpy().round(2)
    array([4.12, 0.19], dtype=float32)
    """

    def __init__(
        self,
        cross_entropy_weight: float = 0.1,
        reverse_weight: float = 1.0,
        log_zero: float = -4.0,
        from_logits: bool = True,
        dtype: str = "float32",
        **kwargs,
    ):
        super().__init__(from_logits, dtype, **kwargs)
        self.cross_entropy_weight = check_positive(
            cross_entropy_weight, "cross_entropy_weight"
        )
        self.reverse_weight = check_positive(reverse_weight, "reverse_weight")
        self.log_zero = check_log_zero(log_zero)

    def of_labels(self, labels, logits):
        log_labels = tf.maximum(log_of_label(labels, self.log_zero), self.log_zero)
        cross_entropy = -tf.reduce_sum(labels * tf.nn.log_softmax(logits), axis=-1)
        reverse = -tf.reduce_sum(tf.nn.softmax(logits) * log_labels, axis=-1)
        return self.cross_entropy_weight * cross_entropy + self.reverse_weight * reverse


def check_log_zero(log_zero):
    """Returns `log_zero` as a float, or raises."""
    try:
        return -check_positive(-log_zero, "log_zero")
    except (TypeError, ValueError):
        raise ValueError(
            "`log_zero` must be a negative, finite number. Received: "
            f"log_zero={log_zero!r}. It stands for the logarithm of 0; Wang et al. "
            "take -4."
        ) from None
