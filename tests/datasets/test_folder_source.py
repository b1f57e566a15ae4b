"""Tests of datasets/folder_source.py and datasets/image_files.py."""

import io
import os
import unicodedata

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_ncr.datasets import find_broken_images, from_folder
from keras_ncr.datasets.image_files import LEADS_NOWHERE, NOT_ENDING, NOT_NAMED
from keras_ncr.datasets.images import decode


def encoded(value=0, size=(2, 2), mode="RGB", kind="PNG"):
    """Returns the bytes of an image file of one color."""
    file = io.BytesIO()
    Image.new("RGB", size, (value, value, value)).convert(mode).save(file, kind)
    return file.getvalue()


CAFE = [unicodedata.normalize(form, "café") for form in ("NFC", "NFD")]


def write(folder, *paths):
    """Writes an image to each path, of the color of its position; returns folder."""
    for position, path in enumerate(paths):
        file = os.path.join(folder, path)
        os.makedirs(os.path.dirname(file), exist_ok=True)
        with open(file, "wb") as stream:
            stream.write(encoded(position))
    return folder


def test_class_folders_become_labels_and_paths_become_ids(tmp_path):
    write(tmp_path / "pets", "dog/b.png", "cat/2.png", "dog/a.png", "cat/1.png")
    source = from_folder(tmp_path / "pets")
    assert source.ids.tolist() == ["cat/1.png", "cat/2.png", "dog/a.png", "dog/b.png"]
    assert source.labels.tolist() == [0, 0, 1, 1]
    assert source.class_names == ("cat", "dog")
    assert (source.name, source.image_shape) == ("pets", (None, None, 3))
    assert source.is_encoded
    assert source.clean_labels is None
    assert from_folder(tmp_path / "pets", name="mine").name == "mine"


def test_examples_hold_the_bytes_of_their_files(tmp_path):
    write(tmp_path, "cat/x.png", "dog/y.png", "cat/z.png")
    source = from_folder(str(tmp_path))
    examples = list(source.dataset.as_numpy_iterator())
    assert [example["index"] for example in examples] == [0, 1, 2]
    for example in examples:
        index = example["index"]
        content = (tmp_path / source.ids[index]).read_bytes()
        assert example["inputs"] == source.read_image(index).numpy() == content
        assert example["label"] == source.labels[index]
    assert decode(source.read_image(1))[0, 0, 0] == 2  # cat/z.png was written third


def test_order_is_that_of_code_points(tmp_path):
    names = ["10.png", "9.png", "B.png", "a.png", "é.png"]
    write(tmp_path, *(f"y/{name}" for name in reversed(names)), "Z/1.png")
    source = from_folder(tmp_path)
    assert source.class_names == ("Z", "y")
    assert source.ids.tolist() == ["Z/1.png"] + [f"y/{name}" for name in names]


@pytest.mark.parametrize(
    "name",
    [
        "two words",
        " led by a space",
        "quotes ' and \"",
        "line\nbreak",
        "glob*[a]?",
        "per%20cent",
        "back\\slash",
        "http:",
        "日本",
        "🐈",
        unicodedata.normalize("NFC", "café"),
        unicodedata.normalize("NFD", "café"),
    ],
)
def test_any_name_can_be_read(tmp_path, name):
    write(tmp_path, f"{name}/{name}.png", "zzz/1.png")
    source = from_folder(tmp_path)
    index = source.class_names.index(name)
    assert f"{name}/{name}.png" == source.ids[index]
    assert source.read_image(index).numpy() == encoded(0)


def test_name_that_is_no_utf_8_can_be_read_and_written(tmp_path):
    write(os.fsencode(tmp_path), b"caf\xe9/\xff.png", b"dog/1.png")
    source = from_folder(tmp_path)
    assert source.ids[0] == r"caf\xe9/\xff.png"
    assert source.class_names[0] == r"caf\xe9"
    assert source.read_image(0).numpy() == encoded(0)


def test_folders_within_a_class_are_searched(tmp_path):
    write(tmp_path, "cat/b/c/1.png", "cat/a.png", "dog/b/1.png")
    assert from_folder(tmp_path).ids.tolist() == [
        "cat/a.png",
        "cat/b/c/1.png",
        "dog/b/1.png",
    ]


def test_what_programs_leave_behind_is_left_out(tmp_path):
    write(tmp_path, "cat/1.png", "dog/1.png")
    write(tmp_path, ".git/1.png", "__MACOSX/cat/1.png", "@eaDir/1.png")
    write(tmp_path, "cat/._1.png", "cat/.thumbs/1.png", "cat/@eaDir/1.png")
    for name in ("cat/Thumbs.db", "cat/.DS_Store", "cat/notes.txt", "readme.md"):
        (tmp_path / name).write_text("no image")
    assert from_folder(tmp_path).ids.tolist() == ["cat/1.png", "dog/1.png"]


