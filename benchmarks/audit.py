r"""How good lists of wrong labels are, where it is known which labels are wrong.

    python benchmarks/audit.py --workdir=runs/audit --data_dir=TFDS_DATA \
        --out=audit.csv

Copies of digits, Fashion-MNIST and CIFAR-10 (5,000 images of each of the latter two; or
its features: `--datasets=features`, with a folder of `cifar_features.py`) with
symmetric, asymmetric and instance-dependent noise. In each copy the same network
is trained by NCR, by cross-entropy, and by cross-entropy five times without a fifth of
the examples. Compared are this audit on the NCR model; cleanlab on the same model's
probabilities; cleanlab on those of the five models, each for the examples that it has
not seen, which is its own recommended use; and the loss of cross-entropy. A training
that is finished is not run again; `--report_only` runs none.
"""

import argparse
import importlib.util
import pathlib
import time

import keras
import numpy as np
import pandas as pd
from cleanlab.count import estimate_joint
from cleanlab.filter import find_label_issues
from cleanlab.rank import get_label_quality_scores
from sklearn.metrics import average_precision_score, roc_auc_score

from keras_ncr.audit.judgment import called_issues, judge
from keras_ncr.audit.neighborhood import Neighborhood
from keras_ncr.audit.predictions import from_probabilities, predict
from keras_ncr.audit.unseen import log_margins
from keras_ncr.experiments import workdir
from keras_ncr.experiments.batches import evaluation_batches
from keras_ncr.experiments.cross_validation import out_of_sample_predictions
from keras_ncr.experiments.data import load_sources
from keras_ncr.experiments.labels import noisy
from keras_ncr.experiments.trials import Trial
from keras_ncr.files import replacing
from keras_ncr.models.nearest import nearest_neighbors

ROOT = pathlib.Path(__file__).parents[1]
DATASETS = ("digits", "fashion_mnist", "cifar10")
# Only if asked for: features of CIFAR-10.
FEATURES = "features"
NOISES = ("symmetric", "asymmetric", "instance")
RATES = (0.1, 0.2, 0.4)
MODELS = ("ncr", "standard", "folds")
# Trained where asked for: what folds are worth to the audit itself.
NCR_FOLDS = "ncr_folds"
MEASURES = (
    "average_precision",
    "roc_auc",
    "precision_at_errors",
    "precision_of_called",
    "recall_of_called",
    "estimated_rate",
)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--workdir", type=pathlib.Path, required=True)
    parser.add_argument("--data_dir", default="", help="of TensorFlow Datasets")
    parser.add_argument("--datasets", default=",".join(DATASETS))
    parser.add_argument("--features", help=f"a folder, for the data {FEATURES!r}")
    parser.add_argument("--noises", default=",".join(NOISES))
    parser.add_argument("--rates", default=",".join(map(str, RATES)))
    parser.add_argument("--models", default=",".join(MODELS), help=f"or {NCR_FOLDS}")
    parser.add_argument("--report_only", action="store_true", help="train nothing")
    parser.add_argument("--out", type=pathlib.Path, help="a CSV file")
    arguments = parser.parse_args()
    cells = [
        (dataset, noise, float(rate))
        for rate in arguments.rates.split(",")
        for dataset in arguments.datasets.split(",")
        for noise in arguments.noises.split(",")
    ]
    if not arguments.report_only:
        for dataset, noise, rate in cells:
            folder = arguments.workdir / f"{dataset}-{noise}-{rate}"
            for model in arguments.models.split(","):
                config = config_of(dataset, model, noise, rate, arguments)
                train(config, folder, model)
                print(folder.name, model, flush=True)
    table = pd.DataFrame(
        [
            {"dataset": dataset, "noise": noise, "rate": rate, **row}
            for dataset, noise, rate in sorted(cells, key=_order)
            for row in rows_of(arguments.workdir / f"{dataset}-{noise}-{rate}")
        ]
    )
    if arguments.out is not None:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        table.round(4).to_csv(arguments.out, index=False)
    print_tables(table)


def _order(cell):
    """Returns what a copy is sorted by."""
    dataset, noise, rate = cell
    return (*DATASETS, FEATURES).index(dataset), NOISES.index(noise), rate


def rows_of(folder):
    """Returns the measures of each list for one copy, or none if a model is missing."""
    if not all((folder / f"{model}.npz").exists() for model in MODELS):
        return []
    models = {path.stem: np.load(path) for path in folder.glob("*.npz")}
    lists = {
        "audit of NCR": (audit_list, "ncr"),
        "margin and plain rule on NCR": (plain_list, "ncr"),
        "cleanlab on NCR": (cleanlab_list, "ncr"),
        "cleanlab on 5 folds": (cleanlab_list, "folds"),
        "loss of cross-entropy": (loss_list, "standard"),
    }
    if NCR_FOLDS in models:
        lists["audit of NCR on 5 folds"] = (audit_list, NCR_FOLDS)
    rows = []
    for name, (list_of, model) in lists.items():
        arrays = models[model]
        is_wrong = arrays["labels"] != arrays["clean_labels"]
        start = time.process_time()
        suspicion, is_called, stated = list_of(arrays)
        seconds = time.process_time() - start
        worst = np.argsort(-suspicion, kind="stable")[: is_wrong.sum()]
        rows.append(
            {
                "list": name,
                "wrong": round(100 * is_wrong.mean(), 1),
                "average_precision": average_precision_score(is_wrong, suspicion),
                "roc_auc": roc_auc_score(is_wrong, suspicion),
                "precision_at_errors": is_wrong[worst].mean(),
                "called": is_called.sum(),
                "precision_of_called": is_wrong[is_called].mean()
                if is_called.any()
                else np.nan,
                "recall_of_called": is_called[is_wrong].mean(),
                "estimated_rate": stated,
                "training_seconds": float(arrays["seconds_of_cores"]),
                "list_seconds": seconds,
            }
        )
    return rows


