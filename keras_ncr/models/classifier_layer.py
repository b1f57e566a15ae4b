"""The layer from features to logits that `classifier` names."""

import keras

from keras_ncr.backbones import CosineClassifier, HeteroscedasticClassifier


def classifier_layer(classifier, num_classes):
    """Returns the layer that `classifier` names, or the layer that it is."""
    if classifier == "linear":
        # As the cosine classifier: the last layer is where half precision costs most.
        return keras.layers.Dense(num_classes, dtype="float32", name="classifier")
    if classifier == "cosine":
        return CosineClassifier(num_classes, name="classifier")
    if classifier == "heteroscedastic":
        return HeteroscedasticClassifier(num_classes, name="classifier")
    if isinstance(classifier, keras.Layer):
        return classifier
    raise ValueError(
        '`classifier` must be "linear", "cosine", "heteroscedastic" or a Keras layer. '
        f"Received: classifier={classifier!r}."
    )


def refuse_classifier(arguments, model, what):
    """Raises if `classifier` is among the arguments of a model with one of its own."""
    if "classifier" in arguments:
        raise ValueError(
            f"`classifier` must be left out: {model} has one of its own, which {what}. "
            f"Received: classifier={arguments['classifier']!r}. Other heads are for "
            "keras_ncr.NCRModel and its likes."
        )
