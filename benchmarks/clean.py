r"""What `keras-ncr clean` finds, and how long it takes, side by side with cleanlab.

    python benchmarks/clean.py --backbone=lite0.keras --tfds_dir=TFDS_DATA \
        --human_labels=cifar10n-random2.npz --workdir=runs/clean-benchmark

Three tasks, of which `--tasks` chooses: `few`, 600 pictures of CIFAR-10 (bird, deer,
frog, truck; 150 each), 60 of them in the wrong folder; `folder`, 10,000 pictures as
JPEG files in folders, a tenth of them moved; `human`, features of 50,000 pictures with
labels that people gave (`noisy_label` and `clean_label` of the file, by the number in
the id of the example). `--limit` takes fewer. cleanlab judges the probabilities of the
same head, trained with cross-entropy in the same five folds, and those of logistic
regression.
"""

import argparse
import pathlib
import resource
import shutil
import time

import keras
import numpy as np
import tensorflow as tf
from cleanlab.rank import get_label_quality_scores
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from keras_ncr import datasets
from keras_ncr.audit.wrong_labels import out_of_sample_probabilities
from keras_ncr.experiments.clean import Clean, CleanSettings
from keras_ncr.experiments.clean_data import CleanData, read_data
from keras_ncr.features import extract
from keras_ncr.models.head import HeadSettings, train_head

CLASSES = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)
FEW = ("bird", "deer", "frog", "truck")
CROSS_ENTROPY = HeadSettings(consistency_weight=0.0, elr_weight=1e-6)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tasks", default="few,folder,human")
    parser.add_argument("--backbone", required=True, help="a .keras file, or a name")
    parser.add_argument("--image_size", type=int, default=112)
    parser.add_argument("--tfds_dir", help="of TensorFlow Datasets, with cifar10")
    parser.add_argument("--human_labels", help="an .npz file")
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
        start = time.monotonic()
        data = read_data(str(pictures))
        clean = Clean(data, arguments.workdir / name, settings, 0, lambda line: None)
        with clean.begun():
            report = clean.find("keras-ncr clean")
        print(f"{words}: {time.monotonic() - start:.1f} s")
    print(report)
    true = [int(pathlib.Path(one).name.partition("-")[0]) for one in data.source.ids]
    true = np.array(CLASSES)[true]
    given = np.array(data.source.class_names)[data.source.labels]
    compare(clean, true != given)


def human(arguments):
    """Given features, and labels by people."""
    labels = np.load(arguments.human_labels)
    train, test = cifar10(arguments, "train"), cifar10(arguments, "test")
    if arguments.limit:
        train = train.subset(np.arange(min(arguments.limit, train.num_examples)))
        test = test.subset(np.arange(min(arguments.limit, test.num_examples)))
    number = [int(example.rpartition("_")[2]) for example in train.ids]
    assert (labels["clean_label"][number] == train.labels).all()
    noisy = labels["noisy_label"][number].astype("int64")
    network = keras.models.load_model(arguments.backbone, compile=False)
    features, test_features = (
        extract(
            network,
            source,
            arguments.workdir / "features",
            image_size=arguments.image_size,
        )
        for source in (train, test)
    )
    source = datasets.from_features(features, noisy, CLASSES, train.ids)
    shutil.rmtree(arguments.workdir / "human", ignore_errors=True)
    clean = Clean(CleanData(source), arguments.workdir / "human", CleanSettings(), 0)
    start = time.monotonic()
    with clean.begun():
        print(clean.find("keras-ncr clean"))
    print(f"list: {time.monotonic() - start:.1f} s")
    compare(clean, noisy != train.labels)
    for name, settings in (
        ("NCR with ELR", HeadSettings()),
        ("cross-entropy", CROSS_ENTROPY),
    ):
        head = train_head(features, noisy, 10, settings=settings)
        predicted = head.predict(test_features, verbose=0).argmax(axis=1)
        accuracy = 100 * np.mean(predicted == test.labels)
        print(f"test accuracy, all examples, {name}: {accuracy:.1f} %")


def compare(clean, is_wrong):
    """Prints how good the list is, and those of cleanlab on the same features."""
    import pandas as pd

    frame = pd.read_parquet(clean.folder / "audit" / "labels.parquet")
    labels, num_classes = clean.source.labels, clean.source.num_classes
    features = np.asarray(clean.features(), "float32")
    is_called = frame["is_label_issue"].to_numpy()
    lists = {"this list": -frame["label_quality"].to_numpy()}
    probabilities = out_of_sample_probabilities(
        features, labels, num_classes, settings=CROSS_ENTROPY, verbose=0
    )
    lists["cleanlab, the same head by cross-entropy"] = suspicion(labels, probabilities)
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


def suspicion(labels, probabilities):
    """Returns how suspicious labels are to cleanlab, by its default."""
    probabilities = probabilities.astype("float64")
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    return -get_label_quality_scores(labels, probabilities)


def cifar10(arguments, split):
    """Returns a split of CIFAR-10."""
    return datasets.from_tfds("cifar10", split, arguments.tfds_dir, download=False)


TASKS = {"few": few, "folder": folder, "human": human}

if __name__ == "__main__":
    main()
