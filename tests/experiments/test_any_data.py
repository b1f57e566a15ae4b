"""Tests of the commands on data that are no images: features, texts, columns."""

import json

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from model_harness import few

from keras_ncr.cli import apply_corrections, audit, inspect, train
from keras_ncr.experiments.config import own_data, string_arguments
from keras_ncr.noise import NoisyLabels

pytestmark = pytest.mark.usefixtures("eager_functions")
NUM = 60
LABELS = np.where(np.arange(NUM) % 3 == 0, "good", "bad")


def write_data(kind, folder):
    """Writes data of which the third, fourth and seventh label are wrong."""
    rng = np.random.default_rng(0)
    is_good = np.arange(NUM) % 3 == 0
    labels = LABELS.copy()
    labels[[2, 3, 6]] = ["good", "bad", "bad"]
    if kind == "features":
        features = rng.normal(size=(NUM, 5)) + 4 * is_good[:, None]
        path = folder / "features.npz"
        np.savez(path, features=features, labels=labels, clean_labels=LABELS)
        return path
    if kind == "text":
        words = np.where(is_good, "lovely film, well played", "dull film, badly played")
        columns = {"text": [f"{word} {n}" for n, word in enumerate(words)]}
    else:
        columns = {"age": 5 + 30 * is_good + rng.normal(size=NUM)}
        columns["town, or place"] = np.where(rng.random(NUM) < 0.5, "Bonn", "")
    path = folder / f"{kind}.csv"
    pd.DataFrame({**columns, "label": labels}).to_csv(path, index=False)
    return path


KINDS = ["features", "text", "tabular"]


@pytest.mark.parametrize("kind", few("tabular", of=KINDS))
def test_data_of_each_kind_go_from_training_to_corrections(kind, run_command, tmp_path):
    path, run = write_data(kind, tmp_path), tmp_path / "run"
    config = f"--config=configs/{kind}.py:{path},epochs=2"
    run_command(train, config, "--config.batch_size=16", f"--workdir={run}")
    labels = NoisyLabels.load(run / "noise.npz")
    assert len(labels) == 48
    review = tmp_path / "review"
    run_command(audit, f"--workdir={run}", f"--review={review}")
    listed = pd.read_csv(run / "audit" / "labels.csv")
    assert len(listed) == NUM
    script = (review / "data.js").read_text().split("\n", 1)[1]
    page = json.loads(script.removeprefix("window.reviewData=").rstrip(";\n"))
    shown = {"features": [], "text": ["text"], "tabular": ["age", "town, or place"]}
    assert page["detailColumns"] == shown[kind]
    assert "picture" not in page["examples"]
    first = listed.iloc[0]
    other = {"good": "bad", "bad": "good"}[first["given_class"]]
    corrections = tmp_path / "corrections.csv"
    corrections.write_text(
        "id,given_class,action,new_class,dataset_hash\n"
        f"{first['id']},{first['given_class']},relabel,{other},{page['datasetHash']}\n"
    )
    output = run_command(
        apply_corrections,
        f"--workdir={run}",
        f"--corrections={corrections}",
        f"--output={tmp_path / 'corrected.csv'}",
    )
    assert "1 relabeled" in output
    corrected = pd.read_csv(tmp_path / "corrected.csv")
    if kind != "features":
        assert f"--config={kind} --config.data.path=" in output
        given = pd.read_csv(path).drop(columns="label").fillna("")
        inputs = corrected[given.columns].fillna("")
        pd.testing.assert_frame_equal(inputs, given, check_exact=False, rtol=1e-6)
    assert corrected.set_index("id")["label"][first["id"]] == other
    run_command(
        train,
        config,
        "--config.batch_size=16",
        f"--config.data.corrections={corrections}",
        f"--workdir={tmp_path / 'again'}",
    )


@pytest.mark.parametrize(
    ("kind", "method"),
    [
        ("text", "standard"),
        pytest.param("features", "ncr+elr", marks=pytest.mark.slow),
        pytest.param("tabular", "ncr", marks=pytest.mark.slow),
    ],
)
def test_saved_models_take_raw_inputs(kind, method, run_command, tmp_path):
    path, run = write_data(kind, tmp_path), tmp_path / "run"
    config = f"--config=configs/{kind}.py:{path},method={method},epochs=1"
    run_command(train, config, f"--workdir={run}")
    model = keras.models.load_model(run / "trial-0" / "model.keras")
    raw = {
        "features": np.zeros((2, 5)),
        "text": tf.constant(["a lovely film", "dull"]),
        "tabular": {
            "age": np.array([3.0, 40.0]),
            "town, or place": tf.constant(["Bonn", ""]),
        },
    }[kind]
    assert model.predict(raw, verbose=0).shape == (2, 2)


