"""The logs of a trial, which grow epoch by epoch: a table, and those of TensorBoard."""

import contextlib
import os

import keras
import tensorflow as tf

from keras_ncr.files import NotWritten, replacing


@contextlib.contextmanager
def history_logger(path, first_epoch):
    """Yields the logger of a trial's epochs, which goes on after those that are done.

    A run that was killed may have logged an epoch, or half of one, that no checkpoint
    has: it will come again, and its row is dropped.
    """
    if first_epoch:
        lines = path.read_bytes().splitlines(keepends=True)
        with replacing(path) as temporary:
            temporary.write_bytes(b"".join(lines[: first_epoch + 1]))  # And the header.
    logger = _HistoryLogger(path, append=first_epoch > 0)
    try:
        yield logger
    finally:  # Keras closes the file at the end of training alone.
        if logger.csv_file is not None:
            with contextlib.suppress(OSError):  # Of a row that has failed before.
                logger.csv_file.close()


class _HistoryLogger(keras.callbacks.CSVLogger):
    """`CSVLogger` that says which file it cannot write."""

    def on_train_begin(self, logs=None):
        with _naming(self.filename):
            super().on_train_begin(logs)

    def on_epoch_end(self, epoch, logs=None):
        with _naming(self.filename):
            super().on_epoch_end(epoch, logs)
            # A checkpoint that is to come must not know of more epochs than the file.
            os.fsync(self.csv_file.fileno())


class TensorBoard(keras.callbacks.TensorBoard):
    """Keras' callback, which says which folder it cannot write to.

    Args:
        folder: `pathlib.Path` of the folder of logs.

    Raises:
        NotWritten: In `fit`, if the disk is full, for example.
    """

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
    """Says in an error what could not be written to."""
    try:
        yield
    except OSError as error:
        raise NotWritten(path, error) from error
    except tf.errors.OpError as error:
        # The first line ends with what the system said.
        reason = error.message.partition("\n")[0].rpartition("; ")[2]
        raise NotWritten(path, OSError(None, reason)) from error