def test_files_left_out_are_listed_with_the_reason(tmp_path):
    write(tmp_path, "cat/1.png", "dog/1.png", "cat/img", "dog/1.jpg?w=300", "stray")
    (tmp_path / "cat" / "notes.txt").touch()
    (tmp_path / "labels.csv").touch()  # belongs there
    (tmp_path / "dog" / "Thumbs.db").touch()  # of a program
    (tmp_path / "dog" / "more").symlink_to(tmp_path / "not mounted")
    source = from_folder(tmp_path)
    assert source.ids.tolist() == ["cat/1.png", "dog/1.png"]
    assert source.left_out == (
        ("cat/img", NOT_ENDING),
        ("cat/notes.txt", NOT_NAMED),
        ("dog/1.jpg?w=300", NOT_ENDING),
        ("dog/more", LEADS_NOWHERE),
        ("stray", NOT_ENDING),
    )
    assert source.subset([0]).left_out == source.left_out


def test_class_whose_link_leads_nowhere_is_not_missing_in_silence(tmp_path):
    write(tmp_path / "photos", "cat/1.png", "dog/1.png")
    (tmp_path / "photos" / "emu").symlink_to(tmp_path / "not mounted")
    for class_names in (None, ["cat", "dog", "emu"]):
        with pytest.raises(ValueError, match="photos/emu'.*not mounted'. Mount that"):
            from_folder(tmp_path / "photos", class_names)


def test_ends_of_names_are_read_in_small_and_capital_letters(tmp_path):
    names = ["a.BMP", "b.Gif", "c.JPEG", "d.JPG", "e.jpe", "f.jfif", "g.PnG", "h.webp"]
    write(tmp_path, *(f"cat/{name}" for name in names), "dog/1.png")
    assert from_folder(tmp_path).ids[:-1].tolist() == [f"cat/{name}" for name in names]


def test_links_are_followed(tmp_path):
    write(tmp_path / "far", "cats/1.png", "2.png")
    (tmp_path / "photos" / "dog").mkdir(parents=True)
    (tmp_path / "photos" / "cat").symlink_to(tmp_path / "far" / "cats")
    (tmp_path / "photos" / "dog" / "2.png").symlink_to(tmp_path / "far" / "2.png")
    source = from_folder(tmp_path / "photos")
    assert source.ids.tolist() == ["cat/1.png", "dog/2.png"]
    assert source.read_image(1).numpy() == encoded(1)


def test_links_in_a_circle_end(tmp_path):
    write(tmp_path, "cat/1.png", "dog/1.png")
    (tmp_path / "cat" / "again").symlink_to(tmp_path / "cat")
    assert from_folder(tmp_path).ids.tolist() == ["cat/1.png", "dog/1.png"]


@pytest.mark.parametrize("num_classes", [2, 2000])
def test_few_and_many_classes_of_one_image(tmp_path, num_classes):
    content = encoded()
    for number in range(num_classes):
        (tmp_path / f"{number:04}").mkdir()
        (tmp_path / f"{number:04}" / "1.png").write_bytes(content)
    source = from_folder(tmp_path)
    assert source.num_classes == source.num_examples == num_classes
    assert source.labels.tolist() == list(range(num_classes))
    assert source.class_names[-1] == f"{num_classes - 1:04}"
    batch = next(source.dataset.batch(num_classes).as_numpy_iterator())
    assert batch["inputs"].tolist() == [content] * num_classes


def test_modes_and_formats_in_mixed_sizes_can_be_decoded(tmp_path):
    write(tmp_path, "cat/1.png")
    (tmp_path / "dog").mkdir()
    kinds = [("JPEG", mode) for mode in ("RGB", "L", "CMYK")]
    kinds += [("PNG", mode) for mode in ("RGB", "RGBA", "LA", "P", "1", "I;16")]
    kinds += [("GIF", "P"), ("BMP", "RGB"), ("WEBP", "RGB")]
    for number, (kind, mode) in enumerate(kinds):
        # The end of the name need not be right.
        file = tmp_path / "dog" / f"{number:02}.jpg"
        file.write_bytes(encoded(255, (5, 3 + number), mode, kind))
    source = from_folder(tmp_path)
    assert find_broken_images(source) == {}
    images = source.dataset.map(lambda example: decode(example["inputs"]))
    first, *others = images.as_numpy_iterator()
    assert first.shape == (2, 2, 3)
    for number, pixels in enumerate(others):
        assert pixels.shape == (3 + number, 5, 3)
        # Pillow does not scale to 16 bits, of which the upper ones are then 0.
        assert np.all(pixels >= 250) or kinds[number][1] == "I;16"


def test_classes_of_training_data_number_those_of_test_data(tmp_path):
    write(tmp_path, "dog/1.png", "ant/1.png")
    (tmp_path / "cat").mkdir()
    source = from_folder(tmp_path, class_names=["dog", "bee", "cat", "ant"])
    assert source.ids.tolist() == ["dog/1.png", "ant/1.png"]
    assert source.labels.tolist() == [0, 3]
    assert source.class_names == ("dog", "bee", "cat", "ant")
    assert source.num_classes == 4


