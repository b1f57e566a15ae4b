"""What the commands share: their flags, and errors in one line."""

import contextlib
import sys

from absl import flags, logging

WORKDIR = flags.DEFINE_string("workdir", None, "Folder for what the command leaves.")


def parse_flags(argv):
    """Returns the arguments that are no flags, as `app.run` wants it."""
    try:
        arguments = flags.FLAGS(argv)
    except (AttributeError, KeyError) as error:  # From ml_collections.
        raise SystemExit(f"Error: no such setting, {_reason(error)}") from error
    except (flags.Error, OSError, TypeError, ValueError) as error:
        raise SystemExit(f"Error: {_reason(error)}") from error
    if flags.FLAGS["verbosity"].using_default_value:
        # TensorFlow Datasets logs a dozen lines for every data set that it opens.
        flags.FLAGS.verbosity = logging.ERROR
    return arguments


@contextlib.contextmanager
def refusal_in_one_line(*others):
    """Ends the command with one line if settings, data or the folder are bad.

    `others` are further kinds of exceptions that users can do something about.
    """
    try:
        yield
    except (ValueError, OSError, *others) as error:
        logging.debug("The run was refused.", exc_info=True)
        raise SystemExit(f"Error: {_reason(error)}") from error


@contextlib.contextmanager
def interruption_in_one_line():
    """Ends the command with a line and the usual exit code if a signal ends it."""
    try:
        yield
    except KeyboardInterrupt as error:
        done = str(error) or "Interrupted."
        line = f"\n{done} The same command goes on from what was saved."
        print(line, file=sys.stderr)
        end = SystemExit(line)
        end.code = getattr(error, "exit_code", 130)  # As shells have it for Ctrl-C.
        raise end from None


def _reason(error):
    """Returns what an exception says, in one line."""
    # ml_collections wraps exceptions, and copies tracebacks into their messages.
    while error.args and isinstance(error.args[0], Exception):
        error = error.args[0]
    text = error.args[0] if isinstance(error, KeyError) else str(error)
    if "Traceback" in text:
        text = text.strip().splitlines()[-1].partition(": ")[2]
    return " ".join(text.split())
