"""Tests of augment.py."""

import numpy as np
import pytest
import tensorflow as tf

from keras_ncr.augment import crop_and_flip

IMAGE = np.arange(1, 1 + 5 * 6 * 3, dtype="uint8").reshape(5, 6, 3)


def all_results(image, padding, flip):
    """Every image that can come out, by slow and obvious means."""
    height, width, _ = image.shape
    border = ((padding, padding), (padding, padding), (0, 0))
    padded = np.pad(image, border)
    crops = [
        padded[top : top + height, left : left + width]
        for top in range(2 * padding + 1)
        for left in range(2 * padding + 1)
    ]
    return crops + ([crop[:, ::-1] for crop in crops] if flip else [])


def draw(num_images, image, padding, flip):
    """The image as many times, each augmented with another seed."""
    augment = crop_and_flip(padding, flip)
    seeds = tf.data.Dataset.range(num_images).map(lambda i: tf.stack([3, i]))
    results = seeds.map(lambda seed: augment(image, seed), tf.data.AUTOTUNE)
    return results.as_numpy_iterator()


@pytest.mark.parametrize("padding, flip", [(0, True), (1, False), (1, True), (2, True)])
def test_every_crop_and_mirror_image_occurs_and_nothing_else(padding, flip):
    expected = {result.tobytes() for result in all_results(IMAGE, padding, flip)}
    seen = {result.tobytes() for result in draw(1000, IMAGE, padding, flip)}
    assert seen == expected


def test_half_of_the_images_are_mirrored():
    mirrored = [
        np.array_equal(result, IMAGE[:, ::-1]) for result in draw(1000, IMAGE, 0, True)
    ]
    assert 0.45 < np.mean(mirrored) < 0.55  # more than three standard deviations


def test_place_and_mirroring_are_independent():
    # Two pixels, 1 before 2, in the middle of zeros: a crop shifts them by up to 3, and
    # only mirroring swaps them.
    image = np.zeros((1, 8, 1), "uint8")
    image[0, 3:5, 0] = [1, 2]
    counts = np.zeros((7, 2))
    for result in draw(2000, image, 3, True):
        row = result[0, :, 0]
        if not row.any():
            continue  # the crop missed the only row
        is_mirrored = int(np.argmax(row == 2) < np.argmax(row == 1))
        row = row[::-1] if is_mirrored else row
        counts[np.argmax(row == 1), is_mirrored] += 1
    assert counts.sum() > 200  # one crop in seven has the row
    shares = counts[:, 1] / counts.sum(axis=1)
    # About 40 images a shift: a standard deviation of 0.08.
    assert np.all(np.abs(shares - 0.5) < 0.3)


def test_no_padding_and_no_flip_change_nothing():
    assert np.array_equal(crop_and_flip(0, flip=False)(IMAGE, [0, 1]), IMAGE)


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_shape_and_dtype_stay(dtype):
    result = crop_and_flip(2)(IMAGE.astype(dtype), [0, 1])
    assert result.dtype == dtype
    assert result.shape == (5, 6, 3)


def test_static_shape_survives_in_a_dataset():
    dataset = tf.data.Dataset.from_tensors(IMAGE)
    dataset = dataset.map(lambda image: crop_and_flip(4)(image, [0, 1]))
    assert dataset.element_spec.shape == (5, 6, 3)


def test_same_seed_gives_the_same_image_in_eager_and_in_a_dataset():
    augment = crop_and_flip(2)
    seeds = tf.data.Dataset.range(20).map(lambda i: tf.stack([7, i]))
    in_dataset = seeds.map(lambda seed: augment(IMAGE, seed), num_parallel_calls=2)
    for seed, result in zip(seeds, in_dataset, strict=True):
        assert np.array_equal(augment(IMAGE, seed), result)


@pytest.mark.parametrize("padding", [-1, 1.5, None, True])
def test_bad_padding_is_named(padding):
    with pytest.raises(ValueError, match=f"`padding` must be .*padding={padding}"):
        crop_and_flip(padding)
