"""What an audit is given: inputs as batches; ids, names and probabilities, checked."""

import numbers

import numpy as np
import tensorflow as tf

from keras_ncr import pipelines
from keras_ncr.audit.predictions import check_probabilities, from_probabilities
from keras_ncr.checks import (
    brief,
    check_ids,
    check_integer,
    check_labels,
    in_order_of_classes,
    refuse_sparse,
)
from keras_ncr.datasets import Source
from keras_ncr.datasets.dataset_order import check_fixed_order
from keras_ncr.distribution.targets import label_of
from keras_ncr.features.extraction import check_ends


def check_before_pass(model, x, y, ids, class_names, probabilities):
    """Raises for what does not fit, as far as it is known before the pass over all."""
    num_classes, num_examples = _num_classes(model), length_of(x, y)
    if class_names is not None:
        check_names(class_names, num_classes)
    if ids is not None:
        check_ids(ids, num_examples)
    labels = x.labels if isinstance(x, Source) and y is None else y
    if labels is not None:
        labels = check_labels(labels, num_classes)
    if probabilities is None:
        return
    if labels is None:
        probabilities = check_probabilities(probabilities)
    elif len(labels) == num_examples:
        probabilities = from_probabilities(labels, probabilities)
        check_same_classes(probabilities.num_classes, num_classes)
        return
    check_same_classes(np.shape(probabilities)[-1], num_classes)


def check_scores(scores, num_examples):
    """Returns scores as float32, or raises unless there is one for each example."""
    scores = np.asarray(scores, "float32")
    if scores.shape != (num_examples,) or not np.all((scores >= 0) & (scores <= 1)):
        raise ValueError(
            "`outlier_scores` must have shape (n,), a number from 0 to 1 for each of "
            f"the {num_examples} examples. Received: shape {scores.shape}. Of a model "
            "they are those of its training examples, in their order."
        )
    return scores


def check_same_classes(num_columns, num_classes):
    """Raises unless probabilities are of the classes of the model."""
    if num_classes is not None and num_columns != num_classes:
        raise ValueError(
            f"`probabilities` must have a column for each of the {num_classes} classes "
            f"of the model. Received: {num_columns} columns."
        )


def check_names(class_names, num_classes=None):
    """Returns names of classes as a list, or raises unless there is one for each."""
    names = list(in_order_of_classes(class_names))
    expected = len(names) if num_classes is None else num_classes
    if len(names) != expected or len(set(names)) != expected or expected < 2:
        raise ValueError(
            f"`class_names` must be {max(expected, 2)} different strings, one for each "
            f"class of the model. Received: {len(names)}, {len(set(names))} of them "
            "different."
        )
    return names


def _num_classes(model):
    """Returns the number of classes of a model, or None if it is not known yet."""
    outputs = getattr(model, "outputs", None)
    known = getattr(model, "num_classes", outputs[0].shape[-1] if outputs else None)
    # What is no classifier is for the pass itself to say.
    return known if isinstance(known, int) and known > 1 else None


def length_of(x, y):
    """Returns the number of examples, or None if it is not known beforehand."""
    if isinstance(x, Source):
        return x.num_examples
    return None if y is None else len(y)


def batches_of(x, y, prepare, batch_size):
    """Returns batches of `(inputs, targets)` of whatever the user has."""
    if isinstance(x, Source):
        return pipelines.evaluation_batches(
            x if y is None else x.relabeled(y),
            batch_size,
            prepare=prepare,
            carry=("index",),
            cache=False,
        )
    if prepare is not None:
        raise ValueError(
            "`prepare` is for the images of a source. Received: "
            f"prepare={prepare!r} and x of type {type(x).__name__}. Map the dataset."
        )
    if isinstance(x, tf.data.Dataset):
        return _checked_dataset(x, y)
    if y is None:
        raise ValueError("`y` must hold the labels of `x`. Received: y=None.")
    y = check_labels(y)
    x = _arrays(x)
    lengths = [len(part) if part.ndim else 0 for part in tf.nest.flatten(x)]
    if set(lengths) != {len(y)}:
        raise ValueError(
            "`x` and `y` must be equally many. Received: inputs of length "
            f"{', '.join(map(str, lengths))} and {len(y)} labels."
        )
    batch_size = check_integer(batch_size, "batch_size", minimum=1)
    return tf.data.Dataset.from_tensor_slices((x, y)).batch(batch_size)


