"""The terms of the losses of SOP and SOP+, as functions."""

import tensorflow as tf

# What is left of a probability of which noise takes all, as in the released code.
PROBABILITY_FLOOR = 1e-4


def sop_loss(labels, logits, u, v):
    """Returns the predictions that noise explains, and SOP's loss of each example.

    Args:
        labels: Float tensor of shape `(batch, num_classes)`: one-hot labels, or
            probabilities.
        logits: Tensor of the same shape and dtype.
        u: Tensor of shape `(batch, 1)` and the same dtype.
        v: Tensor of shape `(batch, num_classes)` and the same dtype.

    Returns:
        Tensors of shapes `(batch, num_classes)`, `q` of `SOPModel`, and `(batch,)`.

    Example:
    A confident prediction that the label contradicts costs nothing, once all of the
    label is taken for noise.

    >>> from keras_ncr.models.sop_terms import sop_loss
    >>> labels, logits = tf.constant([[0., 1.]] * 2), tf.constant([[9., 0.]] * 2)
    >>> u, v = tf.constant([[0.], [1.]]), tf.constant([[0., 0.], [1., 0.]])
    >>> predictions, loss = sop_loss(labels, logits, u, v)
    >>> loss.numpy().round(2)
    array([11.,  0.], dtype=float32)
    """
    added = tf.minimum(u**2, 1.0) * labels
    removed = tf.minimum(v**2, 1.0) * (1 - labels)
    noisy = tf.nn.softmax(logits) + added - tf.stop_gradient(removed)
    noisy = tf.maximum(noisy, PROBABILITY_FLOOR)
    predictions = noisy / tf.reduce_sum(noisy, axis=1, keepdims=True)
    cross_entropy = -tf.reduce_sum(labels * tf.math.log(predictions), axis=1)
    classes = tf.one_hot(tf.argmax(logits, axis=1), logits.shape[1], dtype=logits.dtype)
    unexplained = tf.reduce_sum((classes + added - removed - labels) ** 2, axis=1)
    return predictions, cross_entropy + unexplained


def view_divergence(logits, other_logits):
    """Returns how far a second view's prediction is from the first one's: KL(p || p').

    Args:
        logits: Tensor of shape `(batch, num_classes)`, of the first view. It gets no
            gradient.
        other_logits: Tensor of the same shape and dtype, of the second view.

    Returns:
        Tensor of shape `(batch,)`: nats, at least 0.

    Example:
    >>> from keras_ncr.models.sop_terms import view_divergence
    >>> view_divergence(tf.constant([[0., 0.]]), tf.constant([[9., 9.]])).numpy()
    array([0.], dtype=float32)
    """
    log_first = tf.stop_gradient(tf.nn.log_softmax(logits))
    log_ratio = log_first - tf.nn.log_softmax(other_logits)
    return tf.reduce_sum(tf.exp(log_first) * log_ratio, axis=1)
