"""What `NCRModel` refuses, since it would train wrong in silence."""

import inspect

import keras
import numpy as np
import tensorflow as tf

from keras_ncr.checks import check_labels, refuse_first

# Probabilities in half precision, added up over many classes, miss 1 by this much.
_SUM_TOLERANCE = 0.01


def check_features(features):
    """Raises unless a backbone has returned features or a feature map.

    Args:
        features: What the backbone has returned.

    Raises:
        ValueError: If it is no tensor of rank 2 or 4.

    Example:
    >>> from keras_ncr.distribution.targets import check_features
    >>> check_features(np.zeros((2, 7, 7, 512)))
    """
    shape = getattr(features, "shape", None)
    if shape is None or len(shape) not in (2, 4):
        raise ValueError(
            "`backbone` must return features of shape (batch, dim) or a feature map "
            "(batch, height, width, dim). Received: "
            f"{type(features).__name__ if shape is None else tuple(shape)}. Add a "
            "pooling or Flatten layer to it, or override "
            "`NCRModel.features_and_logits`."
        )


def check_takes_logits(loss):
    """Raises for a Keras loss that would take logits for probabilities.

    Args:
        loss: What `keras.Model.compile` takes as the loss of one output.

    Raises:
        ValueError: If `loss` is one of Keras' that expects probabilities.

    Example:
    >>> from keras_ncr.distribution.targets import check_takes_logits
    >>> check_takes_logits(keras.losses.CategoricalCrossentropy(from_logits=True))
    """
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


def label_of(y):
    """Returns the labels, where `y` may be a dict that carries more than labels.

    Args:
        y: Labels, or a dict with the key `"label"`.

    Returns:
        The labels.

    Raises:
        ValueError: If `y` is `None`, or a dict without the key.

    Example:
    >>> from keras_ncr.distribution.targets import label_of
    >>> label_of({"label": [0, 1], "clean_label": [0, 0]})
    [0, 1]
    """
    if y is None:
        raise ValueError(
            "Training and evaluation need labels. Received: y=None. Pass `y`, or a "
            "dataset of (inputs, labels). For logits without labels use `predict`."
        )
    if not isinstance(y, dict):
        return y
    if "label" not in y:
        raise ValueError(
            'A dict of targets must have the key "label", and may have others beside '
            f"it. Received: the keys {sorted(y)}."
        )
    return y["label"]


def weight_of(sample_weight):
    """Returns the labels' weights: Keras gives each entry of a dict of labels its own.

    Args:
        sample_weight: Weights, `None`, or a dict of weights with the key `"label"`.

    Returns:
        The weights, or `None`.

    Example:
    >>> from keras_ncr.distribution.targets import weight_of
    >>> weight_of({"label": 0.5, "index": 0.5})
    0.5
    """
    return sample_weight["label"] if isinstance(sample_weight, dict) else sample_weight


def check_per_example(consistency):
    """Raises unless a consistency loss returned one value per example.

    Args:
        consistency: What it returned.

    Raises:
        ValueError: If it is of another shape.

    Example:
    >>> from keras_ncr.distribution.targets import check_per_example
    >>> check_per_example(tf.zeros([8]))
    """
    if consistency.shape.rank != 1:
        raise ValueError(
            "`consistency_loss` must return one value per example, of shape (batch,). "
            f"Received: a shape of {consistency.shape}."
        )


def checked_training_data(x, y, num_classes, loss):
    """Returns the `x` of `fit`, once its labels are known to be, or will be, checked.

    Args:
        x: Inputs, or a `tf.data.Dataset` of batches.
        y: Labels, a dict of arrays with the key `"label"`, or `None`.
        num_classes: Int.
        loss: The compiled loss, for its `ignore_class`.

    Returns:
        `x`; a dataset as `with_checked_labels` returns it.

    Raises:
        ValueError: If labels are out of range or NaN, or there is no example.

    Example:
    >>> from keras_ncr.distribution.targets import checked_training_data
    >>> checked_training_data([[0.0], [1.0]], [0, 1], num_classes=2, loss=None)
    [[0.0], [1.0]]
    """
    ignored = getattr(loss, "ignore_class", None)
    if y is not None:
        check_training_labels(y, num_classes, ignored)
    elif isinstance(x, tf.data.Dataset):
        return with_checked_labels(x, num_classes, ignored)
    return x


def with_weights_by_class(x, y, num_classes, validation_split, options):
    """Returns the options of `fit`, with class weights as weights of examples.

    Keras refuses class weights where targets are a dict, which it takes for several
    outputs; and models that number their examples make a dict of any labels.

    Args:
        x: As in `checked_training_data`.
        y: As in `checked_training_data`, once checked.
        num_classes: Int.
        validation_split: As in `keras.Model.fit`.
        options: Dict of further arguments of `fit`.

    Returns:
        Dict: `options`, or where targets are a dict, `options` with `sample_weight` in
        the place of `class_weight`. Classes that have no weight weigh 1.

    Raises:
        ValueError: If class weights cannot be weights of examples: those are given as
            well, or examples are split or come from a dataset.

    Example:
    >>> from keras_ncr.distribution.targets import with_weights_by_class
    >>> options = {"class_weight": {1: 5.0}, "shuffle": False}
    >>> y = {"label": np.array([0, 1]), "index": np.array([0, 1])}
    >>> with_weights_by_class(np.zeros((2, 3)), y, 2, 0.0, options)
    {'shuffle': False, 'sample_weight': array([1., 5.], dtype=float32)}
    """
    class_weight = options.get("class_weight")
    targets = x.element_spec[1] if isinstance(x, tf.data.Dataset) else y
    if class_weight is None or not isinstance(targets, dict):
        return options
    obstacles = {
        "a dataset": y is None,
        "sample_weight": options.get("sample_weight") is not None,
        "validation_split": bool(validation_split),
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
    others = {name: value for name, value in options.items() if name != "class_weight"}
    return {**others, "sample_weight": np.array(weights, "float32")}


def check_training_labels(y, num_classes, ignored=None):
    """Raises unless `y` are class numbers, or one row of class weights per example.

    Args:
        y: Array-like of shape `(n,)`, `(n, 1)` or `(n, num_classes)`, n at least 1, or
            a dict that has one under the key `"label"`.
        num_classes: Int.
        ignored: Optional int: a class number that stands for "no label", as
            `ignore_class` in `keras.losses.SparseCategoricalCrossentropy`.

    Raises:
        ValueError: If `y` has another shape, is empty, or holds what is no label.

    Example:
    >>> from keras_ncr.distribution.targets import check_training_labels
    >>> check_training_labels(np.array([2, 0, -1]), num_classes=3, ignored=-1)
    """
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

    Args:
        dataset: `tf.data.Dataset` of batches `(inputs, labels, ...)`, the labels as in
            `check_training_labels`.
        num_classes: As in `check_training_labels`.
        ignored: As in `check_training_labels`.

    Returns:
        `tf.data.Dataset` of the same batches. Reading a wrong label raises
        `tf.errors.InvalidArgumentError`.

    Raises:
        ValueError: If the dataset is known to be empty, or to have no labels.

    Example:
    >>> from keras_ncr.distribution.targets import with_checked_labels
    >>> dataset = tf.data.Dataset.from_tensors((np.zeros((2, 5)), np.array([0, 1])))
    >>> with_checked_labels(dataset, num_classes=2).cardinality().numpy()
    np.int64(1)
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
