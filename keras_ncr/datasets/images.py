"""Encoded images to pixels, in TensorFlow operations.

An image is either pixels, a uint8 tensor of shape `(height, width, channels)`, or the
bytes of an image file, a scalar string tensor: JPEG, PNG, GIF, BMP or WebP. A source
hands bytes on as they are, and whoever needs pixels decodes them here, inside `tf.data`
and as late as possible: often only a part of the image is wanted.

Orientation tags (EXIF) are not followed: pixels come as the file stores them.
"""

import tensorflow as tf

from keras_ncr.checks import check_integer, check_known

RESIZE_METHODS = ("bilinear", "area")


def decode(image, channels=3):
    """Returns the pixels of an image file, `(height, width, channels)`, as uint8."""
    # Gray is repeated for three channels, transparency is dropped, of 16 bits the upper
    # 8 are kept, and an animated GIF gives its first frame. What TensorFlow reads
    # wrongly (an animated WebP, a BMP of 8 bits) is refused when it runs.
    check_channels(channels)
    image = _as_image(image)
    if image.dtype == tf.uint8:
        return _with_channels(image, channels)
    pixels = tf.cond(
        tf.io.is_jpeg(image),
        lambda: tf.io.decode_jpeg(image, channels=3),
        lambda: _decode_other(image),
    )
    return _with_channels(pixels, channels)


def decode_part(image, choose, channels=3):
    """Returns the pixels of a part, `(top, left, height, width) = choose(*size)`."""
    # They are those of `decode`, but little else of a JPEG is decoded.
    check_channels(channels)
    image = _as_image(image)

    def part(pixels):
        top, left, height, width = choose(*tf.unstack(tf.shape(pixels))[:2])
        # Where it leaves the image this is an error, which `pixels[a:b]` is not.
        sliced = tf.slice(pixels, [top, left, 0], [height, width, -1])
        return tf.ensure_shape(sliced, [None, None, pixels.shape[-1]])

    if image.dtype == tf.uint8:
        return _with_channels(part(image), channels)
    # Size, choice and decoding in one branch: a `tf.cond` for each would take longer.
    pixels = tf.cond(
        tf.io.is_jpeg(image),
        lambda: _decode_part_of_jpeg(image, choose),
        lambda: part(_decode_other(image)),
    )
    return _with_channels(pixels, channels)


def resize(image, size, method="bilinear", antialias=False):
    """Returns pixels resized, rounded to whole numbers again."""
    # "area" shows squares where the image grows. With `antialias`, "bilinear" takes all
    # pixels into account where the image shrinks, as Pillow does; else the nearest
    # four.
    check_known(method, RESIZE_METHODS, "method")
    resized = tf.image.resize(image, size, method, antialias=antialias)
    return tf.cast(tf.round(resized), tf.uint8)  # means: never outside 0 to 255


def check_channels(channels):
    """Returns `channels`, or raises unless they are 1 or 3."""
    if check_integer(channels, "channels", minimum=1) not in (1, 3):
        raise ValueError(
            "`channels` must be 1, for gray images, or 3, for color. "
            f"Received: channels={channels}."
        )
    return channels


def _as_image(image):
    """Returns `image` as a tensor, or raises unless it is bytes or uint8 pixels."""
    image = tf.convert_to_tensor(image)
    rank = {tf.string: 0, tf.uint8: 3}.get(image.dtype)
    if rank is None or image.shape.rank not in (rank, None):
        raise ValueError(
            "`image` must be the bytes of one image file, or uint8 pixels of shape "
            f"(height, width, channels). Received: dtype {image.dtype.name}, shape "
            f"{image.shape}."
        )
    return image


def _decode_part_of_jpeg(image, choose):
    """The pixels of a part of a JPEG, in three channels."""
    image_height, image_width, _ = tf.unstack(tf.image.extract_jpeg_shape(image))
    top, left, height, width = choose(image_height, image_width)
    # Where color has a lower resolution, that of a column depends on the next ones too,
    # and is found in another way if less than five are decoded. Four columns more on
    # each side make it the same as in `decode`.
    first = tf.maximum(left - 4, 0)
    end = tf.minimum(left + width + 4, image_width)
    pixels = tf.image.decode_and_crop_jpeg(
        image, tf.stack([top, first, height, end - first]), channels=3
    )
    # Without the number of channels `_with_channels` would copy every pixel.
    return tf.ensure_shape(
        tf.slice(pixels, [0, left - first, 0], [-1, width, -1]), [None, None, 3]
    )


def _decode_other(image):
    """The pixels of what is no JPEG, in three channels."""
    # Its first 24 bytes as numbers; zeros where it is shorter.
    header = tf.io.decode_raw(image, tf.uint8, fixed_length=24)
    # The bit that says animation. TensorFlow 2.21 writes past the end of such images.
    is_animation = _has(header, 8, b"WEBPVP8X") & (header[20] & 2 > 0)
    message = "Animated WebP files are not read: save one frame, as PNG for example."
    with tf.control_dependencies([_refuse_if(is_animation, message)]):
        pixels = tf.io.decode_image(image, expand_animations=False)
    pixels = tf.ensure_shape(pixels, [None, None, None])
    # TensorFlow takes the entries of a palette for gray values.
    has_palette = _has(header, 0, b"BM") & (tf.shape(pixels)[-1] == 1)
    message = "BMP files of 8 bits are not read: save the image as PNG."
    with tf.control_dependencies([_refuse_if(has_palette, message)]):
        return _with_channels(pixels, 3)


def _refuse_if(condition, message):
    """An operation that fails with a message, the cheapest of its kind."""
    return tf.debugging.Assert(~condition, [message])


def _with_channels(pixels, channels):
    """Pixels with 1 or 3 channels, from 1 to 4 (of which 2 are gray, transparency)."""
    num_channels = pixels.shape[-1]
    if num_channels == channels:
        return pixels
    if num_channels is not None and num_channels > 4:
        raise ValueError(
            "`image` must have 1 to 4 channels to be brought to "
            f"channels={channels}. Received: shape {pixels.shape}."
        )
    if num_channels != 3:
        # The first channel three times, or the first three.
        is_color = tf.cast(tf.shape(pixels)[-1] >= 3, tf.int32)
        pixels = tf.gather(pixels, tf.range(3) * is_color, axis=-1)
    return tf.image.rgb_to_grayscale(pixels) if channels == 1 else pixels


def _has(header, position, expected):
    """Whether a header has these bytes at a position."""
    found = header[position : position + len(expected)]
    return tf.reduce_all(found == tf.constant(list(expected), tf.uint8))
