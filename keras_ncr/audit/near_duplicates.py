"""Copies of one example that carry different labels: at least one label is wrong.

Copies are found by the inputs, not by a network's features: an MLP on Fashion-MNIST
puts half of all brighter copies farther from their originals than many different
pictures are from each other.
"""

import functools
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from keras_ncr.models.nearest import nearest_neighbors

# Pictures are compared at this height and width, or their own if smaller.
THUMBNAIL = 8

# Other inputs with more numbers than this are projected onto this many.
MAX_NUMBERS = 256

# Copies are searched among these, and their distances say what is near.
NUM_NEIGHBORS = 10

# At most this share of the examples without a copy may be taken for copies.
FALSE_SHARE = 1e-3

# A copy is nearer than this part of the typical distance to the last neighbor. Copies
# in JPEG, with noise or at another brightness are; of the examples of Fashion-MNIST,
# digits and CIFAR-10 at most 1 in 1,000 is, CIFAR-10's own duplicates included.
LARGEST_PART = 0.2

# Equal inputs may be this far apart, after batches of different sizes.
SAME = 1e-6

# Examples whose neighbors are held at a time.
BLOCK = 4096


class NearestInputs(NamedTuple):
    """The examples whose inputs are nearest to those of each of n examples.

    Attributes:
        indices: Int array of shape `(n, k)`, the nearest first.
        distances: Float array of shape `(n, k)`.
    """

    indices: np.ndarray
    distances: np.ndarray


def duplicate_descriptors(inputs):
    """Returns a small array that recognizes copies of the inputs of a batch."""
    inputs = np.asarray(inputs)
    if inputs.ndim == 4:
        return _thumbnails(inputs)
    rows = inputs.reshape(len(inputs), -1).astype("float32")
    if rows.shape[1] <= MAX_NUMBERS:
        return rows
    return _projection(rows.shape[1]).transform(rows)


def _thumbnails(pictures):
    """Returns small pictures with mean 0 and length 1; a flat one is all zeros."""
    height, width = (min(THUMBNAIL, side) for side in pictures.shape[1:3])
    pictures = pictures.astype("float32")
    small = tf.image.resize(pictures, (height, width), method="area").numpy()
    small -= small.mean(axis=(1, 2, 3), keepdims=True)
    contrasts = np.linalg.norm(small.reshape(len(small), -1), axis=1)
    # Without contrast, only rounding errors are left.
    size = np.abs(pictures.reshape(len(pictures), -1)).max(axis=1, initial=0)
    is_flat = contrasts <= 1e-5 * size
    small[is_flat] = 0
    contrasts[is_flat] = 1
    return (small / contrasts[:, None, None, None]).astype("float16")


@functools.lru_cache(maxsize=1)
def _projection(num_numbers):
    """Returns the random projection for rows of a length, always the same."""
    from sklearn.random_projection import SparseRandomProjection

    projection = SparseRandomProjection(MAX_NUMBERS, dense_output=True, random_state=0)
    return projection.fit(np.zeros((1, num_numbers), "float32"))


def nearest_inputs(descriptors, verbose=0):
    """Returns the `NearestInputs` of examples, by their descriptors."""
    descriptors = np.asarray(descriptors)
    if descriptors.ndim == 4:
        vectors = _vectors_of_thumbnails(descriptors)
    else:
        vectors = _vectors_of_numbers(descriptors)
    indices, _ = nearest_neighbors(vectors, NUM_NEIGHBORS, verbose=verbose)
    return NearestInputs(indices, _distances(vectors, indices))


def conflicting_duplicates(nearest, labels):
    """Returns the index of each example's nearest copy that carries another label."""
    labels = np.asarray(labels)
    indices, distances = nearest
    is_copy = distances <= max(_threshold(distances), SAME)
    conflicts = is_copy & (labels[indices] != labels[:, None])
    if conflicts.shape[1] == 0:
        return np.full(len(labels), -1)
    distances = np.where(conflicts, distances, np.inf)
    closest = np.argmin(distances, axis=1)[:, None]
    found = np.take_along_axis(indices, closest, axis=1)[:, 0].astype("int64")
    return np.where(conflicts.any(axis=1), found, -1)


def _vectors_of_thumbnails(thumbnails):
    """Returns a row of length 1 per picture, the same one for all flat pictures."""
    rows = thumbnails.reshape(len(thumbnails), -1)
    is_flat = ~rows.any(axis=1, keepdims=True)
    return np.concatenate([rows, is_flat.astype(rows.dtype)], axis=1)


def _vectors_of_numbers(numbers):
    """Returns rows of length 1 whose distances are those of the scaled columns."""
    from sklearn.preprocessing import StandardScaler

    numbers = np.asarray(numbers, "float32").reshape(len(numbers), -1)
    num_examples, num_columns = numbers.shape
    # A last column of ones gives rows that differ only in length other directions.
    rows = np.ones((num_examples, num_columns + 1), "float32")
    if num_columns:
        rows[:, :-1] = StandardScaler().fit_transform(numbers) / num_columns**0.5
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows


def _distances(vectors, indices):
    """Returns the neighbors' distances; cosines near 1 would be too inexact."""
    distances = np.empty(indices.shape, "float32")
    for start in range(0, len(indices), BLOCK):
        rows = slice(start, start + BLOCK)
        others = vectors[indices[rows]].astype("float32")
        distances[rows] = np.linalg.norm(others - vectors[rows, None], axis=2)
    return distances


def _threshold(distances):
    """Returns the distance up to which a neighbor is a copy."""
    num_neighbors = distances.shape[1]
    half = num_neighbors // 2
    if half == 0:
        return 0.0
    radii = np.median(distances, axis=0)
    inner, outer = radii[half - 1], radii[-1]
    if inner <= SAME:
        return 0.0
    # There are about r**dimension neighbors within a distance r.
    inverse_dimension = np.log(outer / inner) / np.log(num_neighbors / half)
    part = (FALSE_SHARE / num_neighbors) ** inverse_dimension
    return float(outer * min(LARGEST_PART, part))
