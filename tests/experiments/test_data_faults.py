"""Faults in the data: each is named, and skipped only where that was asked for."""

import csv
import io
import json

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from PIL import Image

from keras_ncr.datasets import (
    Skipped,
    check_images,
    cifar_n,
    faults_named,
    find_broken_images,
    from_arrays,
    from_dataset,
    from_folder,
    from_table,
    from_tfds,
    human_labels,
)
from keras_ncr.experiments.config import default_config, own_pictures
from keras_ncr.experiments.data import load_sources
from keras_ncr.experiments.inputs import keep_skipped
from keras_ncr.experiments.run import train


def file_of(kind, mode="RGB", **options):
    """Returns the bytes of an image file of 8 x 8 random pixels."""
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), "uint8")
    image = Image.fromarray(pixels).convert(mode)
    file = io.BytesIO()
    if options.get("save_all"):
        options["append_images"] = [image.rotate(90)]
    image.save(file, kind, **options)
    return file.getvalue()


def sixteen_bits():
    file = io.BytesIO()
    Image.fromarray(np.arange(64, dtype="uint16").reshape(8, 8) * 999).save(file, "PNG")
    return file.getvalue()


PNG, JPEG = file_of("PNG"), file_of("JPEG")
# What is converted: see test_images.py for the pixels.
SOUND = {
    "alpha.png": file_of("PNG", "RGBA"),
    "animated.gif": file_of("GIF", "P", save_all=True),
    "cmyk.jpg": file_of("JPEG", "CMYK"),
    "gray.jpg": file_of("JPEG", "L"),
    "gray_alpha.png": file_of("PNG", "LA"),
    "sixteen.png": sixteen_bits(),
}
BROKEN = {
    "animated.webp": (file_of("WEBP", save_all=True), "Animated WebP"),
    "empty.jpg": (b"", "The file is empty."),
    "gone.jpg": (None, "No such file"),
    "page.jpg": (b"<!DOCTYPE html>404", "Unknown image file"),
    "palette.bmp": (file_of("BMP", "P"), "BMP files of 8 bits"),
    "torn.jpg": (JPEG[: len(JPEG) // 2], "Invalid JPEG data"),
    "torn.png": (PNG[: len(PNG) // 2], "Invalid PNG data"),
}


class FaultyImages(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """24 images in three files; one of them is torn, and some labels are missing."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        features = {
            "image": tfds.features.Image(shape=(8, 8, 3)),
            "label": tfds.features.ClassLabel(num_classes=3),
            "half_known": tfds.features.ClassLabel(num_classes=3),
        }
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict(features),
            supervised_keys=("image", "label"),
        )

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        for number in range(24):
            yield (
                number,
                {
                    "image": BROKEN["torn.png"][0] if number == 5 else PNG,
                    "label": number % 3,
                    "half_known": number % 3 if number > 3 else -1,
                },
            )


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """The folder of the data set, and its three files with their sound content."""
    folder = tmp_path_factory.mktemp("tfds")
    config = tfds.download.DownloadConfig(num_shards=3)
    FaultyImages(data_dir=folder).download_and_prepare(download_config=config)
    return folder, {path: path.read_bytes() for path in folder.rglob("*.tfrecord*")}


@pytest.fixture(scope="module")
def label_of(prepared):
    """The label of each example by its id."""
    source = from_tfds("faulty_images", "train", prepared[0])
    return dict(zip(source.ids.tolist(), source.labels.tolist(), strict=True))


@pytest.fixture
def tfds_dir(prepared):
    """The folder, whose files are put back after the test."""
    folder, contents = prepared
    yield folder
    for path, content in contents.items():
        path.write_bytes(content)


@pytest.fixture
def folder(tmp_path):
    """Two classes of six pictures each, and a table beside them."""
    lines = ["path,label"]
    for name in ("cat", "dog"):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for number in range(6):
            (tmp_path / "pets" / name / f"{number}.png").write_bytes(PNG)
            lines.append(f"{name}/{number}.png,{name}")
    (tmp_path / "pets" / "labels.csv").write_text("\n".join(lines))
    return tmp_path / "pets"


def config_for(folder, name="folder", **settings):
    """Returns the config of a short run on pictures."""
    path = folder / "labels.csv" if name == "table" else folder
    arguments = {"path": str(path), "method": "ncr", "size": 8, "epochs": 2}
    config = own_pictures(name, {**arguments, "backbone": "mlp"})
    config.batch_size = 4
    config.data.on_error = "skip"
    config.update_from_flattened_dict(settings)
    return config


# Images


def write_all(folder, kind):
    """Writes all kinds of files to a folder; returns the source of them, and ids."""
    for file, content in SOUND.items():
        (folder / "dog" / file).write_bytes(content)
    for file, (content, _) in BROKEN.items():
        (folder / "cat" / file).write_bytes(content or b"")
    source = from_folder(folder)
    if kind == "table":
        labels = [name.partition("/")[0] for name in source.ids]
        source = from_table(pd.DataFrame({"path": source.ids, "label": labels}), folder)
    if kind == "dataset":
        # A stream ends at a file that is gone, and knows its examples by position.
        there = [i for i, name in enumerate(source.ids) if "gone" not in name]
        part = source.subset(there)
        return from_dataset(part.dataset), part.ids
    return source, source.ids


@pytest.mark.parametrize(
    "kind",
    [
        "folder",
        pytest.param("table", marks=pytest.mark.slow),
        pytest.param("dataset", marks=pytest.mark.slow),
    ],
)
def test_broken_images_are_named_and_what_can_be_converted_is_none(folder, kind):
    source, ids = write_all(folder, kind)
    (folder / "cat" / "gone.jpg").unlink()
    reasons = find_broken_images(source)
    found = {ids[index].partition("/")[2]: text for index, text in reasons.items()}
    assert set(found) == set(BROKEN) & {name.partition("/")[2] for name in ids}
    for file, reason in found.items():
        assert BROKEN[file][1] in reason
    with pytest.raises(ValueError, match="--config.data.on_error=skip"):
        check_images(source)


@pytest.mark.slow
@pytest.mark.parametrize("encoded", [True, False])
def test_broken_image_of_tfds_is_skipped_and_named_when_it_is_read(
    tfds_dir, label_of, encoded
):
    arguments = ("faulty_images", "train", tfds_dir)
    rest = from_tfds(*arguments, encoded=encoded, on_error="skip")
    (skipped,) = rest.skipped
    assert "Invalid PNG data" in skipped.reason
    labels = {**label_of}
    labels.pop(skipped.id)
    assert dict(zip(rest.ids, rest.labels, strict=True)) == labels
    assert rest.images.shape == (23, 8, 8, 3)
    whole = from_tfds(*arguments, encoded=encoded)
    with pytest.raises(ValueError, match=rf"{skipped.id}: Invalid PNG"):
        with faults_named(whole):
            assert len(whole.images) == 24


def test_unreadable_kind_is_skipped_in_folder_and_table(folder):
    (folder / "cat" / "7.heic").write_bytes(b"phone")
    with pytest.raises(ValueError, match="cat/7.heic"):
        from_folder(folder)
    skipped = Skipped("cat/7.heic", "TensorFlow does not read files of this kind.")
    assert from_folder(folder, on_error="skip").skipped == (skipped,)
    frame = pd.DataFrame(
        {"path": ["cat/1.png", "cat/7.heic", "dog/1.png"], "label": [0, 0, 1]}
    )
    assert from_table(frame, folder, on_error="skip").skipped == (skipped,)


# Labels


@pytest.mark.parametrize(
    ("labels", "class_names", "is_text", "expected"),
    [
        (["a", "", "b", "a"], None, True, {1: "It has no label."}),
        (["0", "1", "-1", "1"], None, True, {2: "Its label is -1."}),
        (["a", "dgo", "b", "a"], ("a", "b"), True, {1: "Its label is dgo."}),
        (["1", "2", "0", "1"], ("a", "b"), True, {1: "Its label is 2."}),
        ([0, np.nan, 1, np.inf], None, False, {1: "It has no", 3: "label is inf."}),
        ([0, 1, 0.5, 0], None, False, {2: "Its label is 0.5."}),
        ([0, 1, 1, "x"], None, False, {3: "Its label is x."}),
        ([0, None, 1, 2], ("a", "b"), False, {1: "no label.", 3: "Its label is 2.0."}),
    ],
)
def test_wrong_labels_of_a_table_are_skipped(
    folder, labels, class_names, is_text, expected
):
    files = [f"cat/{number}.png" for number in range(4)]
    table = pd.DataFrame({"path": files, "label": labels})
    if is_text:
        table.to_csv(folder / "some.csv", index=False)
        table = folder / "some.csv"
    options = {"folder": folder, "class_names": class_names}
    with pytest.raises(ValueError, match="row|class"):
        from_table(table, **options)
    source = from_table(table, **options, on_error="skip")
    assert [skipped.id for skipped in source.skipped] == [files[i] for i in expected]
    for skipped, reason in zip(source.skipped, expected.values(), strict=True):
        assert skipped.reason.endswith(reason) or skipped.reason.startswith(reason)
    assert source.ids.tolist() == [f for i, f in enumerate(files) if i not in expected]
    assert source.class_names == (class_names or source.class_names)
    assert source.num_classes == 2


def test_rows_without_path_image_or_true_label_are_skipped(folder):
    frame = pd.DataFrame(
        {
            "path": ["cat/1.png", None, "cat/9.png", "dog/1.png", "dog/2.png", 7],
            "label": list("aaabba"),
            "truth": ["a", "a", "a", "b", "", "b"],
        }
    )
    source = from_table(frame, folder, clean_label="truth", on_error="skip")
    assert source.ids.tolist() == ["cat/1.png", "dog/1.png"]
    assert source.clean_labels.tolist() == [0, 1]
    assert source.skipped == (
        ("row 1", "It has no path."),
        ("cat/9.png", "The file is not there."),
        ("dog/2.png", "It has no true label."),
        ("7", "Its path is 7."),
    )
    with pytest.raises(ValueError, match="At least one .* 3 that are not: row 0"):
        from_table(frame.drop(index=[0, 3, 4]), folder, on_error="skip")


@pytest.mark.slow
@pytest.mark.parametrize("key", ["clean_label_key", "label_key"])
def test_missing_labels_of_tfds_are_named_and_skipped(tfds_dir, key):
    arguments = ("faulty_images", "train", tfds_dir)
    with pytest.raises(ValueError) as raised:
        from_tfds(*arguments, **{key: "half_known"})
    for part in ("`half_known` must be 0 or more", "-of-00003__", "4 such", "skip"):
        assert part in str(raised.value)
    source = from_tfds(*arguments, **{key: "half_known"}, on_error="skip")
    assert source.num_examples == 19
    reasons = [skipped.reason for skipped in source.skipped]
    assert len(reasons) == 5
    assert sum("`half_known` must be 0" in reason for reason in reasons) == 4


def test_wrong_labels_of_cifar_n_are_named():
    def as_dataset(self, **options):
        labels = {"label": [0, 1], "worse_label": [3, 10]}
        ids = [b"cifar10_n-train.tfrecord__0", b"cifar10_n-train.tfrecord__1"]
        return tf.data.Dataset.from_tensor_slices({**labels, "tfds_id": ids})

    with tfds.testing.mock_data(as_dataset_fn=as_dataset):
        with pytest.raises(ValueError, match="below 10. Received: 10 for .*record__1'"):
            cifar_n("worst")


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ("0,0\n1,nan", "whole class numbers. Received: nan at position 1"),
        ("0,0\n1,-1", "`worse_label` must be 0 or more. Received: -1.0 at position 1"),
        (
            "0,0\n1,12",
            "people.csv: `worse_label` must be below 3. Received: 12.0 at position 1",
        ),
        ("0,0\n1,", "could not be read"),
    ],
)
def test_wrong_labels_of_a_file_of_annotations_are_named(tmp_path, cells, message):
    path = tmp_path / "people.csv"
    path.write_text(f"clean_label,worse_label\n{cells}\n")
    source = from_arrays(np.zeros((2, 4, 4, 1), "uint8"), [0, 1], num_classes=3)
    with pytest.raises(ValueError, match=message):
        human_labels(path, "worst", source)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, np.nan], "whole class numbers. Received: nan at position 1"),
        ([0, -1], "0 or more. Received: -1 at position 1"),
        ([0, 7], "below 3. Received: 7 at position 1"),
        ([0, None], "integers"),
    ],
)
def test_wrong_labels_of_arrays_are_named(labels, message):
    with pytest.raises(ValueError, match=message):
        from_arrays(np.zeros((2, 4, 4, 1), "uint8"), labels, num_classes=3)


def test_stream_that_ends_in_an_error_is_named_by_position():
    def example(number):
        check = tf.debugging.assert_less(number, tf.constant(5, tf.int64), "torn")
        with tf.control_dependencies([check]):
            return tf.zeros((4, 4, 1), tf.uint8), tf.identity(number)

    numbers = tf.data.Dataset.range(8)
    with pytest.raises(ValueError, match="of 'mine' .*torn.* at position 5"):
        from_dataset(numbers.map(example), name="mine")
    is_sound = tf.Variable(True)

    def later(number):
        label = number % 2
        check = tf.debugging.Assert(is_sound | (number < 5), ["torn"])
        with tf.control_dependencies([check]):
            return tf.zeros((4, 4, 1), tf.uint8), tf.identity(label)

    source = from_dataset(numbers.map(later), name="mine")
    is_sound.assign(False)
    with pytest.raises(ValueError, match=r"Reading 'mine' failed: 1 of[^\n]*\n    5: "):
        with faults_named(source):
            list(source.dataset)


# Files of TensorFlow Datasets


def empty(content):
    return b""


def torn(content):
    return content[:-5]


def changed(content):
    at = content.rfind(b"IDAT")
    return content[:at] + b"X" + content[at + 1 :]


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        pytest.param(empty, "The file is empty.", marks=pytest.mark.slow),
        (torn, "truncated record"),
        pytest.param(changed, "corrupted record", marks=pytest.mark.slow),
        pytest.param(None, "The file is not there.", marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("on_error", ["raise", "skip"])
def test_damaged_files_are_named_and_never_skipped(
    tfds_dir, prepared, damage, reason, on_error
):
    path = sorted(prepared[1])[1]
    if damage is None:
        path.unlink()
    else:
        path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError) as raised:
        from_tfds("faulty_images", "train", tfds_dir, on_error=on_error)
    for part in (path.name, reason, "records can be read", "prepare or copy"):
        assert part in str(raised.value)


@pytest.mark.parametrize(
    "on_error", ["raise", pytest.param("skip", marks=pytest.mark.slow)]
)
def test_files_with_more_records_than_expected_are_never_skipped(
    tfds_dir, prepared, on_error
):
    first, second, _ = sorted(prepared[1])
    first.write_bytes(first.read_bytes() + second.read_bytes())
    with pytest.raises(ValueError, match="00000-of-00003 .* are not as many"):
        from_tfds("faulty_images", "train", tfds_dir, on_error=on_error)


def test_file_that_is_damaged_later_is_an_error_that_names_it(tfds_dir, prepared):
    source = from_tfds("faulty_images", "train", tfds_dir)
    path = sorted(prepared[1])[2]
    path.write_bytes(torn(path.read_bytes()))
    with pytest.raises(ValueError, match=rf"{path.name}: truncated record"):
        with faults_named(source):
            list(source.dataset)


# Runs


@pytest.mark.parametrize(
    "name", ["folder", pytest.param("table", marks=pytest.mark.slow)]
)
def test_all_commands_load_the_examples_that_are_kept(folder, name, capsys):
    (folder / "dog" / "3.png").write_bytes(b"")
    config = config_for(folder, name)
    checked, looked_at = (
        load_sources(config.data, is_checked=is_checked) for is_checked in (True, False)
    )
    assert checked.whole.num_examples == 11
    assert "dog/3.png" not in {*checked.train.ids, *checked.test.ids}
    assert checked.train.ids.tolist() == looked_at.train.ids.tolist()
    assert {key: len(found) for key, found in checked.skipped.items()} == {
        "train": 1,
        "test": 0,
    }
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2  # One for each time.
    assert lines[0].startswith("Skipped 1 of 12 examples (train, '")
    assert "dog/3.png (The file is empty)" in lines[0]
    assert "skipped.csv" in lines[0]


def test_test_images_are_skipped_as_such(folder, tmp_path):
    (folder / "dog" / "3.png").write_bytes(b"")
    test = tmp_path / "test"
    folder.rename(tmp_path / "pets2")
    for name in ("cat", "dog"):
        (folder / name).mkdir(parents=True)
        (folder / name / "1.png").write_bytes(PNG)
    (tmp_path / "pets2").rename(test)
    (test / "labels.csv").unlink()
    sources = load_sources(config_for(folder, **{"data.test_path": str(test)}).data)
    assert (sources.train.num_examples, sources.test.num_examples) == (2, 11)
    assert sources.skipped == {
        "train": (),
        "test": (Skipped("dog/3.png", "The file is empty."),),
    }


@pytest.mark.slow
def test_tfds_split_is_loaded_without_what_is_faulty(tfds_dir):
    config = default_config()
    data = config.data
    data.name, data.dir, data.on_error = "faulty_images", str(tfds_dir), "skip"
    data.test_split = "train[:50%]"
    sources = load_sources(data)
    assert (sources.train.num_examples, len(sources.skipped["train"])) == (23, 1)
    assert sources.test.num_examples + len(sources.skipped["test"]) == 12


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"data.on_error": "skipp"}, "`config.data.on_error`.*Did you mean 'skip'"),
        ({"data.check_images": False}, "check_images` must be True .*on_error='skip'"),
    ],
)
def test_settings_that_cannot_be_are_refused(folder, settings, message):
    with pytest.raises(ValueError, match=message):
        load_sources(config_for(folder, **settings).data)


def test_class_without_example_is_refused(folder):
    for path in (folder / "dog").iterdir():
        path.write_bytes(b"")
    with pytest.raises(
        ValueError, match="Received: none of 'dog', after 6 .*dog/0.png"
    ):
        load_sources(config_for(folder).data)


def test_on_error_has_no_effect_on_arrays():
    data = default_config().data
    data.on_error = "skip"
    with pytest.raises(ValueError, match="`config.data.on_error` has no effect"):
        load_sources(data)


@pytest.mark.slow
@pytest.mark.usefixtures("eager_functions")
def test_run_lists_what_it_skips_and_goes_on_with_the_same_alone(
    folder, tmp_path, capsys
):
    (folder / "dog" / "3.png").write_bytes(b"")
    config, run = config_for(folder, epochs=1), tmp_path / "run"
    config.ncr.warmup_epochs, config.optimizer.warmup_epochs = 0, 0.0
    results = train(config, run, verbose=0)
    assert results["skipped"] == {"train": 1, "test": 0}
    assert json.loads((run / "results.json").read_text())["skipped"]["train"] == 1
    with open(run / "skipped.csv", newline="") as file:
        assert list(csv.DictReader(file)) == [
            {"id": "dog/3.png", "reason": "The file is empty.", "split": "train"}
        ]
    assert "Skipped 1 of 12" in capsys.readouterr().out
    # Another example less would give all that follow another index, and other noise.
    (folder / "dog" / "4.png").write_bytes(b"")
    with pytest.raises(ValueError, match="noise.npz holds other labels"):
        train(config, run, verbose=0)


def test_list_of_another_run_is_refused(tmp_path):
    path = tmp_path / "skipped.csv"
    first = {"train": (), "test": (Skipped("é.png", "A, b."),)}
    keep_skipped(first, path)
    # Where the data are is part of some reasons, and may change.
    moved = {"train": (), "test": (Skipped("é.png", "Other."),)}
    keep_skipped(moved, path)
    assert path.read_text(encoding="utf-8").splitlines()[1] == "é.png,Other.,test"
    with pytest.raises(
        ValueError, match="1 examples there and 0 now, of which 'é.png'"
    ):
        keep_skipped({"train": (), "test": ()}, path)


class Damage(keras.callbacks.Callback):
    """Tears a picture after the first epoch."""

    def __init__(self, path):
        super().__init__()
        self.path = path

    def on_epoch_end(self, epoch, logs=None):
        self.path.write_bytes(PNG[:40])


@pytest.mark.slow
@pytest.mark.usefixtures("eager_functions")
@pytest.mark.parametrize("on_error", ["skip", "raise"])
def test_picture_that_is_torn_in_the_middle_stops_the_run_by_name(
    folder, tmp_path, on_error
):
    config = config_for(folder, **{"data.cache": False, "data.on_error": on_error})
    with pytest.raises(
        ValueError, match=r"Reading .* failed: 1 of .*\n    cat/1.png: "
    ):
        damage = Damage(folder / "cat" / "1.png")
        train(config, tmp_path / "run", [damage], verbose=0)


def test_other_errors_stay_what_they_are(folder):
    source = from_folder(folder)
    with pytest.raises(tf.errors.InvalidArgumentError, match="own"):
        with faults_named(source):
            raise tf.errors.InvalidArgumentError(None, None, "its own")
