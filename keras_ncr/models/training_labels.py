"""Checks the labels, and the numbers of examples, that `fit` is given."""

import inspect
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from keras_ncr.checks import check_labels, refuse_first
from keras_ncr.distribution.targets import label_of
from keras_ncr.models.example_memory import check_indices
from keras_ncr.models.fitting import check_can_be_mixed, ignored_class

# Probabilities in half precision, added up over many classes, miss 1 by this much.
_SUM_TOLERANCE = 0.01


class Rules(NamedTuple):
    """What the targets of a model may be."""

    num_classes: int
    ignored: int | None = None  # The number that the compiled loss leaves out.
    takes_unlabeled: bool = False
    num_examples: int | None = None  # As many as the model remembers, if any.
    model: str = "The model"

    @property
    def remedy(self):
        """What to do about examples without a label."""
        return (
            f" -1 stands for no label, which {self.model} cannot use: leave such "
            "examples out, or train keras_ncr.NCRModel or keras_ncr.ELRModel. An "
            "`ignore_class` inside of a function is not seen."
        )

    def are_missing(self, labels):
        """Returns which numbers, of an array or a tensor, stand for no label."""
        is_missing = (labels == -1) & self.takes_unlabeled
        return (
            is_missing
            if self.ignored is None
            else is_missing | (labels == self.ignored)
        )


def checked_training_data(x, y, model):
    """Returns the `x` of `fit`, once its labels are, or will be, checked."""
    if model.mixes_inputs:
        check_can_be_mixed(x, model)
    rules = Rules(
        model.num_classes,
        ignored_class(model.loss),
        model.takes_unlabeled,
        model.num_examples,
        type(model).__name__,
    )
    if y is not None:
        check_training_labels(y, rules)
    elif isinstance(x, tf.data.Dataset):
        return with_checked_targets(x, rules)
    elif isinstance(x, keras.utils.PyDataset):
        return CheckedBatches(x, rules)
    elif inspect.isgenerator(x):
        return (checked_batch(batch, rules) for batch in x)
    return x


def check_training_labels(y, rules):
    """Raises unless `y` are class numbers, or one row of class weights per example."""
    labels, num_classes = np.asarray(label_of(y)), rules.num_classes
    if labels.ndim == 2 and labels.shape[1] == num_classes:
        if labels.size == 0:
            raise ValueError("`y` must hold at least one label. Received: none.")
        # Written so that NaN, of which every comparison is false, fails as well.
        is_distribution = np.abs(labels.sum(axis=1) - 1) <= _SUM_TOLERANCE
        is_right = np.all(labels >= 0, axis=1) & is_distribution
        if rules.takes_unlabeled:
            is_right |= np.all(labels == -1, axis=1)
        refuse_first(labels, ~is_right, "y", "hold one-hot labels or probabilities")
        return
    if labels.ndim == 2 and labels.shape[1] != 1:
        raise ValueError(
            f"`y` must have shape (n,), (n, 1) or (n, num_classes={num_classes}). "
            f"Received: shape {labels.shape}."
        )
    labels = labels[:, 0] if labels.ndim == 2 else labels
    if labels.dtype.kind in "iuf":
        is_missing = rules.are_missing(labels)
        labels = np.where(is_missing, 0, labels) if np.any(is_missing) else labels
        if np.any(labels == -1):
            position = int(np.argmax(labels == -1))
            raise ValueError(
                f"`y` must be 0 or more. Received: -1 at position {position}."
                + rules.remedy
            )
    check_labels(labels, num_classes, name="y")


def checked_batch(batch, rules):
    """Returns a batch of a generator or a `PyDataset`, or raises."""
    targets = batch[1] if isinstance(batch, tuple | list) and len(batch) > 1 else None
    if targets is not None:
        check_training_labels(targets, rules)
        if rules.num_examples is not None and "index" in targets:
            check_indices(targets["index"], rules.num_examples)
    return batch


class CheckedBatches(keras.utils.PyDataset):
    """The batches of another `PyDataset`, each checked as it comes."""

    def __init__(self, batches, rules):
        super().__init__(
            workers=batches.workers,
            use_multiprocessing=batches.use_multiprocessing,
            max_queue_size=batches.max_queue_size,
        )
        self.batches = batches
        self.rules = rules

    def __getitem__(self, index):
        return checked_batch(self.batches[index], self.rules)

    def __len__(self):
        return len(self.batches)

    @property
    def num_batches(self):
        return self.batches.num_batches

    def on_epoch_begin(self):
        self.batches.on_epoch_begin()

    def on_epoch_end(self):
        self.batches.on_epoch_end()


