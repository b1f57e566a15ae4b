"""The number of each example, for methods that remember something about every one."""

import numpy as np
import tensorflow as tf

from keras_ncr.distribution.targets import label_of


def numbered(x, y):
    """Returns the `y` of `fit` with the key `"index"`, where arrays can be numbered.

    Args:
        x: What `fit` was given: arrays, or anything that brings its own targets.
        y: Labels, a dict with the key `"label"`, or `None`.

    Returns:
        A dict with the keys `"label"` and `"index"`, ints from 0 in the order of the
        arrays; `y` itself if it has the key, or if `x` brings the targets.

    Example:
    >>> from keras_ncr.models.numbering import numbered
    >>> numbered(np.zeros((3, 2)), np.array([0, 1, 1]))["index"]
    array([0, 1, 2])
    """
    if y is None or (isinstance(y, dict) and "index" in y):
        return y
    targets = y if isinstance(y, dict) else {"label": y}
    return {**targets, "index": np.arange(len(label_of(y)))}


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
    >>> from keras_ncr.models.numbering import num_examples_of, numbered
    >>> x = np.zeros((3, 2))
    >>> num_examples_of(x, numbered(x, np.array([0, 1, 1])), None)
    3
    """
    if y is not None:
        last = last_index(y["index"])
        if num_examples is not None and last >= num_examples:
            raise ValueError(
                f"`y` must have an index below num_examples={num_examples}. Received: "
                f"{last}. A model that remembers examples is trained on the same ones; "
                "make a new one for others."
            )
        return num_examples or last + 1
    # A dataset without targets is refused later, where labels are checked.
    spec = x.element_spec if isinstance(x, tf.data.Dataset) else None
    if isinstance(spec, tuple) and len(spec) > 1:
        index_of(spec[1])
    if num_examples is None:
        raise ValueError(
            "`num_examples` must be given to the model where training data are not "
            "arrays, to make room for what it remembers about each example. Received: "
            "num_examples=None."
        )
    return num_examples


def last_index(index):
    """Returns the largest of examples' numbers, or raises unless all are numbers.

    Args:
        index: Array-like of ints.

    Returns:
        Int.

    Raises:
        ValueError: If there is none, or one is negative or no int.

    Example:
    >>> from keras_ncr.models.numbering import last_index
    >>> last_index(np.array([7, 3]))
    7
    """
    index = np.asarray(index)
    if index.size == 0:
        raise ValueError("`y` must hold at least one label. Received: none.")
    if index.dtype.kind not in "iu" or np.min(index) < 0:
        raise ValueError(
            '`y["index"]` must hold the number of each example, ints from 0. Received: '
            f"dtype {index.dtype}, the smallest {np.min(index)}. Leave it out, and "
            "`fit` numbers arrays by itself."
        )
    return int(np.max(index))


def index_of(y):
    """Returns the numbers of a batch's examples.

    Args:
        y: The batch's targets.

    Returns:
        `y["index"]`, ints of shape `(batch,)`.

    Raises:
        ValueError: If `y` has none.

    Example:
    >>> from keras_ncr.models.numbering import index_of
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
