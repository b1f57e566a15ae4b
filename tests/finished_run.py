"""Finished runs: makes one in a second or two, and reads what one came to."""

import json

import keras
import numpy as np

from keras_ncr.experiments import workdir
from keras_ncr.experiments.batches import steps_per_epoch, training_batches
from keras_ncr.experiments.data import load_sources
from keras_ncr.experiments.inputs import keep_data
from keras_ncr.experiments.labels import with_noise
from keras_ncr.experiments.model import compiled_model


def finished_run(folder, config, epochs):
    """Leaves the config and a model that was trained on its data, and nothing else.

    The commands' own training has tests of its own; compiling it takes longest.
    """
    sources = with_noise(config, load_sources(config.data))
    keras.utils.set_random_seed(0)
    model = compiled_model(config, sources.train)
    # Else the first step would do so, and be traced once more for it.
    model.optimizer.build(model.trainable_variables)
    batches = training_batches(config, sources.train, seed=0, num_epochs=epochs)
    steps = steps_per_epoch(config, sources.train)
    model.fit(batches, epochs=epochs, steps_per_epoch=steps, verbose=0)
    folder = workdir.claim(folder, config)
    keep_data(sources.audited, folder)
    trial = workdir.trial_folder(folder, 0)
    trial.mkdir()
    model.save(trial / "model.keras")
    return folder


def outcome(folder, trial=0):
    """Returns what must be the same in runs of the same config, bit for bit."""
    folder = workdir.trial_folder(folder, trial)
    weights = keras.models.load_model(folder / "model.keras").get_weights()
    result = json.loads((folder / "result.json").read_text())
    for name in ("seconds", "cpu_seconds", "resumed_at_epoch", "resumed_at_step"):
        del result[name]
    means = folder / "mean_predictions.npz"
    return {
        "means": np.load(means)["means"].tobytes() if means.exists() else None,
        "weights": [weight.tobytes() for weight in weights],
        "history": (folder / "history.csv").read_text(),
        "confidence": np.load(folder / "confidence.npy").tobytes(),
        "result": result,
    }
