"""Checks and completes what `compile` and `fit` are given."""

import inspect

import keras
import numpy as np
import tensorflow as tf

from keras_ncr.checks import check_labels, refuse_first
from keras_ncr.distribution.targets import label_of

# Probabilities in half precision, added up over many classes, miss 1 by this much.
_SUM_TOLERANCE = 0.01


def refuse_loss(loss, loss_weights, model, built_in_loss):
    """Rejects `loss=` for models with a built-in loss."""
    for name, value in [("loss", loss), ("loss_weights", loss_weights)]:
        if value is not None:
            raise ValueError(
                f"`{name}` must be left out: {model} trains on {built_in_loss}. "
                f"Received: {name}={value!r}. For a loss of your own use "
                "keras_ncr.NCRModel."
            )


def check_carries(dataset, key):
    """Raises unless a dataset has batches of inputs, and labels with `key` beside."""
    spec = getattr(dataset, "element_spec", None)
    targets = spec[1] if isinstance(spec, tuple) and len(spec) == 2 else None
    if not isinstance(targets, dict) or not {"label", key} <= targets.keys():
        raise ValueError(
            "`dataset` must be a tf.data.Dataset of batches "
            f'(inputs, {{"label": ..., "{key}": ...}}). Received: {dataset!r}. '
            "`keras_ncr.pipelines.evaluation_batches` makes one, with "
            f'carry=["{key}"].'
        )


def check_takes_logits(loss):
    """Raises for a Keras loss that would take logits for probabilities."""
    function = keras.losses.get(loss)
    from_logits = getattr(function, "from_logits", None)
    if from_logits is None and inspect.isfunction(function):
        parameter = inspect.signature(function).parameters.get("from_logits")
        from_logits = getattr(parameter, "default", None)
    # Keras' divergence has no choice: both its arguments are probabilities.
    is_divergence = (
        isinstance(function, keras.losses.KLDivergence)
        or function is keras.losses.kl_divergence
    )
    if from_logits is False or is_divergence:
        raise ValueError(
            "`loss` must be one on logits, which is what the model returns. Received: "
            f"loss={loss!r}, which expects probabilities. Pass for example "
            "keras.losses.SparseCategoricalCrossentropy(from_logits=True)."
        )


def with_own_callbacks(callbacks, model):
    """Returns the callbacks of `fit` with the model's own first, one of each kind."""
    is_list = isinstance(callbacks, keras.callbacks.CallbackList)
    given = callbacks.callbacks if is_list else keras.tree.flatten(callbacks or [])
    own = [
        callback
        for callback in model.own_callbacks()
        if not any(isinstance(one, type(callback)) for one in given)
    ]
    if not is_list:
        return [*own, *given]
    for callback in own:
        callback.set_model(model)
    callbacks.callbacks[:0] = own
    return callbacks


def with_weights_by_class(arguments, num_classes):
    """Returns the arguments of `fit`, with class weights as weights of examples."""
    x, y, class_weight = (arguments[name] for name in ("x", "y", "class_weight"))
    targets = x.element_spec[1] if isinstance(x, tf.data.Dataset) else y
    if class_weight is None or not isinstance(targets, dict):
        return arguments
    obstacles = {
        "a dataset": y is None,
        "sample_weight": arguments["sample_weight"] is not None,
        "validation_split": bool(arguments["validation_split"]),
    }
    for obstacle, is_given in obstacles.items():
        if is_given:
            raise ValueError(
                "`class_weight` must be left out where targets are a dict, or numbered "
                f"by the model, if `fit` is given {obstacle}. Received: "
                f"class_weight={class_weight!r}. Weigh each example instead: pass "
                "`sample_weight`, or a dataset of (inputs, targets, sample_weight)."
            )
    labels = np.asarray(label_of(y))
    if labels.ndim == 2 and labels.shape[1] == num_classes:
        labels = np.argmax(labels, axis=1)
    weights = [class_weight.get(int(label), 1.0) for label in labels.ravel()]
    weights = np.array(weights, "float32")
    return {**arguments, "class_weight": None, "sample_weight": weights}


