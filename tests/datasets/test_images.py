"""Tests of images.py."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_ncr.datasets.images import decode, decode_part, resize

RNG = np.random.default_rng(0)
COLOR = RNG.integers(0, 256, (7, 5, 3)).astype("uint8")
RGBA = np.dstack([COLOR, COLOR[..., 0]])
SIXTEEN_BITS = RNG.integers(0, 2**16, (7, 5)).astype("uint16")


def file_of(pixels, kind, mode="RGB", **options):
    """The bytes of an image file, as Pillow writes it."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(buffer, kind, **options)
    return buffer.getvalue()


def sixteen_bit_png():
    buffer = io.BytesIO()
    Image.fromarray(SIXTEEN_BITS).save(buffer, "PNG")
    return buffer.getvalue()


def two_frames(kind, **options):
    second = Image.fromarray(255 - COLOR)
    options = {"save_all": True, "append_images": [second], **options}
    return file_of(COLOR, kind, **options)


FILES = {
    "color JPEG": file_of(COLOR, "JPEG"),
    "gray JPEG": file_of(COLOR, "JPEG", "L"),
    "CMYK JPEG": file_of(COLOR, "JPEG", "CMYK"),
    "progressive JPEG": file_of(COLOR, "JPEG", progressive=True),
    "color PNG": file_of(COLOR, "PNG"),
    "gray PNG": file_of(COLOR, "PNG", "L"),
    "gray PNG with transparency": file_of(COLOR, "PNG", "LA"),
    "PNG with transparency": file_of(RGBA, "PNG", "RGBA"),
    "PNG with a palette": file_of(COLOR, "PNG", "P"),
    "PNG with a palette and transparency": file_of(COLOR, "PNG", "P", transparency=3),
    "PNG of one bit": file_of(COLOR, "PNG", "1"),
    "GIF": file_of(COLOR, "GIF", "P"),
    "color BMP": file_of(COLOR, "BMP"),
    "BMP with transparency": file_of(RGBA, "BMP", "RGBA"),
    "WebP": file_of(COLOR, "WEBP"),
    "lossless WebP": file_of(COLOR, "WEBP", lossless=True),
    "WebP with transparency": file_of(RGBA, "WEBP", "RGBA", lossless=True),
}
REFUSED = {
    "BMP with a palette": (file_of(COLOR, "BMP", "P"), "BMP files of 8 bits"),
    "gray BMP": (file_of(COLOR, "BMP", "L"), "BMP files of 8 bits"),
    "animated WebP": (two_frames("WEBP", lossless=True), "Animated WebP"),
    "TIFF": (file_of(COLOR, "TIFF"), "JPEG.*PNG.*GIF.*BMP"),
    "no image": (b"<html>404</html>", "JPEG.*PNG.*GIF.*BMP"),
    "nothing": (b"", "empty"),
    "half a JPEG": (FILES["color JPEG"][:-30], "JPEG"),
    "half a PNG": (FILES["color PNG"][:-30], "PNG"),
}


def by_pillow(file, channels):
    with Image.open(io.BytesIO(file)) as image:
        pixels = np.asarray(image.convert({1: "L", 3: "RGB"}[channels]))
    return pixels.reshape(*pixels.shape[:2], channels).astype(int)


# Decoding


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", FILES)
def test_decode_agrees_with_pillow(name, channels):
    pixels = decode(FILES[name], channels)
    assert pixels.dtype == tf.uint8
    # JPEG leaves its decoders some freedom, and gray is rounded in two ways.
    tolerance = 3 if "JPEG" in name else channels == 1
    expected = by_pillow(FILES[name], channels)
    assert pixels.shape == expected.shape
    assert np.max(np.abs(pixels.numpy() - expected)) <= tolerance


def test_sixteen_bits_become_the_upper_eight():
    expected = np.repeat(SIXTEEN_BITS[..., None] >> 8, 3, axis=-1)
    assert np.array_equal(decode(sixteen_bit_png()), expected)


def test_first_frame_of_an_animation():
    first, both = file_of(COLOR, "GIF"), two_frames("GIF")
    assert len(both) > len(first)
    assert np.array_equal(decode(both), by_pillow(first, 3))


