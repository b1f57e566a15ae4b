"""Checks of arguments: each returns a good value, or raises and says what to do."""

import difflib
import numbers
from collections.abc import Iterable

import keras
import numpy as np


def check_labels(labels, num_classes: int | None = None, name: str = "labels"):
    """Returns `labels` as a one-dimensional NumPy int64 array, or raises."""
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


def check_clean_labels(
    clean_labels, num_classes: int | None = None, name: str = "clean_labels"
):
    """Returns labels with -1 for examples of none of the classes, or raises."""
    clean_labels = np.asarray(clean_labels)
    is_unknown = clean_labels == -1
    known = check_labels(np.where(is_unknown, 0, clean_labels), num_classes, name)
    return np.where(is_unknown, -1, known)


def refuse_first(labels, is_wrong, name: str, expectation: str) -> None:
    """Raises for the first wrong label, so that the user can go and look at it."""
    if np.any(is_wrong):
        index = int(np.argmax(is_wrong))
        raise ValueError(
            f"`{name}` must {expectation}. Received: {labels[index]} at position "
            f"{index}. Remove or correct such labels first."
        )


def check_class_names(class_names: Iterable[str]) -> tuple[str, ...]:
    """Returns `class_names` as a tuple, or raises."""
    # A string would pass as the names of its letters.
    names = () if isinstance(class_names, str) else tuple(class_names)
    if len(names) < 2 or not all(isinstance(name, str) for name in names):
        raise ValueError(
            "`class_names` must be at least two strings, one for each class. "
            f"Received: class_names={class_names!r}."
        )
    if len(set(names)) < len(names):
        repeated = next(name for name in names if names.count(name) > 1)
        raise ValueError(
            "`class_names` must be all different. "
            f"Received: {repeated!r} {names.count(repeated)} times."
        )
    return names


def check_rate(rate: float, name: str = "rate") -> float:
    """Returns `rate` as a float in [0, 1], or raises."""
    if not (_is_number(rate, numbers.Real) and 0 <= rate <= 1):  # NaN fails too
        raise ValueError(
            f"`{name}` must be a number from 0 to 1. Received: {name}={rate!r}."
        )
    return float(rate)


def check_integer(value: int, name: str, minimum: int) -> int:
    """Returns `value` as an int of at least `minimum`, or raises."""
    if not (_is_number(value, numbers.Integral) and value >= minimum):
        raise ValueError(
            f"`{name}` must be an integer of at least {minimum}. "
            f"Received: {name}={value!r}."
        )
    return int(value)


def _is_number(value: object, kind: type) -> bool:
    """Whether `value` is a number of a kind. `True` and `False` are none."""
    return isinstance(value, kind) and not isinstance(value, bool)


def check_layer(value: keras.Layer, name: str) -> keras.Layer:
    """Returns `value`, or raises unless it is a Keras layer or model."""
    if not isinstance(value, keras.Layer):
        raise ValueError(
            f"`{name}` must be a Keras layer or model, already constructed. "
            f"Received: {name}={value!r} of type {type(value).__name__}."
        )
    return value


def check_bool(value: bool, name: str) -> bool:
    """Returns `value` as a bool, or raises: Python takes any word for true."""
    if not isinstance(value, bool | np.bool_):
        raise ValueError(f"`{name}` must be True or False. Received: {name}={value!r}.")
    return bool(value)


def check_known(
    value: str, known: Iterable[str], name: str, alternative: str = ""
) -> str:
    """Returns `value`, or raises and names the known one that is nearest to it."""
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


def check_positive(value: float, name: str) -> float:
    """Returns `value` as a float, or raises."""
    if not (_is_number(value, numbers.Real) and 0 < value < float("inf")):
        raise ValueError(
            f"`{name}` must be a positive, finite number. Received: {name}={value!r}."
        )
    return float(value)


def check_weight(value, name):
    """Returns `value` as a float of at least 0, or raises."""
    if not (_is_number(value, numbers.Real) and 0 <= value < float("inf")):
        raise ValueError(
            f"`{name}` must be a finite number of at least 0. Received: "
            f"{name}={value!r}."
        )
    return float(value)
