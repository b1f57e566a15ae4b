"""Changes of one image, as Pillow defines them: what augmentation policies draw from.

A change is a function `(image, amount) -> image` on uint8 pixels of shape `(height,
width, 1 or 3)`, in TensorFlow operations. Gray images have no colors to change.
"""

import math

import numpy as np
import tensorflow as tf

# What Pillow's `convert("L")` adds up, out of 65536.
_GRAY_SHARES = (19595, 38470, 7471)
_SMOOTHING = np.array([[1, 1, 1], [1, 5, 1], [1, 1, 1]], "float32") / 13
_FILL = (125, 123, 114)  # Of squares that are cut out: the mean color of CIFAR.


def auto_contrast(image, amount=None):
    """Returns an image whose channels reach from 0 to 255; `amount` is not used."""
    pixels = tf.cast(image, "float64")
    low = tf.reduce_min(pixels, axis=[0, 1])
    width = tf.reduce_max(pixels, axis=[0, 1]) - low
    scale = 255.0 / tf.where(width > 0, width, 1.0)
    stretched = tf.where(width > 0, pixels * scale - low * scale, pixels)
    return _as_pixels(stretched)


def equalize(image, amount=None):
    """Returns an image with as many pixels of each value; `amount` is not used."""

    def of_channel(channel):
        counts = tf.math.bincount(tf.cast(channel, "int32"), minlength=256)
        last = tf.gather(counts, tf.cast(tf.reduce_max(channel), "int32"))
        step = (tf.reduce_sum(counts) - last) // 255
        before = tf.cumsum(counts, exclusive=True)
        table = (step // 2 + before) // tf.maximum(step, 1)
        table = tf.where(step > 0, tf.minimum(table, 255), tf.range(256))
        return tf.cast(tf.gather(table, tf.cast(channel, "int32")), "uint8")

    flat = [of_channel(tf.reshape(one, [-1])) for one in tf.unstack(image, axis=-1)]
    return tf.reshape(tf.stack(flat, axis=-1), tf.shape(image))


def invert(image, amount=None):
    """Returns the negative of an image; `amount` is not used."""
    return 255 - image


def solarize(image, amount):
    """Returns an image of which pixels of `amount` or more are inverted."""
    return tf.where(tf.cast(image, "float32") < amount, image, 255 - image)


def solarize_add(image, amount):
    """Returns an image that is brighter by whole `amount`, then solarized at 128."""
    brighter = tf.cast(image, "int32") + tf.cast(amount, "int32")
    return solarize(tf.cast(tf.minimum(brighter, 255), "uint8"), 128.0)


def posterize(image, amount):
    """Returns an image with whole `amount` bits of each value; of none it is black."""
    unit = tf.bitwise.left_shift(1, 8 - tf.cast(amount, "int32"))
    return tf.cast(tf.cast(image, "int32") // unit * unit, "uint8")


def brightness(image, amount):
    """Returns an image between black (0), itself (1) and beyond."""
    return _blended(tf.zeros_like(image), image, amount)


def color(image, amount):
    """Returns an image between gray (0), itself (1) and beyond."""
    return _blended(_gray(image), image, amount)


def contrast(image, amount):
    """Returns an image between its mean gray (0), itself (1) and beyond."""
    mean = tf.floor(tf.reduce_mean(tf.cast(_gray(image), "float32")) + 0.5)
    return _blended(tf.fill(tf.shape(image), tf.cast(mean, "uint8")), image, amount)


def sharpness(image, amount):
    """Returns an image between smoothed (0), itself (1) and beyond."""
    channels = image.shape[-1]
    kernel = tf.tile(_SMOOTHING[:, :, None, None], [1, 1, channels, 1])
    pixels = tf.cast(image, "float32")[None]
    smooth = tf.nn.depthwise_conv2d(pixels, kernel, [1] * 4, "VALID")[0]
    smooth = tf.pad(_as_pixels(smooth + 0.5), [[1, 1], [1, 1], [0, 0]])
    within = tf.pad(tf.ones_like(image[2:, 2:], "bool"), [[1, 1], [1, 1], [0, 0]])
    return _blended(tf.where(within, smooth, image), image, amount)


def shear_x(image, amount):
    """Returns an image whose rows move left by `amount` for each row further down."""
    return _transformed(image, (1, amount, 0, 0, 1, 0))


def shear_y(image, amount):
    """Returns an image whose columns move up by `amount` for each one to the right."""
    return _transformed(image, (1, 0, 0, amount, 1, 0))


def translate_x(image, amount):
    """Returns an image that moved left by `amount` pixels."""
    return _transformed(image, (1, 0, amount, 0, 1, 0))


def translate_y(image, amount):
    """Returns an image that moved up by `amount` pixels."""
    return _transformed(image, (1, 0, 0, 0, 1, amount))


def rotate(image, amount):
    """Returns an image turned counterclockwise by `amount` degrees."""
    turn = -amount * math.pi / 180
    sin, cos = tf.sin(turn), tf.cos(turn)
    middle_y, middle_x = [
        tf.cast(n, "float32") / 2 for n in tf.unstack(tf.shape(image)[:2])
    ]
    right = middle_x - cos * middle_x - sin * middle_y
    down = middle_y + sin * middle_x - cos * middle_y
    return _transformed(image, (cos, sin, right, -sin, cos, down))


def square_cut_out(image, amount, place):
    """Returns an image with a square of mean color, `amount` wide, around `place`."""
    size = tf.cast(tf.shape(image)[:2], "float32")
    start = tf.floor(tf.maximum(place * size - amount / 2, 0.0))
    end = tf.minimum(start + amount, size)
    rows, columns = [tf.range(n, dtype="float32") for n in tf.unstack(size)]
    is_row = (rows >= start[0]) & (rows <= end[0])
    is_column = (columns >= start[1]) & (columns <= end[1])
    fill = tf.constant(_FILL[: image.shape[-1]], "uint8")
    return tf.where((is_row[:, None] & is_column)[..., None], fill, image)


def _transformed(image, matrix):
    """Returns an image whose pixel (x, y) was at (ax + by + c, dx + ey + f)."""
    a, b, c, d, e, f = [tf.cast(number, "float32") for number in matrix]
    # Pillow maps the middles of pixels, TensorFlow their corners.
    c, f = c + (a + b - 1) / 2, f + (d + e - 1) / 2
    zero = tf.zeros([])
    moved = tf.raw_ops.ImageProjectiveTransformV3(
        images=image[None],
        transforms=tf.stack([a, b, c, d, e, f, zero, zero])[None],
        output_shape=tf.shape(image)[:2],
        fill_value=0.0,
        interpolation="NEAREST",
        fill_mode="CONSTANT",
    )
    return tf.ensure_shape(moved[0], image.shape)


def _gray(image):
    """Returns an image without its colors."""
    if image.shape[-1] == 1:
        return image
    sums = tf.reduce_sum(tf.cast(image, "int32") * _GRAY_SHARES, axis=-1, keepdims=True)
    gray = tf.cast((sums + 32768) // 65536, "uint8")
    return tf.broadcast_to(gray, tf.shape(image))


def _blended(other, image, amount):
    """Returns what is as far from another image as `amount` times the image is."""
    other, pixels = tf.cast(other, "float32"), tf.cast(image, "float32")
    return _as_pixels(other + amount * (pixels - other))


def _as_pixels(values):
    """Returns values as whole pixels, rounded down, from 0 to 255."""
    return tf.cast(tf.clip_by_value(values, 0.0, 255.0), "uint8")
