"""One training run of a config, and how it survives what ends it."""

from keras_ncr.trials.interruption import Interrupted
from keras_ncr.trials.trial import Trial

__all__ = ["Interrupted", "Trial"]
