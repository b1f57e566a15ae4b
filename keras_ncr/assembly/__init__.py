"""What the names and numbers of a config stand for: data, labels, model, optimizer."""

from keras_ncr.assembly.batches import (
    augmentation,
    evaluation_batches,
    input_shape,
    preparation,
    steps_per_epoch,
    training_batches,
)
from keras_ncr.assembly.checks import check_config
from keras_ncr.assembly.corrections import all_corrected, audited, corrected
from keras_ncr.assembly.data import (
    Sources,
    check_images,
    load_sources,
    picture_folder,
)
from keras_ncr.assembly.labels import (
    as_trained_on,
    noisy_labels,
    without_wrong_labels,
)
from keras_ncr.assembly.method import Method, method_of
from keras_ncr.assembly.model import BACKBONES, backbone, compiled_model
from keras_ncr.assembly.schedule import learning_rate_schedule, optimizer
from keras_ncr.assembly.skipped import keep_skipped
from keras_ncr.assembly.strategy import (
    STRATEGIES,
    check_parts,
    check_replicas,
    strategy_of,
)

__all__ = [
    "BACKBONES",
    "STRATEGIES",
    "Method",
    "Sources",
    "all_corrected",
    "as_trained_on",
    "audited",
    "augmentation",
    "backbone",
    "check_config",
    "check_images",
    "check_parts",
    "check_replicas",
    "compiled_model",
    "corrected",
    "evaluation_batches",
    "input_shape",
    "keep_skipped",
    "learning_rate_schedule",
    "load_sources",
    "method_of",
    "noisy_labels",
    "optimizer",
    "picture_folder",
    "preparation",
    "steps_per_epoch",
    "strategy_of",
    "training_batches",
    "without_wrong_labels",
]
