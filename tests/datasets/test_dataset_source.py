"""Tests of datasets/dataset_source.py."""

import numpy as np
import pytest
import tensorflow as tf

from keras_ncr.datasets import from_arrays, from_dataset

# Image i is of the color i.
IMAGES = np.arange(6, dtype="uint8")[:, None, None, None] * np.ones((4, 5, 3), "uint8")
LABELS = [2, 0, 1, 2, 0, 1]


def dataset_of(images=IMAGES, labels=LABELS):
    return tf.data.Dataset.from_tensor_slices((images, labels))


@pytest.mark.parametrize("kind", ["tuple", "dict"])
def test_examples_keep_their_order(kind):
    dataset = dataset_of()
    if kind == "dict":
        dataset = dataset.map(lambda x, y: {"image": x, "label": y, "id": "left out"})
    source = from_dataset(dataset)
    assert source.labels.tolist() == LABELS
    assert source.ids.tolist() == [0, 1, 2, 3, 4, 5]
    assert source.class_names == ("0", "1", "2")
    assert (source.name, source.num_classes, source.image_shape) == (
        "dataset",
        3,
        (4, 5, 3),
    )
    assert np.array_equal(source.images, IMAGES)
    for position, example in enumerate(source.dataset.as_numpy_iterator()):
        assert example["index"] == example["inputs"][0, 0, 0] == position
        assert example["label"] == LABELS[position]


def test_elements_are_those_of_arrays():
    source = from_dataset(dataset_of(labels=np.array(LABELS, "uint8")))
    expected = from_arrays(IMAGES, LABELS)
    assert source.dataset.element_spec == expected.dataset.element_spec
    assert len(source.dataset) == 6


def test_classes_can_be_named_or_counted():
    named = from_dataset(dataset_of(), class_names=["ant", "bee", "cat", "dog"])
    assert (named.num_classes, named.class_names[3]) == (4, "dog")
    counted = from_dataset(dataset_of(), num_classes=5, name="mine")
    assert counted.class_names == ("0", "1", "2", "3", "4")
    assert counted.name == "mine"


def test_encoded_images_stay_encoded():
    files = [tf.io.encode_png(image).numpy() for image in IMAGES]
    source = from_dataset(dataset_of(files))
    assert source.is_encoded
    assert source.image_shape == (None, None, 3)
    images = [example["inputs"] for example in source.dataset.as_numpy_iterator()]
    assert images == files


def test_generator_of_unknown_length_is_counted():
    def examples():
        for number in range(5):
            yield np.full((number + 1, 2, 1), number, "uint8"), number % 2

    signature = (tf.TensorSpec((None, 2, 1), "uint8"), tf.TensorSpec((), "int32"))
    dataset = tf.data.Dataset.from_generator(examples, output_signature=signature)
    source = from_dataset(dataset)
    assert source.labels.tolist() == [0, 1, 0, 1, 0]
    assert source.image_shape == (None, 2, 1)
    assert len(source.dataset) == 5


def test_one_fixed_shuffle_is_an_order_like_any_other():
    dataset = dataset_of().shuffle(6, seed=1, reshuffle_each_iteration=False)
    source = from_dataset(dataset)
    for example in source.dataset.as_numpy_iterator():
        color = example["inputs"][0, 0, 0]
        assert source.labels[example["index"]] == example["label"] == LABELS[color]


def test_order_that_changes_stops_the_next_pass():
    orders = np.random.default_rng(0)

    def examples():
        for label in orders.permutation(200):
            yield np.zeros((1, 1, 1), "uint8"), label

    signature = (tf.TensorSpec((1, 1, 1), "uint8"), tf.TensorSpec((), "int64"))
    dataset = tf.data.Dataset.from_generator(examples, output_signature=signature)
    source = from_dataset(dataset)
    with pytest.raises(
        tf.errors.InvalidArgumentError,
        match="data set dataset changes .*reshuffle_each_iter",
    ):
        list(source.dataset)
    with pytest.raises(tf.errors.InvalidArgumentError, match="Leave shuffling to"):
        source.stored_inputs  # noqa: B018 - reading it is the claim


@pytest.mark.parametrize(
    "change",
    [
        lambda dataset: dataset.shuffle(6),
        lambda dataset: dataset.shuffle(6, seed=1).map(lambda x, y: (x, y)).take(5),
        lambda dataset: dataset.concatenate(dataset.shuffle(6)),
        lambda dataset: dataset.map(lambda *e: e, 2, deterministic=False),
    ],
)
def test_order_that_is_made_to_change_is_refused_before_the_first_pass(change):
    with pytest.raises(ValueError, match="`dataset` must .*same order in each pass"):
        from_dataset(change(dataset_of()))


