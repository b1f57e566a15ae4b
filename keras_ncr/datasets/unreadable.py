"""Examples that cannot be read: found, named when reading fails, or left out."""

import contextlib
import dataclasses
import re
import typing

import keras
import numpy as np
import tensorflow as tf

from keras_ncr.checks import check_bool, check_known
from keras_ncr.datasets.images import decode
from keras_ncr.datasets.source import Source, host_tensor

# What can be done about examples that cannot be read.
ON_ERROR = ("raise", "skip")

_BATCH_SIZE = 256

# What `tf.data` raises for files that are gone, torn or something else.
_ERRORS = (
    tf.errors.DataLossError,
    tf.errors.FailedPreconditionError,
    tf.errors.InvalidArgumentError,
    tf.errors.NotFoundError,
    tf.errors.PermissionDeniedError,
)


class Skipped(typing.NamedTuple):
    """An example that was left out of a `Source`.

    Args:
        id: String that the data set knows it by: a path, an id, a row.
        reason: String, a sentence.

    Example:
    >>> keras_ncr.datasets.Skipped("cat/1.jpg", "The file is empty.").reason
    'The file is empty.'
    """

    id: str
    reason: str


def find_broken_images(source: Source, verbose: bool = False) -> dict[int, str]:
    """Returns the index of each image that cannot be read, with the reason.

    Every image file is read and decoded once, on all cores: empty and truncated files,
    web pages saved as images, and files that are gone are found. Files that the source
    holds in memory are decoded from there. Where it has pixels, nothing is read.

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


def check_images(source: Source, verbose: bool = False) -> Source:
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
        raise ValueError(
            f"{len(reasons)} of the {source.num_examples} images of {source.name!r} "
            f"cannot be read:{_listed(_by_id(source, reasons))}\n"
            "Replace or remove these files, or go on without them: "
            "`--config.data.on_error=skip`, in Python "
            "`keras_ncr.datasets.skip_broken_images(source)`."
        )
    return source


def skip_broken_images(source: Source, verbose: bool = False) -> Source:
    """Returns a source without the images that cannot be read.

    What is left has an index of its own. What was left out is in `skipped`.

    Args:
        source: `keras_ncr.datasets.Source`.
        verbose: Boolean. Whether to show a progress bar. Defaults to `False`.

    Returns:
        `Source`, the same one if all images can be read.

    Raises:
        ValueError: If none can.

    Example:
    >>> image = tf.io.encode_png(np.zeros((4, 4, 3), "uint8"))
    >>> for name, data in (("a/1.png", image), ("a/2.png", b""), ("b/1.png", image)):
    ...     tf.io.write_file(f"pets/{name}", data)
    >>> source = keras_ncr.datasets.from_folder("pets")
    >>> rest = keras_ncr.datasets.skip_broken_images(source)
    >>> rest.ids.tolist(), rest.skipped
    (['a/1.png', 'b/1.png'], (Skipped(id='a/2.png', reason='The file is empty.'),))
    """
    return without(source, find_broken_images(source, verbose))


@contextlib.contextmanager
def faults_named(*sources: Source):
    r"""Returns a context in which an error of `tf.data` names the faulty image or file.

    TensorFlow says that an image cannot be decoded, or that a file is torn, and not
    which one. Nothing is done until that happens: then the sources are searched, which
    decodes all of their images once.

    Args:
        *sources: `keras_ncr.datasets.Source`s that are read within the context.

    Returns:
        Context manager. It raises `ValueError` in place of TensorFlow's error if
        something faulty is found in the data; else TensorFlow's.

    Example:
    >>> image = tf.io.encode_png(np.zeros((4, 4, 3), "uint8"))
    >>> for name in ("cat/1.png", "dog/1.png"):
    ...     tf.io.write_file(f"pair/{name}", image)
    >>> source = keras_ncr.datasets.from_folder("pair")
    >>> tf.io.write_file("pair/dog/1.png", "")
    >>> try:
    ...     with keras_ncr.datasets.faults_named(source):
    ...         for example in source.dataset:
    ...             pixels = keras_ncr.datasets.images.decode(example["inputs"])
    ... except ValueError as error:
    ...     print(str(error).partition("\n")[0])
    Reading 'pair' failed: 1 of its files or images cannot be read.
    """
    try:
        yield
    except _ERRORS as error:
        for source in sources:
            faults = _faults_of(source)
            if faults:
                raise ValueError(
                    f"Reading {source.name!r} failed: {len(faults):,} of its files or "
                    f"images cannot be read.{_listed(faults)}\nIf they could be read "
                    "when the run began, put them back as they were: the same command "
                    "then goes on. Else replace them, or begin another run with "
                    "`--config.data.on_error=skip`."
                ) from error
        raise


def check_on_error(on_error):
    """Returns whether faulty examples are to be skipped, or raises."""
    return check_known(on_error, ON_ERROR, "on_error") == "skip"


def without(source, reasons):
    """Returns a source without some examples, which its `skipped` then lists."""
    if not reasons:
        return source
    left_out = tuple(
        Skipped(str(source.ids[index]), reason) for index, reason in reasons.items()
    )
    kept = np.setdiff1d(np.arange(source.num_examples), list(reasons))
    check_left(len(kept), left_out, source.name)
    # The part first: a source that is replaced forgets the images it holds in memory.
    part = source.subset(kept)
    return dataclasses.replace(part, skipped=(*source.skipped, *left_out))


def check_left(num_examples, skipped, name):
    """Raises if all examples would be skipped."""
    if not num_examples:
        raise ValueError(
            f"At least one example of {name!r} must be readable. Received: "
            f"{len(skipped):,} that are not: {first_ones(skipped)}."
        )


def first_ones(skipped):
    """Returns the first three of what was skipped as text, with the reasons."""
    words = [f"{id_} ({reason.rstrip('.')})" for id_, reason in skipped[:3]]
    return ", ".join(words) + (", ..." if len(skipped) > 3 else "")


def plain_message(error):
    """Returns the sentence of TensorFlow's error, without names of its operations."""
    message = re.sub(r"\{\{.*?\}\} ?", "", error.message)
    message = re.split(r"\s\[Op:|\s\[\[|\sCondition x == y", message)[0]
    return " ".join(message.split()).rstrip(".") + "."


