"""The networks of `keras.applications` as backbones, each with its own preprocessing.

Keras leaves it to the caller to scale pixels as a network expects them: to [-1, 1], to
the mean and deviation of ImageNet, in the order blue, green, red, or not at all. Here
that is a layer of the network, so that these backbones take pixels 0 to 255 as all
others do, and a saved model serves raw images.
"""

import inspect
import os
import re
import textwrap

import keras
import numpy as np
from keras import layers, ops

from keras_ncr.checks import check_integer, check_known


def application(name: str, input_shape: tuple, weights=None) -> keras.Model:
    """Returns a network of `keras.applications` from raw pixels to averaged features.

    The network has no classifier. Its features are the global average of its last
    feature map, which ConvNeXt then normalizes. ResNet, VGG, DenseNet, Inception,
    Xception, NASNet and MobileNet up to the second version end in a ReLU, so their
    features are not negative. ConvNeXt, EfficientNet and MobileNetV3 give features of
    either sign: cosines may then be negative, and NCR gives such pairs the weight 0, as
    if they were no neighbors.

    These networks are made for about 224 pixels. Most divide the sides by 32: an image
    of 32 pixels ends as a single position, for which `resnet18` with the CIFAR stem is
    the better choice. Their batch normalization keeps Keras' momentum of 0.99 or more:
    trained from scratch for a few hundred steps only, the moving averages lag behind.

    Args:
        name: String: what `keras.applications` calls the network, `"ResNet50"` for
            example.
        input_shape: Tuple `(height, width, channels)`; height and width may be `None`.
            Channels are three, or one: gray images are repeated to three channels, so
            that the same weights fit.
        weights: `None` for random weights; `"imagenet"` for those that Keras
            downloads; or the path of a weights file: of this network, saved by
            `save_weights`, or Keras' own file without classifier (`..._notop.h5`).
            Defaults to `None`; the paper has ImageNet weights for Clothing1M alone.

    Returns:
        A `keras.Model` from raw pixels to features `(batch, dim)`, all layers
        trainable.

    Raises:
        ValueError: If `name` is unknown, if `input_shape` is no image shape or too
            small for the network, or if `weights` are not found, cannot be downloaded
            or do not fit.

    Reference:
        - [Keras Applications](https://keras.io/api/applications/).

    Example:
    >>> backbone = keras_ncr.backbones.application("MobileNet", (64, 64, 3))
    >>> backbone(np.zeros((2, 64, 64, 3), dtype="uint8")).shape
    TensorShape([2, 1024])
    """
    check_known(name, application_names(), "name")
    _check_input_shape(input_shape)
    is_path = weights not in (None, "imagenet")
    if is_path:
        weights = _existing_path(weights)
    pixels = keras.Input(input_shape, name="pixels")
    scaled = ApplicationPreprocessing(name, name="preprocess")(pixels)
    network = _construct(name, scaled, None if is_path else weights)
    if is_path:
        _load_weights(network, name, os.fspath(weights))
    # Some of Keras' networks expect a list of one input, and warn of a single one.
    return keras.Model(pixels, network.output, name=network.name)


def application_names() -> list:
    """Returns the names of all networks of the installed `keras.applications`."""
    return sorted(_modules())


@keras.saving.register_keras_serializable(package="keras_ncr")
class ApplicationPreprocessing(layers.Layer):
    """Returns pixels as a network of `keras.applications` expects them.

    Networks that scale pixels themselves, in the precision of the policy, get them as
    they are. For the others it is float32: a mean subtracted in bfloat16 would lose
    decimals.
    """

    def __init__(self, application: str = "ResNet50", dtype="float32", **kwargs):
        super().__init__(dtype=dtype, **kwargs)
        self.application = check_known(application, application_names(), "application")

    def call(self, pixels):
        pixels = ops.cast(pixels, self.compute_dtype)
        if pixels.shape[-1] == 1:
            pixels = ops.repeat(pixels, 3, axis=-1)
        return _modules()[self.application].preprocess_input(pixels)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], 3)

    def get_config(self):
        return {**super().get_config(), "application": self.application}


