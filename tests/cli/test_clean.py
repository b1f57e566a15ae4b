"""Tests of `keras-ncr clean`: from data to a list, a page, and a classifier."""

import functools
import importlib
import json
import re
import shutil

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from model_harness import few

from keras_ncr import ELRModel
from keras_ncr.cli import clean
from keras_ncr.experiments.measures import duration
from keras_ncr.models.head import HeadSettings
from keras_ncr.review.corrections import HEADER

pytestmark = pytest.mark.usefixtures("eager_functions")
COLORS = {"blue": (20, 20, 220), "green": (20, 220, 20), "red": (220, 20, 20)}
NAMES = list(COLORS)


@pytest.fixture(autouse=True)
def short_training(monkeypatch, tmp_path):
    """A few steps are enough for colors; and a folder to work in."""
    monkeypatch.chdir(tmp_path)
    completed = HeadSettings.completed

    def short(settings, num_examples, dim):
        few_steps = HeadSettings(epochs=7, learning_rate=0.5, consistency_weight=0.3)
        return completed(few_steps, num_examples, dim)

    monkeypatch.setattr(HeadSettings, "completed", short)


@pytest.fixture
def trained(monkeypatch):
    """Counts trainings."""
    calls, fit = [], ELRModel.fit

    def counted(model, *args, **kwargs):
        calls.append(1)
        return fit(model, *args, **kwargs)

    monkeypatch.setattr(ELRModel, "fit", counted)
    return calls


@pytest.fixture
def computed(monkeypatch):
    """Counts the pictures that go through a network."""
    pictures, predict = [], keras.Model.predict_on_batch

    def counted(model, images):
        if len(images.shape) == 4:
            pictures.extend([1] * len(images))
        return predict(model, images)

    monkeypatch.setattr(keras.Model, "predict_on_batch", counted)
    return pictures


@pytest.fixture
def command(run_command):
    """Runs the command; returns what it prints."""
    return functools.partial(run_command, clean)


def write_pictures(folder, num=30, size=(36, 40)):
    """Writes pictures of colors; every tenth is in the folder of another."""
    random = np.random.default_rng(0)
    for number in range(num):
        color = NAMES[number % 3]
        labeled = NAMES[(number + (number % 10 == 0)) % 3]
        noise = random.integers(-20, 20, (*size, 3))
        pixels = np.clip(np.array(COLORS[color]) + noise, 0, 255).astype("uint8")
        path = folder / labeled / f"{color}-{number:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(tf.io.encode_png(pixels).numpy())
    return folder


def write_network(path="colors.keras", size=None):
    """Writes a network that knows colors, as a file."""
    network = keras.Sequential(
        [
            keras.Input((size, size, 3)),
            keras.layers.Rescaling(1 / 255),
            keras.layers.AveragePooling2D(8),
        ]
    )
    network.save(path)
    return f"--backbone={path}"


def write_features(path="features.npz", **changes):
    """Writes features of three classes; every tenth label is wrong."""
    clean_labels = np.arange(60) % 3
    wrong = (clean_labels + (np.arange(60) % 10 == 0)) % 3
    features = 4 * np.eye(3, 5)[clean_labels]
    features += np.random.default_rng(0).normal(size=features.shape)
    arrays = {"features": features, "labels": np.array(NAMES)[wrong], **changes}
    np.savez(path, **{name: a for name, a in arrays.items() if a is not None})
    return path


def write_corrections(workdir):
    """Writes corrections as the page exports them: all that is wrong, put right."""
    frame = pd.read_parquet(workdir / "audit/labels.parquet")
    data_hash = json.loads((workdir / "audit/summary.json").read_text())["dataset_hash"]
    rows = []
    for _, row in frame.iterrows():
        color = row["id"].split("/")[-1].split("-")[0]
        if color != row["given_class"]:
            rows.append([row["id"], row["given_class"], "relabel", color, data_hash])
    rows[-1][2:4] = ["drop", ""]
    pd.DataFrame(rows, columns=HEADER).to_csv("corrections.csv", index=False)
    return len(rows)


SMALL = ("--image_size=32", "--num_folds=2", "--num_draws=1", "--batch_size=16")


