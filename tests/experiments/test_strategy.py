"""On what a run trains: strategies by name, what they refuse, and one run on two."""

import json
import re
import types

import pytest
import tensorflow as tf
from settings import config_of

from keras_ncr.datasets import digits
from keras_ncr.distribution import workers
from keras_ncr.experiments import strategy
from keras_ncr.experiments.config_checks import check_config
from keras_ncr.experiments.data import Sources
from keras_ncr.experiments.run import train
from keras_ncr.experiments.strategy import (
    check_parts,
    check_replicas,
    check_same_config,
    check_same_labels,
    strategy_of,
)
from keras_ncr.experiments.workdir import read_history


def config_with(name, **settings):
    config = config_of(strategy=name)
    config.update(settings)
    return config


@pytest.fixture
def refused(monkeypatch):
    """Returns the message with which a setting of `config.strategy` is refused."""

    def message_for(name, cluster=None):
        monkeypatch.delenv("TF_CONFIG", raising=False)
        if cluster is not None:
            monkeypatch.setenv("TF_CONFIG", cluster)
        with pytest.raises(ValueError) as error:
            strategy_of(config_with(name))
        return str(error.value)

    return message_for


def test_one_is_the_strategy_of_the_caller(two_replicas):
    assert strategy_of(config_with("one")).num_replicas_in_sync == 1
    with two_replicas.scope():
        assert strategy_of(config_with("one")) is two_replicas


def test_mirrored_takes_all_devices_and_is_made_once(monkeypatch):
    made = []
    monkeypatch.setattr(
        tf.distribute, "MirroredStrategy", lambda devices: made.append(devices) or made
    )
    strategy._mirrored.cache_clear()
    try:
        config = config_with("mirrored")
        assert strategy_of(config) is strategy_of(config)
    finally:
        strategy._mirrored.cache_clear()
    (devices,) = made
    assert [name[-5:] for name in devices] == ["CPU:0", "CPU:1"]


def test_an_unknown_name_is_refused_with_the_nearest(refused):
    assert "Did you mean 'mirrored'?" in refused("miror")
    with pytest.raises(ValueError, match="'multi_worker'"):
        check_config(config_with("multiworker"))


@pytest.mark.parametrize("cluster", [None, "", "{", '{"task": {"index": 0}}', "[]"])
def test_several_machines_need_to_be_named(refused, cluster):
    message = refused("multi_worker", cluster)
    example = json.loads(re.search(r"TF_CONFIG='(\{\"cluster.*)'$", message).group(1))
    assert example["task"] == {"type": "worker", "index": 0}
    assert len(example["cluster"]["worker"]) == 2


def test_several_machines_need_a_process_that_has_not_begun(refused):
    tf.zeros(1)
    task = {"type": "worker", "index": 0}
    cluster = {"cluster": {"worker": ["127.0.0.1:1", "127.0.0.1:2"]}, "task": task}
    message = refused("multi_worker", json.dumps(cluster))
    assert "before any other use of TensorFlow" in message
    assert "Start a new process" in message


def test_a_tpu_that_is_not_there_is_named(refused, monkeypatch):
    monkeypatch.delenv("TPU_NAME", raising=False)
    assert "needs a TPU" in refused("tpu")


def test_a_batch_must_have_a_part_for_each_replica(two_replicas):
    with pytest.raises(ValueError, match="at least 2, .* Received: 1"):
        check_replicas(config_with("mirrored", batch_size=1), two_replicas)
    check_replicas(config_with("mirrored", batch_size=2), two_replicas)


@pytest.mark.parametrize(("num_examples", "is_right"), [(9, False), (10, True)])
def test_no_replica_is_left_without_an_example(two_replicas, num_examples, is_right):
    source = types.SimpleNamespace(num_examples=num_examples)
    config = config_with("mirrored", batch_size=8)
    check_parts(config, source)  # One device.
    with two_replicas.scope():
        if is_right:
            check_parts(config, source)
            return
        with pytest.raises(ValueError, match="8, of 9 examples, with 1 in the last"):
            check_parts(config, source)
        # An epoch of so many steps has whole batches.
        config.steps_per_epoch = 1
        check_parts(config, source)


