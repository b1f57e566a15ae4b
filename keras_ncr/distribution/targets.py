"""Takes labels and their weights out of targets, which may be dicts."""


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
