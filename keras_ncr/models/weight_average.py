"""A copy of a network that follows it: the moving average of its weights."""

import tensorflow as tf

from keras_ncr.models.ncr import NCRModel


def copy_of(network):
    """Returns an untrainable copy of a network, with weights of its own, or raises."""
    try:
        copy = NCRModel.from_config(network.get_config())
    except (NotImplementedError, TypeError) as error:
        raise ValueError(
            "`backbones` must be such that Keras can save and load them: the method "
            f"keeps a copy of each. Received: {network.backbone!r}; Keras says: {error}"
        ) from error
    copy.trainable = False
    return copy


def decay_at(step, decay):
    """Returns the decay of a step, such that the first average is the network."""
    step = tf.maximum(tf.cast(step, "float32"), 1.0)
    return tf.minimum(1.0 - 1.0 / step, decay)


def move_average(averages, weights, decay):
    """Moves averages toward trained weights, and copies those that are not trained."""
    for weight, mean in zip(weights, averages, strict=True):
        value = tf.convert_to_tensor(weight.value)
        if weight.trainable:
            own_decay = tf.cast(decay, value.dtype)
            value = own_decay * mean.value + (1 - own_decay) * value
        mean.assign(value)
