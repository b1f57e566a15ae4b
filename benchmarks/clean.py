r"""What `keras-ncr clean` finds, and how long it takes, side by side with cleanlab.

    python benchmarks/clean.py --backbone=lite0.keras --tfds_dir=TFDS_DATA \
        --human_labels=cifar10n-random2.npz --workdir=runs/clean-benchmark

Five tasks, of which `--tasks` chooses: `few`, 600 pictures of CIFAR-10 (bird, deer,
frog, truck; 150 each), 60 of them in the wrong folder; `folder`, 10,000 pictures as
JPEG files in folders, a tenth of them moved; `human`, features of 50,000 pictures with
labels that people gave (`noisy_label` and `clean_label` of the file, by the number in
the id of the example); `text`, docstrings of installed packages by their package;
`tabular`, scikit-learn's digits as a table of 64 columns; both with 20 and 40 % of the
labels wrong, three seeds. `--limit` takes fewer. Features of CIFAR-10 that are there
already, with `labels` and `ids`: `--features=TRAIN.npz,TEST.npz`. cleanlab judges the
probabilities of the same head, trained with cross-entropy in the same five folds (those
of one draw and the last epoch, as usual, and the means of draws or epochs that our list
takes), and those of logistic regression.
"""

import argparse
import dataclasses
import pathlib
import resource
import shutil
import time

import keras
import numpy as np
import pandas as pd
import tables
import tensorflow as tf
from cleanlab.rank import get_label_quality_scores
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from keras_ncr import NCRClassifier, datasets
from keras_ncr.audit.wrong_labels import out_of_sample_probabilities
from keras_ncr.datasets.split import stratified_folds
from keras_ncr.experiments.clean import Clean
from keras_ncr.experiments.clean_data import CleanData, read_data
from keras_ncr.experiments.clean_settings import CleanSettings
from keras_ncr.features import extract
from keras_ncr.models.head import HeadSettings, train_head
from keras_ncr.noise import LabelNoise, symmetric

CLASSES = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)
FEW = ("bird", "deer", "frog", "truck")
CROSS_ENTROPY = {"consistency_weight": 0.0, "elr_weight": 1e-6}


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tasks", default="few,folder,human,text,tabular")
    parser.add_argument("--backbone", help="a .keras file, or a name")
    parser.add_argument("--image_size", type=int, default=112)
    parser.add_argument("--tfds_dir", help="of TensorFlow Datasets, with cifar10")
    parser.add_argument("--human_labels", help="an .npz file")
    parser.add_argument("--features", help="two .npz files, instead of pictures")
    parser.add_argument("--limit", type=int, help="at most so many examples")
    parser.add_argument("--workdir", type=pathlib.Path, required=True)
    arguments = parser.parse_args()
    for task in arguments.tasks.split(","):
        print(f"\n{task}\n")
        TASKS[task](arguments)
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        print(f"largest memory so far: {memory:.1f} GB")


def few(arguments):
    """600 pictures in four folders, 60 of them in the wrong one."""
    source = cifar10(arguments, "train")
    wanted = [CLASSES.index(name) for name in FEW]
    rows = [np.flatnonzero(source.labels == label)[:150] for label in wanted]
    in_folders(source, np.concatenate(rows), wanted, 0.1, arguments, "few")


def folder(arguments):
    """10,000 pictures in ten folders, a tenth of them in the wrong one."""
    source = cifar10(arguments, "train")
    rows = np.arange(min(10_000, arguments.limit or 10_000))
    in_folders(source, rows, range(10), 0.1, arguments, "folder")


