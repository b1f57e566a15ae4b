"""Batches with several views of each example, which stand in neighboring rows."""

import numpy as np
import tensorflow as tf

from keras_ncr.distribution.targets import label_of

# Two mixtures that are the same example by one half at least share 0.5, but for
# rounding.
LEAST_SHARED = 0.49


def by_example(rows, num_views):
    """Returns the rows of a batch in groups, one for each example.

    Args:
        rows: Tensor of shape `(batch, ...)`; rows `num_views * i` and those that follow
            are the views of example i.
        num_views: Int, at least 1.

    Returns:
        Tensor of shape `(batch / num_views, num_views, ...)`.

    Raises:
        ValueError: If the batch is known not to hold all views of each example.
        tf.errors.InvalidArgumentError: If it turns out so when the batch arrives.

    Example:
    >>> from keras_ncr.models.views import by_example
    >>> by_example(np.array([3, 3, 7, 7]), num_views=2).numpy()
    array([[3, 3],
           [7, 7]])
    """
    rows = tf.convert_to_tensor(rows)
    size = rows.shape[0]
    if size is not None and size % num_views:
        raise ValueError(views_message("x", num_views, f"a batch of {size}"))
    message = views_message("x", num_views, "a batch of another size")
    is_whole = tf.equal(tf.shape(rows)[0] % num_views, 0)
    with tf.control_dependencies([tf.debugging.Assert(is_whole, [message])]):
        return tf.reshape(rows, [-1, num_views, *rows.shape[1:]])


def checked_views(x, y, num_views, shuffle=True):
    """Returns the `x` of `fit`, once its views are, or will be, checked.

    Views of one example have its label, and its index where there is one: a batch that
    was shuffled after the views were made, or that has none, does not go unnoticed.

    Args:
        x: Inputs, or a `tf.data.Dataset` of batches.
        y: Labels, a dict of arrays with the key `"label"`, or `None`.
        num_views: Int, at least 1.
        shuffle: The `shuffle` of `fit`. Defaults to `True`, as there.

    Returns:
        `x`; a dataset with a check of every batch, which raises
        `tf.errors.InvalidArgumentError`.

    Raises:
        ValueError: If arrays do not hold views, or are to be shuffled.

    Example:
    >>> from keras_ncr.models.views import checked_views
    >>> dataset = tf.data.Dataset.from_tensors((np.zeros((4, 5)), [0, 0, 1, 1]))
    >>> len(list(checked_views(dataset, None, num_views=2)))
    1
    """
    if num_views == 1:
        return x
    if y is not None:
        check_view_arrays(y, num_views, shuffle)
    elif isinstance(x, tf.data.Dataset):
        return with_checked_views(x, num_views)
    return x


def check_view_arrays(y, num_views, shuffle=False):
    """Raises unless arrays hold the views of an example in neighboring rows.

    Args:
        y: Labels, or a dict of arrays with the key `"label"`.
        num_views: Int, at least 2.
        shuffle: Bool. Whether the rows are to be shuffled. Defaults to `False`.

    Raises:
        ValueError: If they are, or if neighboring rows differ in label or index.

    Example:
    >>> from keras_ncr.models.views import check_view_arrays
    >>> check_view_arrays(np.array([0, 0, 2, 2]), num_views=2)
    """
    if shuffle:
        raise ValueError(
            "`shuffle` must be False where arrays hold several views of each example: "
            f"their rows belong together. Received: shuffle={shuffle!r}. Pass "
            "shuffle=False; or a tf.data.Dataset, shuffled before views are made."
        )
    for name, values in view_targets(y).items():
        values = np.asarray(values)
        is_whole = have_views_alike(values, num_views).numpy()
        if not np.all(is_whole):
            row = num_views * int(np.argmin(is_whole))
            received = f"rows from {row} on that differ in their {name}"
            raise ValueError(views_message("y", num_views, received))


