"""Tests of mixing.py."""

import colorsys

import keras
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

import keras_ncr
from keras_ncr.datasets import from_arrays
from keras_ncr.pipelines.mixing import (
    color_jitter,
    in_sequence,
    mixup,
    random_shift,
    second_view,
)
from keras_ncr.pipelines.pipeline import evaluation_batches, training_batches

RNG = np.random.default_rng(0)
COLORED = RNG.integers(0, 256, (6, 5, 4, 3)).astype("uint8")
GRAY = RNG.integers(0, 256, (6, 5, 4, 1)).astype("uint8")


def pixel_images(num_images):
    """Images of one pixel, which is the number of the image."""
    return np.arange(num_images, dtype="float32")[:, None, None, None]


def mixture(batch_size, seed, alpha=0.5):
    """Owners' weights and partners, read off labels that are one class per row."""
    _, labels = mixup(alpha)(
        pixel_images(batch_size), np.eye(batch_size, dtype="float32"), [seed, 5]
    )
    weights = np.diag(labels)
    partners = np.argmax(labels - np.diag(weights + 1), axis=1)
    return weights, partners


# Mixup


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("batch_size", [2, 3, 7])
def test_mixup_is_its_formula(batch_size, dtype):
    images = RNG.integers(0, 256, (batch_size, 2, 2, 3)).astype(dtype)
    labels = RNG.dirichlet(np.ones(4), batch_size).astype("float32")
    mixed, mixed_labels = mixup()(images, labels, [3, 5])
    weights, partners = mixture(batch_size, seed=3)
    assert mixed.dtype == mixed_labels.dtype == tf.float32
    for i in range(batch_size):
        w, j = float(weights[i]), partners[i]
        expected = w * images[i].astype(float) + (1 - w) * images[j].astype(float)
        assert np.allclose(mixed[i], expected, atol=1e-4)
        assert np.allclose(
            mixed_labels[i], w * labels[i] + (1 - w) * labels[j], atol=1e-6
        )


def test_inputs_may_have_any_rank():
    rows = pixel_images(4)
    expected, _ = mixup()(rows, np.eye(4), [0, 5])
    flat, _ = mixup()(rows[:, :, 0, 0], np.eye(4), [0, 5])
    assert np.array_equal(flat[:, 0], expected[:, 0, 0, 0])


@pytest.mark.parametrize("batch_size", [2, 3, 4, 5, 16])
def test_partners_are_one_circle_through_the_batch(batch_size):
    for seed in range(25):
        _, partners = mixture(batch_size, seed)
        row, visited = 0, []
        for _ in range(batch_size):
            row = partners[row]
            visited.append(row)
        assert sorted(visited) == list(range(batch_size))
        if batch_size > 2:
            assert np.all(partners[partners] != np.arange(batch_size))


def test_every_other_row_is_equally_often_the_partner():
    partners = np.array([mixture(4, seed)[1] for seed in range(150)])
    for row in range(4):
        counts = np.bincount(partners[:, row], minlength=4)
        assert counts[row] == 0
        # 50 each on average, with a standard deviation of 6.
        assert np.all(np.abs(np.delete(counts, row) - 50) < 28)


@pytest.mark.parametrize("alpha", [0.1, 0.5, 1.0, 4.0])
def test_weights_follow_the_folded_beta_distribution(alpha):
    weights = np.concatenate([mixture(1000, seed, alpha)[0] for seed in range(4)])

    def cumulative(weight):
        return 2 * scipy.stats.beta.cdf(weight, alpha, alpha) - 1

    assert len(np.unique(weights[weights < 0.999])) > 1000
    # For a small alpha, float32 knows many weights as 1; the rest has its own law.
    below = weights[weights < 0.999]
    share = scipy.stats.binomtest(len(below), len(weights), cumulative(0.999))
    assert share.pvalue > 1e-3
    fit = scipy.stats.kstest(below, lambda w: cumulative(w) / cumulative(0.999))
    assert fit.pvalue > 1e-3


@pytest.mark.parametrize("alpha", [1e-4, 0.01, 0.1, 1.0, 100.0, 1e6])
def test_weights_are_finite_and_at_least_one_half(alpha):
    weights, _ = mixture(500, 0, alpha)
    assert np.all((weights >= 0.5) & (weights <= 1))


