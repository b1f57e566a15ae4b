"""What the package's input pipelines cost, against reading the same data bare.

    python benchmarks/pipeline.py

First JPEG files of the size of photos: decoding alone, as `tf.data` does it on all
cores, and the crops of `keras_ncr.augment`. Then CIFAR-sized images: a TFRecord file
read and nothing else, and training batches from memory with crops and flips. In each
group the pipelines take turns at a pass over the data, in one process; printed are
medians. The photos are made: smooth noise with a grain.
"""

import argparse
import os
import pathlib
import platform
import tempfile
import time

import numpy as np
import tensorflow as tf

import keras_ncr
from keras_ncr import augment, datasets, images, pipelines

NUM_PHOTOS, NUM_SMALL, BATCH = 256, 10_000, 256
CROP = augment.random_resized_crop(224)
CENTER = augment.central_crop(224, short_side=256)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=60, help="for each group")
    seconds = parser.parse_args().seconds
    print(
        f"keras_ncr {keras_ncr.__version__}, TensorFlow {tf.__version__}, "
        f"{os.cpu_count()} CPUs ({platform.machine()}), "
        f"load {os.getloadavg()[0]:.1f} before"
    )
    with tempfile.TemporaryDirectory() as folder:
        paths = write_photos(pathlib.Path(folder, "photos"))
        print_table({k: make(paths) for k, make in PHOTOS.items()}, NUM_PHOTOS, seconds)
        rng = np.random.default_rng(0)
        pixels = rng.integers(0, 256, (NUM_SMALL, 32, 32, 3)).astype("uint8")
        small = {
            "TFRecord file, read": records(pixels, pathlib.Path(folder, "records")),
            "`training_batches`": in_memory(pixels),
        }
        print_table(small, NUM_SMALL, seconds)


def print_table(pipelines_by_name, num_images, seconds):
    """Prints images per second of each, and its share of the first one's."""
    times = {name: [] for name in pipelines_by_name}
    for dataset in pipelines_by_name.values():
        one_pass(dataset)
    end = time.perf_counter() + seconds
    turns = 0
    while time.perf_counter() < end or turns < 5:
        for name, dataset in pipelines_by_name.items():
            times[name].append(one_pass(dataset))
        turns += 1
    speeds = {name: num_images / np.median(own) for name, own in times.items()}
    first = next(iter(speeds.values()))
    print("\n| pipeline | images/s | ratio | n |\n| --- | --- | --- | --- |")
    for name, speed in speeds.items():
        print(f"| {name} | {speed:.0f} | {speed / first:.2f} | {turns} |", flush=True)


def one_pass(dataset):
    """Returns the seconds it takes to read a dataset once."""
    start = time.perf_counter()
    for _ in dataset:
        pass
    return time.perf_counter() - start


def write_photos(folder):
    """Returns the paths of JPEG files, 500 x 375 pixels or so, a third upright."""
    rng = np.random.default_rng(0)
    paths = []
    folder.mkdir()
    for i in range(NUM_PHOTOS):
        size = rng.integers([340, 450], [411, 551])
        coarse = rng.normal(128, 60, (12, 16, 3))
        smooth = tf.image.resize(coarse, size if i % 3 else size[::-1], "bicubic")
        photo = smooth + rng.normal(0, 6, smooth.shape)
        path = folder / "ab"[i % 2] / f"{i}.jpg"
        path.parent.mkdir(exist_ok=True)
        jpeg = tf.io.encode_jpeg(tf.saturate_cast(photo, tf.uint8), quality=90)
        path.write_bytes(jpeg.numpy())
        paths.append(str(path))
    return paths


def mapped(prepare):
    """Returns what makes a pipeline of paths: each file through `prepare(file, i)`."""

    def pipeline(paths):
        dataset = tf.data.Dataset.from_tensor_slices(paths).enumerate()
        return dataset.map(
            lambda i, path: prepare(tf.io.read_file(path), i), tf.data.AUTOTUNE
        ).prefetch(tf.data.AUTOTUNE)

    return pipeline


def seed_of(number):
    """Returns the seed of an image."""
    return tf.stack([tf.constant(0, tf.int64), number])


def records(pixels, path):
    """Returns a dataset that reads records and leaves them as they are."""
    with tf.io.TFRecordWriter(str(path)) as writer:
        for image in pixels:
            writer.write(image.tobytes())
    dataset = tf.data.TFRecordDataset(str(path))
    return dataset.batch(BATCH).prefetch(tf.data.AUTOTUNE)


def in_memory(pixels):
    """Returns an epoch of the package's own pipeline."""
    source = datasets.from_arrays(pixels, np.arange(len(pixels)) % 10)
    return pipelines.training_batches(
        source, BATCH, augment=augment.crop_and_flip(), num_epochs=1
    )


def from_files(paths):
    """Returns an epoch of the package's own pipeline, read from class folders."""
    source = datasets.from_folder(pathlib.Path(paths[0]).parents[1])
    return pipelines.training_batches(
        source, 32, augment=CROP, num_epochs=1, cache=False
    )


PHOTOS = {
    "decoded, whole": mapped(lambda file, i: tf.io.decode_jpeg(file, channels=3)),
    "`random_resized_crop(224)`": mapped(lambda file, i: CROP(file, seed_of(i))),
    "`random_resized_crop(224)`, decoded whole first": mapped(
        lambda file, i: CROP(images.decode(file), seed_of(i))
    ),
    "`central_crop(224, 256)`": mapped(lambda file, i: CENTER(file)),
    "`central_crop(224, 256)`, decoded whole first": mapped(
        lambda file, i: CENTER(images.decode(file))
    ),
    "`training_batches`, `random_resized_crop(224)`": from_files,
}


if __name__ == "__main__":
    main()
