"""Policies: each change is Pillow's, and what is drawn is what the papers have."""

import numpy as np
import PIL.Image
import PIL.ImageEnhance
import PIL.ImageOps
import pytest
import tensorflow as tf

from keras_ncr.pipelines import image_changes as changes
from keras_ncr.pipelines import policies
from keras_ncr.pipelines.policies import auto_augment, cutout, rand_augment

RNG = np.random.default_rng(0)
# Smooth, and noisy in a part of the range of values.
RAMP = np.linspace(20, 200, 32 * 32 * 3).reshape(32, 32, 3).astype("uint8")
NOISE = RNG.integers(30, 180, (32, 32, 3)).astype("uint8")


def affine(*matrix):
    return lambda image: image.transform(image.size, PIL.Image.Transform.AFFINE, matrix)


def enhanced(kind, amount):
    return lambda image: getattr(PIL.ImageEnhance, kind)(image).enhance(amount)


PILLOW = {
    "auto_contrast": (0, PIL.ImageOps.autocontrast),
    "equalize": (0, PIL.ImageOps.equalize),
    "invert": (0, PIL.ImageOps.invert),
    "solarize": (110.5, lambda image: PIL.ImageOps.solarize(image, 110.5)),
    "posterize": (3, lambda image: PIL.ImageOps.posterize(image, 3)),
    "brightness": (1.4, enhanced("Brightness", 1.4)),
    "color": (0.28, enhanced("Color", 0.28)),
    "contrast": (1.7, enhanced("Contrast", 1.7)),
    "sharpness": (1.9, enhanced("Sharpness", 1.9)),
    "shear_x": (0.13, affine(1, 0.13, 0, 0, 1, 0)),
    "shear_y": (-0.24, affine(1, 0, 0, -0.24, 1, 0)),
    "translate_x": (9.0, affine(1, 0, 9, 0, 1, 0)),
    "translate_y": (-3.0, affine(1, 0, 0, 0, 1, -3)),
    "rotate": (17.0, lambda image: image.rotate(17)),
}


@pytest.mark.parametrize("image", [RAMP, NOISE], ids=["ramp", "noise"])
@pytest.mark.parametrize("name", PILLOW)
def test_changes_are_those_of_pillow(name, image):
    amount, pillow = PILLOW[name]
    ours = getattr(changes, name)(tf.constant(image), tf.constant(amount, "float32"))
    theirs = np.asarray(pillow(PIL.Image.fromarray(image)))
    difference = np.abs(ours.numpy().astype(int) - theirs)
    # Rounding of single precision, at a pixel's value or place.
    assert np.mean(difference > 0) < 0.01 and np.median(difference) == 0
    if name not in ("shear_x", "shear_y", "rotate"):
        assert difference.max() <= 1
    assert image is RAMP or np.any(theirs != image)


def test_brighter_pixels_are_solarized():
    image = tf.constant([[[0], [100], [120], [250]]], "uint8")
    changed = changes.solarize_add(image, tf.constant(11.9))
    assert changed.numpy().ravel().tolist() == [11, 111, 255 - 131, 0]


def test_no_bits_leave_black():
    assert not changes.posterize(tf.constant(RAMP), tf.constant(0.4)).numpy().any()


def test_a_square_is_cut_out_where_it_should():
    place = tf.constant([0.5, 0.25])
    image = changes.square_cut_out(tf.constant(RAMP), tf.constant(4.0), place)
    is_cut = np.all(image.numpy() == [125, 123, 114], axis=-1)
    expected = np.zeros((32, 32), bool)
    expected[14:19, 6:11] = True  # Both ends are in it, as Pillow draws it.
    np.testing.assert_array_equal(is_cut, expected)


def test_amounts_of_rand_augment_are_those_of_the_library():
    """`augment_list` of ildoonet/pytorch-randaugment, at magnitude 3 of 30."""
    assert len(policies._RAND_AUGMENT) == 16
    seen = {
        change.__name__: low + (high - low) * 3 / 30
        for change, (low, high, _) in policies._RAND_AUGMENT.items()
    }
    assert seen["rotate"] == 3 and seen["color"] == pytest.approx(0.28)
    assert seen["translate_x"] == 10 and seen["square_cut_out"] == 4


def test_amounts_of_auto_augment_are_those_of_the_released_code():
    """`autoaug2arsaug` in SOP's data_loader/augmentation_archive.py."""
    expected = {
        "rotate 0.7 2": 6,
        "shear_y 0.5 8": 0.24,
        "posterize 0.3 7": 2,
        "solarize 0.5 2": 205,
        "contrast 0.2 6": 1.18,
        "translate_x 0.3 9": 9,
    }
    for text, amount in expected.items():
        assert policies._parsed(text)[2] == pytest.approx(amount)
    assert len(policies._AUTO_AUGMENT.strip().splitlines()) == 25


MAKERS = {"rand": rand_augment, "auto": auto_augment, "cutout": cutout}


@pytest.mark.parametrize(
    ("name", "channels"),
    [
        ("rand", 1),
        ("auto", 3),
        ("cutout", 3),
        pytest.param("rand", 3, marks=pytest.mark.slow),
        pytest.param("auto", 1, marks=pytest.mark.slow),
        pytest.param("cutout", 1, marks=pytest.mark.slow),
    ],
)
def test_a_seed_decides_and_shapes_stay(name, channels):
    augment, image = MAKERS[name](), RAMP[..., :channels]
    graph = tf.function(augment)
    seen = []
    for number in range(12):
        changed = graph(image, tf.constant([number, 5]))
        assert changed.shape == image.shape and changed.dtype == tf.uint8
        seen.append(changed.numpy().tobytes())
    assert len(set(seen)) > 4
    np.testing.assert_array_equal(
        augment(image, tf.constant([3, 5])), graph(image, tf.constant([3, 5]))
    )


def test_rand_augment_draws_all_of_its_changes():
    graph = tf.function(rand_augment(magnitude=12))
    seen = {graph(NOISE, tf.constant([n, 0])).numpy().tobytes() for n in range(150)}
    assert len(seen) > 16


def test_cutout_blanks_a_square_at_most():
    graph = tf.function(cutout(16))
    shares = [
        np.mean(graph(RAMP * 0, tf.constant([n, 0])).numpy() == 128) for n in range(60)
    ]
    # At a corner a quarter of it is within.
    assert 8 * 8 / 1024 <= min(shares) and max(shares) <= 16 * 16 / 1024
    assert len(set(shares)) > 10


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: rand_augment(0), "`num_changes` must be .*0"),
        (lambda: rand_augment(1, 31), "`magnitude` must be at most 30. Received: .*31"),
        (lambda: cutout(-1), "`size` must be .*-1"),
    ],
)
def test_bad_argument_is_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