def checked_training_data(x, y, num_classes, loss):
    """Returns the `x` of `fit`, once its labels are, or will be, checked.

    The loss is asked for its `ignore_class`, a number that stands for "no label".
    """
    ignored = getattr(loss, "ignore_class", None)
    if y is not None:
        check_training_labels(y, num_classes, ignored)
    elif isinstance(x, tf.data.Dataset):
        return with_checked_labels(x, num_classes, ignored)
    return x


def check_training_labels(y, num_classes, ignored=None):
    """Raises unless `y` are class numbers, or one row of class weights per example."""
    labels = np.asarray(label_of(y))
    if labels.ndim == 2 and labels.shape[1] == num_classes:
        if labels.size == 0:
            raise ValueError("`y` must hold at least one label. Received: none.")
        # Written so that NaN, of which every comparison is false, fails as well.
        is_distribution = np.abs(labels.sum(axis=1) - 1) <= _SUM_TOLERANCE
        is_wrong = ~(np.all(labels >= 0, axis=1) & is_distribution)
        refuse_first(labels, is_wrong, "y", "hold one-hot labels or probabilities")
        return
    if labels.ndim == 2 and labels.shape[1] != 1:
        raise ValueError(
            f"`y` must have shape (n,), (n, 1) or (n, num_classes={num_classes}). "
            f"Received: shape {labels.shape}."
        )
    labels = labels[:, 0] if labels.ndim == 2 else labels
    if ignored is not None and np.any(labels == ignored):
        labels = np.where(labels == ignored, 0, labels)
    check_labels(labels, num_classes, name="y")


def with_checked_labels(dataset, num_classes, ignored=None):
    """Returns a dataset that stops at a batch with a label that is no class.

    The check runs in the input pipeline: no step has seen the batch by then, and XLA,
    which leaves assertions out of what it compiles, has no say in it.
    """
    if dataset.cardinality() == 0:
        raise ValueError(
            "`x` must hold at least one example. Received: an empty dataset."
        )
    spec = dataset.element_spec
    if not isinstance(spec, tuple) or len(spec) < 2:
        raise ValueError(
            "`x` must be a dataset of batches (inputs, labels) or (inputs, labels, "
            f"sample_weight). Received: a dataset of {spec}."
        )
    labels = label_of(spec[1])
    if not isinstance(labels, tf.TensorSpec) or labels.shape.rank == 0:
        raise ValueError(
            "`x` must be a dataset of batches (inputs, labels). Received: one label at "
            f"a time, {labels}. Call `.batch(256)` on it."
        )
    if not (
        labels.dtype.is_integer or labels.dtype.is_floating or labels.dtype.is_bool
    ):
        raise ValueError(
            f"Labels in `x` must be class numbers. Received: dtype {labels.dtype.name}."
        )

    def checked(inputs, y, *sample_weight):
        labels = label_of(y)
        # float64 holds every class number; float32 and uint8 do not.
        values = tf.cast(labels, "float64")
        # Written so that NaN, of which every comparison is false, fails as well.
        if labels.shape.rank == 2 and labels.shape[1] == num_classes:
            expected = "one-hot or class probabilities"
            is_sum_one = tf.abs(tf.reduce_sum(values, axis=1) - 1) <= _SUM_TOLERANCE
            is_label = (values >= 0) & is_sum_one[:, None]
        else:
            expected = f"a whole number in 0..{num_classes - 1}"
            is_label = (values >= 0) & (values <= num_classes - 1)
            is_label &= values == tf.round(values)
        if ignored is not None:
            is_label |= values == ignored
        message = f"A label in `x` must be {expected}. Received:"
        wrong = tf.boolean_mask(values, ~is_label)
        assertion = tf.debugging.Assert(tf.reduce_all(is_label), [message, wrong])
        with tf.control_dependencies([assertion]):
            return (inputs, tf.nest.map_structure(tf.identity, y), *sample_weight)

    # Prefetched, so that no step waits for what is checked.
    return dataset.map(checked).prefetch(tf.data.AUTOTUNE)
