"""Data sets of images and labels that are in memory."""

import numpy as np
import tensorflow as tf

from keras_ncr.checks import (
    check_class_names,
    check_found,
    check_integer,
    check_labels,
    in_order_of_classes,
)
from keras_ncr.datasets.source import Source, host_tensor


def from_arrays(
    images,
    labels,
    num_classes: int | None = None,
    class_names=None,
    ids=None,
    name: str = "arrays",
    clean_labels=None,
) -> Source:
    """Returns the `Source` of images and labels that are in memory.

    The index of an example is its position in the arrays.

    Args:
        images: Array of shape `(n, height, width, channels)`, whole numbers from 0 to
            255: the range that the networks of `keras_ncr.backbones` expect.
        labels: Integer array of shape `(n,)`, class numbers from 0.
        num_classes: Optional int. Defaults to the number of `class_names`, or to the
            largest label plus one, where each number has an example.
        class_names: Optional strings, one for each class. Defaults to the numbers.
        ids: Optional array of shape `(n,)`: integers or strings to know the examples
            by. Defaults to the positions.
        name: String. What messages call the data set. Defaults to `"arrays"`.
        clean_labels: As in `Source`: the true labels, if some are known to be wrong.

    Returns:
        `Source`.

    Raises:
        ValueError: If `images` is not such an array, the labels are not class numbers
            within range or leave some out, names repeat, or there are not as many
            labels as images.

    Example:
    >>> images = np.zeros((6, 8, 8, 1), dtype="uint8")
    >>> source = keras_ncr.datasets.from_arrays(images, [0, 1, 2, 0, 1, 2])
    >>> source.num_examples, source.num_classes
    (6, 3)
    """
    images = _check_images(images)
    labels = check_labels(labels)
    if len(images) != len(labels):
        raise ValueError(
            "`images` and `labels` must be equally many. "
            f"Received: {len(images)} images and {len(labels)} labels."
        )
    num_classes, class_names = classes_of(labels, num_classes, class_names)
    return source_in_memory(
        name,
        images,
        labels,
        ids,
        num_classes=num_classes,
        class_names=class_names,
        image_shape=tuple(images.shape[1:]),
        clean_labels=clean_labels,
    )


def source_in_memory(name, inputs, labels, ids=None, image_shape=None, **fields):
    """Returns a `Source` of checked inputs: an array, or a dict of arrays by name."""
    index = np.arange(len(labels))
    stored = tf.nest.map_structure(host_tensor, inputs)
    source = Source(
        name=name,
        dataset=tf.data.Dataset.from_tensor_slices(
            {"inputs": stored, "label": labels, "index": index}
        ),
        labels=labels,
        ids=index if ids is None else np.asarray(ids),
        image_shape=image_shape,
        **fields,
    )
    # Fills the cached property: what came as an array need not be read back.
    vars(source)["stored_inputs"] = stored
    return source


def classes_of(labels, num_classes=None, class_names=None):
    """Returns the number of classes and their names, from what is given of them."""
    if class_names is not None:
        class_names = in_order_of_classes(class_names)
    if num_classes is None:
        is_named = class_names is not None and len(class_names) > 1
        num_classes = len(class_names) if is_named else check_found(labels)
    check_integer(num_classes, "num_classes", minimum=2)
    if class_names is None:
        return num_classes, tuple(str(number) for number in range(num_classes))
    return num_classes, check_class_names(class_names, num_classes)


def _check_images(images):
    """Returns images as uint8, or raises: other ranges would train badly unnoticed."""
    images = np.asarray(images)
    if images.ndim != 4:
        raise ValueError(
            "`images` must have shape (n, height, width, channels). Received: shape "
            f"{images.shape}. Gray images get their channel by `images[..., None]`."
        )
    if images.dtype == np.uint8:
        return images
    if images.dtype.kind not in "iu":
        raise ValueError(
            "`images` must be whole numbers from 0 to 255. Received: dtype "
            f"{images.dtype}. Convert images in 0 to 1 by "
            "`np.round(images * 255).astype('uint8')`."
        )
    if images.size and (images.min() < 0 or images.max() > 255):
        raise ValueError(
            "`images` must be whole numbers from 0 to 255. "
            f"Received: {images.min()} to {images.max()}."
        )
    return images.astype(np.uint8)
