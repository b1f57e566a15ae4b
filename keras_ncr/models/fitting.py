"""Checks and completes what `compile` and `fit` are given."""

import functools
import inspect

import keras
import numpy as np
import tensorflow as tf

from keras_ncr.distribution.targets import label_of

_FIT = inspect.signature(keras.Model.fit)
# What Keras has on probabilities alone, without a choice.
_ON_PROBABILITIES = (
    keras.losses.KLDivergence,
    keras.losses.CategoricalGeneralizedCrossEntropy,
    keras.losses.Poisson,
    keras.losses.Dice,
    keras.losses.Tversky,
)
_FUNCTIONS_ON_PROBABILITIES = (
    keras.losses.kl_divergence,
    keras.losses.categorical_generalized_cross_entropy,
    keras.losses.poisson,
    keras.losses.dice,
    keras.losses.tversky,
)
# Layers to which numbers are names.
_READERS_OF_IDS = (
    keras.layers.Embedding,
    keras.layers.CategoryEncoding,
    keras.layers.Hashing,
    keras.layers.IntegerLookup,
)


def refuse_loss(loss, loss_weights, model, built_in_loss):
    """Rejects `loss=` for models with a built-in loss."""
    for name, value in [("loss", loss), ("loss_weights", loss_weights)]:
        if value is not None:
            raise ValueError(
                f"`{name}` must be left out: {model} trains on {built_in_loss}. "
                f"Received: {name}={value!r}. For a loss of your own use "
                "keras_ncr.NCRModel."
            )


def refuse_replicas(model):
    """Raises under a strategy of several replicas, which a model cannot train on."""
    num_replicas = model.distribute_strategy.num_replicas_in_sync
    if num_replicas > 1:
        raise ValueError(
            f"{type(model).__name__} must be on one device. Received: "
            f"{num_replicas} replicas. Leave the strategy out, for a run "
            "`config.strategy`, or take keras_ncr.ELRModel, which trains on many."
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


def check_loss(loss):
    """Raises for several losses, and for one that takes logits for probabilities."""
    losses = keras.tree.flatten(loss)
    if isinstance(loss, dict) or len(losses) > 1:
        raise ValueError(
            "`loss` must be one, since the model has one output, its logits. Received: "
            f"loss={loss!r}. Add others up in a function of labels and logits."
        )
    function = keras.losses.get(losses[0]) if losses else None
    from_logits = setting_of(function, "from_logits")
    has_no_choice = isinstance(function, _ON_PROBABILITIES) or any(
        function is one for one in _FUNCTIONS_ON_PROBABILITIES
    )
    if from_logits is False or has_no_choice:
        raise ValueError(
            "`loss` must be one on logits, which is what the model returns. Received: "
            f"loss={loss!r}, which expects probabilities. Pass for example "
            "keras.losses.SparseCategoricalCrossentropy(from_logits=True), or "
            "keras_ncr.losses.GeneralizedCrossEntropy(), which takes logits."
        )


def setting_of(loss, name):
    """Returns a setting of a loss, a function or a partial one; or `None`."""
    if inspect.isfunction(loss) or isinstance(loss, functools.partial):
        parameter = inspect.signature(loss).parameters.get(name)
        default = getattr(parameter, "default", None)
        return None if default is inspect.Parameter.empty else default
    return getattr(loss, name, None)


def ignored_class(loss):
    """Returns the number that stands for no label in the compiled loss, or `None`."""
    losses = [keras.losses.get(one) for one in keras.tree.flatten(loss)]
    found = [setting_of(one, "ignore_class") for one in losses]
    return next((number for number in found if number is not None), None)


def counts_in_loss(loss, labels):
    """Returns which rows have a label that the loss does not ignore: `(batch,)`."""
    labels, ignored = tf.convert_to_tensor(labels), ignored_class(loss)
    if ignored is None:
        return tf.ones(tf.shape(labels)[:1], "bool")
    return tf.reshape(labels, [-1]) != tf.cast(ignored, labels.dtype)


def check_can_be_mixed(x, model):
    """Raises for inputs of which a sum means nothing, or that cannot be added."""
    is_dataset = isinstance(x, tf.data.Dataset)
    spec = x.element_spec if is_dataset else (x,)
    for leaf in keras.tree.flatten(spec[0] if isinstance(spec, tuple) else spec):
        received = reason_not_to_mix(leaf, model)
        if received is not None:
            raise ValueError(
                f"`x` must be numbers that can be averaged, such as pixels: "
                f"{type(model).__name__} trains on mixtures of examples. Received: "
                f"{received}. Make features of them first, dense numbers, with a "
                "network of their own; or train a model that mixes nothing, such as "
                "keras_ncr.ELRModel."
            )


def reason_not_to_mix(leaf, model):
    """Returns what is wrong with one input, an array or a spec; or `None`."""
    import scipy.sparse

    sparse = (tf.SparseTensor, tf.SparseTensorSpec)
    if scipy.sparse.issparse(leaf) or isinstance(leaf, sparse):
        return "a sparse matrix"
    if isinstance(leaf, tf.RaggedTensor | tf.RaggedTensorSpec):
        return "a ragged tensor"
    dtype, shape = getattr(leaf, "dtype", None), getattr(leaf, "shape", None)
    dtype = str(getattr(dtype, "name", dtype))
    if dtype.startswith(("str", "object", "bytes")):
        return f"strings (dtype {dtype})"
    # Pictures have more axes, and layers that look up positions may follow.
    is_flat = shape is not None and len(shape) <= 2
    if is_flat and dtype.startswith(("int", "uint")) and reads_ids(model):
        return f"ids of dtype {dtype}, which the network looks up"
    return None


def reads_ids(model):
    """Returns whether a part of the model takes its inputs as names, not quantities."""
    for layer in model._flatten_layers(include_self=False):
        inputs = keras.tree.flatten(getattr(layer, "inputs", None) or [])
        if isinstance(layer, _READERS_OF_IDS) or any(
            str(one.dtype).startswith(("int", "uint")) for one in inputs
        ):
            return True
    return False


def fit_arguments(*args, **kwargs):
    """Returns the arguments of `keras.Model.fit` by name, defaults too."""
    given = _FIT.bind(None, *args, **kwargs)
    given.apply_defaults()
    return {name: value for name, value in given.arguments.items() if name != "self"}


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
        callback.set_params(callbacks.params)
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
