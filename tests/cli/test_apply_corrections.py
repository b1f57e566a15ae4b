"""Tests of apply_corrections.py and export.py: a data set written anew."""

import functools
import hashlib
import pathlib
import shlex

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from keras_ncr.cli import apply_corrections
from keras_ncr.datasets import digits, from_arrays, from_folder, from_table
from keras_ncr.datasets.image_files import source_of_files
from keras_ncr.experiments import workdir
from keras_ncr.experiments.config import default_config, own_pictures
from keras_ncr.experiments.data import load_sources
from keras_ncr.experiments.labels import noisy, with_noise
from keras_ncr.review import export
from keras_ncr.review.corrections import HEADER, dataset_hash


@pytest.fixture
def command(run_command):
    """Runs the command; returns what it prints."""
    return functools.partial(run_command, apply_corrections)


@pytest.fixture
def pictures(tmp_path):
    """Six pictures each of cats and dogs, of which three have names in both."""
    folder = tmp_path / "my pictures, 2026"
    for number in range(6):
        write_picture(folder / "cat" / f"{number}.png", number)
        write_picture(folder / "dog" / "old ü" / f"{number + 3}.png", 100 + number)
    write_picture(folder / "dog" / "0.png", 200)
    return folder


@pytest.fixture
def run(tmp_path, pictures):
    """A workdir of a run on the pictures, as training leaves it."""
    arguments = {"method": "ncr", "size": 4, "backbone": "mlp", "epochs": 2}
    config = own_pictures("folder", {"path": str(pictures), **arguments})
    return workdir.claim(tmp_path / "run", config)


def write_picture(path, gray):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(tf.io.encode_png(np.full((4, 4, 3), gray, "uint8")).numpy())


def reviewed(run, decisions, name="corrections.csv"):
    """Writes decisions on the labels of a run: from ids to classes, None for drop."""
    config = workdir.read_config(run)
    source = with_noise(config, load_sources(config.data, is_checked=False)).audited
    label_of = dict(zip(source.ids.tolist(), source.labels, strict=True))
    rows = []
    for example, after in decisions.items():
        before = source.class_names[label_of[example]]
        action = "drop" if not after else "keep" if after == before else "relabel"
        rows.append([example, before, action, after or ""])
    frame = pd.DataFrame(rows, columns=HEADER[:-1])
    frame["dataset_hash"] = dataset_hash(source.labels, source.ids)
    path = run.parent / name
    frame.to_csv(path, index=False)
    return path


def state_of(folder):
    """Returns content and time of change of everything in a folder."""
    return {
        str(path.relative_to(folder)): (
            path.stat().st_mtime_ns,
            hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None,
        )
        for path in [folder, *folder.rglob("*")]
    }


def classes_of(source):
    """Returns the class of each picture, by its content."""
    contents = [bytes(image) for image in source.stored_inputs.numpy()]
    classes = [source.class_names[label] for label in source.labels]
    return dict(zip(contents, classes, strict=True))


DECISIONS = {
    "cat/0.png": "dog",  # Its name is taken there.
    "cat/1.png": "dog",
    "cat/2.png": None,
    "cat/3.png": "cat",
    "dog/old ü/3.png": "cat",
}


def corrected_classes(pictures):
    """Returns what the class of each picture is after the decisions, by its content."""
    classes = {}
    for path in pictures.rglob("*.png"):
        name = path.relative_to(pictures).as_posix()
        after = DECISIONS.get(name, name.partition("/")[0])
        if after is not None:
            classes[path.read_bytes()] = after
    return classes


# The command


def test_new_folder_has_copies_in_the_corrected_classes(command, run, pictures):
    corrections = reviewed(run, DECISIONS)
    before = state_of(pictures)
    output = run.parent / "corrected"
    printed = command(
        f"--workdir={run}", f"--corrections={corrections}", f"--output={output}"
    )
    assert state_of(pictures) == before
    source = from_folder(output)
    assert classes_of(source) == corrected_classes(pictures)
    assert source.ids.tolist() == [
        *("cat/3.png", "cat/4.png", "cat/5.png", "cat/old ü/3.png"),
        *("dog/0 (2).png", "dog/0.png", "dog/1.png"),
        *(f"dog/old ü/{number}.png" for number in range(4, 9)),
    ]
    assert "1 kept, 3 relabeled, 1 dropped. 12 examples are left." in printed
    assert f"--config.data.corrections={corrections}" in printed
    assert f"--config=folder --config.data.path={output}" in printed
    # No link leads to a picture of the user's.
    (output / "dog" / "1.png").write_bytes(b"")
    assert state_of(pictures) == before
    assert {path.name for path in run.parent.iterdir()} == {
        *(corrections.name, output.name, pictures.name, run.name)
    }


