"""The number of each example, for methods that remember something about every one."""

import keras
import numpy as np
import tensorflow as tf

from keras_ncr.model_checks import label_of


def numbered(x, y):
    """Returns the `y` of `fit` with the key `"index"`, where arrays can be numbered.

    Args:
        x: What `fit` was given: arrays, or anything that brings its own targets.
        y: Labels, a dict with the key `"label"`, or `None`.

    Returns:
        A dict with the keys `"label"` and `"index"`, ints from 0 in the order of the
        arrays; `y` itself if it has the key, or if `x` brings the targets.

    Example:
    >>> from keras_ncr.methods.numbering import numbered
    >>> numbered(np.zeros((3, 2)), np.array([0, 1, 1]))["index"]
    array([0, 1, 2])
    """
    if y is None or (isinstance(y, dict) and "index" in y):
        return y
    targets = y if isinstance(y, dict) else {"label": y}
    num_examples = len(keras.tree.flatten(label_of(y))[0])
    return {**targets, "index": np.arange(num_examples)}


def num_examples_of(x, y, num_examples):
    """Returns how many examples there are to remember something about.

    Args:
        x: What `fit` was given.
        y: Targets as `numbered` returns them.
        num_examples: Int, or `None` if the user has not said it.

    Returns:
        Int.

    Raises:
        ValueError: If it is neither said nor to be counted, or an index is beyond it.

    Example:
    >>> from keras_ncr.methods.numbering import num_examples_of, numbered
    >>> x = np.zeros((3, 2))
    >>> num_examples_of(x, numbered(x, np.array([0, 1, 1])), None)
    3
    """
    if y is not None:
        last = int(np.max(y["index"]))
        if num_examples is not None and last >= num_examples:
            raise ValueError(
                f"`y` must have an index below num_examples={num_examples}. Received: "
                f"{last}. A model that remembers examples is trained on the same ones; "
                "make a new one for others."
            )
        return num_examples or last + 1
    if isinstance(x, tf.data.Dataset):
        index_of(x.element_spec[1])
    if num_examples is None:
        raise ValueError(
            "`num_examples` must be given to the model where training data are not "
            "arrays, to make room for what it remembers about each example. Received: "
            "num_examples=None."
        )
    return num_examples


def index_of(y):
    """Returns the numbers of a batch's examples.

    Args:
        y: The batch's targets.

    Returns:
        `y["index"]`, ints of shape `(batch,)`.

    Raises:
        ValueError: If `y` has none.

    Example:
    >>> from keras_ncr.methods.numbering import index_of
    >>> index_of({"label": [1, 1], "index": [7, 3]})
    [7, 3]
    """
    if not isinstance(y, dict) or "index" not in y:
        raise ValueError(
            'Targets must be a dict with the keys "label" and "index", the number of '
            "each example from 0, the same in every epoch. Received: "
            f"{sorted(y) if isinstance(y, dict) else 'labels alone'}. Pass arrays to "
            "`fit`; or number a dataset before it is shuffled, with "
            "`dataset.enumerate()`; or pass "
            '`carry=["index"]` to `keras_ncr.pipelines.training_batches`.'
        )
    return y["index"]
