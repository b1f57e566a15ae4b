"""Tests of datasets/: the digits, arrays, and what a source refuses."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from keras_ncr.datasets import Source, digits, from_arrays


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
        assert np.array_equal(example["inputs"], images[position])
        assert example["label"] == source.labels[position]
        assert example["index"] == source.ids[position] == position


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
        (dict(class_names={0: "no", 1: "yes"}), "order of the class .*: a dict"),
        (dict(class_names={"no", "yes"}), "order of the class .*: a set"),
        (dict(class_names="ny"), "at least two strings"),
        (dict(class_names=["no", "no"]), "all different. Received: 'no' 2 times"),
        (dict(class_names=[0, 1]), "at least two strings"),
        (dict(labels=[0.5, 1.25, 3.5, 0]), "fractions in most rows.*pandas.qcut"),
        (dict(labels=[[0], [0, 1], [1], [0]]), "lists of different lengths"),
        (dict(labels=[0, 1, None, 0]), "integers.* Received: None at position 2"),
    ],
)
def test_bad_arrays_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        from_arrays(**{"images": IMAGES, "labels": [0, 1, 0, 1], **arguments})


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


def test_elements_have_the_dtypes_that_the_pipeline_expects():
    for source in (*digits(), from_arrays(IMAGES, [0, 1, 0, 1])):
        spec = source.dataset.element_spec
        assert {key: part.dtype for key, part in spec.items()} == {
            "inputs": tf.uint8,
            "label": tf.int64,
            "index": tf.int64,
        }
        assert tuple(spec["inputs"].shape) == source.image_shape
        assert source.labels.dtype == np.int64
        assert len(source.dataset) == source.num_examples


def test_images_are_held_once_and_read_only():
    source = digits()[0]
    assert np.shares_memory(source.images, np.asarray(source.stored_inputs))
    with pytest.raises(ValueError, match="read-only"):
        source.images[0] = 0


def test_dataset_that_lacks_an_index_is_refused():
    source = from_arrays(IMAGES, [0, 1, 0, 1])
    broken = dataclasses.replace(source, dataset=source.dataset.take(3))
    with pytest.raises(
        ValueError, match="every index from 0 to 3 once.*index 3 0 times"
    ):
        _ = broken.images
