"""The labels of a run: what is done to those of the data set."""

from keras_ncr import noise
from keras_ncr.noise import NoisyLabels


def noisy_labels(config, source):
    """Returns the `NoisyLabels` of the training source."""
    corrupt = NOISES[config.noise.kind]
    return NoisyLabels(source.labels, corrupt(config, source), source.ids)


def _no_noise(config, source):
    """Returns the labels as they are."""
    return source.labels


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


NOISES = {
    "none": _no_noise,
    "symmetric": _symmetric_noise,
    "asymmetric": _asymmetric_noise,
    "pair_flip": _pair_flip_noise,
    "instance": _instance_noise,
}
