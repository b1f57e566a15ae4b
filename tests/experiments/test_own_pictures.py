"""Tests of training on the user's own pictures, and of what a run knows of labels."""

import functools
import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from settings import config_of

from keras_ncr.cli import train
from keras_ncr.datasets import digits
from keras_ncr.experiments import run
from keras_ncr.experiments.config import own_pictures
from keras_ncr.experiments.data import Sources
from keras_ncr.experiments.inspection import inspect_config
from keras_ncr.noise import NoisyLabels

pytestmark = pytest.mark.usefixtures("eager_functions")
SMALL = "size=16,backbone=mlp,epochs=1"


@pytest.fixture
def command(run_command):
    """Runs the training command; returns what it prints."""
    return functools.partial(run_command, train)


def write_picture(path, gray, size=(20, 30)):
    path.parent.mkdir(parents=True, exist_ok=True)
    encode = tf.io.encode_png if path.suffix == ".png" else tf.io.encode_jpeg
    path.write_bytes(encode(np.full((*size, 3), gray, "uint8")).numpy())


@pytest.fixture
def pictures(tmp_path):
    """Twenty pictures each of dark and light, of many sizes, names in two scripts."""
    folder = tmp_path / "my pictures, 2026"
    for number in range(20):
        size = (17 + number, 40 - number)
        write_picture(folder / "dunkel" / f"{number}.jpg", 5 * number % 90, size)
        write_picture(folder / "светлый" / f"{number} ä.png", 255 - number, size)
    return folder


def everything_in(folder):
    return {
        path.relative_to(folder): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_folder_trains_with_one_command_and_is_left_as_it_was(
    command, pictures, tmp_path
):
    before = everything_in(pictures)
    run = tmp_path / "run"
    output = command(
        f"--config=configs/folder.py:x,{SMALL}",
        f"--config.data.path={pictures}",
        f"--workdir={run}",
    )
    assert everything_in(pictures) == before
    results = json.loads((run / "results.json").read_text())
    # Nobody knows which labels are wrong, and nothing is made up.
    assert results["noise"]["realized_rate"] is None
    assert results["memorization_rate"] == {"mean": None, "sd": None}
    assert "wrong labels memorized" in output and "unknown" in output
    labels = NoisyLabels.load(run / "noise.npz")
    assert labels.is_noisy is None
    assert len(labels) == 32  # Four of twenty in each class are held out.
    assert all((pictures / name).is_file() for name in labels.ids)
    assert (run / "figures" / "memorization.png").is_file()
    assert (run / "trial-0" / "model.keras").is_file()


@pytest.mark.slow
def test_test_folder_beside_the_training_folder_is_found(command, pictures, tmp_path):
    both = tmp_path / "both"
    both.mkdir()
    pictures.rename(both / "train")
    write_picture(both / "test" / "светлый" / "1.png", 250)
    run = tmp_path / "run"
    command(f"--config=configs/folder.py:{both},{SMALL}", f"--workdir={run}")
    assert len(NoisyLabels.load(run / "noise.npz")) == 40


@pytest.mark.slow
def test_table_with_true_labels_shows_what_is_memorized(command, pictures, tmp_path):
    rows = ["path,label,truth"]
    for number in range(20):
        given = "light" if number < 5 else "dark"
        rows.append(f"dunkel/{number}.jpg,{given},dark")
        rows.append(f"светлый/{number} ä.png,light,light")
    (pictures / "labels.csv").write_text("\n".join(rows), encoding="utf-8")
    run = tmp_path / "run"
    command(
        f"--config=configs/table.py:x,{SMALL}",
        f"--config.data.path={pictures / 'labels.csv'}",
        "--config.data.clean_label_key=truth",
        f"--workdir={run}",
    )
    results = json.loads((run / "results.json").read_text())
    labels = NoisyLabels.load(run / "noise.npz")
    assert results["noise"]["realized_rate"] == labels.realized_rate
    assert 0 < labels.is_noisy.sum() <= 5
    assert results["memorization_rate"]["mean"] is not None


def test_broken_picture_is_named_before_anything_is_written(
    command, pictures, tmp_path
):
    path = pictures / "dunkel" / "3.jpg"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(SystemExit, match="dunkel/3.jpg"):
        command(
            f"--config=configs/folder.py:x,{SMALL}",
            f"--config.data.path={pictures}",
            f"--workdir={tmp_path / 'run'}",
        )
    assert not (tmp_path / "run").exists()


def test_test_images_are_not_trained_on(command, pictures, tmp_path):
    run = f"--workdir={tmp_path / 'run'}"
    config = f"--config=configs/folder.py:x,{SMALL}"
    inner = pictures / "dunkel"
    for test_path in (pictures, inner, pictures.parent):
        with pytest.raises(SystemExit, match="must not share images"):
            command(
                config,
                run,
                f"--config.data.path={pictures}",
                f"--config.data.test_path={test_path}",
            )
    write_picture(pictures / "test" / "dunkel" / "1.jpg", 20)
    with pytest.raises(SystemExit, match="would count as one class more"):
        command(config, run, f"--config.data.path={pictures}")
    table = pictures / "labels.csv"
    table.write_text("path,label\ndunkel/1.jpg,0\ndunkel/2.jpg,1\n")
    other = pictures / "dunkel" / "other.csv"
    other.write_text("path,label\n2.jpg,1\n3.jpg,0\n")
    with pytest.raises(SystemExit, match="1 images in both, '.*dunkel/2.jpg'"):
        command(
            f"--config=configs/table.py:x,{SMALL}",
            run,
            f"--config.data.path={table}",
            f"--config.data.test_path={other}",
        )
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_table_as_spreadsheets_write_it(command, pictures, tmp_path):
    rows = ["Bild;Klasse"]
    for number in range(6):
        rows += [f"dunkel/{number}.jpg;dunkel", f"светлый/{number} ä.png;hell"]
    (pictures / "t.csv").write_text("\n".join(rows), encoding="utf-8-sig")
    command(
        f"--config=configs/table.py:x,{SMALL}",
        f"--config.data.path={pictures / 't.csv'}",
        "--config.data.image_key=Bild",
        "--config.data.label_key=Klasse",
        f"--workdir={tmp_path / 'run'}",
    )
    assert len(NoisyLabels.load(tmp_path / "run" / "noise.npz")) == 10


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("hold_out=1.0", "`config.data.hold_out` must be above 0 and below 1"),
        ("path=nowhere", "`config.data.path`: .*nowhere"),
        ("test_path=nowhere", "`config.data.test_path`: .*nowhere"),
        ("image_key=file", "`config.data.image_key` has no effect on 'folder'"),
    ],
)
def test_setting_that_is_wrong_is_named(command, pictures, tmp_path, setting, message):
    with pytest.raises(SystemExit, match=message):
        command(
            f"--config=configs/folder.py:x,{SMALL}",
            f"--config.data.path={pictures}",
            f"--config.data.{setting}",
            f"--workdir={tmp_path / 'run'}",
        )