def test_folder_to_list_page_and_classifier(command, tmp_path, computed, trained):
    pictures, backbone = write_pictures(tmp_path / "pictures"), write_network()
    printed = command("pictures", backbone, *SMALL)
    workdir = tmp_path / "runs/clean-pictures"
    frame = pd.read_csv(workdir / "audit/labels.csv")
    assert {"id", "label_quality", "is_label_issue"} <= set(frame)
    assert sorted(frame["id"]) == sorted(
        path.relative_to(pictures).as_posix() for path in pictures.rglob("*.png")
    )
    assert set(frame["id"][:3]) == {"green/blue-00.png", "blue/red-20.png"} | {
        "red/green-10.png"
    }
    page = (workdir / "review/data.js").read_text()
    assert '"picture":["' in page
    first = "Looking for wrong labels in pictures; all goes to runs/clean-pictures."
    assert printed.startswith(first)
    plan = r"About \d+ (s|min): 30 pictures, a classifier in 2 folds"
    assert re.search(plan, printed)
    assert re.search(r"It took \d+ (s|min)", printed)
    assert len(computed) == 32
    assert len(trained) == 2

    # The same again takes what is there.
    again = command("pictures", backbone, *SMALL)
    assert len(computed) == 32
    assert len(trained) == 2
    report = printed.partition("clean-pictures.\n")[2]
    assert again.splitlines()[-1] == (
        f"    keras-ncr clean pictures {backbone} --image_size=32 --num_folds=2 "
        "--num_draws=1 --batch_size=16 --corrections=corrections.csv"
    )
    assert again.splitlines()[-2] in report

    # Corrections give a table and a classifier, from raw pixels.
    write_corrections(workdir)
    done = command("pictures", backbone, *SMALL, "--corrections=corrections.csv")
    assert "0 kept, 2 relabeled, 1 dropped. 29 pictures are left." in done
    assert re.search(r"as they were [\d.]+ %, as corrected 100.0 %", done)
    assert len(trained) == 2 + 2 + 1
    table = pd.read_csv(workdir / "corrected.csv")
    assert len(table) == 29
    colors = table["path"].str.extract(r"/(\w+)-\d+.png")[0]
    assert (colors == table["label"]).all()
    classifier = keras.models.load_model(workdir / "classifier.keras")
    path = next(pictures.rglob("green-*.png"))
    pixels = tf.io.decode_png(path.read_bytes())[None]
    classes = json.loads((workdir / "classes.json").read_text())["class_names"]
    assert classes[np.argmax(classifier.predict(pixels, verbose=0))] == "green"


