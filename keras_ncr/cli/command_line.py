"""What the commands share: their flags, and errors in one line."""

import contextlib
import inspect
import sys
import types
from collections.abc import Iterator, Mapping

from absl import app, flags, logging

WORKDIR = flags.DEFINE_string("workdir", None, "Folder for what the command leaves.")


def run(module: types.ModuleType) -> None:
    """Parses the flags, and runs the `main` of a command's module."""
    app.run(lambda _: module.main(), flags_parser=parse_flags)


def help_of(module: types.ModuleType) -> str:
    """Returns what a command does, and its own flags."""
    _, _, lines = flags.FLAGS.module_help(module.__name__).strip().partition("\n")
    common = (
        "All commands: --verbosity=1 shows where an error is; --helpfull lists all."
    )
    return f"{inspect.getdoc(module)}\n\nflags:\n\n{lines}\n\n{common}"


def parse_flags(argv: list[str]) -> list[str]:
    """Parses the flags, and returns `argv` without them, as `app.run` wants it."""
    flags.FLAGS.set_gnu_getopt(True)  # Flags may follow other words.
    try:
        arguments = flags.FLAGS(argv)
    except (AttributeError, KeyError) as error:  # From ml_collections.
        raise SystemExit(f"Error: no such setting, {_reason(error)}") from error
    except (flags.Error, OSError, TypeError, ValueError) as error:
        raise SystemExit(f"Error: {_reason(error)}") from error
    words = arguments[1:]
    positional = getattr(sys.modules.get(argv[0]), "POSITIONAL", None)
    if positional is not None and len(words) == 1 and positional.value is None:
        flags.FLAGS[positional.name].parse(words.pop())
    if words:
        raise SystemExit(
            "Error: a flag reads --NAME=VALUE, and a setting --config.KEY=VALUE. "
            f"Received: {' '.join(words)}."
        )
    if flags.FLAGS["verbosity"].using_default_value:
        # TensorFlow Datasets logs a dozen lines for every data set that it opens.
        flags.FLAGS.verbosity = logging.ERROR
    return arguments[:1]


def required(*holders: flags.FlagHolder) -> None:
    """Ends the command with one line if one of its flags has no value."""
    # A flag that absl itself requires would be required of every command.
    for flag in holders:
        if flag.value is None:
            raise SystemExit(f"Error: flag --{flag.name} must have a value.")


@contextlib.contextmanager
def refusal_in_one_line(
    *others: type[Exception], flags_of: Mapping[str, str] | None = None
) -> Iterator[None]:
    """Ends the command with one line if settings, data or the folder are bad."""
    # `others` are further exceptions that users can do something about; `flags_of` has
    # the flags of arguments that are called otherwise in Python.
    try:
        yield
    except (ValueError, OSError, *others) as error:
        logging.debug("The run was refused.", exc_info=True)
        text = _reason(error)
        for argument, flag in (flags_of or {}).items():
            text = text.replace(f"`{argument}`", f"`{flag}`")
            text = text.replace(f" {argument}=", f" {flag}=")
        raise SystemExit(f"Error: {text}") from error


@contextlib.contextmanager
def interruption_in_one_line() -> Iterator[None]:
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


def _reason(error: BaseException) -> str:
    """Returns what an exception says, in one line."""
    # ml_collections wraps exceptions, and copies tracebacks into their messages.
    while error.args and isinstance(error.args[0], Exception):
        error = error.args[0]
    text = error.args[0] if isinstance(error, KeyError) else str(error)
    if "Traceback" in text:
        text = text.strip().splitlines()[-1].partition(": ")[2]
    return " ".join(text.split())
