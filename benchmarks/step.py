"""What consistency adds to the training step of a plain Keras classifier.

    python benchmarks/step.py

Two models with the same net, one plain and one `NCRModel`, take turns at an epoch of
`fit` on the same data, in one process; printed are the median milliseconds per step of
each and their ratio. To begin `fit` takes Keras some 50 ms, and to check the labels as
much again: steps are many enough to make little of it, as in real training.
"""

import argparse
import os
import platform
import time

import keras
import numpy as np
import tensorflow as tf

import keras_ncr

# Network, shape of the images, steps in an epoch.
NETS = {
    "small_cnn, 28 x 28 x 1": (keras_ncr.backbones.small_cnn, (28, 28, 1), 60),
    "mlp, 28 x 28 x 1": (keras_ncr.backbones.mlp, (28, 28, 1), 200),
    "resnet18, 8 x 8 x 3": (keras_ncr.backbones.resnet18, (8, 8, 3), 20),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=60, help="for each net")
    parser.add_argument("--batch", type=int, default=256)
    arguments = parser.parse_args()
    print(f"TensorFlow {tf.__version__}, {os.cpu_count()} CPUs ({platform.machine()})")
    print(f"{'net':24}{'batch':>6}{'plain ms':>10}{'NCR ms':>10}{'ratio':>8}{'n':>6}")
    for name, (backbone, shape, steps) in NETS.items():
        plain, ncr, repeats = medians(
            backbone, shape, steps, arguments.batch, arguments.seconds
        )
        print(
            f"{name:24}{arguments.batch:6}{plain:10.1f}{ncr:10.1f}"
            f"{ncr / plain:8.3f}{repeats:6}",
            flush=True,
        )


def medians(backbone, shape, steps, batch, seconds):
    """Returns the median milliseconds per step, plain and with NCR, and their number.

    The ratio of two medians of many short turns: what else the machine does in between
    falls on both alike.
    """
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (batch * steps, *shape)).astype("uint8")
    labels = rng.integers(0, 10, batch * steps)
    data = tf.data.Dataset.from_tensor_slices((images, labels)).batch(
        batch, drop_remainder=True
    )
    data = data.cache().prefetch(2)
    models = plain_model(backbone(shape)), keras_ncr.NCRModel(backbone(shape), 10)
    times = [], []
    for model in models:
        model.compile(
            keras.optimizers.SGD(0.01, momentum=0.9),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
        )
        model.fit(data, verbose=0, shuffle=False)
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times[0]) < 5:
        for model, own_times in zip(models, times, strict=True):
            start = time.perf_counter()
            model.fit(data, verbose=0, shuffle=False)
            own_times.append(1000 * (time.perf_counter() - start) / steps)
    return np.median(times[0]), np.median(times[1]), len(times[0])


def plain_model(backbone):
    """Returns the Functional classifier that NCRModel stands beside."""
    logits = keras.layers.Dense(10, dtype="float32")(backbone.output)
    return keras.Model(backbone.input, logits)


if __name__ == "__main__":
    main()
