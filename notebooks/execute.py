"""Runs the notebooks from top to bottom, each in a kernel and a folder of its own.

    python notebooks/execute.py             # checks that all of them run
    python notebooks/execute.py --in-place  # and keeps what they print and draw

What goes to stderr, such as TensorFlow's log, is shown if a cell fails, never kept.
"""

import argparse
import os
import pathlib
import sys
import tempfile
import time

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import (
    CellExecutionError,
    CellTimeoutError,
    DeadKernelError,
)

FOLDER = pathlib.Path(__file__).resolve().parent
# That no line of a file tells on which machine it was run.
METADATA = {
    "kernelspec": {
        "display_name": "Python 3",
        "language": "python",
        "name": "python3",
    },
    "language_info": {"name": "python"},
}


def main(argv=None):
    """Runs the notebooks that are named, or all; fails at the end if one failed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("notebooks", nargs="*", type=pathlib.Path)
    parser.add_argument("--in-place", action="store_true", help="keep the outputs")
    parser.add_argument("--timeout", type=float, default=180, help="seconds for each")
    arguments = parser.parse_args(argv)
    set_environment()
    failed = []
    for path in arguments.notebooks or sorted(FOLDER.glob("*.ipynb")):
        start = time.monotonic()
        print(f"{path.name} ...", end=" ", flush=True)
        try:
            notebook = executed(nbformat.read(path, as_version=4), arguments.timeout)
        except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
            failed.append(path.name)
            print(f"failed\n{error}", flush=True)
            continue
        if arguments.in_place:
            nbformat.write(notebook, path)
        print(f"{time.monotonic() - start:.0f} s", flush=True)
    if failed:
        sys.exit(f"Failed: {', '.join(failed)}")


def set_environment():
    """Makes the kernel this Python's own, and its pictures those of a notebook."""
    os.environ["JUPYTER_PREFER_ENV_PATH"] = "1"
    os.environ["KERAS_BACKEND"] = "tensorflow"
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    os.environ.pop("MPLBACKEND", None)  # The Makefile has that of a script.


def executed(notebook, timeout):
    """Returns a notebook with the outputs of a run in an empty folder.

    Args:
        notebook: Notebook as `nbformat` reads it. It is changed.
        timeout: Seconds that the whole of it may take.

    Raises:
        nbclient.exceptions.CellExecutionError: If a cell raises.
        nbclient.exceptions.CellTimeoutError: If it takes longer.
    """
    deadline = time.monotonic() + timeout
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile("w+") as log:
        client = NotebookClient(
            notebook,
            kernel_name="python3",
            # A cell may take what the cells before it have left; 0 would be no limit.
            timeout_func=lambda cell: max(1, deadline - time.monotonic()),
            record_timing=False,
            coalesce_streams=True,
            resources={"metadata": {"path": folder}},
        )
        try:
            client.execute(stderr=log)
        except DeadKernelError:
            log.seek(0)
            sys.stderr.write(log.read())
            raise
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [one for one in cell.outputs if one.get("name") != "stderr"]
    notebook.metadata = nbformat.from_dict(METADATA)
    return notebook


if __name__ == "__main__":
    main()