@pytest.mark.parametrize("alpha, weight", [(1e-4, 1.0), (1e6, 0.5)])
def test_extreme_alpha_does_not_mix_or_halves(alpha, weight):
    weights, _ = mixture(500, 0, alpha)
    assert np.mean(np.abs(weights - weight) < 0.01) > 0.98


def test_label_rows_sum_to_one():
    labels = np.eye(10)[RNG.integers(0, 10, 200)]
    for alpha in (0.1, 1.0):
        _, mixed = mixup(alpha)(pixel_images(200), labels, [0, 5])
        assert np.allclose(np.sum(mixed, axis=1), 1, atol=1e-6)
        assert np.all(mixed >= 0)


def test_equal_examples_and_a_batch_of_one_stay_as_they_are():
    one, label = mixup()(COLORED[:1], np.eye(3)[:1], [0, 5])
    assert np.array_equal(one, COLORED[:1])
    assert np.array_equal(label, np.eye(3)[:1])
    same, _ = mixup()(np.repeat(COLORED[:1], 5, axis=0), np.eye(5), [0, 5])
    assert np.array_equal(same, np.repeat(COLORED[:1], 5, axis=0))


def test_what_comes_with_a_label_stays_the_owners():
    targets = {
        "label": np.eye(3, dtype="float32")[[2, 0, 1, 1]],
        "index": np.array([7, 1, 5, 9]),
        "clean_label": np.array([2, 0, 1, 0]),
    }
    _, mixed = mixup()(pixel_images(4), targets, [0, 5])
    assert list(mixed) == ["label", "index", "clean_label"]
    assert np.array_equal(mixed["index"], targets["index"])
    assert np.array_equal(mixed["clean_label"], targets["clean_label"])
    _, labels = mixup()(pixel_images(4), targets["label"], [0, 5])
    assert np.array_equal(mixed["label"], labels)
    assert not np.array_equal(labels, targets["label"])


def test_mixup_asks_for_one_hot_labels():
    message = "one-hot labels.*Received.*one_hot=True.*training_batches"
    with pytest.raises(ValueError, match=message):
        mixup()(pixel_images(2), np.array([0, 1]), [0, 5])
    source = from_arrays(COLORED, np.arange(6) % 3)
    with pytest.raises(ValueError, match=message):
        training_batches(source, 4, batch_augment=mixup())


# Two views


def add(number):
    return lambda images, seed: images + number


@pytest.mark.parametrize("num_examples", [1, 3])
def test_views_are_in_neighboring_rows(num_examples):
    images = pixel_images(num_examples) * 10
    targets = {"label": np.eye(4)[:num_examples], "index": np.arange(num_examples) + 50}
    views, doubled = second_view(add(1), add(2))(images, targets, [0, 5])
    assert views.shape == (2 * num_examples, 1, 1, 1)
    assert np.array_equal(views[0::2], images)
    assert np.array_equal(views[1::2], images + 3)
    for key, value in targets.items():
        assert np.array_equal(doubled[key], np.repeat(value, 2, axis=0))


def test_labels_alone_are_repeated():
    _, labels = second_view(add(1))(pixel_images(3), np.array([4, 0, 2]), [0, 5])
    assert np.array_equal(labels, [4, 4, 0, 0, 2, 2])


def test_both_views_may_change_each_at_random():
    images = np.full((40, 1, 1, 1), 100, "uint8")
    change = color_jitter(contrast=0.0)
    views, _ = second_view(change, keep_first=False)(images, np.zeros(40), [0, 5])
    first, second = np.ravel(views)[0::2], np.ravel(views)[1::2]
    for one, other in [(first, 100), (second, 100), (first, second)]:
        assert np.mean(one != other) > 0.8


def test_changes_have_random_numbers_of_their_own():
    images = np.zeros((200, 1), "float32")

    def draw(images, seed):
        return images + tf.random.stateless_uniform(images.shape, seed) - 0.5

    once, _ = second_view(draw)(images, np.zeros(200), [0, 5])
    twice, _ = second_view(draw, draw)(images, np.zeros(200), [0, 5])
    first = once.numpy()[1::2, 0]
    second = twice.numpy()[1::2, 0] - first
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.3  # 0.07 by chance


