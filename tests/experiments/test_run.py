"""Tests of runs and of `keras-ncr train`: what a run leaves, and how it resumes."""

import csv
import functools
import itertools
import json
import re
import statistics
import time

import keras
import numpy as np
import pytest
import tensorflow_datasets as tfds
from finished_run import outcome
from model_harness import few
from python_process import REPOSITORY
from python_process import run_command as printed_by_command

from keras_ncr import pipelines
from keras_ncr.cli import train
from keras_ncr.datasets import digits
from keras_ncr.experiments import run, workdir
from keras_ncr.experiments.batches import training_batches
from keras_ncr.experiments.config import default_config
from keras_ncr.experiments.data import load_sources
from keras_ncr.experiments.labels import noisy
from keras_ncr.experiments.model import compiled_model
from keras_ncr.experiments.schedule import learning_rate_schedule
from keras_ncr.experiments.trials.checkpoint import Checkpoint
from keras_ncr.files import write_json
from keras_ncr.models import metrics
from keras_ncr.noise import NoisyLabels
from keras_ncr.review import dataset_hash

DIGITS = f"--config={REPOSITORY / 'configs' / 'digits.py'}"
# A short run that has all that must survive an interruption: two epochs of warm-up of
# the consistency loss and of the learning rate, momentum and decay.
SETTINGS = {
    "epochs": 5,
    "trials": 1,
    "seed": 3,
    "ncr.warmup_epochs": 2,
    "optimizer.warmup_epochs": 1.5,
    "optimizer.weight_decay": 1e-4,
    "augment.padding": 1,
    "model.backbone": "mlp",
}
# For what does not depend on the images or the steps: two an epoch.
QUICK = {"augment.padding": 0, "ncr.warmup_epochs": 0, "batch_size": 720}
ONE_EPOCH = QUICK | {"epochs": 1, "optimizer.warmup_epochs": 0.0}
TRIAL_FILES = {
    "history.csv",
    "result.json",
    "model.keras",
    "confidence.npy",
    "mean_predictions.npz",
}


def config_of(**settings):
    """Returns the config of the short run."""
    config = default_config()
    config.update_from_flattened_dict({**SETTINGS, **settings})
    return config


