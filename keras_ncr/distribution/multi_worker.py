"""Trains Keras models on several machines, where Keras 3 fails.

`fit` and `evaluate` of Keras 3 fail under `tf.distribute.MultiWorkerMirroredStrategy`
(https://github.com/keras-team/keras/issues/20585). This module replaces the two places
that fail, and leaves the work to a Keras that succeeds by itself.
"""

import contextlib
import pathlib
import tempfile

import keras
import tensorflow as tf

from keras_ncr.distribution import workers
from keras_ncr.distribution.batch_statistics import share_statistics


class MultiWorkerTraining:
    """Mixin that lets a Keras model train on several machines; it has no state.

    It goes before `keras.Model` in the list of bases. `NCRModel` and all models of
    `keras_ncr.models` have it. Each machine runs the same program, in which

    - `TF_CONFIG` names the machines, and which of them this is;
    - the strategy is made before any other use of TensorFlow;
    - `keras.utils.set_random_seed` is given the same number, since each machine
      shuffles arrays by itself and keeps its part of the result;
    - all call `fit`, `evaluate`, `predict` and `save` alike and with the same data. A
      batch is the global batch; each machine trains on its part of it.

    Predictions are those of all data, in their order, on every machine. Files are
    written by the first machine; `keras_ncr.distribution.is_chief()` says which it is.

    With several replicas, on one machine as well, `fit` also keeps the moving
    statistics of batch normalization alike, which Keras leaves to each replica. Several
    replicas train as one does, up to rounding, where batch normalization is built with
    `synchronized=True`: `keras_ncr.backbones` do that under a strategy of several
    replicas. A layer without it normalizes by the part of the batch in its replica.

    Reference:
        - [Keras issue 20585](https://github.com/keras-team/keras/issues/20585)

    Example:
    >>> class Classifier(keras_ncr.distribution.MultiWorkerTraining, keras.Model):
    ...     pass
    >>> inputs = keras.Input((5,))
    >>> model = Classifier(inputs, keras.layers.Dense(3)(inputs))

    On each machine, with another `index`:

        os.environ["TF_CONFIG"] = json.dumps({
            "cluster": {"worker": ["10.0.0.1:12345", "10.0.0.2:12345"]},
            "task": {"type": "worker", "index": 0},
        })
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
        with strategy.scope():
            model = keras_ncr.NCRModel(backbone, num_classes=10)
            model.compile(optimizer, loss)
            model.fit(dataset)
    """

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        # Keras averages the replicas' first batches to learn their shapes. That fails
        # on several machines, and also on one where the first batch splits unequally.
        # One replica's tells as much.
        if iterator is not None:
            try:
                return super()._maybe_symbolic_build(iterator=iterator)
            except (ValueError, tf.errors.InvalidArgumentError):
                data_batch = self._first_local_batch(iterator)
        return super()._maybe_symbolic_build(data_batch=data_batch)

    def _first_local_batch(self, iterator):
        """Returns the first batch, as the first replica of this process gets it."""
        for _, _, batches in iterator:
            return keras.tree.map_structure(
                lambda part: self.distribute_strategy.experimental_local_results(part)[
                    0
                ],
                next(batches),
            )

    def _make_function(self, step_function):
        step = step_function
        num_replicas = self.distribute_strategy.num_replicas_in_sync
        if num_replicas > 1 and step_function == self.train_step:
            step = self._with_shared_statistics(step)
        if self._refuses_scalars():
            step = with_rows(step)
        return super()._make_function(step)

    def _with_shared_statistics(self, step_function):
        """Returns a step after which batch normalization is the same everywhere."""

        def step(data):
            results = step_function(data)
            share_statistics(self, data)
            return results

        return step

    def _refuses_scalars(self):
        """Returns whether Keras fails on a step that returns a scalar, as all do."""
        with self.distribute_strategy.scope():
            if not workers.has_other_workers():
                return False
        step = super()._make_function(lambda data: tf.zeros(()))
        try:
            step(iter([tf.zeros(())]))
        except (ValueError, tf.errors.InvalidArgumentError):
            return True
        return False

    def save(self, filepath, *args, **kwargs):
        """As in `keras.Model`; of several machines, the first one's files stay."""
        with self._path_to_save(filepath) as path:
            return super().save(path, *args, **kwargs)

    def save_weights(self, filepath, *args, **kwargs):
        """As in `keras.Model`; of several machines, the first one's files stay."""
        with self._path_to_save(filepath) as path:
            return super().save_weights(path, *args, **kwargs)

    @contextlib.contextmanager
    def _path_to_save(self, filepath):
        """Yields where this process saves: all but the first in a temporary folder."""
        # All must save: Keras makes variables as it goes, together on all machines.
        with self.distribute_strategy.scope():
            is_chief = workers.is_chief()
        if is_chief:
            yield filepath
            return
        with tempfile.TemporaryDirectory() as folder:
            yield pathlib.Path(folder) / pathlib.Path(filepath).name


def with_rows(step_function):
    """Returns a step whose scalar results have a first axis, which Keras averages."""

    def step(data):
        return keras.tree.map_structure(
            lambda value: tf.expand_dims(value, 0), step_function(data)
        )

    return step


@keras.saving.register_keras_serializable(package="keras_ncr")
class MultiWorkerClassifier(MultiWorkerTraining, keras.Model):
    """A plain Keras model that several machines can train.

    Args:
        *args: As in `keras.Model`, as all keyword arguments.

    Example:
    >>> inputs = keras.Input((5,))
    >>> outputs = keras.layers.Dense(3)(inputs)
    >>> model = keras_ncr.distribution.MultiWorkerClassifier(inputs, outputs)
    >>> model.predict(np.zeros((2, 5)), verbose=0).shape
    (2, 3)
    """


class WorkerLost(RuntimeError):
    """Another machine of a run is gone, and this one cannot go on without it.

    `keras_ncr.experiments.run.train` raises it.

    Args:
        message: String.

    Example:
    >>> raise keras_ncr.distribution.WorkerLost("Worker 1 is gone.")
    Traceback (most recent call last):
    keras_ncr.distribution.multi_worker.WorkerLost: Worker 1 is gone.
    """

    def __init__(self, message):
        super().__init__(message)


@contextlib.contextmanager
def lost_workers_named():
    """Turns TensorFlow's errors about a machine that is gone into a `WorkerLost`."""
    try:
        yield
    except (
        tf.errors.UnavailableError,
        tf.errors.AbortedError,
        tf.errors.CancelledError,
        tf.errors.DeadlineExceededError,
        tf.errors.FailedPreconditionError,
        tf.errors.InternalError,
    ) as error:
        if not workers.has_other_workers():
            raise
        raise worker_lost(error) from error


def worker_lost(error):
    """Returns a `WorkerLost` that says in one line what happened and what to do."""
    lines = str(error.message).splitlines()
    telling = [line for line in lines if "Collective ops is aborted" in line]
    reason = (telling or lines or ["nothing"])[0].strip()
    return WorkerLost(
        "Another worker of this run is gone, or cannot be reached. The same command on "
        "every machine goes on after the last checkpoint. TensorFlow says: " + reason
    )
