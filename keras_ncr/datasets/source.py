"""What every data set looks like to the rest of the package."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Self

import numpy as np
import tensorflow as tf

from keras_ncr.checks import check_clean_labels, check_integer, check_labels
from keras_ncr.datasets.images import decode
from keras_ncr.noise import InstanceDependentNoise, LabelNoise, NoisyLabels


@dataclasses.dataclass(frozen=True, eq=False)
class Source:
    """One split of a data set: its inputs, and its labels in the order of the index.

    Inputs are images, or anything else that a network takes: features, texts, columns
    of a table. The index of an example is its position 0 to n - 1, the same whatever
    order the inputs are read in. Labels that are wrong, memories of past predictions
    and lists of suspects all refer to it.

    A source never changes. Noise, corrections and splits return a new one, with the
    same inputs: `corrupted`, `relabeled`, `subset`.

    Args:
        name: String. What messages call the data set.
        dataset: `tf.data.Dataset` of single examples as dicts: `"inputs"`; `"label"`,
            int64; `"index"`, int64. Every index comes once, in any order. The inputs
            of an image are uint8 of shape `(height, width, channels)`, or a scalar
            string, the bytes of an image file. Other inputs are a tensor, a scalar
            string that is a text, or a dict of tensors by name.
        labels: Integer array of shape `(n,)`: the labels that are trained on, by index,
            whether the data set, noise or a review made them. -1 stands for none, as
            `with_unlabeled` and `from_folder(unlabeled=...)` have it: `NCRModel` and
            `ELRModel` train on such examples too, what else there is needs a label.
        ids: Array of shape `(n,)`: integers or strings that the data set itself knows
            its examples by, by index.
        num_classes: Int, at least 2.
        class_names: Strings, one for each class.
        image_shape: Tuple `(height, width, channels)` of the decoded images; None where
            it differs between them. `None` for inputs that are no images.
        clean_labels: Optional integer array of shape `(n,)`: the true labels, by index.
            -1 stands for a label that is known to be wrong while the true one is not
            known, or none of the classes. Defaults to `None`: nothing is known.
        read_image: Optional callable `(index) -> image`, in TensorFlow operations, for
            data of which any example can be read by itself, such as files. They can
            be shuffled as a whole without being held in memory. Defaults to `None`:
            `dataset` is read from its beginning to its end.
        skipped: Tuple of `Skipped`: what was left out, since it could not be read.
        left_out: Tuple of `Skipped`: files beside the images that are not taken for
            examples, with the reasons.
        find_faults: Optional callable that returns a dict from what is faulty in the
            data set, files or ids, to the reasons. Asked when reading fails.
        pictures: Optional strings of shape `(n,)`: picture files for people to look at,
            by index, empty where there is none. They are no inputs.

    Raises:
        ValueError: If there are no examples, a label is out of range, or the numbers of
            labels, ids, classes and names do not fit together.

    Example:
    >>> train, test = keras_ncr.datasets.digits()
    >>> train.num_examples, train.num_classes, train.image_shape
    (1437, 10, (8, 8, 1))
    >>> sorted(train.dataset.element_spec)
    ['index', 'inputs', 'label']
    """

    name: str
    dataset: tf.data.Dataset = dataclasses.field(repr=False)
    labels: np.ndarray = dataclasses.field(repr=False)
    ids: np.ndarray = dataclasses.field(repr=False)
    num_classes: int
    class_names: tuple = dataclasses.field(repr=False)
    image_shape: tuple | None
    clean_labels: np.ndarray | None = dataclasses.field(default=None, repr=False)
    read_image: Callable | None = dataclasses.field(default=None, repr=False)
    skipped: tuple = dataclasses.field(default=(), repr=False)
    left_out: tuple = dataclasses.field(default=(), repr=False)
    find_faults: Callable | None = dataclasses.field(default=None, repr=False)
    pictures: np.ndarray | None = dataclasses.field(default=None, repr=False)

    def __post_init__(self):
        """Checks that the parts fit together."""
        check_integer(self.num_classes, "num_classes", minimum=2)
        labels = check_clean_labels(self.labels, self.num_classes, "labels")
        clean_labels = self.clean_labels
        if clean_labels is not None:
            clean_labels = check_clean_labels(clean_labels, self.num_classes)
        for field, expected in (
            ("ids", len(labels)),
            ("clean_labels", len(labels)),
            ("pictures", len(labels)),
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
    def num_examples(self) -> int:
        """Number of examples, an int."""
        return len(self.labels)

    @property
    def is_noisy(self) -> np.ndarray | None:
        """Bool array of shape `(n,)`: the label is wrong. None if nothing is known."""
        return None if self.clean_labels is None else self.labels != self.clean_labels

    @property
    def realized_rate(self) -> float | None:
        """Float in [0, 1]: the share of the labels that are wrong, or None."""
        return None if self.clean_labels is None else float(np.mean(self.is_noisy))

    @property
    def record(self) -> NoisyLabels:
        """`NoisyLabels`: labels, true labels and ids, which a file can keep."""
        return NoisyLabels(self.clean_labels, self.labels, self.ids)

    @property
    def kind(self) -> str:
        """What the inputs are: `"images"`, `"features"`, `"text"` or `"columns"`."""
        if self.image_shape is not None:
            return "images"
        spec = self.dataset.element_spec["inputs"]
        if isinstance(spec, dict):
            return "columns"
        return "text" if spec.dtype == tf.string else "features"

    @property
    def is_encoded(self) -> bool:
        """Whether the inputs are the bytes of image files, a bool."""
        if self.kind != "images":
            return False
        return self.dataset.element_spec["inputs"].dtype == tf.string

    @property
    def images(self) -> np.ndarray:
        """All images by index, a read-only array `(n, height, width, channels)`."""
        if self.kind != "images":
            raise ValueError(
                f"The inputs of {self.name!r} must be images. Received: {self.kind}. "
                "Read `stored_inputs`."
            )
        if None in self.image_shape:
            raise ValueError(
                f"The images of {self.name!r} differ in size, so one array cannot hold "
                f"them. Received: image_shape={self.image_shape}. Read them one by one "
                "from `dataset`."
            )
        if not self.is_encoded:
            return np.asarray(self.stored_inputs)  # a view, not a copy
        decoded = tf.map_fn(
            lambda image: tf.ensure_shape(
                decode(image, self.image_shape[-1]), self.image_shape
            ),
            self.stored_inputs,
            fn_output_signature=tf.uint8,
        )
        return np.asarray(decoded)

    @functools.cached_property
    def stored_inputs(self):
        """All inputs as they are stored, by index, in the host's memory.

        A tensor, or a dict of tensors where the inputs are a dict. Encoded images are
        a string each. Read once, then kept.
        """
        if self.kind == "images" and None in self.image_shape and not self.is_encoded:
            raise ValueError(
                f"The images of {self.name!r} differ in size, so one tensor cannot "
                f"hold them. Received: image_shape={self.image_shape}. Resize them in "
                "the source, or stream them (`cache=False`)."
            )
        stored = tf.nest.map_structure(
            lambda spec: np.empty(
                (self.num_examples, *spec.shape), spec.dtype.as_numpy_dtype
            ),
            self.dataset.element_spec["inputs"],
        )
        times_read = np.zeros(self.num_examples, np.int64)
        for batch in self.dataset.batch(1024).as_numpy_iterator():
            for rows, new in zip(
                tf.nest.flatten(stored), tf.nest.flatten(batch["inputs"]), strict=True
            ):
                rows[batch["index"]] = new
            np.add.at(times_read, batch["index"], 1)
        if np.any(times_read != 1):
            index = int(np.argmax(times_read != 1))
            raise ValueError(
                f"`dataset` of {self.name!r} must hold every index from 0 to "
                f"{self.num_examples - 1} once. Received: index {index} "
                f"{times_read[index]} times."
            )
        return tf.nest.map_structure(host_tensor, stored)

    def subset(self, indices, name: str | None = None) -> Self:
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
            pictures=None if self.pictures is None else self.pictures[indices],
        )
        if "stored_inputs" in vars(self):  # What is in memory need not be read again.
            with tf.device("CPU:0"):
                vars(subset)["stored_inputs"] = rows_of(self.stored_inputs, indices)
        return subset

    def relabeled(self, labels, clean_labels=None) -> Self:
        """Returns a source of the same examples with other labels.

        Args:
            labels: Integer array of shape `(n,)`: the labels to train on.
            clean_labels: As in `Source`: what is known of the true labels from now on.
                Defaults to `None`, nothing.

        Returns:
            `Source` with the same inputs, ids and classes.

        Raises:
            ValueError: If there is not one label for each example, or one is no class.

        Example:
        >>> source = keras_ncr.datasets.from_arrays(np.zeros((2, 4, 4, 1), int), [0, 1])
        >>> source.relabeled([1, 1], clean_labels=source.labels).is_noisy
        array([ True, False])
        """
        labels = check_labels(labels, self.num_classes)
        if len(labels) != self.num_examples:
            raise ValueError(
                f"`labels` must have one label for each of the {self.num_examples} "
                f"examples of {self.name!r}. Received: {len(labels)} labels."
            )
        label_of = host_tensor(labels)

        def relabel(example):
            return {**example, "label": tf.gather(label_of, example["index"])}

        relabeled = dataclasses.replace(
            self,
            dataset=self.dataset.map(relabel),
            labels=labels,
            clean_labels=clean_labels,
        )
        if "stored_inputs" in vars(self):
            vars(relabeled)["stored_inputs"] = self.stored_inputs
        return relabeled

    def with_left_out(self, files) -> Self:
        """Returns the same source with more files in `left_out`, a list of `Skipped`.

        Example:
        >>> source, _ = keras_ncr.datasets.digits()
        >>> notes = keras_ncr.datasets.Skipped("notes.txt", "not named as an image")
        >>> source.with_left_out([notes]).left_out
        (Skipped(id='notes.txt', reason='not named as an image'),)
        """
        more = dataclasses.replace(self, left_out=(*self.left_out, *files))
        if "stored_inputs" in vars(self):
            vars(more)["stored_inputs"] = self.stored_inputs
        return more

    def corrupted(self, noise: LabelNoise | InstanceDependentNoise) -> Self:
        """Returns a source of the same examples, some of them with wrong labels.

        The labels before become `clean_labels`. The noise of an example depends on the
        noise's seed and the example's index.

        Args:
            noise: `keras_ncr.noise.LabelNoise` or `InstanceDependentNoise`.

        Returns:
            `Source` with the same inputs, ids and classes.

        Raises:
            ValueError: If labels are known to be wrong already, or as `noise.corrupt`.

        Example:
        >>> train, _ = keras_ncr.datasets.digits()
        >>> matrix = keras_ncr.noise.symmetric(10, 0.4, include_true=True)
        >>> noise = keras_ncr.noise.LabelNoise(matrix, seed=0, exact=True)
        >>> noisy = train.corrupted(noise)
        >>> round(noisy.realized_rate, 3)
        0.36
        """
        if self.realized_rate:
            raise ValueError(
                f"The labels of {self.name!r} have noise of their own, and more cannot "
                f"be added. Received: {np.sum(self.is_noisy):,} wrong labels."
            )
        if not isinstance(noise, InstanceDependentNoise):
            labels = noise.corrupt(self.labels)
        elif self.kind == "features":
            labels = noise.corrupt(np.asarray(self.stored_inputs), self.labels)
        elif self.kind == "images":
            labels = noise.corrupt(self.images, self.labels)
        else:
            raise ValueError(
                f"The inputs of {self.name!r} must be images or features for noise "
                f"that depends on them. Received: {self.kind}."
            )
        return self.relabeled(labels, clean_labels=self.labels)


def read_by_index(read_image: Callable, labels) -> tf.data.Dataset:
    """Returns the `dataset` of a `Source` whose images can be read one by one."""
    label_of = host_tensor(np.asarray(labels, np.int64))

    def read_example(index):
        return {
            "inputs": read_image(index),
            "label": tf.gather(label_of, index),
            "index": index,
        }

    return tf.data.Dataset.range(len(labels)).map(
        read_example, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
    )


def _renumbered(dataset, indices, num_examples):
    """Returns the examples of some indices, numbered anew in that order."""
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


def rows_of(stored_inputs, index):
    """Returns some of the `stored_inputs` of a source, by their index."""
    return tf.nest.map_structure(lambda rows: tf.gather(rows, index), stored_inputs)


def host_tensor(array) -> tf.Tensor:
    """Returns an array as a tensor in the host's memory, not in an accelerator's."""
    with tf.device("CPU:0"):
        return tf.constant(array)
