"""What arguments must be: each check returns what it is given, or says what to do."""

import inspect
import numbers

import keras
import numpy as np
import tensorflow as tf


def check_labels(labels, num_classes=None, name="labels"):
    """Returns `labels` as a one-dimensional NumPy int64 array, or raises.

    Args:
        labels: Array-like of shape `(n,)`, n at least 1: class numbers from 0, of an
            integer dtype, or floats that are whole numbers.
        num_classes: Optional int. If given, labels must be below it.
        name: String. What error messages call the argument. Defaults to `"labels"`.

    Returns:
        NumPy int64 array of shape `(n,)`, a copy.

    Raises:
        ValueError: If `labels` is empty, not one-dimensional (one-hot labels, for
            example), not whole numbers (NaN, for example), or out of range.

    Example:
    >>> from keras_ncr.checks import check_labels
    >>> check_labels([2, 0, 1.0], num_classes=3)
    array([2, 0, 1])
    """
    labels = np.asarray(labels)
    if labels.ndim != 1:
        raise ValueError(
            f"`{name}` must have shape (n,), one class number per example. "
            f"Received: shape {labels.shape}. For one-hot labels pass "
            "`np.argmax(labels, axis=-1)`, for a column `np.squeeze(labels, axis=-1)`."
        )
    if labels.size == 0:
        raise ValueError(f"`{name}` must hold at least one label. Received: none.")
    if labels.dtype.kind == "f":
        whole = np.isfinite(labels) & (labels == np.round(labels))
        _refuse_first(labels, ~whole, name, "hold whole class numbers")
    elif labels.dtype.kind not in "iu":
        raise ValueError(
            f"`{name}` must hold class numbers (integers). Received: dtype "
            f"{labels.dtype}. Map names to numbers first, for example with "
            "`np.unique(names, return_inverse=True)`."
        )
    _refuse_first(labels, labels < 0, name, "be 0 or more")
    if num_classes is not None:
        _refuse_first(labels, labels >= num_classes, name, f"be below {num_classes}")
    return labels.astype(np.int64)


def _refuse_first(labels, is_wrong, name, expectation):
    """Raises for the first wrong label, so that the user can go and look at it."""
    if np.any(is_wrong):
        index = int(np.argmax(is_wrong))
        raise ValueError(
            f"`{name}` must {expectation}. Received: {labels[index]} at position "
            f"{index}. Remove or correct such labels first."
        )


def check_rate(rate, name="rate"):
    """Returns `rate` as a float in [0, 1], or raises.

    Args:
        rate: Number: a share.
        name: String. What error messages call the argument. Defaults to `"rate"`.

    Returns:
        Float.

    Raises:
        ValueError: If `rate` is not a number from 0 to 1.

    Example:
    >>> from keras_ncr.checks import check_rate
    >>> check_rate(0.4)
    0.4
    """
    if not (_is_number(rate, numbers.Real) and 0 <= rate <= 1):  # NaN fails too
        raise ValueError(
            f"`{name}` must be a number from 0 to 1. Received: {name}={rate}."
        )
    return float(rate)


def check_integer(value, name, minimum):
    """Returns `value` as an int of at least `minimum`, or raises.

    Args:
        value: Integer.
        name: String. What error messages call the argument.
        minimum: Int.

    Returns:
        Int.

    Raises:
        ValueError: If `value` is not an integer, or below `minimum`.

    Example:
    >>> from keras_ncr.checks import check_integer
    >>> check_integer(10, "num_classes", minimum=2)
    10
    """
    if not (_is_number(value, numbers.Integral) and value >= minimum):
        raise ValueError(
            f"`{name}` must be an integer of at least {minimum}. "
            f"Received: {name}={value}."
        )
    return int(value)


def _is_number(value, kind):
    """Whether value is a number of a kind; True and False are not meant as numbers."""
    return isinstance(value, kind) and not isinstance(value, bool)


def check_layer(value, name):
    """Returns `value`, or raises unless it is a Keras layer or model.

    Args:
        value: Anything.
        name: String. What error messages call the argument.

    Returns:
        `value`.

    Raises:
        ValueError: If `value` is no Keras layer.

    Example:
    >>> from keras_ncr.checks import check_layer
    >>> check_layer(keras.layers.Dense(3), "backbone").units
    3
    """
    if not isinstance(value, keras.Layer):
        raise ValueError(
            f"`{name}` must be a Keras layer or model, already constructed. "
            f"Received: {name}={value!r} of type {type(value).__name__}."
        )
    return value


def check_features(features):
    """Raises unless a backbone has returned features or a feature map.

    Args:
        features: What the backbone has returned.

    Raises:
        ValueError: If it is no tensor of rank 2 or 4.

    Example:
    >>> from keras_ncr.checks import check_features
    >>> check_features(np.zeros((2, 7, 7, 512)))
    """
    shape = getattr(features, "shape", None)
    if shape is None or len(shape) not in (2, 4):
        raise ValueError(
            "`backbone` must return features of shape (batch, dim) or a feature map "
            "(batch, height, width, dim). Received: "
            f"{type(features).__name__ if shape is None else tuple(shape)}. Add a "
            "pooling or Flatten layer to it, or override "
            "`NCRModel.features_and_logits`."
        )


