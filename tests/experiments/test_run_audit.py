"""Tests of the audit of a run: from its folder to its wrong labels."""

import importlib
import json
import shutil

import keras
import numpy as np
import pandas as pd
import pytest
from finished_run import finished_run
from python_process import run_command as run_as_user
from settings import config_of
from sources import random_source

import keras_ncr
from keras_ncr.audit.predictions import from_probabilities
from keras_ncr.audit.report import report
from keras_ncr.cli import audit as audit_command
from keras_ncr.experiments import run_audit, workdir
from keras_ncr.experiments.config import default_config
from keras_ncr.experiments.data import load_sources
from keras_ncr.experiments.labels import noisy
from keras_ncr.experiments.run import train
from keras_ncr.experiments.run_audit import audit_run
from keras_ncr.files import from_cell
from keras_ncr.review.corrections import dataset_hash, read_corrections


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run on digits, of whose labels 40 % were redrawn."""
    config = config_of(model__backbone="mlp")
    return finished_run(tmp_path_factory.mktemp("runs") / "digits", config, epochs=12)


@pytest.fixture(scope="module")
def output(run):
    """What the audit says."""
    return audit_run(run, verbose=0)


@pytest.fixture
def command(run_command):
    """Runs the command here; returns what it prints."""
    return lambda *arguments: run_command(audit_command, *arguments)


def given_source(run):
    config = workdir.read_config(run)
    return noisy(config, load_sources(config.data).train)


def test_audit_leaves_the_list_worst_first(run, output):
    folder = run / "audit"
    assert {path.name for path in folder.iterdir()} == {
        "labels.csv",
        "labels.parquet",
        "summary.json",
        "labels.png",
        "transition_matrix.png",
    }
    table = pd.read_csv(folder / "labels.csv")
    assert table["label_quality"].is_monotonic_increasing
    frame = pd.read_parquet(folder / "labels.parquet")
    assert frame.index.tolist() == list(range(1437))
    assert json.loads((folder / "summary.json").read_text()) == frame.attrs
    assert sorted(table["index"]) == frame.index.tolist()
    for name in ("labels.png", "transition_matrix.png"):
        assert (folder / name).read_bytes().startswith(b"\x89PNG")


def test_list_has_nothing_that_a_spreadsheet_would_compute(run, output, tmp_path):
    frame = pd.read_parquet(run / "audit" / "labels.parquet")
    frame["id"] = [f"={index}.png" for index in frame.index]
    frame.attrs["class_names"][0] = "@zero"
    run_audit.write_list(frame, None, tmp_path)
    table = pd.read_csv(tmp_path / "labels.csv", index_col="index").sort_index()
    assert table.loc[7, "id"] == "'=7.png"
    assert from_cell(table.loc[7, "id"]) == "=7.png"
    for name in frame.select_dtypes("number").columns:
        np.testing.assert_array_equal(
            table[name], frame[name].astype(str).astype(table[name].dtype), name
        )
    # Corrections that somebody writes by hand have the cells of the list.
    (tmp_path / "corrections.csv").write_text(
        f"id,given_class,action,new_class,dataset_hash\n{table.loc[7, 'id']},"
        "'@zero,relabel,1,0af3\n"
    )
    corrections = read_corrections(tmp_path / "corrections.csv")
    assert corrections.ids == ("=7.png",)
    assert corrections.given_classes == ("@zero",)


def test_list_is_of_the_labels_that_were_trained_on(run, output):
    source = given_source(run)
    frame = pd.read_parquet(run / "audit" / "labels.parquet")
    np.testing.assert_array_equal(frame["given_label"], source.labels)
    expected = dataset_hash(source.labels, source.ids)
    assert frame.attrs["dataset_hash"] == expected
    assert frame.attrs["noise_rate"] == pytest.approx(source.realized_rate, abs=0.06)
    called = frame["is_label_issue"].to_numpy()
    assert source.is_noisy[called].mean() > 0.75
    assert called[source.is_noisy].mean() > 0.8


def test_report_says_what_was_found(run, output):
    frame = pd.read_parquet(run / "audit" / "labels.parquet")
    called = frame["is_label_issue"].to_numpy()
    for start, name, word, digits in (
        ("1,437 labels,", "noise_rate", "wrong", 1),
        (f"Called wrong: {called.sum():,} labels,", "expected_precision", "rightly", 0),
    ):
        low, high = (100 * bound for bound in frame.attrs[f"{name}_bounds"])
        bounds = f"between {low:.0f} and {high:.0f} %"
        value = f"an estimated {100 * frame.attrs[name]:.{digits}f} % of them {word}"
        stated = f"{value} ({bounds})."
        if high - low > 30:
            stated = f"{bounds} of them {word}."
        assert f"{start} {stated}" in output
    precision = 100 * given_source(run).is_noisy[called].mean()
    assert f"Known to be wrong: {precision:.1f} % of those called" in output
    assert f"List and pictures: {run}/audit" in output
    assert "To look at them: the same with --review=FOLDER" in output
    for doubt in frame.attrs["doubts"]:
        assert f"Doubtful: {doubt}" in output
    assert "One so weak" not in output


def test_flags_reach_the_audit(command, run, monkeypatch):
    called = {}

    def fake(folder, **options):
        called.update(options, folder=folder)
        return "found"

    monkeypatch.setattr(audit_command, "audit_run", fake)
    printed = command(
        f"--workdir={run}",
        "--trial=2",
        "--folds=5",
        "--threshold=0.4",
        "--expected_precision=0.9",
        "--num_neighbors=7",
        "--review=page",
    )
    assert printed == "found\n"
    assert called == {
        "folder": str(run),
        "trial": 2,
        "num_folds": 5,
        "threshold": 0.4,
        "expected_precision": 0.9,
        "num_neighbors": 7,
        "review": "page",
    }


def test_folds_take_the_place_of_the_models_own_view(run, tmp_path, monkeypatch):
    source = given_source(run)
    known = 0.91 * np.eye(10)[source.clean_labels] + 0.009
    asked = []

    def fake(config, source, folder, num_folds, verbose):
        asked.append((folder, num_folds))
        return from_probabilities(source.labels, known)

    monkeypatch.setattr(run_audit, "out_of_sample_predictions", fake)
    copy = tmp_path / "run"
    copy.symlink_to(run)
    audit_run(copy, num_folds=5, verbose=0)
    assert asked == [(copy / "audit" / "5-folds", 5)]
    frame = pd.read_parquet(run / "audit" / "labels.parquet")
    given = np.where(source.is_noisy, 0.009, 0.919)
    np.testing.assert_allclose(frame["given_confidence"], given, rtol=1e-5)
    assert "neighbor_agreement" in frame


@pytest.mark.slow
def test_command_runs_in_a_process_of_its_own(run, tmp_path):
    printed = run_as_user("audit", f"--workdir={run}", f"--review={tmp_path}/page")
    assert f"Open in a browser: {tmp_path}/page/index.html" in printed
    assert (tmp_path / "page" / "index.html").is_file()


# What is refused


def test_damaged_model_is_named_with_the_remedy(run, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    path = copy / "trial-0" / "model.keras"
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(ValueError, match=f"^{path} is damaged: .*Remove {path.parent}"):
        audit_run(copy, verbose=0)


def test_damaged_means_are_named_with_the_remedy(tmp_path):
    path = tmp_path / "mean_predictions.npz"
    path.write_bytes(b"PK half")
    with pytest.raises(ValueError, match=f"^{path} is damaged: .*Remove it"):
        run_audit._with_means(None, None, tmp_path)


@pytest.mark.usefixtures("eager_functions")
@pytest.mark.parametrize("share", [pytest.param(0.2, marks=pytest.mark.slow), "auto"])
def test_a_run_that_rejects_outliers_gives_the_audit_its_scores(share, tmp_path):
    config = config_of(model__backbone="mlp", epochs=1, trials=1)
    config.batch_size, config.ncr.reject_outliers = 720, share
    train(config, tmp_path / "run", verbose=0)
    audit_run(tmp_path / "run", verbose=0)
    found = pd.read_parquet(tmp_path / "run" / "audit" / "labels.parquet")
    model = keras.models.load_model(tmp_path / "run" / "trial-0" / "model.keras")
    assert model.reject_outliers == share
    np.testing.assert_array_equal(found["outlier_score"], model.outlier_scores())


def test_examples_that_a_training_did_not_have_score_as_the_median(tmp_path):
    source = random_source(4)
    assert run_audit._outlier_scores(source, tmp_path) is None
    scores = np.array([0.9, 0.2], "float32")
    np.savez(tmp_path / "outlier_scores.npz", ids=[2, 0], scores=scores)
    received = run_audit._outlier_scores(source, tmp_path)
    np.testing.assert_allclose(received, [0.2, 0.5, 0.9, 0.5])


def test_page_within_the_pictures_is_refused(tmp_path):
    config = config_of(data__name="folder", data__path=str(tmp_path))
    workdir.claim(tmp_path.parent / "run", config)
    with pytest.raises(ValueError, match="`review` must not be within"):
        audit_run(tmp_path.parent / "run", review=tmp_path / "page")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "flag --workdir must have a value"),
        (["--workdir=nowhere"], "`workdir` must be the folder of a run.*nowhere"),
        (
            ["--workdir={run}", "--folds=1"],
            "`--folds` must be an integer of at least 2. Received: --folds=1",
        ),
        (["--workdir={run}", "--trial=1"], "`trial` must be one of the run.*trial-1"),
        (["--workdir={run}", "--threshold=1"], "must be above 0 and below 1"),
        (["--workdir={run}", "--expected_precision=0"], "must be above 0"),
        (["--workdir={run}", "--expected_precision=2"], "from 0 to 1"),
        (
            ["--workdir={run}", "--num_neighbors=0"],
            "num_neighbors=0: 0 is not a positive",
        ),
        (["--workdir={run}", "--review={run}"], "must be new, empty, or hold"),
        (["--workdir={run}", "--reviw=page"], "reviw"),
    ],
)
def test_command_that_cannot_work_says_why(arguments, message, command, run):
    before = sorted(run.parent.rglob("*"))
    with pytest.raises(SystemExit, match=message):
        command(*(argument.format(run=run) for argument in arguments))
    assert sorted(run.parent.rglob("*")) == before


def test_words_that_are_no_flags_are_refused(command, run):
    with pytest.raises(SystemExit, match="a flag reads --NAME=VALUE.*Received: page"):
        command(f"--workdir={run}", "page")


def test_run_that_is_not_finished_is_refused(tmp_path):
    folder = workdir.claim(tmp_path / "run", default_config())
    workdir.trial_folder(folder, 0).mkdir()  # Training has begun.
    with pytest.raises(ValueError, match="The command that began the run goes on"):
        audit_run(folder, verbose=0)
    assert not (folder / "audit").exists()


def test_function_and_package_of_one_name_live_together():
    package = importlib.import_module("keras_ncr.audit")
    importlib.import_module("keras_ncr.audit.findings")
    assert keras_ncr.audit is package.audit
    assert callable(keras_ncr.audit) and "audit" in keras_ncr.__all__


def reported(num_called, **attrs):
    """Returns the report of a table of 100 labels of which some are called."""
    frame = pd.DataFrame({"is_label_issue": np.arange(100) < num_called})
    frame.attrs = {
        "name": "pets",
        "noise_rate": 0.2,
        "noise_rate_bounds": [0.1, 0.3],
        "expected_precision": 0.8 if num_called else None,
        "expected_precision_bounds": [0.65, 0.9] if num_called else None,
        "doubts": [],
        "confused_classes": [],
        **attrs,
    }
    return report(frame, None, "runs/pets", None)


def test_report_states_bounds():
    text = reported(15)
    assert "an estimated 20.0 % of them wrong (between 10 and 30 %)." in text
    assert "15 labels, an estimated 80 % of them rightly (between 65 and 90 %)" in text
    assert "Doubtful" not in text


def test_report_names_no_number_where_bounds_are_wide():
    text = reported(15, expected_precision_bounds=[0.1, 0.9])
    assert "15 labels, between 10 and 90 % of them rightly." in text
    assert "80 %" not in text
    text = reported(15, noise_rate_bounds=[0.0, 0.9])
    assert "100 labels, between 0 and 90 % of them wrong." in text
    assert "20.0 %" not in text


def test_report_of_nothing_called_promises_nothing():
    text = reported(0)
    assert "Called wrong: no label." in text and "rightly" not in text


def test_report_says_every_doubt():
    text = reported(9, doubts=["The model is weak.", "One class alone."])
    assert "Doubtful: The model is weak.\nDoubtful: One class alone.\n" in text


def test_report_says_perhaps_where_the_error_may_be_that_of_the_model():
    pair = {"given": "cat", "suggested": "dog", "count": 12, "reverse_count": 0}
    text = reported(15, confused_classes=[pair])
    assert "Labeled cat, should be dog: 12 (the other way round: 0)" in text
    wide = [0.1, 0.9]
    text = reported(15, confused_classes=[pair], expected_precision_bounds=wide)
    assert "Labeled cat, perhaps dog: 12" in text and "should be" not in text
