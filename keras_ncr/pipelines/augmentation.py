"""From an image to what a network takes: at random for training, or centered.

An augmentation is a callable `(image, seed) -> image`. The pipeline hands it one
image and a seed of shape `(2,)` made from its own seed, the epoch and the image's
index, so that a resumed run sees the images that an uninterrupted one would have.
Evaluation takes `central_crop`, a callable `(image) -> image`.

An augmentation may also have two functions on batches, which give the same images
faster: `augment.draw(seeds)` makes numbers, a row for each seed, and
`augment.apply(images, numbers)` the changed images.

Images are uint8 pixels or the bytes of image files (`datasets.images`) of any size.
Bytes are decoded here, and only the part that is needed. That part is cut out before
it is resized; the usual description, which resizes first and then crops, gives the
same picture but for the edges, which here lie between two pixels of the original.
"""

from collections.abc import Callable

import tensorflow as tf

from keras_ncr.checks import (
    check_bool,
    check_integer,
    check_known,
    check_positive,
    check_rate,
)
from keras_ncr.datasets import images
from keras_ncr.pipelines import row_random


def crop_and_flip(
    padding: int = 4,
    flip: bool = True,
    image_size: int | None = None,
    channels: int = 3,
) -> Callable:
    """Returns a function that shifts an image at random and mirrors half of them.

    The image is padded with zeros on each side and cut back to its size at a random
    place. The zeros stand for black: pixels are still raw here, and the network
    brings them to its own range afterwards.

    Args:
        padding: Int, at least 0. Pixels added on each side. The usual CIFAR protocol
            pads a 32-pixel image by 4. Defaults to 4.
        flip: Boolean. Whether to mirror left and right with probability one half; not
            for digits or letters. Defaults to `True`, as in the CIFAR protocol.
        image_size: Optional int, at least 1. Images are first brought to a square of
            so many pixels by `central_crop(image_size)`; encoded images and those of
            different sizes need it. Defaults to leaving their size alone.
        channels: 1 or 3, with `image_size` only. Defaults to 3.

    Returns:
        Callable `(image, seed) -> image` for `training_batches(augment=...)`: an image
        of shape `(height, width, channels)`, a seed of two integers, and back comes
        an image of the same shape and dtype; with `image_size`, any image that
        `datasets.images.decode` takes, and uint8 pixels of that size.

    Raises:
        ValueError: If `padding` is not an integer of at least 0, or another argument is
            out of its range.

    Reference:
        - [Iscen et al., 2022](https://arxiv.org/abs/2202.02200), supplement A
          ("random crop").
        - [Liu et al., 2020](https://arxiv.org/abs/2007.00151), the protocol it follows.

    Example:
    >>> augment = keras_ncr.pipelines.crop_and_flip(padding=1, flip=False)
    >>> image = np.full((4, 4, 1), 255, dtype="uint8")
    >>> augment(image, seed=[0, 7]).shape
    TensorShape([4, 4, 1])
    """
    padding = check_integer(padding, "padding", minimum=0)
    flip = check_bool(flip, "flip")
    images.check_channels(channels)
    prepare = None if image_size is None else central_crop(image_size, None, channels)

    def augment(image, seed):
        image = tf.convert_to_tensor(image) if prepare is None else prepare(image)
        if image.dtype == tf.string:
            raise ValueError(
                "`image_size` must be given for encoded images. "
                "Received: image_size=None and the bytes of an image file."
            )
        # One draw must not decide both the place of the crop and the mirroring.
        crop_seed, flip_seed = tf.unstack(tf.random.split(seed, num=2))
        if padding:
            size = tf.shape(image)
            border = [[padding, padding], [padding, padding], [0, 0]]
            cropped = tf.image.stateless_random_crop(
                tf.pad(image, border), size, crop_seed
            )
            image = tf.ensure_shape(cropped, image.shape)
        return _flipped(image, flip_seed) if flip else image

    def draw(seeds):
        """Rows and columns that each image moves by, and 1 if mirrored: (n, 3)."""
        crop_seeds, flip_seeds = tf.unstack(row_random.split(seeds, 2))
        moves = row_random.integers(crop_seeds, 2, 2 * padding + 1) - padding
        is_mirrored = flip & (row_random.uniform(flip_seeds) < 0.5)
        return tf.stack([*tf.unstack(moves), tf.cast(is_mirrored, tf.int32)], axis=1)

    if prepare is None:
        augment.draw, augment.apply = draw, _moved
    return augment