def test_training_that_was_interrupted_goes_on(command, monkeypatch, computed, trained):
    write_features("features.npz")
    counted = ELRModel.fit

    def interrupted(model, *args, **kwargs):
        if len(trained) == 2:
            raise KeyboardInterrupt
        return counted(model, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(ELRModel, "fit", interrupted)
        with pytest.raises(SystemExit) as end:
            command("features.npz", "--num_folds=3", "--num_draws=1")
    assert end.value.code == 130
    assert "It took" in command("features.npz", "--num_folds=3", "--num_draws=1")
    assert len(trained) == 3


def test_features_are_cleaned_with_names_and_ids_in_a_folder_of_their_own(
    command, tmp_path, monkeypatch
):
    monkeypatch.setattr("keras_ncr.experiments.clean.slowness", lambda: 1_000)
    folds = importlib.import_module("keras_ncr.audit.wrong_labels")
    monkeypatch.setattr(folds, "_TIMED_SECONDS", 0)
    ids = np.array([f"sound {number}" for number in range(60)])
    write_features("sounds.npz", ids=ids)
    printed = command("sounds.npz", "--num_folds=2", "--workdir=out")
    assert re.search(r"About \d+ min: 60 examples", printed)
    assert re.search(r"About \d+ (s|min) more for the classifier", printed)
    frame = pd.read_csv(tmp_path / "out/audit/labels.csv")
    wrong = {f"sound {number}" for number in range(0, 60, 10)}
    assert len(wrong & set(frame["id"][:6])) >= 5
    assert "--workdir=out --corrections=corrections.csv" in printed
    write_features("second.npz")
    with pytest.raises(SystemExit, match="list of 'sounds.npz'.*--workdir=FOLDER"):
        command("second.npz", "--num_folds=2", "--workdir=out")


@pytest.mark.slow
def test_table_of_pictures_is_cleaned(command, tmp_path):
    pictures, backbone = write_pictures(tmp_path / "pictures"), write_network()
    files = sorted(pictures.rglob("*.png"))
    frame = pd.DataFrame(
        {
            "file": [path.relative_to(tmp_path).as_posix() for path in files],
            "color": [path.parent.name for path in files],
        }
    )
    frame.to_csv("table.csv", index=False)
    keys = ("--image_key=file", "--label_key=color")
    command("table.csv", backbone, *SMALL, *keys)
    listed = pd.read_csv(tmp_path / "runs/clean-table/audit/labels.csv")
    assert sorted(listed["id"]) == sorted(frame["file"])


WORDS = {
    "blue": "the sea and the sky",
    "green": "a leaf in the forest",
    "red": "fire, roses, blood",
}


def write_rows(kind, path, num=60):
    """Writes texts or rows about colors; every tenth has the name of another."""
    random, numbers = np.random.default_rng(0), np.arange(num)
    colors = np.array(NAMES)[numbers % 3]
    rows = {"id": [f"{color}-{n:02}" for n, color in enumerate(colors)]}
    if kind == "text":
        rows["text"] = [f"{WORDS[color]}, no. {n}" for n, color in enumerate(colors)]
    else:
        rows["length"] = 9 * (numbers % 3) + random.normal(size=num)
        rows["thing"] = [WORDS[color].split()[1] for color in colors]
        rows["photo"] = ["photo.png", *[""] * (num - 1)]
        pixels = np.zeros((4, 4, 3), "uint8")
        (path.parent / "photo.png").write_bytes(tf.io.encode_png(pixels).numpy())
    rows["label"] = np.array(NAMES)[(numbers + (numbers % 10 == 0)) % 3]
    pd.DataFrame(rows).to_csv(path, index=False)
    return {f"{color}-{n:02}" for n, color in enumerate(colors) if n % 10 == 0}


@pytest.mark.parametrize(
    "kind", [pytest.param("text", marks=pytest.mark.slow), "columns"]
)
def test_texts_and_rows_go_from_table_to_page_and_classifier(
    command, tmp_path, trained, kind
):
    wrong = write_rows(kind, tmp_path / "table.csv")
    words = ["table.csv", "--num_folds=2", "--num_draws=1", "--batch_size=16"]
    words += [] if kind == "text" else ["--picture_key=photo"]
    printed = command(*words)
    assert f"60 {'texts' if kind == 'text' else 'rows'}, a classifier in 2" in printed
    workdir = tmp_path / "runs/clean-table"
    frame = pd.read_csv(workdir / "audit/labels.csv")
    assert len(wrong & set(frame["id"][:6])) >= 5
    page = (workdir / "review/data.js").read_text().partition("window.reviewData=")[2]
    page = json.loads(page.rstrip(";\n"))
    shown = ["text"] if kind == "text" else ["length", "thing"]
    assert page["detailColumns"] == shown
    assert page["name"] == "table.csv"
    pictures = page["examples"].get("picture", [])
    assert len(list(filter(None, pictures))) == (kind == "columns")

    command(*words)
    assert len(trained) == (2 if kind == "text" else 4)  # Of rows, two heads.

    write_corrections(workdir)
    done = command(*words, "--corrections=corrections.csv")
    assert "5 relabeled, 1 dropped. 59" in done
    table = pd.read_csv(workdir / "corrected.csv")
    assert [*table] == ["id", *shown, "label"]
    assert (table["id"].str.partition("-")[0] == table["label"]).all()
    classifier = keras.models.load_model(workdir / "classifier.keras")
    raw = {
        "text": tf.constant(["fire, roses", "a leaf in the forest"]),
        "columns": {
            "length": np.array([18.5, 8.5]),
            "thing": tf.constant(["roses,", "leaf"]),
        },
    }[kind]
    logits = classifier.predict(raw, verbose=0)
    assert [NAMES[label] for label in logits.argmax(axis=1)] == ["red", "green"]


@pytest.fixture(scope="module")
def wrong_data(tmp_path_factory):
    """A folder of data and networks, most of them wrong in a way."""
    folder = tmp_path_factory.mktemp("wrong")
    write_pictures(folder / "pictures", 18)
    write_network(folder / "colors.keras")
    write_features(folder / "features.npz")
    nan = np.zeros((60, 2))
    nan[3, 1] = np.nan
    write_features(folder / "nan.npz", features=nan)
    write_features(folder / "short.npz", features=np.zeros((7, 2)))
    (folder / "torn.npz").write_bytes((folder / "nan.npz").read_bytes()[:200])
    (folder / "table.csv").write_text("path,label\ngone.png,cat\nfar.png,dog\n")
    (folder / "wrong.keras").write_text("no model")
    flat = keras.Sequential([keras.Input((7,)), keras.layers.Dense(2)])
    flat.save(folder / "flat.keras")
    labels = ["cat", "dog"] * 20
    for name, rows in {
        "holes": {"text": ["one", "", "two", " "], "label": labels[:4]},
        "rows": {"age": [3, 7] * 9, "town": ["a", "b"] * 9, "photo": ["gone.png"] * 18},
        "files": {"file": ["a.jpg", "b.JPG"]},
        "reviews": {"review": ["one two three four five six", "seven eight nine"]},
        "names": {"name": [f"row {n}" for n in range(40)]},
    }.items():
        rows = {"label": labels[: len(next(iter(rows.values())))], **rows}
        pd.DataFrame(rows).to_csv(folder / f"{name}.csv", index=False)
    (folder / "taken").mkdir()
    (folder / "taken/notes.txt").touch()
    return folder


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["pictures", "--workdir=pictures/out"], "must not be within.*--workdir"),
        (["pictures", "--backbone=features"], "'features' for features.*Leave it out"),
        (["pictures", "--backbone=ResNet5"], "Did you mean 'ResNet50'"),
        (["pictures", "--backbone=gone.keras"], "Keras file that exists"),
        (["pictures", "--backbone=wrong.keras"], "wrong.keras.*could not be loaded"),
        (["pictures", "--backbone=flat.keras"], "flat.keras.*says"),
        (["features.npz", "--backbone=ResNet50"], "'features' for features"),
        (["gone"], "no file or folder 'gone'"),
        (["gone/there"], "where there is nothing"),
        (["table.csv"], "2 of the 2 images.*gone.png"),
        (["nan.npz"], "must be finite.*position 3"),
        (["short.npz"], "equally long"),
        (["torn.npz"], "torn.npz"),
        (["pictures", "--workdir=taken"], "new, empty.*'notes.txt'"),
        (["pictures", "--corrections=gone.csv"], "must be in a file that exists"),
        (["pictures", "--threshold=2"], "`threshold` must be"),
        (["pictures", "--num_folds=9"], "`num_folds` must be at most"),
        (["pictures", "--backbone=scratch", "--num_draws=2"], "has one draw.*: 2"),
        (["pictures", "again"], "Received: pictures again"),
        ([], "--pictures must have a value"),
        (["holes.csv"], "'text' must have no empty cells.*row 3; 2 such rows.*Fill"),
        (["holes.csv", "--text_key=texts"], "`--text_key` must be one of.*'texts'"),
        (
            ["rows.csv", "--columns=age", "--finetune"],
            "`finetune` is for networks on pictures",
        ),
        (["rows.csv", "--columns=age,size"], "`--columns` must be one of.*'size'"),
        (["rows.csv", "--label_key=class"], "`--label_key` must be one of.*'class'"),
        (["rows.csv", "--picture_key=photo"], "18 that are not there: .*gone.png"),
        (["rows.csv", "--text_key=town", "--columns=age"], "--text_key and --columns"),
        (
            ["rows.csv", "--columns=age", "--backbone=ResNet50"],
            "'encoded_columns' for rows",
        ),
        (["rows.csv", "--columns=age", "--on_error=skip"], "leaves out pictures"),
        (["files.csv"], "'file' seems to hold pictures: --image_key=file"),
        (["reviews.csv"], "'review' seems to hold texts: --text_key=review"),
        (["names.csv"], "'name' seems to hold names of the rows: --id_key=name"),
        (["features.npz", "--text_key=text"], "--text_key is for tables"),
    ],
)
def test_what_cannot_work_is_named_before_long_work(
    command, tmp_path, wrong_data, computed, words, message
):
    shutil.copytree(wrong_data, tmp_path, dirs_exist_ok=True)
    is_table = words and words[0].endswith((".npz", ".csv")) and words != ["table.csv"]
    has_network = any("backbone" in word for word in words)
    network = [] if is_table or has_network else ["--backbone=colors.keras"]
    with pytest.raises(SystemExit, match=f"(?s)Error: .*{message}"):
        command(*words, *network)
    assert not computed


