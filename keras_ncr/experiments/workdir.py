"""The folder of a run: which run it belongs to, and the files in it.

Every file is written by `keras_ncr.files`, whole or not at all. Only `history.csv` of a
trial and the logs of TensorBoard grow line by line.
"""

import contextlib
import csv
import itertools
import json
import os
import pathlib
from collections.abc import Iterator

import numpy as np
from ml_collections import ConfigDict

from keras_ncr.experiments import run_lock
from keras_ncr.experiments.config import default_config
from keras_ncr.files import WRITING, check_no_links, replacing, write_json

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
    """Claims the folder of a run as `claim` does, until the block ends."""
    path = _checked(path, config)
    with contextlib.ExitStack() as stack:
        with _naming_the_workdir(path):
            path.mkdir(parents=True, exist_ok=True)
            stack.enter_context(run_lock.held(path))
            _begin(path, config)
        yield path


def _checked(path, config):
    """Returns the path of a folder, or raises unless it is free for a config's run."""
    path = pathlib.Path(path).expanduser()
    check_no_links(path)
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
    path = pathlib.Path(path).expanduser()
    file = path / "config.json"
    if not file.exists():
        raise ValueError(
            f"`workdir` must be the folder of a run. Received: {path}, which has no "
            "config.json. Train first: keras-ncr train --workdir=..."
        )
    config = default_config()
    settings = _settings(file)
    try:
        missing = sorted({*flat(config.to_dict())} - {*settings})
        if missing:
            raise KeyError(f"no {missing[0]}")
        config.update_from_flattened_dict(settings)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{file} must hold the settings of this version. Received: {error}. Train "
            "again in another workdir."
        ) from error
    return config


def _settings(file):
    """Returns the settings in a config.json, with dotted keys."""
    with damage_named(file, "Restore it from a backup, or pass another `workdir`."):
        return flat(read_dict(file))


def _check_same(path, config):
    """Raises if the run in the folder is not one of this config."""
    there = _settings(path / "config.json")
    here = flat(config.to_dict())
    differing = [
        f"{key} ({there.get(key)!r} there, {here.get(key)!r} here)"
        for key in sorted({*there, *here} - {*CHANGEABLE})
        if there.get(key) != here.get(key)
    ]
    if here["trials"] < there.get("trials", 0):
        differing.append(f"fewer trials ({there['trials']} there)")
    if differing:
        raise ValueError(
            f"`workdir` {path} holds a run with another config: "
            f"{', '.join(differing)}. Pass another workdir, or remove that one."
        )


def flat(settings, prefix=""):
    """Returns nested settings as one dict with dotted keys."""
    items = {}
    for key, value in settings.items():
        if isinstance(value, dict):
            items.update(flat(value, f"{prefix}{key}."))
        else:
            items[prefix + key] = value
    return items


def trial_folder(folder: str | os.PathLike, trial: int) -> pathlib.Path:
    """Returns the path of the folder of a trial, counted from 0."""
    return pathlib.Path(folder).expanduser() / f"trial-{trial}"


def audit_folder(folder: str | os.PathLike) -> pathlib.Path:
    """Returns the path of the folder of the run's audit."""
    return pathlib.Path(folder).expanduser() / "audit"


@contextlib.contextmanager
def damage_named(path, remedy):
    """Names a damaged file and the remedy in whatever error reading it raises."""
    try:
        yield
    # Libraries may raise anything on a damaged file.
    except Exception as error:
        reason = (str(error).splitlines() or [""])[0]
        raise ValueError(
            f"{path} is damaged: {type(error).__name__}, {reason[:200]}. {remedy}"
        ) from error


def read_dict(path):
    """Returns the dict in a JSON file, or raises."""
    content = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        raise ValueError("it does not hold a dict")
    return content


def read_history(path: str | os.PathLike, num_epochs: int | None = None) -> list[dict]:
    """Returns the first rows, or all, of a `CSVLogger`'s file as dicts, or raises."""
    path = pathlib.Path(path)
    remedy = f"Remove {path.parent}: the same command trains that trial again."
    with damage_named(path, remedy), open(path, newline="") as file:
        lines = list(itertools.islice(file, num_epochs and num_epochs + 1))
        rows = [
            {key: float(value) for key, value in row.items()}
            for row in csv.DictReader(lines)
        ]
        if len(rows) < (num_epochs or 0) or not lines[-1].endswith("\n"):
            raise ValueError(f"epoch {len(rows) + 1} is missing or cut off")
        if [row["epoch"] for row in rows] != list(range(len(rows))):
            raise ValueError("it has not each epoch once, in order")
    return rows


def read_trials(folder, trials, num_epochs=None):
    """Returns the accuracies and confidences of finished trials."""
    folders = [trial_folder(folder, trial) for trial in trials]
    accuracies = [
        [row["val_accuracy"] for row in read_history(path / "history.csv", num_epochs)]
        for path in folders
    ]
    return accuracies, [np.load(path / "confidence.npy") for path in folders]


def join_histories(folder, trials, num_epochs=None):
    """Writes `history.csv`: the rows of all trials, each with its trial's number."""
    rows = []
    for trial in trials:
        path = trial_folder(folder, trial) / "history.csv"
        read_history(path, num_epochs)
        with open(path, newline="") as file:
            header, *own_rows = csv.reader(file)
        if rows and rows[0] != ["trial", *header]:
            raise ValueError(
                f"{path} must have the columns of the other trials, {rows[0][1:]}. "
                f"Received: {header}. Remove {path.parent}: the same command trains "
                "that trial again."
            )
        rows += [["trial", *header]] if not rows else []
        rows += [[trial, *row] for row in own_rows]
    with (
        replacing(folder / "history.csv") as temporary,
        open(temporary, "w", newline="") as file,
    ):
        csv.writer(file).writerows(rows)
