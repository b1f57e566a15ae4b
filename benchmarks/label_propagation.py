"""What label propagation costs: the graph of neighbors, and spreading labels over it.

    python benchmarks/label_propagation.py

50,000 examples with 512 features, which are not negative and form a cluster per class;
40 % of the labels are redrawn. Each part runs once in this process, for 10 and for 100
classes; printed are seconds, those of all cores together (on a machine that has other
work, half of these tell more), the most memory so far, and the share of right labels.
"""

import argparse
import os
import platform
import resource
import time

import numpy as np
import sklearn

from keras_ncr import noise
from keras_ncr.features.label_propagation import neighbor_graph, spread_labels

DIM = 512


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--examples", type=int, default=50_000)
    num_examples = parser.parse_args().examples
    print(
        f"scikit-learn {sklearn.__version__}, {os.cpu_count()} CPUs "
        f"({platform.machine()}), load {os.getloadavg()[0]:.1f} before; "
        f"{memory():.1f} GB with TensorFlow alone"
    )
    print("\n| classes | graph s | spreading s | cores' s | memory GB | right labels |")
    print("| --- | --- | --- | --- | --- | --- |")
    for num_classes in (10, 100):
        features, labels, noisy_labels = clusters(num_examples, num_classes)
        start, start_of_cores = time.perf_counter(), time.process_time()
        graph = neighbor_graph(features)
        middle = time.perf_counter()
        scores = spread_labels(graph, noisy_labels, num_classes)
        end, end_of_cores = time.perf_counter(), time.process_time()
        before, after = (
            np.mean(found == labels) for found in (noisy_labels, scores.argmax(axis=1))
        )
        print(
            f"| {num_classes} | {middle - start:.1f} | {end - middle:.1f} "
            f"| {end_of_cores - start_of_cores:.1f} | {memory():.1f} "
            f"| {before:.3f} to {after:.3f} |",
            flush=True,
        )


def clusters(num_examples, num_classes):
    """Returns features, their classes, and labels of which some are wrong."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, num_classes, num_examples)
    centers = rng.normal(size=(num_classes, DIM)).astype("float32")
    spread = 2 * rng.standard_normal((num_examples, DIM), "float32")
    features = np.maximum(centers[labels] + spread, 0)
    matrix = noise.symmetric(num_classes, 0.4, include_true=True)
    return features, labels, noise.LabelNoise(matrix, seed=0).corrupt(labels)


def memory():
    """Returns the most memory that this process has held so far, in GB."""
    # In kilobytes on Linux.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


if __name__ == "__main__":
    main()
