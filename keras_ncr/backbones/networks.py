"""The networks: small ones, and the ResNets of the paper."""

import keras
from keras import layers

from keras_ncr.backbones import blocks
from keras_ncr.checks import check_integer, check_known

# The smallest image side each stem accepts. The CIFAR nets halve the image three times
# and need one pixel to remain. The ImageNet nets halve it five times: CIFAR's 32 pixels
# would end as a single one, a mistake that shows only as poor accuracy.
_SMALLEST_SIDE = {"cifar": 8, "imagenet": 64}

# Kind of block, and how many of them in each stage (He et al., Table 1).
_RESNETS = {
    18: (blocks.basic_block, (2, 2, 2, 2)),
    34: (blocks.basic_block, (3, 4, 6, 3)),
    50: (blocks.bottleneck_block, (3, 4, 6, 3)),
}


def small_cnn(
    input_shape: tuple, filters: tuple = (32, 64), dim: int = 128
) -> keras.Model:
    """Returns a small convolutional network for images of 8 to 32 pixels.

    One block (3x3 convolution, batch normalization, ReLU, 2x2 max-pooling) for each
    entry of `filters`, then a dense layer. The dense layer sees every position, which
    lets so small a network memorize wrong labels: a network that cannot memorize has
    nothing to gain from consistency.

    Args:
        input_shape: Tuple `(height, width, channels)` of ints.
        filters: Tuple of ints, the filters of each block. Each block halves the image.
            Defaults to `(32, 64)`, our choice: 52,384 parameters on 8x8 digits,
            421,024 on 28x28 images.
        dim: Int, the number of features. Defaults to 128, our choice.

    Returns:
        A `keras.Model` from raw pixels to features `(batch, dim)`.

    Raises:
        ValueError: If an argument is no shape or no positive int, or if the image is
            too small to be halved once per block.

    Example:
    >>> backbone = keras_ncr.backbones.small_cnn((8, 8, 1))
    >>> backbone(np.zeros((2, 8, 8, 1), dtype="uint8")).shape
    TensorShape([2, 128])
    """
    _check_input_shape(input_shape, is_size_fixed=True)
    blocks.check_widths("filters", filters)
    check_integer(dim, "dim", minimum=1)
    _check_halved(input_shape, filters, "blocks")
    inputs, x = blocks.pixel_input(input_shape)
    for block, width in enumerate(filters, start=1):
        x = blocks.convolution(x, width, 3, name=f"block{block}_conv")
        x = blocks.normalized_relu(x, f"block{block}")
        x = layers.MaxPooling2D(name=f"block{block}_pool")(x)
    x = layers.Flatten(name="flatten")(x)
    x = blocks.dense_relu(x, dim, "features")
    return keras.Model(inputs, x, name="small_cnn")


def small_resnet(
    input_shape: tuple, filters: tuple = (32, 64, 128, 256)
) -> keras.Model:
    """Returns a small ResNet that a CPU trains on pixels, and that memorizes labels.

    A 3x3 convolution of stride 2, then a stage of one basic block for each entry of
    `filters`, each but the first of stride 2, and a global average. An epoch of 10,000
    images of 32 pixels takes a core some 13 seconds.

    Args:
        input_shape: Tuple `(height, width, channels)`; height and width may be `None`.
        filters: Tuple of ints, the filters of each stage. Defaults to
            `(32, 64, 128, 256)`, our choice: half as many as ResNet-18 has, and
            1,226,400 trained parameters on color images.

    Returns:
        A `keras.Model` from raw pixels to features `(batch, filters[-1])`.

    Raises:
        ValueError: If an argument is no shape or no positive int, or if the image is
            too small to be halved once per stage.

    Reference:
        - [He et al., 2016](https://arxiv.org/abs/1512.03385).

    Example:
    >>> keras_ncr.backbones.small_resnet((32, 32, 3)).output_shape
    (None, 256)
    """
    _check_input_shape(input_shape)
    blocks.check_widths("filters", filters)
    _check_halved(input_shape, filters, "stages")
    inputs, x = blocks.pixel_input(input_shape)
    x = blocks.convolution(x, filters[0], 3, strides=2, name="stem_conv")
    x = blocks.normalized_relu(x, "stem")
    for stage, width in enumerate(filters, start=1):
        x = blocks.basic_block(x, width, min(stage, 2), True, f"stage{stage}_1")
    x = layers.GlobalAveragePooling2D(name="features")(x)
    return keras.Model(inputs, x, name="small_resnet")


