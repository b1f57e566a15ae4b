"""Tests of datasets/split.py."""

import numpy as np
import pytest

from keras_ncr.datasets import from_arrays, hold_out


def source_of(labels, num_classes=None):
    """A source whose ids are the positions times ten."""
    images = np.zeros((len(labels), 1, 1, 1), "uint8")
    return from_arrays(images, labels, num_classes, ids=10 * np.arange(len(labels)))


def counts(source):
    return np.bincount(source.labels, minlength=source.num_classes).tolist()


def test_parts_are_the_whole_and_share_nothing():
    whole = source_of(np.arange(90) % 3)
    train, test = hold_out(whole, 0.2)
    assert sorted([*train.ids, *test.ids]) == whole.ids.tolist()
    assert counts(train) == [24, 24, 24]
    assert counts(test) == [6, 6, 6]
    for part in (train, test):
        assert np.all(np.diff(part.ids) > 0)
        assert np.array_equal(part.labels, part.ids // 10 % 3)
    assert (train.name, test.name) == ("arrays/train", "arrays/test")


def test_seed_alone_decides():
    whole = source_of(np.arange(90) % 3)
    first, again, other = (hold_out(whole, 0.2, seed)[1].ids for seed in (0, 0, 1))
    np.random.seed(5)
    assert np.array_equal(first, again)
    assert np.array_equal(first, hold_out(whole, 0.2)[1].ids)
    assert not np.array_equal(first, other)


def test_every_example_is_held_out_about_equally_often():
    whole = source_of(np.repeat([0, 1], 5))
    held_out = np.zeros(10)
    for seed in range(25):
        held_out[hold_out(whole, 0.4, seed)[1].ids // 10] += 1
    assert held_out.sum() == 25 * 4
    # Binomial of 25 draws at 0.4: 10 with a standard deviation of 2.4.
    assert np.all(np.abs(held_out - 10) < 8)


@pytest.mark.parametrize("fraction", [0.01, 0.1, 1 / 3, 0.5, 0.9, 0.99])
def test_counts_are_rounded_and_leave_one_for_training(fraction):
    sizes = np.array([1, 2, 3, 7, 50, 1, 400])
    train, test = hold_out(source_of(np.repeat(np.arange(7), sizes)), fraction)
    held_out = np.array(counts(test))
    assert np.all(np.array(counts(train)) >= 1)
    assert np.all(held_out[sizes == 1] == 0)
    assert np.all(held_out <= np.ceil(fraction * sizes))
    assert np.all(held_out >= np.minimum(np.floor(fraction * sizes), sizes - 1))


def test_many_small_classes_are_not_rounded_away():
    train, test = hold_out(source_of(np.arange(6000) % 2000), 0.1)
    assert test.num_examples == 600
    assert set(counts(test)) == {0, 1}
    assert test.num_classes == train.num_classes == 2000


def test_classes_without_examples_stay_classes():
    train, test = hold_out(source_of([0, 0, 2, 2, 2, 2], num_classes=4), 0.5)
    assert counts(train) == [1, 0, 2, 0]
    assert counts(test) == [1, 0, 2, 0]


@pytest.mark.parametrize(
    "labels, arguments, message",
    [
        ([0, 0, 1, 1], dict(fraction=1), "below 1 .* Received: fraction=1.0"),
        ([0, 0, 1, 1], dict(fraction=0), "at least one example. Received: fraction=0"),
        (
            [0, 0, 1, 1],
            dict(fraction=0.01),
            "fraction=0.01, of 4 examples in 2 classes",
        ),
        ([0, 1, 2], dict(fraction=0.5), "of 3 examples in 3 classes"),
        ([0, 0, 1, 1], dict(fraction=20), "`fraction` must be a number from 0 to 1"),
        ([0, 0, 1, 1], dict(fraction=0.5, seed=-1), "`seed` must be .* at least 0"),
        ([0, 0, 1, 1], dict(fraction=0.5, seed=0.5), "`seed` must be an integer"),
    ],
)
def test_wrong_arguments_are_refused(labels, arguments, message):
    with pytest.raises(ValueError, match=message):
        hold_out(source_of(labels), **arguments)
