"""Tests of datasets/."""

import os

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from keras_ncr.datasets import Source, digits, from_arrays, from_tfds
from keras_ncr.pipelines import training_batches


class TinyImages(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Images whose every pixel is a number that the label follows from."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        features = {
            "image": tfds.features.Image(shape=(4, 4, 1)),
            "label": tfds.features.ClassLabel(names=["ant", "bee", "cat"]),
        }
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict(features),
            supervised_keys=("image", "label"),
        )

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples(60)}

    def _generate_examples(self, num_examples):
        for number in range(num_examples):
            image = np.full((4, 4, 1), number, "uint8")
            yield number, {"image": image, "label": number % 3}


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    """A folder with the tiny data set, in three files."""
    folder = tmp_path_factory.mktemp("tfds")
    config = tfds.download.DownloadConfig(num_shards=3)
    TinyImages(data_dir=folder).download_and_prepare(download_config=config)
    return folder


def test_digits_are_split_into_1437_and_360():
    train, test = digits()
    assert (train.num_examples, test.num_examples) == (1437, 360)
    assert train.num_classes == test.num_classes == 10
    assert train.class_names == tuple("0123456789")
    assert train.images.shape == (1437, 8, 8, 1)
    assert train.images.dtype == np.uint8
    assert set(np.unique(train.images)) == {round(i * 255 / 16) for i in range(17)}


def test_digits_keep_their_class_counts():
    train, test = digits()
    together = np.bincount(train.labels) + np.bincount(test.labels)
    # scikit-learn's documentation gives about 180 a class; these are its counts.
    assert together.tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert np.all(np.abs(np.bincount(test.labels) - together / 5) < 1)


def test_digits_are_those_of_scikit_learn_each_once():
    from sklearn.datasets import load_digits

    data = load_digits()
    splits = digits()
    ids = np.concatenate([split.ids for split in splits])
    assert np.array_equal(np.sort(ids), np.arange(1797))
    for split in splits:
        assert np.array_equal(split.labels, data.target[split.ids])
        sixteenths = split.images[..., 0] * (16 / 255)
        assert np.allclose(sixteenths, data.images[split.ids], atol=0.05)


def test_digits_do_not_depend_on_the_global_seed():
    first, _ = digits()
    np.random.seed(5)
    second, _ = digits()
    assert np.array_equal(first.ids, second.ids)


def test_arrays_become_examples_in_their_order():
    images = np.random.default_rng(0).integers(0, 256, (6, 3, 4, 3))
    source = from_arrays(images, [2, 0, 1, 2, 0, 1])
    assert (source.num_classes, source.image_shape) == (3, (3, 4, 3))
    assert source.class_names == ("0", "1", "2")
    for position, example in enumerate(source.dataset.as_numpy_iterator()):
        assert np.array_equal(example["image"], images[position])
        assert example["label"] == source.labels[position]
        assert example["index"] == source.ids[position] == position


def test_elements_have_the_same_dtypes_from_every_kind_of_source(data_dir):
    for source in (*digits(), from_tfds("tiny_images", "train", data_dir)):
        spec = source.dataset.element_spec
        assert {key: part.dtype for key, part in spec.items()} == {
            "image": tf.uint8,
            "label": tf.int64,
            "index": tf.int64,
        }
        assert tuple(spec["image"].shape) == source.image_shape
        assert source.labels.dtype == np.int64
        assert len(source.dataset) == source.num_examples


def test_names_and_ids_of_arrays_can_be_given():
    source = from_arrays(
        np.zeros((2, 1, 1, 1), "uint8"),
        [0, 1],
        num_classes=3,
        class_names=["ant", "bee", "cat"],
        ids=["x.png", "y.png"],
    )
    assert source.class_names == ("ant", "bee", "cat")
    assert source.ids.tolist() == ["x.png", "y.png"]


IMAGES = np.zeros((4, 2, 2, 1), "uint8")


