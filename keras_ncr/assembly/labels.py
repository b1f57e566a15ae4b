"""The labels of a run: those of the data set, and what is done to them."""

import numpy as np

from keras_ncr import noise
from keras_ncr.noise import NoisyLabels


def noisy_labels(config, source):
    """Returns the `NoisyLabels` of the training source."""
    if config.noise.kind == "none":
        return NoisyLabels(source.clean_labels, source.labels, source.ids)
    if source.clean_labels is not None:
        raise ValueError(
            f"The labels of {source.name!r} have noise of their own, and more cannot "
            "be added. Received: "
            f"config.noise.kind={config.noise.kind!r}. Set it to 'none'."
        )
    corrupt = NOISES[config.noise.kind]
    return NoisyLabels(source.labels, corrupt(config, source), source.ids)


def as_trained_on(config, sources, labels):
    """Returns `Sources` and `NoisyLabels` without what an oracle leaves out."""
    if not config.noise.oracle:
        return sources, labels
    train_source, labels = without_wrong_labels(sources.train, labels)
    return sources._replace(train=train_source), labels


def without_wrong_labels(source, labels):
    """Returns the part of a source, and of its labels, of which the labels are right.

    What trains on it is the oracle of the paper's Table 1.
    """
    if labels.is_noisy is None:
        raise ValueError(
            f"`config.noise.oracle` needs to know which labels of {source.name!r} are "
            "wrong, and nothing is known of them. Received: True. Leave it out, or "
            "name the feature that knows (`config.data.clean_label_key` or "
            "`config.data.is_clean_key`)."
        )
    right = np.flatnonzero(~labels.is_noisy)
    if not len(right):
        raise ValueError(
            "`config.noise.oracle` has nothing to train on: all labels of "
            f"{source.name!r} are wrong. Received: rate {labels.realized_rate}."
        )
    ids = None if labels.ids is None else labels.ids[right]
    return source.subset(right), NoisyLabels(
        labels.clean_labels[right], labels.noisy_labels[right], ids
    )


def _symmetric_noise(config, source):
    """Returns labels some of which are drawn anew from all, or all other, classes."""
    matrix = noise.symmetric(
        source.num_classes, config.noise.rate, include_true=config.noise.include_true
    )
    return _corrupted_by_matrix(config, source, matrix)


def _asymmetric_noise(config, source):
    """Returns labels some of which went to the look-alike class of CIFAR's protocol."""
    name = config.data.name.partition(":")[0]  # Without a version ("cifar10:3.*.*").
    if name not in ("cifar10", "cifar100"):
        raise ValueError(
            "`config.noise.kind` can be 'asymmetric' for 'cifar10' and 'cifar100', of "
            "which the look-alike classes are known. Received: "
            f"config.data.name={name!r}. 'pair_flip' goes from each class to the next."
        )
    matrix = noise.asymmetric(name, config.noise.rate)
    return _corrupted_by_matrix(config, source, matrix)


def _pair_flip_noise(config, source):
    """Returns labels some of which went to the next class."""
    matrix = noise.pair_flip(source.num_classes, config.noise.rate)
    return _corrupted_by_matrix(config, source, matrix)


def _corrupted_by_matrix(config, source, matrix):
    """Returns labels with the noise of a transition matrix."""
    label_noise = noise.LabelNoise(matrix, config.noise.seed, config.noise.exact)
    return label_noise.corrupt(source.labels)


def _instance_noise(config, source):
    """Returns labels some of which went to a class that depends on the image."""
    label_noise = noise.InstanceDependentNoise(
        config.noise.rate, config.noise.seed, source.num_classes
    )
    return label_noise.corrupt(source.images, source.labels)


# From the kind of noise to the function `(config, source) -> labels`.
NOISES = {
    "none": None,
    "symmetric": _symmetric_noise,
    "asymmetric": _asymmetric_noise,
    "pair_flip": _pair_flip_noise,
    "instance": _instance_noise,
}
