"""Runs: from a config to trained classifiers and their results in a folder."""

import os
import pathlib
import platform
import sys
from collections.abc import Sequence

import keras
import tensorflow as tf
from ml_collections import ConfigDict

import keras_ncr
from keras_ncr import datasets, plots
from keras_ncr.distribution import workers
from keras_ncr.distribution.multi_worker import lost_workers_named
from keras_ncr.experiments import workdir
from keras_ncr.experiments.batches import training_batches
from keras_ncr.experiments.config_checks import check_config
from keras_ncr.experiments.data import load_sources
from keras_ncr.experiments.effects import notes
from keras_ncr.experiments.inputs import (
    keep_corrections,
    keep_data,
    keep_labels,
    keep_left_out,
    keep_skipped,
)
from keras_ncr.experiments.labels import as_trained_on, corrected, verify, with_noise
from keras_ncr.experiments.measures import mean_and_deviation
from keras_ncr.experiments.model import compiled_model
from keras_ncr.experiments.own_pictures import check_outside
from keras_ncr.experiments.strategy import (
    check_parts,
    check_replicas,
    check_same_config,
    check_same_labels,
    strategy_of,
)
from keras_ncr.experiments.trials import Trial
from keras_ncr.files import replacing, write_json

# Measures of each trial; results.json has their means and standard deviations too.
# Top-5 accuracy needs `config.top_5`, the share memorized clean labels (else None), and
# the last two label propagation.
MEASURES = {
    "last_test_accuracy": "test accuracy, last epoch",
    "best_test_accuracy": "test accuracy, best epoch",
    "last_test_top_5_accuracy": "test top-5 accuracy, last epoch",
    "memorization_rate": "wrong labels memorized",
    "propagated_test_accuracy": "test accuracy, labels propagated",
    "propagated_label_accuracy": "training labels right, propagated",
}


def train(
    config: ConfigDict,
    folder: str | os.PathLike,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    verbose: str | int = "auto",
) -> dict | None:
    """Trains the classifiers that a config describes, and returns their results.

    Trials that are finished are not run again, unless a file of theirs is gone. One
    that was interrupted goes on from its last checkpoint, `config.checkpoint_seconds`
    before at most, to the same result as without the interruption: on a CPU bit for
    bit, on other devices if `tf.config.experimental.enable_op_determinism()` was
    called. The state of the caller's callbacks is not saved, and they see steps again
    that are done. At SIGINT (Ctrl-C) and SIGTERM the running step is finished and saved
    first; several workers, which save at the ends of epochs only, finish the epoch.

    The folder then has `config.json`, `noise.npz` (clean and noisy labels with a hash),
    `data.json` (the names of the classes and a hash of labels and ids, which an audit
    compares), `results.json`, `history.csv` (a row for each epoch of each trial),
    `figures`, a copy of the corrections, if there are any, `skipped.csv`, if the config
    says to skip what cannot be read, and `left_out.csv`, if there are files beside the
    images that are none by their names. Each trial has, in `trial-0` and so on, its own
    `history.csv`, `result.json`, `model.keras`, `confidence.npy` (the probability of
    each training example's label) and the logs of TensorBoard.

    A trial whose loss becomes infinite or NaN ends there. It stays in the results, with
    the reason under `"failed"`. The others go on, and the statistics are of these;
    `"num_failed"` counts the failed ones. To try again, remove its folder.

    Args:
        config: `ml_collections.ConfigDict` with the keys of
            `keras_ncr.experiments.config.default_config`.
        folder: String or path: the workdir, new or that of a run of this config.
        callbacks: Keras callbacks for every trial, added to the run's own.
        verbose: As in `keras.Model.fit`; 0 also silences the line per trial. Defaults
            to `"auto"`: progress bars in a terminal, else a line per epoch.

    Returns:
        Dict, the content of `results.json`. Where several machines train one model
        (`config.strategy = "multi_worker"`), they call this alike with one folder that
        all can read; the first writes to it, and the others get `None`.

    Raises:
        ValueError: If the config names something unknown or is out of its range, or the
            folder belongs to another config, is in use or is within that of the
            pictures, or several workers have different configs or labels. Nothing is
            written then. Also if images or files become unreadable in the middle, or
            a file of a finished trial is damaged: it names them.
        NotWritten: If a file cannot be written. What was there stays.
        Interrupted: At a signal, a `KeyboardInterrupt`.
        WorkerLost: If another machine of the run is gone. The
            same call on all of them goes on.

    Example:
    >>> import tempfile
    >>> from keras_ncr.experiments.config import default_config
    >>> from keras_ncr.experiments.run import train
    >>> config = default_config()
    >>> config.epochs = 1
    >>> results = train(config, tempfile.mkdtemp(), verbose=0)
    >>> len(results["trials"]), results["noise"]["nominal_rate"]
    (1, 0.4)
    """
    # Before anything else: several machines can be set up in a fresh process only.
    strategy = strategy_of(config)
    with strategy.scope(), lost_workers_named():
        check_same_config(config)
        check_config(config)
        check_replicas(config, strategy)
        return _run(config, folder, callbacks, verbose)


