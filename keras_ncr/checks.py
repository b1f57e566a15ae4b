"""Checks of arguments: each returns a good value, or raises and says what to do."""

import difflib
import inspect
import numbers
import re
import unicodedata
from collections.abc import Iterable, Mapping, Set

import keras
import numpy as np


def check_labels(labels, num_classes: int | None = None, name: str = "labels"):
    """Returns `labels` as a one-dimensional NumPy int64 array, or raises."""
    refuse_sparse(labels, name)
    try:
        labels = np.asarray(labels)
    except ValueError as error:  # Lists of different lengths.
        raise ValueError(
            f"`{name}` must hold one class number for each example. Received: lists "
            "of different lengths. Of several labels choose one."
        ) from error
    if labels.dtype.kind == "O" and labels.ndim == 1:
        labels = _numbers_of(labels, name)
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
        if np.sum(~whole & np.isfinite(labels)) > len(labels) / 2:
            raise ValueError(
                f"`{name}` must hold whole class numbers. Received: "
                f"{labels[~whole][0]:g} at position {int(np.argmin(whole))}, and "
                f"fractions in most rows. {REGRESSION}"
            )
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


# What can be done about measurements in place of labels.
REGRESSION = (
    "What is measured or counted, as for a regression, has no classes: put it into "
    "groups first, such as `pandas.qcut(labels, 5, labels=False)`."
)


def refuse_sparse(array, name: str) -> None:
    """Raises for a sparse matrix, which NumPy would take for a single object."""
    if hasattr(array, "toarray") or type(array).__name__ == "SparseTensor":
        remedy = "toarray()" if hasattr(array, "toarray") else "tf.sparse.to_dense"
        raise ValueError(
            f"`{name}` must be dense. Received: {type(array).__name__} of shape "
            f"{tuple(array.shape)}. Convert it by `{remedy}`, or with fewer columns, "
            "such as those of `sklearn.decomposition.TruncatedSVD`."
        )


def _numbers_of(labels, name):
    """Returns labels that are Python objects as numbers, if all of them are."""
    is_number = np.array([isinstance(label, numbers.Real) for label in labels], bool)
    if is_number.all():
        return np.array(labels.tolist())
    first = labels[int(np.argmin(is_number))]
    if is_number.any() or isinstance(first, list | tuple | np.ndarray):
        refuse_first(labels, ~is_number, name, "hold class numbers (integers) alone")
    return labels


def check_found(labels, name: str = "labels") -> int:
    """Returns the number of classes, or raises unless each number has an example."""
    found = np.unique(labels)
    num_classes = int(found[-1]) + 1
    if len(found) < num_classes:
        first = int(np.argmax(found != np.arange(len(found))))
        raise ValueError(
            f"`{name}` must hold each class number from 0 up to its largest. Received: "
            f"{found[0]} to {found[-1]}, and none of class {first}. Subtract 1 from "
            "numbers that begin with 1; number others anew by `np.unique(labels, "
            "return_inverse=True)`. If a class may be without examples, pass "
            "`num_classes`."
        )
    return num_classes


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
            f"`{name}` must {expectation}. Received: {brief(labels[index])} at "
            f"position {index}. Remove or correct such labels first."
        )


def brief(value: object) -> str:
    """Returns text for a value that a message can hold, whatever it is."""
    text = str(value) if isinstance(value, numbers.Number) else repr(value)
    text = text.replace("\n", " ")
    return text if len(text) <= 80 else f"{text[:77]}... ({type(value).__name__})"


def check_class_names(
    class_names: Iterable[str], num_classes: int | None = None
) -> tuple[str, ...]:
    """Returns `class_names` as a tuple, or raises."""
    names = in_order_of_classes(class_names)
    if num_classes is not None and len(names) != num_classes:
        raise ValueError(
            f"`class_names` of {num_classes} classes must have {num_classes} entries. "
            f"Received: {len(names)}."
        )
    if len(names) < 2:
        raise ValueError(
            "`class_names` must be at least two strings, one for each class. "
            f"Received: class_names={brief(class_names)}."
        )
    if len(set(names)) < len(names):
        repeated = next(name for name in names if names.count(name) > 1)
        raise ValueError(
            "`class_names` must be all different. "
            f"Received: {repeated!r} {names.count(repeated)} times."
        )
    return names


