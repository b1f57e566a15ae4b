"""The model of a run: network and method, compiled."""

import keras

from keras_ncr import backbones
from keras_ncr.assembly.data import input_shape, steps_per_epoch
from keras_ncr.assembly.schedule import optimizer
from keras_ncr.backbones.applications import application_names
from keras_ncr.config import WITH_STEM
from keras_ncr.losses import NeighborConsistencyLoss
from keras_ncr.models import NCRModel, classifier_layer

# The networks of the package.
BACKBONES = {
    "small_cnn": backbones.small_cnn,
    "mlp": backbones.mlp,
    "resnet18": backbones.resnet18,
    "resnet34": backbones.resnet34,
    "resnet50": backbones.resnet50,
    "preact_resnet18": backbones.preact_resnet18,
}


def compiled_model(config, source):
    """Returns a built model that is ready for `fit`."""
    shape = input_shape(config, source)
    network = backbone(config.model, shape)
    model = METHODS[config.method](config, network, source.num_classes)
    model.build((None, *shape))
    metrics = ["accuracy"]
    if config.top_5:
        top_5 = keras.metrics.SparseTopKCategoricalAccuracy(5, name="top_5_accuracy")
        metrics.append(top_5)
    model.compile(
        optimizer(config, steps_per_epoch(config, source)),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=metrics,
    )
    return model


def backbone(settings, shape):
    """Returns the network from pixels to features: ours, or a Keras application."""
    name = settings.backbone
    for key, default, names in (
        ("stem", "cifar", WITH_STEM),
        ("weights", "", application_names()),
    ):
        if settings[key] != default and name not in names:
            raise ValueError(
                f"`config.model.{key}` has no effect on {name!r}. "
                f"Received: {settings[key]!r}. Leave it out, or choose a backbone out "
                f"of {list(names)}."
            )
    if name not in BACKBONES:
        return backbones.application(name, shape, weights=settings.weights or None)
    if name in WITH_STEM:
        return BACKBONES[name](shape, stem=settings.stem)
    return BACKBONES[name](shape)


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