def in_folders(source, rows, classes, rate, arguments, name):
    """Writes pictures to folders, cleans them twice, and compares the lists."""
    random, classes = np.random.default_rng(0), list(classes)
    moved = set(random.permutation(rows)[: round(rate * len(rows))].tolist())
    pictures = arguments.workdir / f"{name}-pictures"
    shutil.rmtree(pictures, ignore_errors=True)
    shutil.rmtree(arguments.workdir / name, ignore_errors=True)
    images = source.images
    for row in rows.tolist():
        true = source.labels[row]
        others = [label for label in classes if label != true]
        label = random.choice(others) if row in moved else true
        path = pictures / CLASSES[label] / f"{true}-{row:05}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(tf.io.encode_jpeg(images[row], quality=95).numpy())
    settings = CleanSettings(
        backbone=arguments.backbone, image_size=arguments.image_size
    )
    for words in ("first time", "second time"):
        stop = stopwatch()
        data = read_data(str(pictures))
        clean = Clean(data, arguments.workdir / name, settings, 0, lambda line: None)
        with clean.begun():
            report = clean.find("keras-ncr clean")
        print(f"{words}: {stop()}")
    print(report)
    true = [int(pathlib.Path(one).name.partition("-")[0]) for one in data.source.ids]
    true = np.array(CLASSES)[true]
    given = np.array(data.source.class_names)[data.source.labels]
    compare(clean, true != given)


def human(arguments):
    """Given features, and labels by people."""
    labels = np.load(arguments.human_labels)
    (features, true, ids), (test_features, test_labels, _) = cifar10_features(arguments)
    number = [int(example.rpartition("_")[2]) for example in ids]
    assert (labels["clean_label"][number] == true).all()
    noisy = labels["noisy_label"][number].astype("int64")
    source = datasets.from_features(features, noisy, CLASSES, ids)
    shutil.rmtree(arguments.workdir / "human", ignore_errors=True)
    clean = Clean(CleanData(source), arguments.workdir / "human", CleanSettings(), 0)
    stop = stopwatch()
    with clean.begun():
        print(clean.find("keras-ncr clean"))
    print(f"list: {stop()}")
    compare(clean, noisy != true)
    for name, settings in (
        ("NCR with ELR", HeadSettings()),
        ("cross-entropy", HeadSettings(**CROSS_ENTROPY)),
    ):
        head = train_head(features, noisy, 10, settings=settings)
        predicted = head.predict(test_features, verbose=0).argmax(axis=1)
        accuracy = 100 * np.mean(predicted == test_labels)
        print(f"test accuracy, all examples, {name}: {accuracy:.1f} %")


def cifar10_features(arguments):
    """Returns features, labels and ids of both splits."""
    if arguments.features:
        splits = [np.load(path) for path in arguments.features.split(",")]
        arrays = [[split[k] for k in ("features", "labels", "ids")] for split in splits]
        return [[rows[: arguments.limit] for rows in split] for split in arrays]
    network = keras.models.load_model(arguments.backbone, compile=False)
    splits = []
    for split in ("train", "test"):
        source = cifar10(arguments, split)
        if arguments.limit:
            source = source.subset(np.arange(arguments.limit))
        folder, size = arguments.workdir / "features", arguments.image_size
        features = extract(network, source, folder, image_size=size)
        splits.append((features, source.labels, source.ids))
    return splits


def text(arguments):
    """Docstrings by their package."""
    in_tables(*tables.texts(arguments.limit or 3000), arguments, "text")


def tabular(arguments):
    """Digits as a table of 64 columns."""
    frame, labels = tables.rows()
    rows = slice(arguments.limit)
    in_tables(frame[rows], labels[rows], arguments, "tabular")