def _checked_dataset(dataset, y):
    """Returns a dataset of batches whose order is known, or raises."""
    check_ends(dataset)
    spec = dataset.element_spec
    is_pair = isinstance(spec, tuple) and len(spec) > 1
    if y is not None or not is_pair or label_of(spec[1]).shape.rank == 0:
        raise ValueError(
            "A dataset must give batches of (inputs, labels), without `y` beside "
            f"it. Received: y of type {type(y).__name__} and the elements {spec}. "
            "Single examples become batches by `.batch(256)`."
        )
    if not (isinstance(spec[1], dict) and "index" in spec[1]):
        check_fixed_order(dataset, "x")
    return dataset


def _arrays(x):
    """Returns inputs as an array, or as a tuple or dict of several."""
    if isinstance(x, list):
        # As in Keras, a list of arrays is an input with several parts.
        is_several = all(hasattr(part, "shape") for part in x)
        x = tuple(x) if is_several else _array(x)
    return tf.nest.map_structure(_array, x)


def _array(x):
    """Returns an input as an array of numbers or texts, or raises."""
    import pandas as pd

    refuse_sparse(x, "x")
    if isinstance(x, pd.DataFrame):
        return _numbers_of_table(x)
    try:
        array = np.asarray(x)
    except ValueError as error:
        raise ValueError(
            "`x` must have rows of one shape. Received: rows of different lengths. Pad "
            "them, as `keras.utils.pad_sequences` does."
        ) from error
    if array.dtype.kind == "b":
        return array.astype("float32")
    return _without_objects(array) if array.dtype.kind == "O" else array


def _numbers_of_table(table):
    """Returns a DataFrame as an array, or raises for the first cell of no number."""
    import pandas as pd

    array = np.asarray(table)
    if array.dtype.kind in "iuf":
        return array
    for position in range(table.shape[1]):
        column = table.iloc[:, position].infer_objects()
        if not pd.api.types.is_numeric_dtype(column.dtype):  # Bools are numbers.
            raise ValueError(
                "`x` must hold numbers in all columns. Received: column "
                f"{table.columns[position]!r} of dtype {column.dtype}, with "
                f"{brief(column.iloc[0])} in its first row. Leave it out, or make "
                "numbers of it, as `pandas.get_dummies(x)` does."
            )
        is_missing = column.isna()
        if is_missing.any():
            raise ValueError(
                "`x` must have no missing cells. Received: "
                f"{brief(column[is_missing].iloc[0])} in row {is_missing.argmax()} of "
                f"column {table.columns[position]!r}; {is_missing.sum()} such rows in "
                "all. Fill them, such as by `x.fillna(x.median())`."
            )
    return table.to_numpy("float64")


def _without_objects(array):
    """Returns an array of Python objects as numbers, or as it is if all are texts."""
    cells = array.ravel().tolist()
    kinds = (numbers.Real, (str, bytes))
    kind = next((kind for kind in kinds if cells and isinstance(cells[0], kind)), None)
    is_right = [kind is not None and isinstance(cell, kind) for cell in cells]
    wrong = np.flatnonzero(np.logical_not(is_right)).tolist()
    if wrong:
        row = wrong[0] // max(1, len(cells) // len(array))
        raise ValueError(
            "`x` must hold numbers alone, or texts alone. Received: "
            f"{brief(cells[wrong[0]])} in row {row}; {len(wrong)} such cells in all. "
            "Fill what is missing, such as by `x.fillna('')` for texts, or leave those "
            "rows out."
        )
    if kind is numbers.Real:
        return np.array(cells, "float64").reshape(array.shape)
    return array