def mlp(input_shape: tuple, hidden: tuple = (512, 512)) -> keras.Model:
    """Returns a network of dense layers with batch normalization and ReLU.

    Pixels are brought to [-1, 1] first. Features, which may have any scale, are brought
    to mean 0 and variance 1 by batch normalization.

    Args:
        input_shape: Tuple of ints: `(height, width, channels)` of images, or `(dim,)`
            of features.
        hidden: Tuple of ints, the units of each layer; the last is the number of
            features. Defaults to `(512, 512)`, our choice: it memorizes 10,000
            Fashion-MNIST images with wrong labels.

    Returns:
        A `keras.Model` from raw pixels, or from features, to features `(batch,
        hidden[-1])`.

    Raises:
        ValueError: If an argument is no shape or holds anything but positive ints.

    Example:
    >>> keras_ncr.backbones.mlp((28, 28, 1), hidden=(64, 32)).output_shape
    (None, 32)
    """
    blocks.check_widths("hidden", hidden)
    if isinstance(input_shape, (tuple, list)) and len(input_shape) == 1:
        check_integer(input_shape[0], "input_shape[0]", minimum=1)
        inputs = keras.Input(input_shape, name="features")
        x = layers.BatchNormalization(
            epsilon=1e-6, center=False, scale=False, name="unit"
        )(inputs)
    else:
        _check_input_shape(input_shape, is_size_fixed=True)
        inputs, x = blocks.pixel_input(input_shape)
        x = layers.Flatten(name="flatten")(x)
    return keras.Model(inputs, blocks.hidden_layers(x, hidden), name="mlp")


def resnet18(
    input_shape: tuple, stem: str = "cifar", zero_init_residual: bool = True
) -> keras.Model:
    """Returns ResNet-18, the network of the paper's CIFAR and mini-ImageNet rows.

    Shortcuts are identities wherever the shape allows and 1x1 projections elsewhere.
    With the `"imagenet"` stem and the same weights it equals torchvision's `resnet18`
    in evaluation, but for the pixels: torchvision takes them standardized by channel,
    and this network scales them to [-1, 1] itself. The released NCR code projects in
    all eight blocks, which is not the standard network.

    Args:
        input_shape: Tuple `(height, width, channels)`; height and width may be `None`.
        stem: `"cifar"` is a 3x3 convolution of stride 1 and no pooling, the "reduced
            strides" of the paper's 32-pixel images. `"imagenet"` is a 7x7 convolution
            of stride 2 and a 3x3 max-pooling of stride 2, for 64 pixels and more.
            Defaults to `"cifar"`.
        zero_init_residual: Whether the last batch normalization of each residual
            branch starts with scale 0, so that each block starts as its shortcut.
            Defaults to `True`, as in the released NCR code and in Goyal et al., 2017.

    Returns:
        A `keras.Model` from raw pixels to features `(batch, 512)`.

    Raises:
        ValueError: If `input_shape` is no image shape, `stem` is unknown, or the image
            is too small for the stem.

    Reference:
        - [He et al., 2016](https://arxiv.org/abs/1512.03385), Table 1.
        - [Goyal et al., 2017](https://arxiv.org/abs/1706.02677), Section 5.1.

    Example:
    >>> backbone = keras_ncr.backbones.resnet18((32, 32, 3), stem="cifar")
    >>> backbone.output_shape
    (None, 512)
    """
    return _resnet(18, input_shape, stem, zero_init_residual)


def resnet34(
    input_shape: tuple, stem: str = "cifar", zero_init_residual: bool = True
) -> keras.Model:
    """Returns ResNet-34, the network of ELR's CIFAR rows.

    It equals ELR's `resnet34` with the `"cifar"` stem, and torchvision's with the
    `"imagenet"` stem, in the sense of `resnet18`.

    Args:
        input_shape: As in `resnet18`.
        stem: As in `resnet18`. Defaults to `"cifar"`.
        zero_init_residual: As in `resnet18`. Defaults to `True`.

    Returns:
        A `keras.Model` from raw pixels to features `(batch, 512)`.

    Raises:
        ValueError: As `resnet18`.

    Reference:
        - [He et al., 2016](https://arxiv.org/abs/1512.03385), Table 1.

    Example:
    >>> keras_ncr.backbones.resnet34((32, 32, 3)).output_shape
    (None, 512)
    """
    return _resnet(34, input_shape, stem, zero_init_residual)


def resnet50(
    input_shape: tuple, stem: str = "imagenet", zero_init_residual: bool = True
) -> keras.Model:
    """Returns ResNet-50, the network of the paper's WebVision and Clothing1M rows.

    It equals torchvision's `resnet50` in the sense of `resnet18`: a block that halves
    the image does so in its 3x3 convolution ("version 1.5"), where the first version
    does so in the 1x1 before it. For ImageNet weights take `application("ResNet50")`.

    Args:
        input_shape: As in `resnet18`.
        stem: As in `resnet18`. Defaults to `"imagenet"`: the paper's images there have
            224 pixels.
        zero_init_residual: As in `resnet18`. Defaults to `True`.

    Returns:
        A `keras.Model` from raw pixels to features `(batch, 2048)`.

    Raises:
        ValueError: As `resnet18`.

    Reference:
        - [He et al., 2016](https://arxiv.org/abs/1512.03385), Table 1.

    Example:
    >>> keras_ncr.backbones.resnet50((224, 224, 3)).output_shape
    (None, 2048)
    """
    return _resnet(50, input_shape, stem, zero_init_residual)