@pytest.mark.parametrize("place", ["", "my pictures, 2026", "elsewhere/new"])
@pytest.mark.parametrize("name", ["table.csv", "table.parquet"])
def test_table_has_the_corrected_classes(command, run, pictures, place, name):
    corrections = reviewed(run, DECISIONS)
    before = state_of(pictures)
    output = run.parent / place / name
    printed = command(
        f"--workdir={run}", f"--corrections={corrections}", f"--output={output}"
    )
    source = from_table(output)
    assert classes_of(source) == corrected_classes(pictures)
    paths = set(source.ids.tolist())
    start = {"": "my pictures, 2026/", "my pictures, 2026": ""}.get(place)
    start = f"{pictures}/" if start is None else start
    assert f"{start}dog/0.png" in paths
    output.unlink()
    if place == pictures.name:
        # That the user asked for a file there is all that has happened.
        before["."] = state_of(pictures)["."]
    assert state_of(pictures) == before
    words = ["--config=table", f"--config.data.path={output}"]
    assert shlex.join(words) in printed


def test_corrected_table_becomes_a_folder_and_a_table_again(command, run, pictures):
    table = pictures / "labels.csv"
    rows = [f"cat/{n}.png,cat" for n in range(6)] + ["./dog/0.png,dog"]
    rows += [f'"{pictures}/dog/old ü/{n}.png",dog' for n in range(3, 9)]
    table.write_text("\n".join(["path,label", *rows]), encoding="utf-8")
    config = workdir.read_config(run)
    config.data.name, config.data.path = "table", str(table)
    run = workdir.claim(run.parent / "run of a table", config)
    decisions = {
        "cat/0.png": "dog",
        "cat/1.png": "dog",
        "cat/2.png": None,
        f"{pictures}/dog/old ü/3.png": "cat",
    }
    corrections = reviewed(run, decisions)
    for output in (run.parent / "corrected", pictures / "corrected.csv"):
        command(
            f"--workdir={run}", f"--corrections={corrections}", f"--output={output}"
        )
        source = from_folder(output) if output.is_dir() else from_table(output)
        assert classes_of(source) == corrected_classes(pictures)


def test_data_without_files_become_ids_and_labels(command, tmp_path):
    run = workdir.claim(tmp_path / "run", default_config())
    train, _ = digits()
    first, second = train.ids[:2].tolist()
    corrections = reviewed(run, {first: "7", second: None})
    arguments = [f"--workdir={run}", f"--corrections={corrections}"]
    printed = command(*arguments, f"--output={tmp_path / 'labels.csv'}")
    frame = pd.read_csv(tmp_path / "labels.csv")
    expected = noisy(default_config(), train).labels.copy()
    expected[0] = 7
    assert frame.columns.tolist() == ["id", "label"]
    assert frame["id"].tolist() == np.delete(train.ids, 1).tolist()
    assert frame["label"].tolist() == np.delete(expected, 1).tolist()
    assert "configs/" not in printed
    with pytest.raises(SystemExit, match="image files only.*ends with .csv or .parq"):
        command(*arguments, f"--output={tmp_path / 'folder'}")
    assert not (tmp_path / "folder").exists()


def test_class_without_pictures_is_named(command, run):
    decisions = {f"cat/{number}.png": "dog" for number in range(6)}
    corrections = reviewed(run, decisions)
    printed = command(
        f"--workdir={run}",
        f"--corrections={corrections}",
        f"--output={run.parent / 'corrected'}",
    )
    assert "No example is left of: cat" in printed


def test_output_that_is_in_use_is_left_alone(command, run, pictures):
    corrections = reviewed(run, DECISIONS)
    taken = run.parent / "taken.csv"
    taken.write_text("mine")
    outputs = {
        taken: "which exists",
        run: "which exists",
        pictures: "must not be within that of the pictures",
        pictures / "corrected": "must not be within that of the pictures",
        pictures / "cat" / "0.png": "must not be within that of the pictures",
        taken / "corrected": "taken.csv",
    }
    before = state_of(run.parent)
    for output, message in outputs.items():
        with pytest.raises(SystemExit, match=message):
            command(
                f"--workdir={run}", f"--corrections={corrections}", f"--output={output}"
            )
    assert state_of(run.parent) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--workdir=."], "flag --corrections must have a value"),
        (["--workdir=.", "--corrections=c.csv"], "flag --output must have a value"),
        (["--corrections=c.csv", "--output=o.csv"], "flag --workdir must have a value"),
        (["--workdir=w", "--corrections=c.csv", "--output=o"], "no config.json"),
    ],
)
def test_missing_flag_is_named(command, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match=message):
        command(*arguments)


