"""The folder of a run: what is kept in it, and how it survives an interruption.

A file is either whole or not there: each is written beside its place and then moved.
Only `history.csv` of a trial and the logs of TensorBoard grow line by line.
"""

import contextlib
import csv
import json
import os
import pathlib
import shutil

import keras
import numpy as np

from keras_ncr.config import default_config

# Settings in which a run may differ from the one that the folder holds: more trials can
# be added, and the data may have moved.
CHANGEABLE = ("trials", "data.dir", "data.path", "data.test_path")


def claim(path, config):
    """Makes the folder of a run, or takes up the run that is in it.

    Args:
        path: String or path. A folder that is new, empty, or that of a run with the
            same config.
        config: `ml_collections.ConfigDict`.

    Returns:
        `pathlib.Path` of the folder, in which `config.json` now is.

    Raises:
        ValueError: If the folder holds a run with another config, or other files, or
            cannot be written to.
    """
    path = pathlib.Path(path)
    if (path / "config.json").exists():
        _check_same(path, config)
    elif path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise ValueError(
            f"`workdir` must be a new or empty folder, or that of a run. Received: "
            f"{path}, which is {'not empty' if path.is_dir() else 'a file'} and has no "
            "config.json."
        )
    try:
        path.mkdir(parents=True, exist_ok=True)
        write_json(path / "config.json", config.to_dict())
    except OSError as error:
        raise ValueError(
            "`workdir` must be a folder that can be made and written to. Received: "
            f"{path} ({error.strerror}). Pass another one."
        ) from error
    return path


def read_config(path):
    """Returns the config of the run in a folder.

    Args:
        path: String or path: the workdir.

    Returns:
        `ml_collections.ConfigDict`, locked, with the keys of
        `keras_ncr.config.default_config`.

    Raises:
        ValueError: If the folder holds no run, or one of another version.
    """
    path = pathlib.Path(path)
    file = path / "config.json"
    if not file.exists():
        raise ValueError(
            f"`workdir` must be the folder of a run. Received: {path}, which has no "
            "config.json. Train first: python -m keras_ncr.train --workdir=..."
        )
    config = default_config()
    try:
        config.update_from_flattened_dict(_flat(json.loads(file.read_text())))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{file} must hold the settings of this version. Received: {error}. Train "
            "again in another workdir."
        ) from error
    return config


def _check_same(path, config):
    """Raises if the run in the folder is not one of this config."""
    there = _flat(json.loads((path / "config.json").read_text()))
    here = _flat(config.to_dict())
    differing = [
        f"{key} ({there.get(key)!r} there, {here.get(key)!r} here)"
        for key in sorted({*there, *here} - {*CHANGEABLE})
        if there.get(key) != here.get(key)
    ]
    if here["trials"] < there["trials"]:
        differing.append(f"fewer trials ({there['trials']} there)")
    if differing:
        raise ValueError(
            f"`workdir` {path} holds a run with another config: "
            f"{', '.join(differing)}. Pass another workdir, or remove that one."
        )


def _flat(settings, prefix=""):
    """Returns nested settings as one dict with dotted keys."""
    items = {}
    for key, value in settings.items():
        if isinstance(value, dict):
            items.update(_flat(value, f"{prefix}{key}."))
        else:
            items[prefix + key] = value
    return items


@contextlib.contextmanager
def replacing(path):
    """Yields a path to write to; what was written then takes the place of `path`."""
    path = pathlib.Path(path)
    # Some writers insist on the file's own suffixes.
    temporary = path.with_name("writing-" + path.name)
    yield temporary
    os.replace(temporary, path)


def write_json(path, content):
    """Writes `content`, made of dicts, lists, numbers and strings, to a JSON file."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n")


def trial_folder(folder, trial):
    """Returns the path in which a trial, counted from 0, keeps what is its own."""
    return pathlib.Path(folder) / f"trial-{trial}"


def audit_folder(folder):
    """Returns the path in which an audit of the run keeps what it finds."""
    return pathlib.Path(folder) / "audit"


def read_history(path):
    """Returns the rows of a `CSVLogger`'s file as dicts of floats."""
    with open(path, newline="") as file:
        return [
            {key: float(value) for key, value in row.items()}
            for row in csv.DictReader(file)
        ]


def read_trials(folder, trials):
    """Returns what a figure shows of trials that are finished.

    Args:
        folder: String or path: the workdir.
        trials: Ints: which trials to read, counted from 0.

    Returns:
        A list with each trial's test accuracies by epoch, and a list with each trial's
        array of the confidence in every training example's annotated label.
    """
    folders = [trial_folder(folder, trial) for trial in trials]
    accuracies = [
        [row["val_accuracy"] for row in read_history(path / "history.csv")]
        for path in folders
    ]
    return accuracies, [np.load(path / "confidence.npy") for path in folders]


def join_histories(folder, trials):
    """Writes `history.csv`: the rows of all trials, each with its trial's number."""
    with (
        replacing(folder / "history.csv") as temporary,
        open(temporary, "w", newline="") as file,
    ):
        writer = csv.writer(file)
        for position, trial in enumerate(trials):
            path = trial_folder(folder, trial) / "history.csv"
            with open(path, newline="") as part:
                header, *rows = csv.reader(part)
            if position == 0:
                writer.writerow(["trial", *header])
            writer.writerows([trial, *row] for row in rows)


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
    logger = keras.callbacks.CSVLogger(path, append=first_epoch > 0)
    try:
        yield logger
    finally:  # Keras closes the file at the end of training alone.
        if logger.csv_file is not None:
            logger.csv_file.close()


class Checkpoint(keras.callbacks.Callback):
    """Keeps the state of a trial as of the last epoch that was finished.

    The number of epochs is part of the file's name, so that weights and epoch can never
    disagree. `keras.callbacks.BackupAndRestore` keeps them in two files, and a run that
    is killed between them goes on with the wrong one.

    Args:
        folder: `pathlib.Path` of the folder of checkpoints.
    """

    def __init__(self, folder):
        super().__init__()
        self.folder = folder

    def latest(self):
        """Returns the path of the newest checkpoint, or `None`."""
        return max(self.folder.glob("epoch-*.npz"), default=None)

    def restore(self, model):
        """Loads the newest checkpoint, if any, and returns how many epochs are done."""
        latest = self.latest()
        if latest is None:
            return 0
        model.optimizer.build(model.trainable_variables)
        with np.load(latest) as file:
            for variable, value in zip(_state(model), file.values(), strict=True):
                variable.assign(value)
        return int(latest.stem.removeprefix("epoch-"))

    def on_epoch_end(self, epoch, logs=None):
        self.folder.mkdir(parents=True, exist_ok=True)
        previous = self.latest()
        with replacing(self.folder / f"epoch-{epoch + 1:06d}.npz") as temporary:
            # In a tenth of `save_weights`' time, which counts where epochs are short.
            np.savez(temporary, *[variable.numpy() for variable in _state(self.model)])
        if previous is not None:
            previous.unlink()

    def clear(self):
        """Removes the checkpoints of a trial that is finished."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _state(model):
    """Returns all that training changes: weights, statistics, momenta, step number."""
    return [*model.variables, *model.optimizer.variables]
