"""Tests of datasets/builders/ with small files in the layout of the real ones."""

import io
import os
import pathlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tracemalloc
import zipfile

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from keras_ncr.datasets import from_tfds
from keras_ncr.datasets.builders import Animal10N, Clothing1M, Food101N, WebVision
from keras_ncr.datasets.builders.manual_files import Place, list_names
from keras_ncr.datasets.builders.webvision import (
    WebVisionConfig,
    imagenet_labels,
    validation_wordnet_ids,
)

REPOSITORY = pathlib.Path(__file__).parents[2]
TINY = WebVisionConfig(name="tiny", halves=("google", "flickr"), num_classes=2)


def jpeg(number, size=4):
    """Returns a gray image that tells its number."""
    pixels = np.full((size, size, 3), number, "uint8")
    return tf.io.encode_jpeg(pixels, quality=100).numpy()


def lines(*entries):
    return ("\n".join(entries) + "\n").encode()


# The files of each data set, extracted: content by path.


def animal10n_files():
    train = {f"training/{label}_img_{label}.jpg": jpeg(label) for label in range(10)}
    test = {f"testing/{label}_img_{label}.jpg": jpeg(20 + label) for label in (3, 9)}
    return train | test


def clothing1m_files():
    keys = {
        "noisy_train": [f"images/{i % 2}/a/{i:02}.jpg" for i in range(16)],
        # 14 is in both lists, and so is 15.
        "clean_train": ["images/0/a/14.jpg", "images/0/a/20.jpg"],
        "clean_val": ["images/1/a/15.jpg"],
        "clean_test": ["images/1/b/21.jpg"],
    }
    clean = {"images/0/a/14.jpg": 5, "images/0/a/20.jpg": 6, "images/1/a/15.jpg": 7}
    clean |= {"images/1/b/21.jpg": 13}
    noisy = {key: i % 14 for i, key in enumerate(keys["noisy_train"])}
    noisy |= {"images/0/a/20.jpg": 2}
    return {
        "category_names_eng.txt": lines(*(f"Garment {i}" for i in range(14))),
        "noisy_label_kv.txt": lines(*(f"{k} {v}" for k, v in noisy.items())),
        "clean_label_kv.txt": lines(*(f"{k} {v}" for k, v in clean.items())),
        **{f"{name}_key_list.txt": lines(*keys[name]) for name in keys},
        **{key: jpeg(int(key[-6:-4])) for key in noisy | clean},
    }


DISHES = [f"dish_{(i * 7) % 101:03}" for i in range(101)]  # not in sorted order


def food101n_files():
    release, test = "Food-101N_release/", "food-101/"
    keys = [f"{dish}/{i}.jpg" for i, dish in enumerate(DISHES)]
    header = "class_name/key\tverification_label"
    return {
        release + "meta/classes.txt": lines("class_name", *DISHES),
        release + "meta/imagelist.tsv": lines("class_name/key", *keys),
        release + "meta/verified_train.tsv": lines(
            header, f"{keys[0]}\t1", f"{keys[1]}\t0"
        ),
        release + "meta/verified_val.tsv": lines(header, f"{keys[2]}\t0"),
        **{f"{release}images/{key}": jpeg(i) for i, key in enumerate(keys)},
        test + "meta/test.txt": lines(f"{DISHES[5]}/77", f"{DISHES[6]}/78"),
        test + f"images/{DISHES[5]}/77.jpg": jpeg(205),
        test + f"images/{DISHES[6]}/78.jpg": jpeg(206),
        test + f"images/{DISHES[6]}/79.jpg": jpeg(207),  # a training image
    }