def with_checked_views(dataset, num_views):
    """Returns a dataset that stops at a batch whose neighboring rows are no views.

    The check runs in the input pipeline, since XLA leaves assertions out of a step.

    Args:
        dataset: `tf.data.Dataset` of batches `(inputs, labels, ...)`, the labels as in
            `NCRModel.fit`.
        num_views: Int, at least 2.

    Returns:
        `tf.data.Dataset` of the same batches. Reading one in which neighbors differ in
        label or index raises `tf.errors.InvalidArgumentError`.

    Example:
    >>> from keras_ncr.models.views import with_checked_views
    >>> dataset = tf.data.Dataset.from_tensors((np.zeros((4, 5)), [0, 0, 1, 1]))
    >>> len(list(with_checked_views(dataset, num_views=2)))
    1
    """
    spec = dataset.element_spec
    if not isinstance(spec, tuple) or len(spec) < 2:
        return dataset  # `NCRModel.fit` says what is wrong with it.

    def checked(inputs, y, *sample_weight):
        assertions = []
        for name, values in view_targets(y).items():
            message = views_message("x", num_views, f"rows that differ in {name}:")
            are_alike = tf.reduce_all(have_views_alike(values, num_views))
            assertions.append(tf.debugging.Assert(are_alike, [message, values]))
        with tf.control_dependencies(assertions):
            return (inputs, tf.nest.map_structure(tf.identity, y), *sample_weight)

    return dataset.map(checked)


def have_views_alike(values, num_views):
    """Returns which examples have the same label, or index, in all their views.

    Labels that were mixed after the views had been made differ by the other examples
    in the mixture, of which the example itself is one half at least.

    Args:
        values: Tensor of shape `(batch,)` or `(batch, 1)`, numbers, or of shape
            `(batch, num_classes)`, one-hot labels or probabilities.
        num_views: Int, at least 1.

    Returns:
        Bools of shape `(batch / num_views,)`.

    Raises:
        ValueError: As `by_example`.

    Example:
    >>> from keras_ncr.models.views import have_views_alike
    >>> have_views_alike(np.array([3, 3, 3, 7]), num_views=2).numpy()
    array([ True, False])
    """
    groups = by_example(values, num_views)
    if groups.shape.rank == 3 and groups.shape[2] != 1:
        groups = tf.cast(groups, "float32")  # One-hot labels may be ints.
        shared = tf.reduce_sum(tf.minimum(groups, groups[:, :1]), axis=2)
        return tf.reduce_all(shared >= LEAST_SHARED, axis=1)
    groups = tf.reshape(groups, [-1, num_views])
    return tf.reduce_all(tf.equal(groups, groups[:, :1]), axis=1)


def view_targets(y):
    """Returns what views of one example have in common, by name.

    Args:
        y: Labels, or a dict with the key `"label"`.

    Returns:
        Dict with the key `"label"`, and `"index"` where `y` has it.

    Example:
    >>> from keras_ncr.models.views import view_targets
    >>> view_targets([0, 0, 1, 1])
    {'label': [0, 0, 1, 1]}
    """
    common = {"label": label_of(y)}
    if isinstance(y, dict) and "index" in y:
        common["index"] = y["index"]
    return common


def views_message(name, num_views, received):
    """Returns what an error says about rows that are no views.

    Args:
        name: String. What the error calls the argument.
        num_views: Int.
        received: String: what was there instead.

    Returns:
        String.

    Example:
    >>> from keras_ncr.models.views import views_message
    >>> print(views_message("x", 2, "a batch of 3")[:62])
    `x` must hold the 2 views of each example in neighboring rows,
    """
    return (
        f"`{name}` must hold the {num_views} views of each example in neighboring "
        f"rows, {num_views}i and those that follow, of one label, in the batch of each "
        f"replica. Received: {received}. `keras_ncr.pipelines.second_view` makes such "
        "batches; pass num_views=1 to the model for batches without views."
    )
