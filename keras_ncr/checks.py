"""What arguments must be: each check returns what it is given, or says what to do."""

import difflib
import numbers

import keras
import numpy as np


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
    if labels.dtype.kind == "b":
        labels = labels.astype(np.int64)
    if labels.dtype.kind == "f":
        whole = np.isfinite(labels) & (labels == np.round(labels))
        refuse_first(labels, ~whole, name, "hold whole class numbers")
    elif labels.dtype.kind not in "iu":
        raise ValueError(
            f"`{name}` must hold class numbers (integers). Received: dtype "
            f"{labels.dtype}. Map names to numbers first, for example with "
            "`np.unique(names, return_inverse=True)`."
        )
    refuse_first(labels, labels < 0, name, "be 0 or more")
    if num_classes is not None:
        refuse_first(labels, labels >= num_classes, name, f"be below {num_classes}")
    return labels.astype(np.int64)


def check_clean_labels(clean_labels, num_classes=None, name="clean_labels"):
    """Returns labels of which -1 stands for "none of the classes", or raises.

    Args:
        clean_labels: As `labels` in `check_labels`, and -1 is allowed.
        num_classes: Optional int. If given, labels must be below it.
        name: String. What error messages call the argument.

    Returns:
        NumPy int64 array of shape `(n,)`, a copy.

    Raises:
        ValueError: As `check_labels`.

    Example:
    >>> from keras_ncr.checks import check_clean_labels
    >>> check_clean_labels([2, -1, 0], num_classes=3)
    array([ 2, -1,  0])
    """
    clean_labels = np.asarray(clean_labels)
    is_unknown = clean_labels == -1
    known = check_labels(np.where(is_unknown, 0, clean_labels), num_classes, name)
    return np.where(is_unknown, -1, known)


def refuse_first(labels, is_wrong, name, expectation):
    """Raises for the first wrong label, so that the user can go and look at it.

    Args:
        labels: Array, one row per example.
        is_wrong: Bools, one per example.
        name: String. What error messages call the argument.
        expectation: String: what it must do, after "must".

    Raises:
        ValueError: If there is a wrong one.

    Example:
    >>> from keras_ncr.checks import refuse_first
    >>> refuse_first(np.array([0, 1]), np.array([False, False]), "labels", "be 0")
    """
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
            f"`{name}` must be a number from 0 to 1. Received: {name}={rate!r}."
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
            f"Received: {name}={value!r}."
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


def check_bool(value, name):
    """Returns `value` as a bool, or raises: any word but none would count as true.

    Args:
        value: Bool.
        name: String. What error messages call the argument.

    Returns:
        Bool.

    Raises:
        ValueError: If `value` is something else.

    Example:
    >>> from keras_ncr.checks import check_bool
    >>> check_bool(True, "exact")
    True
    """
    if not isinstance(value, bool | np.bool_):
        raise ValueError(f"`{name}` must be True or False. Received: {name}={value!r}.")
    return bool(value)


def check_known(value, known, name, alternative=""):
    """Returns `value`, or raises and names the known one that is nearest to it.

    Args:
        value: String.
        known: Iterable of strings.
        name: String. What error messages call the argument.
        alternative: String. What else the argument may be, for the message. Defaults
            to nothing.

    Returns:
        `value`.

    Raises:
        ValueError: If `value` is none of `known`.

    Example:
    >>> from keras_ncr.checks import check_known
    >>> check_known("cosine", ["linear", "cosine"], "classifier")
    'cosine'
    """
    known = list(known)
    if value in known:
        return value
    # Of names that differ in case alone, the first is meant.
    by_lower_case = {str(choice).lower(): choice for choice in reversed(known)}
    nearest = difflib.get_close_matches(
        str(value).lower(), by_lower_case, n=1, cutoff=0.5
    )
    hint = f" Did you mean {by_lower_case[nearest[0]]!r}?" if nearest else ""
    received = f"{name}={value!r}" if name.isidentifier() else repr(value)
    raise ValueError(
        f"`{name}` must be one of {known}{alternative}. Received: {received}.{hint}"
    )


def check_positive(value, name):
    """Returns `value` as a float, or raises.

    Args:
        value: Number above 0.
        name: String. What error messages call the argument.

    Returns:
        Float.

    Raises:
        ValueError: If `value` is no number, not above 0 or not finite.

    Example:
    >>> from keras_ncr.checks import check_positive
    >>> check_positive(2, "temperature")
    2.0
    """
    if not (_is_number(value, numbers.Real) and 0 < value < float("inf")):
        raise ValueError(
            f"`{name}` must be a positive, finite number. Received: {name}={value!r}."
        )
    return float(value)
