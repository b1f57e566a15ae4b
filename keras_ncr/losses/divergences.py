"""How far a prediction is from the mixture of its neighbors' predictions.

The gradients are written out since they are far shorter than their parts. A mixture is
a weighted sum of probabilities, so its entries add up to the sum of the weights, by
which it is divided. A softmax takes out of its gradient what all classes have in
common.
"""

import tensorflow as tf


@tf.custom_gradient
def self_to_neighbors(mixture, own):
    """Returns KL(own || q), with q the normalized mixture: eq. 3 as printed.

    What is left of the gradient with respect to the mixture is
    `(1 - own / q) / sum(mixture)`.
    """
    targets, total = normalized(mixture)
    ratio = own / targets
    log_ratio = tf.math.log(ratio)
    loss = tf.nn.relu(tf.reduce_sum(own * log_ratio, axis=1))

    def gradient(upstream):
        upstream = upstream[:, None]
        scale = upstream / total
        return scale - scale * ratio, upstream * log_ratio

    return loss, gradient


@tf.custom_gradient
def neighbors_to_self(mixture, own):
    """Returns KL(q || own), the direction of the authors' released code.

    As in `self_to_neighbors`; what is left for the mixture is
    `(log(q / own) - loss) / sum(mixture)`.
    """
    targets, total = normalized(mixture)
    ratio = targets / own
    log_ratio = tf.math.log(ratio)
    loss = tf.nn.relu(tf.reduce_sum(targets * log_ratio, axis=1))

    def gradient(upstream):
        upstream = upstream[:, None]
        return (log_ratio - loss[:, None]) * (upstream / total), -upstream * ratio

    return loss, gradient


DIVERGENCES = {
    "self_to_neighbors": self_to_neighbors,
    "neighbors_to_self": neighbors_to_self,
}


def normalized(mixture):
    """Returns the rows of a mixture divided by their sums, and these, `(batch, 1)`."""
    total = tf.reduce_sum(mixture, axis=1, keepdims=True)
    return mixture / total, total
