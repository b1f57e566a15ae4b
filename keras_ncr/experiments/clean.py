"""`keras-ncr clean`: from data to a list of wrong labels, in one call."""

import contextlib
import dataclasses
import functools
import hashlib
import json
import os
import pathlib
import time
from collections.abc import Callable

import numpy as np
import tensorflow as tf

import keras_ncr
from keras_ncr.audit import audit_predictions
from keras_ncr.audit.auditing import check_settings
from keras_ncr.audit.report import report
from keras_ncr.audit.wrong_labels import (
    draws_of,
    features_of_source,
    out_of_sample_probabilities,
)
from keras_ncr.backbones.pretrained import SCRATCH
from keras_ncr.datasets.split import stratified_folds
from keras_ncr.experiments import run_lock
from keras_ncr.experiments.clean_data import CleanData
from keras_ncr.experiments.clean_network import NetworkTraining, network_of
from keras_ncr.experiments.clean_settings import GIVEN, CleanSettings
from keras_ncr.experiments.measures import duration
from keras_ncr.experiments.run_audit import write_list
from keras_ncr.features import extract
from keras_ncr.features.feature_cache import content_hash
from keras_ncr.files import write_json
from keras_ncr.models.head import HeadSettings
from keras_ncr.review.corrections import dataset_hash
from keras_ncr.review.export import check_apart

_STATE = "clean.json"
# Seconds on two cores, for the estimate: the start of trainings, an epoch, each of its
# examples without and with hidden layers, the audit of an example, and the products
# that tell how fast a machine is.
_START_SECONDS, _EPOCH_SECONDS, _EXAMPLE_SECONDS = 3, 0.005, (1e-5, 6e-5)
_AUDIT_SECONDS, _PROBE_SECONDS = 0.001, 0.04
# A new estimate is told if it is so many times longer or shorter.
_MUCH = 1.5


