"""What every data set looks like to the rest of the package."""

import dataclasses
import functools
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from keras_ncr.checks import check_clean_labels, check_integer, check_labels
from keras_ncr.datasets.images import decode


@dataclasses.dataclass(frozen=True, eq=False)
class Source:
    """One split of a data set: its images, and its labels in the order of the index.

    The index of an example is its position 0 to n - 1, the same whatever order the
    images are read in. Labels that are wrong, memories of past predictions and lists of
    suspects all refer to it.

    Args:
        name: String. What messages call the data set.
        dataset: `tf.data.Dataset` of single examples as dicts: `"image"`, uint8 of
            shape `(height, width, channels)`, or a scalar string, the bytes of an image
            file; `"label"`, int64; `"index"`, int64. Every index comes once, in any
            order.
        labels: Integer array of shape `(n,)`: the labels that the data set gives, by
            index.
        ids: Array of shape `(n,)`: integers or strings that the data set itself knows
            its examples by, by index.
        num_classes: Int, at least 2.
        class_names: Strings, one for each class.
        image_shape: Tuple `(height, width, channels)` of the decoded images; None where
            it differs between them.
        clean_labels: Optional integer array of shape `(n,)`: the true labels, where the
            data set knows which of its own are wrong. -1 stands for a label that is
            known to be wrong while the true one is not known, or none of the classes.
            Defaults to `None`: nothing is known.
        read_image: Optional callable `(index) -> image`, in TensorFlow operations, for
            data of which any example can be read by itself, such as files. They can
            be shuffled as a whole without being held in memory. Defaults to `None`:
            `dataset` is read from its beginning to its end.
        skipped: Tuple of `Skipped`: what was left out, since it could not be read.
        find_faults: Optional callable that returns a dict from what is faulty in the
            data set, files or ids, to the reasons. Asked when reading fails.

    Raises:
        ValueError: If there are no examples, a label is out of range, or the numbers of
            labels, ids, classes and names do not fit together.

    Example:
    >>> train, test = keras_ncr.datasets.digits()
    >>> train.num_examples, train.num_classes, train.image_shape
    (1437, 10, (8, 8, 1))
    >>> sorted(train.dataset.element_spec)
    ['image', 'index', 'label']
    """

    name: str
    dataset: tf.data.Dataset = dataclasses.field(repr=False)
    labels: np.ndarray = dataclasses.field(repr=False)
    ids: np.ndarray = dataclasses.field(repr=False)
    num_classes: int
    class_names: tuple = dataclasses.field(repr=False)
    image_shape: tuple
    clean_labels: np.ndarray | None = dataclasses.field(default=None, repr=False)
    read_image: Callable | None = dataclasses.field(default=None, repr=False)
    skipped: tuple = dataclasses.field(default=(), repr=False)
    find_faults: Callable | None = dataclasses.field(default=None, repr=False)

    def __post_init__(self):
        """Checks that the parts fit together."""
        check_integer(self.num_classes, "num_classes", minimum=2)
        labels = check_labels(self.labels, self.num_classes)
        clean_labels = self.clean_labels
        if clean_labels is not None:
            clean_labels = check_clean_labels(clean_labels, self.num_classes)
        for field, expected in (
            ("ids", len(labels)),
            ("clean_labels", len(labels)),
            ("class_names", self.num_classes),
        ):
            value = getattr(self, field)
            if value is not None and len(value) != expected:
                raise ValueError(
                    f"`{field}` of {self.name!r} must have {expected} entries. "
                    f"Received: {len(value)}."
                )
        for field, array in (("labels", labels), ("clean_labels", clean_labels)):
            if array is not None:
                # A change in place would silently relabel every dataset made from it.
                array.flags.writeable = False
                object.__setattr__(self, field, array)

    @property
    def num_examples(self):
        """Number of examples, an int."""
        return len(self.labels)

    @property
    def is_encoded(self):
        """Whether the images are the bytes of image files, a bool."""
        return self.dataset.element_spec["image"].dtype == tf.string

    @property
    def images(self):
        """All images by index, a read-only array `(n, height, width, channels)`."""
        if None in self.image_shape:
            raise ValueError(
                f"The images of {self.name!r} differ in size, so one array cannot hold "
                f"them. Received: image_shape={self.image_shape}. Read them one by one "
                "from `dataset`."
            )
        if not self.is_encoded:
            return np.asarray(self.image_tensor)  # a view, not a copy
        decoded = tf.map_fn(
            lambda image: tf.ensure_shape(
                decode(image, self.image_shape[-1]), self.image_shape
            ),
            self.image_tensor,
            fn_output_signature=tf.uint8,
        )
        return np.asarray(decoded)

    @functools.cached_property
    def image_tensor(self):
        """All images as they are stored, by index: a tensor in the host's memory.

        Pixels, or a string each where the images are encoded. Read once, then kept.
        """
        if None in self.image_shape and not self.is_encoded:
            raise ValueError(
                f"The images of {self.name!r} differ in size, so one tensor cannot "
                f"hold them. Received: image_shape={self.image_shape}. Resize them in "
                "the source, or stream them (`cache=False`)."
            )
        spec = self.dataset.element_spec["image"]
        shape = () if self.is_encoded else self.image_shape
        images = np.empty((self.num_examples, *shape), spec.dtype.as_numpy_dtype)
        times_read = np.zeros(self.num_examples, np.int64)
        for batch in self.dataset.batch(1024).as_numpy_iterator():
            images[batch["index"]] = batch["image"]
            np.add.at(times_read, batch["index"], 1)
        if np.any(times_read != 1):
            index = int(np.argmax(times_read != 1))
            raise ValueError(
                f"`dataset` of {self.name!r} must hold every index from 0 to "
                f"{self.num_examples - 1} once. Received: index {index} "
                f"{times_read[index]} times."
            )
        return host_tensor(images)

    def subset(self, indices, name=None):
        """Returns a source of some of the examples, with an index of its own.

        Args:
            indices: Integer array of shape `(m,)`, m at least 1, all different: the
                examples to keep, in the order of their new index.
            name: Optional string. What messages call it. Defaults to the source's own.

        Returns:
            `Source` of m examples with the same ids and classes.

        Raises:
            ValueError: If `indices` is empty, out of range or not all different.

        Example:
        >>> train, _ = keras_ncr.datasets.digits()
        >>> ones = train.subset(np.flatnonzero(train.labels == 1), name="ones")
        >>> ones.num_examples, set(ones.labels.tolist()), ones.num_classes
        (146, {1}, 10)
        """
        indices = check_labels(indices, self.num_examples, "indices")
        if len(np.unique(indices)) != len(indices):
            raise ValueError(
                "`indices` must be all different. Received: "
                f"{len(indices) - len(np.unique(indices))} repetitions."
            )
        labels = self.labels[indices]
        read_image = None
        if self.read_image is None:
            dataset = _renumbered(self.dataset, indices, self.num_examples)
        else:
            old_index = host_tensor(indices)

            def read_image(index):
                return self.read_image(tf.gather(old_index, index))

            dataset = read_by_index(read_image, labels)
        subset = dataclasses.replace(
            self,
            name=self.name if name is None else name,
            dataset=dataset,
            labels=labels,
            clean_labels=(
                None if self.clean_labels is None else self.clean_labels[indices]
            ),
            ids=np.asarray(self.ids)[indices],
            read_image=read_image,
        )
        if "image_tensor" in vars(self):  # What is in memory need not be read again.
            with tf.device("CPU:0"):
                vars(subset)["image_tensor"] = tf.gather(self.image_tensor, indices)
        return subset

    def relabeled(self, labels, clean_labels=None):
        """Returns a source of the same examples with other labels.

        Args:
            labels: As in `Source`.
            clean_labels: As in `Source`. Defaults to `None`.

        Returns:
            `Source` with the same images, ids and classes.

        Raises:
            ValueError: As `Source`.

        Example:
        >>> source = keras_ncr.datasets.from_arrays(np.zeros((2, 4, 4, 1), int), [0, 1])
        >>> source.relabeled([1, 1], clean_labels=source.labels).clean_labels
        array([0, 1])
        """
        labels = check_labels(labels, self.num_classes)
        label_of = host_tensor(labels)

        def relabel(example):
            return {**example, "label": tf.gather(label_of, example["index"])}

        relabeled = dataclasses.replace(
            self,
            dataset=self.dataset.map(relabel),
            labels=labels,
            clean_labels=clean_labels,
        )
        if "image_tensor" in vars(self):
            vars(relabeled)["image_tensor"] = self.image_tensor
        return relabeled