@pytest.mark.slow
@pytest.mark.parametrize(
    ("seconds", "words"), [(42, "42 s"), (200, "3 min"), (9000, "2 h 30 min")]
)
def test_durations_are_said_in_words(seconds, words):
    assert duration(seconds) == words


def test_broken_picture_is_left_out_if_asked(command, tmp_path):
    pictures, backbone = write_pictures(tmp_path / "pictures"), write_network()
    (pictures / "red/broken.png").write_text("<html>")
    with pytest.raises(SystemExit, match=r"broken.png.*--on_error=skip"):
        command("pictures", backbone, *SMALL)
    # All in one batch, after which nothing is left to be timed.
    printed = command("pictures", backbone, *SMALL[:3], "--on_error=skip")
    assert re.search(r"About \d+ (s|min): 30 pictures", printed)
    frame = pd.read_csv(tmp_path / "runs/clean-pictures/audit/labels.csv")
    assert len(frame) == 30


def test_weights_that_cannot_be_fetched_name_the_ways_without(
    command, tmp_path, monkeypatch
):
    write_pictures(tmp_path / "pictures", 18)

    def no_network(*args, **kwargs):
        raise Exception("URL fetch failure on https://host/weights.h5: no network")

    monkeypatch.setattr(keras.utils, "get_file", no_network)
    monkeypatch.setattr("keras.src.utils.file_utils.get_file", no_network)
    with pytest.raises(SystemExit) as error:
        command("pictures", "--image_size=32", "--backbone=MobileNetV2")
    for way in ("FILE.keras", "hub:FOLDER", "FEATURES.npz", "'scratch'"):
        assert way in str(error.value)
    assert not (tmp_path / "runs/clean-pictures/features").exists()


