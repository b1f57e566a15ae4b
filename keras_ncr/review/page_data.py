"""The data of a review page: what it shows, as JSON in its file `data.js`.

Names, ids and values of the user's data are values in it, never keys: some keys
(`__proto__`) mean something to JavaScript.
"""

import json

import numpy as np

from keras_ncr.review.page_checks import id_texts
from keras_ncr.review.page_folder import MARK

# By kind of issue: its column of flags, and the column of scores that ranks it.
KINDS = {
    "label": ("is_label_issue", "label_quality"),
    "near_duplicate": ("is_near_duplicate_issue", "label_quality"),
    "outlier": ("is_outlier_issue", "outlier_score"),
}
_SCORES = {
    "given_confidence": "givenConfidence",
    "predicted_confidence": "suggestedConfidence",
    "label_quality": "quality",
    "issue_probability": "issueProbability",
    "neighbor_agreement": "neighborAgreement",
    "outlier_score": "outlierScore",
}
# Between bounds of a share that are further apart no number is named.
WIDE = 0.3
# Most characters of a detail; of a neighbor's, and how many of these: less, since there
# are many neighbors.
_LONGEST_DETAIL, _LONGEST_OF_NEIGHBOR, _DETAILS_OF_NEIGHBOR = 5_000, 200, 6
# A hundred thousand examples may not be called.
_LONGEST_OF_REST = 1_000


def flags_of(frame):
    """Returns a dict from each kind of issue in the frame to bools, one per example."""
    return {
        kind: np.asarray(frame[flag], bool)
        for kind, (flag, score) in KINDS.items()
        if flag in frame and score in frame
    }


def select(frame, limit, called_only=True):
    """Returns the examples to show, kind by kind, and how many there are in all."""
    ranked = []
    for kind, is_issue in flags_of(frame).items():
        indices = np.flatnonzero(is_issue)
        scores = np.asarray(frame[KINDS[kind][1]])[indices]
        ranked.extend(indices[np.argsort(scores, kind="stable")].tolist())
    if not called_only:
        quality = frame["label_quality"].to_numpy()
        ranked.extend(np.argsort(quality, kind="stable").tolist())
    # An example of several kinds keeps its first place.
    ranked = list(dict.fromkeys(ranked))
    return np.array(ranked[:limit], "int64"), len(ranked)


def others_of(frame, shown, neighbors):
    """Returns the indices of neighbors and near-duplicates that have no cards."""
    beside = neighbors[shown].ravel()
    if "near_duplicate" in frame:
        duplicates = np.asarray(frame["near_duplicate"])[shown]
        beside = np.concatenate([beside, duplicates[duplicates >= 0]])
    return np.setdiff1d(beside, shown)


def details_of(source):
    """Returns what a page shows of inputs that are no images: texts, or columns."""
    import pandas as pd

    if source is None or source.kind not in ("text", "columns"):
        return None  # Nobody can read features.
    stored = source.stored_inputs
    columns = stored if isinstance(stored, dict) else {"text": stored}
    return pd.DataFrame({name: _readable(rows) for name, rows in columns.items()})


def _readable(rows):
    """Returns numbers, or text in place of bytes."""
    rows = np.asarray(rows)
    if rows.dtype.kind != "O":
        return rows
    return [row.decode("utf-8", "replace") for row in rows]


def page_data(frame, shown, neighbors, others, pictures, details):
    """Returns all that the page shows, as a dict for JSON."""
    # Examples are numbered anew: card i shows example i, the others follow. `pictures`
    # is a dict from index to the name of a thumbnail, or None without a source.
    attributes, flags = frame.attrs, flags_of(frame)
    indices = np.concatenate([shown, others])
    number = np.full(len(frame) + 1, -1)  # The last is for the index -1, "none".
    number[indices] = np.arange(len(indices))
    cards = {
        "suggested": frame["predicted_label"].to_numpy()[shown].tolist(),
        "neighbors": number[neighbors[shown]].tolist(),
        **{
            name: np.round(frame[column].to_numpy("float64")[shown], 4).tolist()
            for column, name in _SCORES.items()
            if column in frame
        },
    }
    if "neighbor_label" in frame:
        cards["neighborLabel"] = frame["neighbor_label"].to_numpy()[shown].tolist()
    if "near_duplicate" in frame:
        twins = frame["near_duplicate"].to_numpy()[shown]
        cards["nearDuplicate"] = number[twins].tolist()
    examples = {
        "id": id_texts(frame["id"].to_numpy()[indices]),
        "given": frame["given_label"].to_numpy()[indices].tolist(),
    }
    if pictures is not None:
        examples["picture"] = [pictures.get(index, "") for index in indices.tolist()]
    if details is not None:
        is_called = np.logical_or.reduce([*flags.values()])
        num_called = int(is_called[shown].sum())
        examples["details"] = _detail_rows(details, indices, num_called, len(shown))
    columns = [] if details is None else details.columns
    return {
        "name": str(attributes["name"]),
        "datasetHash": str(attributes["dataset_hash"]),
        "classNames": [str(name) for name in attributes["class_names"]],
        "numExamples": len(frame),
        "noiseRate": _number(attributes.get("noise_rate")),
        "noiseRateBounds": attributes.get("noise_rate_bounds"),
        "expectedPrecision": _number(attributes.get("expected_precision")),
        "precisionBounds": attributes.get("expected_precision_bounds"),
        "wide": WIDE,
        "doubts": list(attributes.get("doubts", [])),
        "knowsClasses": bool(attributes.get("knows_classes", True)),
        "numFound": {kind: int(is_issue.sum()) for kind, is_issue in flags.items()},
        "kinds": {
            kind: np.flatnonzero(is_issue[shown]).tolist()
            for kind, is_issue in flags.items()
        },
        "detailColumns": [str(column) for column in columns],
        "examples": examples,
        "cards": cards,
    }


def _number(value):
    """Returns a number that JSON can hold, or None."""
    return None if value is None or not np.isfinite(value) else float(value)


def _detail_rows(details, indices, num_called, num_shown):
    """Returns the values of each example as text, shorter for those without cards."""
    parts = []
    for rows, length, num_columns in (
        (indices[:num_called], _LONGEST_DETAIL, details.shape[1]),
        (indices[num_called:num_shown], _LONGEST_OF_REST, details.shape[1]),
        (indices[num_shown:], _LONGEST_OF_NEIGHBOR, _DETAILS_OF_NEIGHBOR),
    ):
        part = details.iloc[rows, :num_columns]
        columns = [
            [
                "" if is_missing else text_of(value, length)
                for value, is_missing in zip(part.iloc[:, c], missing, strict=True)
            ]
            for c, missing in enumerate(part.isna().to_numpy().T)
        ]
        # `zip` of no columns has no rows.
        parts += [list(row) for row in zip(*columns, strict=True)] or [[]] * len(rows)
    return parts


def text_of(value, length):
    """Returns a value as text, cut to a length."""
    is_float = isinstance(value, float | np.floating)
    text = f"{value:.6g}" if is_float else str(value)
    return text if len(text) <= length else text[:length] + "…"


def as_script(data):
    """Returns data as an ASCII script, since pages from disk read no other files."""
    # Without `<`, no text in it can end the script.
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    return f"{MARK}\nwindow.reviewData={text.replace('<', chr(92) + 'u003c')};\n"