@pytest.mark.parametrize(
    "arguments, message",
    [
        (dict(images=IMAGES[:0], labels=[]), "at least one label"),
        (dict(images=IMAGES[:3]), "3 images and 4 labels"),
        (dict(images=IMAGES[..., 0]), r"`images` must have shape.*None"),
        (dict(images=IMAGES / 255), r"whole numbers from 0 to 255.*float64.*astype"),
        (dict(images=IMAGES.astype(int) - 1), "whole numbers .* Received: -1 to -1"),
        (dict(images=IMAGES.astype(int) + 256), "Received: 256 to 256"),
        (dict(labels=[0, 1, -1, 1]), "Received: -1 at position 2"),
        (dict(labels=[0, 1, 2, 3], num_classes=3), "below 3. Received: 3 at position"),
        (dict(labels=np.eye(4)), "argmax"),
        (dict(labels=[0, 0, 0, 0]), "`num_classes` must be .* at least 2.*=1"),
        (dict(class_names=["ant"]), "`class_names` .* 2 entries. Received: 1"),
        (dict(ids=[1, 2, 3]), "`ids` .* 4 entries. Received: 3"),
    ],
)
def test_bad_arrays_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        from_arrays(**{"images": IMAGES, "labels": [0, 1, 0, 1], **arguments})


def test_tfds_index_is_the_rank_of_file_and_position(data_dir):
    source = from_tfds("tiny_images", "train", data_dir)
    assert (source.num_examples, source.num_classes) == (60, 3)
    assert source.class_names == ("ant", "bee", "cat")
    files = sorted({name.rsplit("__")[0] for name in source.ids})
    assert len(files) == 3
    sizes = [sum(name.startswith(file) for name in source.ids) for file in files]
    assert source.ids.tolist() == [
        f"{file}__{position}"
        for file, size in zip(files, sizes, strict=True)
        for position in range(size)
    ]
    assert max(sizes) > 10  # so that the order of numbers is not that of texts


def test_tfds_labels_belong_to_their_images(data_dir):
    source = from_tfds("tiny_images", "train", data_dir)
    numbers = source.images[:, 0, 0, 0]
    assert sorted(numbers) == list(range(60))
    assert np.array_equal(source.labels, numbers % 3)
    for example in source.dataset.as_numpy_iterator():
        assert example["image"][3, 3, 0] == numbers[example["index"]]
        assert example["label"] == source.labels[example["index"]]


def test_tfds_index_does_not_depend_on_the_reading_order(data_dir, monkeypatch):
    expected = from_tfds("tiny_images", "train", data_dir)
    in_order = [example["index"] for example in expected.dataset.as_numpy_iterator()]
    read = tfds.core.DatasetBuilder.as_dataset

    def read_shuffled(self, **options):
        return read(self, **{**options, "shuffle_files": True}).shuffle(60)

    monkeypatch.setattr(tfds.core.DatasetBuilder, "as_dataset", read_shuffled)
    source = from_tfds("tiny_images", "train", data_dir)
    order = [example["index"] for example in source.dataset.as_numpy_iterator()]
    assert order != in_order
    assert np.array_equal(source.ids, expected.ids)
    assert np.array_equal(source.labels, expected.labels)
    assert np.array_equal(source.images, expected.images)


def test_part_of_a_split_keeps_the_ids_of_the_whole(data_dir):
    whole = from_tfds("tiny_images", "train", data_dir)
    part = from_tfds("tiny_images", "train[50%:]", data_dir)
    assert part.num_examples == 30
    assert np.array_equal(part.ids, whole.ids[30:])
    assert np.array_equal(part.images, whole.images[30:])


def test_limit_keeps_the_first_of_a_fixed_permutation(data_dir):
    whole = from_tfds("tiny_images", "train", data_dir)
    part = from_tfds("tiny_images", "train", data_dir, limit=5)
    # np.random.RandomState(0).permutation(60)[:5], sorted: frozen by NumPy's policy.
    kept = [11, 26, 28, 35, 59]
    assert part.num_examples == 5
    assert np.array_equal(part.ids, whole.ids[kept])
    assert np.array_equal(part.labels, whole.labels[kept])
    assert np.array_equal(part.images, whole.images[kept])
    larger = from_tfds("tiny_images", "train", data_dir, limit=20)
    assert set(part.ids) < set(larger.ids)


