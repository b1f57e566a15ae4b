"""Runs: from a config to trained classifiers and their results in a folder."""

import json
import os
import platform
import statistics
import sys
import time

import keras
import numpy as np
import tensorflow as tf

import keras_ncr
from keras_ncr import assembly, pipelines, plots, workdir
from keras_ncr.callbacks import MemorizationMonitor
from keras_ncr.noise import NoisyLabels

# What results.json has of each trial, and the mean and standard deviation of.
MEASURES = {
    "last_test_accuracy": "test accuracy, last epoch",
    "best_test_accuracy": "test accuracy, best epoch",
    "memorization_rate": "wrong labels memorized",
}


def train(config, folder, callbacks=(), verbose="auto"):
    """Trains the classifiers that a config describes, and returns their results.

    Trials that are finished are not run again. One that was interrupted goes on after
    its last finished epoch, to the same result as without the interruption: on a CPU
    bit for bit, on other devices if `tf.config.experimental.enable_op_determinism()`
    was called.

    Left in the folder are `config.json`, `noise.npz` (clean and noisy labels with a
    hash), `results.json`, `history.csv` (a row for each epoch of each trial) and
    `figures`. Each trial has, in `trial-0` and so on, its own `history.csv`,
    `result.json`, `model.keras`, `confidence.npy` (what the model gives to each
    training example's annotated label) and the logs of TensorBoard.

    Args:
        config: `ml_collections.ConfigDict` with the keys of
            `keras_ncr.config.default_config`.
        folder: String or path: the workdir, new or that of a run of this config.
        callbacks: Keras callbacks for every trial, beside the run's own.
        verbose: As in `keras.Model.fit`; 0 also silences the line per trial. Defaults
            to `"auto"`: progress bars in a terminal, else a line per epoch.

    Returns:
        Dict, the content of `results.json`.

    Raises:
        ValueError: If the config names something unknown or is out of its range, or the
            folder belongs to another config. Nothing is written then.
        RuntimeError: If the loss became infinite or NaN.

    Example:
    >>> import tempfile
    >>> from keras_ncr.config import default_config
    >>> from keras_ncr.training import train
    >>> config = default_config()
    >>> config.epochs = 1
    >>> results = train(config, tempfile.mkdtemp(), verbose=0)
    >>> len(results["trials"]), results["noise"]["nominal_rate"]
    (1, 0.4)
    """
    assembly.check_config(config)
    sources = assembly.load_sources(config.data)
    labels = assembly.noisy_labels(config, sources[0])
    # Whatever these refuse, they refuse before anything is written.
    assembly.compiled_model(config, sources[0])
    assembly.augmentation(config.augment)
    folder = workdir.claim(folder, config)
    _keep_labels(labels, folder / "noise.npz")
    if verbose == "auto":
        verbose = 1 if sys.stdout.isatty() else 2
    results = {**_description(config, labels), "trials": []}
    for trial in range(config.trials):
        if verbose:
            print(f"Trial {trial + 1} of {config.trials}")
        run = _Trial(config, trial, sources, labels, folder)
        results["trials"].append(run.result(callbacks, verbose))
        results.update(_statistics_of(results["trials"]))
        workdir.write_json(folder / "results.json", results)
        workdir.join_histories(folder, trial + 1)
    _draw(config, labels, folder)
    return results


def spread(measure):
    """Returns mean and standard deviation in percent, as text."""
    if measure["sd"] is None:
        return f"{100 * measure['mean']:.1f} %"
    return f"{100 * measure['mean']:.1f} +- {100 * measure['sd']:.1f} %"


