"""Tests of pipelines.py."""

import os
import subprocess
import sys
import time
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from model_harness import few

from keras_ncr.datasets import Source, digits, from_arrays, from_tfds
from keras_ncr.pipelines.augmentation import crop_and_flip
from keras_ncr.pipelines.pipeline import (
    evaluation_batches,
    steps_per_epoch,
    training_batches,
)

NUM_EXAMPLES = 50


def small_source(num_examples=NUM_EXAMPLES):
    """Images whose every pixel is the index, labels that are the index modulo 5."""
    index = np.arange(num_examples)
    images = np.broadcast_to(
        index[:, None, None, None].astype("uint8"), (num_examples, 6, 6, 1)
    )
    return from_arrays(images, index % 5)


def collect(batches):
    """Images, labels and indices of all batches, one array each."""
    images, targets = zip(*batches.as_numpy_iterator(), strict=True)
    return (
        np.concatenate(images),
        np.concatenate([target["label"] for target in targets]),
        np.concatenate([target["index"] for target in targets]),
    )


def indices(**options):
    """The order in which examples of the small source come."""
    batches = training_batches(small_source(), 8, carry=["index"], **options)
    return collect(batches)[2]


@pytest.mark.parametrize("cache", [True, False])
@pytest.mark.parametrize("augment", [None, crop_and_flip(1)])
def test_each_epoch_holds_every_example_once(cache, augment):
    order = indices(num_epochs=3, cache=cache, augment=augment)
    epochs = order.reshape(3, NUM_EXAMPLES)
    assert np.array_equal(np.sort(epochs, axis=1), np.tile(np.arange(50), (3, 1)))


@pytest.mark.parametrize("cache", [True, False])
def test_order_differs_between_epochs_and_between_seeds(cache):
    first, second = indices(num_epochs=2, cache=cache).reshape(2, NUM_EXAMPLES)
    other_seed = indices(num_epochs=1, cache=cache, seed=1)
    # 50 examples in independent orders agree at one place on average.
    for one, other in [(first, second), (first, other_seed), (first, np.arange(50))]:
        assert np.sum(one == other) < 10


@pytest.mark.parametrize("global_seed", few(1, of=[0, 1, 2]))
@pytest.mark.parametrize("cache", [True, False])
def test_order_does_not_depend_on_the_global_seed(cache, global_seed):
    expected = indices(num_epochs=2, cache=cache)
    keras.utils.set_random_seed(global_seed)
    before = tf.random.uniform([4]).numpy()
    keras.utils.set_random_seed(global_seed)
    assert np.array_equal(indices(num_epochs=2, cache=cache), expected)
    assert np.array_equal(tf.random.uniform([4]), before)  # nor is it changed


@pytest.mark.parametrize(
    "read",
    [
        {"cache": True},
        {"cache": False, "shuffle_buffer": 20},
        pytest.param({"augment": None}, marks=pytest.mark.slow),
    ],
)
def test_resumed_run_sees_the_tail_of_the_uninterrupted_one(read):
    options = {
        "augment": crop_and_flip(2),
        "batch_augment": add_noise,
        "carry": ["index"],
        "num_epochs": 5,
        **read,
    }
    whole = list(training_batches(small_source(), 8, **options).as_numpy_iterator())
    for epoch, step in [(3, 0), (3, 2), (0, 7)]:
        start = {"first_epoch": epoch, "first_step": step}
        resumed = training_batches(small_source(), 8, **start, **options)
        assert len(resumed) == len(whole) - 7 * epoch - step
        for (images, targets), (expected_images, expected_targets) in zip(
            resumed.as_numpy_iterator(), whole[7 * epoch + step :], strict=True
        ):
            assert np.array_equal(images, expected_images)
            assert np.array_equal(targets["index"], expected_targets["index"])


