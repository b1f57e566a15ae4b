"""Sharpens targets, and returns the loss on mixtures, as MixMatch and DivideMix do."""

import tensorflow as tf

from keras_ncr.distribution import replicas
from keras_ncr.distribution.targets import factors_of
from keras_ncr.models.views import by_example

# Less is no probability to take a logarithm of, or to divide by.
SMALLEST = 1e-7


def sharpen(probabilities, temperature):
    """Returns rows of `p**(1 / T)`, each scaled to sum 1."""
    probabilities = tf.convert_to_tensor(probabilities)
    # With the largest at 1 no power underflows in all classes.
    ratios = probabilities / tf.reduce_max(probabilities, axis=1, keepdims=True)
    powers = ratios ** (1 / temperature)
    return powers / tf.reduce_sum(powers, axis=1, keepdims=True)


def mean_of_views(predictions, num_views):
    """Returns for each row the mean over all views of its example."""
    means = tf.reduce_mean(by_example(predictions, num_views), axis=1)
    return tf.repeat(means, num_views, axis=0)


def entropy(logits):
    """Returns the entropy of predictions in nats: a tensor `(batch,)`."""
    return -tf.reduce_sum(tf.nn.softmax(logits) * tf.nn.log_softmax(logits), axis=1)


def mix_match_loss(
    logits, targets, is_labeled, unlabeled_weight=1.0, sample_weight=None
):
    """Returns what MixMatch minimizes, and DivideMix with it: a float32 scalar."""
    probabilities = tf.nn.softmax(logits)
    labeled = tf.nn.softmax_cross_entropy_with_logits(targets, logits)
    unlabeled = tf.reduce_mean(tf.square(probabilities - targets), axis=1)
    factors = factors_of(sample_weight)
    return (
        share_of_mean(factors * labeled, is_labeled)
        + unlabeled_weight * share_of_mean(factors * unlabeled, ~is_labeled)
        + imbalance(probabilities)
    )


def share_of_mean(values, is_counted):
    """Returns this replica's share of a mean over the rows that count; 0 of none."""
    total = tf.reduce_sum(tf.where(is_counted, values, 0.0))
    count = sum_of_replicas(tf.reduce_sum(tf.cast(is_counted, values.dtype)))
    return total / tf.maximum(count, 1.0)


def imbalance(probabilities):
    """Returns the divergence of the mean prediction from that of all classes alike."""
    # DivideMix and SOP+ have this term. The mean is over the global batch; under
    # replicas it is this one's share of the term.
    size = sum_of_replicas(tf.cast(tf.shape(probabilities)[0], "float32"))
    mean = sum_of_replicas(tf.reduce_sum(probabilities, axis=0)) / size
    even = 1 / probabilities.shape[1]
    divergence = even * tf.reduce_sum(tf.math.log(even / tf.maximum(mean, SMALLEST)))
    # Every replica has the whole term.
    return divergence / tf.distribute.get_replica_context().num_replicas_in_sync


def sum_of_replicas(local):
    """Returns the sum of what all replicas have here. Gradients flow back."""
    if not replicas.has_other_replicas():
        return local
    return tf.reduce_sum(replicas.gather_replicas(local[None]), axis=0)
