"""What MoPro decides by its prototypes, and the losses that it makes of them."""

import tensorflow as tf

from keras_ncr.losses.neighbors import unit_vectors

# A logit that takes no part in a softmax.
NO_LOGIT = -1e30


def cross_entropy(labels, logits):
    """Returns cross-entropy with labels that are ints, `(batch,)`."""
    return tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)


def prototype_logits(queries, prototypes, temperature):
    """Returns queries against prototypes, `(batch, num_classes)`."""
    return tf.matmul(queries, prototypes, transpose_b=True) / temperature


def instance_losses(queries, keys, queue, temperature):
    """Returns how little a query is its key's, against those of a queue, `(batch,)`."""
    own = tf.reduce_sum(queries * keys, axis=1, keepdims=True) / temperature
    others = tf.convert_to_tensor(queue.vectors)
    others = tf.matmul(queries, others, transpose_b=True) / temperature
    others = tf.where(queue.is_filled(), others, NO_LOGIT)
    logits = tf.concat([own, others], axis=1)
    return tf.reduce_logsumexp(logits, axis=1) - own[:, 0]


def corrected(labels, soft_labels, threshold):
    """Returns labels that soft labels correct, and which of them are trained on.

    A label that is not kept is of an example that is out of distribution.
    """
    num_classes = soft_labels.shape[1]
    own = tf.gather(soft_labels, labels, axis=1, batch_dims=1)
    is_sure = tf.reduce_max(soft_labels, axis=1) > threshold
    best = tf.argmax(soft_labels, axis=1, output_type=labels.dtype)
    return tf.where(is_sure, best, labels), is_sure | (own > 1 / num_classes)


def moved_prototypes(prototypes, queries, labels, is_kept, momentum):
    """Returns prototypes that have followed the kept queries one after the other."""
    # A query that is not finite, as where half precision overflows, is left out.
    is_kept &= tf.reduce_all(tf.math.is_finite(queries), axis=1)
    queries = tf.where(is_kept[:, None], queries, 0.0)
    belongs = tf.one_hot(labels, prototypes.shape[0], dtype=queries.dtype)
    belongs *= tf.cast(is_kept, queries.dtype)[:, None]  # (batch, num_classes)
    # What a query gave fades with each of its class that comes after it.
    num_later = tf.cumsum(belongs, exclusive=True, reverse=True)
    shares = belongs * (1 - momentum) * tf.pow(momentum, num_later)
    rest = tf.pow(momentum, tf.reduce_sum(belongs, axis=0))[:, None]
    moved = rest * prototypes + tf.matmul(shares, queries, transpose_a=True)
    return unit_vectors(moved)
