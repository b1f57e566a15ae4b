"""Label noise as data: one wrong or right label per example, fixed by seed and key."""

from typing import Self

import numpy as np
import tensorflow as tf

from keras_ncr.checks import check_bool, check_integer, check_known, check_labels
from keras_ncr.noise.keyed_uniform import hash_keys, hash_keys_in_graph

# Sums of a float32 matrix with thousands of columns are off by about this much.
_SUM_TOLERANCE = 1e-5


class LabelNoise:
    """Label noise by a transition matrix: the same in every epoch, order and process.

    Each example has a uniform random number in [0, 1) that depends on the seed and the
    example's key alone. Its noisy label is the class in whose share of the clean
    label's row of the transition matrix that number falls. `corrupt` computes this on
    NumPy arrays; `transform` and `apply` compute the same labels inside tf.data.

    A key is an example's position in the data set, or its id where the reading order
    is not fixed. Under the same seed, other keys give other noise: what is compared
    must use the same keys.

    Args:
        transition_matrix: Floats of shape `(num_classes, num_classes)`. Entry `[i, j]`
            is the probability of label j given clean class i, so rows sum to 1. From
            `symmetric`, `asymmetric` or `pair_flip`, or your own.
        seed: Int, 0 or more. Another seed gives independent noise. Defaults to 0.
        exact: Bool. If `True`, numbers are replaced by their rank within the clean
            class, so that of `m` examples of class i, `m * transition_matrix[i, j]`
            get label j, to within one example; `transform` and `apply` then need `fit`
            first. Defaults to `False`: each label is drawn independently, and realized
            rates vary as in a binomial draw.

    Raises:
        ValueError: If `transition_matrix` is not square or not row-stochastic, or
            `seed` is not an integer of 0 or more.

    Reference:
        - [Patrini et al., 2017](https://arxiv.org/abs/1609.03683), for the transition
          matrix.

    Example:
    >>> matrix = keras_ncr.noise.symmetric(10, 0.4, include_true=True)
    >>> noise = keras_ncr.noise.LabelNoise(matrix, seed=1)
    >>> labels = np.arange(10)
    >>> noise.corrupt(labels)
    array([6, 1, 8, 1, 4, 5, 6, 7, 6, 4])
    >>> dataset = tf.data.Dataset.from_tensor_slices((np.zeros((10, 4)), labels))
    >>> dataset = dataset.apply(noise.apply).shuffle(10)
    >>> bool(sorted(int(y) for _, y in dataset) == sorted(noise.corrupt(labels)))
    True
    """

    def __init__(self, transition_matrix, seed: int = 0, exact: bool = False):
        self.transition_matrix = _check_matrix(transition_matrix)
        self.seed = check_integer(seed, "seed", minimum=0)
        self.exact = check_bool(exact, "exact")
        cumulative = np.cumsum(self.transition_matrix, axis=1)
        # Dividing by the last sum makes it exactly 1, and with it those of classes of
        # probability 0 at the end of a row: no draw below 1 can fall beyond it.
        self._cumulative = cumulative / cumulative[:, -1:]
        self._ranks = None

    @property
    def num_classes(self) -> int:
        """Int: the number of classes, clean and noisy alike."""
        return len(self.transition_matrix)

    def corrupt(self, labels, keys=None) -> np.ndarray:
        """Returns the noisy labels.

        Args:
            labels: Clean labels, integers of shape `(n,)`.
            keys: Optional integers, strings or bytes of shape `(n,)`, one per example.
                `None`, the default, means the positions 0 to n - 1.

        Returns:
            NumPy int64 array of shape `(n,)`.

        Raises:
            ValueError: If labels are not class numbers below `num_classes`, or `keys`
                do not match them. With `exact=True`, also if keys repeat.
        """
        labels, bits = self._hash(labels, keys)
        if self.exact:
            numbers = _ranks_within_class(labels, bits)
        else:
            numbers = _uniform(bits)
        noisy_labels = np.empty_like(labels)
        for label, members in _by_class(labels):
            row = self._cumulative[label]
            noisy_labels[members] = np.searchsorted(row, numbers[members], side="right")
        return noisy_labels

    def fit(self, labels, keys=None) -> Self:
        """Prepares `transform` and `apply` for `exact=True`, which needs all labels.

        Without `exact=True` there is nothing to prepare.

        Args:
            labels: As in `corrupt`: the clean labels of the whole training set.
            keys: As in `corrupt`: what `transform` will get as keys.

        Returns:
            This object.

        Raises:
            ValueError: As in `corrupt`.
        """
        labels, bits = self._hash(labels, keys)
        if self.exact:
            ranks = _ranks_within_class(labels, bits)
            self._ranks = tf.lookup.StaticHashTable(
                tf.lookup.KeyValueTensorInitializer(bits.view(np.int64), ranks),
                default_value=-1.0,
            )
        return self

    def transform(self, label, key) -> tf.Tensor:
        """Returns noisy labels inside tf.data or a tf.function.

        Args:
            label: Integer tensor, a scalar or of any shape: clean labels.
            key: Integer or string tensor with the shape of `label`.

        Returns:
            Tensor with the shape and dtype of `label`.

        Raises:
            ValueError: If dtypes or shapes do not fit, or `exact=True` and `fit` was
                not called. A label out of range, or a key that `fit` did not see,
                raises `tf.errors.InvalidArgumentError` when the data is read.

        Example:
        >>> matrix = keras_ncr.noise.pair_flip(10, 1.0)
        >>> noise = keras_ncr.noise.LabelNoise(matrix)
        >>> int(noise.transform(tf.constant(3), key=tf.constant("image 17")))
        4
        """
        label, key = tf.convert_to_tensor(label), tf.convert_to_tensor(key)
        _check_element(label, key)
        bits = hash_keys_in_graph(key, self.seed)
        numbers = self._look_up(bits) if self.exact else _uniform_in_graph(bits)
        rows = tf.gather(self._cumulative, tf.cast(label, tf.int64))
        is_passed = tf.expand_dims(numbers, -1) >= rows  # (..., num_classes)
        noisy_label = tf.reduce_sum(tf.cast(is_passed, tf.int64), axis=-1)
        return tf.cast(noisy_label, label.dtype)

    def apply(
        self, dataset: tf.data.Dataset, label: str = "label", key: str | None = None
    ) -> tf.data.Dataset:
        """Returns a data set with noisy labels in place of the clean ones.

        For elements `(x, y)` or `(x, y, sample_weight)` the key is the position, so
        such a data set must come in its fixed order, one pass of single examples:
        use this before `shuffle`, `repeat` and `batch`. The noise of an already
        shuffled data set would differ in each epoch, which cannot be detected here.

        For dict elements, name the feature that identifies an example; they may then
        come in any order, repeated, sharded or in batches, which is the fastest.

        Args:
            dataset: A `tf.data.Dataset`.
            label: String. For dicts: the feature that holds the clean label.
                Defaults to `"label"`, TFDS' habit.
            key: String. For dicts: the feature that identifies the example, such as
                `"tfds_id"`, which `tfds.ReadConfig(add_tfds_id=True)` adds.

        Returns:
            A `tf.data.Dataset` of the same structure.

        Raises:
            ValueError: If elements are of another structure, lack a feature, or
                `(x, y)` elements come in batches or endlessly.

        Example:
        >>> noise = keras_ncr.noise.LabelNoise(keras_ncr.noise.pair_flip(10, 1.0))
        >>> examples = {"id": ["a", "b", "c"], "label": [7, 8, 9]}
        >>> dataset = tf.data.Dataset.from_tensor_slices(examples).shuffle(3)
        >>> dataset = noise.apply(dataset, key="id")
        >>> sorted(int(element["label"]) for element in dataset)
        [0, 8, 9]
        """
        if isinstance(dataset.element_spec, dict):
            for argument, name in (("label", label), ("key", key)):
                known = sorted(dataset.element_spec)
                check_known(name, known, argument, ", features of the data set")
            return dataset.map(
                lambda element: {
                    **element,
                    label: self.transform(element[label], element[key]),
                },
                num_parallel_calls=tf.data.AUTOTUNE,
            )
        _check_pairs(dataset, key)
        return dataset.enumerate().map(
            lambda index, element: (
                element[0],
                self.transform(element[1], index),
                *element[2:],
            ),
            num_parallel_calls=tf.data.AUTOTUNE,
        )

    def _hash(self, labels, keys):
        """Returns checked labels and 64 bits of each example's key."""
        labels = check_labels(labels, self.num_classes)
        bits = hash_keys(np.arange(len(labels)) if keys is None else keys, self.seed)
        if len(bits) != len(labels):
            raise ValueError(
                "`keys` must hold one key per label. "
                f"Received: {len(bits)} keys and {len(labels)} labels."
            )
        if self.exact and len(np.unique(bits)) != len(bits):
            raise ValueError(
                "`keys` must all be different with exact=True. Received: "
                f"{len(np.unique(bits))} different keys for {len(bits)} labels."
            )
        return labels, bits

    def _look_up(self, bits):
        """Returns the ranks that `fit` stored."""
        if self._ranks is None:
            raise ValueError(
                "`exact=True` needs all labels before it can transform one. "
                "Received: a noise that was not fitted. Call `fit(labels, keys)` first."
            )
        ranks = self._ranks.lookup(tf.bitcast(bits, tf.int64))
        tf.debugging.assert_non_negative(
            ranks, "`key` must be one of the keys that `fit` was called with."
        )
        return ranks


