"""Trains what a config file describes.

    keras-ncr train --config=digits --workdir=runs/digits

A config is a name or a file: `digits` is `configs/digits.py` of the current folder, or
of the package. It takes arguments after a colon (`--config=digits:standard`), and the
command line sets any of its values (`--config.epochs=20`). The same command again goes
on with a run that was interrupted.
"""

import tensorflow as tf
from absl import flags

from keras_ncr.cli.command_line import (
    WORKDIR,
    interruption_in_one_line,
    refusal_in_one_line,
    required,
)
from keras_ncr.cli.config_flag import note_unused, required_config
from keras_ncr.distribution import WorkerLost
from keras_ncr.experiments.measures import spread
from keras_ncr.experiments.run import MEASURES, train

DETERMINISTIC = flags.DEFINE_bool(
    "deterministic",
    None,
    "Whether TensorFlow takes only operations that give the same bits each time. "
    "Default: with a GPU, where it costs time. On a CPU runs are the same anyway.",
)
# So that --help shows them.
flags.declare_key_flag("config")
flags.declare_key_flag("workdir")


def main() -> None:
    """Runs the command, and prints its results."""
    config = required_config()
    required(WORKDIR)
    has_gpu = bool(tf.config.list_physical_devices("GPU"))
    if has_gpu if DETERMINISTIC.value is None else DETERMINISTIC.value:
        tf.config.experimental.enable_op_determinism()
    with refusal_in_one_line(WorkerLost), interruption_in_one_line():
        note_unused()
        results = train(config, WORKDIR.value)
    if results is None:  # Another worker has them.
        return
    print(f"\n{results['data']}, {results['method']}, trials: {len(results['trials'])}")
    for measure, words in MEASURES.items():
        if measure in results:
            print(f"{words:33}{spread(results[measure]):>14}")
    for split, accuracies in results["final_tests"].items():
        for name, measure in accuracies.items():
            words = f"{split}, {name.replace('_', ' ')}"
            print(f"{words:33}{spread(measure):>14}")
    print(f"Models, logs and figures: {WORKDIR.value}")
    if results["num_failed"]:
        failed = [trial for trial in results["trials"] if "failed" in trial]
        reasons = (f"trial {trial['trial']}: {trial['failed']}" for trial in failed)
        raise SystemExit(f"Error: {len(failed)} failed. {' '.join(reasons)}")
