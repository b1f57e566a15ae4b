"""Tests of the user's own data: what must not change its meaning in silence."""

import csv

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from keras_ncr.cli.config_flag import config_path
from keras_ncr.datasets import from_table
from keras_ncr.experiments import run_audit, workdir
from keras_ncr.experiments.config import default_config
from keras_ncr.experiments.data import load_sources
from keras_ncr.experiments.inputs import check_data, keep_data, keep_left_out
from keras_ncr.experiments.own_pictures import (
    check_outside,
    in_settings,
    picture_folder,
)
from keras_ncr.noise import NoisyLabels


def write(folder, *paths):
    """Writes a small picture to each path."""
    for number, path in enumerate(paths):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        pixels = np.full((4, 4, 3), number, "uint8")
        (folder / path).write_bytes(tf.io.encode_png(pixels).numpy())


@pytest.fixture
def pets(tmp_path):
    """A folder of four pictures each of two classes."""
    folder = tmp_path / "pets"
    write(folder, *(f"{name}/{i}.png" for name in ("cat", "dog") for i in range(4)))
    return folder


def config_of(path, kind="folder", **settings):
    """Returns a config for the user's own data."""
    config = default_config()
    config.data.name, config.data.path = kind, str(path)
    config.data.hold_out, config.noise.kind = 0.25, "none"
    config.update_from_flattened_dict(settings)
    return config


def sources_of(path, **settings):
    return load_sources(config_of(path, **settings).data)


# Classes that change between training and audit


@pytest.fixture
def run(pets, tmp_path, monkeypatch):
    """The folder of a run on the pets, whose model is never asked."""
    config = config_of(pets)
    folder = workdir.claim(tmp_path / "run", config)
    keep_data(load_sources(config.data).audited, folder)
    monkeypatch.setattr(run_audit, "_model", lambda folder, trial: None)
    return folder


def test_class_folder_that_was_renamed_is_named_and_no_label_called_wrong(pets, run):
    (pets / "cat").rename(pets / "zebra")
    with pytest.raises(ValueError, match="no longer there: 'cat'; new: 'zebra'. Give"):
        run_audit.audit_run(run)


def test_class_folder_that_was_added_is_named(pets, run):
    write(pets, "bird/0.png")
    with pytest.raises(ValueError, match="Received: new: 'bird'. Give"):
        run_audit.audit_run(run)


def test_class_folder_that_was_emptied_is_named(pets, run):
    for file in (pets / "dog").iterdir():
        file.unlink()
    with pytest.raises(ValueError, match="Class folder 'dog' must hold an image"):
        run_audit.audit_run(run)


def test_examples_that_are_new_since_training_are_said_and_audited(pets, run):
    source = sources_of(pets).audited
    assert check_data(source, run) == ""
    write(pets, "cat/new.png")
    changes = check_data(sources_of(pets).audited, run)
    assert changes.endswith("there were 8, and there are 9.")
    relabeled = source.relabeled(1 - source.labels)
    assert check_data(relabeled, run).endswith("there were 8, and there are 8.")


def test_classes_in_another_order_are_others(tmp_path):
    for name in "wxyz":
        (tmp_path / name).touch()
    source = sources_of_labels(["a", "b"], tmp_path)
    keep_data(source, tmp_path)
    with pytest.raises(ValueError, match="Received: another order"):
        check_data(sources_of_labels(["b", "a"], tmp_path), tmp_path)


def sources_of_labels(names, folder):
    """Returns a source of a table whose classes have an order."""
    frame = pd.DataFrame({"label": ["a", "b"] * 2, "path": list("wxyz")})
    return from_table(frame, folder, class_names=names)


# What is written, beside what is read


