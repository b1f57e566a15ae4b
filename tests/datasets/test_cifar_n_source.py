"""CIFAR-N: which labels are taken, and that labels of other images are refused."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from keras_ncr.datasets import cifar_n, from_arrays, human_labels

# How many of the 50,000 labels are wrong: 9.01, 40.21, ... % (the authors' files).
NUM_WRONG = {
    "aggre_label": 4_505,
    "worse_label": 20_105,
    "random_label1": 8_615,
    "random_label2": 9_060,
    "random_label3": 8_820,
}
KEYS = {
    "aggregate": "aggre_label",
    "worst": "worse_label",
    "random1": "random_label1",
    "random2": "random_label2",
    "random3": "random_label3",
}


def cifar10_n_labels(num_examples=50_000):
    """Labels as CIFAR-10N has them: each annotation has its own share of wrong ones."""
    rng = np.random.default_rng(0)
    label = rng.permutation(num_examples) % 10
    columns = {"label": label}
    for key, num_wrong in NUM_WRONG.items():
        is_wrong = rng.permutation(num_examples) < num_wrong * num_examples / 50_000
        columns[key] = np.where(is_wrong, (label + 1) % 10, label)
    return columns


def holding(columns):
    """Makes TensorFlow Datasets give these columns instead of its data, in one file."""

    def as_dataset(self, split, decoders=None, **options):
        ids = [f"{self.name}-{split}__{i}" for i in range(len(columns["label"]))]
        examples = {"tfds_id": np.array(ids, bytes), **columns}
        if isinstance(decoders, tfds.decode.PartialDecoding):
            wanted = decoders.extract_features(self.info.features)
            examples = {key: examples[key] for key in ("tfds_id", *wanted)}
            return tf.data.Dataset.from_tensor_slices(examples)
        image = tf.io.encode_png(np.zeros((32, 32, 3), "uint8"))
        return tf.data.Dataset.from_tensor_slices(examples).map(
            lambda example: {**example, "image": image}
        )

    return tfds.testing.mock_data(as_dataset_fn=as_dataset)


@pytest.fixture(scope="module")
def columns():
    return cifar10_n_labels()


@pytest.mark.parametrize("annotation", KEYS)
def test_annotation_has_its_own_labels(columns, annotation):
    with holding(columns):
        source = cifar_n(annotation)
    assert np.array_equal(source.labels, columns[KEYS[annotation]])
    assert np.array_equal(source.clean_labels, columns["label"])
    assert np.sum(source.labels != source.clean_labels) == NUM_WRONG[KEYS[annotation]]


def test_fine_labels_are_those_of_cifar_100_n():
    label = np.arange(50_000) % 100
    noise_label = np.where(np.arange(50_000) < 20_100, (label + 7) % 100, label)
    with holding({"label": label, "noise_label": noise_label}):
        source = cifar_n("fine")
    assert source.num_classes == 100
    assert np.array_equal(source.labels, noise_label)
    assert np.array_equal(source.clean_labels, label)


@pytest.mark.parametrize("annotation", ["aggregate", "worst"])
def test_labels_of_other_images_are_refused(columns, annotation):
    key = KEYS[annotation]
    shuffled = np.random.default_rng(1).permutation(columns[key])
    with holding({**columns, key: shuffled}):
        # By chance one in ten is right.
        with pytest.raises(
            ValueError, match=r"Received: (89|90)\..*delete 'cifar10_n'"
        ):
            cifar_n(annotation)


@pytest.mark.parametrize("num_more", [-60, 60])
def test_whole_split_must_be_wrong_as_often_as_published(columns, num_more):
    labels = columns["aggre_label"].copy()
    is_wrong = labels != columns["label"]
    changed = np.flatnonzero(is_wrong if num_more < 0 else ~is_wrong)[: abs(num_more)]
    labels[changed] = (columns["label"][changed] + (num_more > 0)) % 10
    with holding({**columns, "aggre_label": labels}):
        with pytest.raises(
            ValueError, match="give or take 0.05 %. Received: (8.89|9.13)"
        ):
            cifar_n("aggregate")


def test_part_of_the_split_may_differ_by_chance():
    label = np.arange(500) % 10
    for num_wrong, is_refused in [(45, False), (70, False), (200, True), (0, True)]:
        labels = np.where(np.arange(500) < num_wrong, (label + 1) % 10, label)
        with holding({"label": label, "aggre_label": labels}):
            if is_refused:
                with pytest.raises(ValueError, match=f"{num_wrong / 5:.2f} %"):
                    cifar_n("aggregate", "train[:1%]")
            else:
                assert cifar_n("aggregate", "train[:1%]").num_examples == 500


@pytest.mark.parametrize("split", ["test", "test[:50%]"])
def test_test_split_has_the_labels_of_cifar(split):
    missing = np.full(20, -1)
    with holding({"label": np.arange(20) % 10, "worse_label": missing}):
        source = cifar_n("worst", split)
    assert source.labels.tolist() == [*range(10)] * 2
    assert source.clean_labels.tolist() == source.labels.tolist()


def test_unknown_annotation_is_refused():
    with pytest.raises(
        ValueError, match="`annotation` .*'worse'. Did you mean 'worst'"
    ):
        cifar_n("worse")


# --- The authors' file, for images that are there already


@pytest.fixture
def source():
    """A few images of ten classes, in an order of their own."""
    label = np.random.default_rng(2).permutation(200) % 10
    pixels = np.broadcast_to(
        np.arange(200, dtype="uint8")[:, None, None, None], (200, 2, 2, 3)
    )
    return from_arrays(pixels, label)


def write_csv(path, labels):
    """The file as the instructions of TensorFlow Datasets make it."""
    names = ["clean_label", *NUM_WRONG]
    values = np.stack([labels[name] for name in names], axis=1)
    np.savetxt(path, values, "%d", delimiter=",", header=",".join(names), comments="")
    return path


def people(source):
    """Labels of people for a source, with the authors' share of wrong ones."""
    clean = source.labels
    labels = {"clean_label": clean}
    for shift, (key, num_wrong) in enumerate(NUM_WRONG.items(), start=1):
        is_wrong = np.arange(len(clean)) < num_wrong * len(clean) / 50_000
        labels[key] = np.where(is_wrong, (clean + shift) % 10, clean)
    return labels


