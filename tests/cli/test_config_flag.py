"""Tests of where `--config` finds a config."""

import pathlib

import pytest

from keras_ncr.cli import config_flag
from keras_ncr.cli.config_flag import config_path

CONFIGS = pathlib.Path(__file__).parents[2] / "configs"


def touch(path):
    """Writes an empty file, and returns its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


@pytest.mark.parametrize("name", ["digits", "digits.py", "configs/digits.py"])
def test_config_of_the_package_is_found_from_anywhere(monkeypatch, tmp_path, name):
    monkeypatch.chdir(tmp_path)
    assert config_path(name).samefile(CONFIGS / "digits.py")


@pytest.mark.parametrize("name", ["digits", "digits.py", "configs/digits.py"])
def test_config_of_the_current_folder_comes_before(monkeypatch, tmp_path, name):
    monkeypatch.chdir(tmp_path)
    own = touch(tmp_path / "configs" / "digits.py")
    assert config_path(name).resolve() == own


def test_path_of_a_file_is_taken_as_it_is(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for name in ("mine.py", "settings/digits.py", "digits.py", "bare"):
        touch(tmp_path / name)
        assert config_path(name) == pathlib.Path(name)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("digit", "Did you mean 'digits'?"),
        ("configs/digit.py", "Did you mean 'digits'?"),
        ("elsewhere/digits.py", "Did you mean 'digits'?"),
        ("xyz", "digits, fashion_mnist, features, folder"),
        ("", "digits, fashion_mnist, features, folder"),
    ],
)
def test_unknown_config_is_refused_and_the_known_are_listed(name, hint):
    with pytest.raises(ValueError, match="no such config") as error:
        config_path(name)
    assert hint in str(error.value)
    for path in CONFIGS.glob("*.py"):
        assert path.stem in str(error.value)


def test_a_checkout_and_the_package_have_the_same_configs():
    assert config_flag._PACKAGED.samefile(CONFIGS)
