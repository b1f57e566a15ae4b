"""Which features of a data set of TensorFlow Datasets are its images and labels."""

import typing

import numpy as np

from keras_ncr.checks import check_known


class Keys(typing.NamedTuple):
    """Names of the features that a source is made of."""

    image: str
    label: str
    clean_label: str | None
    is_clean: str | None


def keys_of(builder, label_key, clean_label_key, is_clean_key):
    """Returns the keys that are asked for, or the data set's own."""
    features = builder.info.features
    images, class_labels, booleans = _keys_by_kind(features)
    if label_key is clean_label_key is is_clean_key is None and "is_clean" in booleans:
        is_clean_key = "is_clean"
    for key, known, name in (
        (label_key, class_labels, "label_key"),
        (clean_label_key, class_labels, "clean_label_key"),
        (is_clean_key, booleans, "is_clean_key"),
    ):
        if key is not None:
            check_known(key, known, name)
    if clean_label_key is not None and is_clean_key is not None:
        raise ValueError(
            "Either `clean_label_key` or `is_clean_key` says which labels are right. "
            f"Received: {clean_label_key!r} and {is_clean_key!r}. Leave one out."
        )
    keys = builder.info.supervised_keys or ("image", "label")
    image_key, own_label_key = keys if len(keys) == 2 else (None, None)
    label_key = own_label_key if label_key is None else label_key
    if image_key not in images or label_key not in class_labels:
        raise ValueError(
            "The data set must be for image classification, with one image and one "
            f"class label. Received: {builder.info.full_name} with features "
            f"{list(features)}. If one of the class labels {class_labels} is wanted, "
            "pass it as `label_key`."
        )
    return Keys(image_key, label_key, clean_label_key, is_clean_key)


def _keys_by_kind(features):
    """Keys of the images, of the class labels and of the single booleans, sorted."""
    import tensorflow_datasets as tfds

    images, class_labels, tensors = (
        [key for key, feature in sorted(features.items()) if isinstance(feature, kind)]
        for kind in (
            tfds.features.Image,
            tfds.features.ClassLabel,
            tfds.features.Tensor,
        )
    )
    booleans = [
        key
        for key in tensors
        if features[key].shape == () and features[key].np_dtype == np.bool_
    ]
    return images, class_labels, booleans


def num_classes_of(features, keys):
    """Returns the number of classes, the same for the labels and for the true ones."""
    num_classes = features[keys.label].num_classes
    if keys.clean_label is not None:
        num_clean_classes = features[keys.clean_label].num_classes
        if num_clean_classes != num_classes:
            raise ValueError(
                f"`clean_label_key` must have the {num_classes} classes of "
                f"{keys.label!r}. Received: {keys.clean_label!r} with "
                f"{num_clean_classes} classes."
            )
    return num_classes
