"""Rows of a table that cannot be used: no image there, or no label of the classes."""

import math
import numbers
import os
import re

from keras_ncr.datasets.image_files import is_unreadable


def are_whole_numbers(labels, class_names=None):
    """Returns whether labels that are text are meant as numbers."""
    labels = set(labels)
    if labels <= set(class_names or ()):
        return False
    return all(re.fullmatch("-?(0|[1-9][0-9]*)", text) for text in labels)


def is_whole(label):
    """Returns whether a cell is a whole number."""
    return isinstance(label, numbers.Real) and float(label).is_integer()


def is_empty(cell):
    """Returns whether a cell of a table has nothing in it."""
    import pandas as pd

    if not pd.api.types.is_scalar(cell):  # Such as a list, of which each part is asked.
        return cell is None
    return bool(pd.isna(cell)) or cell == ""


def is_measured(labels):
    """Returns whether labels are numbers as of a regression: fractions, most once."""
    labels = labels.tolist()
    try:
        found = {float(label) for label in labels}
    except (TypeError, ValueError):
        return False
    has_fractions = any(number % 1 for number in found if math.isfinite(number))
    return has_fractions and 2 * len(found) > len(labels)


def faulty_rows(paths, labels, clean_labels, class_names, is_text, folder):
    """Returns the rows that cannot be used, with the reasons."""
    present = [label for label in labels if not is_empty(label)]
    if is_text:
        are_numbers = are_whole_numbers(present, class_names)
    else:
        are_numbers = not all(isinstance(label, str) for label in present)
    reasons = {}
    for row, path in paths.items():
        reason = _about_path(path, folder) or _about_label(
            labels[row], class_names, are_numbers, is_text
        )
        if reason is None and clean_labels is not None and is_empty(clean_labels[row]):
            reason = "It has no true label."
        if reason is not None:
            reasons[row] = reason
    return reasons


def _about_path(path, folder):
    """Why a path leads to no image, or None."""
    if is_empty(path):
        return "It has no path."
    if not isinstance(path, str | os.PathLike):
        return f"Its path is {path!r}."
    if folder is None:  # The table holds the image itself.
        return None
    if not os.path.isfile(os.path.join(folder, path)):
        return "The file is not there."
    if is_unreadable(os.fspath(path)):
        return "TensorFlow does not read files of this kind."
    return None


def _about_label(label, class_names, are_numbers, is_text):
    """Why a label is none, or None if it is one."""
    if is_empty(label):
        return "It has no label."
    if not are_numbers:
        is_known = class_names is None or label in class_names
    elif is_text:
        is_known = _is_class(int(label), class_names)
    else:
        is_known = is_whole(label) and _is_class(label, class_names)
    return None if is_known else f"Its label is {label}."


def _is_class(number, class_names):
    """Whether a number is that of a class."""
    return number >= 0 and (class_names is None or number < len(class_names))
