"""Tests of sampling.py, and of the epochs that pipelines.py makes with it."""

import numpy as np
import pytest
import tensorflow as tf

from keras_ncr.datasets import from_arrays
from keras_ncr.pipelines.pipeline import training_batches
from keras_ncr.pipelines.sampling import balanced_counts, epoch_sampler

# Classes of 10, 4, 30 and 6 examples, mixed.
LABELS = np.random.RandomState(0).permutation(np.repeat([0, 1, 2, 3], [10, 4, 30, 6]))


def drawn(seed=0, **options):
    return epoch_sampler(LABELS, 4, **options)([seed, 5]).numpy()


def test_an_epoch_is_a_permutation():
    assert sorted(drawn()) == list(range(50))
    assert drawn().dtype == np.int64


@pytest.mark.parametrize("size", [1, 17, 49])
@pytest.mark.parametrize("balanced", [False, True])
def test_a_part_has_no_example_twice(size, balanced):
    indices = drawn(size=size, balanced=balanced)
    assert len(indices) == len(set(indices)) == size


@pytest.mark.parametrize("options", [{}, {"size": 20}, {"size": 20, "balanced": True}])
def test_seed_decides(options):
    assert np.array_equal(drawn(0, **options), drawn(0, **options))
    assert not np.array_equal(drawn(0, **options), drawn(1, **options))


@pytest.mark.parametrize("options", [{"size": 20}, {"size": 20, "balanced": True}])
def test_every_example_has_its_turn(options):
    seen = np.concatenate([drawn(seed, **options) for seed in range(60)])
    assert set(seen) == set(range(50))


@pytest.mark.parametrize(
    "size, expected",
    [
        (4, [1, 1, 1, 1]),
        (16, [4, 4, 4, 4]),
        (22, [6, 4, 6, 6]),
        (30, [10, 4, 10, 6]),
        (40, [10, 4, 20, 6]),
    ],
)
def test_classes_are_drawn_as_evenly_as_they_can_be(size, expected):
    indices = drawn(size=size, balanced=True)
    assert np.bincount(LABELS[indices], minlength=4).tolist() == expected


def test_balanced_draw_is_mixed_and_not_class_by_class():
    classes = LABELS[drawn(size=24, balanced=True)]
    assert np.any(np.diff(classes) < 0) and np.any(np.diff(classes) > 0)


def test_within_a_class_the_draw_is_uniform():
    draws = [drawn(seed, size=16, balanced=True) for seed in range(400)]
    times = np.bincount(np.concatenate(draws), minlength=50)[LABELS == 2]
    # Four of thirty each time: 53.3 expected, standard deviation 6.8.
    assert times.min() > 53.3 - 4 * 6.8 and times.max() < 53.3 + 4 * 6.8


def one_more_at_a_time(counts, size):
    """The slow way: each class in turn gives one more, as long as it has one."""
    given = np.zeros_like(counts)
    while given.sum() < size:
        for label in range(len(counts)):
            if given[label] < counts[label] and given.sum() < size:
                given[label] += 1
    return given


@pytest.mark.parametrize(
    "counts", [[1], [5, 5], [0, 3, 9], [1, 2, 3, 4], [7, 0, 0, 1], [100, 1, 50, 2, 2]]
)
def test_counts_are_those_of_giving_in_turn(counts):
    counts = np.array(counts)
    for size in range(1, counts.sum() + 1):
        expected = one_more_at_a_time(counts, size)
        assert np.array_equal(balanced_counts(counts, size), expected)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"size": 0}, "`size` must be an integer of at least 1"),
        ({"size": 51}, "at most the 50 examples.*Received: 51.*fewer steps"),
        ({"balanced": True}, "`balanced` needs an epoch of fewer examples"),
        ({"size": 50, "balanced": True}, "`balanced` needs .*size=50"),
        ({"size": 5, "balanced": "yes"}, "`balanced` must be True or False"),
    ],
)
def test_what_cannot_be_drawn_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        epoch_sampler(LABELS, 4, **options)


def source():
    images = np.arange(50, dtype="uint8")[:, None, None, None]
    return from_arrays(images, LABELS)


def epochs_of(num_epochs, **options):
    """Indices and labels of each epoch that the pipeline makes."""
    batches = training_batches(
        source(), 8, num_epochs=num_epochs, carry=["index"], **options
    )
    images, targets = zip(*batches.as_numpy_iterator(), strict=True)
    indices = np.concatenate([target["index"] for target in targets])
    labels = np.concatenate([target["label"] for target in targets])
    assert np.array_equal(np.concatenate(images).ravel(), indices)
    assert np.array_equal(labels, LABELS[indices])
    return indices.reshape(num_epochs, -1)


@pytest.mark.parametrize("cache", [True, False])
@pytest.mark.parametrize("balanced", [False, True])
def test_pipeline_draws_each_epoch_anew(cache, balanced):
    options = dict(cache=cache, examples_per_epoch=20, balanced=balanced)
    epochs = epochs_of(3, **options)
    assert epochs.shape == (3, 20)
    assert len({tuple(sorted(epoch)) for epoch in epochs}) == 3
    if balanced:
        expected = balanced_counts(np.bincount(LABELS), 20)
        assert all(
            np.array_equal(np.bincount(LABELS[epoch]), expected) for epoch in epochs
        )
    # A run that resumes draws what it would have drawn.
    assert np.array_equal(epochs_of(1, **options), epochs[:1])


def test_stream_and_memory_draw_the_same_examples():
    memory, stream = (
        epochs_of(2, cache=cache, examples_per_epoch=20) for cache in (True, False)
    )
    assert np.array_equal(np.sort(memory), np.sort(stream))


def test_number_of_batches_is_that_of_the_part():
    batches = training_batches(source(), 8, num_epochs=3, examples_per_epoch=20)
    assert batches.cardinality() == 9


def test_balance_is_by_the_labels_that_training_sees():
    noisy = np.where(np.arange(50) < 40, 0, 1)
    batches = training_batches(
        source().relabeled(noisy), 8, examples_per_epoch=16, balanced=True, num_epochs=1
    )
    labels = np.concatenate([labels for _, labels in batches.as_numpy_iterator()])
    assert np.bincount(labels).tolist() == [8, 8]


def test_stream_does_not_decode_what_it_does_not_draw():
    decoded = []

    def note(image, seed):
        tf.py_function(lambda: decoded.append(1), [], [])
        return image

    batches = training_batches(
        source(), 8, augment=note, cache=False, examples_per_epoch=10, num_epochs=1
    )
    assert sum(len(labels) for _, labels in batches) == 10
    assert len(decoded) == 10
