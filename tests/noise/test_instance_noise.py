"""Instance-dependent noise: the image, not the class alone, decides the label."""

import numpy as np
import pytest
from scipy.special import softmax

from keras_ncr.noise import InstanceDependentNoise, instance_noise


def random_images(num_examples, shape=(8, 8, 1), seed=0):
    generator = np.random.default_rng(seed)
    return generator.integers(0, 256, (num_examples, *shape), np.uint8)


def test_sample_follows_the_softmax():
    activations = np.array([[0.0, -np.inf, 1.0, 2.0, -np.inf]])
    draws = (np.arange(10_000) + 0.5) / 10_000
    classes = instance_noise._sample(np.repeat(activations, 10_000, axis=0), draws)
    shares = np.bincount(classes, minlength=5) / 10_000
    np.testing.assert_allclose(shares, softmax(activations[0]), atol=2e-4)


def test_sample_never_leaves_the_support():
    activations = np.array([[-np.inf, 0.0, 0.0, -np.inf]] * 2, np.float32)
    classes = instance_noise._sample(activations, np.array([0.0, 1 - 2.0**-53]))
    assert classes.tolist() == [1, 2]


@pytest.mark.parametrize("rate", [0.2, 0.4, 0.6, 0.8])
def test_realized_rate_is_near_the_nominal(rate):
    labels = np.arange(20_000) % 10
    noisy_labels = InstanceDependentNoise(rate).corrupt(
        random_images(20_000, (2, 2)), labels
    )
    bound = 0.006 + 4.5 * np.sqrt(rate * (1 - rate) / 20_000)
    assert abs(np.mean(noisy_labels != labels) - rate) < bound


def test_truncation_raises_a_low_rate_as_the_docstring_says():
    labels = np.arange(20_000) % 10
    images = random_images(20_000, (2, 2))
    noisy_labels = InstanceDependentNoise(0.1).corrupt(images, labels)
    realized = np.mean(noisy_labels != labels)
    assert abs(realized - 0.129) < 4.5 * np.sqrt(0.129 * 0.871 / 20_000)


def test_rate_zero_changes_nothing():
    labels = np.arange(100) % 10
    noisy_labels = InstanceDependentNoise(0).corrupt(random_images(100), labels)
    np.testing.assert_array_equal(noisy_labels, labels)


def test_wrong_class_depends_on_the_image():
    # 20 different images, 100 copies of each, all of class 0.
    which = np.arange(2000) % 20
    images = random_images(20, (32, 32, 3))[which]
    noisy_labels = InstanceDependentNoise(0.5, num_classes=10).corrupt(
        images, np.zeros(2000, int)
    )
    counts = np.stack(
        [np.bincount(noisy_labels[which == i], None, 10) for i in range(20)]
    )
    wrong = counts[:, 1:]
    # Copies of one image nearly all go to the same wrong class ...
    assert np.mean(wrong.max(axis=1) / wrong.sum(axis=1)) > 0.9
    # ... and different images of one class to many different ones.
    assert len(np.unique(wrong.argmax(axis=1))) >= 5


def test_wrong_class_depends_on_the_clean_class():
    images = random_images(1000)
    noise = InstanceDependentNoise(1.0, num_classes=10)
    first = noise.corrupt(images, np.full(1000, 8))
    second = noise.corrupt(images, np.full(1000, 9))
    both_other = (first < 8) & (second < 8)
    assert np.mean(first[both_other] == second[both_other]) < 0.3


def test_brightness_and_contrast_do_not_matter():
    images, labels = random_images(1000), np.arange(1000) % 10
    noise = InstanceDependentNoise(0.4)
    expected = noise.corrupt(images, labels)
    assert np.any(expected != labels)
    np.testing.assert_array_equal(noise.corrupt(images * 4.0, labels), expected)
    shifted = noise.corrupt(images + 1000.0, labels)
    assert np.mean(shifted == expected) > 0.99  # rounding may move a borderline draw


def test_chunks_do_not_matter(monkeypatch):
    images, labels = random_images(500), np.arange(500) % 3
    expected = InstanceDependentNoise(0.4).corrupt(images, labels)
    monkeypatch.setattr(instance_noise, "_CHUNK", 7)
    again = InstanceDependentNoise(0.4).corrupt(images, labels)
    assert np.mean(again == expected) > 0.99  # the mean is summed in another order


def test_seeds_differ_and_repeat():
    images, labels = random_images(1000), np.arange(1000) % 10
    first, again = (InstanceDependentNoise(0.4).corrupt(images, labels) for _ in "ab")
    other = InstanceDependentNoise(0.4, seed=1).corrupt(images, labels)
    np.testing.assert_array_equal(first, again)
    assert np.mean((first != labels) == (other != labels)) < 0.65


def test_constant_pixels_are_harmless():
    images = np.zeros((100, 4, 4))
    labels = np.arange(100) % 4
    noisy_labels = InstanceDependentNoise(0.5).corrupt(images, labels)
    assert set(noisy_labels.tolist()) == {0, 1, 2, 3}


@pytest.mark.parametrize(
    "images, labels, message",
    [
        (np.zeros((3, 2)), [0, 1], "`images` must have shape .* one image per label"),
        (np.zeros(2), [0, 1], "`images` must have shape"),
        (np.array([[np.nan], [0.0]]), [0, 1], "`images` must hold finite numbers"),
        (np.zeros((2, 2)), [0, 5], "`labels` must be below 3. Received: 5"),
        (np.zeros((2, 2)), [0.0, np.nan], "`labels` must hold whole class numbers"),
    ],
)
def test_bad_data_is_refused(images, labels, message):
    with pytest.raises(ValueError, match=message):
        InstanceDependentNoise(0.4, num_classes=3).corrupt(images, labels)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"rate": 1.5}, "`rate` must be a number from 0 to 1"),
        ({"rate": 0.4, "seed": -1}, "`seed` must be an integer of at least 0"),
        ({"rate": 0.4, "num_classes": 1}, "`num_classes` must be an integer of"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        InstanceDependentNoise(**arguments)


def test_one_class_cannot_be_corrupted():
    with pytest.raises(ValueError, match="`num_classes` must be .* at least 2"):
        InstanceDependentNoise(0.4).corrupt(np.zeros((3, 2)), [0, 0, 0])
