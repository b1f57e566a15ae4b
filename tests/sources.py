"""Small sources for tests."""

import numpy as np

from keras_ncr.datasets import from_arrays


def random_source(num_examples, image_shape=(4, 4, 1), num_classes=10):
    """Returns a `Source` of random pixels, whose labels are right."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (num_examples, *image_shape), dtype="uint8")
    labels = np.arange(num_examples) % num_classes
    return from_arrays(images, labels, num_classes)


def annotated_source():
    """Returns sixty examples, three of which are known to have wrong labels."""
    source = random_source(60)
    clean = source.labels.copy()
    clean[[5, 7]], clean[30] = (clean[[5, 7]] + 1) % 10, -1
    return source.relabeled(source.labels, clean_labels=clean)
