"""Python on the repository in a process of its own, for tests of whole commands."""

import os
import pathlib
import subprocess
import sys

REPOSITORY = pathlib.Path(__file__).parents[1]


def start_python(*arguments):
    """Starts Python and returns the process."""
    return subprocess.Popen(
        [sys.executable, *arguments],
        cwd=REPOSITORY,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2", "PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def printed_by(process):
    """Waits for a process that ends well, and returns what it printed."""
    printed, error = process.communicate(timeout=600)
    assert process.returncode == 0, error
    return printed


def run_command(name, *arguments):
    """Runs a command as its user does, and returns what it prints."""
    return printed_by(start_python("-m", "keras_ncr", name, *arguments))
