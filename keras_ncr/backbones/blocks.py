"""The pieces that the backbones are built of: pixels in, residual blocks, features out.

Each function takes a Keras tensor, adds layers to it and returns the result. Layers are
named by stage and block, `stage2_1_conv1`, so that a summary can be read and a layer be
found again by `model.get_layer`.
"""

import keras
import tensorflow as tf
from keras import layers

from keras_ncr.checks import check_integer

# The filters of the four stages of the ResNets; a bottleneck puts out four times these.
STAGE_FILTERS = (64, 128, 256, 512)


def pixel_input(input_shape):
    """Returns the input for pixels in 0..255, and the same pixels in [-1, 1]."""
    inputs = keras.Input(input_shape, name="pixels")
    # In float32 under any policy: bfloat16 would merge neighboring bright gray levels.
    rescaling = layers.Rescaling(
        1 / 127.5, offset=-1.0, dtype="float32", name="rescale"
    )
    return inputs, rescaling(inputs)


def convolution(x, filters, kernel_size, strides=1, name=None):
    """Returns a convolution without bias, padded alike on all sides as in PyTorch."""
    padding = "same"
    if strides > 1 and kernel_size > 1:
        # "same" would pad the right and the bottom alone, one pixel off the shortcut.
        x = layers.ZeroPadding2D(kernel_size // 2, name=f"{name}_pad")(x)
        padding = "valid"
    return layers.Conv2D(
        filters,
        kernel_size,
        strides=strides,
        padding=padding,
        use_bias=False,
        kernel_initializer="he_normal",
        name=name,
    )(x)


def batch_normalization(x, name, zero_scale=False):
    """Returns `x` normalized over the batch, with a scale that starts at 1 or at 0."""
    # With Keras' momentum of 0.99 the moving averages lag by hundreds of steps, and the
    # small data sets here have few: test accuracy would be that of another network.
    return layers.BatchNormalization(
        momentum=0.9,
        epsilon=1e-5,
        # Statistics of the global batch: several replicas equal one device.
        synchronized=tf.distribute.get_strategy().num_replicas_in_sync > 1,
        gamma_initializer="zeros" if zero_scale else "ones",
        name=name,
    )(x)


def normalized_relu(x, name):
    """Returns the ReLU of `x` normalized over the batch."""
    return layers.ReLU(name=f"{name}_relu")(batch_normalization(x, f"{name}_bn"))


def dense_relu(x, units, name):
    """Returns a dense layer with batch normalization and ReLU."""
    dense = layers.Dense(
        units, use_bias=False, kernel_initializer="he_normal", name=f"{name}_dense"
    )
    return normalized_relu(dense(x), name)


def hidden_layers(x, widths):
    """Returns dense layers with batch normalization and ReLU, one for each width."""
    for layer, width in enumerate(widths, start=1):
        x = dense_relu(x, width, f"hidden{layer}")
    return x


def resnet_stem(x, stem):
    """Returns the first convolution; the ImageNet stem divides each side by four."""
    if stem == "cifar":
        x = convolution(x, STAGE_FILTERS[0], 3, name="stem_conv")
        return normalized_relu(x, "stem")
    x = convolution(x, STAGE_FILTERS[0], 7, strides=2, name="stem_conv")
    x = normalized_relu(x, "stem")
    x = layers.ZeroPadding2D(1, name="stem_pool_pad")(x)  # none of x is below zero
    return layers.MaxPooling2D(3, strides=2, name="stem_pool")(x)


def basic_block(x, filters, strides, zero_init_residual, name):
    """Returns `x` plus a branch of two 3x3 convolutions, then ReLU."""
    branch = convolution(x, filters, 3, strides, name=f"{name}_conv1")
    branch = normalized_relu(branch, f"{name}_1")
    branch = convolution(branch, filters, 3, name=f"{name}_conv2")
    branch = batch_normalization(branch, f"{name}_2_bn", zero_init_residual)
    return _add_shortcut(x, branch, filters, strides, name)


def bottleneck_block(x, filters, strides, zero_init_residual, name):
    """Returns `x` plus a branch of 1x1, 3x3 and 1x1 convolutions, then ReLU."""
    branch = convolution(x, filters, 1, name=f"{name}_conv1")
    branch = normalized_relu(branch, f"{name}_1")
    branch = convolution(branch, filters, 3, strides, name=f"{name}_conv2")
    branch = normalized_relu(branch, f"{name}_2")
    branch = convolution(branch, 4 * filters, 1, name=f"{name}_conv3")
    branch = batch_normalization(branch, f"{name}_3_bn", zero_init_residual)
    return _add_shortcut(x, branch, 4 * filters, strides, name)


def _add_shortcut(x, branch, filters, strides, name):
    """The identity where shapes agree, a projection where they do not."""
    if strides != 1 or x.shape[-1] != filters:
        x = convolution(x, filters, 1, strides, name=f"{name}_shortcut_conv")
        x = batch_normalization(x, f"{name}_shortcut_bn")
    return layers.ReLU(name=f"{name}_relu")(layers.Add(name=f"{name}_add")([x, branch]))


def preact_block(x, filters, strides, name):
    """Returns a shortcut plus two 3x3 convolutions, both from the ReLU of `x`."""
    x = normalized_relu(x, f"{name}_1")
    branch = convolution(x, filters, 3, strides, name=f"{name}_conv1")
    branch = normalized_relu(branch, f"{name}_2")
    branch = convolution(branch, filters, 3, name=f"{name}_conv2")
    if strides != 1 or x.shape[-1] != filters:
        x = convolution(x, filters, 1, strides, name=f"{name}_shortcut_conv")
    return layers.Add(name=f"{name}_add")([x, branch])


def check_widths(name, widths):
    """Refuses an empty list of layers, and layers without units."""
    if not isinstance(widths, (tuple, list)) or not widths:
        raise ValueError(
            f"`{name}` must be a tuple of at least one positive int, one per layer. "
            f"Received: {name}={widths!r}."
        )
    for width in widths:
        check_integer(width, name, minimum=1)
