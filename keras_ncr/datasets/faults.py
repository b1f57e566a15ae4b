"""What is wrong with the data, named when reading them fails in the middle of a run."""

import contextlib

import tensorflow as tf

from keras_ncr.datasets.broken_images import find_broken_images

# What `tf.data` raises for files that are gone, torn or something else.
_ERRORS = (
    tf.errors.DataLossError,
    tf.errors.FailedPreconditionError,
    tf.errors.InvalidArgumentError,
    tf.errors.NotFoundError,
    tf.errors.PermissionDeniedError,
)


@contextlib.contextmanager
def faults_named(*sources):
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
    ...             size = keras_ncr.datasets.images.size_of(example["image"])
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
                raise ValueError(_message(source, faults)) from error
        raise


def _faults_of(source):
    """Reasons by the file or id that is faulty, a dict."""
    faults = {} if source.find_faults is None else source.find_faults()
    if faults:
        return faults
    try:
        reasons = find_broken_images(source)
    except tf.errors.OpError:  # The one that this is about; nothing more is known.
        return {}
    return {source.ids[index]: reason for index, reason in reasons.items()}


def _message(source, faults):
    """What the error says of the first three faults."""
    first = "".join(
        f"\n    {name}: {reason}" for name, reason in list(faults.items())[:3]
    )
    more = "\n    ..." if len(faults) > 3 else ""
    return (
        f"Reading {source.name!r} failed: {len(faults):,} of its files or images "
        f"cannot be read.{first}{more}\n"
        "If they could be read when the run began, put them back as they were: the "
        "same command then goes on. Else replace them, or begin another run with "
        "`--config.data.on_error=skip`."
    )