@pytest.mark.parametrize("cache", [True, False])
def test_steps_that_are_left_out_change_no_image(cache):
    calls = []

    def count(image, seed):
        calls.append(1)
        return image

    def augment(image, seed):
        changed = tf.numpy_function(count, [image, seed], tf.uint8)
        return tf.ensure_shape(changed, image.shape)

    batches = training_batches(
        small_source(), 8, augment=augment, cache=cache, first_step=5, num_epochs=1
    )
    assert [len(labels) for _, labels in batches] == [8, 2]
    assert len(calls) == 10


def test_images_change_from_epoch_to_epoch_and_not_from_run_to_run():
    def augmented(**options):
        images, _, index = collect(
            training_batches(
                small_source(), 8, augment=crop_and_flip(2), carry=["index"], **options
            )
        )
        return images[np.argsort(index, kind="stable")]

    once = augmented(num_epochs=1)
    again = augmented(num_epochs=1)
    second_epoch = augmented(first_epoch=1, num_epochs=2)
    other_seed = augmented(num_epochs=1, seed=1)
    assert np.array_equal(once, again)
    changed = [
        np.mean(np.any(once != other, axis=(1, 2, 3)))
        for other in (second_epoch, other_seed)
    ]
    # 25 places for the crop and constant images: few coincide.
    assert min(changed) > 0.8


def test_augmentation_of_an_image_does_not_depend_on_order_or_batch_size():
    def augmented(**options):
        batches = training_batches(
            small_source(),
            augment=crop_and_flip(2),
            carry=["index"],
            num_epochs=1,
            **options,
        )
        images, _, index = collect(batches)
        return images[np.argsort(index)]

    expected = augmented(batch_size=8)
    assert np.array_equal(augmented(batch_size=13), expected)
    streamed = augmented(batch_size=8, cache=False, shuffle_buffer=3)
    assert np.array_equal(streamed, expected)


@pytest.mark.parametrize("cache", [True, False])
def test_whole_batches_are_the_same_as_image_by_image(cache):
    images = np.random.default_rng(0).integers(0, 256, (50, 6, 6, 3))
    source, augment = from_arrays(images, np.arange(50) % 5), crop_and_flip(2)
    options = dict(num_epochs=2, first_step=2, carry=["index"], cache=cache)

    def one_by_one(image, seed):
        return augment(image, seed)

    for actual, expected in zip(
        collect(training_batches(source, 8, augment=augment, **options)),
        collect(training_batches(source, 8, augment=one_by_one, **options)),
        strict=True,
    ):
        assert np.array_equal(actual, expected)


def test_large_images_are_changed_one_by_one():
    source = from_arrays(np.zeros((2, 65, 64, 1), "uint8"), [0, 1])
    augment = crop_and_flip(2)
    augment.apply = None  # would fail
    batches = training_batches(source, 2, augment=augment, num_epochs=1)
    assert [images.shape for images, _ in batches] == [(2, 65, 64, 1)]


FINGERPRINT = """
import hashlib
import numpy as np
from keras_ncr.pipelines.augmentation import crop_and_flip
from keras_ncr.datasets import from_arrays
from keras_ncr.pipelines.pipeline import training_batches

def fingerprint(cache):
    content = hashlib.sha256()
    images = np.arange(90 * 48).reshape(90, 4, 4, 3) % 256
    batches = training_batches(from_arrays(images, np.arange(90) % 3), 20,
                               augment=crop_and_flip(1), carry=["index"], cache=cache,
                               seed=3, first_epoch=2, num_epochs=4)
    for images, targets in batches.as_numpy_iterator():
        content.update(images.tobytes() + targets["index"].tobytes())
    return content.hexdigest()
"""


@pytest.mark.slow
def test_another_process_sees_the_same_batches():
    script = FINGERPRINT + "print(fingerprint(True), fingerprint(False))"
    output = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    namespace = {}
    exec(FINGERPRINT, namespace)
    expected = [namespace["fingerprint"](True), namespace["fingerprint"](False)]
    assert output.split() == expected
    assert expected[0] != expected[1]  # streamed images come in another order