@pytest.mark.parametrize("cache", [True, False])
def test_noisy_labels_follow_tfds_examples_over_epochs(data_dir, cache):
    source = from_tfds("tiny_images", "train", data_dir, limit=40)
    noisy_labels = np.random.default_rng(0).integers(0, 3, 40)
    numbers = source.images[:, 0, 0, 0]
    label_of_number = dict(zip(numbers, noisy_labels, strict=True))
    batches = training_batches(
        source, 16, labels=noisy_labels, num_epochs=2, cache=cache
    )
    for images, labels in batches.as_numpy_iterator():
        assert [label_of_number[image[0, 0, 0]] for image in images] == labels.tolist()


@pytest.mark.parametrize(
    "name, image_shape, num_classes",
    [
        ("cifar10", (32, 32, 3), 10),
        ("cifar100", (32, 32, 3), 100),
        ("fashion_mnist", (28, 28, 1), 10),
    ],
)
def test_public_data_sets_load(name, image_shape, num_classes):
    with tfds.testing.mock_data(num_examples=12):
        source = from_tfds(name, "train")
        assert source.images.shape == (12, *image_shape)
    assert source.num_classes == len(source.class_names) == num_classes
    assert source.ids[11].endswith("__11")


@pytest.mark.parametrize("split", ["trian", "train[:0]"])
def test_unknown_or_empty_split_is_refused(data_dir, split):
    with pytest.raises(ValueError) as raised:
        from_tfds("tiny_images", split, data_dir)
    for part in ("at least one example", "['train']", f"split={split!r}"):
        assert part in str(raised.value)


@pytest.mark.parametrize("limit", [0, -1, 61, 2.5])
def test_limit_out_of_range_is_refused(data_dir, limit):
    with pytest.raises(ValueError, match=f"`limit` must be .*limit={limit}"):
        from_tfds("tiny_images", "train", data_dir, limit=limit)


def test_unknown_data_set_is_answered_with_the_nearest(tmp_path):
    with pytest.raises(ValueError, match="name='fashon_mnist'.*fashion_mnist"):
        from_tfds("fashon_mnist", "train", tmp_path)


def test_data_set_that_is_not_there_is_answered_with_what_to_do(tmp_path, monkeypatch):
    def no_network(self, **options):
        raise ConnectionError("no route to host")

    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", no_network)
    with pytest.raises(FileNotFoundError) as raised:
        from_tfds("cifar10", "train", tmp_path)
    for part in ("'cifar10'", str(tmp_path), "no route to host", "tfds build cifar10"):
        assert part in str(raised.value)
    with pytest.raises(FileNotFoundError, match="no download was asked for"):
        from_tfds("cifar10", "train", tmp_path, download=False)


def test_data_set_without_class_labels_is_refused():
    with tfds.testing.mock_data(num_examples=2):
        with pytest.raises(ValueError, match="image classification.*features"):
            from_tfds("div2k", "train")


def test_source_refuses_labels_out_of_range():
    good = from_arrays(IMAGES, [0, 1, 0, 1])
    with pytest.raises(ValueError, match="`labels` must be below 2. Received: 2"):
        Source(
            name="bad",
            dataset=good.dataset,
            labels=np.array([0, 1, 0, 2]),
            ids=good.ids,
            num_classes=2,
            class_names=("no", "yes"),
            image_shape=good.image_shape,
        )


def test_images_are_held_once_and_read_only(data_dir):
    for source in (digits()[0], from_tfds("tiny_images", "train", data_dir)):
        assert np.shares_memory(source.images, np.asarray(source.image_tensor))
        with pytest.raises(ValueError, match="read-only"):
            source.images[0] = 0


if "KERAS_NCR_DATA_DIR" in os.environ:  # real data, which not every machine has

    @pytest.mark.slow
    def test_real_data_sets_have_their_published_sizes():
        data_dir = os.environ["KERAS_NCR_DATA_DIR"]
        for name, num_train, image_shape in (
            ("cifar10", 50_000, (32, 32, 3)),
            ("fashion_mnist", 60_000, (28, 28, 1)),
        ):
            train = from_tfds(name, "train", data_dir)
            test = from_tfds(name, "test", data_dir)
            assert (train.num_examples, test.num_examples) == (num_train, 10_000)
            assert train.images.shape == (num_train, *image_shape)
            assert np.bincount(train.labels).tolist() == [num_train // 10] * 10
            assert np.bincount(test.labels).tolist() == [1000] * 10
