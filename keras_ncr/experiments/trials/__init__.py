"""One training run of a config, and how it survives what ends it."""

from keras_ncr.experiments.trials.interruption import Interrupted
from keras_ncr.experiments.trials.trial import Trial

__all__ = ["Interrupted", "Trial"]
