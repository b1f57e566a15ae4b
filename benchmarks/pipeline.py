"""What the package's input pipelines cost, against reading the same data bare.

    python benchmarks/pipeline.py
    python benchmarks/pipeline.py --groups cifar traces --data_dir=TFDS_DATA
    python benchmarks/pipeline.py --groups extract --backbone=lite0.keras

photos: JPEG files of the size of photos: decoding alone, as `tf.data` does it on all
cores, and the crops of `keras_ncr.pipelines`. The photos are made: smooth noise with a
grain.

cifar: a TFRecord file of TensorFlow Datasets, read and decoded and nothing else,
against training batches of it with crops, flips and wrong labels, read anew each epoch
or held in memory. The images are those of `cifar10` in `--data_dir`, or random pixels.

memory: 20,000 images of CIFAR's size, random pixels, in memory: shuffled and batched
alone, against the same with pad-4 crops and flips, of whole batches and image by image,
and with a second view of other colors.

extract: 1,000 pictures of 112 pixels through a network: `predict` on the pixels,
against `keras_ncr.features.extract` of the same from memory and from JPEG files, with
the hash of the content and the file of features. Every pass compiles its model anew.

traces: how often Python runs what `tf.data` and `fit` compile, over epochs.

In each group the pipelines take turns (at three epochs, but for extract), in one
process, the order turned around each time. Printed are medians, the ratio of each to
the first one of its turn, and that of the cores' time, which other programs move less.
"""

import argparse
import os
import pathlib
import platform
import tempfile
import time

import keras
import numpy as np
import tensorflow as tf

import keras_ncr
from keras_ncr import datasets, noise, pipelines
from keras_ncr.datasets import images
from keras_ncr.pipelines import augmentation as augment

NUM_PHOTOS, NUM_SMALL, BATCH, EPOCHS = 256, 10_000, 256, 3
NUM_EXTRACTED, SIZE, BATCH_EXTRACTED = 1_000, 112, 64
CROP = augment.random_resized_crop(224)
CENTER = augment.central_crop(224, short_side=256)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--groups", nargs="+", choices=GROUPS, default=list(GROUPS))
    parser.add_argument("--seconds", type=float, default=60, help="for each group")
    parser.add_argument("--data_dir", help="folder of TFDS data that has cifar10")
    parser.add_argument("--backbone", help="a .keras file. Default: resnet18")
    parser.add_argument("--turns", type=int, default=6, help="at least so many")
    arguments = parser.parse_args()
    print(
        f"keras_ncr {keras_ncr.__version__}, TensorFlow {tf.__version__}, "
        f"{os.cpu_count()} CPUs ({platform.machine()}), "
        f"load {os.getloadavg()[0]:.1f} before"
    )
    with tempfile.TemporaryDirectory() as folder:
        for group in arguments.groups:
            print(f"\n{group}:\n")
            GROUPS[group](pathlib.Path(folder), arguments)


def photos(folder, arguments):
    """Prints the pipelines of photos."""
    paths = write_photos(folder / "photos")
    made = {name: make(paths) for name, make in PHOTOS.items()}
    print_table(made, EPOCHS * NUM_PHOTOS, arguments)


def cifar(folder, arguments):
    """Prints the pipelines of images of CIFAR's size."""
    name, data_dir = "cifar10", arguments.data_dir
    if data_dir is None:
        name, data_dir = "random_pixels", folder
        write_small(name, folder)
    (file,) = pathlib.Path(data_dir, name).rglob("*-train.tfrecord-*")
    source = datasets.from_tfds(name, f"train[:{NUM_SMALL}]", data_dir, download=False)
    matrix = noise.symmetric(10, 0.4, include_true=True)
    noisy = source.corrupted(noise.LabelNoise(matrix, seed=0))
    crop = {"augment": augment.crop_and_flip()}
    made = {
        f"{name}: TFRecord file, read and decoded": records(file),
        "`training_batches(cache=False)`": batches(source, cache=False),
        "... with crops and flips": batches(source, cache=False, **crop),
        "... and wrong labels": batches(noisy, cache=False, **crop),
        "the same, from memory": batches(noisy, **crop),
    }
    print_table(made, EPOCHS * NUM_SMALL, arguments)