class _Trial:
    """One training run of a config, with a seed of its own."""

    def __init__(self, config, trial, sources, labels, folder):
        self.config = config
        self.trial = trial
        self.seed = config.seed + trial
        self.train_source, self.test_source = sources
        self.labels = labels
        self.folder = workdir.trial_folder(folder, trial)

    def result(self, callbacks, verbose):
        """Returns the measures of the trial, which is run if it is not finished."""
        path = self.folder / "result.json"
        if path.exists():
            return json.loads(path.read_text())
        start = time.time()
        self.folder.mkdir(exist_ok=True)
        keras.utils.set_random_seed(self.seed)
        model = assembly.compiled_model(self.config, self.train_source)
        checkpoint = workdir.Checkpoint(self.folder / "checkpoint")
        first_epoch = checkpoint.restore(model)
        if first_epoch < self.config.epochs:
            self.fit(model, checkpoint, first_epoch, callbacks, verbose)
        with workdir.replacing(self.folder / "model.keras") as temporary:
            model.save(temporary)
        with workdir.replacing(self.folder / "confidence.npy") as temporary:
            np.save(temporary, self.confidence(model))
        result = {
            "trial": self.trial,
            "seed": self.seed,
            **self.measures(),
            # Of the part that came after the last interruption.
            "seconds": round(time.time() - start, 1),
            "resumed_at_epoch": first_epoch,
        }
        workdir.write_json(path, result)
        checkpoint.clear()
        return result

    def fit(self, model, checkpoint, first_epoch, callbacks, verbose):
        """Trains the model from an epoch on, and logs every epoch."""
        config = self.config
        batches = pipelines.training_batches(
            self.train_source,
            config.batch_size,
            labels=self.labels.noisy_labels,
            augment=assembly.augmentation(config.augment),
            seed=self.seed,
            first_epoch=first_epoch,
            num_epochs=config.epochs,
        )
        history = self.folder / "history.csv"
        with workdir.history_logger(history, first_epoch) as logger:
            model.fit(
                batches,
                validation_data=pipelines.evaluation_batches(
                    self.test_source, config.batch_size
                ),
                initial_epoch=first_epoch,
                epochs=config.epochs,
                steps_per_epoch=pipelines.steps_per_epoch(
                    self.train_source.num_examples, config.batch_size
                ),
                shuffle=False,  # The pipeline does, and Keras warns that it does not.
                verbose=verbose,
                callbacks=[
                    keras.callbacks.TerminateOnNaN(raise_error=True),
                    # Adds to the logs that those below take up.
                    MemorizationMonitor(self.annotated_batches()),
                    *callbacks,
                    keras.callbacks.TensorBoard(
                        self.folder / "tensorboard", write_graph=False
                    ),
                    logger,
                    # Last: an epoch that it knows of has been logged.
                    checkpoint,
                ],
            )

    def annotated_batches(self):
        """Returns the training images with annotated and clean labels, for a look."""
        return pipelines.evaluation_batches(
            self.train_source,
            self.config.batch_size,
            labels=self.labels.noisy_labels,
            carry=("clean_label",),
        )

    def confidence(self, model):
        """Returns the probability of each training example's annotated label."""
        logits = model.predict(self.annotated_batches(), verbose=0)
        probabilities = tf.nn.softmax(logits).numpy()
        return probabilities[np.arange(len(logits)), self.labels.noisy_labels]

    def measures(self):
        """Returns accuracy in the last and in the best epoch, and what is memorized."""
        rows = workdir.read_history(self.folder / "history.csv")
        accuracies = [row["val_accuracy"] for row in rows]
        return {
            "last_test_accuracy": accuracies[-1],
            "best_test_accuracy": max(accuracies),
            "best_epoch": 1 + accuracies.index(max(accuracies)),
            "memorization_rate": rows[-1]["memorization_rate"],
        }


def _keep_labels(labels, path):
    """Writes the labels, or raises if the run has begun with other ones."""
    if path.exists() and NoisyLabels.load(path).hash != labels.hash:
        raise ValueError(
            f"{path} holds other labels than this config gives now: the data set or "
            "the package has changed since. Pass another `workdir`."
        )
    labels.save(path)


def _description(config, labels):
    """Returns what results.json says of the run as a whole."""
    return {
        "method": config.method,
        "data": config.data.name,
        "noise": {
            "kind": config.noise.kind,
            "nominal_rate": 0.0 if config.noise.kind == "none" else config.noise.rate,
            "realized_rate": labels.realized_rate,
            "hash": labels.hash,
        },
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
    """Returns mean and standard deviation over trials of what is measured in each."""
    return {
        measure: {
            "mean": statistics.mean(trial[measure] for trial in trials),
            # Of a sample: none from one trial.
            "sd": statistics.stdev(trial[measure] for trial in trials)
            if len(trials) > 1
            else None,
        }
        for measure in MEASURES
    }


def _draw(config, labels, folder):
    """Draws what the run learned and what it learned by heart."""
    accuracies, confidences = workdir.read_trials(folder, config.trials)
    wrong = 100 * labels.realized_rate
    figure = plots.memorization_figure(
        {config.method: accuracies},
        {config.method: confidences},
        labels.is_noisy,
        title=f"{config.data.name}, {wrong:.0f} % of the training labels wrong",
    )
    (folder / "figures").mkdir(exist_ok=True)
    with workdir.replacing(folder / "figures" / "memorization.png") as temporary:
        figure.savefig(temporary, dpi=120)
