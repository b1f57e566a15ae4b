r"""How good an audit's list and its claims are, on many sets of probabilities.

    python benchmarks/audit_sets.py --bank=runs/bank --seeds=0,1,2 --features=FILE \
        --human_labels=cifar10n-random2.npz --data_dir=TFDS_DATA \
        --out=benchmarks/results/audit_sets.csv

`audit_sets.json` names the sets, DATA:NOISE:RATE; of those kept aside nothing was
looked at before the judgment was final; those added came later. On each, small networks
give probabilities: out of sample by five folds of a linear model, of a network with two
hidden layers, and of a linear model on a sixteenth of the columns, which is weak; in
sample of a network trained by NCR with ELR, at its end and as the mean over training,
and by cross-entropy.
`--features` is a file with the arrays `features`, `labels` and `ids`. The bank is a
folder of such probabilities: sets that are in it are not made again.
"""

import argparse
import itertools
import json
import pathlib
import time
import warnings

import numpy as np
import pandas as pd
from audit_data import data_of, with_noise
from audit_models import by_cleanlab, in_sample, out_of_sample
from cleanlab.filter import find_label_issues
from sklearn.metrics import average_precision_score

from keras_ncr.audit.doubts import estimate
from keras_ncr.audit.judgment import called_issues, judge
from keras_ncr.audit.neighborhood import Neighborhood
from keras_ncr.audit.predictions import from_probabilities
from keras_ncr.files import replacing
from keras_ncr.models.nearest import nearest_neighbors

SETS = pathlib.Path(__file__).with_suffix(".json")
VIEWS = (
    "oos_linear",
    "oos_mlp",
    "oos_weak",
    "in_join_mean",
    "in_join_last",
    "in_ce_mean",
)
# How far a best row may be ahead, and a claim from the truth.
AHEAD, OFF = 0.005, 0.25


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--bank", type=pathlib.Path, required=True)
    parser.add_argument("--which", default="kept_aside,development,added")
    parser.add_argument("--features", type=pathlib.Path)
    parser.add_argument("--human_labels", type=pathlib.Path)
    parser.add_argument("--data_dir", help="of TensorFlow Datasets")
    parser.add_argument("--seeds", default="0", help="of the wrong labels")
    parser.add_argument("--report_only", action="store_true", help="train nothing")
    parser.add_argument("--out", type=pathlib.Path, help="a CSV file")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore", "The least populated class")
    arguments.bank.mkdir(parents=True, exist_ok=True)
    rows = []
    names = json.loads(SETS.read_text())
    for part, seed in itertools.product(
        arguments.which.split(","), map(int, arguments.seeds.split(","))
    ):
        for name in names[part]:
            if seed and name.split(":")[1] in ("clean", "human"):
                continue  # No seed changes these.
            path = arguments.bank / f"{name.replace(':', '-')}-{seed}.npz"
            if not path.exists() and not arguments.report_only:
                make(name, path, seed, arguments)
            if path.exists():
                keys = {"part": part, "set": name, "seed": seed}
                rows += [keys | row for row in rows_of(path)]
    table = pd.DataFrame(rows)
    if arguments.out is not None:
        table.round(4).to_csv(arguments.out, index=False)
        by_seed = [
            summary(frame).assign(part=part, seed=seed)
            for (part, seed), frame in table.groupby(["part", "seed"], sort=False)
        ]
        path = arguments.out.with_stem(f"{arguments.out.stem}_by_seed")
        pd.concat(by_seed).to_csv(path, index=False)
    for part, frame in table.groupby("part", sort=False):
        print(f"\n{part}: {frame['set'].nunique()} sets, {len(frame)} of probabilities")
        print(markdown(summary(frame)))
        print("\nright labels alone\n")
        print(markdown(of_clean(frame)))


