r"""Makes the folder that configs/cifar_features.py reads: CIFAR-10 as features.

    python benchmarks/cifar_features.py --backbone=lite0.keras --data_dir=TFDS_FOLDER \
        --human=human.npz --cache=runs/features --out=runs/cifar-features

`--backbone`: a Keras file of a network from pixels, 0 to 255, to features.
`--data_dir`: the folder in which TensorFlow Datasets finds `cifar10`. `--human`:
optional labels that people gave to the training pictures, arrays `noisy_label` and
`clean_label` by the number in the id `train_NNNNN`. Features are kept between runs (in
`--cache`), are standardized by the training pictures, and are written as float16.
`--examples`: how many of the training pictures, which are stored in random order.
"""

import argparse
import pathlib

import keras
import numpy as np
import tensorflow_datasets as tfds

from keras_ncr.datasets import from_arrays
from keras_ncr.features import extract
from keras_ncr.files import replacing


def main():
    """Writes `train.npz`, `test.npz` and, with human labels, `human.npz`."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--backbone", required=True, help="a Keras file")
    parser.add_argument("--data_dir", help="the folder of TensorFlow Datasets")
    parser.add_argument("--size", type=int, default=112, help="pixels of a side")
    parser.add_argument("--human", help="an .npz file of human labels")
    parser.add_argument("--examples", type=int, default=20_000, help="50000: all")
    parser.add_argument("--cache", required=True, help="a folder that keeps features")
    parser.add_argument("--out", type=pathlib.Path, required=True)
    arguments = parser.parse_args()
    backbone = keras.models.load_model(arguments.backbone)
    arguments.out.mkdir(parents=True, exist_ok=True)
    parts = {split: pictures(split, arguments.data_dir) for split in ("train", "test")}
    features = {
        split: extract(backbone, part, arguments.cache, image_size=arguments.size)
        for split, part in parts.items()
    }
    mean, deviation = features["train"].mean(0), features["train"].std(0)
    for split, part in parts.items():
        kept = slice(arguments.examples if split == "train" else None)
        rows = (features[split][kept] - mean) / np.maximum(deviation, 1e-6)
        arrays = {
            "features": as_half(rows),
            "labels": part.labels[kept],
            "ids": part.ids.astype(str)[kept],
            "class_names": np.array(part.class_names),
        }
        write(arguments.out / f"{split}.npz", arrays)
        if split == "train" and arguments.human:
            human = human_labels(arguments.human, arrays["ids"], arrays["labels"])
            write(arguments.out / "human.npz", {**arrays, **human})


def pictures(split, data_dir):
    """Returns a split as a `Source`, by the ids that CIFAR-10 has of its own."""
    data = tfds.load("cifar10", split=split, data_dir=data_dir, batch_size=-1)
    arrays = tfds.as_numpy(data)
    names = tfds.builder("cifar10", data_dir=data_dir).info.features["label"].names
    return from_arrays(
        arrays["image"],
        arrays["label"],
        ids=arrays["id"].astype(str),
        class_names=names,
    )


def as_half(features):
    """Returns features as float16, those too large for it cut."""
    limit = np.finfo("float16").max
    return np.clip(features, -limit, limit).astype("float16")


def human_labels(path, ids, labels):
    """Returns the labels that people gave, and the true ones, in the order of ids."""
    with np.load(path) as file:
        noisy, clean = file["noisy_label"], file["clean_label"]
    rows = np.array([int(name.rpartition("_")[2]) for name in ids])
    if not np.array_equal(clean[rows], labels):
        raise SystemExit(f"{path} must be of the same pictures as `cifar10`.")
    return {"labels": noisy[rows], "clean_labels": labels}


def write(path, arrays):
    """Writes an .npz file, whole or not at all."""
    with replacing(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, **arrays)
    print(f"{path}: {arrays['features'].shape}", flush=True)


if __name__ == "__main__":
    main()
