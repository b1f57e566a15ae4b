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
from keras_ncr import assembly, plots, workdir
from keras_ncr.callbacks import MemorizationMonitor
from keras_ncr.noise import NoisyLabels

# What results.json has of each trial, and the mean and standard deviation of.
# Top-5 accuracy is there with `config.top_5` only. The share memorized is None where
# nothing is known of which labels are wrong.
MEASURES = {
    "last_test_accuracy": "test accuracy, last epoch",
    "best_test_accuracy": "test accuracy, best epoch",
    "last_test_top_5_accuracy": "test top-5 accuracy, last epoch",
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
    sources = assembly.load_sources(config.data, verbose=verbose != 0)
    labels = assembly.noisy_labels(config, sources.train)
    sources, labels = assembly.as_trained_on(config, sources, labels)
    # Whatever these refuse, they refuse before anything is written.
    assembly.compiled_model(config, sources.train)
    assembly.training_batches(config, sources.train, labels.noisy_labels, config.seed)
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
    if measure["mean"] is None:
        return "unknown"
    if measure["sd"] is None:
        return f"{100 * measure['mean']:.1f} %"
    return f"{100 * measure['mean']:.1f} +- {100 * measure['sd']:.1f} %"


class _Trial:
    """One training run of a config, with a seed of its own."""

    def __init__(self, config, trial, sources, labels, folder):
        self.config = config
        self.trial = trial
        self.seed = config.seed + trial
        self.sources = sources
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
        model = assembly.compiled_model(self.config, self.sources.train)
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
            "final_tests": self.final_tests(model),
            # Of the part that came after the last interruption.
            "seconds": round(time.time() - start, 1),
            "resumed_at_epoch": first_epoch,
        }
        workdir.write_json(path, result)
        checkpoint.clear()
        return result

    def fit(self, model, checkpoint, first_epoch, callbacks, verbose):
        """Trains the model from an epoch on, and logs every epoch."""
        config, (train_source, test_source, _) = self.config, self.sources
        batches = assembly.training_batches(
            config,
            train_source,
            self.labels.noisy_labels,
            self.seed,
            first_epoch=first_epoch,
        )
        # Who knows no wrong labels cannot say which are memorized.
        monitors = (
            []
            if self.labels.is_noisy is None
            else [MemorizationMonitor(self.annotated_batches())]
        )
        history = self.folder / "history.csv"
        with workdir.history_logger(history, first_epoch) as logger:
            model.fit(
                batches,
                validation_data=assembly.evaluation_batches(config, test_source),
                initial_epoch=first_epoch,
                epochs=config.epochs,
                steps_per_epoch=assembly.steps_per_epoch(config, train_source),
                shuffle=False,  # The pipeline does, and Keras warns that it does not.
                verbose=verbose,
                callbacks=[
                    keras.callbacks.TerminateOnNaN(raise_error=True),
                    # Adds to the logs that those below take up.
                    *monitors,
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
        return assembly.evaluation_batches(
            self.config,
            self.sources.train,
            labels=self.labels.noisy_labels,
            carry=("clean_label", "index"),
        )

    def confidence(self, model):
        """Returns the probability of each training example's annotated label."""
        confidence = np.empty(self.sources.train.num_examples, np.float32)
        for images, targets in self.annotated_batches():
            labels = targets["label"]
            # Under a strategy every replica predicts the whole batch.
            logits = model.predict_on_batch(images)[: len(labels)]
            probabilities = tf.nn.softmax(logits)
            confidence[targets["index"]] = tf.gather(
                probabilities, labels, batch_dims=1
            )
        return confidence

    def measures(self):
        """Returns accuracy in the last and in the best epoch, and what is memorized."""
        rows = workdir.read_history(self.folder / "history.csv")
        accuracies = [row["val_accuracy"] for row in rows]
        measures = {
            "last_test_accuracy": accuracies[-1],
            "best_test_accuracy": max(accuracies),
            "best_epoch": 1 + accuracies.index(max(accuracies)),
            "memorization_rate": rows[-1].get("memorization_rate"),
        }
        if self.config.top_5:
            measures["last_test_top_5_accuracy"] = rows[-1]["val_top_5_accuracy"]
        return measures

    def final_tests(self, model):
        """Returns the accuracies on the further test splits, by split."""
        return {
            split: {
                name: value
                for name, value in model.evaluate(
                    assembly.evaluation_batches(self.config, source),
                    verbose=0,
                    return_dict=True,
                ).items()
                if name.endswith("accuracy")
            }
            for split, source in self.sources.final.items()
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
            # Of noise that the data set brought along, none was asked for.
            "nominal_rate": None if config.noise.kind == "none" else config.noise.rate,
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
        **{
            measure: _mean_and_deviation([trial[measure] for trial in trials])
            for measure in MEASURES
            if measure in trials[0]
        },
        "final_tests": {
            split: {
                name: _mean_and_deviation(
                    [trial["final_tests"][split][name] for trial in trials]
                )
                for name in accuracies
            }
            for split, accuracies in trials[0]["final_tests"].items()
        },
    }


def _mean_and_deviation(values):
    """Returns both as a dict, of None where a value is not known."""
    if None in values:
        return {"mean": None, "sd": None}
    # The deviation is that of a sample: none from one trial.
    return {
        "mean": statistics.mean(values),
        "sd": statistics.stdev(values) if len(values) > 1 else None,
    }


def _draw(config, labels, folder):
    """Draws what the run learned and what it learned by heart."""
    accuracies, confidences = workdir.read_trials(folder, config.trials)
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
    with workdir.replacing(folder / "figures" / "memorization.png") as temporary:
        figure.savefig(temporary, dpi=120)
