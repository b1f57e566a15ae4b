"""L_DMI: a loss that wrong labels, mixed up by whatever rule, leave as it is."""

import keras
import numpy as np
import tensorflow as tf

from keras_ncr.distribution import replicas
from keras_ncr.losses.labels import LabelLoss, label_distributions


@keras.saving.register_keras_serializable(package="keras_ncr")
class DeterminantMutualInformation(LabelLoss):
    """Returns how little labels and predictions tell about each other (L_DMI).

    With the labels `Y` of a batch, one-hot, and the predictions `P`, both of shape
    `(batch, num_classes)`:

        U = Y^T P / batch,   loss = -log(|det U|)

    Wrong labels that depend on the true class alone multiply `U` by their transition
    matrix: the loss changes by a constant, and its gradient not at all. For the same
    reason it cannot tell classes from their permutation: it is for a model that was
    trained already, by cross-entropy for example, and then a learning rate that is far
    smaller. `keras_ncr.models.LDMIModel` has both stages.

    The loss is one number of the batch, over all replicas; `reduction=None` returns it
    once for each example. Sample weights weigh the rows of `Y`. It wants batches of
    many more examples than there are classes.

    It differs from the authors' code in that: the logarithm is added up, so that it
    neither overflows nor vanishes with many classes, and 0.001 is not added to the
    determinant; classes that a batch does not hold are left out of the determinant,
    where theirs is 0; a batch whose determinant is 0 all the same has loss and gradient
    0. `U` is divided by the batch size, as in their code for Fashion-MNIST alone, which
    adds a constant.

    Args:
        from_logits: As in `GeneralizedCrossEntropy`.
        dtype: As in `GeneralizedCrossEntropy`.
        **kwargs: As in `keras.losses.Loss`.

    Call arguments:
        y_true: As in `GeneralizedCrossEntropy`.
        y_pred: As in `GeneralizedCrossEntropy`.

    Returns:
        The loss of the batch; with `reduction=None` a tensor of shape `(batch,)`.

    Raises:
        ValueError: If an argument is out of its range or a shape is none of these.
        tf.errors.InvalidArgumentError: If all examples of a batch have one label.

    Reference:
        - [Xu et al., 2019](https://arxiv.org/abs/1909.03388)

    Example:
    Labels and predictions agree; exchanging all labels makes no difference.

    >>> logits = np.array([[3., 0.], [3., 0.], [0., 3.]])
    >>> loss = keras_ncr.losses.DeterminantMutualInformation()
    >>> round(float(loss(np.array([0, 0, 1]), logits)), 3)
    1.604
    >>> round(float(loss(np.array([1, 1, 0]), logits)), 3)
    1.604
    """

    def __init__(self, from_logits: bool = True, dtype: str = "float32", **kwargs):
        super().__init__(from_logits, dtype, **kwargs)

    def __call__(self, y_true, y_pred, sample_weight=None):
        if sample_weight is not None:
            labels = tf.cast(tf.convert_to_tensor(y_true), self.dtype)
            labels = label_distributions(labels, tf.convert_to_tensor(y_pred))
            weights = tf.cast(tf.convert_to_tensor(sample_weight), self.dtype)
            y_true = labels * tf.reshape(weights, [-1, 1])
        return super().__call__(y_true, y_pred)

    def of_labels(self, labels, logits):
        loss, num_present = mutual_information_loss(labels, logits)
        message = (
            "A batch must hold examples of two classes at least, of which L_DMI tells "
            "how they are predicted. Shuffle, or make batches larger. Received classes:"
        )
        assertion = tf.debugging.Assert(num_present > 1, [message, num_present])
        with tf.control_dependencies([assertion]):
            return tf.fill(tf.shape(logits)[:1], loss)


def mutual_information_loss(labels, logits):
    """Returns L_DMI of the global batch, and how many classes its labels have."""
    predictions = tf.nn.softmax(logits)
    if replicas.has_other_replicas():
        labels = replicas.gather_replicas(labels)
        predictions = replicas.gather_replicas(predictions)
    size = tf.cast(tf.shape(labels)[0], predictions.dtype)
    joint = tf.matmul(labels, predictions, transpose_a=True) / size
    identity = tf.eye(tf.shape(joint)[0], dtype=joint.dtype)
    is_present = tf.reduce_any(labels != 0, axis=0)
    joint = tf.where(is_present[:, None] & is_present, joint, identity)
    num_present = tf.reduce_sum(tf.cast(is_present, "int32"))
    return -log_determinant(joint), num_present


@tf.custom_gradient
def log_determinant(matrix):
    """Returns log |det|, 0 without a gradient where rounding decides it."""
    # TensorFlow's `slogdet` does not compile with XLA, and what QR has does.
    q, r = tf.linalg.qr(matrix)
    pivots = tf.abs(tf.linalg.diag_part(r))
    smallest = 8 * np.finfo(matrix.dtype.as_numpy_dtype).eps
    is_regular = tf.reduce_min(pivots) > smallest * tf.reduce_max(pivots)
    pivots = tf.where(is_regular, pivots, tf.ones_like(pivots))
    r = tf.where(is_regular, r, tf.eye(tf.shape(r)[0], dtype=r.dtype))

    def gradient(upstream):
        inverse = tf.linalg.triangular_solve(r, tf.transpose(q), lower=False)
        upstream = tf.where(is_regular, upstream, 0)
        return upstream * tf.transpose(inverse)

    return tf.reduce_sum(tf.math.log(pivots)), gradient
