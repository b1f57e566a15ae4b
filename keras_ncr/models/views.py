"""Batches with several views of each example, which stand in neighboring rows."""

import keras
import numpy as np
import tensorflow as tf

from keras_ncr.distribution.targets import label_of

# Two mixtures that are the same example by one half at least share 0.5, but for
# rounding.
LEAST_SHARED = 0.49


def by_example(rows, num_views):
    """Returns the rows `(batch, ...)` as `(examples, num_views, ...)`, or raises."""
    rows = tf.convert_to_tensor(rows)
    size = rows.shape[0]
    if size is not None and size % num_views:
        raise ValueError(views_message("x", num_views, f"a batch of {size}"))
    message = views_message("x", num_views, "a batch of another size")
    is_whole = tf.equal(tf.shape(rows)[0] % num_views, 0)
    with tf.control_dependencies([tf.debugging.Assert(is_whole, [message])]):
        return tf.reshape(rows, [-1, num_views, *rows.shape[1:]])


def one_view(rows, number, num_views):
    """Returns the rows of a batch, nested in any way, that are one of its views."""
    return keras.tree.map_structure(
        lambda part: None if part is None else by_example(part, num_views)[:, number],
        rows,
    )


def checked_views(x, y, num_views, shuffle=True):
    """Returns the `x` of `fit`, once its views are, or will be, checked."""
    # Views of one example have its label, and its index where there is one: a batch
    # that was shuffled after the views were made, or that has none, does not go
    # unnoticed.
    if num_views == 1:
        return x
    if y is not None:
        check_view_arrays(y, num_views, shuffle)
    elif isinstance(x, tf.data.Dataset):
        return with_checked_views(x, num_views)
    return x


def check_view_arrays(y, num_views, shuffle):
    """Raises unless arrays hold the views of an example in neighboring rows."""
    if shuffle:
        raise ValueError(
            "`shuffle` must be False where arrays hold several views of each example: "
            f"their rows belong together. Received: shuffle={shuffle!r}. Pass "
            "shuffle=False; or a tf.data.Dataset, shuffled before views are made."
        )
    for name, values in view_targets(y).items():
        is_whole = have_views_alike(np.asarray(values), num_views).numpy()
        if not np.all(is_whole):
            row = num_views * int(np.argmin(is_whole))
            received = f"rows from {row} on that differ in their {name}"
            raise ValueError(views_message("y", num_views, received))


def with_checked_views(dataset, num_views):
    """Returns a dataset that stops at a batch whose neighboring rows are no views."""
    # It checks in the input pipeline, since XLA leaves assertions out of a step.
    spec = dataset.element_spec
    if not isinstance(spec, tuple) or len(spec) < 2:
        return dataset  # `with_checked_labels` says what is wrong with it.

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
    """Returns which examples have the same label, or index, in all their views."""
    # Labels that were mixed after the views had been made differ by the other examples
    # in the mixture, of which the example itself is one half at least.
    groups = by_example(values, num_views)
    if groups.shape.rank == 3 and groups.shape[2] != 1:
        groups = tf.cast(groups, "float32")  # One-hot labels may be ints.
        shared = tf.reduce_sum(tf.minimum(groups, groups[:, :1]), axis=2)
        return tf.reduce_all(shared >= LEAST_SHARED, axis=1)
    groups = tf.reshape(groups, [-1, num_views])
    return tf.reduce_all(tf.equal(groups, groups[:, :1]), axis=1)


def view_targets(y):
    """Returns what views of one example have in common, by name."""
    common = {"label": label_of(y)}
    if isinstance(y, dict) and "index" in y:
        common["index"] = y["index"]
    return common


def views_message(name, num_views, received):
    """Returns what an error says about rows that are no views."""
    return (
        f"`{name}` must hold the {num_views} views of each example in neighboring "
        f"rows, {num_views}i and those that follow, of one label, in the batch of each "
        f"replica. Received: {received}. `keras_ncr.pipelines.second_view` makes such "
        "batches; pass num_views=1 to the model for batches without views."
    )