@pytest.mark.parametrize(
    "change, received",
    [
        (lambda images, seed: tf.cast(images, tf.float32), "float32 of shape"),
        (lambda images, seed: images[:, :2], r"shape \(6, 2, 4, 3\) from uint8"),
    ],
)
def test_change_of_shape_or_dtype_is_refused(change, received):
    with pytest.raises(ValueError, match=f"must keep the shape and dtype.*{received}"):
        second_view(change)(COLORED, np.zeros(6), [0, 5])


# Changes


def test_strength_zero_changes_nothing():
    for images in (COLORED, GRAY, COLORED.astype("float32")):
        unchanged = color_jitter(0, 0, 0, 0)(images, [0, 5])
        assert unchanged.dtype == images.dtype
        assert np.allclose(unchanged, images, atol=1e-3)
        assert np.array_equal(random_shift(0)(images, [0, 5]), images)


def test_brightness_multiplies_each_image():
    images = RNG.uniform(50, 150, (60, 3, 3, 3)).astype("float32")
    ratio = color_jitter(0.4, 0, 0, 0)(images, [0, 5]) / images
    factors = np.mean(ratio, axis=(1, 2, 3))
    assert np.allclose(ratio, factors[:, None, None, None], atol=1e-3)
    assert 0.6 <= factors.min() < 0.7 and 1.3 < factors.max() <= 1.4


def test_contrast_spreads_each_image_about_its_mean():
    images = RNG.uniform(80, 170, (60, 3, 3, 1)).astype("float32")
    changed = color_jitter(0, 0.4, 0, 0)(images, [0, 5]).numpy()
    means = images.mean(axis=(1, 2), keepdims=True)
    assert np.allclose(changed.mean(axis=(1, 2), keepdims=True), means, atol=1e-2)
    factors = np.std(changed, axis=(1, 2, 3)) / np.std(images, axis=(1, 2, 3))
    spread = means + factors[:, None, None, None] * (images - means)
    assert np.allclose(changed, spread, atol=1e-2)
    assert 0.6 <= factors.min() < 0.7 and 1.3 < factors.max() <= 1.4


def hue_saturation_value(images):
    pixels = np.reshape(images, (len(images), -1, 3)) / 255
    return np.array([[colorsys.rgb_to_hsv(*pixel) for pixel in row] for row in pixels])


def test_hue_turns_and_saturation_scales_each_image():
    images = RNG.uniform(0, 255, (60, 2, 2, 3)).astype("float32")
    before = hue_saturation_value(images)
    after = hue_saturation_value(color_jitter(0, 0, 0.4, 0.1)(images, [0, 5]))
    turns = (after[..., 0] - before[..., 0] + 0.5) % 1 - 0.5
    assert np.allclose(turns, turns[:, :1], atol=1e-3)
    assert -0.1 <= turns.min() < -0.07 and 0.07 < turns.max() < 0.101
    # The least colorful pixel shows the factor: it is the last to be cut off at 1.
    ratio = after[..., 1] / before[..., 1]
    factors = np.take_along_axis(
        ratio, np.argmin(before[..., 1], axis=1)[:, None], axis=1
    )
    assert np.allclose(
        after[..., 1], np.minimum(before[..., 1] * factors, 1), atol=1e-3
    )
    assert 0.599 <= factors.min() < 0.7 and 1.3 < factors.max() <= 1.401
    assert np.allclose(after[..., 2], before[..., 2], atol=1e-3)


def test_jitter_stays_within_the_range_of_pixels():
    extreme = np.array([[[[0, 255, 255]], [[255, 0, 0]]]] * 50, "uint8")
    jitter = color_jitter(1, 1, 1, 0.5)
    floats = jitter(extreme.astype("float32"), [0, 5])
    assert np.min(floats) >= 0 and np.max(floats) <= 255
    assert np.array_equal(jitter(extreme, [0, 5]), np.round(floats))


def jittered_one_by_one(images, seed, strengths):
    """The same changes by the functions of `tf.image`, which take one image each."""
    brightness, contrast, saturation, hue = strengths
    results = []
    for number, image in enumerate(images):
        seeds = tf.unstack(tf.random.split(tf.random.fold_in(seed, number), num=4))
        factor = tf.random.stateless_uniform([], seeds[0], minval=-1.0, maxval=1.0)
        pixels = tf.cast(image, tf.float32) / 255 * (1 + brightness * factor)
        pixels = tf.image.stateless_random_contrast(
            pixels, 1 - contrast, 1 + contrast, seeds[1]
        )
        pixels = tf.clip_by_value(pixels, 0.0, 1.0)
        if image.shape[-1] == 3:
            pixels = tf.image.stateless_random_saturation(
                pixels, 1 - saturation, 1 + saturation, seeds[2]
            )
            pixels = tf.image.stateless_random_hue(pixels, hue, seeds[3])
        results.append(255 * pixels)
    return np.stack(results)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("height", [6, 1300])  # the second one by one
