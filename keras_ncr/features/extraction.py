"""Features and logits of a trained classifier, from one forward pass."""

import keras
import numpy as np
import tensorflow as tf

from keras_ncr.datasets.dataset_order import check_fixed_order
from keras_ncr.models.ncr import NCRModel
from keras_ncr.models.network_pair import NetworkPair, mean_logits


def features_of(
    model: keras.Model, x, batch_size: int | None = None, verbose="auto"
) -> np.ndarray:
    """Returns a trained classifier's features of all examples, in their order.

    The features of an `NCRModel` are those of its backbone. Those of a `NetworkPair`
    are both networks' features side by side, each scaled to length 1, so that cosines
    are the mean of both. Those of any other model are the inputs of its last layer that
    has weights.

    Args:
        model: `NCRModel`, `NetworkPair`, or a Functional or Sequential Keras model that
            has been built.
        x: As in `keras.Model.predict`: arrays, or a `tf.data.Dataset` of batches,
            finite and not shuffled, whose labels are ignored.
        batch_size: As in `keras.Model.predict`.
        verbose: As in `keras.Model.predict`.

    Returns:
        NumPy float32 array of shape `(n, dim)`.

    Raises:
        ValueError: If `model` is of another kind, its features are not vectors, or `x`
            repeats for ever.

    Example:
    >>> model = keras.Sequential(
    ...     [keras.Input([5]), keras.layers.Dense(16, "relu"), keras.layers.Dense(3)]
    ... )
    >>> x = np.random.default_rng(0).normal(size=(32, 5))
    >>> keras_ncr.features.features_of(model, x, verbose=0).shape
    (32, 16)
    """
    check_ends(x)
    if isinstance(x, tf.data.Dataset):
        check_fixed_order(x, "x")
    both = features_and_logits_model(model)
    features, _ = both.predict(x, batch_size=batch_size, verbose=verbose)
    return np.asarray(features, "float32")


def features_and_logits_model(model: keras.Model) -> keras.Model:
    """Returns a model that gives both the features and the logits of another model.

    Args:
        model: As in `features_of`.

    Returns:
        `keras.Model` with the inputs and the weights of `model`. It returns a tuple of
        the features, float of shape `(batch, dim)`, and the outputs of `model`, of
        shape `(batch, num_classes)`.

    Raises:
        ValueError: If `model` is of another kind, or its features are not vectors.

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
            "of other models in your own code."
        )
    features = weighted[-1].input
    if isinstance(features, list) or len(features.shape) != 2:
        raise ValueError(
            "The last layer of `model` that has weights must take features of shape "
            f"(batch, dim). Received: {weighted[-1].name!r}, which takes {features}."
        )
    return keras.Model(model.inputs, (features, model.outputs[0]))


class _OwnFeatures(keras.Model):
    """The features and logits of this package's models, as a model with `predict`."""

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
    """Raises a ValueError if `x` is a `tf.data.Dataset` that repeats for ever."""
    if (
        isinstance(x, tf.data.Dataset)
        and x.cardinality() == tf.data.INFINITE_CARDINALITY
    ):
        raise ValueError(
            "`x` must end. Received: a dataset that repeats for ever. Pass one epoch, "
            "for example of `keras_ncr.pipelines.evaluation_batches`."
        )


def are_probabilities(outputs):
    """Returns whether a model's outputs are probabilities, and not logits."""
    # In half precision they sum to 1 only roughly.
    return outputs.min() >= 0 and np.allclose(outputs.sum(axis=1), 1, atol=0.01)