@pytest.mark.parametrize(
    ("batch_size", "num_examples", "is_right"),
    [
        *((8, 13, False), (8, 14, False), (8, 15, True), (8, 16, True)),
        *((5, 20, False), (6, 18, False), (9, 18, False), (10, 20, True)),
    ],
)
def test_parts_are_those_that_tensorflow_makes(
    monkeypatch, batch_size, num_examples, is_right
):
    # Of four replicas, as `experimental_distribute_dataset` shares batches out.
    four = types.SimpleNamespace(num_replicas_in_sync=4)
    monkeypatch.setattr(tf.distribute, "get_strategy", lambda: four)
    source = types.SimpleNamespace(num_examples=num_examples)
    config = config_with("mirrored", batch_size=batch_size)
    if is_right:
        check_parts(config, source)
        return
    with pytest.raises(ValueError, match="each of the 4 replicas"):
        check_parts(config, source)


@pytest.fixture
def other_worker(monkeypatch):
    """Has another worker ask with numbers of its own; returns what sets these."""

    def says(numbers_of_call):
        calls = iter(numbers_of_call)
        monkeypatch.setattr(workers, "has_other_workers", lambda: True)
        monkeypatch.setattr(
            workers,
            "alike_each",
            lambda *own: [a == b for a, b in zip(own, next(calls), strict=True)],
        )

    return says


def asked(monkeypatch, call):
    """Returns the numbers with which a worker asks, each time."""
    numbers = []
    with monkeypatch.context() as patch:
        patch.setattr(workers, "has_other_workers", lambda: True)
        patch.setattr(
            workers, "alike_each", lambda *own: numbers.append(own) or [True] * len(own)
        )
        call()
    return numbers


def test_workers_with_different_configs_are_refused(monkeypatch, other_worker):
    config, other = config_with("one"), config_with("one", epochs=7)
    other.ncr.num_neighbors = 3
    other.data.path = "mounted/elsewhere"  # Which may be.
    other_worker(asked(monkeypatch, lambda: check_same_config(other)))
    with pytest.raises(ValueError, match="must be given the same config") as error:
        check_same_config(config)
    epochs = config.epochs
    assert f"Received: epochs={epochs}, ncr.num_neighbors=10 here" in str(error.value)
    assert "path" not in str(error.value)
    other_worker(asked(monkeypatch, lambda: check_same_config(config)))
    check_same_config(config)


def test_workers_with_other_settings_are_of_another_version(monkeypatch, other_worker):
    config, other = config_with("one"), config_with("one")
    with other.unlocked():
        other.new_setting = 1
    other_worker(asked(monkeypatch, lambda: check_same_config(other)))
    with pytest.raises(ValueError, match="the same version of keras_ncr"):
        check_same_config(config)


def test_workers_with_different_labels_are_refused(monkeypatch, other_worker):
    train, test = digits()
    sources = Sources(train, test)
    other = Sources(train.relabeled((train.labels + 1) % 10), test)
    other_worker(asked(monkeypatch, lambda: check_same_labels(other)))
    with pytest.raises(ValueError, match="must read the same data"):
        check_same_labels(sources)
    other_worker(asked(monkeypatch, lambda: check_same_labels(sources)))
    check_same_labels(sources)


@pytest.mark.slow
def test_a_run_on_two_devices_is_close_to_one_on_one(
    two_replicas, tmp_path, monkeypatch
):
    monkeypatch.setitem(strategy.STRATEGIES, "mirrored", lambda: two_replicas)
    losses = {}
    for name in ("one", "mirrored"):
        config = config_with(name, epochs=2, method="ncr", steps_per_epoch=3)
        results = train(config, tmp_path / name, verbose=0)
        assert results["num_failed"] == 0
        rows = read_history(tmp_path / name / "trial-0" / "history.csv")
        losses[name] = [row["loss"] for row in rows]
    assert losses["mirrored"] == pytest.approx(losses["one"], rel=1e-3)
