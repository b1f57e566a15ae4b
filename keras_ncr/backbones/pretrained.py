"""Networks with weights from elsewhere, each from raw pixels to features."""

import os
import re

import keras

from keras_ncr.backbones.applications import application, application_names
from keras_ncr.backbones.networks import resnet18
from keras_ncr.checks import check_known

SCRATCH, HUB = "scratch", "hub:"
_WAYS = (
    "Ways that need no download: a Keras file, FILE.keras; a preset folder on disk, "
    "hub:FOLDER; features that were computed elsewhere, in a file FEATURES.npz; "
    f"or a network that is not pretrained, {SCRATCH!r}."
)


def pretrained(name: str, input_shape: tuple) -> keras.Model:
    """Returns a network from raw pixels to features, with the weights that it has.

    Its preprocessing is inside. Weights that cannot be had raise: there is never a
    network in their place that was not trained.

    Args:
        name: String. A network of `keras.applications`, `"EfficientNetV2B0"` for
            example, with ImageNet weights, which Keras downloads once; `"hub:PRESET"`,
            an image encoder of KerasHub or the vision part of CLIP or SigLIP, by the
            name of a preset or the path of its folder; the path of a `.keras` file,
            whose model takes pixels 0 to 255; or `"scratch"`, a ResNet-18 with random
            weights.
        input_shape: Tuple `(height, width, channels)` of the images.

    Returns:
        `keras.Model`: the backbone, if the file holds a classifier of this package.

    Raises:
        ValueError: If there is no such network, its weights cannot be had, or it takes
            other images.

    Example:
    >>> keras_ncr.backbones.mlp((8, 8, 1)).save("network.keras")
    >>> network = keras_ncr.backbones.pretrained("network.keras", (8, 8, 1))
    >>> network(np.zeros((2, 8, 8, 1))).shape
    TensorShape([2, 512])
    """
    if name == SCRATCH:
        stem = "cifar" if max(input_shape[:2]) <= 64 else "imagenet"
        return resnet18(input_shape, stem=stem)
    if name.startswith(HUB):
        return _hub(name.removeprefix(HUB), input_shape)
    if name.endswith((".keras", ".h5")) or os.path.exists(name):
        return _loaded(name, input_shape)
    known = application_names()
    check_known(name, known, "backbone", ", hub:PRESET, FILE.keras, or scratch")
    try:
        return application(name, input_shape, weights="imagenet")
    except ValueError as error:
        if "could not be downloaded" not in str(error):
            raise
        raise ValueError(f"{error} {_WAYS}") from error


def _loaded(path, input_shape):
    """Returns the network in a Keras file, or says what is wrong with the file."""
    if not os.path.isfile(path):
        raise ValueError(
            f"`backbone` must be a Keras file that exists. Received: {path!r}."
        )
    try:
        model = keras.models.load_model(path, compile=False)
    except Exception as error:  # Whatever a file of another kind leads to.
        raise ValueError(
            f"`backbone` must be a file of a Keras model, as `model.save(FILE.keras)` "
            f"writes it. Received: {path!r}, which could not be loaded: "
            f"{reason_of(error)} Weights alone (.weights.h5) name no layers: build "
            "the model, load them, and save it whole."
        ) from error
    network = getattr(model, "backbone", model)
    _check_takes(network, input_shape, path)
    return network


def _hub(preset, input_shape):
    """Returns an image encoder of KerasHub, with the scaling that it expects inside."""
    keras_hub, encoder = keras_hub_or_raise(), encoder_of_hub(preset)
    scale, offset = 1 / 255, 0.0
    try:
        converter = keras_hub.layers.ImageConverter.from_preset(preset)
        scale = 1.0 if converter.scale is None else converter.scale
        offset = 0.0 if converter.offset is None else converter.offset
    except ValueError as error:
        raise ValueError(
            f"`backbone` must be a preset for images. Received: hub:{preset}, a "
            f"{type(encoder).__name__} without an image converter: {reason_of(error)}"
        ) from error
    # CLIP and SigLIP have a text encoder beside.
    encoder = getattr(encoder, "vision_encoder", encoder)
    pixels = keras.Input(input_shape, name="pixels")
    try:
        features = encoder(keras.layers.Rescaling(scale, offset)(pixels))
    except Exception as error:
        raise _wants_another(f"hub:{preset}", input_shape, error) from error
    if len(features.shape) == 3:  # Tokens of a vision transformer.
        features = keras.layers.GlobalAveragePooling1D()(features)
    return keras.Model(pixels, features, name="hub")


def keras_hub_or_raise():
    """Returns the module `keras_hub`, or says how to install it."""
    try:
        import keras_hub
    except ImportError as error:
        raise ValueError(
            "`backbone` needs KerasHub for hub:PRESET, which is not installed. "
            f"Received: {error}. Install it: pip install 'keras_ncr[hub]'."
        ) from error
    return keras_hub


def encoder_of_hub(preset):
    """Returns the network of a KerasHub preset, with its weights."""
    try:
        return keras_hub_or_raise().models.Backbone.from_preset(preset)
    except Exception as error:  # Downloads fail in many ways.
        raise ValueError(
            f"The KerasHub preset {preset!r} could not be had: {reason_of(error)} "
            f"{_WAYS} Networks of keras.applications have their own weights."
        ) from error


def _check_takes(network, input_shape, name):
    """Raises unless a network takes such images."""
    try:
        network(keras.Input(input_shape))
    except Exception as error:  # Whatever a network says of another input.
        raise _wants_another(name, input_shape, error) from error


def _wants_another(name, input_shape, error):
    """Returns the error of a network that takes another input."""
    return ValueError(
        f"`backbone` must take images of shape {tuple(input_shape)}. Received: "
        f"{name!r}, which says: {reason_of(error)} Images are brought to the size "
        "that is asked for: give the one that the network takes."
    )


def reason_of(error: Exception) -> str:
    """Returns the line of an error that says why, as a sentence."""
    lines = [re.sub(r"\x1b\[\d*m", "", line).strip() for line in str(error).split("\n")]
    lines = [line for line in lines if line] or [type(error).__name__]
    # Keras first says where.
    line = lines[1] if lines[0].startswith("Exception") and lines[1:] else lines[0]
    return line[:300].rstrip(".") + "."
