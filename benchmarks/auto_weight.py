r"""Alpha that sets itself against cross-entropy, ELR and fixed alphas.

    python benchmarks/auto_weight.py --out=docs/results/auto_weight.csv --seeds=3
    python benchmarks/auto_weight.py --out=FILE --data=cifar10_features --path=FOLDER
    python benchmarks/auto_weight.py --out=FILE --data=fashion_mnist --path=TFDS_FOLDER

`--path` of `cifar10_features` is a folder from benchmarks/cifar_features.py, that of
`fashion_mnist` the folder of TensorFlow Datasets. The head has two dense layers of 512,
or none with `--layers=0`, which learns few labels by heart; it is trained as
`keras_ncr.models.head` has it, ELR's weight too, for 15 epochs (50 on digits). Printed
is the accuracy on test examples with right labels, after the last epoch; for each noise
how far "auto" is below the best fixed alpha; and where labels are right, or the head
has no layers, below cross-entropy. A run that the file has already is not run again.
"""

import argparse
import pathlib
import time

import numpy as np
import pandas as pd
import tensorflow_datasets as tfds

import keras_ncr
from keras_ncr.models.head import HeadSettings, train_head
from keras_ncr.noise import InstanceDependentNoise, LabelNoise, asymmetric, symmetric

NO_TERM = 1e-12  # A weight that leaves ELR's term without any part.
ROWS = {
    "cross-entropy": {"elr_weight": NO_TERM, "consistency_weight": 0.0},
    "ELR": {"consistency_weight": 0.0},
    **{f"joined, {alpha}": {"consistency_weight": alpha} for alpha in (0.1, 0.3, 0.5)},
    "joined, 0.7": {"consistency_weight": 0.7},
    "joined, auto": {"consistency_weight": "auto"},
}
NOISES = (
    "symmetric 20 %",
    "symmetric 40 %",
    "symmetric 80 %",
    "asymmetric 40 %",
    "instance 40 %",
    "human",
    "clean",
)
DATA = ("digits", "fashion_mnist", "cifar10_features")
MAPS = dict(zip(DATA, ("digits", "fashion_mnist", "cifar10"), strict=True))
EXAMPLES = dict(zip(DATA, (1437, 10_000, 20_000), strict=True))
KEYS = ["data", "layers", "examples", "epochs", "noise", "row", "seed"]


def main():
    """Trains what the file has not, and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=pathlib.Path, required=True, help="a CSV file")
    parser.add_argument("--data", choices=DATA, default="digits")
    parser.add_argument("--path", type=pathlib.Path, help="where data are")
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--examples", type=int, help="for training")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--noises", nargs="*", default=NOISES)
    parser.add_argument("--rows", nargs="*", default=ROWS)
    arguments = parser.parse_args()
    examples = arguments.examples or EXAMPLES[arguments.data]
    epochs = arguments.epochs or (50 if arguments.data == "digits" else 15)
    train, test, human = DATA_OF[arguments.data](arguments.path)
    lines = pd.DataFrame(columns=[*KEYS, "accuracy", "alpha", "seconds"])
    if arguments.out.exists():
        lines = pd.read_csv(arguments.out)
    for seed in range(arguments.seeds):
        for noise in arguments.noises:
            features, clean = train[0][:examples], train[1][:examples]
            if noise == "human" and human is None:
                continue
            given = human[:examples] if noise == "human" else None
            if given is None:
                given = labels_with(noise, MAPS[arguments.data], features, clean)
            for row in arguments.rows:
                line = [arguments.data, arguments.layers, examples, epochs]
                line += [noise, row, seed]
                if (lines[KEYS] == line).all(axis=1).any():
                    continue
                start = time.time()
                weight = {"elr_weight": 3.0 if arguments.layers else None}
                settings = HeadSettings(
                    num_layers=arguments.layers,
                    epochs=epochs,
                    batch_size=256,
                    seed=seed,
                    **{**weight, **ROWS[row]},
                )
                accuracy, alpha = trained(features, given, test, settings)
                seconds = round(time.time() - start, 1)
                lines.loc[len(lines)] = [*line, round(accuracy, 2), alpha, seconds]
                print(*line, f"{accuracy:.1f} %, alpha {alpha:.2f}", flush=True)
                arguments.out.parent.mkdir(parents=True, exist_ok=True)
                lines.to_csv(arguments.out, index=False)
    for (data, layers, examples, epochs), part in lines.groupby(KEYS[:4]):
        print(f"\n{data}, {examples} examples, {layers} layers, {epochs} epochs")
        print_table(part, layers)


def labels_with(noise, mapping, features, labels):
    """Returns labels with noise, the same for all rows and seeds."""
    if noise == "clean":
        return labels
    kind, rate = noise.split()[0], int(noise.split()[1]) / 100
    if kind == "instance":
        return InstanceDependentNoise(rate, num_classes=10).corrupt(features, labels)
    matrix = (
        symmetric(10, rate, include_true=True)
        if kind == "symmetric"
        else asymmetric(mapping, rate)
    )
    return LabelNoise(matrix).corrupt(labels)


def trained(features, labels, test, settings):
    """Returns a head's accuracy on test examples in percent, and its last alpha."""
    model = train_head(features, labels, 10, settings=settings)
    logits = model.predict(test[0], batch_size=1000, verbose=0)
    accuracy = 100 * float(np.mean(logits.argmax(1) == test[1]))
    return accuracy, round(float(model.alpha()), 3)


