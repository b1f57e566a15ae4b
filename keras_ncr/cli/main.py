"""The command `keras-ncr`: what its subcommands are, and how one is run."""

import contextlib
import difflib
import importlib
import os
import subprocess
import sys
from collections.abc import Iterator

import keras_ncr

# What is typed, the module in this folder, and what it does.
COMMANDS = {
    "clean": ("clean", "Finds wrong labels in a folder of pictures, or in features."),
    "inspect": ("inspect", "Shows what a config is about to train on; trains nothing."),
    "train": ("train", "Trains what a config describes."),
    "audit": ("audit", "Lists the labels of a run that are probably wrong."),
    "apply-corrections": (
        "apply_corrections",
        "Writes the data of a run with corrected labels.",
    ),
    "compare": ("compare", "Compares methods under one or several label noises."),
    "sweep": ("sweep", "Finds good settings of a method."),
    "demo": ("demo", "Compares cross-entropy with NCR on digits, in a minute."),
}
_HELP = {"--help", "-help", "-h", "-?", "--helpshort"}


def main() -> None:
    """Runs the subcommand that the command line names, or says which there are."""
    name, *words = sys.argv[1:] or [""]
    if name in _HELP:
        print(_help())
    elif name == "--version":
        print(f"keras_ncr {keras_ncr.__version__}")
    elif name in COMMANDS:
        _run(COMMANDS[name][0], words)
    else:
        print(f"Error: {_refusal(name)}\n\n{_help()}", file=sys.stderr)
        sys.exit(2)


def _help() -> str:
    """Returns what the subcommands are."""
    width = max(map(len, COMMANDS))
    return "\n".join(
        [
            "keras-ncr COMMAND [--FLAG=VALUE ...]\n",
            *(f"  {name:{width}}  {line}" for name, (_, line) in COMMANDS.items()),
            "\nkeras-ncr COMMAND --help explains a command and lists its flags.",
        ]
    )


def _refusal(name: str) -> str:
    """Returns why a first word is refused."""
    if not name:
        return "a command is missing."
    if name.startswith("-"):
        return f"the command comes before its flags. Received: {name!r}."
    nearest = difflib.get_close_matches(name, COMMANDS, n=1)
    hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
    return f"there is no command {name!r}.{hint}"


def _run(module_name: str, words: list[str]) -> None:
    """Imports TensorFlow, the package and a subcommand's module, and runs that."""
    module_name = f"keras_ncr.cli.{module_name}"
    # ml_collections reads it too.
    sys.argv = [module_name, *words]
    with _without_startup_notices():
        try:
            importlib.reload(keras_ncr)
        except ImportError as error:
            raise SystemExit(f"Error: {error}") from error
        module = importlib.import_module(module_name)
        command_line = importlib.import_module("keras_ncr.cli.command_line")
    if _HELP & {*words}:
        print(command_line.help_of(module))
    else:
        command_line.run(module)


# Leaves out what TensorFlow logs, in each of the forms that it has for that.
_FILTER = r"""
import re, sys
notice = re.compile(
    rb"[IWE]\d{4} |\d{4}-\d\d-\d\d [\d:.]+: [IWE] |WARNING: All log messages before"
)
for line in sys.stdin.buffer:
    if not notice.match(line):
        sys.stderr.buffer.write(line)
        sys.stderr.flush()
"""


@contextlib.contextmanager
def _without_startup_notices() -> Iterator[None]:
    """Leaves out TensorFlow's log of its start, unless TF_CPP_MIN_LOG_LEVEL is 0."""
    # Some of it comes before the variable is read, so another process filters stderr;
    # it also shows the last words of a TensorFlow that ends this process.
    level = os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if level == "0" or sys.stderr is None:
        yield
        return
    stderr = os.dup(2)
    with subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _FILTER],
        stdin=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C is for the command.
    ) as process:
        os.dup2(process.stdin.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
