"""Tests of workdir.py, and trials/logs.py: whose folder, what the logs hold."""

import csv
import json
import resource

import keras
import numpy as np
import pytest
from settings import config_of

from keras_ncr.experiments import workdir
from keras_ncr.experiments.config import default_config
from keras_ncr.experiments.trials.logs import TensorBoard, history_logger
from keras_ncr.files import NotWritten, write_json


def contents(folder):
    """Returns every file below a folder with its bytes."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


# Whose folder it is


@pytest.mark.parametrize("is_there", [False, True])
def test_new_or_empty_folder_is_claimed(tmp_path, is_there):
    folder = tmp_path / "runs" / "first"
    if is_there:
        folder.mkdir(parents=True)
    config = default_config()
    assert workdir.claim(str(folder), config) == folder
    assert list(contents(folder)) == ["config.json"]
    assert json.loads((folder / "config.json").read_text()) == config.to_dict()


def test_run_of_the_same_config_is_taken_up(tmp_path):
    workdir.claim(tmp_path, default_config())
    (tmp_path / "trial-0").mkdir()
    assert workdir.claim(tmp_path, default_config()) == tmp_path
    assert (tmp_path / "trial-0").exists()


def test_trials_devices_and_data_folder_may_change(tmp_path):
    workdir.claim(tmp_path, default_config())
    config = config_of(trials=5, data__dir="elsewhere")
    config.strategy, config.checkpoint_seconds = "mirrored", 0.0
    workdir.claim(tmp_path, config)
    assert json.loads((tmp_path / "config.json").read_text())["trials"] == 5


def test_finished_trials_are_not_forgotten_for_fewer(tmp_path):
    config = config_of(trials=3)
    workdir.claim(tmp_path, config)
    config.trials = 2
    with pytest.raises(ValueError, match=r"another config: fewer trials \(3 there\)"):
        workdir.claim(tmp_path, config)


def test_run_of_another_config_is_refused_and_left_alone(tmp_path):
    workdir.claim(tmp_path, default_config())
    before = contents(tmp_path)
    config = config_of(ncr__num_neighbors=5, epochs=7, trials=2)
    with pytest.raises(ValueError) as error:
        workdir.claim(tmp_path, config)
    default = default_config().epochs
    assert f"another config: epochs ({default} there, 7 here)" in str(error.value)
    assert "ncr.num_neighbors (10 there, 5 here)" in str(error.value)
    assert "trials" not in str(error.value)
    assert contents(tmp_path) == before


def test_run_with_keys_of_another_version_is_refused(tmp_path):
    workdir.claim(tmp_path, default_config())
    settings = json.loads((tmp_path / "config.json").read_text())
    settings["old_key"] = settings.pop("method")
    write_json(tmp_path / "config.json", settings)
    with pytest.raises(ValueError) as error:
        workdir.claim(tmp_path, default_config())
    assert "method (None there, 'ncr' here)" in str(error.value)
    assert "old_key ('ncr' there, None here)" in str(error.value)


def test_folder_with_other_files_is_refused_and_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("...")
    with pytest.raises(ValueError, match="not empty and has no config.json"):
        workdir.claim(tmp_path, default_config())
    assert list(contents(tmp_path)) == ["thesis.tex"]


@pytest.mark.parametrize(
    ("name", "message"),
    [("file", "which is a file"), ("file/below", "made and written to.*directory")],
)
def test_place_that_cannot_be_a_folder_is_refused(tmp_path, name, message):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=message):
        workdir.claim(tmp_path / name, default_config())


@pytest.mark.parametrize("name", ["running.lock", ".writing-config.json", "trial-0"])
def test_link_in_the_folder_is_refused_and_what_it_leads_to_is_left(tmp_path, name):
    workdir.claim(tmp_path / "run", default_config())
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "epoch-000001-step-000000.npz").write_text("mine")
    (tmp_path / "run" / name).symlink_to(tmp_path / "mine")
    before = contents(tmp_path)
    with pytest.raises(ValueError, match=f"must hold no links.*run/{name}, which"):
        with workdir.occupied(tmp_path / "run", default_config()):
            pytest.fail("It is refused.")
    assert contents(tmp_path) == before


# Logs


def log_epochs(path, first_epoch, epochs):
    """Logs epochs as `fit` does, each with values of its own."""
    with history_logger(path, first_epoch) as logger:
        logger.set_model(keras.Sequential())
        logger.on_train_begin()
        for epoch in epochs:
            logs = {"val_accuracy": epoch / 7, "loss": 1 / (1 + epoch)}
            logger.on_epoch_end(epoch, logs)


@pytest.mark.parametrize("cut", [0, 1, 9])
def test_history_goes_on_after_the_epochs_that_are_done(tmp_path, cut):
    log_epochs(tmp_path / "whole.csv", 0, range(6))
    path = tmp_path / "resumed.csv"
    log_epochs(path, 0, range(4))
    if cut:  # A row of which the last bytes were never written.
        path.write_bytes(path.read_bytes()[:-cut])
    log_epochs(path, 3, range(3, 6))
    assert path.read_bytes() == (tmp_path / "whole.csv").read_bytes()


def test_history_starts_anew_without_a_checkpoint(tmp_path):
    path = tmp_path / "history.csv"
    log_epochs(path, 0, range(2))
    log_epochs(path, 0, range(1))
    assert workdir.read_history(path) == [{"epoch": 0, "val_accuracy": 0, "loss": 1}]


def test_history_is_closed_after_an_interruption(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        with history_logger(tmp_path / "history.csv", 0) as logger:
            logger.on_train_begin()
            raise KeyboardInterrupt
    assert logger.csv_file.closed


@pytest.fixture
def full_disk():
    """Lets no file grow over two thousand bytes, as on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_history_that_cannot_be_written_is_named_and_goes_on_later(tmp_path, full_disk):
    path = tmp_path / "history.csv"
    with pytest.raises(NotWritten, match=f"^{path} could not be .*too large"):
        log_epochs(path, 0, range(1000))
    assert path.stat().st_size == 2000
    log_epochs(path, 3, range(3, 6))  # The last row was half there.
    log_epochs(tmp_path / "whole.csv", 0, range(6))
    assert path.read_bytes() == (tmp_path / "whole.csv").read_bytes()