def test_jitter_of_a_batch_is_that_of_tf_image(height, channels):
    images = RNG.integers(0, 256, (12, height, 4, channels)).astype("float32")
    strengths = (0.4, 0.3, 0.5, 0.1)
    expected = jittered_one_by_one(images, [3, 5], strengths)
    actual = color_jitter(*strengths)(images, [3, 5])
    np.testing.assert_allclose(actual, expected, atol=0.02)
    rounded = color_jitter(*strengths)(images.astype("uint8"), [3, 5])
    assert np.max(np.abs(np.asarray(rounded, float) - expected)) < 0.52


@pytest.mark.parametrize("pixels", [1, 3])
def test_shift_is_a_crop_of_the_padded_image(pixels):
    images = RNG.integers(1, 256, (200, 6, 5, 2)).astype("uint8")
    shifted = random_shift(pixels)(images, [0, 5])
    assert shifted.dtype == images.dtype
    places = set()
    for image, result in zip(images, shifted.numpy(), strict=True):
        padded = np.pad(image, [(pixels, pixels), (pixels, pixels), (0, 0)])
        windows = {
            (row, column): padded[row : row + 6, column : column + 5]
            for row in range(2 * pixels + 1)
            for column in range(2 * pixels + 1)
        }
        found = [key for key, part in windows.items() if np.array_equal(part, result)]
        assert len(found) == 1
        places.update(found)
    assert len(places) > 0.9 * (2 * pixels + 1) ** 2


# All of them


AUGMENTS = {
    "mixup": mixup(),
    "jitter": second_view(color_jitter()),
    "shift": second_view(random_shift(2), keep_first=False),
    "all": in_sequence(second_view(color_jitter(), random_shift(1)), mixup()),
}


@pytest.mark.parametrize("name", AUGMENTS)
def test_seed_decides(name):
    def augmented(seed):
        images, labels = AUGMENTS[name](COLORED, np.eye(6), seed)
        return np.concatenate([np.ravel(images), np.ravel(labels)])

    assert np.array_equal(augmented([0, 5]), augmented([0, 5]))
    keras.utils.set_random_seed(3)
    assert np.array_equal(augmented([0, 5]), augmented([0, 5]))
    assert not np.array_equal(augmented([0, 5]), augmented([0, 6]))
    assert not np.array_equal(augmented([0, 5]), augmented([1, 5]))


def test_sequence_applies_one_after_the_other():
    def note(number):
        return lambda images, targets, seed: (10 * images + number, targets + [seed])

    images, seeds = in_sequence(note(1), note(2))(tf.zeros([1]), [], [0, 5])
    assert images == 12
    assert not np.array_equal(seeds[0], seeds[1])


def test_mixup_after_views_mixes_all_of_them():
    # Views that are unit vectors: a mixture holds its weights and tells its partner.
    first_views, labels = np.eye(8)[0::2], np.eye(4)
    next_unit = second_view(lambda images, seed: tf.roll(images, 1, axis=1))
    augment = in_sequence(next_unit, mixup())
    twins = 0
    for seed in range(30):
        mixed, mixed_labels = augment(first_views, labels, [seed, 5])
        weights = np.diag(mixed)
        partners = np.argmax(mixed - np.diag(weights + 1), axis=1)
        assert np.all(weights >= 0.5)
        assert sorted(partners) == list(range(8))
        assert np.allclose(mixed_labels, mixed @ np.repeat(labels, 2, axis=0))
        twins += np.sum(partners == np.arange(8) ^ 1)
    # One row in seven: 34 of 240 on average, with a standard deviation of 6 or so.
    assert 10 <= twins <= 58