def test_one_class_is_enough_where_the_others_are_named(tmp_path):
    write(tmp_path, "test/1.png")
    assert from_folder(tmp_path, ["test", "train"]).labels.tolist() == [0]


@pytest.mark.parametrize(
    "class_names, message",
    [
        (["cat", "cow"], "`class folder` must be one of .* Received: 'dog'"),
        (["cat", "doge"], "Received: 'dog'. Did you mean 'doge'?"),
        (["cat", "cat", "dog"], "all different. Received: 'cat' 2 times"),
        ("catdog", "at least two strings.*'catdog'"),
        (["cat"], "at least two strings"),
        ([0, 1], "at least two strings"),
    ],
)
def test_wrong_class_names_are_refused(tmp_path, class_names, message):
    write(tmp_path, "cat/1.png", "dog/1.png")
    with pytest.raises(ValueError, match=message):
        from_folder(tmp_path, class_names=class_names)


@pytest.mark.parametrize(
    "paths, messages",
    [
        ([], ["empty", "photos/cat/1.jpg"]),
        (["1.png", "2.png"], ["2 images in no class folder", "photos/cat/1.jpg"]),
        (["cat/1.png"], ["at least two classes", "folder 'cat' alone"]),
        (["photos/cat/1.png", "photos/dog/1.png"], ["in that one, pass '", "photos'"]),
        (
            ["train/cat/1.png", "Test/cat/1.png"],
            ["one split", "/train'", "class_names"],
        ),
        (["cat/1.png", "dog/.1.png"], ["'dog' must hold", ".jpeg", "an empty folder"]),
        (["cat/1.png", "dog/a.txt"], ["'dog' must hold an image", "'a.txt'"]),
        (["cat/1.heic", "cat/2.png", "dog/3.TIF"], ["'cat/1.heic', 'dog/3.TIF'"]),
        (["cat/1.NEF", "dog/1.png"], ["'cat/1.NEF'. Convert them, to JPEG"]),
        (["training_set/cat/1.png", "test_set/cat/1.png"], ["one split", "test_set'"]),
        (["train/cat/1.png", "Val-images/cat/1.png", "x/1.png"], ["one split"]),
        ([f"fold{i}/{name}/1.png" for i in "12" for name in "ab"], ["['fold1', 'fold"]),
        (["Cat/1.png", "cat/1.png"], ["'Cat' and 'cat'", "differ only in spelling"]),
        ([f"{name}/1.png" for name in CAFE], ["Unicode form", r"'cafe\u0301'"]),
    ],
)
def test_wrong_layout_is_answered_with_the_right_one(tmp_path, paths, messages):
    write(tmp_path, *paths)
    with pytest.raises(ValueError) as raised:
        from_folder(tmp_path)
    for message in messages:
        assert message in str(raised.value)


@pytest.mark.parametrize("names", [["part1", "part2"], ["a", "A"], ["dev", "ops"]])
def test_names_that_only_resemble_those_of_splits_are_classes(tmp_path, names):
    write(tmp_path, *(f"{name}/1.png" for name in names))
    assert set(from_folder(tmp_path).class_names) == set(names)


def test_test_folder_in_another_unicode_form_is_told_from_what_looks_alike(tmp_path):
    write(tmp_path, f"{CAFE[1]}/1.png", "tea/1.png")
    with pytest.raises(ValueError, match="alike is there in another Unicode form"):
        from_folder(tmp_path, [CAFE[0], "tea"])


def test_named_classes_without_any_image_are_refused(tmp_path):
    (tmp_path / "cat").mkdir()
    with pytest.raises(ValueError, match="images of .'cat', 'dog'.*without any"):
        from_folder(tmp_path, class_names=["cat", "dog"])


def test_folder_that_is_not_there_is_answered_with_what_is(tmp_path):
    with pytest.raises(FileNotFoundError) as raised:
        from_folder(tmp_path / "photos" / "train")
    assert f"only {str(tmp_path)!r} exists" in str(raised.value)


def test_archive_is_refused(tmp_path):
    (tmp_path / "photos.zip").write_bytes(b"PK")
    with pytest.raises(ValueError, match="photos.zip'. Unpack an archive"):
        from_folder(tmp_path / "photos.zip")


def test_source_of_files_reads_in_graphs_and_in_any_order(tmp_path):
    write(tmp_path, "cat/1.png", "cat/2.png", "dog/1.png")
    source = from_folder(tmp_path).subset([2, 0])
    indices = tf.data.Dataset.from_tensor_slices(np.array([1, 0]))
    images = list(indices.map(source.read_image).as_numpy_iterator())
    assert images == [encoded(0), encoded(2)]
