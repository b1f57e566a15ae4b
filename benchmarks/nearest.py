"""What the nearest neighbors of a whole data set cost, and how many it misses.

    python benchmarks/nearest.py
    python benchmarks/nearest.py --examples=1000000
    python benchmarks/nearest.py --examples=40000 --classes=1 --directions=32

Half-precision features of 512 numbers, which are not negative and form a cluster per
class, with 24 directions in which examples of a class differ; 50 neighbors of each. One
class with many directions is hard: there are hardly any regions to search in. Up
to 100,000 examples all pairs are compared first; the search by cells runs always. The
recall is that of 1,000 examples. Printed are seconds, those of all cores together, and
the most memory so far, of which the features are a part.
"""

import argparse
import os
import platform
import resource
import time

import numpy as np

from keras_ncr.models.nearest import EXACT_LIMIT, nearest_neighbors

DIM = 512
CHECKED = 1000


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--examples", type=int, default=50_000)
    parser.add_argument("--neighbors", type=int, default=50)
    parser.add_argument("--classes", type=int, default=100)
    parser.add_argument("--directions", type=int, default=24)
    arguments = parser.parse_args()
    num_examples, num_neighbors = arguments.examples, arguments.neighbors
    features = clusters(num_examples, arguments.classes, arguments.directions)
    print(
        f"{num_examples:,} x {DIM}, {features.nbytes / 1e9:.1f} GB; {os.cpu_count()} "
        f"CPUs ({platform.machine()}), load {os.getloadavg()[0]:.1f} before; "
        f"{memory():.1f} GB with TensorFlow and the features"
    )
    print("\n| search | s | cores' s | memory GB | recall |")
    print("| --- | --- | --- | --- | --- |")
    searches = {"exact": num_examples, "cells": 0}
    if num_examples > EXACT_LIMIT:
        del searches["exact"]
    for name, exact_limit in searches.items():
        start, start_of_cores = time.perf_counter(), time.process_time()
        indices, _ = nearest_neighbors(features, num_neighbors, exact_limit)
        end, end_of_cores = time.perf_counter(), time.process_time()
        most = memory()
        print(
            f"| {name} | {end - start:.1f} | {end_of_cores - start_of_cores:.1f} "
            f"| {most:.1f} | {recall(features, indices):.4f} |",
            flush=True,
        )


def clusters(num_examples, num_classes=100, num_directions=24, block=20_000):
    """Returns features, made block by block."""
    rng = np.random.default_rng(0)
    centers = 2 * rng.standard_normal((num_classes, num_directions), "float32")
    mixing = rng.standard_normal((num_directions, DIM), "float32") / 5
    features = np.empty((num_examples, DIM), "float16")
    for start in range(0, num_examples, block):
        rows = features[start : start + block]
        inner = centers[rng.integers(0, num_classes, len(rows))]
        inner += rng.standard_normal(inner.shape, "float32")
        noise = 0.2 * rng.standard_normal(rows.shape, "float32")
        rows[:] = np.maximum(inner @ mixing + noise, 0)
    return features


def recall(features, indices, block=20_000):
    """Returns the share of the true neighbors found, for some examples."""
    num_examples, num_neighbors = indices.shape
    chosen = np.random.default_rng(1).choice(
        num_examples, min(CHECKED, num_examples), replace=False
    )
    queries = unit(features[chosen])
    best = np.full((len(chosen), num_neighbors), -np.inf, "float32")
    true = np.zeros(best.shape, "int64")
    for start in range(0, num_examples, block):
        names = np.arange(start, min(start + block, num_examples))
        similarities = queries @ unit(features[names]).T
        similarities[names == chosen[:, None]] = -np.inf
        similarities = np.concatenate([best, similarities], axis=1)
        names = np.concatenate([true, np.tile(names, (len(chosen), 1))], axis=1)
        nearest = np.argpartition(-similarities, num_neighbors, axis=1)
        nearest = nearest[:, :num_neighbors]
        best = np.take_along_axis(similarities, nearest, axis=1)
        true = np.take_along_axis(names, nearest, axis=1)
    found = [np.isin(a, b).mean() for a, b in zip(indices[chosen], true, strict=True)]
    return np.mean(found)


def unit(rows):
    """Returns rows of length 1."""
    rows = rows.astype("float32")
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def memory():
    """Returns the most memory that this process has held so far, in GB."""
    # In kilobytes on Linux.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


if __name__ == "__main__":
    main()
