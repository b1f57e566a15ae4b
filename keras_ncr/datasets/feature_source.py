"""Data sets of features: numbers that some network or program made of the examples."""

import os
import zipfile

import numpy as np

from keras_ncr.checks import (
    check_clean_labels,
    check_known,
    check_labels,
    check_spellings,
    in_order_of_classes,
)
from keras_ncr.datasets.array_source import classes_of, source_in_memory
from keras_ncr.datasets.source import Source

_NEEDED, _OPTIONAL = ("features", "labels"), ("ids", "class_names", "clean_labels")


def from_features(
    features,
    labels=None,
    class_names=None,
    ids=None,
    clean_labels=None,
    name: str | None = None,
) -> Source:
    """Returns the `Source` of features and labels, from arrays or from an .npz file.

    Whatever has features can be trained on and audited: audio, video, molecules, or
    images whose features a large network has made.

    Args:
        features: Array of shape `(n, dim)`, finite numbers, which become float32. Or
            the path of an .npz file with the arrays `features` and `labels`, and if it
            has them `ids`, `class_names` and `clean_labels`.
        labels: Array of shape `(n,)`: class numbers from 0, or names. Left out for a
            file.
        class_names: Optional strings, the classes in the order of their numbers.
            Defaults to the numbers, or to the names in `labels` in the order of
            `sorted`.
        ids: Optional array of shape `(n,)`: integers or strings, all different, to know
            the examples by. Defaults to the positions.
        clean_labels: Optional array of shape `(n,)`: the true labels, as `labels`, or
            -1 where the true class is none of the classes. Defaults to `None`.
        name: Optional string. What messages call the data set. Defaults to the name of
            the file, or `"features"`.

    Returns:
        `Source` whose inputs are float32.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is none, an array is missing, features are no finite
            numbers, the arrays are not equally long, or labels are no classes.

    Example:
    >>> features = np.random.default_rng(0).normal(size=(4, 16))
    >>> source = keras_ncr.datasets.from_features(features, ["cat", "dog"] * 2)
    >>> source.kind, source.class_names, source.labels.tolist()
    ('features', ('cat', 'dog'), [0, 1, 0, 1])
    >>> np.savez("features.npz", features=features, labels=[0, 1, 0, 1])
    >>> keras_ncr.datasets.from_features("features.npz").num_examples
    4
    """
    arrays = {
        "labels": labels,
        "class_names": class_names,
        "ids": ids,
        "clean_labels": clean_labels,
    }
    if isinstance(features, str | os.PathLike):
        path = os.path.expanduser(os.fspath(features))
        name = os.path.basename(path) if name is None else name
        found = _read(path)
        _check_same_classes(class_names, found.get("class_names"), path)
        given = {key: value for key, value in arrays.items() if value is not None}
        arrays = {**found, **given}
    elif labels is None:
        raise ValueError(
            "`labels` must be given beside an array of features. Received: None."
        )
    else:
        arrays["features"] = features
    features = _checked(arrays["features"])
    for key in ("labels", "ids", "clean_labels"):
        _check_length(arrays.get(key), features, key)
    labels, class_names = _numbered(arrays["labels"], arrays.get("class_names"))
    clean_labels = arrays.get("clean_labels")
    if clean_labels is not None:
        clean_labels = _true_numbers(clean_labels, class_names)
    return source_in_memory(
        "features" if name is None else name,
        features,
        labels,
        arrays.get("ids"),
        num_classes=len(class_names),
        class_names=class_names,
        clean_labels=clean_labels,
    )


def _read(path):
    """Returns the arrays of an .npz file that have a meaning, by name."""
    if not os.path.isfile(path):
        raise FileNotFoundError(
            f"`features` must be a file that exists. Received: {path!r}."
        )
    try:
        with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as file:
            # A single array of an .npy file has no names.
            names = getattr(file, "files", [])
            missing = [name for name in _NEEDED if name not in names]
            if missing:
                raise ValueError(
                    f"it has no array {missing[0]!r}, but "
                    f"{', '.join(map(repr, names)) or 'one without a name'}"
                )
            return {
                name: file[name] for name in (*_NEEDED, *_OPTIONAL) if name in names
            }
    except (ValueError, EOFError, zipfile.BadZipFile, AttributeError) as error:
        raise ValueError(
            "The file must be one of `np.savez(FILE, features=..., labels=...)`, with "
            f"ids, class_names and clean_labels if they are known. Received: {path!r}: "
            f"{error}."
        ) from error


def _check_same_classes(expected, found, path):
    """Raises if a file has other classes than are asked for, or in another order."""
    if expected is None or found is None:
        return
    if [str(name) for name in found] != [str(name) for name in expected]:
        raise ValueError(
            f"`class_names` in {path!r} must be {list(expected)}. Received: "
            f"{found.tolist()}."
        )


def _checked(features):
    """Returns features as finite float32, or raises."""
    try:
        features = np.asarray(features, "float32")
    except (TypeError, ValueError) as error:
        raise ValueError(
            "`features` must be an array of numbers. Received: "
            f"{type(features).__name__}, of which {error}."
        ) from error
    if features.ndim != 2 or 0 in features.shape:
        raise ValueError(
            "`features` must have shape (n, dim), with at least one example. Received: "
            f"shape {features.shape}. Of more axes: `features.reshape(n, -1)`."
        )
    is_wrong = ~np.isfinite(features).all(axis=1)
    if is_wrong.any():
        raise ValueError(
            "`features` must be finite. Received: NaN or infinite numbers in "
            f"{is_wrong.sum():,} of {len(features):,} examples, the first at position "
            f"{np.argmax(is_wrong)}. Remove these examples, or compute them anew."
        )
    return features


def _check_length(values, features, name):
    """Raises unless there is one value for each example."""
    if values is not None and len(values) != len(features):
        raise ValueError(
            f"`features` and `{name}` must be equally long. Received: "
            f"{len(features):,} examples and {len(values):,} {name}."
        )


def _numbered(labels, class_names):
    """Returns labels as class numbers, and the names of the classes."""
    labels = np.asarray(labels)
    if labels.dtype.kind not in "USO":
        labels = check_labels(labels)
        return labels, classes_of(labels, class_names=class_names)[1]
    names = [str(label) for label in labels.tolist()]
    if class_names is None:
        class_names = sorted(set(names))
        check_spellings(class_names, "Names in `labels`")
    class_names = in_order_of_classes(class_names)
    numbers = {str(name): number for number, name in enumerate(class_names)}
    for name in dict.fromkeys(names):
        check_known(name, numbers, "labels")
    labels = np.array([numbers[name] for name in names])
    return labels, classes_of(labels, class_names=list(numbers))[1]


def _true_numbers(clean_labels, class_names):
    """Returns true labels as class numbers, -1 for what is none of the classes."""
    clean_labels = np.asarray(clean_labels)
    if clean_labels.dtype.kind in "USO":
        numbers = {name: number for number, name in enumerate(class_names)}
        names = map(str, clean_labels.tolist())
        clean_labels = np.array([numbers.get(name, -1) for name in names])
    return check_clean_labels(clean_labels, len(class_names))
