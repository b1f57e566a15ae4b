"""Tests of `keras-ncr` itself: which subcommands there are, and what starts them."""

import importlib
import os
import pathlib
import re
import subprocess
import sys

import pytest

import keras_ncr
from keras_ncr.cli import main as command
from keras_ncr.cli.config_flag import config_path

REPOSITORY = pathlib.Path(__file__).parents[2]


@pytest.fixture
def keras_ncr_command(monkeypatch):
    """Runs the command with some words, as far as that needs no TensorFlow."""

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["keras-ncr", *words])
        command.main()

    return run


def run_python(*words, **environment):
    """Runs Python on the checkout, without what the tests set for TensorFlow."""
    kept = {k: v for k, v in os.environ.items() if k != "TF_CPP_MIN_LOG_LEVEL"}
    return subprocess.run(
        [sys.executable, *words],
        env={**kept, **environment},
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=120,
    )


# Without TensorFlow


@pytest.mark.parametrize("option", ["--help", "-h"])
def test_help_lists_every_command_with_what_it_does(keras_ncr_command, capsys, option):
    keras_ncr_command(option)
    printed = capsys.readouterr().out
    for name, (_, line) in command.COMMANDS.items():
        assert re.search(rf"^  {name} +{re.escape(line)}$", printed, re.MULTILINE)


def test_version_is_that_of_the_package(keras_ncr_command, capsys):
    keras_ncr_command("--version")
    assert capsys.readouterr().out == f"keras_ncr {keras_ncr.__version__}\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "a command is missing"),
        (["trian"], "no command 'trian'. Did you mean 'train'?"),
        (["apply_corrections"], "Did you mean 'apply-corrections'?"),
        (["xyz"], "no command 'xyz'.\n"),
        (["--workdir=run", "train"], "before its flags. Received: '--workdir=run'"),
    ],
)
def test_wrong_command_is_refused_and_the_right_ones_are_listed(
    keras_ncr_command, capsys, words, message
):
    with pytest.raises(SystemExit) as error:
        keras_ncr_command(*words)
    assert error.value.code == 2
    printed = capsys.readouterr()
    assert not printed.out
    assert printed.err.startswith("Error: ")
    assert message in printed.err
    assert all(f"\n  {name} " in printed.err for name in command.COMMANDS)


@pytest.mark.parametrize("words", [["--help"], [], ["trian"]])
def test_help_and_refusals_import_neither_tensorflow_nor_keras(words):
    process = run_python("-X", "importtime", "-m", "keras_ncr", *words)
    assert process.returncode == (0 if words == ["--help"] else 2)
    imported = re.findall(r"\| +([\w.]+)$", process.stderr, re.MULTILINE)
    roots = {name.split(".")[0] for name in imported}
    assert "keras_ncr" in roots
    assert not roots & {"absl", "keras", "numpy", "tensorflow"}


@pytest.mark.parametrize(
    ("argv", "original", "expected"),
    [
        (["/venv/bin/keras-ncr", "train"], ["python", "keras-ncr", "train"], True),
        (["-m", "train"], ["python", "-m", "keras_ncr", "train"], True),
        (["-m"], ["python", "-W", "error", "-m", "keras_ncr"], True),
        (["-m", "keras_ncr"], ["python", "-m", "pytest", "keras_ncr"], False),
        (["-c"], ["python", "-c", "import keras_ncr"], False),
        (["program.py", "-m", "keras_ncr"], ["python", "program.py"], False),
        ([""], ["python"], False),
        ([], ["python"], False),
    ],
)
def test_only_the_command_itself_leaves_out_keras(
    monkeypatch, argv, original, expected
):
    monkeypatch.setattr(sys, "argv", argv)
    monkeypatch.setattr(sys, "orig_argv", original)
    assert keras_ncr._starts_the_command() == expected


# With TensorFlow


@pytest.mark.slow
def test_help_of_a_command_has_its_flags_alone_and_no_log_of_tensorflow():
    process = run_python("-m", "keras_ncr", "train", "--help")
    assert process.returncode == 0
    assert process.stdout.startswith("Trains what a config file describes.\n")
    flags = re.findall(r"^  --(?:\[no\])?(\w+)", process.stdout, re.MULTILINE)
    assert flags == ["config", "deterministic", "workdir"]
    assert "--verbosity=1" in process.stdout
    assert process.stderr == ""


def test_other_backend_is_refused_in_one_line():
    process = run_python("-m", "keras_ncr", "train", KERAS_BACKEND="jax")
    assert process.returncode == 1
    (line,) = process.stderr.splitlines()
    assert line.startswith("Error: keras_ncr needs Keras on the TensorFlow backend.")


NOTICES = (
    b"WARNING: All log messages before absl::InitializeLog() is called are written\n"
    b"I0000 00:00:1796024674.304530   15462 port.cc:153] oneDNN custom operations\n"
    b"2026-01-01 12:00:00.157831: I external/local_xla/xla/tsl/cuda/cudart_stub.cc]\n"
)


@pytest.mark.parametrize(("level", "shown"), [(None, b""), ("2", b""), ("0", NOTICES)])
def test_notices_of_the_start_are_left_out_unless_asked_for(
    monkeypatch, capfdbinary, level, shown
):
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", level or "")
    if level is None:
        monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL")
    with command._without_startup_notices():
        os.write(2, NOTICES + b"The library needs AVX\n")
        assert os.environ["TF_CPP_MIN_LOG_LEVEL"] == level or "3"
    os.write(2, b"I0000 after the start\n")
    expected = shown + b"The library needs AVX\nI0000 after the start\n"
    assert capfdbinary.readouterr().err == expected


@pytest.mark.parametrize("name", command.COMMANDS)
def test_command_is_a_module_that_says_how_it_is_called(name):
    module = importlib.import_module(f"keras_ncr.cli.{command.COMMANDS[name][0]}")
    assert callable(module.main)
    assert f"\n    keras-ncr {name}" in module.__doc__


# What is written about it


def test_commands_in_the_documentation_exist():
    texts = {
        path: path.read_text(encoding="utf-8")
        for pattern in ("README.md", "docs/*.md", "configs/*.py", "notebooks/*.ipynb")
        for path in REPOSITORY.glob(pattern)
    }
    called = [
        (path.name, name)
        for path, text in texts.items()
        for name in re.findall(r"keras-ncr ([a-z][\w-]*)", text)
    ]
    assert len(called) > 20
    assert not [(path, name) for path, name in called if name not in command.COMMANDS]
    for text in texts.values():
        for name in re.findall(r"--config=([\w/.]+)", text):
            assert config_path(name).is_file()
