"""Shows what a config is about to train on, before a long run.

    keras-ncr inspect --config=digits

Prints what the data, the noise and the training are, and draws images as the network
gets them, class counts and the transition matrix. Trains nothing. The pictures go to
`runs/inspect-NAME`, or to the folder of `--workdir`. Settings are changed as in
`keras-ncr train`.
"""

import re

from absl import flags

from keras_ncr.cli.command_line import WORKDIR, refusal_in_one_line
from keras_ncr.cli.config_flag import note_unused, required_config
from keras_ncr.experiments.inspection import inspect_config

# So that --help shows them.
flags.declare_key_flag("config")
flags.declare_key_flag("workdir")


def main() -> None:
    """Runs the command, and prints its report."""
    config = required_config()
    folder = WORKDIR.value or default_folder(config.data.name)
    with refusal_in_one_line():
        note_unused()
        print(inspect_config(config, folder))


def default_folder(name: str) -> str:
    """Returns where the pictures of a data set go."""
    # A name of TensorFlow Datasets may have slashes and colons.
    return "runs/inspect-" + re.sub(r"[^\w.-]+", "-", name)
