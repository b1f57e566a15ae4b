"""The labels of a run: those of the data set, and what is done to them."""

import numpy as np

from keras_ncr import noise
from keras_ncr.datasets.split import split_indices
from keras_ncr.experiments.data import Sources
from keras_ncr.experiments.methods import method_of
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
    """Returns `Sources` and `NoisyLabels` of what is trained and tested on.

    A held-out part of the training examples, with the labels as they are, takes the
    place of the test data; an oracle is left without the wrong labels.
    """
    if config.data.validation_share:
        sources, labels = _tested_on_validation(config, sources, labels)
    if not method_of(config).is_oracle:
        return sources, labels
    train_source, labels = without_wrong_labels(sources.train, labels)
    return sources._replace(train=train_source), labels


def _tested_on_validation(config, sources, labels):
    """Returns both, with noisy examples held out of training to be tested on."""
    share = config.data.validation_share
    if not 0 < share < 1:
        raise ValueError(
            "`config.data.validation_share` must be at least 0 and below 1. "
            f"Received: {share}."
        )
    # Drawn by the labels that are known, the noisy ones: no true label plays a part.
    kept, held_out = split_indices(
        labels.noisy_labels, sources.train.num_classes, share
    )
    test = sources.train.relabeled(labels.noisy_labels).subset(held_out, "validation")
    return Sources(sources.train.subset(kept), test), labels.subset(kept)


def without_wrong_labels(source, labels):
    """Returns the part of a source, and of its labels, of which the labels are right.

    What trains on it is the oracle of the paper's Table 1.
    """
    if labels.is_noisy is None:
        raise ValueError(
            f"An oracle needs to know which labels of {source.name!r} are wrong, and "
            "nothing is known of them. Received: 'oracle' in `config.method`. Leave it "
            "out, or name the feature that knows (`config.data.clean_label_key` or "
            "`config.data.is_clean_key`)."
        )
    right = np.flatnonzero(~labels.is_noisy)
    if not len(right):
        raise ValueError(
            "An oracle has nothing to train on: all labels of "
            f"{source.name!r} are wrong. Received: rate {labels.realized_rate}."
        )
    return source.subset(right), labels.subset(right)


# Data sets with a map of look-alikes in `noise.asymmetric`.
LOOK_ALIKES = ("cifar10", "cifar100", "digits", "fashion_mnist")


def _symmetric_noise(config, source):
    """Returns labels some of which are drawn anew from all, or all other, classes."""
    matrix = noise.symmetric(
        source.num_classes, config.noise.rate, include_true=config.noise.include_true
    )
    return _corrupted_by_matrix(config, source, matrix)


def _asymmetric_noise(config, source):
    """Returns labels some of which went to the look-alike class."""
    name = config.data.name.partition(":")[0]  # Without a version ("cifar10:3.*.*").
    if name not in LOOK_ALIKES:
        raise ValueError(
            f"`config.noise.kind` can be 'asymmetric' for {', '.join(LOOK_ALIKES)}, of "
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
