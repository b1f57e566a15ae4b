"""Trains a config in a process that dies where it is told to.

python dying_run.py FOLDER SETTINGS DEATH

SETTINGS is a JSON dict of dotted keys of the config. DEATH is a JSON list of a place
and of what it needs: ["step", epoch, step], ["validation", epoch], ["after_fit"],
["half_a_checkpoint", n] and ["checkpoint_moved", n] for the n-th one of the process,
["disk_full", bytes] for the size that no file can exceed, or [] to live on.
"""

import json
import os
import resource
import signal
import sys

import keras
import numpy as np

from keras_ncr.cli.command_line import refusal_in_one_line
from keras_ncr.experiments.config import default_config
from keras_ncr.experiments.run import train

folder, settings, (place, *details) = (
    sys.argv[1],
    json.loads(sys.argv[2]),
    json.loads(sys.argv[3]) or [None],
)
times = {"saved": 0, "moved": 0}


def die(*args):
    """Ends the process as the system does that is out of memory."""
    os.kill(os.getpid(), signal.SIGKILL)


class Die(keras.callbacks.Callback):
    """Dies at a step, in validation, or after the last epoch."""

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if place == "step" and [self.epoch, batch + 1] == details:
            die()

    def on_test_batch_end(self, batch, logs=None):
        if place == "validation" and [self.epoch] == details:
            die()

    def on_train_end(self, logs=None):
        if place == "after_fit":
            die()


save, move = np.savez, os.replace


def save_half(path, **arrays):
    """Writes arrays, and dies in the middle of it."""
    save(path, **arrays)
    times["saved"] += 1
    if [times["saved"]] == details:
        os.truncate(path, path.stat().st_size // 2)
        die()


def move_and_die(source, target):
    """Moves a file, and dies before older ones are removed."""
    move(source, target)
    times["moved"] += os.path.basename(target).startswith("epoch-")
    if [times["moved"]] == details:
        die()


if place == "half_a_checkpoint":
    np.savez = save_half
if place == "checkpoint_moved":
    os.replace = move_and_die
if place == "disk_full":
    resource.setrlimit(resource.RLIMIT_FSIZE, (details[0], resource.RLIM_INFINITY))
config = default_config()
config.update_from_flattened_dict(settings)
with refusal_in_one_line():
    train(config, folder, [Die()], verbose=0)
