"""Views that are cropped each on its own, and their place in a batch."""

import numpy as np
import tensorflow as tf

from keras_ncr.datasets import from_arrays
from keras_ncr.pipelines import (
    crop_and_flip,
    cutout,
    one_after_another,
    training_batches,
    views_in_rows,
    views_of,
)

IMAGES = np.random.default_rng(0).integers(1, 256, (20, 8, 8, 3)).astype("uint8")


def batches_of(augment, **options):
    source = from_arrays(IMAGES, np.arange(20) % 4)
    return training_batches(
        source,
        8,
        augment=augment,
        batch_augment=views_in_rows(),
        num_epochs=2,
        carry=["index"],
        **options,
    )


def test_views_are_independent_crops_of_the_image_itself():
    crop = crop_and_flip(4)
    views = views_of(crop, crop)
    is_same = []
    for number in range(20):
        seed = tf.constant([number, 3])
        first, second = views(IMAGES[0], seed).numpy()
        seeds = tf.unstack(tf.random.split(seed, num=2))
        np.testing.assert_array_equal(first, crop(IMAGES[0], seeds[0]))
        np.testing.assert_array_equal(second, crop(IMAGES[0], seeds[1]))
        is_same.append(np.array_equal(first, second))
    assert not any(is_same)


def test_batches_hold_views_in_neighboring_rows_with_their_targets():
    crop = crop_and_flip(2)
    batches = list(batches_of(views_of(lambda image, seed: image, crop)))
    assert len(batches) == 6
    for images, targets in batches:
        index = targets["index"].numpy()
        np.testing.assert_array_equal(index[::2], index[1::2])
        np.testing.assert_array_equal(targets["label"], index % 4)
        np.testing.assert_array_equal(images[::2], IMAGES[index[::2]])
        assert images.shape == (len(index), 8, 8, 3)


def test_a_resumed_run_sees_the_same_views():
    augment = views_of(crop_and_flip(2), one_after_another(crop_and_flip(2), cutout(4)))
    whole = [images for images, _ in batches_of(augment, seed=5)]
    rest = [images for images, _ in batches_of(augment, seed=5, first_epoch=1)]
    assert len(rest) == 3
    for one, other in zip(whole[3:], rest, strict=True):
        np.testing.assert_array_equal(one, other)
    assert not np.array_equal(whole[0], whole[3])


def test_augmentations_follow_each_other_by_numbers_of_their_own():
    def noted(image, seed):
        return tf.concat([image, seed[None]], axis=0)

    start = tf.zeros([0, 2], "int32")
    both = one_after_another(noted, noted)(start, tf.constant([1, 2])).numpy()
    assert len(both) == 2 and not np.array_equal(both[0], both[1])
    assert one_after_another(noted) is noted
