"""The logs of a trial, which grow by epoch: a table, and those of TensorBoard."""

import contextlib
import os

import keras
import tensorflow as tf

from keras_ncr.experiments.workdir import read_history
from keras_ncr.files import NotWritten, replacing


@contextlib.contextmanager
def history_logger(path, first_epoch):
    """Yields the logger of a trial's epochs, which goes on after `first_epoch` rows."""
    # A killed run may have logged an epoch that no checkpoint has: that runs again, so
    # its row is dropped.
    if first_epoch:
        read_history(path, first_epoch)
        lines = path.read_bytes().splitlines(keepends=True)
        with replacing(path) as temporary:
            temporary.write_bytes(b"".join(lines[: first_epoch + 1]))  # And the header.
    else:
        path.unlink(missing_ok=True)
    logger = _HistoryLogger(path, append=first_epoch > 0)
    try:
        yield logger
    finally:  # Keras closes the file at the end of training only.
        if logger.csv_file is not None:
            with contextlib.suppress(OSError):  # From a row that failed before.
                logger.csv_file.close()


class _HistoryLogger(keras.callbacks.CSVLogger):
    """`CSVLogger` that names the file it cannot write."""

    def on_train_begin(self, logs=None):
        with _naming(self.filename):
            super().on_train_begin(logs)

    def on_epoch_end(self, epoch, logs=None):
        with _naming(self.filename):
            super().on_epoch_end(epoch, logs)
            # The next checkpoint must not have an epoch that the file lacks.
            os.fsync(self.csv_file.fileno())


class TensorBoard(keras.callbacks.TensorBoard):
    """Keras' callback that names the folder it cannot write to."""

    def __init__(self, folder):
        super().__init__(folder, write_graph=False)

    def on_test_end(self, logs=None):
        with _naming(self.log_dir):
            super().on_test_end(logs)

    def on_epoch_end(self, epoch, logs=None):
        with _naming(self.log_dir):
            super().on_epoch_end(epoch, logs)

    def on_train_end(self, logs=None):
        with _naming(self.log_dir):
            super().on_train_end(logs)


@contextlib.contextmanager
def _naming(path):
    """Raises `NotWritten` with the path in place of other errors of writing."""
    try:
        yield
    except OSError as error:
        raise NotWritten(path, error) from error
    except tf.errors.OpError as error:
        # The first line ends with the reason that the system gave.
        reason = error.message.partition("\n")[0].rpartition("; ")[2]
        raise NotWritten(path, OSError(None, reason)) from error
