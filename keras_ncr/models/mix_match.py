"""What DivideMix has of MixMatch: sharpened targets, and a loss on mixtures."""

import tensorflow as tf

from keras_ncr.distribution import replicas
from keras_ncr.models.views import by_example

# Less is no probability to take a logarithm of, or to divide by.
SMALLEST = 1e-7


def one_hot(labels, num_classes):
    """Returns labels as float32 rows of class probabilities.

    Args:
        labels: Class numbers of shape `(batch,)` or `(batch, 1)`, or one-hot labels of
            shape `(batch, num_classes)`.
        num_classes: Int, at least 2.

    Returns:
        Float32 tensor of shape `(batch, num_classes)`.

    Example:
    >>> from keras_ncr.models.mix_match import one_hot
    >>> one_hot(np.array([1, 0]), num_classes=2).numpy()
    array([[0., 1.],
           [1., 0.]], dtype=float32)
    """
    labels = tf.convert_to_tensor(labels)
    if labels.shape.rank == 2 and labels.shape[1] == num_classes:
        return tf.cast(labels, "float32")
    return tf.one_hot(tf.cast(tf.reshape(labels, [-1]), "int32"), num_classes)


def sharpen(probabilities, temperature):
    """Returns `p**(1 / T)`, scaled so that each row sums to 1.

    Args:
        probabilities: Float tensor of shape `(batch, num_classes)`.
        temperature: Positive float (T). Below 1 it makes the likely likelier.

    Returns:
        Float tensor of the same shape.

    Example:
    >>> from keras_ncr.models.mix_match import sharpen
    >>> sharpen(np.array([[0.75, 0.25]]), temperature=0.5).numpy()
    array([[0.9, 0.1]])
    """
    probabilities = tf.convert_to_tensor(probabilities)
    # With the largest at 1 no power underflows in all classes.
    ratios = probabilities / tf.reduce_max(probabilities, axis=1, keepdims=True)
    powers = ratios ** (1 / temperature)
    return powers / tf.reduce_sum(powers, axis=1, keepdims=True)


def mean_of_views(predictions, num_views):
    """Returns for each row the mean over all views of its example.

    Args:
        predictions: Tensor of shape `(batch, num_classes)`, views in neighboring rows.
        num_views: Int, at least 1.

    Returns:
        Tensor of the same shape.

    Raises:
        ValueError: As `keras_ncr.models.views.by_example`.

    Example:
    >>> from keras_ncr.models.mix_match import mean_of_views
    >>> mean_of_views(np.array([[1.0, 0.0], [0.0, 1.0]]), num_views=2).numpy()
    array([[0.5, 0.5],
           [0.5, 0.5]])
    """
    means = tf.reduce_mean(by_example(predictions, num_views), axis=1)
    return tf.repeat(means, num_views, axis=0)


def entropy(logits):
    """Returns the entropy of predictions.

    Args:
        logits: Float tensor of shape `(batch, num_classes)`, before softmax.

    Returns:
        Float tensor of shape `(batch,)`, in nats, at least 0.

    Example:
    >>> from keras_ncr.models.mix_match import entropy
    >>> entropy(tf.zeros([1, 2])).numpy().round(4)
    array([0.6931], dtype=float32)
    """
    return -tf.reduce_sum(tf.nn.softmax(logits) * tf.nn.log_softmax(logits), axis=1)


