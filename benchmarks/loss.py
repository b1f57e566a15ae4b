"""How near the loss comes to the time of its five matrix products.

    python benchmarks/loss.py
    python benchmarks/loss.py --profile=FOLDER

Value and gradients of the loss, against the products that they cannot do without:
similarities, (G + G') V for their gradient, mixture, and two for its gradient. Both run
in one process, in turn, on the same sizes; printed are medians of wall times, their
ratio, that of processor times, which other work on the machine disturbs less, and that
of the least wall times, which it disturbs least where turns are many. Each size has a
process of its own, of which the peak memory is the loss's, without that of the
products, and with the 0.5 GB or so of TensorFlow.
"""

import argparse
import collections
import functools
import multiprocessing
import os
import pathlib
import platform
import resource
import time
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from keras_ncr import NeighborConsistencyLoss


class Case(NamedTuple):
    """Sizes, and how the loss is computed."""

    batch: int
    dim: int
    num_classes: int
    num_neighbors: int
    queue_size: int = 0
    rows_per_block: int | None = None
    is_jit: bool = False


CASES = (
    Case(256, 512, 10, 10),
    Case(256, 512, 100, 50),
    Case(1024, 2048, 1000, 10),
    Case(1024, 512, 1000, 1),
    Case(1024, 512, 1000, 100),
    Case(1024, 512, 1000, 1023),
    Case(2048, 512, 100, 10),
    Case(2048, 512, 100, 10, is_jit=True),
    Case(2048, 512, 100, 10, rows_per_block=256),
    Case(2048, 512, 100, 2047),
    Case(4096, 512, 1000, 10),
    Case(4096, 512, 1000, 10, rows_per_block=512),
    Case(32, 512, 100, 10, queue_size=4096),
    Case(256, 512, 1000, 10, queue_size=4096),
    Case(16384, 512, 1000, 10, rows_per_block=512),
    Case(16384, 512, 1000, 10, rows_per_block=1024),
    Case(16384, 512, 1000, 16383, rows_per_block=1024),
)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=10, help="for each size")
    parser.add_argument("--batches", type=int, nargs="*", help="these batches alone")
    parser.add_argument("--profile", help="folder for TensorFlow profiler traces")
    options = parser.parse_args()
    print(f"TensorFlow {tf.__version__}, {os.cpu_count()} CPUs ({platform.machine()})")
    print(
        "batch  dim classes    k queue rows XLA products ms  loss ms ratio  CPU least"
        "   n  GB"
    )
    for case in CASES:
        if options.batches and case.batch not in options.batches:
            continue
        # A process that ends takes its memory along.
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            measured = pool.apply(measure, (case, options.seconds))
            row = "{:5}{:5}{:8}{:6}{:6}{:>5}{:>4}".format(
                *case[:5], case.rows_per_block or "all", "yes" if case.is_jit else "no"
            )
            print(
                row
                + "{:12.1f}{:9.1f}{:6.2f}{:5.2f}{:6.2f}{:4}{:4.1f}".format(*measured),
                flush=True,
            )
            if options.profile:
                pool.apply(profile, (case, options.profile))


def measure(case, seconds):
    """Returns the median milliseconds of products and loss, ratios, turns, memory."""
    loss, products = functions(case)
    loss()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    products()
    times = {loss: [], products: []}
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times[loss]) < 3:
        for function, own_times in times.items():
            start = time.perf_counter(), time.process_time()
            function()
            stop = time.perf_counter(), time.process_time()
            own_times.append(np.subtract(stop, start) * 1000)
    of_loss, of_products = (
        np.median(own_times, axis=0) for own_times in times.values()
    )
    wall, cpu = of_loss / of_products
    least = np.divide(*(np.min(own_times, axis=0)[0] for own_times in times.values()))
    return of_products[0], of_loss[0], wall, cpu, least, len(times[loss]), peak