def _check_matrix(matrix):
    """Returns a transition matrix as float64, or raises."""
    matrix = np.array(matrix, np.float64)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or len(matrix) < 2:
        raise ValueError(
            "`transition_matrix` must have shape (num_classes, num_classes), with at "
            f"least 2 classes. Received: shape {matrix.shape}."
        )
    if not np.all(np.isfinite(matrix)) or np.any(matrix < 0):
        raise ValueError(
            "`transition_matrix` must hold probabilities, finite and not negative. "
            f"Received: values from {matrix.min()} to {matrix.max()}."
        )
    errors = np.abs(matrix.sum(axis=1) - 1)
    if np.any(errors > _SUM_TOLERANCE):
        row = int(np.argmax(errors))
        message = (
            "`transition_matrix` must be row-stochastic: row i holds P(noisy label "
            f"given clean class i). Received: row {row} sums to {matrix[row].sum()}."
        )
        if np.allclose(matrix.sum(axis=0), 1, atol=_SUM_TOLERANCE):
            message += (
                " Its columns sum to 1, the convention of cleanlab's noise_matrix: "
                "pass the transpose, `transition_matrix.T`."
            )
        raise ValueError(message)
    return matrix


def _check_element(label, key):
    """Checks dtypes and shapes of a label and its key."""
    if not label.dtype.is_integer:
        raise ValueError(f"`label` must be of an integer dtype. Received: {label!r}.")
    if not (key.dtype.is_integer or key.dtype == tf.string):
        raise ValueError(f"`key` must hold integers or strings. Received: {key!r}.")
    if not label.shape.is_compatible_with(key.shape):
        raise ValueError(
            "`label` and `key` must have the same shape. Received: "
            f"{label.shape} and {key.shape}. Turn one-hot labels into class numbers "
            "with `tf.argmax(label, axis=-1)` first."
        )