def files(folder):
    """Returns the paths of all files below a folder, those of TensorBoard as one."""
    paths = {
        str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()
    }
    return {path.partition("/events.out")[0] for path in paths}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of two trials, of which the second was asked for later."""
    folder = tmp_path_factory.mktemp("run")
    run.train(config_of(), folder, verbose=0)
    first = workdir.trial_folder(folder, 0)
    before = {path: path.stat().st_mtime_ns for path in first.rglob("*")}
    run.train(config_of(trials=2), folder, verbose=0)
    assert before == {path: path.stat().st_mtime_ns for path in first.rglob("*")}
    return folder


# What a run leaves


def test_run_leaves_what_it_promises(finished):
    trials = {
        f"trial-{trial}/{name}"
        for trial in range(2)
        for name in TRIAL_FILES | {"tensorboard/train", "tensorboard/validation"}
    }
    assert files(finished) == trials | {
        "config.json",
        "results.json",
        "history.csv",
        "noise.npz",
        "data.json",
        "figures/memorization.png",
    }


def test_results_agree_with_the_labels_that_were_kept(finished):
    noise = json.loads((finished / "results.json").read_text())["noise"]
    labels = NoisyLabels.load(finished / "noise.npz")
    assert noise["hash"] == labels.hash
    assert noise["realized_rate"] == np.mean(labels.clean_labels != labels.noisy_labels)
    assert (noise["kind"], noise["nominal_rate"]) == ("symmetric", 0.4)
    np.testing.assert_array_equal(labels.clean_labels, digits()[0].labels)


def test_mean_and_standard_deviation_are_those_of_the_trials(finished):
    results = json.loads((finished / "results.json").read_text())
    assert [trial["trial"] for trial in results["trials"]] == [0, 1]
    assert [trial["seed"] for trial in results["trials"]] == [3, 4]
    for measure in ("last_test_accuracy", "best_test_accuracy", "memorization_rate"):
        one, two = (trial[measure] for trial in results["trials"])
        mean, deviation = results[measure]["mean"], results[measure]["sd"]
        assert mean == pytest.approx((one + two) / 2)
        assert deviation == pytest.approx(abs(one - two) / 2**0.5)


def test_measures_are_those_of_the_history(finished):
    results = json.loads((finished / "results.json").read_text())
    with open(finished / "history.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(int(row["trial"]), int(row["epoch"])) for row in rows] == [
        (trial, epoch) for trial in range(2) for epoch in range(5)
    ]
    for number, trial in enumerate(results["trials"]):
        accuracies = [
            float(row["val_accuracy"]) for row in rows if row["trial"] == str(number)
        ]
        assert trial["last_test_accuracy"] == accuracies[-1]
        assert trial["best_test_accuracy"] == max(accuracies)
        assert accuracies[trial["best_epoch"] - 1] == max(accuracies)


@pytest.mark.parametrize("trial", few(1, of=[0, 1]))
def test_model_that_was_kept_is_the_one_of_the_results(finished, trial):
    folder = workdir.trial_folder(finished, trial)
    result = json.loads((folder / "result.json").read_text())
    model = keras.models.load_model(folder / "model.keras")
    train_source, test_source = digits()
    labels = NoisyLabels.load(finished / "noise.npz")

    # Against scikit-learn's own test labels: no noise has come upon these.
    predicted = np.argmax(model.predict(test_source.images, verbose=0), axis=1)
    accuracy = np.mean(predicted == test_source.labels)
    assert result["last_test_accuracy"] == pytest.approx(accuracy, abs=1e-6)

    logits = model.predict(train_source.images, verbose=0).astype("float64")
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    expected = probabilities[np.arange(len(logits)), labels.noisy_labels]
    confidence = np.load(folder / "confidence.npy")
    np.testing.assert_allclose(confidence, expected, atol=1e-5)

    memorized = np.argmax(logits, axis=1) == labels.noisy_labels
    rate = np.mean(memorized[labels.is_noisy])
    assert result["memorization_rate"] == pytest.approx(rate, abs=1e-6)


def test_consistency_is_left_out_during_warmup(finished):
    rows = workdir.read_history(workdir.trial_folder(finished, 0) / "history.csv")
    for epoch, row in enumerate(rows):
        alpha = 0.0 if epoch < 2 else 0.9
        parts = row["classification_loss"], row["neighbor_consistency_loss"]
        expected = (1 - alpha) * parts[0] + alpha * parts[1]
        assert row["loss"] == pytest.approx(expected, rel=1e-5)


def test_trials_differ_in_their_weights(finished):
    assert outcome(finished, 0)["weights"] != outcome(finished, 1)["weights"]


@pytest.mark.slow
@pytest.mark.usefixtures("eager_functions")
def test_initial_weights_depend_on_the_seed(tmp_path):
    kernels = []

    class Remember(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            kernels.append(self.model.get_weights()[0].tobytes())
            raise KeyboardInterrupt

    for seed in range(2):
        with pytest.raises(KeyboardInterrupt):
            run.train(
                config_of(**QUICK, seed=seed),
                tmp_path / str(seed),
                [Remember()],
                verbose=0,
            )
    assert kernels[0] != kernels[1]


# Resume


def interrupt(*args):
    """Does what Ctrl-C does."""
    raise KeyboardInterrupt


def test_run_that_was_stopped_anywhere_ends_as_if_it_had_not_been(
    finished, tmp_path, monkeypatch
):
    # Where epoch 3 is in the history, and half of it in a checkpoint.
    folder, checkpoints = tmp_path / "run", tmp_path / "run" / "trial-0" / "checkpoint"
    keep = Checkpoint.on_epoch_end

    def interrupt_in_epoch_3(checkpoint, epoch, logs=None):
        if epoch == 3:
            (checkpoints / ".writing-epoch-000004-step-000000.npz").write_bytes(b"PK")
            interrupt()
        keep(checkpoint, epoch, logs)

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoint, "on_epoch_end", interrupt_in_epoch_3)
        with pytest.raises(KeyboardInterrupt):
            run.train(config_of(), folder, verbose=0)
    assert len(workdir.read_history(folder / "trial-0" / "history.csv")) == 4

    # Then when all epochs are done, and the result is not there yet.
    last = keras.callbacks.LambdaCallback(on_train_end=interrupt)
    with pytest.raises(KeyboardInterrupt):
        run.train(config_of(), folder, [last], verbose=0)
    assert sorted(path.name for path in checkpoints.glob("epoch*")) == [
        "epoch-000004-step-000000.npz",
        "epoch-000005-step-000000.npz",
    ]

    results = run.train(config_of(), folder, verbose=0)
    assert results["trials"][0]["resumed_at_epoch"] == 5
    assert outcome(folder) == outcome(finished)
    assert not checkpoints.exists()
    assert not (folder / "running.lock").exists()


def test_run_goes_on_with_its_own_labels_only(tmp_path):
    workdir.claim(tmp_path, config_of())
    digits()[0].record.save(tmp_path / "noise.npz")
    with pytest.raises(ValueError, match="other labels than this config gives now"):
        run.train(config_of(), tmp_path, verbose=0)


@pytest.mark.usefixtures("eager_functions")
def test_run_on_corrected_labels_says_what_was_corrected(tmp_path):
    config = config_of(**ONE_EPOCH)
    source = digits()[0]
    noisy_source = noisy(config, source)
    wrong = np.flatnonzero(noisy_source.is_noisy)
    hash_ = dataset_hash(noisy_source.labels, source.ids)
    rows = ["id,given_class,action,new_class,dataset_hash"]
    for position, index in enumerate(wrong):
        given, clean = noisy_source.labels[index], source.labels[index]
        action = f"relabel,{clean}" if position > 1 else "drop,"
        rows.append(f"{source.ids[index]},{given},{action},{hash_}")
    file = tmp_path / "corrections.csv"
    file.write_text("\n".join(rows))
    config.data.corrections = str(file)
    results = run.train(config, tmp_path / "run", verbose=0)
    counts = {"kept": 0, "relabeled": len(wrong) - 2, "dropped": 2}
    assert results["corrections"] == counts
    assert results["noise"]["realized_rate"] == 0
    kept = np.delete(np.arange(1437), wrong[:2])
    trained_on = NoisyLabels.load(tmp_path / "run" / "noise.npz")
    np.testing.assert_array_equal(trained_on.ids, source.ids[kept])
    np.testing.assert_array_equal(trained_on.noisy_labels, source.labels[kept])
    np.testing.assert_array_equal(trained_on.clean_labels, source.labels[kept])
    assert len(np.load(tmp_path / "run" / "trial-0" / "confidence.npy")) == 1435
    copy = tmp_path / "run" / "corrections.csv"
    assert copy.read_bytes() == file.read_bytes()
    # The same command again has nothing to do; with other corrections it is refused.
    assert run.train(config, tmp_path / "run", verbose=0) == results
    with open(file, "a") as stream:
        first = np.flatnonzero(~noisy_source.is_noisy)[0]
        given = noisy_source.labels[first]
        stream.write(f"\n{source.ids[first]},{given},keep,{given},{hash_}")
    with pytest.raises(ValueError, match="other corrections than .* does now"):
        run.train(config, tmp_path / "run", verbose=0)
    config.data.corrections = str(copy)
    with pytest.raises(ValueError, match=r"another config: data\.corrections"):
        run.train(config, tmp_path / "run", verbose=0)


DIVERGING = {"optimizer.learning_rate": 1e30, "optimizer.warmup_epochs": 0.0}


@pytest.mark.usefixtures("eager_functions")
@pytest.mark.parametrize("method", few("standard", of=["standard", "mixup"]))
def test_trial_with_a_loss_that_is_not_finite_says_where(method, tmp_path):
    config = config_of(**QUICK, method=method, **DIVERGING)
    seen = []

    class See(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            seen.append(batch)

    results = run.train(config, tmp_path, [See()], verbose=0)
    assert results["num_failed"] == 1
    failed = results["trials"][0]
    place = failed["failed_at"]
    # The callback that fails comes first: it is the step after those that were seen.
    assert (place["epoch"], place["step"]) == (1, len(seen) + 1)
    assert place["step_of_run"] == place["step"]
    schedule = learning_rate_schedule(config, 2)
    assert place["learning_rate"] == pytest.approx(float(schedule(len(seen))))

    # The examples are those of this step in a pipeline of the same seed.
    batches = training_batches(
        config,
        noisy(config, digits()[0]),
        config.seed,
        carry=("index",),
        batch_augment=None,
    )
    _, targets = list(batches.take(place["step"]).as_numpy_iterator())[-1]
    assert place["indices"] == targets["index"].tolist()
    first = ", ".join(map(str, place["indices"][:5]))
    step = place["step"]
    assert re.fullmatch(
        rf"The loss became \w+ in epoch 1, step {step} \({step} of the run\), at a "
        rf"learning rate of \S+\. The batch held the examples {first} and 712 others, "
        r"all in result\.json\. Look at these, or lower the learning rate\.",
        failed["failed"],
    )
    assert "last_test_accuracy" not in results
    assert json.loads((tmp_path / "results.json").read_text()) == results
    result = json.loads((tmp_path / "trial-0" / "result.json").read_text())
    assert result == failed


@pytest.mark.usefixtures("eager_functions")
def test_test_loss_that_is_not_finite_fails_the_trial_too(tmp_path):
    # One step an epoch, whose own loss is finite.
    config = config_of(method="standard", **QUICK | DIVERGING | {"batch_size": 2048})
    failed = run.train(config, tmp_path, verbose=0)["trials"][0]
    assert re.fullmatch(
        r"The loss became \w+ in epoch 1, on the test images after step 1 \(1 of the "
        r"run\), at a learning rate of 1e\+30\. Lower the learning rate\.",
        failed["failed"],
    )
    assert "indices" not in failed["failed_at"]


@pytest.mark.usefixtures("eager_functions")
def test_worker_that_is_not_the_first_computes_and_writes_nothing(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr("keras_ncr.distribution.workers.is_chief", lambda: False)
    seen = []
    callback = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: seen.append(sorted(logs))
    )
    config = config_of(**ONE_EPOCH)
    assert run.train(config, tmp_path / "run", [callback], verbose=2) is None
    assert len(seen) == 1 and "memorization_rate" in seen[0]
    assert list(tmp_path.iterdir()) == []
    assert capsys.readouterr().out == ""


@pytest.mark.usefixtures("eager_functions")
def test_other_trials_go_on_after_one_that_failed(tmp_path):
    config = config_of(**ONE_EPOCH, trials=3, method="standard")
    failed = {"trial": 1, "seed": 4, "failed": "The loss became nan."}
    folder = workdir.claim(tmp_path, config)
    workdir.trial_folder(folder, 1).mkdir()
    write_json(workdir.trial_folder(folder, 1) / "result.json", failed)
    results = run.train(config, tmp_path, verbose=0)
    assert [("failed" in trial) for trial in results["trials"]] == [False, True, False]
    assert results["trials"][1] == failed and results["num_failed"] == 1
    accuracies = [results["trials"][i]["last_test_accuracy"] for i in (0, 2)]
    assert results["last_test_accuracy"] == {
        "mean": statistics.mean(accuracies),
        "sd": statistics.stdev(accuracies),
    }
    with open(tmp_path / "history.csv", newline="") as file:
        assert [row["trial"] for row in csv.DictReader(file)] == ["0", "2"]


@pytest.mark.usefixtures("eager_functions")
def test_trial_whose_model_is_gone_is_trained_again_and_a_damaged_one_is_named(
    tmp_path, monkeypatch, capsys
):
    # A clock that goes back.
    monkeypatch.setattr(
        time, "time", functools.partial(next, itertools.count(2e9, -100))
    )
    config = config_of(**QUICK, epochs=2, method="standard")
    results = run.train(config, tmp_path, verbose=0)
    assert results["trials"][0]["seconds"] >= 0
    before = outcome(tmp_path)
    trial = tmp_path / "trial-0"
    (trial / "model.keras").unlink()
    run.train(config, tmp_path, verbose=2)
    printed = capsys.readouterr().out
    assert f"{trial} lacks model.keras: it is trained again." in printed
    assert outcome(tmp_path) == before

    joined = (tmp_path / "history.csv").read_bytes()
    path = trial / "history.csv"
    path.write_bytes(path.read_bytes().rpartition(b"\n1,")[0] + b"\n")
    expected = f"^{path} is damaged: .*epoch 2 is missing.*Remove {trial}"
    with pytest.raises(ValueError, match=expected):
        run.train(config, tmp_path, verbose=0)
    assert (tmp_path / "history.csv").read_bytes() == joined


def test_run_is_not_written_into_the_pictures(tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / "pictures" / name).mkdir(parents=True)
    config = config_of(**{"data.name": "folder", "data.path": f"{tmp_path}/pictures"})
    config.noise.kind = "none"
    with pytest.raises(
        ValueError, match="`workdir` must not be within.*one class more"
    ):
        run.train(config, tmp_path / "pictures" / "runs" / "a", verbose=0)
    assert files(tmp_path) == set()


# The command


def check_table(printed, folder):
    """Checks what the command prints in the end, by the results in a folder."""
    table = printed.rpartition("digits, ncr, trials: ")[2].splitlines()
    result = json.loads((folder / "results.json").read_text())
    words, value = table[1][:33], table[1][33:]
    assert words.rstrip() == "test accuracy, last epoch"
    accuracy = 100 * result["last_test_accuracy"]["mean"]
    assert value.split()[0] == f"{accuracy:.1f}"
    assert table[3].startswith("wrong labels memorized")
    # A log file gets a line per epoch, not a bar that moves back over itself.
    assert "\b" not in printed


@pytest.mark.slow
def test_command_gives_the_same_run_and_prints_a_table(finished, tmp_path):
    overrides = [f"--config.{key}={value}" for key, value in SETTINGS.items()]
    config, folder = "--config=configs/digits.py:ncr", f"--workdir={tmp_path}"
    printed = printed_by_command("train", config, folder, *overrides)
    assert outcome(tmp_path) == outcome(finished)
    check_table(printed, tmp_path)
    assert printed.count("val_accuracy") == 5


@pytest.fixture
def command(run_command, tmp_path):
    """Runs the command with a workdir; returns what it prints."""
    return functools.partial(run_command, train, f"--workdir={tmp_path / 'run'}")


def test_command_prints_the_table_of_a_run_that_is_finished(finished, run_command):
    settings = SETTINGS | {"trials": 2, "co_teaching.forget_rate": 0.0}
    overrides = [f"--config.{key}={value}" for key, value in settings.items()]
    folder = f"--workdir={finished}"
    config = f"--config={REPOSITORY / 'tests' / 'plain_config.py'}"
    printed = run_command(train, config, folder, *overrides)
    check_table(printed, finished)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([DIGITS, "--config.ephocs=1"], 'Did you mean "epochs" instead of "ephocs"?'),
        ([DIGITS, "--config.ncr.num_neighbor=5"], 'Did you mean "num_neighbors"'),
        ([DIGITS, "--config.epochs=many"], "invalid literal for int"),
        ([DIGITS, "--learning_rate=3"], "Unknown command line flag 'learning_rate'"),
        ([], "--config must have a value"),
        (["--config=configs/digit.py"], "no such config.* Did you mean 'digits'?"),
        ([f"{DIGITS}:metod=ncr"], "Did you mean 'method'?"),
        ([f"{DIGITS}:ncr,rate=x"], "`rate` of the config must be of type float"),
        ([f"{DIGITS}:nrc"], "`config.method` must be one of.*Did you mean 'ncr'?"),
        ([f"{DIGITS}:ncr,noise=pairflip"], "Did you mean 'pair_flip'?"),
        ([f"{DIGITS}:ncr,rate=1.5"], "Received: rate=1.5"),
        ([DIGITS, "--config.model.backbone=resnet"], "Did you mean 'resnet"),
        ([DIGITS, "--config.model.classifier=cos"], '"linear", "cosine", "het'),
        ([DIGITS, "--config.epochs=0"], "`config.epochs` must be .* at least 1"),
        ([DIGITS, "--config.data.limit=100"], "`config.data.limit`"),
        ([DIGITS, "--config.augment.padding=-1"], "`padding` must be"),
        ([DIGITS, "--config.ncr.consistency_weight=2"], "`consistency_weight` must be"),
        ([DIGITS, "--config.ncr.consistency_weight=aut"], "Did you mean 'auto'?"),
        ([DIGITS, "--workdir=/dev/null/run"], "`workdir` must be a folder"),
    ],
)
def test_command_refuses_in_one_line_and_writes_nothing(
    command, tmp_path, arguments, message
):
    with pytest.raises(SystemExit, match=message) as error:
        command(*arguments)
    assert str(error.value).startswith("Error: ")
    assert "\n" not in str(error.value)
    assert "Traceback" not in str(error.value)
    assert not (tmp_path / "run").exists()


def test_command_names_the_settings_of_another_run(command, tmp_path):
    workdir.claim(tmp_path / "run", config_of())
    with pytest.raises(SystemExit, match=r"epochs \(5 there, 4 here\)"):
        command(DIGITS, "--config.epochs=4")
    assert files(tmp_path) == {"run/config.json"}


def test_command_says_in_one_line_that_data_are_missing(command, tmp_path, monkeypatch):
    def fail(builder, **kwargs):
        raise ConnectionError("no route\nto host")

    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", fail)
    with pytest.raises(SystemExit, match="'fashion_mnist' is not prepared") as error:
        command(
            DIGITS,
            "--config.data.name=fashion_mnist",
            f"--config.data.dir={tmp_path / 'data'}",
        )
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()


# Learning


def learned(method, seed, epochs):
    """Returns test accuracy and memorization rate after a run of the default config."""
    config = default_config()
    config.method, config.epochs = method, epochs
    train_source, test_source, *_ = load_sources(config.data)
    train_source = noisy(config, train_source)
    keras.utils.set_random_seed(seed)
    model = compiled_model(config, train_source)
    model.fit(
        pipelines.training_batches(train_source, config.batch_size, seed=seed),
        epochs=config.epochs,
        steps_per_epoch=pipelines.steps_per_epoch(1437, config.batch_size),
        shuffle=False,
        verbose=0,
    )
    memorized = metrics.MemorizationRate()
    logits = model.predict(train_source.images, verbose=0)
    memorized.update_state(train_source.labels, logits, train_source.clean_labels)
    accuracy = np.mean(
        np.argmax(model.predict(test_source.images, verbose=0), axis=1)
        == test_source.labels
    )
    return accuracy, float(memorized.result())


@pytest.mark.slow
def test_ncr_learns_where_cross_entropy_memorizes():
    # In half the epochs of the default config: all are in the slow test.
    (plain, _), (ncr, memorized) = learned("standard", 0, 25), learned("ncr", 0, 25)
    assert ncr - plain >= 0.15
    assert memorized < 0.05


@pytest.mark.slow
def test_ncr_learns_where_cross_entropy_memorizes_with_any_seed():
    epochs = default_config().epochs
    plain = [learned("standard", seed, epochs)[0] for seed in range(3)]
    runs = [learned("ncr", seed, epochs) for seed in range(3)]
    ncr, memorized = zip(*runs, strict=True)
    assert min(ncr) - max(plain) >= 0.15
    assert statistics.mean(ncr) - statistics.mean(plain) >= 0.15
    assert max(memorized) < 0.05
