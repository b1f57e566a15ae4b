"""Thumbnails: small copies of the images that a page shows, one file each."""

import os

import keras
import numpy as np
import tensorflow as tf

from keras_ncr.datasets.image_files import source_of_files
from keras_ncr.datasets.images import decode, resize
from keras_ncr.datasets.source import host_tensor

_JPEG_QUALITY = 85
_READ_AT_ONCE = 16


def source_of_pictures(paths, frame):
    """Returns a source of the picture files that belong to the rows of a frame."""
    return source_of_files(
        name="pictures",
        paths=[os.path.expanduser(path) for path in paths],
        labels=frame["given_label"].to_numpy("int64"),
        ids=[str(index) for index in range(len(frame))],
        class_names=[str(name) for name in frame.attrs["class_names"]],
    )


def write_thumbnails(source, folder, longest_sides, largest_png, verbose):
    """Writes thumbnails in one pass, and returns their file names by index."""
    num_wanted = int(np.count_nonzero(longest_sides))
    progress = keras.utils.Progbar(
        num_wanted, verbose=int(verbose), unit_name="picture"
    )
    names = {}
    if not num_wanted:
        return names
    for index, is_png, data in _encoded(source, longest_sides, largest_png):
        index = int(index)
        names[index] = f"{index}.{'png' if is_png else 'jpg'}"
        (folder / names[index]).write_bytes(data.numpy())
        progress.update(len(names))
        if len(names) == num_wanted:
            break  # The page shows nothing of the rest.
    progress.update(num_wanted)
    return names


def _encoded(source, longest_sides, largest_png):
    """Returns a dataset of index, whether the file is PNG, and its bytes."""
    side_of = host_tensor(np.asarray(longest_sides, "int32"))

    def encode(example):
        index, image = example["index"], example.get("inputs")
        if image is None:
            image = source.read_image(index)
        pixels = _small(_pixels(image, source), tf.gather(side_of, index))
        is_png = tf.reduce_max(tf.shape(pixels)) <= largest_png
        data = tf.cond(
            is_png,
            lambda: tf.io.encode_png(pixels),
            lambda: tf.io.encode_jpeg(pixels, quality=_JPEG_QUALITY),
        )
        return index, is_png, data

    def encode_if_readable(example):
        # For one example alone: errors of the data set itself must come through.
        return tf.data.Dataset.from_tensors(example).map(encode).ignore_errors()

    if source.read_image is None:
        examples = source.dataset.filter(
            lambda example: tf.gather(side_of, example["index"]) > 0
        )
    else:
        wanted = host_tensor(np.flatnonzero(longest_sides))
        examples = tf.data.Dataset.from_tensor_slices({"index": wanted})
    return examples.interleave(
        encode_if_readable,
        cycle_length=_READ_AT_ONCE,
        num_parallel_calls=tf.data.AUTOTUNE,
        deterministic=False,  # A slow image does not hold up others.
    )


def _pixels(image, source):
    """Returns the pixels of an image, gray or in color."""
    num_channels = source.image_shape[-1]
    if not source.is_encoded and num_channels > 4:
        image = image[..., :3]  # A picture shows no more than three.
    return decode(image, 1 if num_channels == 1 else 3)


def _small(pixels, longest_side):
    """Returns pixels scaled down to a longer side, in the same proportions."""
    size = tf.shape(pixels)[:2]
    longest = tf.reduce_max(size)
    scaled = tf.cast(size, tf.float32) * tf.cast(longest_side / longest, tf.float32)
    new_size = tf.maximum(tf.cast(tf.round(scaled), tf.int32), 1)
    return tf.cond(
        longest <= longest_side,
        lambda: pixels,
        lambda: resize(pixels, new_size, antialias=True),
    )