def test_corrections_of_other_data_write_nothing(command, run, pictures):
    corrections = reviewed(run, DECISIONS)
    write_picture(pictures / "cat" / "new.png", 77)
    before = state_of(run.parent)
    for output in ("corrected", "corrected.csv"):
        with pytest.raises(SystemExit, match="dataset_hash=.*of other data"):
            command(
                f"--workdir={run}",
                f"--corrections={corrections}",
                f"--output={run.parent / output}",
            )
    assert state_of(run.parent) == before


# What is written


def files_of(folder, names, labels, class_names=("cat", "dog")):
    """Returns a `Source` of one-pixel pictures that it writes."""
    paths = [folder / name for name in names]
    for number, path in enumerate(paths):
        write_picture(path, number)
    return source_of_files(
        "files", list(map(str, paths)), np.array(labels), names, class_names
    )


def test_names_that_are_taken_get_numbers(tmp_path):
    names = ["b/1.png", "1.PNG", "/x/1.png", "cat/1.png", "c/1 (2).png", "cat/c/1.png"]
    source = files_of(tmp_path / "in", [name.strip("/") for name in names], [0] * 6)
    export.write_folder(source, tmp_path / "out")
    found = {
        path.relative_to(tmp_path / "out").as_posix(): path.read_bytes()
        for path in tmp_path.glob("out/**/*.*")
    }
    contents = [bytes(image) for image in source.stored_inputs.numpy()]
    assert {contents.index(image): name for name, image in found.items()} == {
        0: "cat/1 (2).png",
        1: "cat/1 (3).PNG",
        2: "cat/1 (4).png",
        3: "cat/1.png",
        4: "cat/1 (2) (2).png",
        5: "cat/c/1.png",
    }


def test_picture_does_not_leave_the_new_folder(tmp_path):
    names = ["cat/../../x/1.png", "dog/cat/2.png"]
    source = files_of(tmp_path / "a" / "in", ["1.png", "2.png"], [0, 1])
    source = source_of_files(
        "files",
        [str(tmp_path / "a" / "in" / name) for name in ("1.png", "2.png")],
        source.labels,
        names,
        source.class_names,
    )
    export.write_folder(source, tmp_path / "a" / "out")
    assert from_folder(tmp_path / "a" / "out").ids.tolist() == [
        *("cat/1.png", "dog/2.png")
    ]


@pytest.mark.parametrize(
    ("name", "class_names", "message"),
    [
        ("1.png", ("cat", "../dog"), r"names that folders can have.*'\.\./dog'"),
        ("1.png", ("cat", ".."), r"Received: '\.\.'"),
        ("1.png", ("cat", ".dog"), r"Received: '\.dog'"),
        (".1.png", ("cat", "dog"), r"Received: 'cat/\.1\.png'"),
        ("1.dat", ("cat", "dog"), r"Received: 'cat/1\.dat'. Write a table"),
    ],
)
def test_what_no_folder_can_hold_is_refused(tmp_path, name, class_names, message):
    source = files_of(tmp_path / "in", [name, "2.png"], [0, 1], class_names)
    with pytest.raises(ValueError, match=message):
        export.write_folder(source, tmp_path / "out")
    assert {path.name for path in tmp_path.iterdir()} == {"in"}


def test_failure_on_the_way_leaves_nothing(tmp_path):
    source = files_of(tmp_path / "in", ["cat/1.png", "dog/2.png"], [0, 1])
    (tmp_path / "in" / "dog" / "2.png").unlink()
    with pytest.raises(ValueError, match="'dog/2.png', which is gone"):
        export.write_folder(source, tmp_path / "out")
    with pytest.raises(ValueError, match="1 of 2 files are not in .*'dog/2.png'"):
        export.write_table(source, tmp_path / "out.csv", tmp_path / "in")
    assert {path.name for path in tmp_path.iterdir()} == {"in"}


