r"""Pictures of no class among CIFAR-10: whether training finds them, what it costs.

    python benchmarks/outliers.py --backbone=lite0.keras --data_dir=TFDS_FOLDER \
        --cache=runs/features --out=docs/results/outliers.csv

Outliers are Fashion-MNIST's pictures (the test split), with labels at random; or the
two last classes of CIFAR-10, with labels of the other eight at random; or there are
none. The others have symmetric noise. A head of two dense layers of 512 on features of
`--backbone` is trained as `ELRModel`, without `reject_outliers`, with it at the true
share, and with "auto". Printed is the area under the ROC curve of `outlier_scores` and
of the audit's own, which are distances to the nearest neighbors; the share of examples
that are left out in the end, and how many of them are outliers; and the test accuracy
of the last epoch.
"""

import argparse
import pathlib

import keras
import numpy as np
import pandas as pd
import tensorflow_datasets as tfds
from sklearn.metrics import roc_auc_score

import keras_ncr
from keras_ncr.audit.outliers import outlier_scores
from keras_ncr.datasets import from_arrays
from keras_ncr.features import extract, nearest_neighbors

# What is mixed in, its share, and the share of the other labels that is redrawn.
SETTINGS = (
    ("fashion_mnist", 0.05, 0.0),
    ("fashion_mnist", 0.2, 0.4),
    ("two classes", 0.1, 0.2),
    ("fashion_mnist", 0.1, 0.2),
    ("none", 0.0, 0.0),
    ("none", 0.0, 0.4),
)


def main():
    """Trains without and with rejection, and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--backbone", required=True, help="a Keras file")
    parser.add_argument("--data_dir", help="the folder of TensorFlow Datasets")
    parser.add_argument("--cache", required=True, help="a folder that keeps features")
    parser.add_argument("--out", type=pathlib.Path, required=True, help="a CSV file")
    parser.add_argument("--size", type=int, default=112, help="pixels of a side")
    parser.add_argument("--examples", type=int, default=5000)
    parser.add_argument("--epochs", type=int, default=15)
    arguments = parser.parse_args()
    backbone = keras.models.load_model(arguments.backbone)

    def features_of(name, split, limit=None):
        data = tfds.load(name, split=split, data_dir=arguments.data_dir, batch_size=-1)
        arrays = tfds.as_numpy(data)
        images, labels = arrays["image"][:limit], arrays["label"][:limit]
        names = tfds.builder(name, data_dir=arguments.data_dir).info.features["label"]
        ids = arrays["id"].astype(str)[:limit] if "id" in arrays else None
        if images.shape[-1] == 1:
            images = np.repeat(images, 3, axis=3)
        source = from_arrays(images, labels, ids=ids, class_names=names.names)
        cache, size = arguments.cache, arguments.size
        return np.asarray(extract(backbone, source, cache, image_size=size)), labels

    parts = [
        features_of("cifar10", "train"),
        features_of("cifar10", "test"),
        features_of("fashion_mnist", "test", arguments.examples // 5),
    ]
    lines = []
    for kind, share, rate in SETTINGS:
        mixed = mixture(kind, share, rate, arguments.examples, *parts)
        neighbors = outlier_scores(nearest_neighbors(mixed["x"], 10)[1])
        for rejected in dict.fromkeys((0.0, share, "auto")):
            model = trained(mixed, rejected, arguments.epochs)
            found = judged(model, mixed) if rejected else [None] * 3
            logits = model.predict(mixed["x_test"], batch_size=1000, verbose=0)
            accuracy = 100 * np.mean(logits.argmax(1) == mixed["y_test"])
            of_neighbors = area(neighbors, mixed["is_outlier"])
            line = [kind, share, rate, rejected, *found, of_neighbors, accuracy]
            lines.append(line)
            print(*line, flush=True)
            frame = pd.DataFrame(lines, columns=COLUMNS).round(3)
            arguments.out.parent.mkdir(parents=True, exist_ok=True)
            frame.to_csv(arguments.out, index=False)
    print(frame.to_string(index=False, na_rep=""))


COLUMNS = (
    *("outliers", "share", "noise", "reject_outliers", "area", "left_out", "precision"),
    *("area_of_neighbors", "accuracy"),
)


def area(scores, is_outlier):
    """Returns the area under the ROC curve, or `None` without outliers."""
    return roc_auc_score(is_outlier, -scores) if is_outlier.any() else None


def judged(model, mixed):
    """Returns the area of a model's scores, what it leaves out, and its precision."""
    logits = model.predict(mixed["x"], batch_size=1000, verbose=0)
    y = {"label": mixed["y"], "index": np.arange(len(mixed["y"]))}
    is_left_out = np.asarray(model.outlier_rejection(logits, y)["label"]) == -1
    precision = mixed["is_outlier"][is_left_out].mean() if is_left_out.any() else None
    own_area = area(model.outlier_scores(), mixed["is_outlier"])
    return [own_area, is_left_out.mean(), precision]


def mixture(kind, share, rate, num_examples, train, test, others):
    """Returns examples with outliers among them, and test examples without."""
    random = np.random.default_rng(0)
    num_outliers = int(share * num_examples)
    (x, y), (x_test, y_test) = train, test
    num_classes = 10
    if kind == "two classes":
        num_classes = 8
        outliers = x[y >= 8][:num_outliers]
        x, y = x[y < 8], y[y < 8]
        x_test, y_test = x_test[y_test < 8], y_test[y_test < 8]
    else:
        outliers = others[0][:num_outliers]
    num_others = num_examples - num_outliers
    matrix = keras_ncr.noise.symmetric(num_classes, rate, include_true=True)
    labels = keras_ncr.noise.LabelNoise(matrix).corrupt(y[:num_others])
    drawn = random.integers(0, num_classes, num_outliers)
    order = random.permutation(num_examples)
    return {
        "x": np.concatenate([x[:num_others], outliers])[order].astype("float32"),
        "y": np.concatenate([labels, drawn])[order],
        "is_outlier": (np.arange(num_examples) >= num_others)[order],
        "x_test": x_test.astype("float32"),
        "y_test": y_test,
        "num_classes": num_classes,
    }


def trained(mixed, share, epochs):
    """Returns an `ELRModel` on features, trained with rejection or without."""
    keras.utils.set_random_seed(0)
    normalization = keras.layers.Normalization()
    normalization.adapt(mixed["x"])
    layers = [keras.Input([mixed["x"].shape[1]]), normalization]
    for _ in range(2):
        layers += [
            keras.layers.Dense(512, use_bias=False, kernel_initializer="he_normal"),
            keras.layers.BatchNormalization(momentum=0.9),
            keras.layers.ReLU(),
        ]
    model = keras_ncr.ELRModel(
        keras.Sequential(layers), mixed["num_classes"], reject_outliers=share
    )
    num_steps = epochs * (len(mixed["y"]) // 256 + 1)
    warmup = num_steps * 2 // 15
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0, num_steps - warmup, warmup_target=0.1, warmup_steps=warmup
    )
    model.compile(
        keras.optimizers.SGD(schedule, momentum=0.9, weight_decay=4e-3),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    model.fit(mixed["x"], mixed["y"], batch_size=256, epochs=epochs, verbose=0)
    return model


if __name__ == "__main__":
    main()