@pytest.mark.parametrize("channels", [1, 3])
def test_decode_in_a_dataset_is_decode_alone(channels):
    files = list(FILES.values())
    dataset = tf.data.Dataset.from_tensor_slices(files)
    dataset = dataset.map(lambda file: decode(file, channels))
    assert dataset.element_spec == tf.TensorSpec((None, None, channels), tf.uint8)
    for file, pixels in zip(files, dataset, strict=True):
        assert np.array_equal(pixels, decode(file, channels))


@pytest.mark.parametrize(
    "pixels, channels, expected",
    [
        (COLOR, 3, COLOR),
        (COLOR[..., :1], 1, COLOR[..., :1]),
        (RGBA, 3, COLOR),
        (COLOR[..., :1], 3, COLOR[..., [0, 0, 0]]),
        (COLOR[..., :2], 3, COLOR[..., [0, 0, 0]]),
        (COLOR[..., :2], 1, COLOR[..., :1]),
    ],
)
def test_pixels_get_their_channels_and_nothing_else_changes(pixels, channels, expected):
    assert np.array_equal(decode(pixels, channels), expected)
    spec = tf.TensorSpec((None, None, None), tf.uint8)
    unknown_shape = tf.function(lambda image: decode(image, channels), [spec])
    assert np.array_equal(unknown_shape(pixels), expected)


def test_color_to_gray_is_the_weighted_mean_of_television():
    expected = COLOR @ [0.299, 0.587, 0.114]
    assert np.max(np.abs(decode(COLOR, 1).numpy()[..., 0] - expected)) <= 1


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_readable_image_is_refused(name):
    file, message = REFUSED[name]
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        decode(file)


def test_what_is_no_readable_image_is_refused_in_a_dataset():
    files = [file for file, _ in REFUSED.values()]
    dataset = tf.data.Dataset.from_tensor_slices([*files, FILES["GIF"]]).map(decode)
    with pytest.raises(tf.errors.InvalidArgumentError):
        next(iter(dataset))
    assert len(list(dataset.ignore_errors())) == 1  # the last one


@pytest.mark.parametrize(
    "image",
    [
        COLOR.astype("float32"),
        COLOR.astype("int32"),
        COLOR[None],
        COLOR[..., 0],
        [FILES["GIF"]],
        3.5,
    ],
)
@pytest.mark.parametrize(
    "function", [decode, lambda image: window_of(image, 0, 0, 1, 1)]
)
def test_what_is_neither_pixels_nor_a_file_is_named(function, image):
    with pytest.raises(
        ValueError, match="`image` must be the bytes .* Received: dtype"
    ):
        function(image)


def window_of(image, top, left, height, width, channels=3):
    """Returns a part of an image at a given place."""
    return decode_part(image, lambda *size: (top, left, height, width), channels)


def test_too_many_channels_are_refused():
    with pytest.raises(ValueError, match=r"1 to 4 channels .* shape \(7, 5, 6\)"):
        decode(np.concatenate([COLOR, COLOR], axis=-1))


@pytest.mark.parametrize("channels", [0, 2, 4, True, 3.0, "3", None])
def test_other_channels_are_refused(channels):
    with pytest.raises(ValueError, match=f"`channels` must .*channels={channels!r}"):
        decode(COLOR, channels)
    with pytest.raises(ValueError, match=f"`channels` must .*channels={channels!r}"):
        window_of(COLOR, 0, 0, 1, 1, channels)


# Parts


# 4:4:4, 4:2:2 and 4:2:0: color at full resolution, half of it, a quarter. Noise, since
# each pixel must be seen to come from its place.
@pytest.mark.parametrize(
    "kind", ["4:4:4", "4:2:2", "4:2:0", "progressive", "PNG", "pixels"]
)
def test_part_is_that_of_the_decoded_image(kind):
    pixels = RNG.integers(0, 256, (33, 50, 3)).astype("uint8")
    image = {
        "PNG": lambda: file_of(pixels, "PNG"),
        "pixels": lambda: pixels,
        "progressive": lambda: file_of(pixels, "JPEG", progressive=True),
    }.get(kind, lambda: file_of(pixels, "JPEG", subsampling=kind))()
    whole = decode(image).numpy()
    windows = [(0, 0, 33, 50)]
    # JPEG decoders take special care of narrow parts, and where blocks of 16 meet.
    windows += [(3, left, 9, width) for left in range(44) for width in range(1, 7)]
    for _ in range(60):
        size = RNG.integers(1, [34, 51])
        windows.append((*RNG.integers(0, [34, 51] - size), *size))
    parts = tf.data.Dataset.from_tensor_slices(np.array(windows, "int32"))
    parts = parts.map(lambda window: window_of(image, *tf.unstack(window)))
    for (top, left, rows, columns), part in zip(
        windows, parts.as_numpy_iterator(), strict=True
    ):
        assert np.array_equal(part, whole[top : top + rows, left : left + columns])


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", FILES)
def test_part_of_any_file_is_that_of_the_decoded_image(name, channels):
    part = window_of(FILES[name], 2, 1, 4, 3, channels)
    assert np.array_equal(part, decode(FILES[name], channels)[2:6, 1:4])