def _run(config, folder, callbacks, verbose):
    """Returns the results of all trials, or `None` in a process that writes nothing."""
    if verbose == "auto":
        verbose = 1 if sys.stdout.isatty() else 2
    verbose = verbose if workers.is_chief() else 0
    check_outside(config.data, folder, "workdir")
    sources = load_sources(config.data, verbose=verbose != 0)
    # If reading fails in the middle, the error names the image or file.
    parts = [*sources.splits.values(), sources.unlabeled]
    with datasets.faults_named(*[part for part in parts if part is not None]):
        return _run_on(sources, config, folder, callbacks, verbose)


def _run_on(sources, config, folder, callbacks, verbose):
    """Returns the results of all trials on the data that were loaded, as `_run`."""
    is_chief, skipped, left_out = workers.is_chief(), sources.skipped, sources.left_out
    sources = with_noise(config, sources)
    given = sources.audited
    sources, corrections = corrected(config, sources)
    sources = as_trained_on(config, sources)
    check_same_labels(sources)
    # These refuse what they refuse before anything is written.
    trained_on = sources.trained_on
    check_parts(config, trained_on)
    verify(config, trained_on, compiled_model(config, trained_on))
    training_batches(config, trained_on, config.seed)
    if not is_chief:
        # All workers compute, and the first writes.
        for trial in range(config.trials):
            run = Trial(config, trial, sources, pathlib.Path(folder).expanduser())
            run.result(callbacks, verbose)
        return None
    if verbose:
        print(
            "".join(f"Note: {note}\n" for note in notes(config, sources.train)), end=""
        )
    with workdir.occupied(folder, config) as folder:
        labels = sources.train.record
        keep_labels(labels, folder / "noise.npz", "Pass another `workdir`.")
        keep_data(given, folder)
        keep_left_out(left_out, folder / "left_out.csv")
        keep_corrections(config.data.corrections, folder / "corrections.csv")
        counts = {}
        if config.data.on_error == "skip":
            keep_skipped(skipped, folder / "skipped.csv")
            counts["skipped"] = {split: len(found) for split, found in skipped.items()}
        results = {**_description(config, labels, corrections), **counts, "trials": []}
        for trial in range(config.trials):
            if verbose:
                print(f"Trial {trial + 1} of {config.trials}")
            run = Trial(config, trial, sources, folder)
            results["trials"].append(run.result(callbacks, verbose))
            finished = [trial for trial in results["trials"] if "failed" not in trial]
            results["num_failed"] = len(results["trials"]) - len(finished)
            results.update(_statistics_of(finished))
            write_json(folder / "results.json", results)
            done = [trial["trial"] for trial in finished]
            workdir.join_histories(folder, done, config.epochs)
        _draw(config, labels, folder, done)
        return results


def _description(config, labels, corrections):
    """Returns the part of results.json that is about the run as a whole."""
    return {
        "method": config.method,
        "data": config.data.name,
        "noise": {
            "kind": config.noise.kind,
            # Noise of the data set itself has no nominal rate.
            "nominal_rate": None if config.noise.kind == "none" else config.noise.rate,
            "realized_rate": labels.realized_rate,
            "hash": labels.hash,
        },
        # Numbers of labels that a review kept, relabeled and dropped.
        **({} if corrections is None else {"corrections": corrections}),
        "versions": {
            "keras_ncr": keras_ncr.__version__,
            "python": platform.python_version(),
            "tensorflow": tf.__version__,
            "keras": keras.__version__,
        },
        "hardware": {
            "machine": platform.machine(),
            "cpus": os.cpu_count(),
            "devices": [
                device.device_type for device in tf.config.list_physical_devices()
            ],
        },
    }


def _statistics_of(trials):
    """Returns the mean and standard deviation of each measure over the trials."""
    if not trials:
        return {"final_tests": {}}
    return {
        **{
            measure: mean_and_deviation([trial[measure] for trial in trials])
            for measure in MEASURES
            if measure in trials[0]
        },
        "final_tests": {
            split: {
                name: mean_and_deviation(
                    [trial["final_tests"][split][name] for trial in trials]
                )
                for name in accuracies
            }
            for split, accuracies in trials[0]["final_tests"].items()
        },
    }


def _draw(config, labels, folder, trials):
    """Draws test accuracies and memorized labels of the trials, if any is finished."""
    if not trials:
        return
    accuracies, confidences = workdir.read_trials(folder, trials, config.epochs)
    share = (
        "unknown share"
        if labels.is_noisy is None
        else (f"{100 * labels.realized_rate:.0f} %")
    )
    figure = plots.memorization_figure(
        {config.method: accuracies},
        {config.method: confidences},
        labels.is_noisy,
        title=f"{config.data.name}, {share} of the training labels wrong",
    )
    (folder / "figures").mkdir(exist_ok=True)
    with replacing(folder / "figures" / "memorization.png") as temporary:
        figure.savefig(temporary, dpi=120)
