"""Trains what a config file describes.

    python -m keras_ncr.train --config=configs/digits.py --workdir=runs/digits

A config takes arguments after a colon (`--config=configs/digits.py:standard`), and any
of its values can be set on the command line (`--config.epochs=20`). The same command
again goes on with a run that was interrupted. `--verbosity=1` shows where an error is.
"""

from absl import app, flags, logging
from ml_collections import config_flags

from keras_ncr.training import MEASURES, spread, train

_CONFIG = config_flags.DEFINE_config_file("config", help_string="The config file.")
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder for the run's results.")
flags.mark_flags_as_required(["config", "workdir"])


def main(argv):
    """Runs the command, and prints its results."""
    if len(argv) > 1:
        raise app.UsageError(f"{argv[1:]}: a setting reads --config.KEY=VALUE.")
    try:
        results = train(_CONFIG.value, _WORKDIR.value)
    except (ValueError, OSError) as error:  # Bad settings, data or folder.
        logging.debug("The run was refused.", exc_info=True)
        raise SystemExit(f"Error: {_reason(error)}") from error
    print(f"\n{results['data']}, {results['method']}, trials: {len(results['trials'])}")
    for measure, words in MEASURES.items():
        print(f"{words:27}{spread(results[measure]):>14}")
    print(f"Models, logs and figures: {_WORKDIR.value}")


def parse_flags(argv):
    """Returns the arguments that are no flags, as `app.run` wants it."""
    try:
        return flags.FLAGS(argv)
    except (AttributeError, KeyError) as error:  # From ml_collections.
        raise SystemExit(f"Error: no such setting, {_reason(error)}") from error
    except (flags.Error, TypeError, ValueError) as error:
        raise SystemExit(f"Error: {_reason(error)}") from error


def _reason(error):
    """Returns what an exception says, in one line."""
    # ml_collections wraps exceptions, and copies tracebacks into their messages.
    while error.args and isinstance(error.args[0], Exception):
        error = error.args[0]
    text = error.args[0] if isinstance(error, KeyError) else str(error)
    if "Traceback" in text:
        text = text.strip().splitlines()[-1].partition(": ")[2]
    return " ".join(text.split())


if __name__ == "__main__":
    app.run(main, flags_parser=parse_flags)
