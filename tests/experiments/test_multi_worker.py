"""Training on several machines: two processes over the loopback, and one."""

import json
import pathlib
import subprocess
import sys
import types

import keras
import numpy as np
import pytest
import tensorflow as tf
from worker_processes import Workers, environment, wait_until

import keras_ncr
from keras_ncr.distribution import multi_worker, workers

WORKER = pathlib.Path(__file__).parents[1] / "worker.py"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What two processes left that trained together, and one that trained alone."""
    folder = tmp_path_factory.mktemp("workers")
    with Workers([WORKER, folder], folder) as workers:
        assert workers.exit_codes() == [0, 0], workers.said(0)
    alone = [sys.executable, WORKER, folder]
    subprocess.run(alone, env=environment(), check=True, capture_output=True)
    return folder


def arrays_of(folder, name):
    return [np.load(folder / f"{name}-{place}.npz") for place in (0, 1, "alone")]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ncr", "elr", "plain", "on_batches"])
def test_two_processes_train_and_predict_as_one(folder, name):
    first, second, alone = arrays_of(folder, name)
    assert set(first) == set(alone)
    for key in first:
        np.testing.assert_array_equal(first[key], second[key], key)
        np.testing.assert_allclose(first[key], alone[key], 1e-5, 1e-5, err_msg=key)


@pytest.mark.slow
def test_batch_normalization_is_the_same_in_both_processes(folder):
    # Not that of one process, which normalizes by other variances.
    first, second, _ = arrays_of(folder, "normalized")
    for key in first:
        np.testing.assert_array_equal(first[key], second[key], key)


@pytest.mark.slow
def test_our_backbones_train_on_two_processes_as_on_one(folder):
    first, second, alone = arrays_of(folder, "synchronized")
    assert set(first) == set(alone)
    for key in first:
        np.testing.assert_array_equal(first[key], second[key], key)
        np.testing.assert_allclose(first[key], alone[key], 1e-4, 1e-4, err_msg=key)


DIFFERENT = """
import json, os, sys
from keras_ncr.experiments.config import default_config
from keras_ncr.experiments.run import train
config = default_config()
config.strategy = "multi_worker"
config.epochs = 2 + json.loads(os.environ["TF_CONFIG"])["task"]["index"]
train(config, sys.argv[1], verbose=0)
"""


@pytest.mark.slow
def test_two_processes_with_different_configs_are_refused(tmp_path):
    with Workers(["-c", DIFFERENT, tmp_path / "run"], tmp_path) as workers:
        assert workers.exit_codes() == [1, 1]
        for index in (0, 1):
            expected = f"the same config. Received: epochs={2 + index} here"
            assert expected in workers.said(index)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ncr", "elr", "plain"])
def test_each_prediction_comes_once_and_in_order(folder, name):
    for arrays in arrays_of(folder, name):
        for key in ("predicted", "predicted of a dataset"):
            np.testing.assert_allclose(arrays[key], arrays["called"], 1e-6, 1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["pipeline", "dataset"])
def test_each_process_gets_its_part_of_each_global_batch(folder, name):
    first, second, alone = [
        json.loads((folder / f"read-{place}.json").read_text())
        for place in (0, 1, "alone")
    ]
    for one, two, whole in zip(first[name], second[name], alone[name], strict=True):
        assert one + two == whole
        assert len(one) - len(two) in (0, 1)
    assert [part["is_chief"] for part in (first, second, alone)] == [True, False, True]
    assert [part["has_other_workers"] for part in (first, second, alone)] == [
        True,
        True,
        False,
    ]
    # The second number is the place.
    assert [part["are_alike"] for part in (first, second, alone)] == [
        [True, False],
        [True, False],
        [True, True],
    ]


@pytest.fixture(scope="module")
def command(tmp_path_factory):
    """A function that returns the training command for a workdir, and one of its runs.

    The run is of two workers that nothing happened to.
    """

    def command_for(workdir):
        return [
            *("-m", "keras_ncr", "train"),
            f"--config={WORKER.parents[1] / 'configs' / 'digits.py'}",
            *("--config.strategy=multi_worker", "--config.trials=1"),
            *("--config.epochs=5", "--config.steps_per_epoch=3"),
            f"--workdir={workdir}",
        ]

    folder = tmp_path_factory.mktemp("uninterrupted")
    with Workers(command_for(folder / "run"), folder) as workers:
        assert workers.exit_codes() == [0, 0], workers.said(0)
        assert "test accuracy, last epoch" in workers.said(0)
        assert "test accuracy" not in workers.said(1)
        assert "Epoch" not in workers.said(1)
    return command_for, folder / "run"


@pytest.mark.slow
@pytest.mark.parametrize("victim", [1, 0])
def test_a_run_whose_worker_was_killed_goes_on_to_the_same_end(
    command, tmp_path, victim
):
    command_for, uninterrupted = command
    trial = tmp_path / "run" / "trial-0"
    with Workers(command_for(tmp_path / "run"), tmp_path) as workers:
        wait_until(lambda: any(trial.glob("checkpoint/epoch-000002*.npz")))
        workers.processes[victim].kill()
        survivor = 1 - victim
        # It does not wait for ever, and says in one line what to do.
        assert workers.processes[survivor].wait(120) == 1
        said = workers.said(survivor)
        assert "Traceback" not in said
        (line,) = [line for line in said.splitlines() if line.startswith("Error")]
        assert "worker" in line and "The same command on every machine" in line
        for index in (0, 1):
            workers.start(index)
        assert workers.exit_codes() == [0, 0], workers.said(0)
    assert json.loads((trial / "result.json").read_text())["resumed_at_epoch"] >= 2
    assert_same_files(tmp_path / "run", uninterrupted)


def assert_same_files(one, two):
    """Asserts that two runs left the same files, and learned and logged the same."""
    names = [
        sorted(
            str(path.relative_to(run))
            for path in run.rglob("*")
            if path.is_file() and "events.out" not in path.name
        )
        for run in (one, two)
    ]
    assert names[0] == names[1]
    for name in ("history.csv", "trial-0/history.csv"):
        assert (one / name).read_bytes() == (two / name).read_bytes()
    models = [
        keras.saving.load_model(run / "trial-0" / "model.keras") for run in (one, two)
    ]
    for weights in zip(*[model.get_weights() for model in models], strict=True):
        np.testing.assert_array_equal(*weights)


def network():
    return keras.Sequential([keras.layers.Dense(4, activation="relu")])


def compiled(model):
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss, metrics=["accuracy"], run_eagerly=True)
    return model


def test_a_first_batch_that_splits_unequally_trains(two_replicas):
    # Keras' own models fail here, on one machine as on several.
    with two_replicas.scope():
        model = compiled(keras_ncr.NCRModel(network(), 3))
    x, y = np.ones((5, 2), "float32"), np.array([0, 1, 2, 0, 1])
    history = model.fit(x, y, batch_size=5, verbose=0).history
    assert np.isfinite(history["loss"]).all()


def test_nothing_is_changed_where_keras_manages(monkeypatch):
    model = compiled(keras_ncr.NCRModel(network(), 3))
    # As Keras would be on several machines, once it takes scalars there.
    monkeypatch.setattr(workers, "has_other_workers", lambda: True)
    assert not model._refuses_scalars()


def test_steps_return_rows_where_keras_refuses_scalars(monkeypatch):
    model = compiled(keras_ncr.NCRModel(network(), 3))
    monkeypatch.setattr(model, "_refuses_scalars", lambda: True)
    step = model._make_function(lambda data: {"loss": tf.constant(2.0)})
    np.testing.assert_array_equal(step(iter([None]))["loss"], [2.0])


def test_a_multi_worker_classifier_is_saved_and_loaded(tmp_path):
    inputs = keras.Input((2,))
    outputs = keras.layers.Dense(3)(inputs)
    model = multi_worker.MultiWorkerClassifier(inputs, outputs)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    x = np.ones((1, 2), "float32")
    np.testing.assert_array_equal(loaded(x), model(x))


@pytest.mark.parametrize("error", [tf.errors.UnavailableError, tf.errors.InternalError])
def test_a_lost_worker_is_named(monkeypatch, error):
    message = "Graph execution error:\n\nCollective ops is aborted by: /task:1 is gone"
    monkeypatch.setattr(workers, "has_other_workers", lambda: True)
    with (
        pytest.raises(
            multi_worker.WorkerLost, match="aborted by: /task:1 is gone"
        ) as e,
        multi_worker.lost_workers_named(),
    ):
        raise error(None, None, message)
    assert "\n" not in str(e.value)


def test_errors_of_one_machine_stay_what_they_are():
    with pytest.raises(tf.errors.UnavailableError), multi_worker.lost_workers_named():
        raise tf.errors.UnavailableError(None, None, "a file system")


def strategy_of(task_type, task_id, **jobs):
    """A stand-in for the strategy of one process of several."""

    class Strategy(tf.distribute.MultiWorkerMirroredStrategy):
        def __init__(self):
            pass

        cluster_resolver = types.SimpleNamespace(
            task_type=task_type,
            task_id=task_id,
            cluster_spec=lambda: tf.train.ClusterSpec(jobs),
        )

    return Strategy()


@pytest.mark.parametrize(
    ("strategy", "is_chief"),
    [
        (strategy_of("worker", 0, worker=["a:1", "b:1"]), True),
        (strategy_of("worker", 1, worker=["a:1", "b:1"]), False),
        (strategy_of("worker", 0, chief=["c:1"], worker=["a:1"]), False),
        (strategy_of("chief", 0, chief=["c:1"], worker=["a:1"]), True),
    ],
)
def test_one_of_several_processes_is_the_chief(monkeypatch, strategy, is_chief):
    monkeypatch.setattr(tf.distribute, "get_strategy", lambda: strategy)
    assert workers.has_other_workers()
    assert workers.is_chief() is is_chief


def test_a_cluster_of_one_has_no_others(monkeypatch):
    strategy = strategy_of("worker", 0, worker=["a:1"])
    monkeypatch.setattr(tf.distribute, "get_strategy", lambda: strategy)
    assert not workers.has_other_workers()
    assert workers.is_chief()
