"""Tests of datasets/unreadable.py."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_ncr.datasets import (
    check_images,
    digits,
    find_broken_images,
    from_arrays,
    from_dataset,
    from_folder,
    skip_broken_images,
)


def encoded(kind):
    """Returns the bytes of an image file of random pixels."""
    pixels = np.random.default_rng(0).integers(0, 256, (40, 40, 3), "uint8")
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


JPEG, PNG = encoded("JPEG"), encoded("PNG")
BROKEN = {
    "empty.jpg": (b"", "The file is empty."),
    "gif.gif": (encoded("GIF")[:900], "Invalid GIF data"),
    "heic.jpg": (b"\0\0\0\x18ftypheic" + bytes(50), "begins with .*ftypheic"),
    "jpeg.jpg": (JPEG[: len(JPEG) // 2], "Invalid JPEG data"),
    "jpeg_end.jpg": (JPEG[:-2], "Invalid JPEG data"),
    "page.jpg": (b"<!DOCTYPE html><p>404", "Unknown image file.* begins with b'<!DOC"),
    "png.png": (PNG[: len(PNG) // 2], "Invalid PNG data"),
    "png_start.png": (PNG[:20], "Invalid PNG"),
    "zeros.jpg": (bytes(500), "Unknown image file"),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Class "broken" with one file for each way to be, then class "sound"."""
    folder = tmp_path_factory.mktemp("photos")
    for name in ("broken", "sound"):
        (folder / name).mkdir()
    for name, (content, _) in BROKEN.items():
        (folder / "broken" / name).write_bytes(content)
    for number, content in enumerate([JPEG, PNG, encoded("GIF"), encoded("BMP")]):
        (folder / "sound" / f"{number}.jpg").write_bytes(content)
    return folder


@pytest.fixture(scope="module")
def broken_images(folder):
    return find_broken_images(from_folder(folder))


def test_broken_images_are_found_in_the_order_of_the_index(folder, broken_images):
    source = from_folder(folder)
    assert list(broken_images) == list(range(len(BROKEN)))
    assert all(type(index) is int for index in broken_images)
    assert source.ids[list(broken_images)].tolist() == [f"broken/{f}" for f in BROKEN]


def test_reasons_are_single_sentences_about_the_file(broken_images):
    for reason, (_, expected) in zip(
        broken_images.values(), BROKEN.values(), strict=True
    ):
        assert tf.strings.regex_full_match(reason, f".*{expected}.*"), reason
        assert "{{" not in reason and "Op:" not in reason and "\n" not in reason


def test_images_of_a_stream_give_the_same_as_files(folder, broken_images):
    files = from_folder(folder).dataset
    source = from_dataset(files.map(lambda e: (e["inputs"], e["label"])))
    assert source.read_image is None
    assert find_broken_images(source) == broken_images


def test_files_that_vanish_are_found(tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.png").write_bytes(PNG)
    (tmp_path / "dog" / "2.png").symlink_to("nowhere.png")
    source = from_folder(tmp_path)
    (tmp_path / "cat" / "1.png").unlink()
    reasons = find_broken_images(source)
    assert list(reasons) == [0, 2]
    assert reasons[0].endswith("cat/1.png; No such file or directory.")


def test_pixels_are_never_broken():
    images = np.zeros((3, 2, 2, 5), "uint8")
    assert find_broken_images(from_arrays(images, [0, 1, 0])) == {}
    train, _ = digits()
    assert check_images(train) is train


def test_check_names_the_first_and_says_what_to_do(folder, capsys):
    source = from_folder(folder)
    with pytest.raises(ValueError) as raised:
        check_images(source)
    message = str(raised.value)
    assert message.startswith("9 of the 13 images of 'photos")
    assert "broken/empty.jpg: The file is empty." in message
    assert "broken/heic.jpg" in message
    assert "broken/jpeg.jpg" not in message
    assert "--config.data.on_error=skip" in message
    assert capsys.readouterr().out == ""


def test_remedy_of_the_message_works(folder, broken_images):
    source = from_folder(folder)
    rest = skip_broken_images(source)
    assert rest.ids.tolist() == [f"sound/{number}.jpg" for number in range(4)]
    assert rest.labels.tolist() == [1] * 4
    assert [skipped.id for skipped in rest.skipped] == [f"broken/{f}" for f in BROKEN]
    assert [skipped.reason for skipped in rest.skipped] == [*broken_images.values()]
    assert skip_broken_images(rest) is rest


def test_nothing_but_broken_images_is_refused(folder):
    source = from_folder(folder)
    with pytest.raises(ValueError, match=r"must be readable. Received: 9 .*empty.jpg"):
        skip_broken_images(source.subset(np.arange(9)))


def test_files_in_memory_are_those_that_are_checked(tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.png").write_bytes(PNG)
    source = from_folder(tmp_path)
    assert len(source.stored_inputs) == 2
    (tmp_path / "cat" / "1.png").unlink()
    assert find_broken_images(source) == {}


def test_data_set_that_cannot_be_read_is_no_matter_of_images():
    orders = np.random.default_rng(0)
    signature = (tf.TensorSpec((), "string"), tf.TensorSpec((), "int64"))
    source = from_dataset(
        tf.data.Dataset.from_generator(
            lambda: ((JPEG, label) for label in orders.permutation(200)),
            output_signature=signature,
        )
    )
    with pytest.raises(tf.errors.InvalidArgumentError, match="changes from pass"):
        find_broken_images(source)


def test_progress_is_shown_if_wanted(folder, broken_images, capsys):
    source = from_folder(folder)
    assert find_broken_images(source, verbose=True) == broken_images
    assert "13/13" in capsys.readouterr().out
    with pytest.raises(ValueError, match="`verbose` must be True or False"):
        find_broken_images(source, verbose="yes")