@pytest.mark.parametrize("network", few("file", of=["file", "scratch"]))
def test_network_is_trained_where_that_is_asked_for(
    command, tmp_path, trained, computed, network, monkeypatch
):
    write_pictures(tmp_path / "pictures", 18)

    def tiny(shape, stem):
        return keras.Sequential([keras.Input(shape), keras.layers.AveragePooling2D(8)])

    module = importlib.import_module("keras_ncr.backbones.pretrained")
    monkeypatch.setattr(module, "resnet18", tiny)
    words = ["--backbone=scratch"] if network == "scratch" else ["--finetune"]
    words += [write_network()] if network == "file" else []
    words += [
        "--network_epochs=1",
        "--num_folds=2",
        "--image_size=32",
        "--batch_size=8",
    ]
    printed = command("pictures", *words)
    assert "2 trainings of" in printed
    assert re.search(r"About \d+ (s|min) for all folds", printed)
    assert len(trained) == 2
    frame = pd.read_parquet(tmp_path / "runs/clean-pictures/audit/labels.parquet")
    assert ("neighbor_label" in frame) == bool(computed) == (network == "file")
    write_corrections(tmp_path / "runs/clean-pictures")
    command("pictures", *words, "--corrections=corrections.csv")
    assert len(trained) == 2 + 2 + 1
    classifier = keras.models.load_model("runs/clean-pictures/classifier.keras")
    assert classifier.predict(np.zeros((1, 50, 40, 3)), verbose=0).shape == (1, 3)