@pytest.mark.parametrize("name", FILES)
def test_part_can_be_chosen_by_the_size(name):
    def lower_right(height, width):
        return height // 2, width // 2, height - height // 2, width - width // 2

    part = decode_part(FILES[name], lower_right)
    assert np.array_equal(part, decode(FILES[name])[3:, 2:])


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF"])
def test_odd_sizes_are_known_to_the_choice(kind):
    sizes = [(1, 1), (1, 500), (500, 1), (3, 65_000)]
    files = [file_of(np.zeros(size, "uint8"), kind, "L") for size in sizes]
    dataset = tf.data.Dataset.from_tensor_slices(files)
    whole = dataset.map(lambda file: decode_part(file, lambda h, w: (0, 0, h, w)))
    assert [part.shape[:2] for part in whole.as_numpy_iterator()] == sizes


@pytest.mark.parametrize("image", [COLOR, FILES["color JPEG"], FILES["color PNG"]])
@pytest.mark.parametrize(
    "window",
    [
        (-1, 0, 2, 2),
        (0, -1, 2, 2),
        (0, 3, 2, 3),
        (6, 0, 2, 2),
        (9, 9, 1, 1),
        (0, 0, 8, 1),
    ],
)
def test_part_outside_the_image_is_an_error(image, window):
    with pytest.raises(tf.errors.InvalidArgumentError):
        window_of(image, *window)


# Resizing


def test_means_are_rounded_not_cut_off():
    image = np.array([[[0], [255]], [[255], [255]]], "uint8")
    assert resize(image, (1, 1), "area").numpy().item() == 191  # 191.25
    assert resize(image[:1], (1, 1), "area").numpy().item() == 128  # 127.5
    assert resize(image, (1, 2), "area").numpy().ravel().tolist() == [128, 255]


def test_area_is_the_mean_of_a_block():
    image = RNG.integers(0, 256, (12, 20, 3)).astype("uint8")
    blocks = image.reshape(4, 3, 5, 4, 3).mean(axis=(1, 3))
    assert np.max(np.abs(resize(image, (4, 5), "area").numpy() - blocks)) <= 0.501


def test_bilinear_interpolates_between_the_centers_of_pixels():
    row = np.array([10, 250, 30, 70], "uint8")
    for width in (3, 4, 9, 40):
        centers = (np.arange(width) + 0.5) * 4 / width - 0.5
        expected = np.interp(centers, np.arange(4), row)
        result = resize(row[None, :, None], (1, width)).numpy().ravel()
        assert np.max(np.abs(result - expected)) <= 0.501


@pytest.mark.parametrize("size", [(5, 7), (20, 31), (40, 80)])
def test_antialiased_is_as_pillow_resizes(size):
    image = RNG.integers(0, 256, (20, 31, 3)).astype("uint8")
    expected = Image.fromarray(image).resize(size[::-1], Image.Resampling.BILINEAR)
    result = resize(image, size, antialias=True).numpy()
    assert result.shape == (*size, 3)
    assert np.max(np.abs(result - np.asarray(expected, int))) <= 1


@pytest.mark.parametrize("method", ["area", "bilinear"])
def test_resized_images_are_uint8_of_a_known_shape(method):
    spec = tf.TensorSpec((None, None, 3), tf.uint8)
    function = tf.function(lambda image: resize(image, (4, 6), method), [spec])
    result = function.get_concrete_function()
    assert result.output_shapes == (4, 6, 3)
    assert result.output_dtypes == tf.uint8


def test_unknown_method_is_named_with_the_nearest():
    with pytest.raises(ValueError, match="`method` .*'bilinaer'.*'bilinear'"):
        resize(COLOR, (2, 2), "bilinaer")