def in_tables(frame, labels, arguments, name):
    """Writes tables with wrong labels, cleans them, and prints means of three seeds."""
    num_classes = len(set(labels))
    for rate in (0.2, 0.4):
        found = []
        for seed in range(3):
            matrix = symmetric(num_classes, rate, include_true=False)
            noisy = LabelNoise(matrix, seed=seed, exact=True).corrupt(labels)
            folder = arguments.workdir / f"{name}-{rate}-{seed}"
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            frame.assign(label=noisy).to_csv(folder / "table.csv", index=False)
            data = read_data(str(folder / "table.csv"))
            clean = Clean(data, folder / "clean", CleanSettings(), 0, lambda line: None)
            start = time.process_time()
            with clean.begun():
                clean.find("keras-ncr clean")
            seconds = time.process_time() - start
            features = np.asarray(clean.features(), "float32")
            ours = clean.probabilities(features, data.source)
            plain, plain_means = by_cross_entropy(clean, features)
            list_of = pd.read_parquet(clean.folder / "audit" / "labels.parquet")
            is_wrong = noisy != labels
            others = (plain, plain_means)
            scores = -list_of["label_quality"], *(suspicion(noisy, p) for p in others)
            shares = [np.mean(p.argmax(axis=1) == labels) for p in (ours, *others)]
            precisions = [average_precision_score(is_wrong, one) for one in scores]
            found.append([*(100 * one for one in precisions + shares), seconds])
        means, spreads = np.mean(found, axis=0), np.std(found, axis=0)
        words = (
            *("list's AP", "cleanlab's AP, cross-entropy", "its means"),
            *("accuracy of folds, NCR with ELR", "cross-entropy", "its means"),
            "seconds of cores",
        )
        shown = zip(words, means, spreads, strict=True)
        line = "; ".join(f"{word} {m:.1f} ± {s:.1f}" for word, m, s in shown)
        print(f"{len(labels):,} examples, {100 * rate:.0f} % wrong: {line}")


def compare(clean, is_wrong):
    """Prints how good the list is, and those of cleanlab on the same features."""
    frame = pd.read_parquet(clean.folder / "audit" / "labels.parquet")
    labels = clean.source.labels
    features = np.asarray(clean.features(), "float32")
    is_called = frame["is_label_issue"].to_numpy()
    lists = {"this list": -frame["label_quality"].to_numpy()}
    usual, means = by_cross_entropy(clean, features)
    lists["cleanlab, the same head by cross-entropy"] = suspicion(labels, usual)
    lists["cleanlab, its means"] = suspicion(labels, means)
    if len(labels) <= 5_000:
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.001))
        probabilities = cross_val_predict(
            model, features, labels, method="predict_proba"
        )
        name = "cleanlab, logistic regression"
        lists[name] = suspicion(labels, probabilities)
    print(f"{is_wrong.sum():,} of {len(labels):,} labels are wrong; average precision:")
    for name, scores in lists.items():
        print(f"  {name}: {average_precision_score(is_wrong, scores):.3f}")
    precision = is_wrong[is_called].mean() if is_called.any() else np.nan
    print(f"called: {is_called.sum():,}, of which wrong {precision:.3f}")


def by_cross_entropy(clean, features):
    """Returns out-of-sample probabilities of the head, trained with cross-entropy.

    The first are those of its last epoch in one draw of folds, as usual; the second
    ones are means, as our list takes them.
    """
    labels, seed = clean.source.labels, clean.settings.seed
    clean.probabilities(features, clean.source)  # Which chooses a head.
    settings = dataclasses.asdict(clean.head) | CROSS_ENTROPY
    usual = cross_val_predict(
        NCRClassifier(**settings),
        features,
        labels,
        cv=stratified_folds(labels, clean.settings.num_folds, seed),
        method="predict_proba",
    )
    means = out_of_sample_probabilities(
        features,
        labels,
        clean.source.num_classes,
        settings=HeadSettings(**settings),
        verbose=0,
    )
    return usual, means


def stopwatch():
    """Returns what says how much time has passed, and how much of all cores'."""
    start = time.monotonic(), time.process_time()

    def stop():
        seconds = time.monotonic() - start[0], time.process_time() - start[1]
        return f"{seconds[0]:.1f} s, {seconds[1]:.1f} s of all cores"

    return stop


def suspicion(labels, probabilities):
    """Returns how suspicious labels are to cleanlab, by its default."""
    probabilities = probabilities.astype("float64")
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    return -get_label_quality_scores(labels, probabilities)


def cifar10(arguments, split):
    """Returns a split of CIFAR-10."""
    return datasets.from_tfds("cifar10", split, arguments.tfds_dir, download=False)


TASKS = {one.__name__: one for one in (few, folder, human, text, tabular)}

if __name__ == "__main__":
    main()