def preact_resnet18(input_shape: tuple) -> keras.Model:
    """Returns the pre-activation ResNet-18 of DivideMix, ELR+, MOIT and SOP.

    It equals the network of DivideMix's and ELR+'s released code with the same weights:
    normalization and ReLU follow the stem, come before each convolution, and feed the
    shortcut of every block. Nothing follows the last block (He et al. normalize once
    more), so features have either sign. NCR gives pairs with a negative cosine the
    weight 0, as if they were no neighbors. With `Dense(10)` it has 11,171,274
    parameters that are trained.

    Args:
        input_shape: As in `resnet18`.

    Returns:
        A `keras.Model` from raw pixels to features `(batch, 512)`.

    Raises:
        ValueError: If `input_shape` is no image shape or the image is too small.

    Reference:
        - [He et al., 2016](https://arxiv.org/abs/1603.05027).
        - [Li et al., 2020](https://arxiv.org/abs/2002.07394), the released code.

    Example:
    >>> keras_ncr.backbones.preact_resnet18((32, 32, 3)).output_shape
    (None, 512)
    """
    _check_input_shape(input_shape)
    _check_stem("cifar", input_shape)
    inputs, x = blocks.pixel_input(input_shape)
    x = blocks.resnet_stem(x, "cifar")
    for stage, filters in enumerate(blocks.STAGE_FILTERS, start=1):
        x = blocks.preact_block(x, filters, min(stage, 2), f"stage{stage}_1")
        x = blocks.preact_block(x, filters, 1, f"stage{stage}_2")
    x = layers.GlobalAveragePooling2D(name="features")(x)
    return keras.Model(inputs, x, name="preact_resnet18")


def _resnet(depth, input_shape, stem, zero_init_residual):
    """Stem, four stages of residual blocks, global average."""
    _check_input_shape(input_shape)
    _check_stem(stem, input_shape)
    inputs, x = blocks.pixel_input(input_shape)
    x = blocks.resnet_stem(x, stem)
    block, num_blocks = _RESNETS[depth]
    for stage, filters in enumerate(blocks.STAGE_FILTERS, start=1):
        for number in range(1, num_blocks[stage - 1] + 1):
            strides = 2 if stage > 1 and number == 1 else 1
            x = block(x, filters, strides, zero_init_residual, f"stage{stage}_{number}")
    x = layers.GlobalAveragePooling2D(name="features")(x)
    return keras.Model(inputs, x, name=f"resnet{depth}")


def _check_input_shape(input_shape, is_size_fixed=False):
    """Refuses all but `(height, width, channels)`, None being a size left open."""
    if not isinstance(input_shape, (tuple, list)) or len(input_shape) != 3:
        raise ValueError(
            "`input_shape` must be (height, width, channels), without the batch. "
            f"Received: input_shape={input_shape}. Gray images have one channel: "
            "(28, 28, 1)."
        )
    for axis, size in enumerate(input_shape):
        if size is not None or axis == 2 or is_size_fixed:
            check_integer(size, f"input_shape[{axis}]", minimum=1)


def _check_halved(input_shape, filters, parts):
    """Refuses images that cannot be halved once for each entry of `filters`."""
    sides = [side for side in input_shape[:2] if side is not None]
    if sides and min(sides) < 2 ** len(filters):
        raise ValueError(
            f"`filters` has {len(filters)} {parts} that halve the image each, so its "
            f"sides must be at least {2 ** len(filters)} pixels. Received: "
            f"input_shape={input_shape}. Give fewer filters or larger images."
        )


def _check_stem(stem, input_shape):
    """Refuses an unknown stem, and images that are too small for a known one."""
    check_known(stem, _SMALLEST_SIDE, "stem")
    sides = [side for side in input_shape[:2] if side is not None]
    smallest = _SMALLEST_SIDE[stem]
    if sides and min(sides) < smallest:
        remedy = (
            'use stem="cifar"' if stem == "imagenet" else "use `small_cnn` or `mlp`"
        )
        raise ValueError(
            f"`input_shape` must have sides of at least {smallest} pixels for the "
            f"{stem!r} stem. Received: input_shape={input_shape}. Resize the images, "
            f"or {remedy}."
        )
