"""What an audit of many examples and classes costs: seconds and memory.

    python benchmarks/audit_scale.py
    python benchmarks/audit_scale.py --examples=1000000

The examples are streamed, so that nothing but what the audit itself keeps is held. Each
has 16 numbers: the center of its class and keyed noise; 10 % of the labels are those of
another class. The model is one layer of random weights and another that compares with
the centers, which costs next to nothing. Printed are the seconds, those of all cores
together, and the most memory of the process, TensorFlow included.
"""

import argparse
import os
import platform
import resource
import time

import keras
import numpy as np
import tensorflow as tf

import keras_ncr

NUMBERS = 16
NOISE_RATE = 0.1


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--examples", type=int, default=100_000)
    parser.add_argument("--classes", type=int, default=1000)
    parser.add_argument("--dim", type=int, default=512)
    arguments = parser.parse_args()
    centers = tf.random.stateless_normal([arguments.classes, NUMBERS], seed=[0, 0])
    batches = stream(arguments.examples, centers)
    model = nearly_free(centers, arguments.dim)
    before = memory()
    print(
        f"{arguments.examples:,} examples, {arguments.classes:,} classes, features of "
        f"{arguments.dim}; {os.cpu_count()} CPUs ({platform.machine()}), load "
        f"{os.getloadavg()[0]:.1f} before; {before:.1f} GB with TensorFlow alone",
        flush=True,
    )
    start, start_of_cores = time.perf_counter(), time.process_time()
    frame = keras_ncr.audit(model, batches, verbose=0)
    end, end_of_cores = time.perf_counter(), time.process_time()
    print(
        f"audit: {end - start:.0f} s, {end_of_cores - start_of_cores:.0f} s of all "
        f"cores; {memory():.2f} GB at most; {frame['is_label_issue'].sum():,} labels "
        f"called wrong, noise rate {frame.attrs['noise_rate']:.3f} for {NOISE_RATE}"
    )


def stream(num_examples, centers, batch_size=1000):
    """Returns batches of inputs and labels, the same in every run."""
    num_classes = len(centers)

    def example(index):
        true_class = index % num_classes
        noise = tf.random.stateless_normal([NUMBERS], tf.stack([1, index]))
        draw = tf.random.stateless_uniform([], tf.stack([2, index]))
        label = tf.where(draw < NOISE_RATE, (true_class + 1) % num_classes, true_class)
        return tf.gather(centers, true_class) + 0.3 * noise, label

    return (
        tf.data.Dataset.range(num_examples)
        .map(example, num_parallel_calls=tf.data.AUTOTUNE)
        .batch(batch_size)
        .prefetch(2)
    )


def nearly_free(centers, dim):
    """Returns a classifier whose features are `dim` mixtures of the inputs."""
    mixing = np.random.default_rng(0).standard_normal((NUMBERS, dim), "float32")
    inputs = keras.Input([NUMBERS])
    features = keras.layers.Dense(dim, use_bias=False, name="features")(inputs)
    logits = keras.layers.Dense(len(centers), name="logits")(features)
    model = keras.Model(inputs, logits)
    model.get_layer("features").set_weights([mixing])
    # Minus half of the squared distance to each center, times 4.
    back = np.linalg.pinv(mixing) @ np.transpose(centers)
    lengths = np.sum(np.square(centers), axis=1)
    model.get_layer("logits").set_weights([4 * back, -2 * lengths])
    return model


def memory():
    """Returns the most memory that the process has held, in GB."""
    # Linux counts in units of 1,024 bytes.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


if __name__ == "__main__":
    main()