def test_order_that_a_cache_remembers_is_fixed():
    source = from_dataset(dataset_of().shuffle(6).cache())
    for example in source.dataset.as_numpy_iterator():
        color = example["inputs"][0, 0, 0]
        assert source.labels[example["index"]] == example["label"] == LABELS[color]


@pytest.mark.parametrize("labels", [[1, 2, 3, 1, 2, 3], [0, 900_000, 1, 0, 1, 0]])
def test_class_numbers_with_gaps_are_no_classes_unless_they_are_counted(labels):
    with pytest.raises(ValueError, match="each class number from 0.* none of class"):
        from_dataset(dataset_of(labels=labels))
    with pytest.raises(ValueError, match="each class number from 0.* none of class"):
        from_arrays(IMAGES, labels)
    counted = from_arrays(IMAGES, labels, num_classes=1_000_000)
    assert counted.num_classes == 1_000_000


@pytest.mark.parametrize("change", [-1, 1])
def test_number_of_examples_that_changes_stops_the_next_pass(change):
    num_passes = 0

    def examples():
        nonlocal num_passes
        num_passes += 1
        for number in range(4 if num_passes == 1 else 4 + change):
            yield np.zeros((1, 1, 1), "uint8"), min(number, 3)

    signature = (tf.TensorSpec((1, 1, 1), "uint8"), tf.TensorSpec((), "int64"))
    dataset = tf.data.Dataset.from_generator(examples, output_signature=signature)
    source = from_dataset(dataset)
    with pytest.raises(
        tf.errors.FailedPreconditionError, match="expected to contain 4 elements"
    ):
        list(source.dataset)


def spec_of(images, labels):
    """A data set that would give such examples, if anybody read it."""

    def no_examples():
        raise AssertionError("refused too late")

    return tf.data.Dataset.from_generator(
        no_examples, output_signature=(tf.TensorSpec(*images), tf.TensorSpec(*labels))
    )


PIXELS, LABEL = ((4, 4, 3), "uint8"), ((), "int64")


@pytest.mark.parametrize(
    "dataset, message",
    [
        (dataset_of().batch(2), r"`dataset.unbatch\(\)`"),
        (spec_of(((None,), "string"), ((None,), "int64")), r"`dataset.unbatch\(\)`"),
        (spec_of(((8, 4, 4, 3), "float32"), ((8, 9), "float32")), "unbatch"),
        (dataset_of().repeat(), r"must end.*`.take\(num_examples\)`"),
        (dataset_of().take(0), "at least one label"),
        (spec_of(((4, 4, 3), "float32"), LABEL), r"float32 of .*round\(image \* 255"),
        (spec_of(((4, 4, 3), "int32"), LABEL), r"int32 of .*tf.cast\(image, 'uint8'"),
        (spec_of(((4, 4), "uint8"), LABEL), r"\(4, 4\). Gray .*`image\[..., None\]`"),
        (spec_of(PIXELS, ((9,), "float32")), r"\(9,\). .*`tf.argmax\(label, axis=-1"),
        (spec_of(PIXELS, ((1,), "int64")), r"\(1,\). Pass `label\[0\]`"),
        (spec_of(PIXELS, ((), "float32")), r"float32 .*`tf.cast\(label, 'int64'\)`"),
        (spec_of((None, "uint8"), LABEL), "known rank.*output_signature"),
        (spec_of(PIXELS, (None, "int64")), "known rank.*output_signature"),
        (dataset_of().map(lambda x, y: x), r"examples \(image, label\)"),
        (dataset_of().map(lambda x, y: (x, y, 1.0)), r"examples \(image, label\)"),
        (
            dataset_of().map(lambda x, y: {"images": x, "label": y}),
            "keys of the examples.*Did you mean 'images'",
        ),
        (dataset_of(labels=[0, 1, 2, 0, 1, -1]), "Received: -1 at position 5"),
        ((IMAGES, LABELS), "tf.data.Dataset. Received: tuple.*from_arrays"),
    ],
)
def test_wrong_data_sets_are_refused(dataset, message):
    with pytest.raises(ValueError, match=message):
        from_dataset(dataset)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (dict(num_classes=2), "below 2. Received: 2 at position 0"),
        (dict(class_names=["a", "b"]), "below 2. Received: 2 at position 0"),
        (dict(class_names="abc"), "at least two strings"),
        (dict(class_names=["a", "b", "c"], num_classes=4), "4 entries. Received: 3"),
    ],
)
def test_classes_that_do_not_fit_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        from_dataset(dataset_of(), **arguments)