def mix_match_loss(
    logits, targets, is_labeled, unlabeled_weight=1.0, sample_weight=None
):
    """Returns what MixMatch minimizes, and DivideMix with it.

    Formula, with `p = softmax(logits)` and `pi_c = 1 / num_classes`:

        mean over labeled rows of    - sum_c t_c * log(p_c)
            + unlabeled_weight * mean over the others of    mean_c (p_c - t_c)**2
            + sum_c pi_c * log(pi_c / mean over all rows of p_c)

    Where there is no labeled row, or no other one, its term is 0. Under replicas means
    are those over the global batch.

    Args:
        logits: Float32 tensor of shape `(batch, num_classes)`.
        targets: Float32 tensor of shape `(batch, num_classes)` (t).
        is_labeled: Bools of shape `(batch,)`.
        unlabeled_weight: Float, or scalar tensor. Defaults to 1.0.
        sample_weight: Optional numbers, one per row: a factor of its first two terms.

    Returns:
        Float32 scalar; under replicas, this one's share of it.

    Reference:
        - [Li et al., 2020](https://arxiv.org/abs/2002.07394), Section 3.2.

    Example:
    >>> from keras_ncr.models.mix_match import mix_match_loss
    >>> targets = tf.constant([[1.0, 0.0], [0.5, 0.5]])
    >>> loss = mix_match_loss(tf.zeros([2, 2]), targets, tf.constant([True, False]))
    >>> round(float(loss), 4)
    0.6931
    """
    probabilities = tf.nn.softmax(logits)
    labeled = tf.nn.softmax_cross_entropy_with_logits(targets, logits)
    unlabeled = tf.reduce_mean(tf.square(probabilities - targets), axis=1)
    if sample_weight is not None:
        factors = tf.reshape(tf.cast(sample_weight, "float32"), [-1])
        labeled, unlabeled = factors * labeled, factors * unlabeled
    return (
        share_of_mean(labeled, is_labeled)
        + unlabeled_weight * share_of_mean(unlabeled, ~is_labeled)
        + imbalance(probabilities)
    )


def share_of_mean(values, is_counted):
    """Returns this replica's share of a mean over some rows of the global batch.

    Args:
        values: Float32 tensor of shape `(batch,)`.
        is_counted: Bools of shape `(batch,)`.

    Returns:
        Float32 scalar, 0 if no row counts.

    Example:
    >>> from keras_ncr.models.mix_match import share_of_mean
    >>> is_counted = tf.constant([True, True, False])
    >>> share_of_mean(tf.constant([1.0, 2.0, 6.0]), is_counted).numpy()
    np.float32(1.5)
    """
    total = tf.reduce_sum(tf.where(is_counted, values, 0.0))
    count = sum_of_replicas(tf.reduce_sum(tf.cast(is_counted, values.dtype)))
    return total / tf.maximum(count, 1.0)


def imbalance(probabilities):
    """Returns the divergence of the mean prediction from that of all classes alike.

    DivideMix and SOP+ have this term. The mean is over the global batch.

    Args:
        probabilities: Float32 tensor of shape `(batch, num_classes)`.

    Returns:
        Float32 scalar, at least 0; under replicas, this one's share of it.

    Example:
    >>> from keras_ncr.models.mix_match import imbalance
    >>> imbalance(tf.constant([[0.9, 0.1], [0.1, 0.9]])).numpy().round(4)
    np.float32(0.0)
    """
    size = sum_of_replicas(tf.cast(tf.shape(probabilities)[0], "float32"))
    mean = sum_of_replicas(tf.reduce_sum(probabilities, axis=0)) / size
    even = 1 / probabilities.shape[1]
    divergence = even * tf.reduce_sum(tf.math.log(even / tf.maximum(mean, SMALLEST)))
    # Every replica has the whole term.
    replicas = tf.distribute.get_replica_context()
    return divergence / replicas.num_replicas_in_sync


def sum_of_replicas(local):
    """Returns the sum of what all replicas have here. Gradients flow back.

    Args:
        local: Tensor.

    Returns:
        Tensor of the same shape.

    Example:
    >>> from keras_ncr.models.mix_match import sum_of_replicas
    >>> sum_of_replicas(tf.constant(2.0)).numpy()
    np.float32(2.0)
    """
    if not replicas.has_other_replicas():
        return local
    return tf.reduce_sum(replicas.gather_replicas(local[None]), axis=0)