@pytest.mark.parametrize("place", ["pets/runs/a", "pets", "pets/cat/run"])
@pytest.mark.parametrize("argument", ["workdir", "review"])
def test_nothing_is_written_among_the_pictures(pets, tmp_path, place, argument):
    data = config_of(pets).data
    with pytest.raises(
        ValueError, match=f"`{argument}` must not .* one class more.*/pets"
    ):
        check_outside(data, tmp_path / place, argument)
    check_outside(data, tmp_path / "pets-runs", argument)
    write(tmp_path, "labels.png")
    check_outside(config_of(tmp_path / "t.csv", "table").data, tmp_path / "r", argument)


def test_nothing_is_written_beside_the_splits_or_among_the_test_pictures(
    pets, tmp_path, monkeypatch
):
    both = tmp_path / "both"
    both.mkdir()
    pets.rename(both / "train")
    write(both, "test/cat/0.png")
    for place in ("both/runs", "both/test/runs", "both/train/runs"):
        with pytest.raises(ValueError, match="must not be within that of"):
            check_outside(config_of(both).data, tmp_path / place, "workdir")
    settings = {"data.test_path": str(both / "test")}
    data = config_of(both / "train", **settings).data
    with pytest.raises(ValueError, match="must not be within that of"):
        check_outside(data, both / "test" / "runs", "workdir")
    monkeypatch.chdir(both / "train")
    with pytest.raises(ValueError, match="must not be within that of"):
        check_outside(config_of(".").data, "runs/inspect-folder", "workdir")


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


def test_tilde_is_the_home_folder_wherever_a_path_comes_in(home, pets):
    config = default_config()
    assert workdir.claim("~/run", config) == home / "run"
    assert workdir.read_config("~/run") == config
    assert workdir.trial_folder("~/run", 0) == home / "run" / "trial-0"
    assert workdir.audit_folder("~/run") == home / "run" / "audit"
    NoisyLabels(None, [0, 1]).save("~/noise.npz")
    assert len(NoisyLabels.load("~/noise.npz")) == 2
    (home / "mine.py").touch()
    assert config_path("~/mine.py") == home / "mine.py"
    pets.rename(home / "pets")
    assert sources_of("~/pets").whole.num_examples == 8
    with pytest.raises(ValueError, match="must not be within that of"):
        check_outside(config_of("~/pets").data, "~/pets/run", "workdir")
    assert not (home.parent / "~").exists()


# What is left out


