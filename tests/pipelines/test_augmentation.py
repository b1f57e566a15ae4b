"""Tests of augment.py."""

import numpy as np
import pytest
import tensorflow as tf
from model_harness import few

from keras_ncr.datasets import images
from keras_ncr.pipelines.augmentation import (
    central_crop,
    crop_and_flip,
    random_crop,
    random_resized_crop,
)

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


def draw(num_images, image, augment):
    """The image as many times, each augmented with another seed."""
    seeds = tf.data.Dataset.range(num_images).map(lambda i: tf.stack([3, i]))
    results = seeds.map(lambda seed: augment(image, seed), tf.data.AUTOTUNE)
    return results.as_numpy_iterator()


# Crops of a padded image


@pytest.mark.parametrize(
    "padding, flip",
    [
        (1, False),
        (2, True),
        pytest.param(0, True, marks=pytest.mark.slow),
        pytest.param(1, True, marks=pytest.mark.slow),
    ],
)
def test_every_crop_and_mirror_image_occurs_and_nothing_else(padding, flip):
    expected = {result.tobytes() for result in all_results(IMAGE, padding, flip)}
    seen = {
        result.tobytes() for result in draw(1000, IMAGE, crop_and_flip(padding, flip))
    }
    assert seen == expected


def test_half_of_the_images_are_mirrored():
    mirrored = [
        np.array_equal(result, IMAGE[:, ::-1])
        for result in draw(1000, IMAGE, crop_and_flip(0))
    ]
    assert 0.45 < np.mean(mirrored) < 0.55  # more than three standard deviations


def test_place_and_mirroring_are_independent():
    # Two pixels, 1 before 2, in the middle of zeros: a crop shifts them by up to 3, and
    # only mirroring swaps them.
    image = np.zeros((1, 8, 1), "uint8")
    image[0, 3:5, 0] = [1, 2]
    counts = np.zeros((7, 2))
    for result in draw(2000, image, crop_and_flip(3)):
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


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("shape", [(7, 5, 3), (28, 28, 1)])
@pytest.mark.parametrize("padding, flip", [(4, True), (0, True), (9, False)])
def test_batch_is_changed_as_its_images_are_one_by_one(padding, flip, shape, dtype):
    batch = np.random.default_rng(0).integers(1, 256, (40, *shape)).astype(dtype)
    seeds = tf.stack([tf.fill([40], 3), tf.range(40)], axis=1)
    augment = crop_and_flip(padding, flip)
    changed = augment.apply(tf.constant(batch), augment.draw(seeds))
    assert changed.dtype == dtype
    expected = [augment(*row) for row in zip(batch, seeds, strict=True)]
    np.testing.assert_array_equal(changed, expected)


def test_images_that_are_resized_first_are_changed_one_by_one():
    assert not hasattr(crop_and_flip(image_size=8), "draw")


def test_images_of_another_size_are_brought_to_a_square_first():
    square = central_crop(4)(IMAGE)
    expected = crop_and_flip(2)(square, [0, 1])
    assert np.array_equal(crop_and_flip(2, image_size=4)(IMAGE, [0, 1]), expected)


# What all share

AUGMENTATIONS = {
    "crop_and_flip": crop_and_flip(2, image_size=8),
    "random_resized_crop": random_resized_crop(8),
    "random_crop": random_crop(8, short_side=9),
    "central_crop": lambda image, seed: central_crop(8, short_side=9)(image),
}
# Smooth, so that a JPEG of it is nearly the same.
ROWS, COLUMNS = np.mgrid[0:30, 0:40]
PHOTO = np.stack([ROWS * 8, COLUMNS * 6, 120 + ROWS + COLUMNS], -1).astype("uint8")
TRANSPARENT = np.dstack([PHOTO, PHOTO[..., 0]])
ENCODED = [
    tf.io.encode_jpeg(PHOTO).numpy(),
    tf.io.encode_jpeg(PHOTO[..., :1]).numpy(),
    tf.io.encode_png(PHOTO).numpy(),
    tf.io.encode_png(TRANSPARENT).numpy(),
    tf.io.encode_png(np.full((1, 1, 3), 7, "uint8")).numpy(),
    tf.io.encode_jpeg(np.full((1, 500, 3), 7, "uint8")).numpy(),
    tf.io.encode_jpeg(np.full((500, 1, 1), 7, "uint8")).numpy(),
]


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_files_of_any_kind_give_the_same_alone_and_in_a_dataset(name):
    augment = AUGMENTATIONS[name]
    dataset = tf.data.Dataset.from_tensor_slices(ENCODED).enumerate()
    dataset = dataset.map(lambda i, file: augment(file, tf.stack([7, i])))
    assert dataset.element_spec == tf.TensorSpec((8, 8, 3), tf.uint8)
    for i, (file, result) in enumerate(zip(ENCODED, dataset, strict=True)):
        seed = tf.constant([7, i], tf.int64)
        assert np.array_equal(augment(file, seed), result)
        assert np.array_equal(augment(images.decode(file), seed), result)
        assert result.numpy().any()


