"""What the names and numbers of a config stand for: data, labels, model, optimizer."""

from keras_ncr.assembly.checks import check_config
from keras_ncr.assembly.data import (
    Sources,
    augmentation,
    evaluation_batches,
    examples_per_epoch,
    input_shape,
    load_sources,
    preparation,
    steps_per_epoch,
    training_batches,
)
from keras_ncr.assembly.labels import (
    noisy_labels,
    sources_and_labels,
    without_wrong_labels,
)
from keras_ncr.assembly.model import BACKBONES, METHODS, backbone, compiled_model
from keras_ncr.assembly.schedule import learning_rate_schedule, optimizer

__all__ = [
    "BACKBONES",
    "METHODS",
    "Sources",
    "augmentation",
    "backbone",
    "check_config",
    "compiled_model",
    "evaluation_batches",
    "examples_per_epoch",
    "input_shape",
    "learning_rate_schedule",
    "load_sources",
    "noisy_labels",
    "optimizer",
    "preparation",
    "sources_and_labels",
    "steps_per_epoch",
    "training_batches",
    "without_wrong_labels",
]