def _check_pairs(dataset, key):
    """Checks that elements are (x, y) pairs that positions can number."""
    spec = dataset.element_spec
    if not (isinstance(spec, tuple) and len(spec) in (2, 3)):
        raise ValueError(
            "`dataset` must have elements (x, y), (x, y, sample_weight) or dicts. "
            f"Received: {spec}."
        )
    if key is not None:
        raise ValueError(
            "`key` must be left out with (x, y) elements, which are keyed by position. "
            f"Received: key={key!r}. For keys of your own use dict elements."
        )
    if not (isinstance(spec[1], tf.TensorSpec) and spec[1].shape.rank == 0):
        raise ValueError(
            "`dataset` must have one class number per (x, y) element. Received: y of "
            f"{spec[1]}. Use this before `batch`, and turn one-hot labels into class "
            "numbers."
        )
    if dataset.cardinality() == tf.data.INFINITE_CARDINALITY:
        raise ValueError(
            "`dataset` must be one pass over the examples. Received: an endless data "
            "set of (x, y), in which positions are no keys. Use this before `repeat`."
        )


def _uniform(bits):
    """Returns numbers in [0, 1) from the upper 53 bits, all that a float64 holds."""
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _uniform_in_graph(bits):
    """Returns `_uniform` of a tensor: exact in each step, hence equal."""
    upper = tf.bitwise.right_shift(bits, np.uint64(11))
    return tf.cast(upper, tf.float64) * 2.0**-53


def _by_class(labels):
    """Yields each class with the positions of its examples."""
    order = np.argsort(labels, kind="stable")
    present, starts = np.unique(labels[order], return_index=True)
    yield from zip(present, np.split(order, starts[1:]), strict=True)


def _ranks_within_class(labels, bits):
    """Returns (rank within the class + 0.5) / class size: evenly spaced in (0, 1)."""
    ranks = np.empty(len(labels))
    for _, members in _by_class(labels):
        order = np.argsort(bits[members])
        ranks[members[order]] = (np.arange(len(members)) + 0.5) / len(members)
    return ranks