def random_resized_crop(
    size: int,
    min_area: float = 0.05,
    aspect_ratios=(3 / 4, 4 / 3),
    flip: bool = True,
    channels: int = 3,
) -> Callable:
    """Returns a function that resizes a random part of an image, and mirrors half.

    Known as the Inception crop. The part has between `min_area` and all of the image's
    area. Where no such part has a permitted aspect ratio, as in a panorama a few pixels
    high, the whole image is taken.

    Args:
        size: Int, at least 1: height and width of the result, in pixels. The paper has
            224.
        min_area: Number above 0, at most 1: the smallest share of the image's area.
            Defaults to 0.05, as in the authors' released code (torchvision's
            transformation of this name has 0.08).
        aspect_ratios: Two numbers above 0: least and greatest width / height of the
            part. Defaults to `(3/4, 4/3)`, as in the released code.
        flip: Boolean. Whether to mirror left and right with probability one half.
            Defaults to `True`, as in the released code.
        channels: 1 or 3, the channels of the result. Defaults to 3.

    Returns:
        Callable `(image, seed) -> image` for `training_batches(augment=...)`: an image
        as `datasets.images.decode` takes it, a seed of two integers, and back comes
        a uint8 tensor of shape `(size, size, channels)`. Resizing is bilinear without
        antialiasing, as in the released code.

    Raises:
        ValueError: If an argument is out of its range.

    Reference:
        - [Szegedy et al., 2015](https://arxiv.org/abs/1409.4842), section 6.
        - [Iscen et al., 2022](https://arxiv.org/abs/2202.02200), the released code.

    Example:
    >>> augment = keras_ncr.pipelines.random_resized_crop(8)
    >>> encoded = tf.io.encode_jpeg(np.zeros((40, 60, 3), "uint8"))
    >>> augment(encoded, seed=[0, 7]).shape
    TensorShape([8, 8, 3])
    """
    size = check_integer(size, "size", minimum=1)
    min_area = check_positive(check_rate(min_area, "min_area"), "min_area")
    aspect_ratios = _check_aspect_ratios(aspect_ratios)
    flip = check_bool(flip, "flip")
    images.check_channels(channels)

    def augment(image, seed):
        crop_seed, flip_seed = tf.unstack(tf.random.split(seed, num=2))

        def choose(height, width):
            offset, part_size, _ = tf.image.stateless_sample_distorted_bounding_box(
                tf.stack([height, width, channels]),
                bounding_boxes=[[[0.0, 0.0, 1.0, 1.0]]],  # no object, the whole image
                seed=crop_seed,
                min_object_covered=0.0,
                aspect_ratio_range=aspect_ratios,
                area_range=(min_area, 1.0),
            )
            return offset[0], offset[1], part_size[0], part_size[1]

        part = images.decode_part(image, choose, channels)
        resized = images.resize(part, (size, size))
        return _flipped(resized, flip_seed) if flip else resized

    return augment


def random_crop(
    size: int, short_side: int, flip: bool = True, channels: int = 3
) -> Callable:
    """Returns a function that crops an image at a random place, and mirrors half.

    The image is taken as resized until its shorter side has `short_side` pixels, and
    of it a square of `size` pixels.

    Args:
        size: Int, at least 1: height and width of the result, in pixels. The protocol
            of Clothing1M has 224.
        short_side: Int, at least `size`. The protocol of Clothing1M has 256.
        flip: Boolean. Whether to mirror left and right with probability one half.
            Defaults to `True`, as in the protocol of Clothing1M.
        channels: 1 or 3, the channels of the result. Defaults to 3.

    Returns:
        Callable `(image, seed) -> image` for `training_batches(augment=...)`: an image
        as `datasets.images.decode` takes it, a seed of two integers, and back comes
        a uint8 tensor of shape `(size, size, channels)`. Resizing is bilinear with
        antialiasing, as Pillow's, which the protocol of Clothing1M uses.

    Raises:
        ValueError: If an argument is out of its range.

    Reference:
        - [Li et al., 2020](https://arxiv.org/abs/2002.07394), the released code, the
          protocol of Clothing1M.

    Example:
    >>> augment = keras_ncr.pipelines.random_crop(8, short_side=10)
    >>> augment(np.zeros((40, 60, 3), "uint8"), seed=[0, 7]).shape
    TensorShape([8, 8, 3])
    """
    size, short_side = _check_sizes(size, short_side)
    flip = check_bool(flip, "flip")
    images.check_channels(channels)

    def augment(image, seed):
        crop_seed, flip_seed = tf.unstack(tf.random.split(seed, num=2))
        # A uniform float is below 1, so that the last place is as likely as the others.
        place = tf.random.stateless_uniform([2], crop_seed)

        def choose(height, width):
            margins, side = _margins(height, width, size / short_side)
            offset = tf.cast(place * tf.cast(margins + 1, tf.float32), tf.int32)
            return offset[0], offset[1], side, side

        square = images.decode_part(image, choose, channels)
        resized = images.resize(square, (size, size), antialias=True)
        return _flipped(resized, flip_seed) if flip else resized

    return augment