def print_table(lines, layers):
    """Prints mean accuracies, and what "auto" is below others."""
    table = lines.pivot_table("accuracy", "row", "noise", sort=False)
    table = table.reindex([row for row in ROWS if row in table.index])
    table = table[[noise for noise in NOISES if noise in table]]
    print(table.round(1).to_string(na_rep=""))
    counts = lines.pivot_table("accuracy", "row", "noise", "count")
    print(f"seeds: {int(counts.min().min())} to {int(counts.max().max())}")
    if not {"joined, auto", "cross-entropy"} <= set(table.index):
        return
    auto = table.loc["joined, auto"]
    fixed = table[table.index.isin([row for row in ROWS if row[-1].isdigit()])]
    if len(fixed):
        print("auto below the best fixed:", (fixed.max() - auto).round(1).to_dict())
        is_near = table.ge(fixed.max() - 1).sum(axis=1)
        print(f"columns of {table.shape[1]} at most a point below the best fixed:")
        print(is_near.to_dict())
    harmless = table.columns if layers == 0 else table.columns.intersection(["clean"])
    below = (table.loc["cross-entropy"] - auto)[harmless]
    print("auto below cross-entropy:", below.round(1).to_dict())


def digits(path):
    """Returns scikit-learn's digits: pairs of features and labels; no human ones."""
    train, test = keras_ncr.datasets.digits()
    return *(flat(part.images, part.labels) for part in (train, test)), None


def fashion_mnist(path):
    """Returns Fashion-MNIST in an order of its own; no human labels."""
    parts = [
        tfds.as_numpy(
            tfds.load("fashion_mnist", split=split, data_dir=path, batch_size=-1)
        )
        for split in ("train", "test")
    ]
    order = np.random.default_rng(0).permutation(len(parts[0]["label"]))
    train = {key: parts[0][key][order] for key in ("image", "label")}
    return *(flat(part["image"], part["label"]) for part in (train, parts[1])), None


def cifar10_features(path):
    """Returns features of CIFAR-10's pictures, and the labels that people gave."""
    parts = [np.load(path / f"{name}.npz") for name in ("train", "test", "human")]
    pairs = [(part["features"].astype("float32"), part["labels"]) for part in parts]
    return pairs[0], pairs[1], pairs[2][1]


def flat(images, labels):
    """Returns images as rows of float32, and labels."""
    rows = images.reshape(len(images), -1).astype("float32") / 255
    return rows, labels.astype("int64")


DATA_OF = dict(zip(DATA, (digits, fashion_mnist, cifar10_features), strict=True))

if __name__ == "__main__":
    main()