def check_takes_logits(loss):
    """Raises for a Keras loss that would take logits for probabilities.

    Args:
        loss: What `keras.Model.compile` takes as the loss of one output.

    Raises:
        ValueError: If `loss` is one of Keras' that expects probabilities.

    Example:
    >>> from keras_ncr.checks import check_takes_logits
    >>> check_takes_logits(keras.losses.CategoricalCrossentropy(from_logits=True))
    """
    function = keras.losses.get(loss)
    from_logits = getattr(function, "from_logits", None)
    if from_logits is None and inspect.isfunction(function):
        parameter = inspect.signature(function).parameters.get("from_logits")
        from_logits = getattr(parameter, "default", None)
    # Keras' divergence has no choice: both its arguments are probabilities.
    is_divergence = (
        isinstance(function, keras.losses.KLDivergence)
        or function is keras.losses.kl_divergence
    )
    if from_logits is False or is_divergence:
        raise ValueError(
            "`loss` must be one on logits, which is what the model returns. Received: "
            f"loss={loss!r}, which expects probabilities. Pass for example "
            "keras.losses.SparseCategoricalCrossentropy(from_logits=True)."
        )


def label_of(y):
    """Returns the labels, where `y` may be a dict that carries more than labels.

    Args:
        y: Labels, or a dict with the key `"label"`.

    Returns:
        The labels.

    Raises:
        ValueError: If `y` is `None`, or a dict without the key.

    Example:
    >>> from keras_ncr.checks import label_of
    >>> label_of({"label": [0, 1], "clean_label": [0, 0]})
    [0, 1]
    """
    if y is None:
        raise ValueError(
            "Training and evaluation need labels. Received: y=None. Pass `y`, or a "
            "dataset of (inputs, labels). For logits without labels use `predict`."
        )
    if not isinstance(y, dict):
        return y
    if "label" not in y:
        raise ValueError(
            'A dict of targets must have the key "label", and may have others beside '
            f"it. Received: the keys {sorted(y)}."
        )
    return y["label"]


def check_training_labels(y, num_classes, ignored=None):
    """Raises unless `y` are class numbers, or one row of class weights per example.

    Args:
        y: Array-like of shape `(n,)`, `(n, 1)` or `(n, num_classes)`, n at least 1, or
            a dict that has one under the key `"label"`.
        num_classes: Int.
        ignored: Optional int: a class number that stands for "no label", as
            `ignore_class` in `keras.losses.SparseCategoricalCrossentropy`.

    Raises:
        ValueError: If `y` has another shape, is empty, or holds what is no label.

    Example:
    >>> from keras_ncr.checks import check_training_labels
    >>> check_training_labels(np.array([2, 0, -1]), num_classes=3, ignored=-1)
    """
    labels = np.asarray(label_of(y))
    if labels.ndim == 2 and labels.shape[1] == num_classes:
        if labels.size == 0:
            raise ValueError("`y` must hold at least one label. Received: none.")
        is_wrong = ~np.all(np.isfinite(labels) & (labels >= 0), axis=1)
        _refuse_first(labels, is_wrong, "y", "hold one-hot labels or probabilities")
        return
    if labels.ndim == 2 and labels.shape[1] != 1:
        raise ValueError(
            f"`y` must have shape (n,), (n, 1) or (n, num_classes={num_classes}). "
            f"Received: shape {labels.shape}."
        )
    labels = labels[:, 0] if labels.ndim == 2 else labels
    if ignored is not None and np.any(labels == ignored):
        labels = np.where(labels == ignored, 0, labels)
    check_labels(labels, num_classes, name="y")


def with_checked_labels(dataset, num_classes, ignored=None):
    """Returns a dataset that stops at a batch with a label that is no class.

    The check runs in the input pipeline: no step has seen the batch by then, and XLA,
    which leaves assertions out of what it compiles, has no say in it.

    Args:
        dataset: `tf.data.Dataset` of batches `(inputs, labels, ...)`, the labels as in
            `check_training_labels`.
        num_classes: As in `check_training_labels`.
        ignored: As in `check_training_labels`.

    Returns:
        `tf.data.Dataset` of the same batches. Reading a wrong label raises
        `tf.errors.InvalidArgumentError`.

    Raises:
        ValueError: If the dataset is known to be empty, or to have no labels.

    Example:
    >>> from keras_ncr.checks import with_checked_labels
    >>> dataset = tf.data.Dataset.from_tensors((np.zeros((2, 5)), np.array([0, 1])))
    >>> with_checked_labels(dataset, num_classes=2).cardinality().numpy()
    np.int64(1)
    """
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

    def checked(inputs, y, *sample_weight):
        labels = label_of(y)
        is_one_hot = labels.shape.rank == 2 and labels.shape[1] == num_classes
        expected = (
            "finite and not negative" if is_one_hot else f"in 0..{num_classes - 1}"
        )
        # float64 holds every class number; float32 and uint8 do not.
        values = tf.cast(labels, "float64")
        # Written so that NaN, of which every comparison is false, fails as well.
        is_label = (values >= 0) & (
            values <= (1e300 if is_one_hot else num_classes - 1)
        )
        if ignored is not None:
            is_label |= values == ignored
        message = f"A label in `x` must be {expected}. Received:"
        wrong = tf.boolean_mask(values, ~is_label)
        assertion = tf.debugging.Assert(tf.reduce_all(is_label), [message, wrong])
        with tf.control_dependencies([assertion]):
            return (inputs, tf.nest.map_structure(tf.identity, y), *sample_weight)

    return dataset.map(checked)
