"""Makes the workdir of a finished run in a second or two, for tests of what follows."""

import keras

from keras_ncr.experiments import workdir
from keras_ncr.experiments.batches import steps_per_epoch, training_batches
from keras_ncr.experiments.data import load_sources
from keras_ncr.experiments.labels import with_noise
from keras_ncr.experiments.model import compiled_model


def finished_run(folder, config, epochs):
    """Leaves the config and a model that was trained on its data, and nothing else.

    The commands' own training has tests of its own; compiling it takes longest.
    """
    sources = with_noise(config, load_sources(config.data))
    keras.utils.set_random_seed(0)
    model = compiled_model(config, sources.train)
    batches = training_batches(config, sources.train, seed=0, num_epochs=epochs)
    steps = steps_per_epoch(config, sources.train)
    model.fit(batches, epochs=epochs, steps_per_epoch=steps, verbose=0)
    folder = workdir.claim(folder, config)
    trial = workdir.trial_folder(folder, 0)
    trial.mkdir()
    model.save(trial / "model.keras")
    return folder
