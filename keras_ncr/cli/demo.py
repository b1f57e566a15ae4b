"""The main job in a minute: cross-entropy against NCR on digits with wrong labels.

    keras-ncr demo

Prints a table and draws a picture. Each row is three runs of configs/digits.py, on data
that scikit-learn brings.
"""

import os
import pathlib
import platform
import sys
import tempfile
import time

import keras
from absl import flags

from keras_ncr import plots
from keras_ncr.cli.command_line import refusal_in_one_line
from keras_ncr.cli.trials_flag import TRIALS
from keras_ncr.configs import digits
from keras_ncr.experiments import run, workdir
from keras_ncr.experiments.measures import spread
from keras_ncr.files import replacing
from keras_ncr.noise import NoisyLabels

METHODS = {"cross-entropy": "standard", "NCR": "ncr"}

FIGURE = flags.DEFINE_string("figure", "runs/demo.png", "The file of the picture.")
EPOCHS = flags.DEFINE_integer(
    "epochs", None, "Epochs of each run. Default: as the config has it.", 1
)
# So that --help shows it.
flags.declare_key_flag("trials")


def main() -> None:
    """Runs the demo: trains, prints the table, draws the picture."""
    path = pathlib.Path(FIGURE.value).expanduser()
    with refusal_in_one_line():
        path.parent.mkdir(parents=True, exist_ok=True)
    trials = 3 if TRIALS.value is None else TRIALS.value
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        results = _run_methods(
            folder, EPOCHS.value or digits.get_config().epochs, trials
        )
        figure = _draw(folder, trials)
    _print_table(results, time.monotonic() - start)
    with refusal_in_one_line(), replacing(path) as temporary:
        figure.savefig(temporary, dpi=120, format=path.suffix[1:] or "png")
    print(f"Picture: {path}")


def _run_methods(folder, epochs, trials):
    """Returns the results of each method, and shows the progress of all runs."""
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
        config = digits.get_config(method)
        config.epochs, config.trials = epochs, trials
        results[name] = run.train(config, folder / method, callbacks, verbose=0)
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
    """Prints how well each method classifies, and how many wrong labels it learned."""
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
        accuracy = spread(result["last_test_accuracy"])
        memorized = spread(result["memorization_rate"])
        print(f"{name:15}{accuracy:>16}{memorized:>26}")
    print(
        f"\n{seconds:.0f} s on {os.cpu_count()} CPUs ({platform.machine()}), "
        f"TensorFlow {first['versions']['tensorflow']}, "
        f"Keras {first['versions']['keras']}."
    )
