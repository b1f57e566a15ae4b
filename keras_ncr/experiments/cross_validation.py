"""Out-of-sample predictions: each example judged by a model that has not seen it."""

import os

import keras
from ml_collections import ConfigDict

from keras_ncr.audit.predictions import Predictions, joined, predict
from keras_ncr.datasets import Source
from keras_ncr.datasets.split import stratified_folds
from keras_ncr.experiments import workdir
from keras_ncr.experiments.batches import evaluation_batches
from keras_ncr.experiments.data import Sources
from keras_ncr.experiments.inputs import keep_labels
from keras_ncr.experiments.trials import Trial


def out_of_sample_predictions(
    config: ConfigDict,
    source: Source,
    folder: str | os.PathLike,
    num_folds: int = 5,
    verbose: int = 0,
) -> Predictions:
    """Returns the `Predictions` for each example of a model that has not seen it."""
    # A fold that is finished is not trained again; one that was interrupted goes on.
    # No training may see or measure anything of the truth.
    source = source.relabeled(source.labels, clean_labels=None)
    folds = stratified_folds(source.labels, num_folds)
    with workdir.occupied(folder, config) as folder:
        remedy = f"Remove {folder}: its models, which saw them, are trained again."
        keep_labels(source.record, folder / "labels.npz", remedy)
        parts = []
        for fold, (kept, held_out) in enumerate(folds):
            if verbose:
                print(f"Fold {fold + 1} of {num_folds}")
            sources = Sources(
                source.subset(kept, f"{source.name}, all but fold {fold + 1}"),
                source.subset(held_out, f"fold {fold + 1}"),
            )
            trial = Trial(config, fold, sources, folder)
            parts.append(_predictions_of(trial, verbose))
    return joined(parts, [held_out for _, held_out in folds], source.num_examples)


def _predictions_of(trial, verbose):
    """Trains a fold, unless it is, and returns the predictions of what it left out."""
    result = trial.result((), verbose)
    if "failed" in result:
        raise ValueError(
            f"The training of fold {trial.trial + 1} failed: {result['failed']} Change "
            f"the config, and remove {trial.folder} to try again."
        )
    model = keras.models.load_model(trial.folder / "model.keras")
    batches = evaluation_batches(trial.config, trial.sources.test, carry=("index",))
    return predict(model, batches)
