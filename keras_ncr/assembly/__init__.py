"""What the names and numbers of a config stand for: data, labels, model, optimizer."""

from keras_ncr.assembly.checks import check_config
from keras_ncr.assembly.data import (
    Sources,
    augmentation,
    check_images,
    evaluation_batches,
    input_shape,
    load_sources,
    preparation,
    steps_per_epoch,
    training_batches,
)
from keras_ncr.assembly.labels import (
    as_trained_on,
    noisy_labels,
    without_wrong_labels,
)
from keras_ncr.assembly.model import BACKBONES, METHODS, backbone, compiled_model
from keras_ncr.assembly.schedule import learning_rate_schedule, optimizer

__all__ = [
    "BACKBONES",
    "METHODS",
    "Sources",
    "as_trained_on",
    "augmentation",
    "backbone",
    "check_config",
    "check_images",
    "compiled_model",
    "evaluation_batches",
    "input_shape",
    "learning_rate_schedule",
    "load_sources",
    "noisy_labels",
    "optimizer",
    "preparation",
    "steps_per_epoch",
    "training_batches",
    "without_wrong_labels",
]
