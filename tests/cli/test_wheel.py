"""Tests of the wheel: nothing but it, and no checkout, is enough for every command."""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import zipfile

import pytest

REPOSITORY = pathlib.Path(__file__).parents[2]


def run(words, folder, **environment):
    """Runs a program in a folder, where no checkout is; returns what it prints."""
    kept = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    process = subprocess.run(
        words,
        cwd=folder,
        env={**kept, **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert process.returncode == 0, process.stderr
    return process.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built offline from a copy: what a build leaves is in no checkout."""
    folder = tmp_path_factory.mktemp("build")
    for name in ("keras_ncr", "configs", "docs"):
        shutil.copytree(
            REPOSITORY / name,
            folder / name,
            symlinks=True,
            ignore=shutil.ignore_patterns("__pycache__"),
        )
    for name in ("setup.cfg", "pyproject.toml", "LICENSE"):
        shutil.copy(REPOSITORY / name, folder)
    build = "import setuptools.build_meta as b; print(b.build_wheel('dist'))"
    printed = run([sys.executable, "-c", build], folder)
    return folder / "dist" / printed.splitlines()[-1]


def test_wheel_has_every_file_of_the_package_and_the_configs(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    package = REPOSITORY / "keras_ncr"
    expected = {
        f"keras_ncr/{path.relative_to(package)}" for path in package.rglob("*.py")
    }
    expected |= {
        f"keras_ncr/{path.relative_to(REPOSITORY)}"
        for path in (REPOSITORY / "configs").rglob("*.*")
        if path.suffix in (".py", ".json")
    }
    expected |= {
        f"keras_ncr/review/page/{path.name}"
        for path in (package / "review" / "page").iterdir()
    }
    assert {"keras_ncr/configs/folder.py", "keras_ncr/review/page/page.js"} <= expected
    assert expected | {"keras_ncr/py.typed"} <= names
    # And nothing else, so that it takes no name from another package.
    assert {name.split("/")[0].split("-")[0] for name in names} == {"keras_ncr"}


def test_metadata_of_the_wheel_are_whole(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (info,) = {n.split("/")[0] for n in archive.namelist() if ".dist-info/" in n}
        text = archive.read(f"{info}/METADATA").decode()
        scripts = archive.read(f"{info}/entry_points.txt").decode()
    head, _, description = text.partition("\n\n")
    for field in ("License-Expression: Apache-2.0", "Requires-Python: <3.14,>=3.11"):
        assert field in head
    assert "example." not in text
    assert description.startswith("# keras_ncr")
    # A package index has no files that a relative link or picture could lead to.
    assert "](docs/" not in description
    assert "keras-ncr = keras_ncr.cli.main:main" in scripts


def test_unpacked_wheel_answers_without_the_checkout(wheel, tmp_path):
    zipfile.ZipFile(wheel).extractall(tmp_path / "installed")
    # As if nothing else were installed: not even `keras` can be imported.
    words = [sys.executable, "-I", "-S", "-c"]
    program = (
        f"import sys; sys.path.insert(0, {str(tmp_path / 'installed')!r})\n"
        "sys.argv = ['keras-ncr', '--help']\n"
        "from keras_ncr.cli.main import main; main()"
    )
    printed = run([*words, program], tmp_path)
    assert "apply-corrections" in printed


@pytest.mark.slow
def test_installed_wheel_trains_by_the_name_of_a_config(wheel, tmp_path):
    installed = tmp_path / "installed"
    install = ["-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    run([sys.executable, *install, f"--target={installed}", str(wheel)], tmp_path)
    empty = tmp_path / "empty"
    empty.mkdir()
    command = (installed / "bin" / "keras-ncr", "train", "--config=digits")
    options = ("--config.epochs=1", "--config.trials=1", "--workdir=run")
    printed = run([*command, *options], empty, PYTHONPATH=str(installed))
    assert "test accuracy, last epoch" in printed
    assert "trials" in json.loads((empty / "run" / "results.json").read_text())
    where = "import keras_ncr; print(keras_ncr.__file__)"
    words = [sys.executable, "-c", where]
    assert run(words, empty, PYTHONPATH=str(installed)).startswith(str(installed))
