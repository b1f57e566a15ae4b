"""The main job in a minute: cross-entropy against NCR on digits with wrong labels.

    keras-ncr demo

Prints a table and draws a picture. Each row is three runs of the default config.
"""

import argparse
import os
import pathlib
import platform
import sys
import tempfile
import time

import keras

from keras_ncr import plots
from keras_ncr.experiments import run as training
from keras_ncr.experiments import workdir
from keras_ncr.experiments.config import default_config
from keras_ncr.noise import NoisyLabels

METHODS = {"cross-entropy": "standard", "NCR": "ncr"}


def main(argv=None):
    """Runs the demo: trains, prints the table, draws the picture."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--figure", default="runs/demo.png", help="where to draw")
    parser.add_argument("--epochs", type=int, default=default_config().epochs)
    parser.add_argument("--trials", type=int, default=3, help="seeds per method")
    arguments = parser.parse_args(argv)
    if min(arguments.epochs, arguments.trials) < 1:
        parser.error("--epochs and --trials must be at least 1")
    start = time.time()
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        results = _run_methods(folder, arguments.epochs, arguments.trials)
        figure = _draw(folder, arguments.trials)
    _print_table(results, time.time() - start)
    path = pathlib.Path(arguments.figure)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    print(f"Picture: {path}")


def _run_methods(folder, epochs, trials):
    """Returns the results of each method, and shows how far all of them are."""
    callbacks = []
    # Keras' bar moves back over itself, which a log file cannot.
    if sys.stdout.isatty():
        num_epochs = len(METHODS) * trials * epochs
        progress = keras.utils.Progbar(num_epochs, unit_name="epoch", interval=0.5)
        callbacks.append(
            keras.callbacks.LambdaCallback(
                on_epoch_end=lambda epoch, logs: progress.add(1)
            )
        )
    results = {}
    for name, method in METHODS.items():
        if not callbacks:
            print(f"Training with {name}: {trials} x {epochs} epochs", flush=True)
        config = default_config()
        config.method, config.epochs, config.trials = method, epochs, trials
        results[name] = training.train(config, folder / method, callbacks, verbose=0)
    return results


def _draw(folder, trials):
    """Returns the picture of all runs."""
    accuracies, confidences = {}, {}
    for name, method in METHODS.items():
        accuracies[name], confidences[name] = workdir.read_trials(
            folder / method, range(trials)
        )
    labels = NoisyLabels.load(folder / method / "noise.npz")
    wrong = 100 * labels.realized_rate
    return plots.memorization_figure(
        accuracies,
        confidences,
        labels.is_noisy,
        title=f"Digits, {wrong:.0f} % of the training labels wrong",
    )


def _print_table(results, seconds):
    """Prints what each method learned, and what it learned by heart."""
    first = next(iter(results.values()))
    noise = first["noise"]
    print(
        f"\nscikit-learn's digits, {noise['kind']} noise, rate "
        f"{100 * noise['nominal_rate']:.0f} %: {100 * noise['realized_rate']:.1f} % of "
        "the training labels are wrong.\n"
        f"{len(first['trials'])} seeds each, last epoch, mean and standard deviation.\n"
    )
    print(f"{'':15}{'test accuracy':>16}{'wrong labels memorized':>26}")
    for name, result in results.items():
        accuracy = training.spread(result["last_test_accuracy"])
        memorized = training.spread(result["memorization_rate"])
        print(f"{name:15}{accuracy:>16}{memorized:>26}")
    print(
        f"\n{seconds:.0f} s on {os.cpu_count()} CPUs ({platform.machine()}), "
        f"TensorFlow {first['versions']['tensorflow']}, "
        f"Keras {first['versions']['keras']}."
    )


if __name__ == "__main__":
    main()