@pytest.mark.parametrize("kind", KINDS)
def test_look_before_a_run_says_what_the_inputs_are(kind, run_command, tmp_path):
    path = write_data(kind, tmp_path)
    output = run_command(
        inspect, f"--config=configs/{kind}.py:{path}", f"--workdir={tmp_path / 'look'}"
    )
    words = {
        "features": "features: (5,)",
        "text": "text: a string",
        "tabular": "columns: age, town, or place",
    }
    assert words[kind] in output
    assert (tmp_path / "look" / "classes.png").is_file()
    assert not (tmp_path / "look" / "batch.png").exists()


@pytest.mark.parametrize(
    ("kind", "method", "message"),
    [
        ("text", "ncr+mixup", "must not have 'mixup' on text: it mixes inputs"),
        ("tabular", "mixup", "must not have 'mixup' on columns: it mixes inputs"),
        ("text", "elr_plus", "must not have 'elr_plus' on text: it mixes inputs"),
        ("features", "ncr+second_view", "must not have 'second_view' on features"),
        ("features", "gjs", "must not have 'gjs' on features: it changes the colors"),
    ],
)
def test_method_that_means_nothing_to_the_inputs_is_refused(
    kind, method, message, run_command, tmp_path
):
    path = write_data(kind, tmp_path)
    with pytest.raises(SystemExit, match=message):
        run_command(
            train,
            f"--config=configs/{kind}.py:{path},method={method}",
            f"--workdir={tmp_path / 'run'}",
        )
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_features_can_be_mixed(run_command, tmp_path):
    path = write_data("features", tmp_path)
    run_command(
        train,
        f"--config=configs/features.py:{path},method=ncr+mixup,epochs=1",
        f"--workdir={tmp_path / 'run'}",
    )
    assert (tmp_path / "run" / "results.json").is_file()


@pytest.mark.parametrize(
    ("kind", "setting", "message"),
    [
        ("text", "data.image_size=32", "`config.data.image_size` is for images"),
        ("features", "augment.flip=True", "`config.augment.flip` is for images"),
        ("text", "model.backbone=resnet18", "one for text: bag_of_words. .*'resnet18'"),
        ("tabular", "data.label_key=class", "`--config.data.label_key` must be one"),
        ("tabular", "data.columns=age,size", "columns` must be one of .*'size'"),
        ("text", "data.columns=age", "`config.data.columns` has no effect on 'text'"),
        ("features", "data.path=nowhere.npz", "`config.data.path`: .*nowhere.npz"),
        ("features", "data.test_path=nowhere.npz", "`config.data.test_path`: "),
        ("text", "noise.kind=instance", "must be images or features .*: text"),
    ],
)
def test_setting_that_is_wrong_is_named(kind, setting, message, run_command, tmp_path):
    path = write_data(kind, tmp_path)
    with pytest.raises(SystemExit, match=message):
        run_command(
            train,
            f"--config=configs/{kind}.py:{path}",
            f"--config.{setting}",
            f"--workdir={tmp_path / 'run'}",
        )
    assert not (tmp_path / "run").exists()


def test_test_data_of_other_inputs_are_refused(run_command, tmp_path):
    path = write_data("features", tmp_path)
    other = tmp_path / "test.npz"
    np.savez(other, features=np.zeros((4, 3)), labels=["bad", "good"] * 2)
    with pytest.raises(SystemExit, match=r"must hold inputs as .*shape=\(3,\)"):
        run_command(
            train,
            f"--config=configs/features.py:{path}",
            f"--config.data.test_path={other}",
            f"--workdir={tmp_path / 'run'}",
        )


def test_settings_are_those_of_pictures_without_augmentation():
    arguments = string_arguments("", path="x", method="ncr", backbone="mlp", epochs=9)
    config = own_data("features", arguments)
    assert config.ncr.warmup_epochs == 3 and not config.augment.flip
