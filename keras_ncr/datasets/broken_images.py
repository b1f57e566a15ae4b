"""Images that cannot be read, found before a long run finds them."""

import re

import keras
import numpy as np
import tensorflow as tf

from keras_ncr.checks import check_bool
from keras_ncr.datasets.source import host_tensor
from keras_ncr.images import decode

_BATCH_SIZE = 256


def find_broken_images(source, verbose=False):
    """Returns the index of each image that cannot be read, with the reason.

    Every image file is read and decoded once, on all cores: empty and truncated files,
    web pages saved as images, and files that are gone are found. Images that the source
    has as pixels have been decoded, so nothing is read.

    Args:
        source: `keras_ncr.datasets.Source`.
        verbose: Boolean. Whether to show a progress bar. Defaults to `False`.

    Returns:
        Dict from int, the index, to string, the reason, in the order of the index.

    Raises:
        tf.errors.OpError: If the data set itself cannot be read to its end.

    Example:
    >>> for name, data in (("a/1.png", b"<html>"), ("b/1.png", b"")):
    ...     tf.io.write_file(f"photos/{name}", data)
    >>> source = keras_ncr.datasets.from_folder("photos")
    >>> keras_ncr.datasets.find_broken_images(source)[1]
    'The file is empty.'
    """
    check_bool(verbose, "verbose")
    if not source.is_encoded:
        return {}
    is_sound = _decodable(source, verbose)
    if np.all(is_sound):
        return {}
    reasons = {}
    for index, read in _readers(source, is_sound):
        reason = _reason(read)
        if reason is not None:
            reasons[index] = reason
    return dict(sorted(reasons.items()))


def check_images(source, verbose=False):
    """Returns `source`, or raises if some of its images cannot be read.

    Args:
        source: `keras_ncr.datasets.Source`.
        verbose: Boolean. Whether to show a progress bar. Defaults to `False`.

    Returns:
        `source`.

    Raises:
        ValueError: If there are such images. It names the first three by their ids.

    Example:
    >>> train, _ = keras_ncr.datasets.digits()
    >>> keras_ncr.datasets.check_images(train).num_examples
    1437
    """
    reasons = find_broken_images(source, verbose)
    if reasons:
        examples = "".join(
            f"\n    {source.ids[index]}: {reason}"
            for index, reason in list(reasons.items())[:3]
        )
        more = "\n    ..." if len(reasons) > 3 else ""
        raise ValueError(
            f"{len(reasons)} of the {source.num_examples} images of {source.name!r} "
            f"cannot be read:{examples}{more}\nReplace or remove these files, or go on "
            "without them: `broken = find_broken_images(source)`, then "
            "`source.subset(np.setdiff1d(np.arange(source.num_examples), "
            "list(broken)))`."
        )
    return source


def _decodable(source, verbose):
    """Which images can be read and decoded, an array of bools by index."""

    def decode_one(example):
        image = example.get("image")
        if image is None:
            image = source.read_image(example["index"])
        # The size is asked for so that decoding is not optimized away.
        return example["index"], tf.size(decode(image))

    def sound_ones(batch):
        # Errors are ignored here alone: those of the data set itself must come through,
        # and one that fails at its end would otherwise be asked again without end.
        return (
            tf.data.Dataset.from_tensor_slices(batch)
            .map(decode_one, num_parallel_calls=tf.data.AUTOTUNE)
            .ignore_errors()
        )

    if source.read_image is None:
        examples = source.dataset
    else:
        examples = tf.data.Dataset.range(source.num_examples)
        examples = examples.map(lambda index: {"index": index})
    sound = examples.batch(_BATCH_SIZE).flat_map(sound_ones)
    is_sound = np.zeros(source.num_examples, bool)
    progress = keras.utils.Progbar(
        source.num_examples, verbose=int(verbose), unit_name="image"
    )
    for indices, _ in sound.batch(_BATCH_SIZE):
        is_sound[indices.numpy()] = True
        progress.update(int(is_sound.sum()))
    progress.update(source.num_examples)
    return is_sound


def _readers(source, is_sound):
    """Pairs of an index and a function that reads it, for images that are not sound."""
    if source.read_image is not None:
        for index in np.flatnonzero(~is_sound):
            yield int(index), lambda index=index: source.read_image(tf.constant(index))
        return
    is_broken = host_tensor(~is_sound)
    broken = source.dataset.filter(
        lambda example: tf.gather(is_broken, example["index"])
    )
    for example in broken:
        yield int(example["index"]), lambda example=example: example["image"]


def _reason(read):
    """Why an image cannot be read, or None if it can."""
    image = None
    try:
        image = read()
        decode(image)
    except tf.errors.OpError as error:
        if image is None:
            return _plain(error.message)
        data = image.numpy()
        if not data:
            return "The file is empty."
        return f"{_plain(error.message)} It begins with {data[:12]!r}."
    return None


def _plain(message):
    """The sentence of TensorFlow's message, without the names of its operations."""
    message = re.sub(r"\{\{.*?\}\} ?", "", message)
    message = re.split(r"\s\[Op:|\sCondition x == y", message)[0]
    return " ".join(message.split()).rstrip(".") + "."
