"""What the names and numbers of a config stand for: data, labels, model, optimizer."""

import keras

from keras_ncr import augment, backbones, datasets, noise, pipelines
from keras_ncr.checks import check_integer
from keras_ncr.config import choose, default_config
from keras_ncr.losses import NeighborConsistencyLoss
from keras_ncr.models import NCRModel, classifier_layer
from keras_ncr.noise import NoisyLabels

BACKBONES = {
    "small_cnn": backbones.small_cnn,
    "mlp": backbones.mlp,
    "resnet18": backbones.resnet18,
    "resnet34": backbones.resnet34,
    "resnet50": backbones.resnet50,
    "preact_resnet18": backbones.preact_resnet18,
}


def check_config(config):
    """Raises for a name that is not known, or a number that makes no run.

    What belongs to noise, model, loss and augmentation is checked where these are made.
    """
    choose(config.method, METHODS, "config.method")
    choose(config.model.backbone, BACKBONES, "config.model.backbone")
    choose(config.noise.kind, NOISES, "config.noise.kind")
    for key, minimum in {"epochs": 1, "batch_size": 1, "trials": 1, "seed": 0}.items():
        check_integer(config[key], f"config.{key}", minimum)
    settings = config.optimizer
    for key, is_right, expected in (
        ("learning_rate", settings.learning_rate > 0, "above 0"),
        ("momentum", 0 <= settings.momentum < 1, "at least 0 and below 1"),
        ("weight_decay", settings.weight_decay >= 0, "at least 0"),
        (
            "warmup_epochs",
            0 <= settings.warmup_epochs < config.epochs,
            f"at least 0 and below config.epochs={config.epochs}",
        ),
    ):
        if not is_right:
            raise ValueError(
                f"`config.optimizer.{key}` must be {expected}. "
                f"Received: {settings[key]}."
            )


def load_sources(data):
    """Returns the training and the test `Source` of a data set."""
    if data.name == "digits":
        _check_untouched(data, ("train_split", "test_split", "dir", "limit"))
        return datasets.digits()
    folder = data.dir or None
    return (
        datasets.from_tfds(data.name, data.train_split, folder, data.limit or None),
        datasets.from_tfds(data.name, data.test_split, folder),
    )


def _check_untouched(data, keys):
    """Raises if a setting was given that the data set has no use for."""
    default = default_config().data
    for key in keys:
        if data[key] != default[key]:
            raise ValueError(
                f"`config.data.{key}` is for data of TensorFlow Datasets and has no "
                f"effect on {data.name!r}. Received: {data[key]!r}. Leave it out."
            )


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


def compiled_model(config, source):
    """Returns a built model that is ready for `fit`."""
    backbone = BACKBONES[config.model.backbone](source.image_shape)
    model = METHODS[config.method](config, backbone, source.num_classes)
    steps = pipelines.steps_per_epoch(source.num_examples, config.batch_size)
    model.build((None, *source.image_shape))
    model.compile(
        optimizer(config, steps),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    return model


def _standard_model(config, backbone, num_classes):
    """Returns a plain Keras classifier: cross-entropy, the paper's eq. 1."""
    classifier = classifier_layer(config.model.classifier, num_classes)
    return keras.Model(backbone.input, classifier(backbone.output), name="standard")


def _ncr_model(config, backbone, num_classes):
    """Returns the classifier of the paper's eq. 4."""
    ncr = config.ncr
    return NCRModel(
        backbone,
        num_classes,
        consistency_loss=NeighborConsistencyLoss(
            num_neighbors=ncr.num_neighbors or None,
            temperature=ncr.temperature,
            similarity_power=ncr.similarity_power,
            direction=ncr.direction,
            temperature_squared=ncr.temperature_squared,
        ),
        consistency_weight=ncr.consistency_weight,
        warmup_epochs=ncr.warmup_epochs,
        classifier=config.model.classifier,
    )


METHODS = {"standard": _standard_model, "ncr": _ncr_model}


def optimizer(config, steps_per_epoch):
    """Returns SGD with linear warm-up and cosine decay, as in all of the paper.

    Papers add weight decay to the gradient, from where momentum carries it on: in the
    long run each step shrinks a weight by `learning_rate * weight_decay /
    (1 - momentum)`. Keras shrinks it by `learning_rate * weight_decay`, past the
    momentum. Dividing here makes the papers' figure mean what it means there.
    """
    settings = config.optimizer
    sgd = keras.optimizers.SGD(
        learning_rate_schedule(config, steps_per_epoch),
        momentum=settings.momentum,
        nesterov=settings.nesterov,
        weight_decay=settings.weight_decay / (1 - settings.momentum) or None,
    )
    if settings.decay_kernels_only and settings.weight_decay:
        sgd.exclude_from_weight_decay(var_names=["bias", "gamma", "beta", "scale"])
    return sgd


def learning_rate_schedule(config, steps_per_epoch):
    """Returns the learning rate by step: from 0 to its peak, and back to 0."""
    peak = config.optimizer.learning_rate
    warmup_steps = round(config.optimizer.warmup_epochs * steps_per_epoch)
    decay_steps = config.epochs * steps_per_epoch - warmup_steps
    if not warmup_steps:
        return keras.optimizers.schedules.CosineDecay(peak, decay_steps)
    return keras.optimizers.schedules.CosineDecay(
        0.0, decay_steps, warmup_target=peak, warmup_steps=warmup_steps
    )


def augmentation(settings):
    """Returns the augmentation of single images, or `None`."""
    if not settings.padding and not settings.flip:
        return None
    return augment.crop_and_flip(settings.padding, settings.flip)