@pytest.mark.parametrize("cache", [True, False])
def test_labels_follow_the_index_in_every_epoch(cache):
    source = small_source()
    noisy_labels = np.random.default_rng(0).integers(0, 5, NUM_EXAMPLES)
    batches = training_batches(
        source.relabeled(noisy_labels, clean_labels=source.labels),
        8,
        augment=crop_and_flip(0),
        num_epochs=3,
        carry=["clean_label", "index"],
        cache=cache,
    )
    for images, targets in batches.as_numpy_iterator():
        index = targets["index"]
        assert np.array_equal(targets["label"], noisy_labels[index])
        assert np.array_equal(targets["clean_label"], index % 5)
        assert np.array_equal(images[:, 0, 0, 0], index)


def test_labels_of_a_source_stay_as_they_are():
    source = small_source()
    source.relabeled(np.zeros(NUM_EXAMPLES, int))
    labels = np.concatenate([label for _, label in evaluation_batches(source, 8)])
    assert np.array_equal(labels, np.arange(NUM_EXAMPLES) % 5)
    with pytest.raises(ValueError, match="read-only"):
        source.labels[0] = 1


@pytest.mark.parametrize("cache", [True, False])
def test_evaluation_is_one_pass_in_the_order_of_the_index(cache):
    batches = evaluation_batches(small_source(), 8, carry=["index"], cache=cache)
    for _ in range(2):
        images, labels, index = collect(batches)
        assert np.array_equal(index, np.arange(NUM_EXAMPLES))
        assert np.array_equal(images[:, 5, 5, 0], index)
        assert np.array_equal(labels, index % 5)
    assert len(batches) == 7


def counting_source(num_examples=20):
    """A source that counts how often an image was read, and gives them backward."""
    reads = []

    def generate():
        for index in reversed(range(num_examples)):
            reads.append(index)
            yield {
                "inputs": np.full((2, 2, 1), index),
                "label": index % 2,
                "index": index,
            }

    dataset = tf.data.Dataset.from_generator(
        generate,
        output_signature={
            "inputs": tf.TensorSpec((2, 2, 1), tf.uint8),
            "label": tf.TensorSpec((), tf.int64),
            "index": tf.TensorSpec((), tf.int64),
        },
    )
    source = Source(
        name="counted",
        dataset=dataset,
        labels=np.arange(num_examples) % 2,
        ids=np.arange(num_examples),
        num_classes=2,
        class_names=("even", "odd"),
        image_shape=(2, 2, 1),
    )
    return source, reads


def test_images_in_memory_are_read_once_for_all_epochs_and_pipelines():
    source, reads = counting_source()
    for _ in range(2):
        list(training_batches(source, 8, num_epochs=3))
    images, _, index = collect(evaluation_batches(source, 8, carry=["index"]))
    assert len(reads) == 20
    assert np.array_equal(images[:, 0, 0, 0], np.arange(20))
    assert np.array_equal(index, np.arange(20))


def test_images_not_in_memory_are_read_once_an_epoch():
    source, reads = counting_source()
    list(training_batches(source, 8, num_epochs=3, cache=False))
    assert len(reads) == 60


def test_small_shuffle_buffer_shuffles_only_nearby():
    order = indices(num_epochs=1, cache=False, shuffle_buffer=4)
    # The example at a place was among the first place + 4 that were read.
    assert np.all(order < np.arange(NUM_EXAMPLES) + 4)
    assert not np.array_equal(order, np.arange(NUM_EXAMPLES))


