"""The whole way of a user's own folder: train, audit, review, correct, train again."""

import csv
import json
import pathlib

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from finished_run import finished_run
from python_process import run_command

from keras_ncr.cli.apply_corrections import apply_corrections
from keras_ncr.datasets import from_table
from keras_ncr.experiments.config import own_pictures
from keras_ncr.experiments.run_audit import audit_run
from keras_ncr.noise import NoisyLabels
from keras_ncr.review.corrections import HEADER

SMALL = "size=16,backbone=mlp,epochs=20"
COLORS = {"red": (200, 40, 40), "green": (40, 200, 40), "blue": (40, 40, 200)}
NUM_OF_CLASS, NUM_WRONG_OF_CLASS = 30, 3


@pytest.fixture
def pictures(tmp_path):
    """Ninety pictures of a bright square, nine of them in the folder of another."""
    rng = np.random.default_rng(0)
    folder, names = tmp_path / "my pictures", list(COLORS)
    for place, name in enumerate(names):
        for number in range(NUM_OF_CLASS):
            picture = rng.normal(90, 25, (20, 24, 3))
            top, left = rng.integers(0, 8, 2)
            picture[top : top + 11, left : left + 14] = rng.normal(COLORS[name], 25)
            is_wrong = number < NUM_WRONG_OF_CLASS
            given = names[(place + 1 + number % 2) % 3] if is_wrong else name
            path = folder / given / f"{name} {number}, ä.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = np.clip(picture, 0, 255).astype("uint8")
            path.write_bytes(tf.io.encode_png(pixels).numpy())
    return folder


def class_of(example):
    """Returns what the picture shows, which its name tells the test alone."""
    return pathlib.Path(example).name.partition(" ")[0]


def is_wrong(example, label):
    return class_of(example) != label


def state_of(folder):
    """Returns content and time of change of everything in a folder."""
    return {
        path: (path.stat().st_mtime_ns, path.is_file() and path.read_bytes())
        for path in [folder, *folder.rglob("*")]
    }


def review(page, corrections):
    """Decides as a person would who sees what each picture shows, and exports that."""
    script = (page / "data.js").read_text("ascii")
    content = json.loads(script.partition("window.reviewData=")[2].removesuffix(";\n"))
    examples = content["examples"]
    with open(corrections, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(HEADER)
        for card in range(len(content["cards"]["suggested"])):
            example = examples["id"][card]
            given = content["classNames"][examples["given"][card]]
            action = "relabel" if is_wrong(example, given) else "keep"
            true = class_of(example)
            writer.writerow([example, given, action, true, content["datasetHash"]])


def check_list(pictures):
    """Asserts that the audit has found most of what is in the wrong folder."""
    path = pictures.parent / "runs" / "pictures" / "audit" / "labels.csv"
    table = pd.read_csv(path)
    wrong = [is_wrong(*row) for row in zip(table.id, table.given_class, strict=True)]
    assert len(table) == 90 and sum(wrong) == 9
    called = table["is_label_issue"]
    assert called[wrong].sum() >= 8 and called.sum() <= 14
    assert sum(wrong[:9]) >= 7  # The worst come first.


def check_corrected(examples, classes):
    """Asserts that hardly a wrong label is left."""
    assert sum(is_wrong(*row) for row in zip(examples, classes, strict=True)) <= 1


def check_trained_on(folder):
    """Asserts that the second training saw the corrected labels, and learned them."""
    labels = NoisyLabels.load(folder / "noise.npz")
    check_corrected(
        labels.ids, [sorted(COLORS)[label] for label in labels.noisy_labels]
    )
    results = json.loads((folder / "results.json").read_text())
    assert results["last_test_accuracy"]["mean"] > 0.9


@pytest.mark.slow
def test_wrong_pictures_of_a_folder_are_found_and_corrected(pictures):
    arguments = {"method": "ncr", "size": 16, "backbone": "mlp", "epochs": 20}
    config = own_pictures("folder", {"path": str(pictures), **arguments})
    config.batch_size = 16
    before = state_of(pictures)
    runs = pictures.parent / "runs"
    run = finished_run(runs / "pictures", config, epochs=20)
    report = audit_run(run, review=runs / "review", verbose=0)
    assert f"Open in a browser: {runs}/review/index.html" in report
    check_list(pictures)
    corrections, corrected = runs / "corrections.csv", runs / "corrected.csv"
    review(runs / "review", corrections)
    apply_corrections(run, corrections, corrected, verbose=False)
    assert state_of(pictures) == before
    source = from_table(corrected)
    assert source.num_examples == 90
    check_corrected(source.ids, [source.class_names[label] for label in source.labels])


@pytest.mark.slow
def test_five_commands_go_the_whole_way(pictures):
    folder = pictures.parent
    before = state_of(pictures)
    run_command(
        "train",
        f"--config=configs/folder.py:{pictures},{SMALL}",
        "--config.batch_size=16",
        f"--workdir={folder}/runs/pictures",
    )
    report = run_command(
        "audit", f"--workdir={folder}/runs/pictures", f"--review={folder}/runs/review"
    )
    assert f"Open in a browser: {folder}/runs/review/index.html" in report
    check_list(pictures)
    review(folder / "runs" / "review", folder / "corrections.csv")
    run_command(
        "apply-corrections",
        f"--workdir={folder}/runs/pictures",
        f"--corrections={folder}/corrections.csv",
        f"--output={folder}/corrected.csv",
    )
    table = pd.read_csv(folder / "corrected.csv")
    assert len(table) == 90
    check_corrected(table["path"], table["label"])
    run_command(
        "train",
        f"--config=configs/table.py:{folder}/corrected.csv,{SMALL}",
        "--config.batch_size=16",
        f"--workdir={folder}/runs/corrected",
    )
    check_trained_on(folder / "runs" / "corrected")
    # Or instead of the last two: the corrections as an option of the training.
    run_command(
        "train",
        f"--config=configs/folder.py:{pictures},{SMALL}",
        "--config.batch_size=16",
        f"--config.data.corrections={folder}/corrections.csv",
        f"--workdir={folder}/runs/corrected-too",
    )
    check_trained_on(folder / "runs" / "corrected-too")
    assert state_of(pictures) == before
