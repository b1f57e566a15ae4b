"""Tests of Source: parts of it, what it knows of its labels, and encoded images."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from keras_ncr.datasets import Source, digits, from_arrays
from keras_ncr.datasets.source import read_by_index
from keras_ncr.noise import InstanceDependentNoise, LabelNoise, pair_flip, symmetric
from keras_ncr.pipelines.augmentation import central_crop, random_resized_crop
from keras_ncr.pipelines.pipeline import evaluation_batches, training_batches

NUM_EXAMPLES = 12
LABELS = np.arange(NUM_EXAMPLES) % 3
# Each image is of one gray, which says which one it is.
GRAYS = 20 * np.arange(NUM_EXAMPLES)


def encoded_files(sizes):
    """PNG files of the given sizes, one for each example."""
    return [
        tf.io.encode_png(np.full((height, width, 3), gray, "uint8")).numpy()
        for gray, (height, width) in zip(GRAYS, sizes, strict=True)
    ]


def make_source(kind):
    """The same examples, as pixels or as bytes, streamed or read one by one."""
    if kind == "pixels":
        images = np.broadcast_to(GRAYS[:, None, None, None], (NUM_EXAMPLES, 6, 8, 3))
        return from_arrays(images, LABELS, ids=[f"id{gray}" for gray in GRAYS])
    files = tf.constant(encoded_files([(6, 8)] * NUM_EXAMPLES))
    index = np.arange(NUM_EXAMPLES)
    columns = {"inputs": files, "label": LABELS, "index": index}
    dataset = tf.data.Dataset.from_tensor_slices(columns)
    return Source(
        name=kind,
        dataset=dataset,
        labels=LABELS,
        ids=np.array([f"id{gray}" for gray in GRAYS]),
        num_classes=3,
        class_names=("a", "b", "c"),
        image_shape=(6, 8, 3),
        read_image=(lambda i: tf.gather(files, i)) if kind == "files" else None,
    )


KINDS = ["pixels", "stream", "files"]


def collect(batches):
    """Grays, labels and indices of all batches."""
    images, targets = zip(*batches.as_numpy_iterator(), strict=True)
    labels = np.concatenate([target["label"] for target in targets])
    index = np.concatenate([target["index"] for target in targets])
    return np.concatenate(images)[:, 0, 0, 0], labels, index


@pytest.mark.parametrize("cache", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_batches_are_the_same_pixels_whatever_they_come_from(kind, cache):
    source = make_source(kind)
    assert source.is_encoded == (kind != "pixels")
    batches = training_batches(source, 5, num_epochs=2, cache=cache, carry=["index"])
    assert batches.element_spec[0].dtype == tf.uint8
    assert batches.element_spec[0].shape == (None, 6, 8, 3)
    grays, labels, index = collect(batches)
    assert np.array_equal(grays, GRAYS[index])
    assert np.array_equal(labels, LABELS[index])
    assert sorted(index[:NUM_EXAMPLES]) == sorted(index[NUM_EXAMPLES:])
    grays, _, index = collect(
        evaluation_batches(source, 5, cache=cache, carry=["index"])
    )
    assert np.array_equal(index, np.arange(NUM_EXAMPLES))
    assert np.array_equal(grays, GRAYS)


def test_files_are_shuffled_as_a_whole_without_being_held():
    order = {
        cache: collect(
            training_batches(
                make_source("files"), 5, num_epochs=1, cache=cache, carry=["index"]
            )
        )[2].tolist()
        for cache in (True, False)
    }
    assert order[True] == order[False] != sorted(order[True])
    with pytest.raises(
        ValueError, match="`shuffle_buffer` is for images that are neit"
    ):
        training_batches(make_source("files"), 5, cache=False, shuffle_buffer=3)


@pytest.mark.parametrize("cache", [True, False])
def test_files_of_all_sizes_become_batches(cache):
    sizes = [(4 + i, 30 - 2 * i) for i in range(NUM_EXAMPLES)]
    files = tf.constant(encoded_files(sizes))
    source = make_source("files")
    source = dataclasses.replace(
        source,
        dataset=tf.data.Dataset.from_tensor_slices(
            {"inputs": files, "label": LABELS, "index": np.arange(NUM_EXAMPLES)}
        ),
        image_shape=(None, None, 3),
        read_image=lambda index: tf.gather(files, index),
    )
    with pytest.raises(ValueError, match="differ in size.*augment=None"):
        training_batches(source, 5, cache=cache)
    with pytest.raises(ValueError, match="differ in size"):
        source.images  # noqa: B018 -- a property that raises
    augment = random_resized_crop(5)
    batches = training_batches(
        source, 5, augment=augment, num_epochs=1, cache=cache, carry=["index"]
    )
    grays, _, index = collect(batches)
    assert np.array_equal(grays, GRAYS[index])
    batches = evaluation_batches(
        source, 5, prepare=central_crop(5), cache=cache, carry=["index"]
    )
    assert batches.element_spec[0].shape == (None, 5, 5, 3)
    assert np.array_equal(collect(batches)[0], GRAYS)


@pytest.mark.parametrize("kind", KINDS)
def test_images_are_pixels_by_index(kind):
    images = make_source(kind).images
    assert images.shape == (NUM_EXAMPLES, 6, 8, 3) and images.dtype == np.uint8
    assert np.array_equal(images[:, 5, 7, 2], GRAYS)


@pytest.mark.parametrize("cache", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_subset_holds_the_examples_asked_for_in_that_order(kind, cache):
    wanted = np.array([7, 2, 11, 0])
    subset = make_source(kind).subset(wanted, name="four")
    assert (subset.name, subset.num_examples, subset.num_classes) == ("four", 4, 3)
    assert subset.labels.tolist() == LABELS[wanted].tolist()
    assert subset.ids.tolist() == [f"id{gray}" for gray in GRAYS[wanted]]
    assert np.array_equal(subset.images[:, 0, 0, 0], GRAYS[wanted])
    batches = training_batches(subset, 3, num_epochs=1, cache=cache, carry=["index"])
    grays, labels, index = collect(batches)
    assert sorted(index) == [0, 1, 2, 3]
    assert np.array_equal(grays, GRAYS[wanted][index])
    assert np.array_equal(labels, LABELS[wanted][index])


def test_subset_of_a_subset():
    subset = make_source("files").subset([9, 8, 7, 6]).subset([2, 0])
    assert subset.ids.tolist() == ["id140", "id180"]
    assert subset.images[:, 0, 0, 0].tolist() == [140, 180]


def test_subset_keeps_what_is_known_of_the_labels():
    source, _ = digits()
    clean = np.where(np.arange(source.num_examples) % 2, source.labels, -1)
    known = dataclasses.replace(source, clean_labels=clean)
    subset = known.subset([3, 4])
    assert subset.clean_labels.tolist() == [source.labels[3], -1]
    assert source.subset([3, 4]).clean_labels is None


@pytest.mark.parametrize(
    "indices, message",
    [
        ([], "`indices` must hold at least one"),
        ([12], "`indices` must be below 12. Received: 12"),
        ([-1], "`indices` must be 0 or more"),
        ([3, 4, 3], "`indices` must be all different. Received: 1 repetitions"),
    ],
)
def test_subset_of_what_is_not_there_is_refused(indices, message):
    with pytest.raises(ValueError, match=message):
        make_source("pixels").subset(indices)


@pytest.mark.parametrize(
    "clean_labels, message",
    [
        (LABELS[:-1], "`clean_labels` of 'stream' must have 12 entries. Received: 11"),
        (LABELS + 1, "`clean_labels` must be below 3. Received: 3"),
        (LABELS - 2, "`clean_labels` must be 0 or more. Received: -2"),
        (LABELS + 0.5, "`clean_labels` must hold whole class numbers"),
    ],
)
def test_true_labels_that_cannot_be_are_refused(clean_labels, message):
    source = make_source("stream")
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(source, clean_labels=clean_labels)


def test_known_true_labels_are_carried():
    source = make_source("stream")
    true = np.where(LABELS == 0, -1, LABELS)
    known = dataclasses.replace(source, clean_labels=true)
    assert not known.clean_labels.flags.writeable
    _, targets = next(iter(evaluation_batches(known, 12, carry=["clean_label"])))
    assert targets["label"].numpy().tolist() == LABELS.tolist()
    assert targets["clean_label"].numpy().tolist() == true.tolist()


def test_encoded_gray_images_stay_gray():
    files = [tf.io.encode_png(np.full((4, 4, 1), 7, "uint8")).numpy()] * 3
    columns = {"inputs": files, "label": [0, 1, 0], "index": [0, 1, 2]}
    source = dataclasses.replace(
        from_arrays(np.zeros((3, 4, 4, 1), "uint8"), [0, 1, 0]),
        dataset=tf.data.Dataset.from_tensor_slices(columns),
    )
    assert source.images.shape == (3, 4, 4, 1) and np.all(source.images == 7)


def test_subset_of_files_reads_no_others():
    def read_image(index):
        tf.debugging.assert_none_equal(index, np.int64(3), message="it is gone")
        return tf.zeros([4, 4, 1], tf.uint8)

    source = dataclasses.replace(
        from_arrays(np.zeros((6, 4, 4, 1), "uint8"), [0, 1, 0, 1, 0, 1]),
        dataset=read_by_index(read_image, [0, 1, 0, 1, 0, 1]),
        read_image=read_image,
    )
    with pytest.raises(tf.errors.InvalidArgumentError, match="it is gone"):
        list(source.dataset)
    kept = source.subset([5, 4, 2, 1, 0])
    assert [int(example["label"]) for example in kept.dataset] == [1, 0, 0, 1, 0]
    assert [int(example["index"]) for example in kept.dataset] == [0, 1, 2, 3, 4]


# Labels


@pytest.mark.parametrize("kind", KINDS)
def test_noise_gives_the_same_examples_with_wrong_labels(kind):
    source = make_source(kind)
    noise = LabelNoise(symmetric(3, 0.6, include_true=False), seed=1)
    noisy = source.corrupted(noise)
    assert np.array_equal(noisy.labels, noise.corrupt(LABELS))
    assert np.array_equal(noisy.clean_labels, LABELS)
    assert np.array_equal(noisy.is_noisy, noisy.labels != LABELS)
    assert noisy.realized_rate == noisy.is_noisy.mean() > 0
    assert noisy.ids.tolist() == source.ids.tolist()
    assert source.clean_labels is source.is_noisy is source.realized_rate is None
    assert np.array_equal(source.labels, LABELS)
    batches = training_batches(noisy, 5, num_epochs=1, carry=["index"])
    grays, labels, index = collect(batches)
    assert np.array_equal(grays, GRAYS[index])
    assert np.array_equal(labels, noisy.labels[index])
    read = {int(e["index"]): int(e["label"]) for e in noisy.dataset}
    assert [read[index] for index in range(NUM_EXAMPLES)] == noisy.labels.tolist()


def test_noise_that_looks_at_images_gets_them():
    source, _ = digits()
    noise = InstanceDependentNoise(0.4, num_classes=10)
    expected = noise.corrupt(source.images, source.labels)
    assert np.array_equal(source.corrupted(noise).labels, expected)


def test_noise_comes_upon_right_labels_alone():
    source = make_source("pixels")
    noise = LabelNoise(pair_flip(3, 1.0))
    right = source.relabeled(LABELS, clean_labels=LABELS)
    assert right.corrupted(noise).realized_rate == 1
    with pytest.raises(ValueError, match="'arrays' have noise .* Received: 12 wrong"):
        source.corrupted(noise).corrupted(noise)


def test_other_labels_come_with_what_is_then_known_of_the_truth():
    noisy = make_source("pixels").corrupted(LabelNoise(pair_flip(3, 1.0)))
    assert noisy.relabeled(LABELS).clean_labels is None
    half = np.where(np.arange(NUM_EXAMPLES) < 6, LABELS, noisy.labels)
    assert noisy.relabeled(half, noisy.clean_labels).realized_rate == 0.5


def test_record_has_labels_and_ids():
    noisy = make_source("stream").corrupted(LabelNoise(pair_flip(3, 1.0)))
    record = noisy.record
    assert np.array_equal(record.clean_labels, LABELS)
    assert np.array_equal(record.noisy_labels, noisy.labels)
    assert record.ids.tolist() == noisy.ids.tolist()


@pytest.mark.parametrize(
    "labels, message",
    [
        (LABELS[:-1], "one label for each of the 12 examples of 'arrays'.*: 11 labels"),
        (LABELS + 1, "`labels` must be below 3. Received: 3"),
        (LABELS - 1, "`labels` must be 0 or more. Received: -1"),
        (LABELS + 0.5, "`labels` must hold whole class numbers"),
    ],
)
def test_labels_that_cannot_be_are_refused(labels, message):
    with pytest.raises(ValueError, match=message):
        make_source("pixels").relabeled(labels)