def test_images_of_different_sizes_are_streamed():
    sizes = [4, 5, 6, 7]

    def generate():
        for index, size in enumerate(sizes):
            image = np.full((size, size, 1), index)
            yield {"inputs": image, "label": index % 2, "index": index}

    spec = small_source().dataset.element_spec
    spec["inputs"] = tf.TensorSpec((None, None, 1), tf.uint8)
    source = Source(
        name="mixed sizes",
        dataset=tf.data.Dataset.from_generator(generate, output_signature=spec),
        labels=np.array([0, 1, 0, 1]),
        ids=np.arange(4),
        num_classes=2,
        class_names=("even", "odd"),
        image_shape=(None, None, 1),
    )

    def crop(image, seed):
        return tf.image.stateless_random_crop(image, (4, 4, 1), seed)

    batches = training_batches(source, 4, augment=crop, num_epochs=1, cache=False)
    images, labels = next(iter(batches))
    assert images.shape == (4, 4, 4, 1)
    assert np.array_equal(images[:, 0, 0, 0] % 2, labels)
    with pytest.raises(ValueError, match="differ in size.*cache=False"):
        training_batches(source, 4, augment=crop)
    for make, remedy in (
        (training_batches, "augment=.*random_resized_crop"),
        (evaluation_batches, "prepare=.*central_crop"),
    ):
        with pytest.raises(ValueError, match=f"differ in size.*{remedy}"):
            make(source, 4, cache=False)


def test_element_is_a_pair_with_uint8_images():
    images, labels = training_batches(small_source(), 8).element_spec
    assert (images.dtype, labels.dtype) == (tf.uint8, tf.int64)
    assert images.shape.as_list() == [None, 6, 6, 1]
    images, labels = training_batches(
        small_source(), 8, drop_remainder=True, augment=crop_and_flip(1)
    ).element_spec
    assert images.shape.as_list() == [8, 6, 6, 1]


@pytest.mark.parametrize(
    "carry", [["clean_label"], ["index"], ["clean_label", "index"]]
)
def test_target_holds_the_label_and_what_is_carried(carry):
    _, target = training_batches(small_source(), 8, carry=carry).element_spec
    assert set(target) == {"label", *carry}


@pytest.mark.parametrize("make", [training_batches, evaluation_batches])
@pytest.mark.parametrize("cache", few(True, of=[True, False]))
def test_labels_may_be_one_hot(make, cache):
    noisy_labels = np.random.default_rng(0).integers(0, 5, NUM_EXAMPLES)
    source = small_source()
    source = source.relabeled(noisy_labels, clean_labels=source.labels)
    options = dict(one_hot=True, cache=cache)
    if make is training_batches:
        options.update(num_epochs=2)
    batches = make(source, 8, carry=["clean_label", "index"], **options)
    for _, targets in batches.as_numpy_iterator():
        expected = np.eye(5)[noisy_labels[targets["index"]]]
        assert targets["label"].dtype == np.float32
        assert np.array_equal(targets["label"], expected)
        assert np.array_equal(targets["clean_label"], targets["index"] % 5)
    _, label = make(source, 8, **options).element_spec
    assert (label.shape.as_list(), label.dtype) == ([None, 5], tf.float32)


def test_batch_augmentation_gets_one_hot_labels():
    def smooth(images, targets, seed):
        return images, 0.9 * targets + 0.02

    batches = training_batches(
        small_source(), 8, one_hot=True, batch_augment=smooth, num_epochs=1
    )
    labels = np.concatenate([label for _, label in batches])
    assert np.allclose(np.sort(labels, axis=1), [0.02] * 4 + [0.92])


def test_number_of_batches_is_known():
    source = small_source()
    assert len(training_batches(source, 8, num_epochs=3)) == 21
    assert len(training_batches(source, 8, first_epoch=1, num_epochs=3)) == 14
    assert len(training_batches(source, 8, num_epochs=3, drop_remainder=True)) == 18
    endless = training_batches(source, 8).cardinality()
    assert endless == tf.data.INFINITE_CARDINALITY


@pytest.mark.parametrize("drop_remainder", [True, False])
def test_batch_sizes_of_an_epoch(drop_remainder):
    batches = training_batches(
        small_source(), 8, num_epochs=2, drop_remainder=drop_remainder
    )
    sizes = [len(labels) for _, labels in batches]
    assert sizes == ([8] * 6 if drop_remainder else [8] * 6 + [2]) * 2