def with_checked_targets(dataset, rules):
    """Returns a dataset that stops at a batch with a label or index out of range."""
    # No step has seen the batch by then, and XLA cannot leave the check out.
    check_spec(dataset)

    @tf.autograph.experimental.do_not_convert  # Takes 0.2 s, and nothing needs it.
    def checked(inputs, y, *sample_weight):
        assertions = [assert_labels(label_of(y), rules)]
        if rules.num_examples is not None and isinstance(y, dict) and "index" in y:
            assertions.append(assert_indices(y["index"], rules.num_examples))
        with tf.control_dependencies(assertions):
            return (inputs, tf.nest.map_structure(tf.identity, y), *sample_weight)

    # Prefetched, so that no step waits for what is checked.
    return dataset.map(checked).prefetch(tf.data.AUTOTUNE)


def check_spec(dataset):
    """Raises unless a dataset has batches with labels that are numbers."""
    if dataset.cardinality() == 0:
        raise ValueError(
            "`x` must hold at least one example. Received: an empty dataset."
        )
    spec = dataset.element_spec
    if not isinstance(spec, tuple) or len(spec) < 2:
        raise ValueError(
            "`x` must be a dataset of batches (inputs, labels) or (inputs, labels, "
            f"sample_weight). Received: a dataset of {spec}."
        )
    labels = label_of(spec[1])
    if not isinstance(labels, tf.TensorSpec) or labels.shape.rank == 0:
        raise ValueError(
            "`x` must be a dataset of batches (inputs, labels). Received: one label at "
            f"a time, {labels}. Call `.batch(256)` on it."
        )
    if not (
        labels.dtype.is_integer or labels.dtype.is_floating or labels.dtype.is_bool
    ):
        raise ValueError(
            f"Labels in `x` must be class numbers. Received: dtype {labels.dtype.name}."
        )


def assert_labels(labels, rules):
    """Returns an operation that fails unless a batch's labels are as they must be."""
    # float64 holds every class number; float32 and uint8 do not.
    values = tf.cast(labels, "float64")
    rows = tf.reshape(values, [tf.shape(values)[0], -1])
    width = labels.shape[1] if labels.shape.rank == 2 else None
    expected = f"a whole number in 0..{rules.num_classes - 1}"
    if width == rules.num_classes:
        is_label = are_distributions(rows, rules)
        expected = "one-hot or class probabilities"
    elif labels.shape.rank == 1 or width is not None:
        is_label = are_classes(rows, rules)
    else:
        is_wide = tf.equal(tf.shape(rows)[1], rules.num_classes)
        is_label = tf.where(
            is_wide, are_distributions(rows, rules), are_classes(rows, rules)
        )
        expected += ", or class probabilities"
    remedy = "" if rules.takes_unlabeled else rules.remedy
    message = f"A label in `x` must be {expected}.{remedy} Received:"
    wrong = tf.boolean_mask(rows, ~is_label)
    return tf.debugging.Assert(tf.reduce_all(is_label), [message, wrong])


# Both are written so that NaN, of which every comparison is false, fails as well.


def are_classes(rows, rules):
    """Returns which entries are class numbers."""
    is_class = (rows >= 0) & (rows <= rules.num_classes - 1) & (rows == tf.round(rows))
    return is_class | rules.are_missing(rows)


def are_distributions(rows, rules):
    """Returns which entries are parts of a distribution over the classes."""
    is_sum_one = tf.abs(tf.reduce_sum(rows, axis=1) - 1) <= _SUM_TOLERANCE
    return (rows >= 0) & is_sum_one[:, None] | rules.are_missing(rows)


def assert_indices(index, num_examples):
    """Returns an operation that fails unless indices are below `num_examples`."""
    index = tf.cast(index, "int64")
    is_known = (index >= 0) & (index < num_examples)
    message = (
        f"An index in `x` must be in 0..{num_examples - 1}, below num_examples="
        f"{num_examples}. Received:"
    )
    wrong = tf.boolean_mask(index, ~is_known)
    return tf.debugging.Assert(tf.reduce_all(is_known), [message, wrong])