def webvision_files(num_classes=2):
    # WebVision's labels follow this order, here the reverse of the sorted one.
    ids = sorted(set(validation_wordnet_ids()), reverse=True)
    halves = {
        half: [
            f"{half}/q{label:04}/{half}{label}.jpg {label}"
            for label in (*range(num_classes), 999)
        ]
        for half in ("google", "flickr")
    }
    validation = [f"val{label:06}.jpg {label}" for label in (*range(num_classes), 999)]
    wanted = {wordnet_id: label for label, wordnet_id in enumerate(ids[:num_classes])}
    imagenet = {
        f"ILSVRC2012_img_val/ILSVRC2012_val_{number:08}.JPEG": wanted[wordnet_id]
        for number, wordnet_id in enumerate(validation_wordnet_ids(), start=1)
        if wordnet_id in wanted
    }
    files = {
        "info/synsets.txt": lines(*(f"{wordnet_id} words" for wordnet_id in ids)),
        "info/train_filelist_google.txt": lines(*halves["google"]),
        "info/train_filelist_flickr.txt": lines(*halves["flickr"]),
        "info/val_filelist.txt": lines(*validation),
    }
    for start, half in enumerate(halves):
        for line in halves[half][:-1]:  # that of label 999 need not be there
            path, label = line.split()
            files[path] = jpeg(100 * start + int(label))
    for label in range(num_classes):
        files[f"val_images_256/val{label:06}.jpg"] = jpeg(50 + label)
    gray = [jpeg(label) for label in range(num_classes)]
    return files | {path: gray[label] for path, label in imagenet.items()}


FILES = {
    "animal10n": animal10n_files,
    "clothing1m": clothing1m_files,
    "food101n": food101n_files,
    "webvision": webvision_files,
}
BUILDERS = {
    "animal10n": Animal10N,
    "clothing1m": Clothing1M,
    "food101n": Food101N,
    "webvision": WebVision,
}


def write_folders(folder, files):
    for path, content in files.items():
        target = pathlib.Path(folder) / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)