@dataclasses.dataclass
class Clean:
    """One data set on its way from labels as given to labels that can be trusted.

    All is written to the folder `workdir`, and lines are printed by `say`.
    """

    data: CleanData
    workdir: str | os.PathLike
    settings: CleanSettings
    verbose: int = 1
    say: Callable = print

    def __post_init__(self):
        """Checks that the settings suit the data, and the folder is free."""
        check_settings(self.settings.threshold)
        stratified_folds(self.data.source.labels, self.settings.num_folds)
        self.settings = self.settings.completed(self.data)
        self.folder = pathlib.Path(self.workdir).expanduser()
        self.source = self.data.source
        self.network = self.head = None
        self.slowness, self.is_planned = 1.0, False
        self.start = time.monotonic()
        if self.data.has_class_folders:
            check_apart(self.folder, self.data.folder, "--workdir")
        _check_free(self.folder, self.source.name)

    @contextlib.contextmanager
    def begun(self):
        """Keeps the folder from other processes until the block ends."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with run_lock.held(self.folder):
            yield

    def find(self, command: str) -> str:
        """Returns what was found, and what to type next, after `command`."""
        features = self.features()
        key = self._key(features)
        state = _read_state(self.folder)
        if state.get("finished") == key and (self.folder / "review/data.js").exists():
            return state["report"]
        if not (self.is_planned or self.settings.trains_network):
            self._tell_plan(0)
        write_json(self.folder / _STATE, {"name": self.source.name})
        probabilities = self.probabilities(features, self.source)
        frame = audit_predictions(
            self.source.labels,
            probabilities,
            features,
            ids=self.source.ids,
            class_names=self.source.class_names,
            threshold=self.settings.threshold,
            num_neighbors=self.settings.num_neighbors,
            review=self.folder / "review",
            shown=self.source,
            out_of_sample=True,
            verbose=self.verbose,
        )
        frame.attrs["name"] = self.source.name
        out = self.folder / "audit"
        out.mkdir(exist_ok=True)
        write_list(frame, self.source.is_noisy, out)
        is_noisy = self.source.is_noisy
        text = "\n".join(
            [
                report(frame, is_noisy, self.folder, self.folder / "review"),
                "Decide there, export corrections.csv, and type:",
                f"    {command} --corrections=corrections.csv",
            ]
        )
        state = {"name": self.source.name, "finished": key, "report": text}
        write_json(self.folder / _STATE, state)
        return f"{text}\nIt took {duration(time.monotonic() - self.start)}."

    def features(self) -> np.ndarray | None:
        """Returns all features, computed now or before; none for a trained network."""
        if self.settings.backbone == GIVEN:
            return features_of_source(self.source, None, None, self.verbose)
        is_image = self.source.kind == "images"
        size = self.settings.image_size if is_image else None
        at = f" at {size} pixels" if is_image else ""
        folder = self.folder / "features"
        self.network = network_of(self.source, self.settings, folder)
        if self.settings.trains_network:
            self.say(
                f"{self.settings.num_folds} trainings of {self.settings.backbone}{at}, "
                f"{self.training.epochs} epochs each."
            )
        if self.settings.backbone == SCRATCH:
            return None
        self.say(
            f"Features of {self.source.num_examples:,} {self.data.words} by "
            f"{self.settings.backbone}{at}; what is there already is used."
        )
        return extract(
            self.network,
            self.source,
            folder,
            self.settings.batch_size,
            self.settings.dtype,
            image_size=size,
            verbose=self.verbose,
            on_estimate=lambda _, seconds: self._tell_plan(seconds),
        )

    @property
    def heads(self) -> list[HeadSettings]:
        """How a classifier on the features may be trained."""
        seed = self.settings.seed
        if self.source.kind == "columns":  # Numbers that are no features of a network.
            return [
                HeadSettings(num_layers=layers, hidden_units=256, seed=seed)
                for layers in (0, 2)
            ]
        is_text = self.source.kind == "text"
        return [HeadSettings(scale="all" if is_text else "each", seed=seed)]

    @property
    def training(self) -> NetworkTraining:
        """How the whole network is trained, if it is."""
        is_new = self.settings.backbone == SCRATCH
        return NetworkTraining(
            self.network,
            self.settings.image_size,
            self.settings.network_epochs or (30 if is_new else 10),
            1e-3 if is_new else 1e-4,
            self.settings.batch_size,
            self.settings.seed,
            self.verbose,
        )

    def probabilities(self, features, source) -> np.ndarray:
        """Returns out-of-sample probabilities; folds that are finished are kept."""
        # The head that agrees best with labels it has not seen is `head` from then on.
        folder = self.folder / "folds" / self._key(features, source)
        folder.mkdir(parents=True, exist_ok=True)
        if self.settings.trains_network:
            folds = self.settings.num_folds
            return self.training.probabilities(
                source,
                folds,
                folder,
                lambda seconds: self.say(f"\nAbout {duration(seconds)} for all folds."),
            )
        best = -1.0
        for number, head in enumerate(self.heads):
            own = folder / f"head-{number}"
            own.mkdir(exist_ok=True)
            probabilities = out_of_sample_probabilities(
                features,
                source.labels,
                source.num_classes,
                self.settings.num_folds,
                num_draws=self.settings.num_draws,
                settings=head,
                folder=own,
                verbose=self.verbose,
                on_estimate=functools.partial(self._tell_again, head),
            )
            agreement = np.mean(probabilities.argmax(axis=1) == source.labels)
            if agreement > best:
                best, self.head, found = agreement, head, probabilities
        return found

    def _tell_plan(self, seconds):
        """Says how long it all takes, and what it is."""
        num_examples, folds = self.source.num_examples, self.settings.num_folds
        self.slowness, self.is_planned = slowness(), True
        seconds += sum(map(self._seconds, self.heads))
        seconds += self.slowness * num_examples * _AUDIT_SECONDS
        line = "" if self.settings.backbone == GIVEN else "\n"
        self.say(
            f"{line}About {duration(seconds)}: {num_examples:,} {self.data.words}, a "
            f"classifier in {folds} folds, the list, the page."
        )

    def _seconds(self, head):
        """Returns how long the trainings of a head will take."""
        num_examples, folds = self.source.num_examples, self.settings.num_folds
        num_rows = num_examples * (folds - 1) // folds
        head = head.completed(num_rows, 1)
        num_epochs = head.epochs * folds
        num_epochs *= draws_of(head, num_examples, self.settings.num_draws)
        each = _EPOCH_SECONDS + num_rows * _EXAMPLE_SECONDS[head.num_layers > 0]
        return self.slowness * (_START_SECONDS + num_epochs * each)

    def _tell_again(self, head, seconds):
        """Says how long the trainings of a head still take, if that is a surprise."""
        if not 1 / _MUCH < seconds / self._seconds(head) < _MUCH:
            self.say(f"\nAbout {duration(seconds)} more for the classifier.")

    def _key(self, features, source=None):
        """Returns a hash of all that the folds depend on, or the list without one."""
        if features is None:
            content = content_hash(source or self.source)
        elif getattr(features, "filename", None):  # Its name is a hash.
            content = pathlib.Path(features.filename).stem
        else:
            content = hashlib.sha256(np.ascontiguousarray(features)).hexdigest()
        settings = dataclasses.asdict(self.settings)
        ids = self.source.ids
        if source is not None:  # Folds do not know what examples are called.
            ids = np.arange(source.num_examples)
            for name in ("threshold", "num_neighbors"):
                del settings[name]
        hashed = dataset_hash((source or self.source).labels, ids)
        names = list(self.source.class_names)
        what = [content, settings, names, hashed, keras_ncr.__version__]
        return hashlib.sha256(json.dumps(what).encode()).hexdigest()[:16]


def slowness() -> float:
    """Returns how many times slower this machine is now than two idle cores."""
    rows = tf.ones([512, 1280])
    start = None
    for _ in range(6):  # The first one starts threads.
        rows += 1e-9 * tf.matmul(tf.matmul(rows, rows, transpose_b=True), rows)
        start = start or time.monotonic()
    rows.numpy()
    return (time.monotonic() - start) / _PROBE_SECONDS


def _read_state(folder):
    """Returns what is known of the list in a folder, or an empty dict."""
    path = folder / _STATE
    try:
        return json.loads(path.read_text()) if path.exists() else {}
    except ValueError:
        return {}


def _check_free(folder, name):
    """Raises unless a folder is new, empty, or that of the same data."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise ValueError(
            f"`workdir` must be a folder. Received: {str(folder)!r}, which is a file."
        )
    names = {entry.name for entry in folder.iterdir()}
    is_ours = _STATE in names or names <= {"features", "folds", run_lock.NAME}
    if not is_ours:
        raise ValueError(
            "`workdir` must be new, empty, or hold what this command left there. "
            f"Received: {str(folder)!r}, which holds {min(names)!r}. Pass "
            "--workdir=FOLDER with another one."
        )
    there = _read_state(folder).get("name", name)
    if there != name:
        raise ValueError(
            f"`workdir` {str(folder)!r} holds the list of {there!r}. Received: "
            f"{name!r}. Pass --workdir=FOLDER with another one."
        )