@pytest.mark.parametrize("name, num_views", [("mixup", 1), ("all", 2)])
@pytest.mark.parametrize("drop_remainder", [False, True])
def test_pipeline_knows_the_shape(name, num_views, drop_remainder):
    batches = training_batches(
        from_arrays(COLORED, np.arange(6) % 3),
        4,
        one_hot=True,
        carry=["index"],
        batch_augment=AUGMENTS[name],
        num_epochs=1,
        drop_remainder=drop_remainder,
    )
    size = 4 * num_views if drop_remainder else None
    images, targets = batches.element_spec
    assert images.shape.as_list() == [size, 5, 4, 3]
    assert targets["label"].shape.as_list() == [size, 3]
    assert targets["index"].shape.as_list() == [size]
    num_examples = [4] if drop_remainder else [4, 2]
    assert [len(rows) // num_views for rows, _ in batches] == num_examples


def test_resumed_run_sees_the_same_mixtures():
    def batches(first_epoch):
        return training_batches(
            from_arrays(COLORED, np.arange(6) % 3),
            4,
            one_hot=True,
            carry=["clean_label", "index"],
            batch_augment=AUGMENTS["all"],
            first_epoch=first_epoch,
            num_epochs=3,
        ).as_numpy_iterator()

    whole, resumed = list(batches(0)), list(batches(2))
    assert len(resumed) == 2
    for (images, targets), (again, targets_again) in zip(
        whole[4:], resumed, strict=True
    ):
        assert np.array_equal(images, again)
        for key in ("label", "clean_label", "index"):
            assert np.array_equal(targets[key], targets_again[key])
    assert not np.array_equal(whole[0][0], whole[2][0])


def test_replicas_keep_the_views_of_an_example_together(two_replicas):
    batches = training_batches(
        from_arrays(COLORED, np.arange(6) % 3),
        4,
        carry=["index"],
        batch_augment=second_view(add(1)),
        num_epochs=1,
    )
    sizes = []
    for _, targets in two_replicas.experimental_distribute_dataset(batches):
        for part in two_replicas.experimental_local_results(targets["index"]):
            assert np.array_equal(part[0::2], part[1::2])
            sizes.append(len(part))
    assert sizes == [4, 4, 2, 2]


@pytest.mark.slow
def test_ncr_trains_on_mixtures_and_views():
    source = from_arrays(COLORED, np.arange(6) % 3)
    options = dict(one_hot=True, carry=["index"])
    model = keras_ncr.NCRModel(keras.Sequential([keras.layers.Flatten()]), 3)
    model.compile(
        keras.optimizers.SGD(1e-5),
        keras.losses.CategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        run_eagerly=True,
    )
    batches = training_batches(source, 4, batch_augment=AUGMENTS["all"], **options)
    history = model.fit(
        batches,
        steps_per_epoch=2,
        epochs=1,
        validation_data=evaluation_batches(source, 4, **options),
        verbose=0,
    ).history
    assert model.optimizer.iterations == 2
    assert {"loss", "accuracy", "val_loss", "val_accuracy"} <= set(history)
    assert np.all(np.isfinite(np.ravel(list(history.values()))))


# Errors


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: mixup(0), "`alpha` must be a positive, finite number.*alpha=0"),
        (lambda: mixup("1"), "`alpha` must be a positive"),
        (lambda: color_jitter(brightness=1.5), "`brightness` must be .*=1.5"),
        (lambda: color_jitter(contrast=-1), "`contrast` must be .*contrast=-1"),
        (lambda: color_jitter(saturation=np.nan), "`saturation` must be .*=nan"),
        (lambda: color_jitter(hue=0.6), "`hue` must be at most 0.5.*hue=0.6"),
        (lambda: random_shift(-1), "`pixels` must be an integer of at least 0"),
        (lambda: random_shift(1.5), "`pixels` must be an integer.*pixels=1.5"),
        (lambda: second_view(), "`changes` must be one or more .*Received: none"),
        (lambda: second_view(mixup()), r"`changes` must be .*\(images, seed\)"),
        (lambda: second_view(3), "`changes` must be .*Received: 3"),
        (lambda: second_view(keras.layers.RandomHue(0.1)), "`changes` must be"),
        (lambda: second_view(color_jitter(), keep_first=1), "`keep_first` must be"),
        (lambda: in_sequence(), "`batch_augments` must be .*Received: none"),
        (lambda: in_sequence(mixup(), random_shift(1)), "images, targets, seed"),
    ],
)
def test_bad_argument_is_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
