"""The Jensen-Shannon divergence of labels and predictions, of one view or several."""

import math

import keras
import tensorflow as tf

from keras_ncr.checks import check_integer, check_positive
from keras_ncr.losses.labels import LabelLoss, log_of_label


@keras.saving.register_keras_serializable(package="keras_ncr")
class JensenShannon(LabelLoss):
    """Returns the generalized Jensen-Shannon divergence of labels and predictions.

    With `w = label_weight`, the label `y` of an example, one-hot or soft, and the
    predictions `p_1, ..., p_M` for its `M = num_views` views:

        m = w * y + sum_i (1 - w) / M * p_i
        Z = -(1 - w) * log(1 - w)
        loss = (w * KL(y || m) + sum_i (1 - w) / M * KL(p_i || m)) / Z

    With one view that is JS, with several GJS, which also asks the views to agree. For
    one-hot labels and one view it approaches cross-entropy as `w` goes to 0, and
    `1 - p_y`, half the sum of absolute errors, as `w` goes to 1. No example costs more
    than `1 + w * log(w) / ((1 - w) * log(1 - w))` then, 2 at `w = 0.5`. Larger weights
    bear wrong labels better and learn more slowly.

    The views of an example are neighboring rows of the batch: rows 2i and 2i + 1 are
    the two views of example i. The loss of an example stands in each of its rows.
    Should the labels of the views differ, as after mixup, then their mean is the label.
    A batch without views, as in evaluation, needs `num_views=1`.

    All is computed from logarithms of the softmax: value and gradient are finite for
    all logits.

    Args:
        label_weight: Number between 0 and 1, both excluded (pi_1 in Englesson &
            Azizpour). Defaults to 0.5, their choice for GJS on CIFAR-10 without noise;
            with noise they take 0.1 to 0.9, depending on the noise.
        num_views: Int, at least 1: the views of each example. They use 2. Defaults
            to 1.
        from_logits: As in `GeneralizedCrossEntropy`.
        dtype: As in `GeneralizedCrossEntropy`.
        **kwargs: As in `keras.losses.Loss`.

    Call arguments:
        y_true: As in `GeneralizedCrossEntropy`.
        y_pred: As in `GeneralizedCrossEntropy`; `num_views` divides `batch`.

    Returns:
        Mean loss of the batch; with `reduction=None` a tensor of shape `(batch,)`.

    Raises:
        ValueError: If an argument is out of its range or a shape is none of these.

    Reference:
        - [Englesson & Azizpour, 2021](https://arxiv.org/abs/2105.04522)

    Example:
    Two views that agree with each other and the label, and two that do not agree.

    >>> logits = np.array([[0., 5.], [0., 5.], [0., 5.], [5., 0.]])
    >>> loss = keras_ncr.losses.JensenShannon(num_views=2, reduction=None)
    >>> loss(np.array([1, 1, 1, 1]), logits).numpy().round(2)
    array([0.01, 0.01, 1.56, 1.56], dtype=float32)
    """

    def __init__(
        self,
        label_weight: float = 0.5,
        num_views: int = 1,
        from_logits: bool = True,
        dtype: str = "float32",
        **kwargs,
    ):
        super().__init__(from_logits, dtype, **kwargs)
        self.label_weight = check_positive(label_weight, "label_weight")
        if self.label_weight >= 1:
            raise ValueError(
                "`label_weight` must be above 0 and below 1. Received: "
                f"label_weight={label_weight!r}. Near 0 is cross-entropy, near 1 the "
                "absolute error."
            )
        self.num_views = check_integer(num_views, "num_views", minimum=1)

    def of_labels(self, labels, logits):
        label = tf.reduce_mean(in_views(labels, self.num_views), axis=1)
        log_views = tf.nn.log_softmax(in_views(logits, self.num_views))
        loss = jensen_shannon(label, log_views, self.label_weight)
        return tf.repeat(loss, self.num_views)


def jensen_shannon(label, log_views, label_weight):
    """Returns the loss of `log_views`, `(examples, num_views, num_classes)`."""
    num_views = log_views.shape[1]
    view_weight = (1 - label_weight) / num_views
    log_terms = tf.concat(
        [
            math.log(label_weight) + log_of_label(label, label.dtype.min)[:, None],
            math.log(view_weight) + log_views,
        ],
        axis=1,
    )
    log_mean = tf.reduce_logsumexp(log_terms, axis=1)  # (examples, num_classes)
    to_label = tf.reduce_sum(tf.math.xlogy(label, label) - label * log_mean, axis=-1)
    log_ratios = log_views - log_mean[:, None]
    to_views = tf.reduce_sum(tf.exp(log_views) * log_ratios, axis=[1, 2])
    # Without it the loss would vanish as label_weight goes to 0 or to 1.
    scale = -(1 - label_weight) * math.log1p(-label_weight)
    return (label_weight * to_label + view_weight * to_views) / scale


def in_views(rows, num_views):
    """Returns the rows of a batch as `(batch / num_views, num_views, dim)`."""
    message = (
        "The batch must hold `num_views` rows for each example, one after the other: "
        f"its size must be a multiple of num_views={num_views}. Received: batch="
    )
    batch = rows.shape[0]
    if batch is not None and batch % num_views:
        raise ValueError(
            f"{message}{batch}. Make the views in the pipeline, or pass num_views=1."
        )
    batch = tf.shape(rows)[0]
    assertion = tf.debugging.Assert(batch % num_views == 0, [message, batch])
    with tf.control_dependencies([assertion]):
        return tf.reshape(rows, (-1, num_views, rows.shape[1]))
