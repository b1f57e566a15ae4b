"""Tests of trials/finished.py: what a finished trial left is there, and whole."""

import keras
import numpy as np
import pytest

from keras_ncr.experiments.trials.finished import finished_result
from keras_ncr.files import write_json

RESULT = {"last_test_accuracy": 0.5, "best_test_accuracy": 0.5, "final_tests": {}}
FILES = ("history.csv", "confidence.npy", "model.keras")


@pytest.fixture
def folder(tmp_path):
    """A trial of two epochs on five examples."""
    write_json(tmp_path / "result.json", RESULT)
    rows = "epoch,val_accuracy\r\n0,0.25\r\n1,0.5\r\n"
    (tmp_path / "history.csv").write_text(rows, newline="")
    np.save(tmp_path / "confidence.npy", np.zeros(5, "float32"))
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(20)])
    model.save(tmp_path / "model.keras")
    return tmp_path


def test_whole_trial_is_finished(folder):
    assert finished_result(folder, 2, 5) == (RESULT, [])


def test_trial_without_result_is_not_finished(folder):
    (folder / "result.json").unlink()
    assert finished_result(folder, 2, 5) == (None, [])


@pytest.mark.parametrize("name", FILES)
def test_files_that_are_gone_are_named(folder, name):
    (folder / name).unlink()
    assert finished_result(folder, 2, 5) == (RESULT, [name])


def test_failed_trial_has_no_files(tmp_path):
    result = {"failed": "The loss became nan."}
    write_json(tmp_path / "result.json", result)
    assert finished_result(tmp_path, 2, 5) == (result, [])


def check_refused(folder, path, num_examples=5):
    """Checks that a trial is refused in one line that names a file and the remedy."""
    expected = f"^{path} is damaged: .*Remove {folder}: the same command trains"
    with pytest.raises(ValueError, match=expected) as error:
        finished_result(folder, 2, num_examples)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("share", [0, 0.3, 0.7, 0.95])
@pytest.mark.parametrize("name", ["result.json", *FILES])
def test_cut_file_is_named_with_the_remedy(folder, name, share):
    path = folder / name
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    check_refused(folder, path)


@pytest.mark.parametrize("content", ["[]", "3", "{}", '{"best_test_accuracy": 1}'])
def test_result_without_measures_is_damaged(folder, content):
    (folder / "result.json").write_text(content)
    check_refused(folder, folder / "result.json")


def test_changed_byte_in_the_weights_is_noticed(folder):
    path = folder / "model.keras"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    check_refused(folder, path)


def test_confidences_of_other_examples_are_noticed(folder):
    check_refused(folder, folder / "confidence.npy", num_examples=6)