def in_order_of_classes(class_names: Iterable[str]) -> tuple[str, ...]:
    """Returns names of classes as a tuple, or raises for what is no list of them."""
    if isinstance(class_names, Mapping | Set):
        raise ValueError(
            "`class_names` must be strings in the order of the class numbers. "
            f"Received: a {type(class_names).__name__}, whose order says nothing: "
            f"{brief(class_names)}. From numbers to names: `[names[i] for i in "
            "range(len(names))]`; from names to numbers: "
            "`sorted(names, key=names.get)`."
        )
    # A string would pass as the names of its letters.
    is_list = not isinstance(class_names, str)
    names = tuple(class_names) if is_list else (class_names,)
    if not is_list or not all(isinstance(name, str) for name in names):
        raise ValueError(
            "`class_names` must be at least two strings, one for each class. "
            f"Received: class_names={brief(class_names)}."
        )
    return names


def check_spellings(names: Iterable[str], what: str) -> None:
    """Raises if two names of classes found in data are one name, spelled twice."""
    seen = {}
    for name in names:
        other = seen.setdefault(_spoken(name), name)
        if other != name:
            raise ValueError(
                f"{what} must be spelled in one way each. Received: {ascii(other)} and "
                f"{ascii(name)}, which {_difference(other, name)}. Write one of them "
                "throughout, or make them two names that differ in more than that."
            )


def _spoken(name):
    """Returns what two spellings of one name have in common."""
    name = " ".join(unicodedata.normalize("NFKC", name).split())
    # Single letters are two classes, the large and the small, as in an alphabet.
    name = name if len(name) == 1 else name.casefold()
    return re.sub(r"^(-?\d+)\.0+$", r"\1", name)


def _difference(one, other):
    """Returns how two spellings of a name differ, in words."""
    if unicodedata.normalize("NFKC", one) == unicodedata.normalize("NFKC", other):
        return "look alike and differ only in the Unicode form of their letters"
    return "differ only in spelling: capital letters, spaces, or .0 behind a number"


def check_ids(ids, num_examples: int | None = None):
    """Returns ids as a copy in int64 or unicode, the two kinds that files hold."""
    ids = np.asarray(ids)
    num_examples = len(ids) if num_examples is None and ids.ndim else num_examples
    if ids.dtype.kind == "O" and all(isinstance(i, str | bytes) for i in ids.flat):
        ids = np.array([i if isinstance(i, str) else i.decode() for i in ids.flat])
    if ids.dtype.kind == "S":  # what TensorFlow's string tensors come back as
        ids = np.char.decode(ids, "utf-8")
    if ids.dtype.kind == "u" and np.any(ids > np.iinfo(np.int64).max):
        raise ValueError(
            "`ids` must fit into int64. Received: dtype uint64, with values above "
            f"{np.iinfo(np.int64).max}. Pass them as strings: `ids.astype(str)`."
        )
    if ids.dtype.kind not in "iuU":
        raise ValueError(
            "`ids` must be integers or strings, one per example. "
            f"Received: dtype {ids.dtype}."
        )
    if ids.shape != (num_examples,):
        raise ValueError(
            f"`ids` must have shape ({num_examples},), one per label. "
            f"Received: shape {ids.shape}."
        )
    num_different = len(set(ids.tolist()))  # np.unique sorts millions of strings.
    if num_different != num_examples:
        raise ValueError(
            f"`ids` must all be different. Received: {num_different} different "
            f"ids for {num_examples} examples."
        )
    return ids.copy() if ids.dtype.kind == "U" else ids.astype(np.int64)


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
    # Where names differ in case alone, the first one counts.
    by_lower_case = {str(choice).lower(): choice for choice in reversed(known)}
    nearest = difflib.get_close_matches(
        str(value).lower(), by_lower_case, n=1, cutoff=0.5
    )
    hint = f" Did you mean {by_lower_case[nearest[0]]!r}?" if nearest else ""
    form = unicodedata.normalize("NFC", str(value))
    if any(form == unicodedata.normalize("NFC", str(choice)) for choice in known):
        hint = (
            " One that looks alike is there in another Unicode form than "
            f"{ascii(value)}: write both in one, such as NFC."
        )
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


def plain_arguments(made: object, base: type) -> dict:
    """Returns the numbers and words that a subclass of `base` was made with."""
    # As scikit-learn's `get_params`: each is kept in the attribute of its name.
    makers = [cls.__init__ for cls in type(made).__mro__ if issubclass(cls, base)]
    names = [name for make in makers for name in inspect.signature(make).parameters]
    values = {name: getattr(made, name) for name in names if hasattr(made, name)}
    plain = (str, int, float, type(None))
    return {name: value for name, value in values.items() if isinstance(value, plain)}