def make(name, path, seed, arguments):
    """Leaves the labels of a set and all probabilities in a file."""
    start = time.time()
    data_name, kind, rate = name.split(":")
    data = data_of(data_name, arguments)
    x, labels, _ = data
    given = with_noise(kind, float(rate), data, seed)
    num_classes = int(labels.max()) + 1
    is_small = len(x) < 3000
    shape = {"hidden": 128 if is_small else 256, "epochs": 25 if is_small else 8}
    if num_classes >= 100:
        shape["epochs"] = 10
    rng = np.random.default_rng(0)
    columns = rng.permutation(x.shape[1])[: max(x.shape[1] // 16, 2)]
    arrays = {
        "true": labels,
        "given": given,
        "oos_linear": out_of_sample(x, given, num_classes, **shape, layers=0),
        "oos_mlp": out_of_sample(x, given, num_classes, **shape),
        "oos_weak": out_of_sample(x[:, columns], given, num_classes, **shape, layers=0),
    }
    for method in ("join", "ce"):
        features, last, mean = in_sample(
            x, given, num_classes, method == "join", **shape
        )
        arrays[f"in_{method}_last"], arrays[f"in_{method}_mean"] = last, mean
        arrays[f"in_{method}_idx"] = nearest_neighbors(features, 10)[0]
    arrays["cleanlab_quality"], arrays["cleanlab_called"] = by_cleanlab(x, given)
    halved = {
        key: value.astype("float16") if value.dtype == np.float32 else value
        for key, value in arrays.items()
    }
    with replacing(path) as temporary:
        np.savez(temporary, **halved)
    print(f"{name}: {time.time() - start:.0f} s", flush=True)


def rows_of(path):
    """Returns the measures of a set, a row for each kind of probabilities."""
    arrays = np.load(path)
    labels = arrays["given"]
    is_wrong = labels != arrays["true"]
    for view in VIEWS:
        probabilities = np.maximum(arrays[view].astype("float64"), 1e-9)
        probabilities /= probabilities.sum(axis=1, keepdims=True)
        neighborhood = None
        if view.startswith("in"):
            indices = arrays[f"{view.rpartition('_')[0]}_idx"]
            neighborhood = Neighborhood(indices, np.ones(indices.shape))
        yield {
            "view": view,
            "wrong": is_wrong.mean(),
            "accuracy": np.mean(probabilities.argmax(axis=1) == arrays["true"]),
            **of_audit(labels, probabilities, neighborhood, is_wrong),
            **of_others(labels, probabilities, is_wrong),
            **of_own_folds(arrays, is_wrong),
        }


def of_audit(labels, probabilities, neighborhood, is_wrong):
    """Returns what the audit finds and states."""
    start = time.process_time()
    judgment = judge(from_probabilities(labels, probabilities), neighborhood)
    is_called = called_issues(judgment, labels)
    stated = estimate(judgment, labels, is_called, neighborhood is None)
    seconds = time.process_time() - start
    low, high = stated.precision_bounds or (np.nan, np.nan)
    return {
        "audit_ap": precision_of_order(is_wrong, judgment.quality),
        "audit_f1": f1(is_called, is_wrong),
        "called": is_called.mean(),
        "estimated": stated.noise_rate,
        "estimated_low": stated.noise_rate_bounds[0],
        "estimated_high": stated.noise_rate_bounds[1],
        "precision": is_wrong[is_called].mean() if is_called.any() else np.nan,
        "precision_stated": stated.precision,
        "precision_low": low,
        "precision_high": high,
        "seconds": seconds,
    }


def of_others(labels, probabilities, is_wrong):
    """Returns what simple scores and rules and cleanlab find."""
    rows = np.arange(len(labels))
    given = probabilities[rows, labels]
    others = probabilities.copy()
    others[rows, labels] = 0
    other = others.max(axis=1)
    is_plain = other > 2 * given
    return {
        "self_confidence_ap": precision_of_order(is_wrong, given),
        "log_margin_ap": precision_of_order(is_wrong, np.log(given) - np.log(other)),
        "margin_ap": precision_of_order(is_wrong, given - other),
        "plain_f1": f1(is_plain, is_wrong),
        "plain_called": is_plain.mean(),
        "cleanlab_f1": f1(find_label_issues(labels, probabilities, n_jobs=1), is_wrong),
    }


def of_own_folds(arrays, is_wrong):
    """Returns what cleanlab finds by its own folds of logistic regression."""
    if "cleanlab_quality" not in arrays:
        return {"own_folds_ap": np.nan, "own_folds_f1": np.nan}
    return {
        "own_folds_ap": precision_of_order(is_wrong, arrays["cleanlab_quality"]),
        "own_folds_f1": f1(arrays["cleanlab_called"], is_wrong),
    }


def precision_of_order(is_wrong, quality):
    """Returns the average precision of an order, or NaN where no label is wrong."""
    if not is_wrong.any():
        return np.nan
    return average_precision_score(is_wrong, -quality.astype("float64"))


def f1(is_called, is_wrong):
    """Returns the harmonic mean of precision and recall of a list."""
    return 2 * np.sum(is_called & is_wrong) / max(is_called.sum() + is_wrong.sum(), 1)


def summary(frame):
    """Returns how often each aim is met, by view and by the model's accuracy."""
    wrong = frame[frame["wrong"] > 0]
    kinds = {
        "out of sample, right 80 % or more": ("oos", 0.8, 1.01),
        "out of sample, 40 to 80 %": ("oos", 0.4, 0.8),
        "out of sample, below 40 %": ("oos", 0, 0.4),
        "NCR with ELR in sample": ("in_join", 0, 1.01),
        "cross-entropy in sample": ("in_ce", 0, 1.01),
    }
    rows = []
    for kind, (view, low, high) in kinds.items():
        part = wrong[wrong["view"].str.startswith(view)]
        part = part[(part["accuracy"] >= low) & (part["accuracy"] < high)]
        rows.append({"probabilities": kind, "n": len(part), **aims(part)})
    return pd.DataFrame(rows)


def of_clean(frame):
    """Returns what is called and stated where all labels are right."""
    clean = frame[frame["wrong"] == 0]
    columns = ["set", "view", "accuracy", "called", "estimated_low", "estimated_high"]
    shares = clean[columns[2:]].mul(100).round(1)
    return pd.concat([clean[columns[:2]], shares], axis=1)


def aims(part):
    """Returns the shares of sets on which aims are met, and mean measures, in %."""
    others = ["self_confidence_ap", "log_margin_ap", "margin_ap"]
    is_listed = part["precision"].notna()
    listed = part[is_listed]
    measures = {
        "AP": part["audit_ap"].mean(),
        "best simple": part[others].max(axis=1).mean(),
        "own folds": part["own_folds_ap"].mean(),
        "AP best": (part["audit_ap"] >= part[others].max(axis=1) - AHEAD).mean(),
        "F1": part["audit_f1"].mean(),
        "plain F1": part["plain_f1"].mean(),
        "cleanlab F1": part["cleanlab_f1"].mean(),
        "own folds F1": part["own_folds_f1"].mean(),
        "F1 >= plain": (part["audit_f1"] >= part["plain_f1"] - AHEAD).mean(),
        "F1 >= cleanlab": (part["audit_f1"] >= part["cleanlab_f1"] - AHEAD).mean(),
        "share near": ((part["estimated"] / part["wrong"] - 1).abs() <= OFF).mean(),
        "plain near": ((part["plain_called"] / part["wrong"] - 1).abs() <= OFF).mean(),
        "share held": part["wrong"]
        .between(part["estimated_low"], part["estimated_high"])
        .mean(),
        "precision held": listed["precision"]
        .between(listed["precision_low"], listed["precision_high"])
        .mean(),
        "width": (listed["precision_high"] - listed["precision_low"]).mean(),
    }
    return {name: round(100 * value, 1) for name, value in measures.items()}


def markdown(frame):
    """Returns a table in Markdown."""
    rows = [frame.columns, ["---"] * len(frame.columns), *frame.to_numpy()]
    return "\n".join(f"| {' | '.join(map(str, row))} |" for row in rows)


if __name__ == "__main__":
    main()
