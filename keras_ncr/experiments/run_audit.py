"""The audit of a training run: from its folder to a list, pictures and a page."""

import os

import keras
import numpy as np

from keras_ncr import plots
from keras_ncr.audit.auditing import check_settings, identity_of, write_page
from keras_ncr.audit.findings import find
from keras_ncr.audit.predictions import predict
from keras_ncr.audit.report import report
from keras_ncr.checks import check_integer
from keras_ncr.datasets import faults_named
from keras_ncr.experiments import workdir
from keras_ncr.experiments.batches import evaluation_batches
from keras_ncr.experiments.cross_validation import out_of_sample_predictions
from keras_ncr.experiments.data import load_sources
from keras_ncr.experiments.inputs import check_data
from keras_ncr.experiments.labels import with_noise
from keras_ncr.experiments.own_pictures import check_outside
from keras_ncr.files import as_cell, check_no_links, replacing, write_json


def audit_run(
    folder: str | os.PathLike,
    trial: int = 0,
    num_folds: int = 0,
    threshold: float = 0.5,
    expected_precision: float | None = None,
    num_neighbors: int = 10,
    review: str | os.PathLike | None = None,
    verbose: int = 1,
) -> str:
    """Audits the labels that a run was trained on, and writes the list to its folder.

    The user's own pictures that were held out are audited too. Each label is judged by
    the mean of the predictions over training, where the run's method lets it keep that.
    """
    check_settings(threshold, expected_precision, num_neighbors, review)
    if num_folds:
        check_integer(num_folds, "num_folds", minimum=2)
    config = workdir.read_config(folder)
    check_no_links(folder)
    if review is not None:
        check_outside(config.data, review, "review")
    model = _model(folder, trial)
    source = with_noise(config, load_sources(config.data, is_checked=False)).audited
    if changes := check_data(source, folder):
        print(f"{changes} They are audited as they are now.")
    batches = evaluation_batches(config, source, carry=("index",), cache=False)
    with faults_named(source):
        predictions = predict(model, batches, source.num_examples, verbose)
    predictions = _with_means(predictions, source, workdir.trial_folder(folder, trial))
    out = workdir.audit_folder(folder)
    out.mkdir(exist_ok=True)
    if num_folds:
        out_of_sample = out_of_sample_predictions(
            config, source, out / f"{num_folds}-folds", num_folds, verbose
        )
        predictions = out_of_sample.with_views_of(predictions)
    identity = identity_of(predictions, source.name, source.ids, source.class_names)
    findings = find(
        predictions,
        identity,
        threshold,
        expected_precision,
        num_neighbors,
        verbose,
        own_outlier_scores=_outlier_scores(source, workdir.trial_folder(folder, trial)),
    )
    write_list(findings.frame, source.is_noisy, out)
    if review is not None:
        write_page(review, findings, source, verbose)
    return report(findings.frame, source.is_noisy, folder, review)


def _model(folder, trial):
    """Returns the trained model of a trial, or says that there is none."""
    path = workdir.trial_folder(folder, trial) / "model.keras"
    if not path.exists():
        raise ValueError(
            f"`trial` must be one of the run that is finished. Received: {trial}, and "
            f"no {path}. The command that began the run goes on with it."
        )
    remedy = f"Remove {path.parent}: the command that began the run trains it again."
    with workdir.damage_named(path, remedy):
        return keras.models.load_model(path)


def _with_means(predictions, source, folder):
    """Returns predictions with the means over training, where the run kept any."""
    remedy = "Remove it: the last weights of the model then judge alone."
    kept = _kept(folder / "mean_predictions.npz", "means", source, remedy)
    if kept is None:
        return predictions
    examples, means = kept
    is_known = ~np.isnan(means).any(axis=1)
    return predictions.with_probabilities_of(examples[is_known], means[is_known])


def _outlier_scores(source, folder):
    """Returns the scores that a training gave, 0.5 for others; `None` if it did not."""
    remedy = "Remove it: distances between features are then the scores."
    kept = _kept(folder / "outlier_scores.npz", "scores", source, remedy)
    if kept is None:
        return None
    examples, found = kept
    scores = np.full(source.num_examples, 0.5, "float32")
    scores[examples] = found
    return scores


def _kept(path, name, source, remedy):
    """Returns the examples that a trial kept something of, and that, or `None`."""
    if not path.exists():
        return None
    with workdir.damage_named(path, remedy), np.load(path) as arrays:
        ids, rows = arrays["ids"].tolist(), arrays[name]
    places = {name: place for place, name in enumerate(np.asarray(source.ids).tolist())}
    is_known = np.array([name in places for name in ids], bool)
    examples = [
        places[name] for name, known in zip(ids, is_known, strict=True) if known
    ]
    return np.array(examples, "int64"), rows[is_known]


def write_list(frame, is_wrong, out):
    """Writes the list of an audit, its summary and its pictures to a folder."""
    with replacing(out / "labels.csv") as temporary:
        cells = frame.sort_values("label_quality", kind="stable")
        texts = cells.select_dtypes(exclude=["number", "bool"])
        cells.assign(**texts.map(as_cell)).to_csv(temporary)
    with replacing(out / "labels.parquet") as temporary:
        frame.to_parquet(temporary)
    write_json(out / "summary.json", frame.attrs)
    figures = {
        "labels": plots.audit_figure(frame, is_wrong),
        "transition_matrix": plots.transition_matrix_figure(
            frame.attrs["transition_matrix"],
            frame.attrs["class_names"],
            title="Transition matrix as the audit estimates it",
        ),
    }
    for name, figure in figures.items():
        with replacing(out / f"{name}.png") as temporary:
            figure.savefig(temporary, dpi=120)
