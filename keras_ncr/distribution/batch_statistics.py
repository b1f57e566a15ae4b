"""Keeps what batch normalization remembers the same in all replicas.

Keras lets each replica keep the moving statistics of its own part of the batches. Each
would then evaluate another model than the others, and a checkpoint, which has those of
one replica, would not be the model that was trained. Layers with `synchronized=True`,
as those of `keras_ncr.backbones`, need none of this.
"""

import keras
import tensorflow as tf

from keras_ncr.distribution import replicas


def share_statistics(model, data):
    """Gives all replicas the mean of their moving statistics; called after a step."""
    statistics = moving_statistics(model)
    if not statistics or not replicas.has_other_replicas():
        return
    first, *_ = [part for part in keras.tree.flatten(data) if part is not None]
    size = tf.cast(tf.shape(first)[0], "float32")
    share = size / replicas.global_sum(size)
    # The mean of no examples is not a number.
    parts = [
        tf.where(share > 0, tf.cast(share, one.dtype) * one, tf.zeros_like(one))
        for one in map(tf.convert_to_tensor, statistics)
    ]
    for variable, mean in zip(statistics, replicas.global_sum(parts), strict=True):
        variable.assign(mean)


def moving_statistics(model):
    """Returns the variables that are moving means in a model's batch normalization."""
    # Layers that are frozen, or whose replicas compute one mean anyhow, have none.
    return [
        variable
        for layer in model._flatten_layers(include_self=False)
        if isinstance(layer, keras.layers.BatchNormalization)
        and layer.built
        and layer.trainable
        and not layer.synchronized
        for variable in (layer.moving_mean, layer.moving_variance)
    ]