def memory(folder, arguments):
    """Prints the pipelines of images that are in memory."""
    num_images = 2 * NUM_SMALL
    pixels = np.random.default_rng(0).integers(0, 256, (num_images, 32, 32, 3), "uint8")
    source = datasets.from_arrays(pixels, np.arange(num_images) % 10)
    crop, jitter = augment.crop_and_flip(), pipelines.color_jitter()
    made = {
        "shuffled and batched alone": batches(source),
        "... with crops and flips": batches(source, augment=crop),
        "... image by image": batches(source, augment=lambda x, seed: crop(x, seed)),
        "crops, flips, a second view": batches(
            source, augment=crop, batch_augment=pipelines.second_view(jitter)
        ),
    }
    print_table(made, EPOCHS * num_images, arguments)


def extract(folder, arguments):
    """Prints what `features.extract` adds to the network alone."""
    random = np.random.default_rng(0)
    coarse = random.integers(0, 256, (NUM_EXTRACTED, 8, 8, 3))
    pixels = tf.image.resize(coarse, (SIZE, SIZE), "bicubic")
    pixels = tf.saturate_cast(pixels, tf.uint8).numpy()
    for number, picture in enumerate(pixels):
        path = folder / "pictures" / "ab"[number % 2] / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(tf.io.encode_jpeg(picture, quality=95).numpy())
    if arguments.backbone:
        network = keras.models.load_model(arguments.backbone, compile=False)
    else:
        network = keras_ncr.backbones.resnet18((SIZE, SIZE, 3))
    inputs = keras.Input((SIZE, SIZE, 3))

    def predict():
        fresh = keras.Model(inputs, network(inputs))
        fresh.predict(pixels, BATCH_EXTRACTED, verbose=0)

    def extracted(source):
        def run():
            with tempfile.TemporaryDirectory() as cache:
                keras_ncr.features.extract(
                    network, source, cache, BATCH_EXTRACTED, image_size=SIZE, verbose=0
                )

        return run

    made = {
        "`predict` on pixels": predict,
        "`extract` from memory": extracted(
            datasets.from_arrays(pixels, np.arange(NUM_EXTRACTED) % 2)
        ),
        "`extract` from JPEG files": extracted(
            datasets.from_folder(folder / "pictures")
        ),
    }
    print_table(made, NUM_EXTRACTED, arguments)


def batches(source, **options):
    """Returns three epochs of the package's own pipeline."""
    return pipelines.training_batches(source, BATCH, num_epochs=EPOCHS, **options)


def traces(folder, arguments):
    """Prints how often Python runs an augmentation, and the step of two models."""
    crop, calls = augment.crop_and_flip(), []

    def counted(image, seed):
        calls.append("augment")
        return crop(image, seed)

    # The last batch of each epoch is smaller.
    pixels = np.zeros((1000, 32, 32, 3), "uint8")
    source = datasets.from_arrays(pixels, np.arange(1000) % 10)
    data = batches(source, augment=counted)
    print("| traced | before | after 3 epochs | after 6 |\n" + "| --- " * 4 + "|")
    counts = [len(calls)]
    for _ in range(2):
        one_pass(data)
        counts.append(len(calls))
    print_row("augmentation", *counts)
    for base in (PlainClassifier, keras_ncr.NCRModel):
        print_row(f"step of {base.__name__}", *step_traces(base, source))


def print_row(*cells):
    print("|", " | ".join(map(str, cells)), "|", flush=True)


class PlainClassifier(keras.Model):
    """What NCRModel stands beside."""

    def __init__(self, backbone, num_classes):
        super().__init__()
        self.backbone, self.classifier = backbone, keras.layers.Dense(num_classes)

    def call(self, inputs, training=None):
        return self.classifier(self.backbone(inputs, training=training))