def test_picture_in_no_class_is_not_left_out_in_silence(command, pictures, tmp_path):
    write_picture(pictures / "stray.jpg", 20)
    with pytest.raises(SystemExit, match="folder of a class. Received: 'stray.jpg'"):
        command(
            f"--config=configs/folder.py:x,{SMALL}",
            f"--config.data.path={pictures}",
            f"--workdir={tmp_path / 'run'}",
        )


def test_interrupted_run_says_how_to_go_on(command, tmp_path, monkeypatch):
    def interrupt(config, folder):
        raise KeyboardInterrupt

    monkeypatch.setattr(train, "train", interrupt)
    with pytest.raises(SystemExit, match="The same command goes on"):
        command("--config=configs/digits.py", f"--workdir={tmp_path / 'run'}")


def test_look_at_broken_pictures_names_them(pictures, tmp_path):
    for number in range(20):
        path = pictures / "dunkel" / f"{number}.jpg"
        path.write_bytes(path.read_bytes()[:-20])
    arguments = {"path": str(pictures), "method": "ncr", "size": 16}
    config = own_pictures("folder", {**arguments, "backbone": "small_cnn", "epochs": 2})
    with pytest.raises(ValueError, match="dunkel/"):
        inspect_config(config, tmp_path / "look")


def test_final_tests_are_of_their_own_images(tmp_path, monkeypatch):
    train_source, test_source = digits()
    final = {
        name: test_source.subset(np.flatnonzero(test_source.labels % 2 == odd))
        for odd, name in enumerate(("even", "odd"))
    }
    sources = Sources(train_source, test_source, final)
    monkeypatch.setattr(run, "load_sources", lambda data, verbose: sources)
    config = config_of(epochs=1, top_5=True, batch_size=720, model__backbone="mlp")
    results = run.train(config, tmp_path, verbose=0)
    model = keras.models.load_model(tmp_path / "trial-0" / "model.keras")
    assert set(results["final_tests"]) == {"even", "odd"}
    for name, source in final.items():
        best = np.argsort(-model.predict(source.images, verbose=0), axis=1)
        is_among = best[:, :5] == source.labels[:, None]
        measured = results["final_tests"][name]
        assert measured["accuracy"]["mean"] == pytest.approx(is_among[:, 0].mean())
        top_5 = measured["top_5_accuracy"]["mean"]
        assert top_5 == pytest.approx(is_among.any(axis=1).mean())


@pytest.mark.slow
def test_oracle_has_no_wrong_labels(tmp_path):
    config = config_of(epochs=1, method="oracle", batch_size=720, model__backbone="mlp")
    results = run.train(config, tmp_path, verbose=0)
    assert results["noise"]["realized_rate"] == 0
    assert len(NoisyLabels.load(tmp_path / "noise.npz")) < 1437
