"""The folder of a run: which run it belongs to, and the files in it.

Every file is written by `keras_ncr.files`, whole or not at all. Only `history.csv` of a
trial and the logs of TensorBoard grow line by line.
"""

import contextlib
import csv
import json
import os
import pathlib
from collections.abc import Iterator

import numpy as np
from ml_collections import ConfigDict

from keras_ncr.experiments import run_lock
from keras_ncr.experiments.config import default_config
from keras_ncr.files import WRITING, replacing, write_json

# Settings that may change when a run goes on: more trials can be added, the data may
# have moved, and devices may be others.
CHANGEABLE = (
    *("trials", "strategy", "checkpoint_seconds"),
    *("data.dir", "data.path", "data.test_path"),
)


def claim(path: str | os.PathLike, config: ConfigDict) -> pathlib.Path:
    """Makes the folder of a run, or checks that it holds this run."""
    path = _checked(path, config)
    with _naming_the_workdir(path):
        _begin(path, config)
    return path


@contextlib.contextmanager
def occupied(path: str | os.PathLike, config: ConfigDict) -> Iterator[pathlib.Path]:
    """Claims the folder of a run, and keeps it from other runs until the block ends.

    Arguments, what is yielded and errors are those of `claim`.
    """
    path = _checked(path, config)
    with contextlib.ExitStack() as stack:
        with _naming_the_workdir(path):
            path.mkdir(parents=True, exist_ok=True)
            stack.enter_context(run_lock.held(path))
            _begin(path, config)
        yield path


def _checked(path, config):
    """Returns the path of a folder, or raises unless it is free for a config's run."""
    path = pathlib.Path(path)
    if (path / "config.json").exists():
        _check_same(path, config)
    elif path.exists() and not (path.is_dir() and _is_empty(path)):
        raise ValueError(
            f"`workdir` must be a new or empty folder, or that of a run. Received: "
            f"{path}, which is {'not empty' if path.is_dir() else 'a file'} and has no "
            "config.json."
        )
    return path


def _begin(path, config):
    """Makes the folder if needed, and writes the config to it."""
    path.mkdir(parents=True, exist_ok=True)
    write_json(path / "config.json", config.to_dict())


@contextlib.contextmanager
def _naming_the_workdir(path):
    """Names `workdir` in the error of a folder that cannot be written to."""
    try:
        yield
    except OSError as error:
        raise ValueError(
            "`workdir` must be a folder that can be made and written to. Received: "
            f"{path} ({error.strerror}). Pass another one."
        ) from error


def _is_empty(folder):
    """Returns whether a folder holds no files but those of a run that just began."""
    return all(
        file.name == run_lock.NAME or file.name.startswith(WRITING)
        for file in folder.iterdir()
    )


def read_config(path: str | os.PathLike) -> ConfigDict:
    """Returns the config of the run in a folder."""
    path = pathlib.Path(path)
    file = path / "config.json"
    if not file.exists():
        raise ValueError(
            f"`workdir` must be the folder of a run. Received: {path}, which has no "
            "config.json. Train first: keras-ncr train --workdir=..."
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


def trial_folder(folder: str | os.PathLike, trial: int) -> pathlib.Path:
    """Returns the path of the folder of a trial, counted from 0."""
    return pathlib.Path(folder) / f"trial-{trial}"


def audit_folder(folder: str | os.PathLike) -> pathlib.Path:
    """Returns the path of the folder of the run's audit."""
    return pathlib.Path(folder) / "audit"


def read_history(path: str | os.PathLike) -> list[dict]:
    """Returns the rows of a `CSVLogger`'s file as dicts of floats."""
    with open(path, newline="") as file:
        return [
            {key: float(value) for key, value in row.items()}
            for row in csv.DictReader(file)
        ]


def read_trials(folder, trials):
    """Returns the accuracies and confidences of finished trials."""
    folders = [trial_folder(folder, trial) for trial in trials]
    accuracies = [
        [row["val_accuracy"] for row in read_history(path / "history.csv")]
        for path in folders
    ]
    return accuracies, [np.load(path / "confidence.npy") for path in folders]


def join_histories(folder, trials):
    """Writes `history.csv`: the rows of all trials, each with its trial's number."""
    rows = []
    for trial in trials:
        path = trial_folder(folder, trial) / "history.csv"
        with open(path, newline="") as file:
            header, *own_rows = csv.reader(file)
        rows += [["trial", *header]] if not rows else []
        rows += [[trial, *row] for row in own_rows]
    with (
        replacing(folder / "history.csv") as temporary,
        open(temporary, "w", newline="") as file,
    ):
        csv.writer(file).writerows(rows)