def from_arrays(
    images,
    labels,
    num_classes=None,
    class_names=None,
    ids=None,
    name="arrays",
    clean_labels=None,
):
    """Returns the `Source` of images and labels that are in memory.

    The index of an example is its position in the arrays.

    Args:
        images: Array of shape `(n, height, width, channels)`, whole numbers from 0 to
            255: the range that the networks of `keras_ncr.backbones` expect.
        labels: Integer array of shape `(n,)`, class numbers from 0.
        num_classes: Optional int. Defaults to the largest label plus one.
        class_names: Optional strings, one for each class. Defaults to the numbers.
        ids: Optional array of shape `(n,)`: integers or strings to know the examples
            by. Defaults to the positions.
        name: String. What messages call the data set. Defaults to `"arrays"`.
        clean_labels: As in `Source`: the true labels, if some are known to be wrong.

    Returns:
        `Source`.

    Raises:
        ValueError: If `images` is not such an array, the labels are not class numbers
            within range, or there are not as many labels as images.

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
    if num_classes is None:
        num_classes = int(labels.max()) + 1
    if class_names is None:
        class_names = [str(label) for label in range(num_classes)]
    index = np.arange(len(labels))
    images = host_tensor(images)
    dataset = tf.data.Dataset.from_tensor_slices(
        {"image": images, "label": labels, "index": index}
    )
    source = Source(
        name=name,
        dataset=dataset,
        labels=labels,
        ids=index if ids is None else np.asarray(ids),
        num_classes=num_classes,
        class_names=tuple(class_names),
        image_shape=tuple(images.shape[1:]),
        clean_labels=clean_labels,
    )
    # Fills the cached property: what came as an array need not be read back.
    vars(source)["image_tensor"] = images
    return source


def read_by_index(read_image, labels):
    """Returns the `dataset` of a `Source` of which any image can be read by itself.

    Args:
        read_image: As in `Source`.
        labels: Integer array of shape `(n,)`.

    Returns:
        `tf.data.Dataset` of dicts as in `Source`, in the order of the index.

    Example:
    >>> from keras_ncr.datasets.source import read_by_index
    >>> dataset = read_by_index(lambda index: tf.fill([4, 4, 1], index), [3, 5])
    >>> [int(example["label"]) for example in dataset]
    [3, 5]
    """
    label_of = host_tensor(np.asarray(labels, np.int64))

    def read_example(index):
        return {
            "image": read_image(index),
            "label": tf.gather(label_of, index),
            "index": index,
        }

    return tf.data.Dataset.range(len(labels)).map(
        read_example, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
    )


def _renumbered(dataset, indices, num_examples):
    """The examples of some indices, numbered anew in that order."""
    new_index = np.full(num_examples, -1)
    new_index[indices] = np.arange(len(indices))
    new_index = host_tensor(new_index)

    def renumber(example):
        return {**example, "index": tf.gather(new_index, example["index"])}

    return (
        dataset.map(renumber)
        .filter(lambda example: example["index"] >= 0)
        .apply(tf.data.experimental.assert_cardinality(len(indices)))
    )


def host_tensor(array):
    """Returns an array as a tensor; an accelerator's memory is left to the model.

    Args:
        array: Array of any shape.

    Returns:
        Tensor in the memory of the host.

    Example:
    >>> from keras_ncr.datasets.source import host_tensor
    >>> host_tensor([1, 2]).device.rpartition("/")[2]
    'device:CPU:0'
    """
    with tf.device("CPU:0"):
        return tf.constant(array)


def _check_images(images):
    """Returns images as uint8, or raises: other ranges would train badly in silence."""
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
