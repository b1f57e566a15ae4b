"""What the names and numbers of a config stand for: data, labels, model, optimizer."""

from keras_ncr.assembly.checks import check_config
from keras_ncr.assembly.data import augmentation, load_sources
from keras_ncr.assembly.labels import NOISES, noisy_labels
from keras_ncr.assembly.model import BACKBONES, METHODS, compiled_model
from keras_ncr.assembly.schedule import learning_rate_schedule, optimizer

__all__ = [
    "BACKBONES",
    "METHODS",
    "NOISES",
    "augmentation",
    "check_config",
    "compiled_model",
    "learning_rate_schedule",
    "load_sources",
    "noisy_labels",
    "optimizer",
]
