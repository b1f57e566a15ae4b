"""Tests of the Makefile: which virtual environment a Python gets."""

import pathlib
import shutil
import subprocess
import sys

import pytest

REPOSITORY = pathlib.Path(__file__).parents[1]
OWN = "{}.{}".format(*sys.version_info)
OTHER = "3.12" if OWN != "3.12" else "3.13"


def commands(folder, *words):
    """Returns what `make` would run, in a folder with nothing but the Makefile."""
    for name in ("Makefile", "requirements.txt", "setup.cfg", "pyproject.toml"):
        shutil.copy(REPOSITORY / name, folder)
    return subprocess.run(
        ["make", "--dry-run", f"PYTHON={sys.executable}", *words],
        cwd=folder,
        capture_output=True,
        text=True,
    ).stdout


@pytest.mark.parametrize(
    ("version", "expected"),
    [(None, ".venv"), (f"{OWN}.1", ".venv"), (f"{OTHER}.1", f".venv-{OWN}")],
)
def test_venv_of_another_python_stays_as_it_is(tmp_path, version, expected):
    if version is not None:
        (tmp_path / ".venv").mkdir()
        (tmp_path / ".venv" / "pyvenv.cfg").write_text(f"version = {version}\n")
    run = commands(tmp_path, "demo")
    assert f"-m venv {expected}\n" in run
    assert f"\n{expected}/bin/python -m keras_ncr demo\n" in run
    assert "--clear" not in run


def test_options_reach_the_commands(tmp_path):
    run = commands(tmp_path, "test-notebooks", "TIMEOUT=5")
    assert "notebooks/execute.py --timeout 5\n" in run
    run = commands(tmp_path, "test-notebooks", "NOTEBOOKS=notebooks/a.ipynb")
    assert "notebooks/execute.py --timeout 180 notebooks/a.ipynb\n" in run
    run = commands(tmp_path, "test-slow", "TESTS=tests/cli")
    assert "-m pytest -m slow --durations=10 tests/cli\n" in run
    run = commands(tmp_path, "reproduce", "TABLE=3", "ROW=ncr+elr_plus")
    assert "--table='3' --row='ncr+elr_plus'\n" in run
    assert "--figure='2'\n" in commands(tmp_path, "reproduce", "FIGURE=2")
