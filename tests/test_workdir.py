"""Tests of workdir.py: whose folder it is, whole files, checkpoints."""

import csv
import json

import keras
import numpy as np
import pytest

from keras_ncr import workdir
from keras_ncr.config import default_config


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


def test_trials_and_data_folder_may_change(tmp_path):
    workdir.claim(tmp_path, default_config())
    config = default_config()
    config.trials, config.data.dir = 5, "elsewhere"
    workdir.claim(tmp_path, config)
    assert json.loads((tmp_path / "config.json").read_text())["trials"] == 5


def test_finished_trials_are_not_forgotten_for_fewer(tmp_path):
    config = default_config()
    config.trials = 3
    workdir.claim(tmp_path, config)
    config.trials = 2
    with pytest.raises(ValueError, match=r"another config: fewer trials \(3 there\)"):
        workdir.claim(tmp_path, config)


def test_run_of_another_config_is_refused_and_left_alone(tmp_path):
    workdir.claim(tmp_path, default_config())
    before = contents(tmp_path)
    config = default_config()
    config.ncr.num_neighbors, config.epochs, config.trials = 5, 7, 2
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
    workdir.write_json(tmp_path / "config.json", settings)
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


# Whole files


def test_interrupted_writing_leaves_the_old_file(tmp_path):
    path = tmp_path / "results.json"
    workdir.write_json(path, {"a": 1})
    with pytest.raises(KeyboardInterrupt), workdir.replacing(path) as temporary:
        temporary.write_text("{ half")
        raise KeyboardInterrupt
    assert json.loads(path.read_text()) == {"a": 1}


def log_epochs(path, first_epoch, epochs):
    """Logs epochs as `fit` does, each with values of its own."""
    with workdir.history_logger(path, first_epoch) as logger:
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
        with workdir.history_logger(tmp_path / "history.csv", 0) as logger:
            logger.on_train_begin()
            raise KeyboardInterrupt
    assert logger.csv_file.closed


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


def test_trials_are_read_for_a_figure(tmp_path):
    folder = workdir.trial_folder(tmp_path, 0)
    folder.mkdir()
    log_epochs(folder / "history.csv", 0, range(3))
    np.save(folder / "confidence.npy", np.array([0.25, 0.5]))
    accuracies, confidences = workdir.read_trials(tmp_path, [0])
    assert accuracies == [[0.0, 1 / 7, 2 / 7]]
    assert [list(confidence) for confidence in confidences] == [[0.25, 0.5]]


# Checkpoints


def small_model(seed):
    """Returns a compiled model that has statistics and momenta."""
    keras.utils.set_random_seed(seed)
    model = keras.Sequential(
        [keras.Input((3,)), keras.layers.BatchNormalization(), keras.layers.Dense(2)]
    )
    model.compile(
        keras.optimizers.SGD(
            keras.optimizers.schedules.CosineDecay(0.1, 12), momentum=0.9
        ),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        run_eagerly=True,
    )
    return model


def fit(model, checkpoint, first_epoch, epochs):
    """Trains on the same eight examples in the same order."""
    x = np.random.default_rng(0).normal(size=(8, 3))
    model.fit(
        x,
        np.arange(8) % 2,
        batch_size=4,
        initial_epoch=first_epoch,
        epochs=epochs,
        shuffle=False,
        verbose=0,
        callbacks=[checkpoint],
    )


def state(model):
    """Returns all that a checkpoint must bring back."""
    return [
        variable.numpy().tobytes()
        for variable in [*model.variables, *model.optimizer.variables]
    ]


def test_restored_model_is_the_one_that_was_kept_and_trains_on_like_it(tmp_path):
    checkpoint = workdir.Checkpoint(tmp_path / "checkpoint")
    uninterrupted = small_model(0)
    fit(uninterrupted, checkpoint, 0, 3)
    kept = state(uninterrupted)

    resumed = small_model(1)
    assert checkpoint.restore(resumed) == 3
    assert state(resumed) == kept
    assert int(resumed.optimizer.iterations) == 6
    fit(uninterrupted, keras.callbacks.Callback(), 3, 6)
    fit(resumed, keras.callbacks.Callback(), 3, 6)
    assert state(resumed) == state(uninterrupted)


def test_one_checkpoint_is_kept(tmp_path):
    checkpoint = workdir.Checkpoint(tmp_path / "checkpoint")
    fit(small_model(0), checkpoint, 0, 3)
    assert list(contents(tmp_path)) == ["checkpoint/epoch-000003.npz"]


def test_newest_checkpoint_counts_where_the_old_one_was_not_removed(tmp_path):
    checkpoint = workdir.Checkpoint(tmp_path)
    for epoch in (9, 10):
        (tmp_path / f"epoch-{epoch:06d}.npz").touch()
    assert checkpoint.latest().name == "epoch-000010.npz"


def test_half_written_checkpoint_is_ignored(tmp_path):
    checkpoint = workdir.Checkpoint(tmp_path)
    fit(small_model(0), checkpoint, 0, 2)
    whole = (tmp_path / "epoch-000002.npz").read_bytes()
    (tmp_path / "writing-epoch-000003.npz").write_bytes(whole[: len(whole) // 2])
    assert checkpoint.restore(small_model(0)) == 2


def test_checkpoint_of_another_model_is_refused(tmp_path):
    checkpoint = workdir.Checkpoint(tmp_path)
    fit(small_model(0), checkpoint, 0, 1)
    other = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    other.compile("sgd", "mse")
    with pytest.raises(ValueError):
        checkpoint.restore(other)


def test_without_a_checkpoint_no_epoch_is_done(tmp_path):
    model = small_model(0)
    weights = [variable.numpy().tobytes() for variable in model.variables]
    assert workdir.Checkpoint(tmp_path / "none").restore(model) == 0
    assert [variable.numpy().tobytes() for variable in model.variables] == weights


def test_cleared_checkpoints_leave_nothing(tmp_path):
    checkpoint = workdir.Checkpoint(tmp_path / "checkpoint")
    checkpoint.clear()  # There is none yet.
    fit(small_model(0), checkpoint, 0, 1)
    (tmp_path / "checkpoint" / "writing-epoch-000002.npz").touch()
    checkpoint.clear()
    assert list(tmp_path.iterdir()) == []


def test_config_of_a_run_is_read_back(tmp_path):
    config = default_config()
    config.ncr.num_neighbors = 7
    workdir.claim(tmp_path / "run", config)
    config_there = workdir.read_config(tmp_path / "run")
    assert config_there.to_dict() == config.to_dict()
    assert config_there.is_locked


def test_folder_without_a_run_has_no_config(tmp_path):
    with pytest.raises(ValueError, match="has no config.json. Train first"):
        workdir.read_config(tmp_path)


def test_config_of_another_version_is_refused(tmp_path):
    (tmp_path / "config.json").write_text('{"no_such_setting": 1}')
    with pytest.raises(ValueError, match="settings of this version"):
        workdir.read_config(tmp_path)