@pytest.mark.parametrize("pixels", [PHOTO, PHOTO[..., :1], TRANSPARENT])
@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_pixels_of_any_mode_give_three_channels(name, pixels):
    result = AUGMENTATIONS[name](pixels, [7, 1])
    assert result.dtype == tf.uint8
    assert np.array_equal(result, AUGMENTATIONS[name](images.decode(pixels), [7, 1]))


@pytest.mark.parametrize(
    "augment",
    [
        crop_and_flip(2, image_size=8, channels=1),
        random_resized_crop(8, channels=1),
        random_crop(8, 9, channels=1),
        lambda image, seed: central_crop(8, channels=1)(image),
    ],
)
def test_one_channel_on_request(augment):
    assert augment(ENCODED[0], [0, 1]).shape == (8, 8, 1)


@pytest.mark.parametrize("name", ["random_resized_crop", "random_crop"])
def test_half_of_all_crops_are_mirrored(name):
    # In the photo, and so in each part of it, the second channel rises to the right.
    results = draw(600, PHOTO, AUGMENTATIONS[name])
    share = np.mean([result[0, 0, 1] > result[0, -1, 1] for result in results])
    assert 0.44 < share < 0.56  # three standard deviations


@pytest.mark.parametrize(
    "augment",
    [random_resized_crop(8, flip=False), random_crop(8, 9, flip=False)],
    ids=["random_resized_crop", "random_crop"],
)
def test_none_is_mirrored_without_flip(augment):
    for result in draw(50, PHOTO, augment):
        assert np.all(np.diff(result[:, :, 1].astype(int), axis=1) >= 0)


# The Inception crop


def windows_of(num_images, augment):
    """Heights and widths of the parts that random_resized_crop took, in pixels.

    The image tells by its values: one channel counts its rows, one its columns. Its
    place is read off inside, for at the border a resized image is flat.
    """
    rows, columns = np.mgrid[0:200, 0:250]
    image = np.stack([rows, columns, columns], -1).astype("uint8")
    results = np.stack(list(draw(num_images, image, augment))).astype(float)
    heights = (results[:, 24, 16, 0] - results[:, 8, 16, 0]) * 2
    widths = (results[:, 16, 24, 1] - results[:, 16, 8, 1]) * 2
    return heights, widths


def test_areas_and_aspect_ratios_are_within_their_bounds_and_fill_them():
    heights, widths = windows_of(1500, random_resized_crop(32, flip=False))
    areas, ratios = heights * widths / (200 * 250), widths / heights
    # Values are rounded: a side of 45 pixels or more is read off to within 2.
    assert 0.045 < np.min(areas) < 0.07
    assert 0.9 < np.max(areas) < 1.02
    assert 0.71 < np.min(ratios) < 0.77
    assert 1.3 < np.max(ratios) < 1.4
    # Neither end is favored: a third or so of the areas is below, within, above.
    assert 0.2 < np.mean(areas < 0.3) < 0.5
    assert 0.2 < np.mean(areas > 0.55) < 0.5
    assert 0.4 < np.mean(ratios < 1.03) < 0.6


def test_bounds_of_area_and_aspect_ratio_are_the_arguments():
    augment = random_resized_crop(
        32, min_area=0.5, aspect_ratios=(1.0, 1.0), flip=False
    )
    heights, widths = windows_of(200, augment)
    assert np.all(np.abs(heights - widths) <= 4)
    assert 0.48 < np.min(heights * widths) / 50_000 < 0.56


def test_crops_are_everywhere():
    augment = random_resized_crop(32, min_area=0.05, flip=False)
    image = np.stack([ROWS, COLUMNS, COLUMNS], -1).astype("uint8")
    corners = np.stack([result[0, 0] for result in draw(500, image, augment)])
    assert np.min(corners[:, :2], axis=0).tolist() == [0, 0]
    assert np.all(np.max(corners[:, :2], axis=0) > [20, 28])


def test_whole_image_is_resized_without_antialiasing():
    augment = random_resized_crop(
        5, min_area=1.0, aspect_ratios=(40 / 30, 40 / 30), flip=False
    )
    expected = tf.image.resize(PHOTO, (5, 5), antialias=False)
    assert np.array_equal(augment(PHOTO, [0, 1]), np.round(expected))


def test_image_of_which_no_part_fits_is_taken_whole():
    panorama = np.arange(250, dtype="uint8").reshape(1, 250, 1)
    for result in draw(20, panorama, random_resized_crop(250, flip=False, channels=1)):
        assert np.array_equal(result, np.repeat(panorama, 250, axis=0))


# Squares of an image whose shorter side is given


def squares(image, side):
    """Every square of an image, by slow and obvious means."""
    height, width, _ = image.shape
    return [
        image[top : top + side, left : left + side]
        for top in range(height - side + 1)
        for left in range(width - side + 1)
    ]


