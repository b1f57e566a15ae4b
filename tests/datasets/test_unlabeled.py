"""Examples without a label: put behind others, told apart, read from a folder."""

import warnings

import numpy as np
import pytest
import tensorflow as tf
from sources import annotated_source, random_source

from keras_ncr.datasets import digits, from_folder, hold_out, with_unlabeled
from keras_ncr.datasets.unlabeled import parts_by_label
from keras_ncr.pipelines import evaluation_batches, training_batches


@pytest.fixture
def folder(tmp_path):
    """Pictures of one gray each: two cats, two dogs, three of nothing that is known."""
    names = [
        "cat/0",
        "cat/1",
        "dog/2",
        "dog/3",
        *(f"unlabelled/{n}" for n in (4, 5, 6)),
    ]
    for gray, name in enumerate(names):
        image = tf.io.encode_png(np.full((4, 4, 3), gray, "uint8"))
        tf.io.write_file(str(tmp_path / f"{name}.png"), image)
    return tmp_path


def test_a_folder_that_is_named_holds_examples_without_a_label(folder):
    source = from_folder(folder, unlabeled="unlabelled")
    assert source.class_names == ("cat", "dog")
    assert source.labels.tolist() == [0, 0, 1, 1, -1, -1, -1]
    assert source.ids.tolist()[-1] == "unlabelled/6.png"
    with pytest.raises(ValueError, match="`unlabeled` must be one of .*'unlabelled'?"):
        from_folder(folder, unlabeled="unlabeled")


def test_a_folder_that_is_not_named_is_a_class_and_a_warning_says_so(folder):
    flag = "--config.data.unlabeled_folder=unlabelled"
    with pytest.warns(match=f"'unlabelled' too.*`unlabeled='unlabelled'`.*{flag}"):
        source = from_folder(folder)
    assert source.class_names == ("cat", "dog", "unlabelled")


@pytest.mark.parametrize(
    ("name", "is_suspect"),
    [("Unlabeled", True), ("no_labels", True), ("not-annotated 2", True)]
    + [("labeled", False), ("label", False), ("noble", False)],
)
def test_names_that_say_that_there_is_no_label(tmp_path, name, is_suspect):
    for file in (f"{name}/1.png", "cat/2.png"):
        image = tf.io.encode_png(np.zeros((4, 4, 3), "uint8"))
        tf.io.write_file(str(tmp_path / file), image)
    with warnings.catch_warnings(record=True, action="always") as caught:
        from_folder(tmp_path)
    assert len(caught) == is_suspect


@pytest.mark.parametrize("cache", [True, False])
def test_batches_have_them_with_their_own_pictures(folder, cache):
    labeled, unlabeled = parts_by_label(from_folder(folder, unlabeled="unlabelled"))
    source = with_unlabeled(labeled.subset([3, 0]), unlabeled)

    def gray(image, seed):
        return tf.ensure_shape(tf.io.decode_png(image), (4, 4, 3))

    batches = training_batches(source, 5, augment=gray, num_epochs=1, cache=cache)
    images, labels = next(iter(batches))
    found = sorted(zip(images[:, 0, 0, 0].numpy(), labels.numpy(), strict=True))
    assert found == [(0, 0), (3, 1), (4, -1), (5, -1), (6, -1)]


def test_examples_keep_their_index_and_what_is_known_of_their_labels():
    first, second = annotated_source().subset(range(40)), random_source(60)
    second = second.subset(range(40, 60))
    both = with_unlabeled(first, second)
    assert both.num_examples == 60 and np.all(both.labels[40:] == -1)
    np.testing.assert_array_equal(both.is_noisy[:40], first.is_noisy)
    assert not both.is_noisy[40:].any()
    np.testing.assert_array_equal(both.images[40:], second.images)
    (images, labels), *_ = evaluation_batches(both, 60)
    np.testing.assert_array_equal(images[:40], first.images)
    np.testing.assert_array_equal(labels, both.labels)


def test_parts_are_told_apart_by_their_labels():
    source = random_source(20, num_classes=4)
    parts = source.subset(range(8)), source.subset(range(8, 20))
    labeled, unlabeled = parts_by_label(with_unlabeled(*parts))
    assert labeled.labels.tolist() == [0, 1, 2, 3] * 2
    assert unlabeled.ids.tolist() == list(range(8, 20))
    assert parts_by_label(source) == (source, None)


def test_what_needs_labels_says_so():
    source = random_source(20)
    both = with_unlabeled(source.subset(range(9)), source.subset(range(9, 20)))
    with pytest.raises(ValueError, match="`labels` must be 0 or more. Received: -1"):
        hold_out(both, 0.5)


def test_other_inputs_and_examples_that_are_there_already_are_refused():
    train, _ = digits()
    with pytest.raises(ValueError, match="must have inputs as"):
        with_unlabeled(train, random_source(20))
    with pytest.raises(ValueError, match="must hold other examples .* 1437 ids"):
        with_unlabeled(train, train)