def tar(files, mode="w"):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:
        for path, content in files.items():
            member = tarfile.TarInfo(path)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def zipped(files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, content in files.items():
            archive.writestr(path, content)
    return buffer.getvalue()


def below(files, folder, prefix=""):
    """Returns the files of one folder, with another beginning."""
    start = f"{folder}/"
    return {
        prefix + path.removeprefix(start): content
        for path, content in files.items()
        if path.startswith(start)
    }


def archives(name, files):
    """Returns the same files as they are distributed."""
    if name == "animal10n":
        inner = {"raw_image.zip": zipped(files), "readme.txt": b"see raw_image.zip"}
        return {"raw_image_ver.zip": zipped(inner)}
    if name == "clothing1m":
        lists = {path: files[path] for path in files if path.endswith(".txt")}
        images = {
            f"images/{shard}.tar": tar(below(files, f"images/{shard}", f"{shard}/"))
            for shard in "01"
        }
        return {"annotations.zip": zipped(lists), **images}
    if name == "food101n":
        parts = {part: below(files, part, f"{part}/") for part in FOOD_ARCHIVES}
        return {
            "Food-101N_release.zip": zipped(parts["Food-101N_release"]),
            "food-101.tar.gz": tar(parts["food-101"], "w:gz"),
        }
    return {
        "info.tar": tar(below(files, "info", "./info/")),
        "google_resized_256.tar": tar(below(files, "google", "google/")),
        "flickr_resized_256.tar": tar(below(files, "flickr", "flickr/")),
        "val_images_256.tar": tar(below(files, "val_images_256", "val_images_256/")),
        "ILSVRC2012_img_val.tar": tar(below(files, "ILSVRC2012_img_val")),
    }


FOOD_ARCHIVES = ("Food-101N_release", "food-101")


def build(name, manual_dir, data_dir, config=None):
    if name == "webvision":
        config = config or TINY
    builder = BUILDERS[name](data_dir=data_dir, config=config)
    builder.download_and_prepare(
        download_config=tfds.download.DownloadConfig(manual_dir=manual_dir)
    )
    return builder


def examples(builder, split):
    """Returns the examples of a split by their id."""
    read = tfds.as_numpy(builder.as_dataset(split=split))
    return {example["id"].decode(): example for example in read}


@pytest.fixture(scope="module")
def files():
    """The files of each data set: those of WebVision are too many to make often."""
    return {name: make() for name, make in FILES.items()}


@pytest.fixture(scope="module")
def built(files, tmp_path_factory):
    """Each data set, built from its archives."""
    folder = tmp_path_factory.mktemp("built")
    for name in FILES:
        write_folders(folder / name, archives(name, files[name]))
    return {name: build(name, folder / name, folder / "data") for name in FILES}


# TensorFlow Datasets' own contract


class BuilderCase(tfds.testing.DatasetBuilderTestCase):
    """What each test case below shares: its files, made in a temporary folder."""

    __test__ = False

    def test_session(self, *args, **options):
        return super().test_session(*args, **options)

    test_session.__test__ = False  # TensorFlow's context for a graph, not a test

    @classmethod
    def setUpClass(cls):
        cls.EXAMPLE_DIR = tempfile.mkdtemp()
        cls.addClassCleanup(shutil.rmtree, cls.EXAMPLE_DIR)
        name = cls.DATASET_CLASS.name
        write_folders(cls.EXAMPLE_DIR, archives(name, FILES[name]()))
        super().setUpClass()


class Animal10NTest(BuilderCase):
    __test__ = True
    DATASET_CLASS = Animal10N
    SPLITS = {"train": 10, "test": 2}


class Clothing1MTest(BuilderCase):
    __test__ = True
    DATASET_CLASS = Clothing1M
    SPLITS = {"train": 14, "validation": 1, "test": 1, "clean_train": 2}


class Food101NTest(BuilderCase):
    __test__ = True
    DATASET_CLASS = Food101N
    SPLITS = {"train": 101, "verified_validation": 1, "test": 2}
    OVERLAPPING_SPLITS = ["verified_validation"]


class WebVisionTest(BuilderCase):
    __test__ = True
    DATASET_CLASS = WebVision
    BUILDER_CONFIG_NAMES_TO_TEST = [TINY]
    SPLITS = {"train": 4, "validation": 2, "imagenet": 100}


# What is in them


@pytest.mark.parametrize("name", FILES)
def test_archives_and_folders_give_the_same_examples(name, files, built, tmp_path):
    write_folders(tmp_path / "manual", files[name])
    from_folders = build(name, tmp_path / "manual", tmp_path / "data")
    assert from_folders.info.features["label"].names == (
        built[name].info.features["label"].names
    )
    for split in built[name].info.splits:
        expected = examples(built[name], split)
        actual = examples(from_folders, split)
        assert list(actual) == list(expected)  # in the same order, too
        for key, example in expected.items():
            for feature, value in example.items():
                assert np.array_equal(actual[key][feature], value)


@pytest.mark.parametrize(
    "name, first_class",
    [("animal10n", "cat"), ("clothing1m", "Garment 0"), ("food101n", "dish_000")],
)
def test_prepared_data_load_by_name_with_their_class_names(name, first_class, built):
    data_dir = pathlib.Path(built[name].data_dir).parents[1]
    train, info = tfds.load(
        name, split="train", data_dir=data_dir, as_supervised=True, with_info=True
    )
    assert info.features["label"].names[0] == first_class
    for image, label in train.take(1):
        assert image.shape == (4, 4, 3)
        assert label.dtype == tf.int64


def test_what_is_in_the_zip_of_animal10n_will_do(files, tmp_path):
    litter = {"__MACOSX/training/._0_img_0.jpg": b"", "training/Thumbs.db": b""}
    inner = {
        f"raw_image/{path}": files["animal10n"][path] for path in files["animal10n"]
    }
    write_folders(tmp_path / "manual", {"raw_image.zip": zipped(inner | litter)})
    builder = build("animal10n", tmp_path / "manual", tmp_path / "data")
    sizes = {split: info.num_examples for split, info in builder.info.splits.items()}
    assert sizes == {"train": 10, "test": 2}


def test_animal10n_labels_are_the_first_characters_of_names(built):
    train = examples(built["animal10n"], "train")
    assert len(train) == 10
    for key, example in train.items():
        assert key == f"training/{example['label']}_img_{example['label']}.jpg"
        assert example["image"][0, 0, 0] == example["label"]
    assert set(examples(built["animal10n"], "test")) == {
        "testing/3_img_3.jpg",
        "testing/9_img_9.jpg",
    }
    assert built["animal10n"].info.features["label"].names == [
        "cat",
        "lynx",
        "wolf",
        "coyote",
        "cheetah",
        "jaguar",
        "chimpanzee",
        "orangutan",
        "hamster",
        "guinea pig",
    ]


def test_clothing1m_drops_training_images_that_are_in_clean_lists(built):
    train = examples(built["clothing1m"], "train")
    assert sorted(train) == sorted(f"images/{i % 2}/a/{i:02}.jpg" for i in range(14))
    for number in range(14):
        example = train[f"images/{number % 2}/a/{number:02}.jpg"]
        assert example["label"] == example["noisy_label"] == number
        assert example["clean_label"] == -1
        assert example["image"][0, 0, 0] == number


def test_clothing1m_says_how_many_images_were_dropped(files, tmp_path, caplog):
    write_folders(tmp_path / "manual", files["clothing1m"])
    with caplog.at_level("INFO", logger="absl"):
        build("clothing1m", tmp_path / "manual", tmp_path / "data")
    assert "dropped 2 of 16 training images" in caplog.text


@pytest.mark.parametrize(
    "split, key, clean_label, noisy_label",
    [
        ("clean_train", "images/0/a/14.jpg", 5, 0),
        ("clean_train", "images/0/a/20.jpg", 6, 2),
        ("validation", "images/1/a/15.jpg", 7, 1),
        ("test", "images/1/b/21.jpg", 13, -1),
    ],
)
def test_clothing1m_clean_splits_have_clean_labels(
    built, split, key, clean_label, noisy_label
):
    example = examples(built["clothing1m"], split)[key]
    assert example["label"] == example["clean_label"] == clean_label
    assert example["noisy_label"] == noisy_label


def test_food101n_keeps_the_order_of_its_classes_and_what_was_verified(built):
    assert built["food101n"].info.features["label"].names == DISHES
    train = examples(built["food101n"], "train")
    for label, dish in enumerate(DISHES):
        example = train[f"{dish}/{label}.jpg"]
        assert example["label"] == example["image"][0, 0, 0] == label
        assert example["verification_label"] == {0: 1, 1: 0, 2: 0}.get(label, -1)
    (validation,) = examples(built["food101n"], "verified_validation").values()
    assert (validation["label"], validation["verification_label"]) == (2, 0)


def test_food101n_test_images_are_those_of_food101(built):
    test = examples(built["food101n"], "test")
    assert {key: example["label"] for key, example in test.items()} == {
        f"{DISHES[5]}/77.jpg": 5,
        f"{DISHES[6]}/78.jpg": 6,
    }


def test_webvision_labels_follow_the_lists(built):
    train = examples(built["webvision"], "train")
    assert {key: example["label"] for key, example in train.items()} == {
        "google/q0000/google0.jpg": 0,
        "google/q0001/google1.jpg": 1,
        "flickr/q0000/flickr0.jpg": 0,
        "flickr/q0001/flickr1.jpg": 1,
    }
    validation = examples(built["webvision"], "validation")
    assert {key: example["label"] for key, example in validation.items()} == {
        "val_images_256/val000000.jpg": 0,
        "val_images_256/val000001.jpg": 1,
    }


def test_webvision_maps_imagenet_by_wordnet_id_not_by_sorted_order(built):
    names = built["webvision"].info.features["label"].names
    assert names == ["n15075141 words", "n13133613 words"]  # the last two, reversed
    imagenet = examples(built["webvision"], "imagenet")
    labels = [example["label"] for example in imagenet.values()]
    assert np.bincount(labels).tolist() == [50, 50]
    ids = validation_wordnet_ids()
    for key, example in imagenet.items():
        number = int(key.removeprefix("imagenet/ILSVRC2012_val_")[:8])
        assert names[example["label"]].split()[0] == ids[number - 1]
        assert example["image"][0, 0, 0] == example["label"]


def test_each_class_has_fifty_imagenet_images():
    ids = sorted(set(validation_wordnet_ids()))
    assert len(ids) == 1000
    labels = imagenet_labels(ids)
    assert np.bincount(list(labels.values())).tolist() == [50] * 1000
    # ILSVRC-2012's first validation image shows a sea snake, class 65 in sorted order.
    assert labels["ILSVRC2012_val_00000001.JPEG"] == 65


def test_configurations_of_webvision_have_the_sizes_of_the_paper():
    configs = {config.name: config for config in WebVision.BUILDER_CONFIGS}
    assert {
        name: (config.halves, config.num_classes, config.has_imagenet)
        for name, config in configs.items()
    } == {
        "mini": (("google",), 50, True),
        "full": (("google", "flickr"), 1000, True),
        "mini_without_imagenet": (("google",), 50, False),
        "full_without_imagenet": (("google", "flickr"), 1000, False),
    }
    assert tfds.builder("webvision", data_dir="/nowhere").builder_config.name == "mini"


def test_mini_webvision_without_imagenet_becomes_a_source(tmp_path):
    files = webvision_files(num_classes=50)
    files = {p: c for p, c in files.items() if not p.startswith(("ILSV", "flickr"))}
    write_folders(tmp_path / "manual", files)
    name = "webvision/mini_without_imagenet"
    builder = tfds.builder(name, data_dir=tmp_path)
    builder.download_and_prepare(
        download_config=tfds.download.DownloadConfig(manual_dir=tmp_path / "manual")
    )
    assert list(builder.info.splits) == ["train", "validation"]
    source = from_tfds(name, "train", tmp_path)
    assert (source.num_examples, source.num_classes) == (50, 50)
    assert sorted(source.labels) == list(range(50))
    assert source.class_names[0] == "n15075141 words"


# What is refused


def without(path):
    return lambda files: {p: c for p, c in files.items() if not p.startswith(path)}


def with_line(path, line):
    return lambda files: files | {path: files[path] + lines(line)}


def with_file(path, content):
    return lambda files: files | {path: content}


def cut(path, num_bytes):
    return lambda files: files | {path: files[path][:num_bytes]}


RELEASE = "Food-101N_release/"
REFUSED_FOLDERS = [
    # a file or folder that is not there
    ("animal10n", without("testing/"), "raw_image.zip, or the folder testing/.*kaist"),
    ("clothing1m", without("images/1/"), "images/1.tar, or the folder images/1/.*Cysu"),
    ("clothing1m", without("clean_val_key"), "must hold clean_val_key_list.txt"),
    ("clothing1m", without("category"), "annotations.zip, or the folder annotations/"),
    ("food101n", without("food-101/"), "food-101.tar.gz.*data.vision.ee.ethz.ch"),
    ("food101n", without(RELEASE), "Food-101N_release.zip.*kuanghuei"),
    ("food101n", without(RELEASE + "meta/verified_val"), "meta/verified_val.tsv"),
    ("webvision", without("info/"), "info.tar, or the folder info/.*ethz.ch"),
    ("webvision", without("info/synsets"), "must hold synsets.txt"),
    ("webvision", without("google/"), "google_resized_256.tar.*manual_dir"),
    ("webvision", without("flickr/"), "flickr_resized_256.tar"),
    ("webvision", without("val_images_256/"), "val_images_256.tar"),
    (
        "webvision",
        without("ILSVRC2012_img_val/"),
        "ILSVRC2012_img_val.tar.*image-net.org.*webvision/mini_without_imagenet",
    ),
    # a list that names an image that is not there
    (
        "clothing1m",
        without("images/0/a/04.jpg"),
        r"noisy_train_key_list.txt names a/04.jpg, .* \(1 such images",
    ),
    ("food101n", without(f"{RELEASE}images/{DISHES[3]}/"), f"names images/{DISHES[3]}"),
    ("food101n", without("food-101/images/"), r"meta/test.txt names .*\(2 such"),
    ("webvision", without("google/q0001/"), "train_filelist_google.txt names q0001/"),
    ("webvision", without("val_images_256/val000001"), "names val000001.jpg"),
    # a line that is not what it must be, or a label outside the classes
    ("animal10n", with_file("training/x_img.jpg", jpeg(1)), "Received: x_img.jpg"),
    ("clothing1m", with_line("noisy_label_kv.txt", "x"), "txt, line 18, .*'x'"),
    ("clothing1m", with_line("clean_label_kv.txt", "x 14"), "line 5, .* 0 to 13.*x 14"),
    (
        "clothing1m",
        with_line("clean_label_kv.txt", "images/0/a/14.jpg 6"),
        "line 5, must give the label 5, as an earlier line does",
    ),
    ("clothing1m", with_line("clean_val_key_list.txt", "a.jpg"), "line 2, must be a k"),
    (
        "clothing1m",
        with_line("noisy_train_key_list.txt", "images/0/z.jpg"),
        "line 17, .*an image that has a label.*images/0/z.jpg",
    ),
    ("clothing1m", with_line("category_names_eng.txt", "Hat"), "14 different lines"),
    ("food101n", with_line(RELEASE + "meta/classes.txt", "soup"), "102 lines, 102"),
    (
        "food101n",
        with_line(RELEASE + "meta/imagelist.tsv", "dish"),
        "line 103, .*slash",
    ),
    ("food101n", with_line(RELEASE + "meta/imagelist.tsv", "soup/1"), "begin with a c"),
    ("food101n", with_line("food-101/meta/test.txt", "soup/1"), "test.txt, line 3,"),
    (
        "food101n",
        with_line(RELEASE + "meta/verified_val.tsv", "a/1 1"),
        "line 3, .*tab",
    ),
    (
        "food101n",
        with_line(RELEASE + "meta/verified_val.tsv", "a/1\t1"),
        "a key of meta",
    ),
    (
        "food101n",
        with_line(RELEASE + "meta/verified_val.tsv", f"{DISHES[0]}/0.jpg\t0"),
        f"must agree. Received: 1 and 0 for {DISHES[0]}/0.jpg",
    ),
    (
        "food101n",
        with_line(RELEASE + "meta/verified_val.tsv", f"{DISHES[2]}/2.jpg\t1"),
        "line 3, must end with 0, as an earlier",
    ),
    (
        "webvision",
        with_line("info/val_filelist.txt", "a.jpg"),
        "val_filelist.txt, l.* 4",
    ),
    ("webvision", with_line("info/val_filelist.txt", "a.jpg -1"), "a class number"),
    ("webvision", with_line("info/val_filelist.txt", "a.jpg 1000"), "0 to 999.*1000"),
    ("webvision", with_line("info/synsets.txt", "fish"), "line 1001, .*WordNet id"),
    ("webvision", with_line("info/synsets.txt", "n00000000 x"), "Received: 1001"),
    (
        "webvision",
        with_file("info/synsets.txt", lines(*(f"n{i:08} x" for i in range(1000)))),
        "classes of ILSVRC-2012 only. Received: n00000000",
    ),
    (
        "webvision",
        with_file("info/synsets.txt", lines(*["n01440764 tench"] * 1000)),
        "synsets.txt must have 1000 lines, .* different.*Received: 1000 .* 1 ",
    ),
    # a class without an image
    ("animal10n", without("training/4"), "each of the 10 classes.*none of 'cheetah'"),
    (
        "clothing1m",
        with_file("noisy_train_key_list.txt", lines("images/0/a/00.jpg")),
        "none of 'Garment 1' .13 classes",
    ),
    (
        "food101n",
        with_file(RELEASE + "meta/imagelist.tsv", lines(f"{DISHES[0]}/0.jpg")),
        "imagelist.tsv must name at least one .*100 classes",
    ),
    # an image that cannot be decoded
    ("animal10n", cut("testing/9_img_9.jpg", 300), r"decoded: 9_img_9.jpg \("),
    (
        "clothing1m",
        with_file("images/0/a/20.jpg", b""),
        "decoded: a/20.jpg .Input is em",
    ),
    (
        "food101n",
        with_file(f"{RELEASE}images/{DISHES[3]}/3.jpg", b"<html>"),
        "/3.jpg .",
    ),
    (
        "webvision",
        cut("google/q0001/google1.jpg", -20),
        "google1.jpg .*take them out of",
    ),
]


def assert_nothing_is_prepared(data_dir):
    """Checks for files, but for the list of configurations that any builder writes."""
    files = [path for path in data_dir.rglob("*") if path.is_file()]
    assert not [path for path in files if path.parent.name != ".config"]


@pytest.mark.parametrize("name, change, message", REFUSED_FOLDERS)
def test_wrong_files_are_refused_and_nothing_is_left(
    name, change, message, files, tmp_path
):
    write_folders(tmp_path / "manual", change(files[name]))
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        build(name, tmp_path / "manual", tmp_path / "data")
    assert_nothing_is_prepared(tmp_path / "data")


def truncated(content):
    content = content.rstrip(b"\0")  # a tar archive ends with zeros
    return content[: len(content) * 2 // 3]


@pytest.mark.parametrize(
    "name, archive",
    [
        ("animal10n", "raw_image_ver.zip"),
        ("clothing1m", "annotations.zip"),
        ("clothing1m", "images/1.tar"),
        ("food101n", "Food-101N_release.zip"),
        ("food101n", "food-101.tar.gz"),
        ("webvision", "info.tar"),
        ("webvision", "google_resized_256.tar"),
        ("webvision", "ILSVRC2012_img_val.tar"),
    ],
)
def test_truncated_archive_is_refused_by_name(name, archive, files, tmp_path):
    packed = archives(name, files[name])
    write_folders(tmp_path / "manual", packed | {archive: truncated(packed[archive])})
    with pytest.raises((ValueError, FileNotFoundError), match=archive):
        build(name, tmp_path / "manual", tmp_path / "data")
    assert_nothing_is_prepared(tmp_path / "data")


def test_animated_image_is_refused(files, tmp_path):
    # Two frames of one pixel, which TensorFlow decodes to four dimensions.
    frame = b",\0\0\0\0\1\0\1\0\0\2\2D\1\0"
    gif = b"GIF89a\1\0\1\0\x80\0\0\0\0\0\xff\xff\xff" + frame + frame + b";"
    changed = files["animal10n"] | {"training/0_img_0.jpg": gif}
    write_folders(tmp_path / "manual", changed)
    with pytest.raises(ValueError, match=r"0_img_0.jpg \(an animation\)"):
        build("animal10n", tmp_path / "manual", tmp_path / "data")


def test_all_broken_images_are_named_at_once(files, tmp_path):
    broken = {f"training/{i}_img_{i}.jpg": b"" for i in (2, 5, 8)}
    write_folders(tmp_path / "manual", files["animal10n"] | broken)
    with pytest.raises(ValueError, match="3 images .*2_img.*5_img.*8_img"):
        build("animal10n", tmp_path / "manual", tmp_path / "data")


def test_memory_does_not_grow_with_an_archive(tmp_path):
    # tarfile alone keeps half a kilobyte of each file: here 1 MB, of WebVision 1 GB.
    archive = tmp_path / "many.tar"
    archive.write_bytes(tar({f"q0000/{number:06}.jpg": b"" for number in range(2000)}))
    tracemalloc.start()
    names = list_names(Place(tfds.core.Path(archive), "elsewhere/"))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert names == []
    assert peak < 300_000


def test_empty_manual_folder_is_answered_with_the_instructions(tmp_path):
    with pytest.raises(AssertionError, match="raw_image_ver.zip, as it is downloaded"):
        build("animal10n", tmp_path / "nothing", tmp_path / "data")


# The command


BIN = pathlib.Path(sys.executable).parent
COMMANDS = [
    [sys.executable, "-m", "keras_ncr.datasets.builders", "webvision/mini"],
    [BIN / "tfds", "build", "webvision/mini", "--imports=keras_ncr.datasets.builders"],
]


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS, ids=["ours", "tfds"])
def test_documented_command_builds_mini_webvision(command, tmp_path):
    files = webvision_files(num_classes=50)
    write_folders(tmp_path / "manual", archives("webvision", files))
    # `tfds` starts only with these two, which other commands of it use.
    (tmp_path / "apache_beam.py").write_text("class DoFn: pass")
    (tmp_path / "mlcroissant.py").write_text("class Dataset: pass")
    process = subprocess.run(
        [*command, f"--manual_dir={tmp_path}/manual", f"--data_dir={tmp_path}/data"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{REPOSITORY}{os.pathsep}{tmp_path}"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert process.returncode == 0, process.stderr
    splits = tfds.builder("webvision/mini", data_dir=tmp_path / "data").info.splits
    sizes = {split: info.num_examples for split, info in splits.items()}
    assert sizes == {"train": 50, "validation": 50, "imagenet": 2500}
