"""What a trained classifier sees: features, and logits with them, from one pass."""

import keras
import numpy as np
import tensorflow as tf

from keras_ncr.models.ncr import NCRModel
from keras_ncr.models.network_pair import NetworkPair, mean_logits


def features_of(model, x, batch_size=None, verbose="auto"):
    """Returns a trained classifier's features of all examples, in their order.

    They come from one pass of `predict`, with its progress bar. Of an `NCRModel` they
    are its own features; of a `NetworkPair` both networks' side by side, each scaled to
    length 1, so that similarities are the mean of both; of any other model what enters
    its last layer that has weights.

    Args:
        model: `NCRModel`, `NetworkPair`, or a Functional or Sequential Keras model that
            has been built.
        x: What `predict` takes: arrays, or a `tf.data.Dataset` of batches that ends and
            is not shuffled; labels in it are ignored.
        batch_size: As in `keras.Model.predict`.
        verbose: As in `keras.Model.predict`.

    Returns:
        NumPy float32 array of shape `(n, dim)`.

    Raises:
        ValueError: If `model` is of another kind or its features are no vectors, or if
            `x` does not end.

    Example:
    >>> model = keras.Sequential(
    ...     [keras.Input([5]), keras.layers.Dense(16, "relu"), keras.layers.Dense(3)]
    ... )
    >>> x = np.random.default_rng(0).normal(size=(32, 5))
    >>> keras_ncr.features.features_of(model, x, verbose=0).shape
    (32, 16)
    """
    check_ends(x)
    both = features_and_logits_model(model)
    features, _ = both.predict(x, batch_size=batch_size, verbose=verbose)
    return np.asarray(features, "float32")


def features_and_logits_model(model):
    """Returns a Keras model with the inputs of another, and two outputs.

    Args:
        model: As in `features_of`.

    Returns:
        `keras.Model` that shares the weights of `model` and returns a tuple of its
        features `(batch, dim)` and what it returns itself, `(batch, num_classes)`: of a
        `NetworkPair` the mean of both networks' logits.

    Raises:
        ValueError: If `model` is of another kind, or its features are no vectors.

    Example:
    >>> backbone = keras_ncr.backbones.mlp((8, 8, 1))
    >>> model = keras_ncr.NCRModel(backbone, num_classes=10)
    >>> both = keras_ncr.features.features_and_logits_model(model)
    >>> features, logits = both(np.zeros((4, 8, 8, 1)))
    >>> logits.shape
    TensorShape([4, 10])
    """
    if isinstance(model, NCRModel | NetworkPair):
        return _OwnFeatures(model)
    weighted = [layer for layer in getattr(model, "layers", []) if layer.weights]
    if not getattr(model, "inputs", None) or not weighted:
        raise ValueError(
            "`model` must be an NCRModel, a NetworkPair, or a Functional or built "
            f"Sequential model with weights. Received: {model!r}. Compute the features "
            "of other models by your own code."
        )
    features = weighted[-1].input
    if isinstance(features, list) or len(features.shape) != 2:
        raise ValueError(
            "The last layer of `model` that has weights must take features of shape "
            f"(batch, dim). Received: {weighted[-1].name!r}, which takes {features}."
        )
    return keras.Model(model.inputs, (features, model.outputs[0]))


class _OwnFeatures(keras.Model):
    """The features and logits of this package's models, for the sake of `predict`."""

    def __init__(self, model):
        super().__init__(name="features_and_logits")
        self.model = model
        self.built = True  # The model builds itself when it is called.

    def call(self, inputs):
        networks = getattr(self.model, "networks", [self.model])
        outputs = [
            network(inputs, training=False, return_features=True)
            for network in networks
        ]
        features = [keras.ops.cast(part, "float32") for part, _ in outputs]
        if len(features) == 1:
            return features[0], outputs[0][1]
        features = [keras.ops.normalize(part) for part in features]
        return keras.ops.concatenate(features, axis=1), mean_logits(outputs)


def check_ends(x):
    """Raises for a dataset of which one pass never ends.

    Args:
        x: Arrays, or a `tf.data.Dataset`.

    Raises:
        ValueError: If `x` is a dataset that repeats for ever.

    Example:
    >>> from keras_ncr.features.extraction import check_ends
    >>> check_ends(tf.data.Dataset.range(3))
    """
    if (
        isinstance(x, tf.data.Dataset)
        and x.cardinality() == tf.data.INFINITE_CARDINALITY
    ):
        raise ValueError(
            "`x` must end. Received: a dataset that repeats for ever. Pass one epoch, "
            "for example of `keras_ncr.pipelines.evaluation_batches`."
        )
