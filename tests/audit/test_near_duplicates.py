"""Copies with other labels: the definition, planted copies, data without any."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from sklearn.datasets import load_breast_cancer, load_digits, load_wine

from keras_ncr.audit import near_duplicates
from keras_ncr.audit.near_duplicates import (
    conflicting_duplicates,
    duplicate_descriptors,
    nearest_inputs,
)


def copies_in(descriptors, labels):
    return conflicting_duplicates(nearest_inputs(descriptors), labels)


def digits():
    return load_digits().images[:, :, :, None] * (255 / 16)


def big_digits(num_examples=400):
    """Digits of 24 x 24 pixels, as bytes."""
    small = digits()[:num_examples]
    return tf.cast(tf.image.resize(small, (24, 24)), tf.uint8).numpy()


def color_pictures(num_examples=100, seed=0):
    """Smooth pictures of 32 x 32 pixels."""
    coarse = np.random.default_rng(seed).uniform(0, 255, (num_examples, 5, 5, 3))
    return tf.image.resize(coarse, (32, 32), method="bicubic").numpy().clip(0, 255)


def brighter(pictures):
    return pictures * 0.9 + 20.0


def with_noise(pictures):
    noise = np.random.default_rng(1).normal(0, 6, pictures.shape)
    return np.clip(pictures + noise, 0, 255)


def as_jpeg(pictures):
    copies = []
    for picture in pictures.astype("uint8"):
        file = io.BytesIO()
        Image.fromarray(picture).save(file, "JPEG", quality=60)
        copies.append(np.asarray(Image.open(file)))
    return np.stack(copies)


def smaller_and_back(pictures):
    small = tf.image.resize(pictures, (20, 20), antialias=True)
    return tf.image.resize(small, pictures.shape[1:3]).numpy()


def as_they_are(pictures):
    return pictures


def slow_conflicts(vectors, labels):
    """Conflicting copies by their definition, one pair at a time; ten neighbors."""
    count = len(vectors)
    units = [row / np.sqrt(np.sum(row * row)) for row in vectors]
    distances = np.array([[np.linalg.norm(a - b) for b in units] for a in units])
    ordered = [
        sorted(distances[i, j] for j in range(count) if j != i) for i in range(count)
    ]
    fifth, tenth = (np.median([row[k] for row in ordered]) for k in (4, 9))
    dimension = np.log(10 / 5) / np.log(tenth / fifth)
    threshold = tenth * min(0.2, (0.001 / 10) ** (1 / dimension))
    found = []
    for i in range(count):
        copies = [
            (distances[i, j], j)
            for j in range(count)
            if j != i and labels[j] != labels[i] and distances[i, j] <= threshold
        ]
        found.append(min(copies)[1] if copies else -1)
    return found


def all_different(num_examples):
    """Labels with which every copy is a conflict."""
    return np.arange(num_examples)


# Descriptors.


def test_thumbnails_have_no_brightness_and_no_contrast():
    pictures = color_pictures(6)
    thumbnails = duplicate_descriptors(pictures)
    assert (thumbnails.shape, thumbnails.dtype) == ((6, 8, 8, 3), "float16")
    np.testing.assert_allclose(thumbnails.mean(axis=(1, 2, 3), dtype="d"), 0, atol=1e-3)
    lengths = np.sqrt((thumbnails.astype("d") ** 2).sum(axis=(1, 2, 3)))
    np.testing.assert_allclose(lengths, 1, atol=1e-3)
    again = duplicate_descriptors(0.01 * pictures - 3)
    np.testing.assert_allclose(again, thumbnails, atol=1e-3)


def test_thumbnail_is_the_mean_of_its_areas():
    picture = np.zeros((1, 16, 16, 1))
    picture[0, :8, :8] = 4.0
    thumbnail = duplicate_descriptors(picture)[0, :, :, 0]
    expected = np.where((np.arange(8) < 4)[:, None] & (np.arange(8) < 4), 3, -1)
    np.testing.assert_allclose(thumbnail, expected / np.sqrt(192), atol=1e-3)


def test_small_pictures_keep_their_size():
    assert duplicate_descriptors(np.ones((2, 5, 9, 1), "uint8")).shape == (2, 5, 8, 1)


@pytest.mark.parametrize("level", [0, 1e-3, 0.3, 255])
def test_flat_picture_has_an_empty_thumbnail(level):
    thumbnail = duplicate_descriptors(np.full((1, 31, 17, 3), level, "float32"))
    np.testing.assert_array_equal(thumbnail, 0)


def test_descriptors_do_not_depend_on_the_batch():
    for inputs in (color_pictures(20), np.random.default_rng(0).normal(size=(20, 500))):
        whole = duplicate_descriptors(inputs)
        parts = [duplicate_descriptors(inputs[i : i + 7]) for i in (0, 7, 14)]
        np.testing.assert_allclose(np.concatenate(parts), whole, atol=1e-5)


def test_few_numbers_stay_as_they_are():
    inputs = np.arange(24).reshape(2, 3, 4)
    np.testing.assert_array_equal(duplicate_descriptors(inputs), inputs.reshape(2, 12))
    np.testing.assert_array_equal(duplicate_descriptors(np.arange(3)), [[0], [1], [2]])


def test_many_numbers_are_projected_and_keep_their_distances():
    inputs = np.random.default_rng(0).normal(size=(10, 50, 40))
    descriptors = duplicate_descriptors(inputs)
    assert (descriptors.shape, descriptors.dtype) == ((10, 256), "float32")
    before = np.linalg.norm(inputs[1:] - inputs[:1], axis=(1, 2))
    after = np.linalg.norm(descriptors[1:] - descriptors[:1], axis=1)
    np.testing.assert_allclose(after, before, rtol=0.3)


# Conflicts.


def test_conflicts_equal_their_definition():
    rng = np.random.default_rng(0)
    pictures = digits()[:60]
    pictures[:20] = pictures[20:40] + rng.normal(0, 6, (20, 8, 8, 1))
    labels = rng.integers(0, 3, 60)
    thumbnails = duplicate_descriptors(pictures)
    found = copies_in(thumbnails, labels)
    expected = slow_conflicts(thumbnails.reshape(60, -1).astype("d"), labels)
    np.testing.assert_array_equal(found, expected)
    assert np.sum(found >= 0) > 10 and found.dtype == "int64"


COPIES = [as_they_are, brighter, with_noise, as_jpeg, smaller_and_back]


@pytest.mark.parametrize("copy", COPIES)
def test_copies_of_color_pictures_are_found_and_nothing_else(copy):
    pictures = color_pictures()
    both = np.concatenate([pictures, copy(pictures[:30])])
    found = copies_in(duplicate_descriptors(both), all_different(130))
    expected = np.concatenate([np.arange(100, 130), [-1] * 70, np.arange(30)])
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("copy, recall", [(brighter, 1), (with_noise, 0.95)])
def test_copies_of_digits_are_found_and_nothing_else(copy, recall):
    pictures = big_digits()
    both = np.concatenate([pictures, copy(pictures[:40].astype("float32"))])
    found = copies_in(duplicate_descriptors(both), all_different(440))
    assert np.mean(found[:40] == np.arange(400, 440)) >= recall
    np.testing.assert_array_equal(found[40:400], -1)


def test_only_other_labels_conflict():
    pictures = np.concatenate([color_pictures(), color_pictures()[:2]])
    labels = np.zeros(102, int)
    labels[101] = 1
    found = copies_in(duplicate_descriptors(pictures), labels)
    assert list(np.flatnonzero(found >= 0)) == [1, 101]
    assert (found[1], found[101]) == (101, 1)


def test_a_nearer_copy_with_the_same_label_does_not_hide_the_other():
    pictures = color_pictures()
    pictures[50] = pictures[0]
    pictures[60] = with_noise(pictures)[0]
    labels = np.zeros(100, int)
    labels[60] = 1
    found = copies_in(duplicate_descriptors(pictures), labels)
    assert (found[0], found[50]) == (60, 60)


def test_picture_of_another_color_is_no_copy():
    pictures = color_pictures()
    pictures[1] = pictures[0][:, :, ::-1]
    found = copies_in(duplicate_descriptors(pictures), all_different(100))
    np.testing.assert_array_equal(found, -1)


def test_flat_pictures_are_copies_of_each_other():
    pictures = color_pictures()
    pictures[3], pictures[8] = 0, 255
    found = copies_in(duplicate_descriptors(pictures), all_different(100))
    assert (found[3], found[8], np.sum(found >= 0)) == (8, 3, 2)


def test_conflicts_follow_their_examples_when_permuted():
    pictures = np.concatenate([digits()[:90], with_noise(digits()[:10])])
    labels = np.random.default_rng(0).integers(0, 2, 100)
    thumbnails = duplicate_descriptors(pictures)
    order = np.random.default_rng(1).permutation(100)
    found = copies_in(thumbnails, labels)
    permuted = copies_in(thumbnails[order], labels[order])
    np.testing.assert_array_equal(
        np.where(permuted >= 0, order[permuted], -1), found[order]
    )


@pytest.mark.parametrize("copy", [as_they_are, brighter, with_noise])
def test_data_set_of_nothing_but_pairs_is_found(copy):
    pictures = color_pictures()
    both = np.concatenate([pictures, copy(pictures)])
    found = copies_in(duplicate_descriptors(both), all_different(200))
    expected = np.concatenate([np.arange(100, 200), np.arange(100)])
    np.testing.assert_array_equal(found, expected)


def test_digits_have_no_copies():
    descriptors = duplicate_descriptors(digits())
    found = copies_in(descriptors, all_different(len(descriptors)))
    np.testing.assert_array_equal(found, -1)


# Tables.


@pytest.mark.parametrize("dim", [1, 2, 3, 5, 10, 100, 300])
def test_random_numbers_have_few_copies_in_any_dimension(dim):
    inputs = np.random.default_rng(0).normal(size=(1500, dim))
    found = copies_in(duplicate_descriptors(inputs), all_different(1500))
    assert np.mean(found >= 0) <= 0.003


@pytest.mark.parametrize("load", [load_wine, load_breast_cancer])
def test_rows_of_tables_are_copies_only_if_planted(load):
    # Columns of these tables differ in size by factors of up to a million.
    inputs = load().data
    count = len(inputs)
    inputs = np.concatenate([inputs, inputs[:9], 1.001 * inputs[9:18]])
    found = copies_in(duplicate_descriptors(inputs), all_different(count + 18))
    np.testing.assert_array_equal(found[:18], np.arange(count, count + 18))
    np.testing.assert_array_equal(found[18:count], -1)


def test_rows_that_differ_in_length_alone_are_no_copies():
    inputs = np.random.default_rng(0).normal(size=(100, 12))
    inputs -= inputs.mean(axis=0)
    inputs[1] = 3 * inputs[0]
    found = copies_in(inputs, all_different(100))
    np.testing.assert_array_equal(found, -1)


def test_constant_column_does_not_matter():
    inputs = np.random.default_rng(0).normal(size=(100, 6))
    inputs[7] = inputs[70]
    widened = np.concatenate([inputs, np.full((100, 1), 1e6 / 3)], axis=1)
    found = copies_in(widened, all_different(100))
    assert (found[7], found[70], np.sum(found >= 0)) == (70, 7, 2)


# Edges.


@pytest.mark.parametrize("count, expected", [(1, [-1]), (2, [1, 0]), (3, [1, 0, 0])])
def test_few_equal_examples_are_copies(count, expected):
    found = copies_in(np.ones((count, 4)), all_different(count))
    np.testing.assert_array_equal(found, expected)


def test_two_different_examples_are_no_copies():
    np.testing.assert_array_equal(copies_in(np.eye(2), [0, 1]), -1)


def test_block_of_examples_does_not_matter(monkeypatch):
    descriptors = duplicate_descriptors(np.repeat(digits()[:20], 2, axis=0))
    labels = np.arange(40) % 3
    expected = copies_in(descriptors, labels)
    monkeypatch.setattr(near_duplicates, "BLOCK", 7)
    np.testing.assert_array_equal(copies_in(descriptors, labels), expected)