def _decodable(source, verbose):
    """Which images can be read and decoded, an array of bools by index."""
    read_image = _image_reader(source)

    def decode_one(example):
        image = example.get("inputs")
        if image is None:
            image = read_image(example["index"])
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

    if read_image is None:
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


def _image_reader(source):
    """What reads any image by its index, from memory if it can; None of a stream."""
    if "stored_inputs" in vars(source):
        return lambda index: tf.gather(source.stored_inputs, index)
    return source.read_image


def _readers(source, is_sound):
    """Pairs of an index and a function that reads it, for images that are not sound."""
    read_image = _image_reader(source)
    if read_image is not None:
        for index in np.flatnonzero(~is_sound):
            yield int(index), lambda index=index: read_image(tf.constant(index))
        return
    is_broken = host_tensor(~is_sound)
    broken = source.dataset.filter(
        lambda example: tf.gather(is_broken, example["index"])
    )
    for example in broken:
        yield int(example["index"]), lambda example=example: example["inputs"]


def _reason(read):
    """Why an image cannot be read, or None if it can."""
    image = None
    try:
        image = read()
        decode(image)
    except tf.errors.OpError as error:
        if image is None:
            return plain_message(error)
        data = image.numpy()
        if not data:
            return "The file is empty."
        return f"{plain_message(error)} It begins with {data[:12]!r}."
    return None


def _faults_of(source):
    """Reasons by the file or id that is faulty, a dict."""
    faults = {} if source.find_faults is None else source.find_faults()
    if faults:
        return faults
    try:
        reasons = find_broken_images(source)
    except tf.errors.OpError:  # The one that this is about; nothing more is known.
        return {}
    return _by_id(source, reasons)


def _by_id(source, reasons):
    """Reasons by the id of an example, from those by its index."""
    return {source.ids[index]: reason for index, reason in reasons.items()}


def _listed(reasons):
    """The first three reasons, each on a line with what it is about."""
    lines = [f"\n    {name}: {reason}" for name, reason in list(reasons.items())[:3]]
    return "".join(lines) + ("\n    ..." if len(reasons) > 3 else "")