def central_crop(
    size: int, short_side: int | None = None, channels: int = 3, method: str = "area"
) -> Callable:
    """Returns a function that brings an image to a square, without any random choice.

    It is the evaluation that goes with each augmentation here. The image is taken as
    resized until its shorter side has `short_side` pixels, and of it the central square
    of `size` pixels.

    Args:
        size: Int, at least 1: height and width of the result, in pixels.
        short_side: Optional int, at least `size`. The authors' released code has 256
            for a `size` of 224. Defaults to `size`: the largest square.
        channels: 1 or 3, the channels of the result. Defaults to 3.
        method: `"area"` or `"bilinear"`, as in `datasets.images.resize`; bilinear
            with antialiasing. Defaults to `"area"`, as in the released code; where
            images are enlarged, `"bilinear"` shows no squares.

    Returns:
        Callable `(image) -> image`: an image as `datasets.images.decode` takes it, and
        back comes a uint8 tensor of shape `(size, size, channels)`.

    Raises:
        ValueError: If an argument is out of its range.

    Reference:
        - [Iscen et al., 2022](https://arxiv.org/abs/2202.02200), the released code.

    Example:
    >>> prepare = keras_ncr.pipelines.central_crop(8)
    >>> prepare(np.zeros((40, 60, 3), "uint8")).shape
    TensorShape([8, 8, 3])
    """
    size, short_side = _check_sizes(size, size if short_side is None else short_side)
    images.check_channels(channels)
    check_known(method, images.RESIZE_METHODS, "method")

    def choose(height, width):
        margins, side = _margins(height, width, size / short_side)
        return margins[0] // 2, margins[1] // 2, side, side

    def prepare(image):
        square = images.decode_part(image, choose, channels)
        return images.resize(square, (size, size), method, antialias=True)

    return prepare


def _margins(height, width, share):
    """What remains of an image beside a square: (2,) pixels; and the square's side."""
    shorter = tf.minimum(height, width)
    side = tf.cast(tf.round(share * tf.cast(shorter, tf.float32)), tf.int32)
    side = tf.maximum(side, 1)
    return tf.stack([height, width]) - side, side


def _moved(batch, moves):
    """Images moved by rows and columns, then mirrored where told, zeros beyond them."""
    height, width, channels = batch.shape[1:]
    down, right, is_mirrored = tf.unstack(moves[..., None], axis=1)  # (batch, 1) each
    rows, columns = down + tf.range(height), right + tf.range(width)
    columns = tf.where(is_mirrored == 1, columns[:, ::-1], columns)
    first = tf.range(tf.shape(batch)[0])[:, None] * height
    far = tf.constant(-(2**30))  # so that all that is added to it stays below 0
    rows = tf.where((rows >= 0) & (rows < height), (first + rows) * width, far)
    columns = tf.where((columns >= 0) & (columns < width), columns, far)
    places = rows[:, :, None] + columns[:, None, :]
    # Where there is no pixel of the image, `gather_nd` finds none, and gives 0.
    pixels = tf.reshape(batch, [-1, channels])
    return tf.gather_nd(pixels, places[..., None], bad_indices_policy="IGNORE")


def _flipped(image, seed):
    """The image, mirrored left and right with probability one half."""
    return tf.image.stateless_random_flip_left_right(image, seed)


def _check_sizes(size, short_side):
    """Returns both, or raises unless the square fits the resized image."""
    size = check_integer(size, "size", minimum=1)
    return size, check_integer(short_side, "short_side", minimum=size)


def _check_aspect_ratios(aspect_ratios):
    """Returns two positive floats in order, or raises."""
    ratios = tuple(check_positive(ratio, "aspect_ratios") for ratio in aspect_ratios)
    if len(ratios) != 2 or ratios[0] > ratios[1]:
        raise ValueError(
            "`aspect_ratios` must be two numbers, the smaller one first. "
            f"Received: aspect_ratios={aspect_ratios}."
        )
    return ratios