@pytest.mark.parametrize("size", few(4, of=[5, 4, 3]))
def test_every_square_is_as_likely_as_the_others(size):
    # The shorter side has 5 pixels already, so that nothing is resized.
    counts = dict.fromkeys([square.tobytes() for square in squares(IMAGE, size)], 0)
    for result in draw(1200, IMAGE, random_crop(size, short_side=5, flip=False)):
        counts[result.tobytes()] += 1  # a KeyError if it is none of them
    expected = 1200 / len(counts)
    assert np.all(
        np.abs(np.array(list(counts.values())) - expected) < expected**0.5 * 4
    )


def test_place_of_a_square_and_mirroring_are_independent():
    row = np.arange(1, 7, dtype="uint8").reshape(1, 6, 1)
    counts = np.zeros((6, 2))
    for result in draw(600, np.repeat(row, 5, axis=0), random_crop(4, 5, channels=1)):
        first, *_, last = result[0, :, 0]
        counts[min(first, last) - 1, int(first > last)] += 1
    shares = counts[:3, 1] / counts[:3].sum(axis=1)
    assert counts[3:].sum() == 0
    assert np.all(np.abs(shares - 0.5) < 0.12)  # about 200 of each: 0.035


def test_random_square_is_resized_with_antialiasing():
    board = (np.indices((60, 60)).sum(axis=0) % 2 * 255).astype("uint8")[..., None]
    gray = random_crop(6, short_side=10, channels=1)(board, [0, 1]).numpy()
    assert np.all(np.abs(gray.astype(int) - 127.5) < 10)


@pytest.mark.parametrize(
    "shape, size, short_side, expected",
    [
        ((5, 6), 5, 5, np.s_[0:5, 0:5]),  # half a pixel beside the center
        ((5, 6), 3, 5, np.s_[1:4, 1:4]),
        ((9, 5), 3, 5, np.s_[3:6, 1:4]),
        ((1, 9), 1, 1, np.s_[0:1, 4:5]),
    ],
)
def test_central_square(shape, size, short_side, expected):
    image = np.arange(np.prod(shape), dtype="uint8").reshape(*shape, 1)
    result = central_crop(size, short_side, channels=1)(image)
    assert np.array_equal(result, image[expected])


def test_shorter_side_is_the_size_unless_given():
    assert np.array_equal(central_crop(8)(PHOTO), central_crop(8, 8)(PHOTO))
    assert not np.array_equal(central_crop(8)(PHOTO), central_crop(8, 9)(PHOTO))


@pytest.mark.parametrize("method", ["area", "bilinear"])
def test_central_square_is_what_resizing_before_cropping_gives(method):
    image = np.kron(PHOTO, np.ones((6, 6, 1), "uint8"))  # 180 x 240
    whole = images.resize(image, (32, 43), method, antialias=True)
    result = central_crop(28, short_side=32, method=method)(image)
    difference = np.asarray(result, int) - np.asarray(whole, int)[2:30, 7:35]
    assert np.max(np.abs(difference)) <= 6  # half a pixel of the 32 is a value of 4


def test_area_of_a_large_image_is_a_mean():
    image = np.random.default_rng(0).integers(0, 256, (24, 24, 3)).astype("uint8")
    means = image.reshape(6, 4, 6, 4, 3).mean(axis=(1, 3))
    assert np.max(np.abs(central_crop(6)(image).numpy() - means)) <= 0.501


# What is refused

SIZED = "must be an integer of at least"
PADDINGS = [
    (crop_and_flip, (p,), {}, f"`padding` must be .*padding={p}")
    for p in (-1, 1.5, None, True)
]
AREAS = [
    (random_resized_crop, (8,), {"min_area": a}, f"`min_area` must be .*min_area={a}")
    for a in (0, -0.1, 1.1, None, float("nan"))
]
RATIOS = [
    (
        random_resized_crop,
        (8,),
        {"aspect_ratios": r},
        "`aspect_ratios` must be .*aspect_ratios=",
    )
    for r in ((1.2, 0.8), (0.0, 1.0), (1.0,), (1, 2, 3))
]
FLIPS = [
    (make, sizes, {"flip": "no"}, "`flip` must be True or False.*'no'")
    for make, sizes in [
        (crop_and_flip, ()),
        (random_resized_crop, (8,)),
        (random_crop, (8, 8)),
    ]
]
SIZES = [
    (make, sizes, {}, f"`{name}` {SIZED}")
    for make in (random_crop, central_crop)
    for *sizes, name in [
        (0, 9, "size"),
        (8.5, 9, "size"),
        ((8, 8), 9, "size"),
        (8, 7, "short_side"),
    ]
]
OTHERS = [
    (central_crop, (8,), {"method": "nearest"}, "`method` .*'nearest'"),
    (
        lambda file: crop_and_flip()(file, [0, 1]),
        (ENCODED[2],),
        {},
        "`image_size` must be given for encoded",
    ),
]


@pytest.mark.parametrize(
    "make, values, options, message",
    [*PADDINGS, *AREAS, *RATIOS, *FLIPS, *SIZES, *OTHERS],
)
def test_bad_arguments_are_refused_by_name(make, values, options, message):
    with pytest.raises(ValueError, match=message):
        make(*values, **options)
