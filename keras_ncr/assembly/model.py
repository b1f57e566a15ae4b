"""The model of a run: network and method, compiled."""

import keras

from keras_ncr import backbones, pipelines
from keras_ncr.assembly.schedule import optimizer
from keras_ncr.losses import NeighborConsistencyLoss
from keras_ncr.models import NCRModel, classifier_layer

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