def add_noise(images, targets, seed):
    """A batch augmentation: numbers that differ from batch to batch."""
    noise = tf.random.stateless_uniform(tf.shape(images), seed)
    return tf.cast(images, tf.float32) + noise, targets


def test_batch_augmentation_is_keyed_by_seed_epoch_and_step():
    def noise(**options):
        batches = training_batches(
            small_source(), 25, batch_augment=add_noise, carry=["index"], **options
        )
        return [
            images - targets["index"][:, None, None, None]
            for images, targets in batches.as_numpy_iterator()
        ]

    two_epochs = noise(num_epochs=2)
    assert len(two_epochs) == 4
    other_seed = noise(num_epochs=1, seed=1)
    draws = {tuple(np.round(part[:3, 0, 0, 0], 5)) for part in two_epochs + other_seed}
    assert len(draws) == 6  # each batch has numbers of its own
    for part, again in zip(two_epochs, noise(num_epochs=2), strict=True):
        assert np.array_equal(part, again)


def test_batch_augmentation_may_add_a_second_view():
    def two_views(images, targets, seed):
        twice = tf.concat([images, 255 - images], axis=0)
        return twice, tf.nest.map_structure(lambda x: tf.tile(x, [2]), targets)

    batches = training_batches(
        small_source(), 10, batch_augment=two_views, carry=["index"]
    )
    images, targets = next(iter(batches))
    assert images.shape == (20, 6, 6, 1)
    assert np.array_equal(targets["index"][:10], targets["index"][10:])
    assert np.array_equal(images[10:, 0, 0, 0], 255 - targets["index"].numpy()[10:])


def test_functions_are_traced_once_for_all_epochs():
    traces = []

    def augment(image, seed):
        traces.append("augment")
        return image

    def batch_augment(images, targets, seed):
        traces.append("batch_augment")
        return images, targets

    batches = training_batches(
        small_source(), 8, augment=augment, batch_augment=batch_augment, num_epochs=4
    )
    list(batches)
    list(batches)
    assert sorted(traces) == ["augment", "batch_augment"]


