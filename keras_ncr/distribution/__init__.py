"""Trains one model in the same way on many devices and many machines.

Models of this package that are made in the scope of a `tf.distribute` strategy need
nothing from here. `MultiWorkerTraining` gives the same to a Keras model of one's own.
"""

from keras_ncr.distribution.multi_worker import (
    MultiWorkerClassifier,
    MultiWorkerTraining,
    WorkerLost,
)
from keras_ncr.distribution.workers import is_chief

__all__ = ["MultiWorkerClassifier", "MultiWorkerTraining", "WorkerLost", "is_chief"]
