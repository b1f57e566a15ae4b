"""Out-of-sample predictions: each example judged by a model that has not seen it."""

import os
import warnings

import keras
import numpy as np
from ml_collections import ConfigDict

from keras_ncr.audit.predictions import Predictions, joined, predict
from keras_ncr.checks import check_integer
from keras_ncr.datasets import Source
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
    """Returns the `Predictions` for each example of a model that has not seen it.

    The examples are split into folds of the same shares of each label. For each fold
    the config is trained on all others. A fold that is finished is not trained again,
    and one that was interrupted goes on.
    """
    # No training may see or measure anything of the truth.
    source = source.relabeled(source.labels, clean_labels=None)
    folds = _folds(source.labels, check_integer(num_folds, "num_folds", minimum=2))
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


def _folds(labels, num_folds):
    """Returns pairs of the indices to train on and those held out."""
    from sklearn.model_selection import StratifiedKFold

    largest = int(np.bincount(labels).max())
    if num_folds > largest:
        raise ValueError(
            "`num_folds` must be at most the number of examples of the most frequent "
            f"label, {largest}. Received: num_folds={num_folds}."
        )
    splitter = StratifiedKFold(num_folds, shuffle=True, random_state=0)
    with warnings.catch_warnings():
        # A label with fewer examples than folds is in some of them only.
        warnings.filterwarnings("ignore", "The least populated class")
        return list(splitter.split(np.zeros((len(labels), 0)), labels))
