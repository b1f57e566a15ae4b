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
    copy_adapted_state(network, copy)
    return copy


def leave_to_average(copy):
    """Makes a copy run as in training, though no optimizer trains its weights."""
    # A layer that is not trainable normalizes as in evaluation.
    copy.trainable = True
    for weight in copy.weights:
        weight.trainable = False


def decay_at(step, decay):
    """Returns the decay of a step, such that the first average is the network."""
    step = tf.maximum(tf.cast(step, "float32"), 1.0)
    return tf.minimum(1.0 - 1.0 / step, decay)


def move_average(average, network, decay):
    """Moves an average toward trained weights, and copies those not trained."""
    for weight, mean in weight_pairs(network, average):
        value = tf.convert_to_tensor(weight.value)
        if weight.trainable:
            own_decay = tf.cast(decay, value.dtype)
            value = own_decay * mean.value + (1 - own_decay) * value
        mean.assign(value)


def copy_weights(network, copy, is_due=True):
    """Gives a copy all weights of a network, if that is due: a bool, or a tensor."""
    for weight, twin in weight_pairs(network, copy):
        twin.assign(tf.where(is_due, weight.value, twin.value))


def layer_pairs(network, copy):
    """Returns the layers of a network, each with that of its copy, by their place."""
    # Keras saves them so as well: layers within layers have other names in a copy.
    return zip(network._flatten_layers(), copy._flatten_layers(), strict=False)


def copy_adapted_state(network, copy):
    """Gives a copy what layers such as `Normalization` have adapted to data."""
    # They predict by numbers that are none of their weights, and restore these when
    # their weights are loaded.
    for layer, twin in layer_pairs(network, copy):
        if layer.built and twin.built and hasattr(layer, "finalize_state"):
            state = {}
            layer.save_own_variables(state)
            twin.load_own_variables(state)


def weight_pairs(network, copy):
    """Returns the weights of a network, each with that of its copy, or raises."""
    pairs = []
    for layer, twin in layer_pairs(network, copy):
        own, others = own_weights(layer), own_weights(twin)
        if {weight.name for weight in own} == {weight.name for weight in others}:
            own, others = sorted(own, key=_name), sorted(others, key=_name)
        if [weight.shape for weight in own] != [weight.shape for weight in others]:
            raise ValueError(
                "`backbones` must keep the weights that they had when the model was "
                f"made: the method averages them. Received: layer {layer.name!r} "
                f"with {[weight.name for weight in own]}, where there were "
                f"{[weight.name for weight in others]}. Enable LoRA, or quantize, "
                "before the model is made."
            )
        pairs += zip(own, others, strict=True)
    return pairs


def _name(weight):
    """Returns the name by which weights of a layer are matched."""
    return weight.name


def own_weights(layer):
    """Returns the weights of a layer that are not those of layers within it."""
    within = {
        id(weight)
        for other in layer._flatten_layers(include_self=False, recursive=True)
        for weight in other.weights
    }
    return [weight for weight in layer.weights if id(weight) not in within]