def _modules():
    """The public module with the `preprocess_input` of each network, by its name."""
    networks = inspect.getmembers(keras.applications, inspect.isfunction)
    return {
        # The public module is called as the one that defines the network.
        name: getattr(keras.applications, network.__module__.rpartition(".")[2])
        for name, network in networks
    }


def _construct(name, inputs, weights):
    """The network on the inputs; to Keras' errors it adds what to do about them."""
    try:
        return getattr(keras.applications, name)(
            include_top=False,
            weights=weights,
            input_tensor=inputs,
            input_shape=inputs.shape[1:],
            pooling="avg",
        )
    except Exception as error:  # the bare class is what Keras' download raises
        if isinstance(error, ValueError) and "file hash" not in str(error):
            raise ValueError(
                f"`input_shape` must suit {name}. {_reason(error)} Give larger images "
                "of one size, or take a network for small ones, `resnet18` for example."
            ) from error
        if weights is None:
            raise
        url = re.search(r"https?://\S+[^\s:]", str(error))
        raise ValueError(
            f"The ImageNet weights of {name} could not be downloaded: {_reason(error)} "
            f"Download {url[0] if url else 'the file that Keras names above'} by hand "
            "and pass its path as `weights`; for EfficientNetB0 to B7 put it into the "
            "folder `models` of Keras' cache instead (~/.keras, or what the "
            "environment variable KERAS_HOME says). Or start from random weights: "
            "`weights=None`."
        ) from error


def _load_weights(network, name, path):
    """Loads a weights file into the network, or says why it does not fit."""
    try:
        network.load_weights(path)
    except Exception as error:  # whatever a file of another kind leads to
        raise ValueError(
            f"`weights` must be a weights file of {name} without classifier. "
            f"Received: weights={path!r}, which could not be loaded: {_reason(error)} "
            "Keras' own files without classifier end in `notop.h5` or `no_top.h5`."
        ) from error
    # EfficientNet normalizes by a mean and variance among its weights. In Keras' files
    # these are ImageNet's, and Keras then divides by the deviation once more, in a
    # layer that it adds for "imagenet" only: without it the network sees other colors.
    for layer in network.layers:
        is_adapted = isinstance(layer, layers.Normalization) and layer.weights
        if is_adapted and np.any(ops.convert_to_numpy(layer.mean)):
            raise ValueError(
                f"`weights` that come from ImageNet's need a layer that {name} has "
                f'with weights="imagenet" only. Received: weights={path!r}. Put '
                "Keras' file into the folder `models` of its cache (~/.keras, or what "
                "the environment variable KERAS_HOME says) and pass "
                'weights="imagenet"; load weights trained further after that, with '
                "`load_weights`."
            )


def _reason(error):
    """The error's first sentences: some of Keras' go on to print whole arrays."""
    first_line = str(error).strip().split("\n")[0]
    return textwrap.shorten(first_line, 300, placeholder=" ...").rstrip(".") + "."


def _check_input_shape(input_shape):
    """Refuses all but `(height, width, 1 or 3)`, None being a size left open."""
    is_image = isinstance(input_shape, (tuple, list)) and len(input_shape) == 3
    if not is_image or input_shape[2] not in (1, 3):
        raise ValueError(
            "`input_shape` must be (height, width, 3), or (height, width, 1) for gray "
            f"images, without the batch. Received: input_shape={input_shape}. For "
            "other channels use a network of your own, or `resnet50`."
        )
    for axis, size in enumerate(input_shape[:2]):
        if size is not None:
            check_integer(size, f"input_shape[{axis}]", minimum=1)


def _existing_path(weights):
    """Returns the path of a weights file, or refuses what is none."""
    is_path = isinstance(weights, (str, os.PathLike))
    if not is_path or not os.path.isfile(os.path.expanduser(weights)):
        raise ValueError(
            '`weights` must be None, "imagenet" or the path of a weights file. '
            f"Received: weights={weights!r}, and there is no such file."
        )
    return os.path.expanduser(weights)
