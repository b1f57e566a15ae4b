"""What every data set looks like to the rest of the package."""

import dataclasses
import functools

import numpy as np
import tensorflow as tf

from keras_ncr.checks import check_integer, check_labels


@dataclasses.dataclass(frozen=True, eq=False)
class Source:
    """One split of a data set: its images, and its labels in the order of the index.

    The index of an example is its position 0 to n - 1, the same whatever order the
    images are read in. Labels that are wrong, memories of past predictions and lists of
    suspects all refer to it.

    Args:
        name: String. What messages call the data set.
        dataset: `tf.data.Dataset` of single examples as dicts: `"image"`, uint8 of
            shape `(height, width, channels)`; `"label"`, int64; `"index"`, int64.
            Every index comes once, in any order.
        labels: Integer array of shape `(n,)`: the labels of the data set, by index.
        ids: Array of shape `(n,)`: integers or strings that the data set itself knows
            its examples by, by index.
        num_classes: Int, at least 2.
        class_names: Strings, one for each class.
        image_shape: Tuple `(height, width, channels)`; None where it differs between
            images.

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

    def __post_init__(self):
        """Checks that the parts fit together."""
        check_integer(self.num_classes, "num_classes", minimum=2)
        labels = check_labels(self.labels, self.num_classes)
        for field, expected in (
            ("ids", len(labels)),
            ("class_names", self.num_classes),
        ):
            if len(getattr(self, field)) != expected:
                raise ValueError(
                    f"`{field}` of {self.name!r} must have {expected} entries. "
                    f"Received: {len(getattr(self, field))}."
                )
        # A change in place would silently relabel every dataset made from this source.
        labels.flags.writeable = False
        object.__setattr__(self, "labels", labels)

    @property
    def num_examples(self):
        """Number of examples, an int."""
        return len(self.labels)

    @property
    def images(self):
        """All images by index, a read-only array `(n, height, width, channels)`."""
        return np.asarray(self.image_tensor)  # a view, not a copy

    @functools.cached_property
    def image_tensor(self):
        """All images by index, a tensor in the host's memory: read once, then kept."""
        if None in self.image_shape:
            raise ValueError(
                f"The images of {self.name!r} differ in size, so one array cannot hold "
                f"them. Received: image_shape={self.image_shape}. Resize them in the "
                "source, or stream them (`cache=False`)."
            )
        dtype = self.dataset.element_spec["image"].dtype.as_numpy_dtype
        images = np.empty((self.num_examples, *self.image_shape), dtype)
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
        return _host_tensor(images)


def from_arrays(
    images, labels, num_classes=None, class_names=None, ids=None, name="arrays"
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
    images = _host_tensor(images)
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
    )
    # Fills the cached property: what came as an array need not be read back.
    vars(source)["image_tensor"] = images
    return source


def _host_tensor(array):
    """An array as a tensor; an accelerator's memory is left to the model."""
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