def functions(case):
    """Returns what computes the loss of a case and its gradients, and the products."""
    rng = np.random.default_rng(0)
    # As after a ReLU, like the paper's features.
    features = np.maximum(rng.standard_normal((case.batch, case.dim), "float32"), 0)
    logits = 2 * rng.standard_normal((case.batch, case.num_classes), "float32")
    layer = NeighborConsistencyLoss(
        case.num_neighbors,
        queue_size=case.queue_size,
        rows_per_block=case.rows_per_block,
    )
    layer.build(features.shape, logits.shape)
    if case.queue_size:
        fill(layer.queue)
    features, logits = tf.constant(features), tf.constant(logits)

    @tf.function(jit_compile=case.is_jit)
    def value_and_gradients(features, logits):
        with tf.GradientTape() as tape:
            tape.watch([features, logits])
            loss = tf.reduce_mean(layer(features, logits, training=True))
        gradients = tape.gradient(loss, [features, logits])
        return [loss, *(gradient[0, 0] for gradient in gradients)]

    pool_size = case.batch + case.queue_size
    pool = tf.concat([features, tf.ones([case.queue_size, case.dim])], axis=0)
    predictions = tf.ones([pool_size, case.num_classes])
    # Made when it is needed, after the memory of the loss has been read.
    weights = functools.cache(lambda: tf.ones([case.batch, pool_size]))
    return (
        lambda: value_and_gradients(features, logits)[0].numpy(),
        lambda: five_products(features, logits, pool, predictions, weights())[
            0
        ].numpy(),
    )


def fill(queue):
    """Puts random examples into a queue."""
    rng = np.random.default_rng(1)
    vectors = np.abs(rng.standard_normal(queue.vectors.shape, "float32"))
    queue.vectors.assign(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
    num_classes = queue.log_predictions.shape[1]
    log_predictions = np.full((queue.size, num_classes), -np.log(num_classes))
    queue.log_predictions.assign(log_predictions)
    queue.count.assign(queue.size)


@tf.function
def five_products(features, logits, pool, predictions, weights):
    """Returns one number of each product, so that none is left out."""
    # The past gets no gradient.
    of_batch = weights[:, : len(features)] if len(pool) > len(features) else weights
    products = (
        tf.matmul(features, pool, transpose_b=True),
        tf.matmul(weights, pool),
        tf.matmul(weights, predictions),
        tf.matmul(logits, predictions, transpose_b=True),
        tf.matmul(of_batch, logits, transpose_a=True),
    )
    return [product[0, 0] for product in products]


def profile(case, folder, repeats=5):
    """Writes a trace of the loss for TensorBoard, and prints what costs most."""
    loss, _ = functions(case)
    loss()
    name = "-".join(str(part) for part in case)
    folder = str(pathlib.Path(folder, name))
    tf.profiler.experimental.start(folder)
    for _ in range(repeats):
        loss()
    tf.profiler.experimental.stop()
    milliseconds = collections.Counter()
    for name, duration in events_of(folder):
        milliseconds[name] += duration / repeats
    for name, total in milliseconds.most_common(12):
        print(f"{total:12.2f} ms  {name}")


def events_of(folder):
    """Yields the names of operations in the newest trace of a folder, and their ms."""
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    traces = pathlib.Path(folder).rglob("*.xplane.pb")
    newest = max(traces, key=lambda path: path.stat().st_mtime)
    space = xplane_pb2.XSpace.FromString(newest.read_bytes())
    for plane in space.planes:
        for line in plane.lines:
            for event in line.events:
                name = plane.event_metadata[event.metadata_id].name
                # Operations are called `name:Kind`; all else is what surrounds them.
                operation, colon, kind = name.rpartition(":")
                if colon and kind.isidentifier() and "::" not in name:
                    operation = operation.rpartition("cond/")[2]
                    yield f"{kind:16} {operation}", event.duration_ps / 1e9


if __name__ == "__main__":
    main()