@pytest.mark.parametrize(
    ("num_epochs", "batch_size"),  # 479 divides 1,437.
    [
        (2, 500),
        pytest.param(None, 479, marks=pytest.mark.slow),
        pytest.param(2, 479, marks=pytest.mark.slow),
        pytest.param(None, 500, marks=pytest.mark.slow),
    ],
)
def test_fit_takes_whole_epochs_without_a_warning(batch_size, num_epochs):
    train, test = digits()
    model = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(10)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss, metrics=["accuracy"], run_eagerly=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        history = model.fit(
            training_batches(train, batch_size, num_epochs=num_epochs),
            steps_per_epoch=steps_per_epoch(train.num_examples, batch_size),
            epochs=2,
            shuffle=False,  # else Keras warns that it does not shuffle a dataset
            validation_data=evaluation_batches(test, batch_size),
            verbose=0,
        )
    assert history.epoch == [0, 1]
    assert model.optimizer.iterations == 2 * -(-1437 // batch_size)


def test_global_batch_is_shared_out_among_replicas(two_replicas):
    batches = training_batches(small_source(), 10, num_epochs=1, carry=["index"])
    expected = [targets["index"].numpy() for _, targets in batches]
    distributed = two_replicas.experimental_distribute_dataset(batches)
    for (_, targets), whole in zip(distributed, expected, strict=True):
        parts = two_replicas.experimental_local_results(targets["index"])
        assert len(parts) == 2
        assert np.array_equal(np.concatenate(parts), whole)


def test_examples_are_sharded_among_workers_by_element():
    options = training_batches(small_source(), 10).options()
    assert options.deterministic
    assert (
        options.experimental_distribute.auto_shard_policy
        == tf.data.experimental.AutoShardPolicy.DATA
    )


@pytest.mark.parametrize(
    "num_examples, batch_size, drop_remainder, expected",
    [
        (50, 8, False, 7),
        (50, 8, True, 6),
        (48, 8, False, 6),
        (48, 8, True, 6),
        (1, 256, False, 1),
    ],
)
def test_steps_of_an_epoch(num_examples, batch_size, drop_remainder, expected):
    assert steps_per_epoch(num_examples, batch_size, drop_remainder) == expected


@pytest.mark.parametrize(
    "options, message",
    [
        (dict(batch_size=0), "`batch_size` must be an integer of at least 1.*=0"),
        (dict(batch_size=2.5), "`batch_size` must be an integer.*=2.5"),
        (
            dict(batch_size=51, drop_remainder=True),
            "`batch_size` must be at most 50.*Received: batch_size=51",
        ),
        (dict(seed=-1), "`seed` must be an integer of at least 0.*seed=-1"),
        (dict(first_epoch=-1), "`first_epoch` must be .* Received: first_epoch=-1"),
        (dict(first_step=-1), "`first_step` must be .* Received: first_step=-1"),
        (dict(first_step=8), "`first_step` must be at most 7.*Received: first_step=8"),
        (dict(num_epochs=-2), "`num_epochs` must be .* Received: num_epochs=-2"),
        (dict(num_epochs=3, first_epoch=3), "`num_epochs` must be above `first_epoch`"),
        (dict(carry=["label_clean"]), r"`carry` must be .*'clean_label', 'index'"),
        (dict(carry="index"), r"`carry` must be a list"),
        (dict(one_hot=5), "`one_hot` must be True or False. Received: one_hot=5"),
        (dict(shuffle_buffer=10), "`shuffle_buffer` is for images .*cache=False"),
        (dict(shuffle_buffer=0, cache=False), "`shuffle_buffer` must be an integer"),
    ],
)
def test_bad_argument_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        training_batches(small_source(), **{"batch_size": 8, **options})


@pytest.mark.parametrize(
    "make, option, change",
    [
        (training_batches, "augment", lambda image: image),
        (training_batches, "augment", 3),
        (training_batches, "augment", keras.layers.Rescaling(2)),
        (evaluation_batches, "prepare", lambda image, seed: image),
        (evaluation_batches, "prepare", keras.layers.Rescaling(2)),
    ],
)
def test_what_is_not_called_like_that_is_refused(make, option, change):
    with pytest.raises(ValueError, match=f"`{option}` must be a function .image"):
        make(small_source(), 8, **{option: change})


def test_index_that_does_not_come_once_is_named():
    source, _ = counting_source()
    broken = Source(
        name="broken",
        dataset=source.dataset.skip(1),
        labels=source.labels,
        ids=source.ids,
        num_classes=2,
        class_names=source.class_names,
        image_shape=source.image_shape,
    )
    with pytest.raises(ValueError, match="'broken' must hold .*index 19 0 times"):
        training_batches(broken, 8)


if "KERAS_NCR_DATA_DIR" in os.environ:  # real data, which not every machine has

    @pytest.mark.slow
    def test_cifar10_pipeline_is_faster_than_bare_reading():
        data_dir = os.environ["KERAS_NCR_DATA_DIR"]
        source = from_tfds("cifar10", "train", data_dir)
        assert source.images.shape == (50_000, 32, 32, 3)  # read before the clock runs
        batches = training_batches(source, 256, augment=crop_and_flip(), num_epochs=1)
        bare = tfds.load(
            "cifar10",
            data_dir=data_dir,
            split="train",
            read_config=tfds.ReadConfig(try_autocache=False),
        ).batch(256)

        def seconds(dataset):
            start = time.perf_counter()
            for _ in dataset:
                pass
            return time.perf_counter() - start

        ratio = min(seconds(batches) / seconds(bare) for _ in range(3))
        print(f"augmented batches from memory / bare reading: {ratio:.2f}")
        assert ratio < 1
