"""What label noise costs an input pipeline.

    python benchmarks/noise.py

Passes over CIFAR-sized images with crops and flips, with noisy and with clean labels in
turn, in one process, each first in every other turn. Printed are the medians of the
pairs' ratios, of time and of the cores' time, which other programs move less. First
`training_batches`, which looks noisy labels up by index; then a plain `tf.data`
pipeline with `LabelNoise.apply` before its cache, and one with `LabelNoise.transform`
on batches, where nothing is cached.
"""

import argparse
import os
import platform
import time

import numpy as np
import tensorflow as tf

import keras_ncr
from keras_ncr import datasets, noise, pipelines
from keras_ncr.pipelines import augmentation as augment

BATCH, NUM_EXAMPLES, EPOCHS = 256, 10_000, 3


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=60, help="for each pipeline")
    seconds = parser.parse_args().seconds
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (NUM_EXAMPLES, 32, 32, 3)).astype("uint8")
    labels = rng.integers(0, 10, NUM_EXAMPLES)
    matrix = noise.symmetric(10, 0.4, include_true=True)
    print(
        f"keras_ncr {keras_ncr.__version__}, TensorFlow {tf.__version__}, "
        f"{os.cpu_count()} CPUs ({platform.machine()})"
    )
    print(
        "\n| pipeline | clean images/s | noisy images/s | time ratio (quartiles) "
        "| cores' time ratio (quartiles) | n |\n" + "| --- " * 6 + "|"
    )
    for name, pipeline in PIPELINES.items():
        clean, noisy = (
            pipeline(images, labels, label_noise)
            for label_noise in (None, noise.LabelNoise(matrix))
        )
        print_medians(name, clean, noisy, seconds)


def print_medians(name, clean, noisy, seconds):
    """Prints images per second of both, and the ratios of the pairs' times."""
    times = [], []
    for dataset in (clean, noisy):
        seconds_of_passes(dataset)
    end = time.perf_counter() + seconds
    turns = list(zip((clean, noisy), times, strict=True))
    while time.perf_counter() < end or len(times[0]) < 6:
        for dataset, own_times in turns:
            own_times.append(seconds_of_passes(dataset))
        turns.reverse()
    clean, noisy = np.array(times)
    speeds = [EPOCHS * NUM_EXAMPLES / np.median(own[:, 0]) for own in (clean, noisy)]
    low, middle, high = np.quantile(noisy / clean, [0.25, 0.5, 0.75], axis=0)
    ratios = [f"{middle[i]:.3f} ({low[i]:.3f} to {high[i]:.3f})" for i in (0, 1)]
    cells = name, *(f"{speed:.0f}" for speed in speeds), *ratios, str(len(clean))
    print("|", " | ".join(cells), "|", flush=True)


def seconds_of_passes(dataset):
    """Returns the seconds it takes to read some epochs, and the cores' seconds."""
    start, cores_start = time.perf_counter(), time.process_time()
    for _ in dataset:
        pass
    return time.perf_counter() - start, time.process_time() - cores_start


def by_index(images, labels, label_noise):
    """Returns the package's own pipeline."""
    source = datasets.from_arrays(images, labels)
    return pipelines.training_batches(
        source if label_noise is None else source.corrupted(label_noise),
        BATCH,
        augment=augment.crop_and_flip(),
        num_epochs=EPOCHS,
    )


def before_cache(images, labels, label_noise):
    """Returns a pipeline whose cache holds the noisy labels."""
    dataset = tf.data.Dataset.from_tensor_slices((images, labels))
    if label_noise is not None:
        dataset = dataset.apply(label_noise.apply)
    dataset = dataset.cache().shuffle(NUM_EXAMPLES).repeat(EPOCHS).enumerate()
    return finished(dataset.map(augmented, tf.data.AUTOTUNE).batch(BATCH))


def on_batches(images, labels, label_noise):
    """Returns a pipeline that draws the noise anew, to the same labels, each time."""
    index = np.arange(NUM_EXAMPLES)
    dataset = tf.data.Dataset.from_tensor_slices((images, (labels, index)))
    dataset = dataset.shuffle(NUM_EXAMPLES).repeat(EPOCHS).enumerate()
    dataset = dataset.map(augmented, tf.data.AUTOTUNE).batch(BATCH)

    def corrupted(images, labels_and_index):
        labels, index = labels_and_index
        if label_noise is not None:
            labels = label_noise.transform(labels, index)
        return images, labels

    return finished(dataset.map(corrupted, tf.data.AUTOTUNE))


def augmented(number, element):
    """Returns an element with its image cropped and flipped."""
    image, label = element
    return augment.crop_and_flip()(image, tf.stack([0, number])), label


def finished(dataset):
    """Returns the dataset with batches made ahead."""
    return dataset.prefetch(tf.data.AUTOTUNE)


PIPELINES = {
    "labels by index": by_index,
    "apply before cache": before_cache,
    "transform on batches": on_batches,
}


if __name__ == "__main__":
    main()
