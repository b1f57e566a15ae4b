"""Checkpoints of training: a run that dies goes on as if it had not died."""

import math
import time

import keras
import numpy as np
import tensorflow as tf

from keras_ncr.distribution import workers
from keras_ncr.experiments.trials.checkpoint_files import CheckpointFiles, Position
from keras_ncr.experiments.trials.interruption import Interrupted, Request


class Checkpoint(keras.callbacks.Callback):
    """Saves the state of a trial, and restores it exactly, but for other callbacks.

    It is saved at the end of each epoch, and within an epoch when enough time has
    passed. Several workers save at the end of epochs only: within one, each has its own
    clock and its own signals, and would wait for the others.

    `restore` comes first; then one call of `fit`, with this callback as the last of its
    list, `initial_epoch` as it was returned, the whole number of `steps_per_epoch`, and
    batches that start at the step that was returned. Keras counts the steps before it
    again, to know where the epoch ends, but these neither compute nor take data.
    """

    def __init__(self, folder, steps_per_epoch, seconds=math.inf, request=None):
        super().__init__()
        self.files = CheckpointFiles(folder)
        self.steps_per_epoch = steps_per_epoch
        self.seconds = seconds
        self.request = request or Request()
        self.start = Position(0, 0)
        self.restored = {}

    def restore(self, model, batches):
        """Loads the newest checkpoint that is whole, if there is any."""
        model.optimizer.build(model.trainable_variables)
        loaded = self.files.load()
        if loaded is not None:
            self.start, self.restored = loaded
        if not workers.are_alike(*self.start):
            raise ValueError(
                "`workdir` must be one folder that all workers can read. Received: "
                f"{self.files.folder}, from which they have different checkpoints, "
                f"this one {tuple(self.start)} (epoch and step). Pass one that is on a "
                "shared disk."
            )
        if loaded is not None:
            if self.start.step:
                # Keras makes the metrics' variables when it first sees a batch.
                model.test_on_batch(*next(iter(batches)))
            self.assign(model)
        return self.start

    def assign(self, model):
        """Gives all variables the values that were restored."""
        variables = _state(model)
        if self.start.step:
            variables |= _metrics(model)
        shapes = {name: tuple(each.shape) for name, each in variables.items()}
        found = {name: array.shape for name, array in self.restored.items()}
        if found != shapes:
            raise ValueError(
                f"{self.files.path(self.start)} must be a checkpoint of the model that "
                f"the config describes, which has {len(shapes)} variables. Received: "
                f"{len(found)} arrays, or others in shape. Pass another workdir, or "
                "remove the folder of that trial."
            )
        for name, variable in variables.items():
            variable.assign(self.restored[name])

    def on_train_begin(self, logs=None):
        self.saved_at = time.monotonic()
        strategy = tf.distribute.get_strategy()
        # Each process has its own clock and its own signals.
        self.is_within_epochs = not isinstance(
            strategy, tf.distribute.MultiWorkerMirroredStrategy
        )

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch
        if epoch == self.start.epoch and self.start.step:
            # Undoes what callbacks did to the model as at the start of an epoch.
            self.assign(self.model)
            self.skip_steps()
        self.restored = {}

    def skip_steps(self):
        """Lets `fit` count the steps that are done without computing them."""
        model, train_function = self.model, self.model.train_function
        logs = model.get_metrics_result()
        num_left = self.start.step

        def count(iterator):
            nonlocal num_left
            num_left -= 1
            if not num_left:
                model.train_function = train_function
            return logs

        model.train_function = count

    def on_train_batch_end(self, batch, logs=None):
        position = Position(self.epoch, batch + 1)
        if position <= self.start or not self.is_within_epochs:
            return
        is_due = time.monotonic() - self.saved_at >= self.seconds
        if is_due or self.request.number is not None:
            self.save(position, _values(_metrics(self.model)))
        self.end_if_asked(position)

    def on_test_begin(self, logs=None):
        if self.is_within_epochs:
            # Evaluation uses the same variables.
            self.metrics = _values(_metrics(self.model))

    def on_test_batch_end(self, batch, logs=None):
        if self.request.number is not None and self.is_within_epochs:
            position = Position(self.epoch, self.steps_per_epoch)
            self.save(position, self.metrics)
            self.end_if_asked(position)

    def on_epoch_end(self, epoch, logs=None):
        self.save(Position(epoch + 1, 0), {})
        self.end_if_asked(Position(epoch, self.steps_per_epoch))

    def save(self, position, metrics):
        """Writes the state of the model with these values of the metrics."""
        # All workers read: that may need the others. One writes.
        arrays = _values(_state(self.model)) | metrics
        if workers.is_chief():
            self.files.save(position, arrays)
        self.saved_at = time.monotonic()

    def end_if_asked(self, position):
        """Ends training at a signal; all up to the position is saved."""
        if self.request.number is not None:
            raise Interrupted(self.request.number, position.epoch + 1, position.step)


def _state(model):
    """Returns what training changes: weights, statistics, momenta, step number."""
    kept = getattr(model, "mean_predictions", None)
    of_examples = [] if kept is None else kept.variables
    variables = [*model.variables, *model.optimizer.variables, *of_examples]
    return _named("state", variables)


def _metrics(model):
    """Returns the variables that add up the metrics of an epoch."""
    return _named("metric", model.metrics_variables)


def _named(kind, variables):
    """Returns variables as a dict, by kind and number."""
    return {f"{kind}-{number}": each for number, each in enumerate(variables)}


def _values(variables):
    """Returns what variables hold, as NumPy arrays."""
    arrays = {name: np.asarray(each.numpy()) for name, each in variables.items()}
    # NumPy's files cannot hold bfloat16; float32 holds all its values.
    return {
        name: array.astype("float32") if array.dtype == tf.bfloat16 else array
        for name, array in arrays.items()
    }