@pytest.mark.parametrize("annotation", KEYS)
def test_labels_of_people_replace_those_of_the_source(tmp_path, source, annotation):
    labels = people(source)
    path = write_csv(tmp_path / "people.csv", labels)
    noisy = human_labels(path, annotation, source)
    assert noisy.labels.tolist() == labels[KEYS[annotation]].tolist()
    assert noisy.clean_labels.tolist() == source.labels.tolist()
    assert noisy.ids.tolist() == source.ids.tolist()
    assert np.array_equal(noisy.images, source.images)
    for example in noisy.dataset.as_numpy_iterator():
        assert example["inputs"][0, 0, 0] == example["index"]
        assert example["label"] == noisy.labels[example["index"]]


def test_rows_in_another_order_need_that_order(tmp_path, source):
    labels = people(source)
    image_order = np.random.default_rng(3).permutation(200)  # of row k the image
    path = write_csv(
        tmp_path / "people.csv",
        {name: column[image_order] for name, column in labels.items()},
    )
    noisy = human_labels(path, "worst", source, image_order=image_order)
    assert noisy.labels.tolist() == labels["worse_label"].tolist()
    num_differ = np.sum(source.labels[image_order] != source.labels)
    first = np.argmax(source.labels[image_order] != source.labels)
    message = (
        f"{num_differ} of 200 that differ, the first at index {first} .*image_order"
    )
    with pytest.raises(ValueError, match=message):
        human_labels(path, "worst", source)


@pytest.mark.parametrize(
    "image_order, message",
    [
        (
            [0] * 200,
            "`image_order` must hold each index from 0 to 199 once.*1 different",
        ),
        (range(199), "`image_order` must hold each index from 0 to 199 once"),
        (range(1, 201), "`image_order` must be below 200. Received: 200"),
    ],
)
def test_order_that_is_no_permutation_is_refused(
    tmp_path, source, image_order, message
):
    path = write_csv(tmp_path / "people.csv", people(source))
    with pytest.raises(ValueError, match=message):
        human_labels(path, "worst", source, image_order=list(image_order))


def test_one_true_label_that_differs_is_refused(tmp_path, source):
    labels = people(source)
    clean = labels["clean_label"].copy()
    clean[17] = (clean[17] + 1) % 10
    path = write_csv(tmp_path / "people.csv", {**labels, "clean_label": clean})
    with pytest.raises(ValueError, match="1 of 200 that differ, the first at index 17"):
        human_labels(path, "worst", source)


def test_part_of_the_images_is_refused(tmp_path, source):
    path = write_csv(tmp_path / "people.csv", people(source))
    with pytest.raises(ValueError, match="whole training split, 200 .*Received: 50"):
        human_labels(path, "worst", source.subset(np.arange(50)))


def test_labels_that_are_never_wrong_are_refused(tmp_path, source):
    labels = dict.fromkeys(["clean_label", *NUM_WRONG], source.labels)
    path = write_csv(tmp_path / "people.csv", labels)
    with pytest.raises(
        ValueError, match="'worst'.*40.21 %.*Received: 0.00 %.*people.csv anew"
    ):
        human_labels(path, "worst", source)


@pytest.mark.parametrize(
    "contents, message",
    [
        (b"clean_label,worse_label\n0,1\n1,cat\n", "people.csv, which could.*cat"),
        (b"clean_label,worse_label\n0,1\n1\n", "people.csv, which could not be read"),
        (b"clean_label,worse_label\n0\n1\n", "2 names, but 1 columns"),
        (b"\x93NUMPY\x01\x00v\x00{'descr': '|O'", r"could not be read.*\.npy files"),
        (b"clean_label,aggre_label\n0,1\n", "have a column 'worse_label'.*aggre_label"),
        (b"clean_label,worse_label\n0,-1\n", "`worse_label` must be 0 or more"),
        (b"clean_label,worse_label\n0,nan\n", "`worse_label` must hold whole"),
    ],
)
def test_files_of_another_kind_are_refused(tmp_path, source, contents, message):
    path = tmp_path / "people.csv"
    path.write_bytes(contents)
    with pytest.raises(ValueError, match=message):
        human_labels(path, "worst", source)


def test_missing_file_is_reported_as_missing(tmp_path, source):
    with pytest.raises(FileNotFoundError):
        human_labels(tmp_path / "people.csv", "worst", source)