def audit_list(arrays):
    """Returns how suspicious each label is to the audit, and which are called."""
    predictions = from_probabilities(arrays["labels"], probabilities_of(arrays))
    neighborhood = None
    if "features" in arrays:  # Predictions of folds need no neighbors.
        neighborhood = Neighborhood(*nearest_neighbors(arrays["features"], 10))
    judgment = judge(predictions, neighborhood)
    is_called = called_issues(judgment, predictions.labels)
    return -judgment.quality, is_called, judgment.noise_rate


def plain_list(arrays):
    """Returns the same from margins: called if a class is twice as probable."""
    probabilities, labels = probabilities_of(arrays), arrays["labels"]
    margins, _ = log_margins(np.maximum(probabilities, 1e-9), labels)
    is_called = margins < -np.log(2)
    return -margins, is_called, is_called.mean()


def cleanlab_list(arrays):
    """Returns the same from cleanlab, by its defaults."""
    labels, probabilities = arrays["labels"], probabilities_of(arrays)
    is_called = find_label_issues(labels, probabilities, n_jobs=1)
    joint = estimate_joint(labels, probabilities)
    return (
        -get_label_quality_scores(labels, probabilities),
        is_called,
        1 - np.trace(joint),
    )


def loss_list(arrays):
    """Returns the same from the training loss, which calls none."""
    given = np.maximum(arrays["given_probabilities"], 1e-12)
    return -np.log(given), np.zeros(len(given), bool), np.nan


def probabilities_of(arrays):
    """Returns the probabilities of all classes."""
    shape = len(arrays["labels"]), int(arrays["num_classes"])
    probabilities = np.zeros(shape, "float32")
    np.put_along_axis(
        probabilities, arrays["classes"].astype(int), arrays["probabilities"], axis=1
    )
    return probabilities / probabilities.sum(axis=1, keepdims=True)


def print_tables(table):
    """Prints a table for each measure, and what the lists cost."""
    names = list(dict.fromkeys(table["list"]))
    keys = ["dataset", "noise", "rate", "wrong"]
    for measure in MEASURES:
        wide = table.set_index([*keys, "list"])[measure].unstack("list", sort=False)
        print(f"\n{measure.replace('_', ' ')}, %\n")
        print(markdown((100 * wide[names]).round(1).reset_index()))
    print("\nseconds of all cores: training, and the list\n")
    columns = ["training_seconds", "list_seconds"]
    costs = table.groupby(["dataset", "list"], sort=False)[columns].median()
    print(markdown(costs.round(1).reset_index()))


def markdown(frame):
    """Returns a table in Markdown."""
    rows = [frame.columns, ["---"] * len(frame.columns), *frame.to_numpy()]
    return "\n".join(f"| {' | '.join(map(str, row))} |" for row in rows)


def config_of(dataset, model, noise, rate, arguments):
    """Returns the config of a training: the method apart, one for all models."""
    name = {"digits": "digits", FEATURES: "cifar_features"}.get(
        dataset, "fashion_mnist"
    )
    path = ROOT / "configs" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    method = {"folds": "standard", NCR_FOLDS: "ncr"}.get(model, model)
    first = f"{arguments.features},method={method}" if dataset == FEATURES else method
    config = module.get_config(f"{first},noise={noise},rate={rate}")
    config.trials = 1
    if dataset not in ("digits", FEATURES):
        config.data.dir = arguments.data_dir
        config.data.limit = 5_000
    if dataset == "cifar10":
        config.data.name = "cifar10"
        config.model.backbone = "small_cnn"
        config.data.image_size = 16
        config.ncr.consistency_weight = 0.9
        config.ncr.warmup_epochs = 5
        config.optimizer.weight_decay = 1e-3
        config.augment.padding = 2
        config.augment.flip = True
    return config


def train(config, folder, model):
    """Leaves predictions, features and seconds in `folder/MODEL.npz`."""
    path = folder / f"{model}.npz"
    if path.exists():
        return
    start = time.process_time()
    sources = load_sources(config.data)
    source = noisy(config, sources.train)
    run = workdir.claim(folder / model, config)
    if model in ("folds", NCR_FOLDS):
        predictions = out_of_sample_predictions(config, source, run)
    else:
        # Without the truth, by which memorized labels would be counted every epoch.
        unknown = source.relabeled(source.labels, clean_labels=None)
        trial = Trial(config, 0, sources._replace(train=unknown), run)
        trial.result((), verbose=0)
        network = keras.models.load_model(trial.folder / "model.keras")
        batches = evaluation_batches(config, source, carry=("index",))
        predictions = predict(network, batches)
    arrays = {
        name: value
        for name, value in vars(predictions).items()
        if value is not None and name != "descriptors"
    }
    with replacing(path) as temporary:
        np.savez_compressed(
            temporary,
            **arrays,
            clean_labels=source.clean_labels,
            seconds_of_cores=time.process_time() - start,
        )


if __name__ == "__main__":
    main()