def test_interruption_leaves_nothing(tmp_path, monkeypatch):
    def interrupt(frame, path, **options):
        pathlib.Path(path).write_text("half")
        raise KeyboardInterrupt

    monkeypatch.setattr(pd.DataFrame, "to_csv", interrupt)
    source = files_of(tmp_path / "in", ["cat/1.png", "dog/2.png"], [0, 1])
    with pytest.raises(KeyboardInterrupt):
        export.write_table(source, tmp_path / "out.csv", tmp_path / "in")
    assert {path.name for path in tmp_path.iterdir()} == {"in"}


@pytest.mark.parametrize(
    ("class_names", "message"),
    [
        (("0", "1"), None),
        (("1", "0"), None),
        (("3", "8"), "called by numbers must be 0, 1.*'3', '8'. Write a .parquet"),
        (("-1", "0"), "called by numbers"),
        (("01", "1"), None),
        (("1", "cat"), None),
        (("NA", "null"), None),
        (('a,"b"', "c\nd"), None),
    ],
)
def test_names_of_classes_survive_the_table(tmp_path, class_names, message):
    source = files_of(tmp_path, ["a.png", "b.png"], [0, 1], class_names)
    export.write_table(source, tmp_path / "t.parquet", tmp_path)
    if message is None:
        export.write_table(source, tmp_path / "t.csv", tmp_path)
    else:
        with pytest.raises(ValueError, match=message):
            export.write_table(source, tmp_path / "t.csv", tmp_path)
    tables = list(tmp_path.glob("t.*"))
    assert len(tables) == 2 - (message is not None)
    for table in tables:
        again = from_table(table)
        names = [again.class_names[label] for label in again.labels]
        assert names == list(class_names)


@pytest.mark.parametrize("name", ["t.csv", "t.parquet"])
def test_names_with_a_space_before_them_are_kept_in_folders_only(tmp_path, name):
    class_names = ("cow", " cat")
    source = files_of(tmp_path / "in", ["a.png", "b.png"], [0, 1], class_names)
    with pytest.raises(ValueError, match="with a space. Received: ' cat'. Write a fol"):
        export.write_table(source, tmp_path / name, tmp_path / "in")
    export.write_folder(source, tmp_path / "out")
    assert classes_of(from_folder(tmp_path / "out")) == classes_of(source)


def test_empty_folder_may_be_filled(tmp_path):
    source = files_of(tmp_path / "in", ["cat/1.png", "dog/2.png"], [0, 1])
    (tmp_path / "out").mkdir()
    export.write_folder(source, tmp_path / "out")
    assert classes_of(from_folder(tmp_path / "out")) == classes_of(source)


def test_pictures_in_memory_become_no_folder(tmp_path):
    source = from_arrays(np.zeros((2, 2, 2, 1), int), [0, 1])
    with pytest.raises(ValueError, match="image files only. Received: 'arrays'"):
        export.write_folder(source, tmp_path / "out")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("DOG", "dog"), "must be spelled in one way each"),
        (("Stra\u00dfe", "STRASSE"), "must be spelled in one way each"),
        (("cat", " cat"), "must be spelled in one way each"),
        (("A", "a"), "more than case.*Write a table instead"),
    ],
)
def test_classes_that_are_one_folder_on_some_disks_are_refused(
    tmp_path, names, message
):
    source = files_of(tmp_path / "in", ["1.png", "2.png"], [0, 1], names)
    with pytest.raises(ValueError, match=message):
        export.write_folder(source, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    # A class without pictures has no folder.
    export.write_folder(source.relabeled([0, 0]), tmp_path / "out")


def test_picture_that_a_link_leads_to_outside_is_not_copied(command, run, pictures):
    secret = run.parent / "secret.png"
    write_picture(secret, 7)
    inside = pictures / "cat" / "1.png"
    (pictures / "cat" / "0.png").unlink()
    (pictures / "cat" / "0.png").symlink_to(secret)
    output = run.parent / "corrected"
    corrections = reviewed(run, {"cat/2.png": None})
    arguments = [f"--workdir={run}", f"--corrections={corrections}"]
    expected = r"1 of 12 pictures are links to files outside.*'cat/0.png'"
    with pytest.raises(SystemExit, match=expected):
        command(*arguments, f"--output={output}")
    assert not output.exists()
    (pictures / "cat" / "0.png").unlink()
    (pictures / "cat" / "0.png").symlink_to(inside)  # Which stays within.
    command(*arguments, f"--output={output}")
    assert (output / "cat" / "0.png").read_bytes() == inside.read_bytes()
    assert not (output / "cat" / "0.png").is_symlink()
