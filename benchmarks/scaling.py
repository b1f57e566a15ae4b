"""How training grows: two replicas against one device, the gather, and the batch.

    python benchmarks/scaling.py

Two replicas are two logical CPUs of this process. No operation uses more than one
thread, so that a device is worth one core; on fewer than two cores nothing is gained.
All that is compared runs in turn, and medians are printed, as Markdown.

Growth with the batch is the slope of time over batch on logarithmic axes: 1 where time
grows as the batch, 2 where it grows as its square, as the loss's products do.
"""

import argparse
import os
import platform
import time

import keras
import numpy as np
import tensorflow as tf

import keras_ncr
from keras_ncr import NeighborConsistencyLoss

# Network, shape of the images, steps in an epoch.
NETS = {
    "small_cnn, 28 x 28 x 1": (keras_ncr.backbones.small_cnn, (28, 28, 1), 10),
    "mlp, 28 x 28 x 1": (keras_ncr.backbones.mlp, (28, 28, 1), 50),
}
# Features, classes and neighbors of the loss, and the batches it is timed for.
DIM, CLASSES, NEIGHBORS = 512, 100, 10
BATCHES = (256, 512, 1024, 2048, 4096)
GATHERED = (256, 1024, 2048)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=30, help="for each row")
    parser.add_argument("--batch", type=int, default=256, help="global, for the steps")
    arguments = parser.parse_args()
    strategy = two_replicas()
    print(f"TensorFlow {tf.__version__}, {os.cpu_count()} CPUs ({platform.machine()})")
    print_steps(strategy, arguments.batch, arguments.seconds)
    print_gather(strategy, arguments.seconds)
    print_growth(arguments.seconds)


def two_replicas():
    """Returns a strategy of two logical CPUs, each worth one core."""
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0],
        [tf.config.LogicalDeviceConfiguration()] * 2,
    )
    tf.get_logger().setLevel("ERROR")  # The strategy would tell of each of its steps.
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])


def print_steps(strategy, batch, seconds):
    """Prints what a step of training takes on one device and on two."""
    print(f"\nA step of `NCRModel`, global batch {batch}, milliseconds:\n")
    print(
        "| net | one device | two replicas | speedup | two, own neighbors | "
        "cost of the gather | n |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name, (backbone, shape, steps) in NETS.items():
        rng = np.random.default_rng(0)
        images = rng.integers(0, 256, (batch * steps, *shape)).astype("uint8")
        labels = rng.integers(0, 10, batch * steps)
        data = tf.data.Dataset.from_tensor_slices((images, labels)).batch(
            batch, drop_remainder=True
        )
        data = data.cache().prefetch(2)
        epochs = [epoch_of(backbone(shape), data)]
        with strategy.scope():
            epochs += [
                epoch_of(backbone(shape), data, cross_replica)
                for cross_replica in (True, False)
            ]
        (one, two, own), repeats = medians(epochs, seconds)
        print(
            f"| {name} | {one / steps:.1f} | {two / steps:.1f} | {one / two:.2f} "
            f"| {own / steps:.1f} | {100 * (two / own - 1):+.0f} % | {repeats} |",
            flush=True,
        )


def epoch_of(backbone, data, cross_replica=True):
    """Returns a function that trains for an epoch, where the strategy in force is."""
    loss = NeighborConsistencyLoss(cross_replica=cross_replica)
    model = keras_ncr.NCRModel(backbone, 10, consistency_loss=loss)
    model.compile(
        keras.optimizers.SGD(0.01, momentum=0.9),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    return lambda: model.fit(data, verbose=0, shuffle=False)


def print_gather(strategy, seconds):
    """Prints what the loss takes in two replicas, with the gather and without."""
    print(
        f"\nThe loss, value and gradients in two replicas ({DIM} features, {CLASSES} "
        f"classes, k {NEIGHBORS}), milliseconds:\n"
    )
    print("| global batch | global neighbors | own neighbors | ratio | n |")
    print("| --- | --- | --- | --- | --- |")
    for batch in GATHERED:
        runs = [
            distributed_loss(strategy, batch // 2, cross_replica)
            for cross_replica in (True, False)
        ]
        (together, alone), repeats = medians(runs, seconds)
        print(
            f"| {batch} | {together:.1f} | {alone:.1f} | {together / alone:.2f} "
            f"| {repeats} |",
            flush=True,
        )


def distributed_loss(strategy, batch, cross_replica):
    """Returns a function that computes the loss and its gradients in each replica."""
    loss = NeighborConsistencyLoss(NEIGHBORS, cross_replica=cross_replica)
    features, logits = examples(batch)

    @tf.function
    def run():
        return strategy.run(value_and_gradients, args=(loss, features, logits))

    return lambda: strategy.experimental_local_results(run())[0][0].numpy()


def print_growth(seconds):
    """Prints how the loss's time grows with the batch, on one device."""
    print("\nThe loss on one device, by batch:\n")
    print("| batch | milliseconds | slope since the last | n |")
    print("| --- | --- | --- | --- |")
    times = []
    for batch in BATCHES:
        (milliseconds,), repeats = medians([loss_of(batch)], seconds)
        times.append(milliseconds)
        slope = slope_of(BATCHES[: len(times)][-2:], times[-2:])
        print(f"| {batch} | {milliseconds:.1f} | {slope} | {repeats} |", flush=True)
    print(f"\nLog-log slope over all batches: {slope_of(BATCHES, times)}")


def loss_of(batch):
    """Returns a function that computes the loss of a batch, and its gradients."""
    loss, (features, logits) = NeighborConsistencyLoss(NEIGHBORS), examples(batch)
    run = tf.function(lambda: value_and_gradients(loss, features, logits))
    return lambda: run()[0].numpy()


def value_and_gradients(loss, features, logits):
    """Returns the summed loss, and its gradients."""
    with tf.GradientTape() as tape:
        tape.watch([features, logits])
        value = tf.reduce_sum(loss(features, logits))
    return value, tape.gradient(value, [features, logits])


def examples(batch):
    """Returns features, as after a ReLU, and logits."""
    rng = np.random.default_rng(0)
    features = np.maximum(rng.normal(size=(batch, DIM)), 0)
    logits = rng.normal(size=(batch, CLASSES))
    return tf.constant(features, tf.float32), tf.constant(logits, tf.float32)


def slope_of(sizes, times):
    """Returns the slope of times over sizes on logarithmic axes, as text."""
    if len(times) < 2:
        return ""
    return f"{np.polyfit(np.log(sizes), np.log(times), 1)[0]:.2f}"


def medians(functions, seconds):
    """Returns the median milliseconds of functions that take turns, and the turns."""
    for function in functions:  # What is compiled is compiled now.
        function()
    times = [[] for _ in functions]
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times[0]) < 5:
        for function, own_times in zip(functions, times, strict=True):
            start = time.perf_counter()
            function()
            own_times.append(1000 * (time.perf_counter() - start))
    return [np.median(own_times) for own_times in times], len(times[0])


if __name__ == "__main__":
    main()
