"""Bootstrapping: the model's own predictions as a part of the labels."""

import keras
import tensorflow as tf

from keras_ncr.checks import check_bool, check_positive, check_rate
from keras_ncr.losses.labels import LabelLoss


@keras.saving.register_keras_serializable(package="keras_ncr")
class SoftBootstrap(LabelLoss):
    """Returns cross-entropy with labels mixed with the model's own probabilities.

    Eq. 5 of Iscen et al. with the softmax as the bootstrap activation, for label `y`:

        p = softmax(logits),  t = softmax(logits / temperature)
        loss = (1 - weight) * CE(y, p) + weight * CE(t, p)
        CE(y, p) = -sum_c y_c * log(p_c)

    Gradients flow through the target `t` as well, as in the authors' released code. At
    temperature 1 the second term is then the entropy of `p`, and training makes the
    model surer of what it predicts.

    With `stop_gradient=True` the target is a constant. At temperature 1 the second term
    then has no gradient (`p - t` is 0), and the loss is cross-entropy with a learning
    rate `1 - weight` times as large. So set `stop_gradient` together with another
    temperature: below 1 the predictions get surer, above 1 less sure.

    Args:
        weight: Number from 0 to 1 (the paper's alpha): the share of the model's own
            prediction; 0 is cross-entropy. Defaults to 0.05: Reed et al. find 0.95 for
            1 - weight, as quoted by Ren et al. The released code of Iscen et al. has
            0.5.
        temperature: Positive float. Above 1 softens the target, below 1 sharpens it.
            Defaults to 1.0.
        stop_gradient: Bool. Whether the target is a constant for the gradient. Defaults
            to `False`, as in the released code.
        from_logits: As in `GeneralizedCrossEntropy`.
        dtype: As in `GeneralizedCrossEntropy`.
        **kwargs: As in `keras.losses.Loss`.

    Call arguments:
        y_true: As in `GeneralizedCrossEntropy`.
        y_pred: As in `GeneralizedCrossEntropy`.

    Returns:
        Mean loss of the batch; with `reduction=None` a tensor of shape `(batch,)`.

    Raises:
        ValueError: If an argument is out of its range or a shape is none of these.

    Reference:
        - [Reed et al., 2015](https://arxiv.org/abs/1412.6596)
        - [Iscen et al., 2022](https://arxiv.org/abs/2202.02200), Section 4.2.
        - [Ren et al., 2018](https://arxiv.org/abs/1803.09050)

    Example:
    The model disagrees with the first label and agrees with the second.

    >>> logits = np.array([[0., 3.], [0., 3.]])
    >>> loss = keras_ncr.losses.SoftBootstrap(weight=0.5, reduction=None)
    >>> loss(np.array([0, 1]), logits).numpy().round(2)
    array([1.62, 0.12], dtype=float32)
    """

    def __init__(
        self,
        weight: float = 0.05,
        temperature: float = 1.0,
        stop_gradient: bool = False,
        from_logits: bool = True,
        dtype: str = "float32",
        **kwargs,
    ):
        super().__init__(from_logits, dtype, **kwargs)
        self.weight = check_rate(weight, "weight")
        self.temperature = check_positive(temperature, "temperature")
        self.stop_gradient = check_bool(stop_gradient, "stop_gradient")

    def of_labels(self, labels, logits):
        targets = tf.nn.softmax(logits / self.temperature)
        if self.stop_gradient:
            targets = tf.stop_gradient(targets)
        return bootstrapped_cross_entropy(labels, logits, targets, self.weight)


@keras.saving.register_keras_serializable(package="keras_ncr")
class HardBootstrap(LabelLoss):
    """Returns cross-entropy with labels mixed with the class that the model predicts.

    Eq. 5 of Iscen et al. with argmax as the bootstrap activation, for label `y`:

        p = softmax(logits),  t = one_hot(argmax(logits))
        loss = (1 - weight) * CE(y, p) + weight * CE(t, p)
        CE(y, p) = -sum_c y_c * log(p_c)

    No gradient flows through the target. Of classes that tie, the first is predicted.

    Args:
        weight: Number from 0 to 1 (the paper's alpha): the share of the predicted
            class; 0 is cross-entropy. Defaults to 0.2: Reed et al. find 0.8 for
            1 - weight, as quoted by Ren et al.
        from_logits: As in `GeneralizedCrossEntropy`.
        dtype: As in `GeneralizedCrossEntropy`.
        **kwargs: As in `keras.losses.Loss`.

    Call arguments:
        y_true: As in `GeneralizedCrossEntropy`.
        y_pred: As in `GeneralizedCrossEntropy`.

    Returns:
        As `SoftBootstrap`.

    Raises:
        ValueError: If an argument is out of its range or a shape is none of these.

    Reference:
        - [Reed et al., 2015](https://arxiv.org/abs/1412.6596)
        - [Iscen et al., 2022](https://arxiv.org/abs/2202.02200), Section 4.2.
        - [Ren et al., 2018](https://arxiv.org/abs/1803.09050)

    Example:
    The model disagrees with the first label and agrees with the second.

    >>> logits = np.array([[0., 3.], [0., 3.]])
    >>> loss = keras_ncr.losses.HardBootstrap(weight=0.5, reduction=None)
    >>> loss(np.array([0, 1]), logits).numpy().round(2)
    array([1.55, 0.05], dtype=float32)
    """

    def __init__(
        self,
        weight: float = 0.2,
        from_logits: bool = True,
        dtype: str = "float32",
        **kwargs,
    ):
        super().__init__(from_logits, dtype, **kwargs)
        self.weight = check_rate(weight, "weight")

    def of_labels(self, labels, logits):
        predicted = tf.argmax(logits, axis=-1)
        targets = tf.one_hot(predicted, tf.shape(logits)[-1], dtype=logits.dtype)
        return bootstrapped_cross_entropy(labels, logits, targets, self.weight)


def bootstrapped_cross_entropy(labels, logits, targets, weight):
    """Returns eq. 5 per example: cross-entropy is linear in the labels."""
    labels = (1 - weight) * labels + weight * targets
    return -tf.reduce_sum(labels * tf.nn.log_softmax(logits), axis=-1)