def test_logs_of_tensorboard_that_cannot_be_written_are_named(tmp_path, full_disk):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    model.compile("sgd", "mse", run_eagerly=True)
    board = TensorBoard(tmp_path)
    board.set_model(model)
    board.on_train_begin()
    with pytest.raises(NotWritten, match=f"^{tmp_path} .*ten: File too large"):
        for epoch in range(100):
            board.on_epoch_end(epoch, {"loss": 0.5, "val_loss": 0.5})


def test_histories_of_all_trials_are_joined(tmp_path):
    for trial in range(2):
        folder = workdir.trial_folder(tmp_path, trial)
        folder.mkdir()
        log_epochs(folder / "history.csv", 0, range(2 + trial))
    workdir.join_histories(tmp_path, [0, 1])
    with open(tmp_path / "history.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["trial", "epoch", "loss", "val_accuracy"]
    assert [(row["trial"], row["epoch"]) for row in rows] == [
        ("0", "0"),
        ("0", "1"),
        ("1", "0"),
        ("1", "1"),
        ("1", "2"),
    ]
    assert float(rows[4]["val_accuracy"]) == 2 / 7


def damaged_history(path, damage):
    """Logs three epochs, and changes the file."""
    log_epochs(path, 0, range(3))
    text = path.read_bytes()
    lines = text.splitlines(keepends=True)
    path.write_bytes(
        {
            "row in the middle is gone": b"".join([*lines[:2], *lines[3:]]),
            "last row is gone": b"".join(lines[:3]),
            "last row is cut": text[:-5],
            "row is twice": b"".join([*lines[:3], *lines[2:]]),
            "header is gone": b"".join(lines[1:]),
            "value is no number": text.replace(b"1.0", b"1.\x00"),
            "cell is gone": text.replace(b",1.0", b""),
            "is empty": b"",
        }[damage]
    )


DAMAGES = (
    *("row in the middle is gone", "last row is gone", "last row is cut"),
    *("row is twice", "header is gone", "value is no number", "cell is gone"),
    "is empty",
)


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_history_is_named_and_never_joined_or_gone_on_with(tmp_path, damage):
    (tmp_path / "trial-0").mkdir()
    path = tmp_path / "trial-0" / "history.csv"
    damaged_history(path, damage)
    before = contents(tmp_path)
    for call in (
        lambda: workdir.join_histories(tmp_path, [0], 3),
        lambda: log_epochs(path, 3, [3]),
    ):
        expected = f"^{path} is damaged: .*Remove {path.parent}: the same command"
        with pytest.raises(ValueError, match=expected) as error:
            call()
        assert "\n" not in str(error.value)
        assert contents(tmp_path) == before


def test_histories_with_other_columns_are_not_joined(tmp_path):
    for trial in range(2):
        (tmp_path / f"trial-{trial}").mkdir()
        log_epochs(tmp_path / f"trial-{trial}" / "history.csv", 0, range(1))
    path = tmp_path / "trial-1" / "history.csv"
    path.write_text(path.read_text().replace("loss", "lost"))
    with pytest.raises(ValueError, match=f"{path} must have the columns of the other"):
        workdir.join_histories(tmp_path, [0, 1], 1)


def test_new_history_is_not_written_through_a_link(tmp_path):
    (tmp_path / "mine.csv").write_text("mine")
    (tmp_path / "history.csv").symlink_to(tmp_path / "mine.csv")
    log_epochs(tmp_path / "history.csv", 0, range(1))
    assert (tmp_path / "mine.csv").read_text() == "mine"


def test_trials_are_read_for_a_figure(tmp_path):
    folder = workdir.trial_folder(tmp_path, 0)
    folder.mkdir()
    log_epochs(folder / "history.csv", 0, range(3))
    np.save(folder / "confidence.npy", np.array([0.25, 0.5]))
    accuracies, confidences = workdir.read_trials(tmp_path, [0])
    assert accuracies == [[0.0, 1 / 7, 2 / 7]]
    assert [list(confidence) for confidence in confidences] == [[0.25, 0.5]]


# Configs


def test_config_of_a_run_is_read_back(tmp_path):
    config = config_of(ncr__num_neighbors=7)
    workdir.claim(tmp_path / "run", config)
    config_there = workdir.read_config(tmp_path / "run")
    assert config_there.to_dict() == config.to_dict()
    assert config_there.is_locked


def test_folder_without_a_run_has_no_config(tmp_path):
    with pytest.raises(ValueError, match="has no config.json. Train first"):
        workdir.read_config(tmp_path)


@pytest.mark.parametrize("content", ["", '{"epochs": 5', "[]", "\\xff\\x00"])
def test_damaged_config_is_named_with_the_remedy(tmp_path, content):
    workdir.claim(tmp_path, default_config())
    file = tmp_path / "config.json"
    file.write_bytes(content.encode().decode("unicode_escape").encode("latin-1"))
    for call in (
        lambda: workdir.read_config(tmp_path),
        lambda: workdir.claim(tmp_path, default_config()),
    ):
        with pytest.raises(
            ValueError, match=f"^{file} is damaged: .*from a backup"
        ) as e:
            call()
        assert "\n" not in str(e.value)


def test_settings_that_are_gone_are_not_taken_from_the_default(tmp_path):
    (tmp_path / "config.json").write_text('{"epochs": 5}')
    with pytest.raises(ValueError, match="settings of this version"):
        workdir.read_config(tmp_path)
    with pytest.raises(ValueError, match="another config"):
        workdir.claim(tmp_path, default_config())


def test_config_of_another_version_is_refused(tmp_path):
    (tmp_path / "config.json").write_text('{"no_such_setting": 1}')
    with pytest.raises(ValueError, match="settings of this version"):
        workdir.read_config(tmp_path)
