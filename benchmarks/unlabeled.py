"""Accuracy with few labels: examples without a label left out, or trained on as well.

    python benchmarks/unlabeled.py --out=docs/results/unlabeled.csv
    python benchmarks/unlabeled.py --out=FILE --train=TRAIN.npz --test=TEST.npz

A share of the training examples, 10 % of each class unless told otherwise, keeps its
label, which is right. A method trains on these alone, or on all examples, of which the
others have the label -1 and take part in neighbor consistency alone. Both take as many
steps, with batches of 256, or of all where there are fewer: examples with a label are
seen less often where there are others. Data are scikit-learn's digits, or the arrays
`features` and `labels` of two files, a row for each example. The network has two dense
layers of 512. Printed is the test accuracy of the last step; a line that the file has
already is not run again.
"""

import argparse
import pathlib

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

import keras_ncr

KEYS = ["data", "share", "limit", "steps", "method", "consistency_weight", "examples"]
BATCH_SIZE = 256


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=pathlib.Path, required=True, help="a CSV file")
    parser.add_argument("--train", type=pathlib.Path, help="features: an .npz file")
    parser.add_argument("--test", type=pathlib.Path, help="features: an .npz file")
    parser.add_argument("--share", type=float, default=0.1, help="with a label")
    parser.add_argument(
        "--limit", type=int, default=0, help="training examples; 0: all"
    )
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--seeds", type=int, nargs="*", default=(0, 1, 2))
    arguments = parser.parse_args()
    lines = pd.DataFrame(columns=[*KEYS, "seed", "accuracy"])
    if arguments.out.exists():
        lines = pd.read_csv(arguments.out)
    name, *data = loaded(arguments)
    for seed in arguments.seeds:
        for method, weight, examples in runs():
            line = [name, arguments.share, arguments.limit, arguments.steps]
            line += [method, weight, examples, seed]
            if (lines[[*KEYS, "seed"]] == line).all(axis=1).any():
                continue
            found = accuracy(data, method, weight, examples, seed, arguments)
            lines.loc[len(lines)] = [*line, round(found, 4)]
            print(*line, f"{100 * found:.1f} %", flush=True)
            arguments.out.parent.mkdir(parents=True, exist_ok=True)
            lines.to_csv(arguments.out, index=False)
    print_table(lines)


def runs():
    """Yields what is trained for each seed: method, alpha, examples."""
    yield "cross-entropy", 0.0, "with a label"
    # The defaults of both methods, and a lower one of NCR.
    for method, weight in (("ncr", 0.3), ("ncr", 0.9), ("ncr+elr", 0.3)):
        for examples in ("with a label", "all"):
            yield method, weight, examples


def loaded(arguments):
    """Returns a name, and inputs and labels for training and for testing."""
    if arguments.train is None:
        train, test = keras_ncr.datasets.digits()
        parts = [(part.images.reshape(-1, 64), part.labels) for part in (train, test)]
    else:
        files = [np.load(file) for file in (arguments.train, arguments.test)]
        parts = [(file["features"], file["labels"]) for file in files]
    name = "digits" if arguments.train is None else arguments.train.stem
    (x, y), (x_test, y_test) = [(x.astype("float32"), y) for x, y in parts]
    if arguments.limit:
        rows = np.random.default_rng(0).permutation(len(y))[: arguments.limit]
        x, y = x[rows], y[rows]
    return name, x, y, x_test, y_test


def accuracy(data, method, weight, examples, seed, arguments):
    """Returns the test accuracy of a model that has been trained on few labels."""
    x, y, x_test, y_test = data
    num_classes = int(y.max()) + 1
    y = np.where(has_label(y, arguments.share, seed), y, -1)
    if examples != "all":
        x, y = x[y >= 0], y[y >= 0]
    keras.utils.set_random_seed(seed)
    network = keras_ncr.backbones.mlp(x.shape[1:])
    if method == "ncr+elr":
        model = keras_ncr.ELRModel(
            network, num_classes, len(y), consistency_weight=weight
        )
    else:
        model = keras_ncr.NCRModel(network, num_classes, consistency_weight=weight)
    model.compile(
        keras.optimizers.SGD(
            keras.optimizers.schedules.CosineDecay(0.1, arguments.steps),
            momentum=0.9,
            weight_decay=5e-4,
        ),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        jit_compile=False,  # Which takes longer than it saves.
    )
    targets = {"label": y, "index": np.arange(len(y))}
    batches = tf.data.Dataset.from_tensor_slices((x, targets))
    # No example is twice in a batch, as long as there are enough.
    batches = batches.shuffle(len(y), seed).batch(min(BATCH_SIZE, len(y)), True)
    model.fit(
        batches.repeat(), steps_per_epoch=arguments.steps, shuffle=False, verbose=0
    )
    return model.evaluate(x_test, y_test, verbose=0, return_dict=True)["accuracy"]


def has_label(labels, share, seed):
    """Returns which examples keep their label: a share of each class."""
    is_kept = np.zeros(len(labels), bool)
    generator = np.random.default_rng(seed)
    for label in np.unique(labels):
        rows = generator.permutation(np.flatnonzero(labels == label))
        is_kept[rows[: max(round(share * len(rows)), 1)]] = True
    return is_kept


def print_table(lines):
    """Prints means and deviations over the seeds, a line for each way to train."""
    lines["accuracy"] = 100 * lines["accuracy"].astype(float)
    table = lines.groupby(KEYS)["accuracy"].agg(["mean", "std", "count"])
    print(table.round(1).to_string())


if __name__ == "__main__":
    main()
