"""How near the loss comes to the time of its five matrix products.

    python benchmarks/loss.py

Value and gradients of `neighbor_consistency`, against the products that they cannot do
without: similarities, (G + G') V for their gradient, mixture, and two for its gradient.
Both run in this process, in turn, on the same sizes; printed are medians and the ratio.
"""

import argparse
import os
import platform
import time

import numpy as np
import tensorflow as tf

from keras_ncr.losses import neighbor_consistency

# Batch, features, classes, neighbors.
SIZES = (
    (256, 512, 10, 10),
    (256, 512, 100, 50),
    (1024, 2048, 1000, 10),
    (1024, 512, 1000, 1023),
    (2048, 512, 100, 10),
    (4096, 512, 1000, 10),
)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=10, help="for each size")
    seconds = parser.parse_args().seconds
    print(f"TensorFlow {tf.__version__}, {os.cpu_count()} CPUs ({platform.machine()})")
    print("batch   dim classes     k   products ms   loss ms   ratio    n")
    for size in SIZES:
        products, loss, repeats = medians(*size, seconds)
        print(
            "{:5} {:5} {:7} {:5}".format(*size)
            + f"{products:14.1f}{loss:10.1f}{loss / products:8.2f}{repeats:5}",
            flush=True,
        )


def medians(batch, dim, classes, num_neighbors, seconds):
    """Returns the median milliseconds of products and loss, and the repetitions."""
    rng = np.random.default_rng(0)
    # As after a ReLU, like the paper's features.
    features = tf.constant(np.maximum(rng.normal(size=(batch, dim)), 0), tf.float32)
    logits = tf.constant(2 * rng.normal(size=(batch, classes)), tf.float32)
    square = tf.constant(rng.random((batch, batch)), tf.float32)
    functions = (
        lambda: five_products(features, logits, square),
        lambda: loss_and_gradients(features, logits, num_neighbors),
    )
    times = [], []
    for function in functions:
        function()
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times[0]) < 5:
        for function, own_times in zip(functions, times, strict=True):
            start = time.perf_counter()
            function()[0].numpy()
            own_times.append(1000 * (time.perf_counter() - start))
    return np.median(times[0]), np.median(times[1]), len(times[0])


@tf.function
def five_products(features, logits, square):
    """Returns one number of each product, so that none is left out."""
    products = (
        tf.matmul(features, features, transpose_b=True),
        tf.matmul(square, features),
        tf.matmul(square, logits),
        tf.matmul(logits, logits, transpose_b=True),
        tf.matmul(square, logits, transpose_a=True),
    )
    return [product[0, 0] for product in products]


@tf.function
def loss_and_gradients(features, logits, num_neighbors):
    """Returns the mean loss and one number of each gradient."""
    with tf.GradientTape() as tape:
        tape.watch([features, logits])
        loss = tf.reduce_mean(neighbor_consistency(features, logits, num_neighbors))
    gradients = tape.gradient(loss, [features, logits])
    return [loss, *(gradient[0, 0] for gradient in gradients)]


if __name__ == "__main__":
    main()
