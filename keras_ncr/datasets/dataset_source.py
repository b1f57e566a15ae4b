"""Any `tf.data.Dataset` of images and labels."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from keras_ncr.checks import check_class_names, check_known, check_labels
from keras_ncr.datasets.array_source import classes_of
from keras_ncr.datasets.dataset_order import check_fixed_order
from keras_ncr.datasets.source import Source, host_tensor
from keras_ncr.datasets.unreadable import plain_message


def from_dataset(
    dataset: tf.data.Dataset,
    num_classes: int | None = None,
    class_names: Sequence[str] | None = None,
    name: str = "dataset",
) -> Source:
    """Returns the examples of a `tf.data.Dataset` as a `Source`.

    The index of an example is its position in the data set, which must have the same
    order in each pass: labels are collected now, in one pass, and compared in every
    later one. Shuffling is left to `keras_ncr.pipelines.training_batches`.

    Args:
        dataset: Finite `tf.data.Dataset` of single examples, tuples `(image, label)` or
            dicts with `"image"` and `"label"`, whose further entries are left out.
            Images are uint8 of shape `(height, width, channels)`, or scalar strings,
            the bytes of an image file; labels are integer scalars.
        num_classes: Optional int. Defaults to the number of `class_names`, or to the
            largest label plus one, where each number has an example.
        class_names: Optional strings, one for each class. Defaults to the numbers.
        name: String. What messages call the data set. Defaults to `"dataset"`.

    Returns:
        `Source`. Reading it raises `tf.errors.InvalidArgumentError` when a label is not
        that of the first pass.

    Raises:
        ValueError: If the data set is batched, endless, empty or shuffled anew in each
            pass, its images or labels are of another kind, labels are out of range or
            leave class numbers out, or an example cannot be read.

    Example:
    >>> images, labels = np.zeros((6, 4, 4, 3), "uint8"), [0, 1, 2, 0, 1, 2]
    >>> dataset = tf.data.Dataset.from_tensor_slices((images, labels))
    >>> source = keras_ncr.datasets.from_dataset(dataset)
    >>> source.num_examples, source.num_classes, source.image_shape
    (6, 3, (4, 4, 3))
    """
    examples = _image_and_label(dataset)
    image_spec, label_spec = examples.element_spec
    check_fixed_order(dataset, "dataset")
    _check_not_batched(image_spec)
    _check_image(image_spec)
    _check_label(label_spec)
    if class_names is not None:
        check_class_names(class_names)  # Before the pass.
    labels = _collect_labels(examples, name)
    num_classes, class_names = classes_of(labels, num_classes, class_names)
    is_encoded = image_spec.dtype == tf.string
    return Source(
        name=name,
        dataset=_indexed(examples, labels, name),
        labels=labels,
        ids=np.arange(len(labels)),
        num_classes=num_classes,
        class_names=class_names,
        image_shape=(None, None, 3) if is_encoded else tuple(image_spec.shape),
        find_faults=lambda: _first_fault(examples),
    )


def _image_and_label(dataset):
    """The data set with elements `(image, label)`."""
    if not isinstance(dataset, tf.data.Dataset):
        raise ValueError(
            f"`dataset` must be a tf.data.Dataset. Received: {type(dataset).__name__}. "
            "For arrays there is `from_arrays`, for a generator "
            "`tf.data.Dataset.from_generator`."
        )
    if dataset.cardinality() == tf.data.INFINITE_CARDINALITY:
        raise ValueError(
            "`dataset` must end. Received: one that repeats without end. Leave out "
            "`.repeat()`, or end it by `.take(num_examples)`."
        )
    spec = dataset.element_spec
    if isinstance(spec, dict):
        for key in ("image", "label"):
            check_known(key, spec, "keys of the examples")
        dataset = dataset.map(lambda example: (example["image"], example["label"]))
    elif not isinstance(spec, tuple) or len(spec) != 2:
        raise ValueError(
            "`dataset` must have examples (image, label), or dicts with 'image' and "
            f"'label'. Received: elements {spec}. Bring them to that by "
            "`dataset.map(...)`."
        )
    for part in dataset.element_spec:
        if not isinstance(part, tf.TensorSpec) or part.shape.rank is None:
            raise ValueError(
                "`dataset` must have images and labels that are tensors of known rank. "
                f"Received: elements {dataset.element_spec}. Of "
                "`from_generator` it is `output_signature` that says so; elsewhere "
                "`tf.ensure_shape` does."
            )
    return dataset


def _check_not_batched(spec):
    """Refuses batches of images, of pixels or of files."""
    if spec.shape.rank == (1 if spec.dtype == tf.string else 4):
        raise ValueError(
            "`dataset` must have single examples. Received: batches, images of shape "
            f"{spec.shape}. Pass `dataset.unbatch()`."
        )


def _check_image(spec):
    """Refuses images that are neither uint8 pixels nor files."""
    expected_rank = {tf.uint8: 3, tf.string: 0}.get(spec.dtype)
    if spec.shape.rank == expected_rank:
        return
    if spec.dtype.is_floating:
        remedy = "Convert images in 0 to 1 by `tf.cast(tf.round(image * 255), 'uint8')`"
    elif spec.dtype.is_integer and spec.shape.rank == 3:
        remedy = "Convert whole numbers from 0 to 255 by `tf.cast(image, 'uint8')`"
    else:
        remedy = "Gray images get their channel by `image[..., None]`"
    raise ValueError(
        "Images of `dataset` must be uint8 of shape (height, width, channels), or the "
        f"bytes of one image file. Received: {spec.dtype.name} of shape {spec.shape}. "
        f"{remedy}, within `dataset.map`."
    )


def _check_label(spec):
    """Refuses labels that are no single class number."""
    if spec.shape.rank == 0 and spec.dtype.is_integer:
        return
    if spec.shape.rank == 0:
        remedy = "Convert class numbers by `tf.cast(label, 'int64')`"
    elif spec.shape.rank == 1 and spec.shape[0] == 1:
        remedy = "Pass `label[0]`"
    else:
        remedy = "For one-hot labels pass `tf.argmax(label, axis=-1)`"
    raise ValueError(
        "Labels of `dataset` must be integer scalars, class numbers from 0. Received: "
        f"{spec.dtype.name} of shape {spec.shape}. {remedy}, within `dataset.map`."
    )


def _collect_labels(examples, name):
    """The labels in the order of the data set."""
    batches = examples.map(lambda image, label: label).batch(1024)
    try:
        labels = list(batches.as_numpy_iterator())
    except tf.errors.OpError as error:
        faults = _first_fault(examples)
        if not faults:
            raise
        ((position, reason),) = faults.items()
        raise ValueError(
            f"All examples of {name!r} must be readable. Received: {reason} at "
            f"position {position}, where the data set ends for that reason. Correct "
            "what it reads, or leave such examples out by "
            "`dataset.ignore_errors()`."
        ) from error
    return check_labels(np.concatenate(labels) if labels else [])


def _first_fault(examples):
    """The reason by the position of the first example that cannot be read, a dict."""
    position = 0
    try:
        for _ in examples:
            position += 1
    except tf.errors.OpError as error:
        return {position: plain_message(error)}
    return {}


def _indexed(examples, labels, name):
    """Examples with their positions, each label checked against the first pass."""
    label_of = host_tensor(labels)
    message = (
        f"The order of data set {name} changes from pass to pass, so that labels would "
        "go to other images. Leave shuffling to training, or make it fixed: "
        "`shuffle(..., reshuffle_each_iteration=False)`, `deterministic=True`."
    )

    def add_index(index, example):
        image, label = example
        label = tf.cast(label, tf.int64)
        # One example too many is for `assert_cardinality` to say.
        expected = tf.gather(label_of, tf.minimum(index, len(labels) - 1))
        check = tf.debugging.assert_equal(label, expected, message)
        with tf.control_dependencies([check]):
            return {"inputs": tf.identity(image), "label": expected, "index": index}

    return (
        examples.enumerate()
        .map(add_index)
        .apply(tf.data.experimental.assert_cardinality(len(labels)))
    )