def test_files_left_out_are_said_in_one_line_and_listed(pets, tmp_path, capsys):
    write(pets, "cat/img0", "cat/img1", "dog/a.jpg?w=300")
    (pets / "dog" / "notes.txt").touch()
    (pets / "dog" / "more").symlink_to(tmp_path / "not mounted")
    sources = sources_of(pets)
    assert capsys.readouterr().out == (
        "Left out 5 beside 8 examples (train, 'pets'): 3 an image without the end of "
        "one in its name ('cat/img0', 'cat/img1', 'dog/a.jpg?w=300'); 1 a link that "
        "leads nowhere ('dog/more'); 1 not named as an image ('dog/notes.txt'). All of "
        "them are in left_out.csv in the workdir of training or inspect.\n"
    )
    keep_left_out(sources.left_out, tmp_path / "left_out.csv")
    with open(tmp_path / "left_out.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == [file.id for file in sources.whole.left_out]
    assert {row["split"] for row in rows} == {"train"}


def test_nothing_left_out_is_no_line_and_no_list(pets, tmp_path, capsys):
    keep_left_out(sources_of(pets).left_out, tmp_path / "left_out.csv")
    assert capsys.readouterr().out == ""
    assert not (tmp_path / "left_out.csv").exists()


def test_third_split_is_left_out_and_said_to_be(pets, tmp_path, capsys):
    for part in ("train", "val", "test"):
        write(tmp_path / "parts", *(f"{part}/{name}/0.png" for name in ("cat", "dog")))
    sources_of(tmp_path / "parts")
    assert "1 a folder that is neither train nor test ('../val')" in (
        capsys.readouterr().out
    )


# Words of the commands


@pytest.mark.parametrize("parts", [("train", "val"), ("training_set", "test_set")])
def test_folders_of_splits_are_answered_with_the_settings_that_name_them(
    tmp_path, parts
):
    write(tmp_path, *(f"{part}/{name}/0.png" for part in parts for name in "ab"))
    with pytest.raises(ValueError, match="--config.data.test_split=.*test_path="):
        sources_of(tmp_path)
    settings = dict(zip(("data.train_split", "data.test_split"), parts, strict=True))
    assert sources_of(tmp_path, **settings).test.num_examples == 2


def test_one_image_of_each_class_is_answered_with_the_settings(tmp_path):
    write(tmp_path, *(f"{number}/0.png" for number in range(9)))
    with pytest.raises(
        ValueError, match="`config.data.hold_out` .*9 of one image.*test"
    ):
        sources_of(tmp_path)


@pytest.mark.parametrize(
    ("rows", "settings", "message"),
    [
        ("id,class\nx,0\n", {}, "`--config.data.image_key` must be one of .*'id'"),
        ("path,class\na,0\n", {}, "`--config.data.label_key` must be one of"),
        (
            "path,label\na,0\nb,1\n",
            {"data.clean_label_key": "t"},
            "`--config.data.clean_label_key` must be",
        ),
        ("path,label\nx,0\na,1\n", {}, "own folder, '.*': move the table, or write"),
        ("path,label\na,0\nb,0\n", {}, "two classes. Received: 0 alone.$"),
        ("path,label\na,0\nb,5\n", {}, "none of class 1. Subtract 1 .* with 1.$"),
    ],
)
def test_errors_of_tables_are_in_the_words_of_the_command(
    tmp_path, rows, settings, message
):
    for name in "ab":
        (tmp_path / name).touch()
    (tmp_path / "t.csv").write_text(rows)
    with pytest.raises((ValueError, FileNotFoundError), match=message) as error:
        sources_of(tmp_path / "t.csv", kind="table", **settings)
    assert "class_names" not in str(error.value)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (
            "`label_key` must be one of ['a']. Received: label_key='b'.",
            "`--config.data.label_key` must be one of ['a']. Received: "
            "--config.data.label_key='b'.",
        ),
        (
            "Copy DIR, and pass it as `data_dir`. Received: data_dir=None, download=1.",
            "Copy DIR, and pass it by `--config.data.dir=`. Received: "
            "--config.data.dir=None, download=1.",
        ),
        ("Nothing to change here.", "Nothing to change here."),
    ],
)
@pytest.mark.parametrize("kind", [ValueError, FileNotFoundError])
def test_errors_of_public_data_are_in_the_words_of_the_command(message, expected, kind):
    with pytest.raises(kind) as error, in_settings():
        raise kind(message)
    assert str(error.value) == expected


@pytest.mark.parametrize("paths", [["cat/0.txt", "dog/0.png"], ["train/0.png"]])
def test_errors_of_folders_are_in_the_words_of_the_command(tmp_path, paths):
    write(tmp_path / "p", *paths)
    with pytest.raises(ValueError, match="^`config.data.path`") as error:
        sources_of(tmp_path / "p")
    assert "class_names" not in str(error.value)


@pytest.mark.parametrize("kind", ["path", "bytes"])
def test_pictures_in_a_table_have_no_folder_that_ids_start_from(pets, kind):
    files = sorted(pets.rglob("*.png"))
    cells = [file.read_bytes() if kind == "bytes" else str(file) for file in files]
    frame = pd.DataFrame({"image": cells, "label": [0, 1] * 4})
    frame.to_parquet(pets / "t.parquet")
    data = config_of(pets / "t.parquet", "table", **{"data.image_key": "image"}).data
    assert picture_folder(data) == (pets if kind == "path" else None)
    assert load_sources(data).whole.num_examples == 8
    data.image_key = "picture"
    assert picture_folder(data) == pets
    with pytest.raises(ValueError, match="`--config.data.image_key` must be one of"):
        load_sources(data)
