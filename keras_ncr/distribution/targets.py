"""Takes labels and their weights out of targets, which may be dicts."""

import tensorflow as tf


def label_of(y):
    """Returns the labels, where `y` may be a dict that carries more, or raises."""
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
    """Returns the labels' weights: for a dict of labels, Keras makes a dict of them."""
    return sample_weight["label"] if isinstance(sample_weight, dict) else sample_weight


def factors_of(sample_weight, dtype="float32"):
    """Returns the labels' weights in a shape of `(batch,)`, or 1.0 without any."""
    if sample_weight is None:
        return 1.0
    return tf.reshape(tf.cast(weight_of(sample_weight), dtype), [-1])
