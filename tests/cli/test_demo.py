"""Tests of demo.py, shortened: what it prints and draws."""

import re

import pytest

from keras_ncr.cli import demo
from keras_ncr.configs import digits

get_config = digits.get_config


def small_config(method):
    """Returns the config of digits with a small network, and two steps an epoch."""
    config = get_config(method)
    config.model.backbone, config.batch_size = "mlp", 720
    return config


@pytest.mark.usefixtures("eager_functions")
def test_demo_prints_the_table_and_draws_the_picture(
    run_command, tmp_path, monkeypatch
):
    monkeypatch.setattr(digits, "get_config", small_config)
    figure = tmp_path / "new" / "demo.png"
    printed = run_command(demo, "--epochs=2", "--trials=1", f"--figure={figure}")
    row = r" +\d+\.\d % +\d+\.\d %$"
    assert re.search("^cross-entropy" + row, printed, re.MULTILINE)
    assert re.search("^NCR" + row, printed, re.MULTILINE)
    assert re.search(r"rate 40 %: 3\d\.\d % of the training labels", printed)
    assert f"Picture: {figure}" in printed
    # Not a terminal: no bar that would fill a log file with backspaces.
    assert "\b" not in printed
    assert "Training with NCR: 1 x 2 epochs" in printed
    assert figure.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("option", ["--epochs", "--trials"])
def test_demo_refuses_to_do_nothing(option, run_command):
    with pytest.raises(SystemExit, match=f"^Error: .*{option}=0: 0 is not a positive"):
        run_command(demo, f"{option}=0")
