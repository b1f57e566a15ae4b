"""Data sets of TensorFlow Datasets: index, keys, clean labels, encoded images."""

import os

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from keras_ncr.datasets import from_tfds
from keras_ncr.datasets.images import decode
from keras_ncr.pipelines.pipeline import training_batches


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


class TinyWeb(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """JPEG images of different sizes, with labels of several kinds."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        features = {
            "image": tfds.features.Image(encoding_format="jpeg"),
            "label": tfds.features.ClassLabel(names=["ant", "bee", "cat"]),
            "web_label": tfds.features.ClassLabel(num_classes=3),
            "half_known": tfds.features.ClassLabel(num_classes=3),
            "is_insect": tfds.features.ClassLabel(names=["no", "yes"]),
            "is_clean": tfds.features.Scalar(np.bool_),
            "seen": tfds.features.Tensor(shape=(2,), dtype=np.bool_),
            "number": tfds.features.Scalar(np.int64),
        }
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict(features),
            supervised_keys=("image", "web_label"),
        )

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples(12)}

    def _generate_examples(self, num_examples):
        rng = np.random.default_rng(0)
        for number in range(num_examples):
            shape = (4 + number, 20 - number, 3)
            label, web_label = number % 3, (number // 2) % 3
            yield (
                number,
                {
                    "image": rng.integers(0, 256, shape, "uint8"),
                    "label": label,
                    "web_label": web_label,
                    "half_known": label if number % 2 else -1,
                    "is_insect": int(label < 2),
                    "is_clean": label == web_label,
                    "seen": [True, False],
                    "number": number,
                },
            )


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    """A folder with the tiny data sets, in three files and in one."""
    folder = tmp_path_factory.mktemp("tfds")
    config = tfds.download.DownloadConfig(num_shards=3)
    TinyImages(data_dir=folder).download_and_prepare(download_config=config)
    TinyWeb(data_dir=folder).download_and_prepare()
    return folder


@pytest.fixture(scope="module")
def tiny(data_dir):
    """The whole split of images of one size."""
    return from_tfds("tiny_images", "train", data_dir)


@pytest.fixture(scope="module")
def web(data_dir):
    """The whole split of images of many sizes, with the true labels."""
    return from_tfds("tiny_web", "train", data_dir, clean_label_key="label")


@pytest.fixture(scope="module")
def numbers(data_dir):
    """The number of each example of the web data set, by index."""
    stored = TinyWeb(data_dir=data_dir).as_dataset(split="train")
    return np.array([example["number"] for example in stored.as_numpy_iterator()])


def test_elements_have_the_dtypes_that_the_pipeline_expects(tiny):
    spec = tiny.dataset.element_spec
    assert {key: part.dtype for key, part in spec.items()} == {
        "inputs": tf.uint8,
        "label": tf.int64,
        "index": tf.int64,
    }
    assert tuple(spec["inputs"].shape) == tiny.image_shape == (4, 4, 1)
    assert tiny.labels.dtype == np.int64
    assert len(tiny.dataset) == tiny.num_examples


def test_tfds_index_is_the_rank_of_file_and_position(tiny):
    assert (tiny.num_examples, tiny.num_classes) == (60, 3)
    assert tiny.class_names == ("ant", "bee", "cat")
    files = sorted({name.rsplit("__")[0] for name in tiny.ids})
    assert len(files) == 3
    sizes = [sum(name.startswith(file) for name in tiny.ids) for file in files]
    assert tiny.ids.tolist() == [
        f"{file}__{position}"
        for file, size in zip(files, sizes, strict=True)
        for position in range(size)
    ]
    assert max(sizes) > 10  # so that the order of numbers is not that of texts


def test_tfds_labels_belong_to_their_images(tiny):
    numbers = tiny.images[:, 0, 0, 0]
    assert sorted(numbers) == list(range(60))
    assert np.array_equal(tiny.labels, numbers % 3)
    for example in tiny.dataset.as_numpy_iterator():
        assert example["inputs"][3, 3, 0] == numbers[example["index"]]
        assert example["label"] == tiny.labels[example["index"]]


def test_tfds_index_does_not_depend_on_the_reading_order(data_dir, tiny, monkeypatch):
    in_order = [example["index"] for example in tiny.dataset.as_numpy_iterator()]
    read = tfds.core.DatasetBuilder.as_dataset

    def read_shuffled(self, **options):
        return read(self, **{**options, "shuffle_files": True}).shuffle(60)

    monkeypatch.setattr(tfds.core.DatasetBuilder, "as_dataset", read_shuffled)
    source = from_tfds("tiny_images", "train", data_dir)
    order = [example["index"] for example in source.dataset.as_numpy_iterator()]
    assert order != in_order
    assert np.array_equal(source.ids, tiny.ids)
    assert np.array_equal(source.labels, tiny.labels)
    assert np.array_equal(source.images, tiny.images)


def test_part_of_a_split_keeps_the_ids_of_the_whole(data_dir, tiny):
    part = from_tfds("tiny_images", "train[50%:]", data_dir)
    assert part.num_examples == 30
    assert np.array_equal(part.ids, tiny.ids[30:])
    assert np.array_equal(part.images, tiny.images[30:])


def test_limit_keeps_the_first_of_a_fixed_permutation(data_dir, tiny):
    part = from_tfds("tiny_images", "train", data_dir, limit=5)
    # np.random.RandomState(0).permutation(60)[:5], sorted: frozen by NumPy's policy.
    kept = [11, 26, 28, 35, 59]
    assert part.num_examples == 5
    assert np.array_equal(part.ids, tiny.ids[kept])
    assert np.array_equal(part.labels, tiny.labels[kept])
    assert np.array_equal(part.images, tiny.images[kept])
    larger = from_tfds("tiny_images", "train", data_dir, limit=20)
    assert set(part.ids) < set(larger.ids)


@pytest.mark.parametrize("cache", [True, False])
def test_noisy_labels_follow_tfds_examples_over_epochs(data_dir, cache):
    source = from_tfds("tiny_images", "train", data_dir, limit=40)
    noisy_labels = np.random.default_rng(0).integers(0, 3, 40)
    numbers = source.images[:, 0, 0, 0]
    label_of_number = dict(zip(numbers, noisy_labels, strict=True))
    noisy = source.relabeled(noisy_labels)
    batches = training_batches(noisy, 16, num_epochs=2, cache=cache)
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


# --- Which feature is the label, and which labels are known to be right


def test_label_is_the_supervised_key(web, numbers):
    assert web.labels.tolist() == ((numbers // 2) % 3).tolist()
    for example in web.dataset.as_numpy_iterator():
        assert example["label"] == web.labels[example["index"]]


def test_clean_labels_are_those_of_their_key(data_dir, web, numbers):
    assert web.clean_labels.tolist() == (numbers % 3).tolist()
    # The names too: annotations of the same classes often have none.
    assert web.class_names == ("ant", "bee", "cat")
    part = from_tfds("tiny_web", "train", data_dir, limit=5, clean_label_key="label")
    kept = np.isin(web.ids, part.ids)
    assert part.clean_labels.tolist() == web.clean_labels[kept].tolist()


@pytest.mark.parametrize("key", [None, "is_clean"])
def test_label_that_is_not_clean_has_no_clean_label(data_dir, numbers, key):
    source = from_tfds("tiny_web", "train", data_dir, is_clean_key=key)
    is_clean = numbers % 3 == (numbers // 2) % 3
    assert 0 < is_clean.sum() < 12
    expected = np.where(is_clean, source.labels, -1)
    assert source.clean_labels.tolist() == expected.tolist()


def test_another_label_can_be_chosen(data_dir, numbers):
    source = from_tfds("tiny_web", "train", data_dir, label_key="is_insect")
    assert source.labels.tolist() == (numbers % 3 < 2).tolist()
    assert (source.num_classes, source.class_names) == (2, ("no", "yes"))
    # "is_clean" is about the data set's own label, and this is another.
    assert source.clean_labels is None


def test_nothing_is_known_where_nothing_is_said(tiny):
    assert tiny.clean_labels is None


@pytest.mark.parametrize(
    "keys, message",
    [
        (
            dict(label_key="wed_label"),
            r"`label_key` must be one of \['half_known', 'is_insect', 'label', "
            r"'web_label'\]. Received: label_key='wed_label'. Did you mean 'web_label'",
        ),
        (dict(label_key="number"), "`label_key` must be one of .*='number'"),
        (dict(label_key="image"), "`label_key` must be one of .*='image'"),
        (dict(clean_label_key="is_clean"), "`clean_label_key` must be one of .*label"),
        (dict(is_clean_key="label"), r"`is_clean_key` must be one of \['is_clean'\]"),
        (dict(is_clean_key="seen"), r"`is_clean_key` must be one of \['is_clean'\]"),
        (
            dict(clean_label_key="label", is_clean_key="is_clean"),
            "Either `clean_label_key` or `is_clean_key`.*'label' and 'is_clean'",
        ),
        (
            dict(clean_label_key="is_insect"),
            "`clean_label_key` must have the 3 classes of 'web_label'.*with 2 classes",
        ),
        (dict(label_key="half_known"), "`half_known` must be 0 or more. Received: -1"),
        (
            dict(clean_label_key="half_known"),
            "`half_known` must be 0 or more. Received: -1",
        ),
        (dict(encoded="yes"), "`encoded` must be True or False"),
    ],
)
def test_bad_keys_are_refused(data_dir, keys, message):
    with pytest.raises(ValueError, match=message):
        from_tfds("tiny_web", "train", data_dir, **keys)


def test_label_outside_the_classes_is_refused():
    def as_dataset(self, **options):
        example = {"label": [0, 10], "tfds_id": [b"a__0", b"a__1"]}
        return tf.data.Dataset.from_tensor_slices(example)

    with tfds.testing.mock_data(as_dataset_fn=as_dataset):
        with pytest.raises(ValueError, match="`label` must be below 10. Received: 10"):
            from_tfds("cifar10", "train")


@pytest.mark.parametrize("color", ["red", "blue"])
def test_controlled_web_labels_need_no_keys(color):
    with tfds.testing.mock_data(num_examples=20, max_value=100):
        name = f"controlled_noisy_web_labels/mini_imagenet_{color}"
        source = from_tfds(name, "train_20")
    assert source.num_classes == 100
    assert source.is_encoded  # 84 pixels, but the data set does not say so
    is_known = source.clean_labels >= 0
    assert 0 < is_known.sum() < 20
    assert np.all(source.clean_labels[is_known] == source.labels[is_known])


@pytest.mark.parametrize(
    "name, num_classes",
    [("webvision/mini", 50), ("clothing1m", 14), ("animal10n", 10), ("food101n", 101)],
)
def test_builders_of_the_package_are_known(name, num_classes):
    with tfds.testing.mock_data(num_examples=3):
        source = from_tfds(name, "train")
    assert (source.num_examples, source.num_classes) == (3, num_classes)


def test_test_split_of_cifar10_n_has_its_clean_labels():
    with tfds.testing.mock_data(num_examples=4):
        source = from_tfds("cifar10_n", "test")
    assert (source.num_examples, source.num_classes) == (4, 10)


# --- Encoded images


def test_images_of_different_sizes_stay_encoded(data_dir, web, numbers):
    assert web.is_encoded
    assert web.image_shape == (None, None, 3)
    pixels = from_tfds("tiny_web", "train", data_dir, encoded=False)
    assert not pixels.is_encoded
    late = web.dataset.map(lambda example: decode(example["inputs"]))
    for image, example in zip(late, pixels.dataset, strict=True):
        number = numbers[example["index"]]
        assert example["inputs"].shape == (4 + number, 20 - number, 3)
        np.testing.assert_array_equal(image, example["inputs"])


def test_images_of_one_size_can_stay_encoded(data_dir, tiny):
    source = from_tfds("tiny_images", "train", data_dir, encoded=True)
    assert source.is_encoded
    assert source.image_shape == (4, 4, 1)
    assert source.stored_inputs.dtype == tf.string
    for index in (0, 59):
        image = decode(source.stored_inputs[index], channels=1)
        np.testing.assert_array_equal(image, tiny.images[index])


def test_images_beyond_the_limit_are_not_decoded(data_dir, monkeypatch):
    decoded = []
    decode_example = tfds.features.Image.decode_example

    def record(self, example):
        tf.py_function(lambda: decoded.append(1), [], [])
        return decode_example(self, example)

    monkeypatch.setattr(tfds.features.Image, "decode_example", record)
    source = from_tfds("tiny_images", "train", data_dir, limit=5)
    assert len(decoded) == 0
    assert len(list(source.dataset)) == len(decoded) == 5


# --- What cannot be read


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


def test_images_are_held_once_and_read_only(tiny):
    assert np.shares_memory(tiny.images, np.asarray(tiny.stored_inputs))
    with pytest.raises(ValueError, match="read-only"):
        tiny.images[0] = 0


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