def step_traces(base, source):
    """Returns how often the step was traced: at first, and after each of two fits."""
    calls = []

    class Counted(base):
        def train_step(self, data):
            calls.append("step")
            return super().train_step(data)

    model = Counted(keras_ncr.backbones.mlp(source.image_shape), 10)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss)
    counts = [len(calls)]
    for _ in range(2):
        data = batches(source)
        model.fit(data, steps_per_epoch=4, epochs=EPOCHS, shuffle=False, verbose=0)
        counts.append(len(calls))
    return counts


def print_table(pipelines_by_name, num_images, arguments):
    """Prints images per second of each, and ratios to the first one."""
    times = {name: [] for name in pipelines_by_name}
    for work in pipelines_by_name.values():
        one_pass(work)
    end = time.perf_counter() + arguments.seconds
    order = list(pipelines_by_name)
    while time.perf_counter() < end or len(times[order[0]]) < arguments.turns:
        for name in order:
            times[name].append(one_pass(pipelines_by_name[name]))
        order.reverse()
    times = {name: np.array(own) for name, own in times.items()}
    first = next(iter(times.values()))
    print("| pipeline | images/s | time (quartiles) | cores' time (quartiles) | n |")
    print("| --- " * 5 + "|")
    for name, own in times.items():
        speed = num_images / np.median(own[:, 0])
        low, middle, high = np.quantile(own / first, [0.25, 0.5, 0.75], axis=0)
        cells = [f"{middle[i]:.2f} ({low[i]:.2f} to {high[i]:.2f})" for i in range(2)]
        print_row(name, round(speed), *cells, len(own))


def one_pass(work):
    """Returns the seconds of a call, or of reading a dataset, and the cores'."""
    start, cores_start = time.perf_counter(), time.process_time()
    if callable(work):
        work()
    else:
        for _ in work:
            pass
    return time.perf_counter() - start, time.process_time() - cores_start


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
        return (
            dataset.map(
                lambda i, path: prepare(tf.io.read_file(path), i), tf.data.AUTOTUNE
            )
            .repeat(EPOCHS)
            .prefetch(tf.data.AUTOTUNE)
        )

    return pipeline


def seed_of(number):
    """Returns the seed of an image."""
    return tf.stack([tf.constant(0, tf.int64), number])


def write_small(name, folder):
    """Writes random pixels in the format of CIFAR-10, as a data set of TFDS."""
    import tensorflow_datasets as tfds

    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (NUM_SMALL, 32, 32, 3)).astype("uint8")
    tfds.dataset_builders.store_as_tfds_dataset(
        name=name,
        version="1.0.0",
        features=tfds.features.FeaturesDict(
            {
                "image": tfds.features.Image(shape=(32, 32, 3), encoding_format="png"),
                "label": tfds.features.ClassLabel(num_classes=10),
            }
        ),
        split_datasets={
            "train": [(i, {"image": x, "label": i % 10}) for i, x in enumerate(pixels)]
        },
        data_dir=folder,
    )


def records(file):
    """Returns three passes over a TFRecord file, its images decoded, in batches."""
    features = {
        "image": tf.io.FixedLenFeature([], tf.string),
        "label": tf.io.FixedLenFeature([], tf.int64),
    }

    def example(record):
        parsed = tf.io.parse_single_example(record, features)
        return tf.io.decode_png(parsed["image"], channels=3), parsed["label"]

    dataset = tf.data.TFRecordDataset(str(file)).take(NUM_SMALL).repeat(EPOCHS)
    dataset = dataset.map(example, tf.data.AUTOTUNE).batch(BATCH)
    return dataset.prefetch(tf.data.AUTOTUNE)


def from_files(paths):
    """Returns three epochs of the package's own pipeline, read from class folders."""
    source = datasets.from_folder(pathlib.Path(paths[0]).parents[1])
    return pipelines.training_batches(
        source, 32, augment=CROP, num_epochs=EPOCHS, cache=False
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
GROUPS = {one.__name__: one for one in (photos, cifar, memory, extract, traces)}


if __name__ == "__main__":
    main()
