"""Checks the arguments of `write_review` before anything is written."""

import os

import numpy as np

from keras_ncr.checks import check_clean_labels, check_integer, check_labels

_COLUMNS = (
    "id",
    "given_label",
    "predicted_label",
    "label_quality",
    "is_label_issue",
    "given_confidence",
    "predicted_confidence",
)
_ATTRIBUTES = ("name", "dataset_hash", "class_names")
_SHARES = (
    "label_quality",
    "given_confidence",
    "predicted_confidence",
    "issue_probability",
    "neighbor_agreement",
    "outlier_score",
)
_WHOLE = "Pass the frame as `keras_ncr.audit` returns it, with a row for every example."


def check_frame(frame):
    """Returns an audit's frame in the order of its index, or raises."""
    missing = [name for name in _COLUMNS if name not in getattr(frame, "columns", ())]
    if missing:
        raise ValueError(
            f"`frame` must have the columns {list(_COLUMNS)}. Received: a "
            f"{type(frame).__name__} without {missing}. {_WHOLE}"
        )
    missing = [name for name in _ATTRIBUTES if name not in frame.attrs]
    if missing:
        raise ValueError(
            f"`frame.attrs` must have {list(_ATTRIBUTES)}. Received: without "
            f"{missing}. {_WHOLE} Some operations of pandas lose the attributes."
        )
    if len(frame) == 0 or set(frame.index) != set(range(len(frame))):
        raise ValueError(
            "The index of `frame` must hold the numbers from 0 to n - 1, each once. "
            f"Received: {len(frame)} rows with other numbers. {_WHOLE}"
        )
    frame = frame.sort_index()
    _check_ids(frame["id"])
    names = [str(name) for name in frame.attrs["class_names"]]
    if len(names) < 2 or len(set(names)) < len(names):
        raise ValueError(
            "`class_names` in `frame.attrs` must be two names or more, all different. "
            f"Received: {names[:20]}."
        )
    for name in ("given_label", "predicted_label"):
        check_labels(frame[name], len(names), name)
    if "neighbor_label" in frame:  # -1 where no neighbor is similar.
        check_clean_labels(frame["neighbor_label"], len(names), "neighbor_label")
    for name in frame.columns.intersection(_SHARES):
        _check_share(frame[name].to_numpy("float64"), name)
    if "near_duplicate" in frame:
        _check_indices(frame["near_duplicate"], "near_duplicate", -1, len(frame))
    return frame


def _check_ids(ids):
    """Raises unless ids are all different as the text that a file holds."""
    texts = id_texts(ids)
    if len(set(texts)) < len(texts):
        seen = set()
        twice = next(text for text in texts if text in seen or seen.add(text))
        raise ValueError(
            "The ids in `frame` must be all different, or corrections could not be "
            f"put back. Received: {twice!r} more than once."
        )


def _check_share(values, name):
    """Raises unless a column holds numbers from 0 to 1."""
    # Sums of float32 may exceed 1 a little. NaN is refused too.
    is_wrong = ~((values >= 0) & (values <= 1 + 1e-5))
    if np.any(is_wrong):
        index = int(np.argmax(is_wrong))
        raise ValueError(
            f"`{name}` in `frame` must be from 0 to 1. Received: {values[index]} at "
            f"index {index}."
        )


def _check_indices(indices, name, lowest, num_examples):
    """Raises unless an array holds indices of examples."""
    indices = np.asarray(indices)
    if indices.dtype.kind not in "iu":
        raise ValueError(
            f"`{name}` must hold integers, indices of examples. Received: dtype "
            f"{indices.dtype}."
        )
    if indices.size and not (lowest <= indices.min() <= indices.max() < num_examples):
        raise ValueError(
            f"`{name}` must hold indices from {lowest} to {num_examples - 1}. "
            f"Received: {indices.min()} to {indices.max()}."
        )


def check_neighbors(neighbors, num_examples, num_neighbors):
    """Returns the first `num_neighbors` columns of an array of neighbors, or raises."""
    check_integer(num_neighbors, "num_neighbors", minimum=0)
    if neighbors is None:
        return np.zeros((num_examples, 0), "int64")
    neighbors = np.asarray(neighbors)
    if neighbors.ndim != 2 or len(neighbors) != num_examples:
        raise ValueError(
            f"`neighbors` must have shape ({num_examples}, k), a row for each row of "
            f"`frame`. Received: shape {neighbors.shape}."
        )
    neighbors = neighbors[:, :num_neighbors]
    _check_indices(neighbors, "neighbors", 0, num_examples)
    return neighbors


def check_source(source, frame):
    """Raises unless a source, if any, has the examples of the frame, by their ids."""
    if source is None:
        return
    if source.num_examples != len(frame):
        raise ValueError(
            "`source` must be the data that was audited. Received: "
            f"{source.num_examples} examples, and {len(frame)} rows in `frame`."
        )
    pairs = zip(id_texts(source.ids), id_texts(frame["id"]), strict=True)
    for index, (of_source, of_frame) in enumerate(pairs):
        if of_source != of_frame:
            raise ValueError(
                "`source` must be the data that was audited. Received: id "
                f"{of_source!r} at index {index}, where `frame` has {of_frame!r}."
            )


def check_pictures(pictures, num_examples):
    """Returns which examples have a picture, or raises unless it is a path of each."""
    pictures = list(pictures)
    if len(pictures) != num_examples:
        raise ValueError(
            f"`pictures` must have {num_examples} entries, as `frame` has rows. "
            f"Received: {len(pictures)}."
        )
    wrong = [path for path in pictures if not isinstance(path, str | os.PathLike)]
    if wrong:
        raise ValueError(
            "`pictures` must be paths, or empty strings where there is no picture. "
            f"Received: {wrong[0]!r}."
        )
    return np.array([bool(os.fspath(path)) for path in pictures])


def check_details(details, num_examples):
    """Raises unless details, if any, are a table with a row for each example."""
    if details is None:
        return
    if not hasattr(details, "iloc") or getattr(details, "ndim", 0) != 2:
        raise ValueError(
            "`details` must be a pandas DataFrame. Received: "
            f"{type(details).__name__}. Wrap texts: "
            "`pandas.DataFrame({'text': texts})`."
        )
    if len(details) != num_examples:
        raise ValueError(
            f"`details` must have {num_examples} rows, as `frame` has. Received: "
            f"{len(details)} rows."
        )


def id_texts(ids):
    """Returns ids as the list of strings that an exported file holds."""
    return [i.decode() if isinstance(i, bytes) else str(i) for i in np.asarray(ids)]
