"""From a `Source` to batches for `fit` and `evaluate`.

source -> examples of the epoch -> image, label by index -> augment -> batch -> prefetch

Every random decision of training is a function of numbers alone: the order of an epoch
of (seed, epoch), an image's augmentation of (seed, epoch, index), a batch's of (seed,
epoch, step). A run that resumes at any step therefore sees exactly what the
uninterrupted run saw, and the global seed of TensorFlow and Keras plays no part.
"""

import math
from collections.abc import Callable, Sequence

import tensorflow as tf

from keras_ncr.checks import check_bool, check_integer
from keras_ncr.datasets.images import decode
from keras_ncr.datasets.source import Source, rows_of
from keras_ncr.pipelines import row_random
from keras_ncr.pipelines import stages as batching
from keras_ncr.pipelines.sampling import check_size, epoch_sampler, steps_per_epoch

__all__ = ["evaluation_batches", "steps_per_epoch", "training_batches"]

# What a target can carry beside the label.
_CARRIED = ("clean_label", "index")

# Up to so many pixels an image, a batch is faster than its images one by one.
_MAX_PIXELS = 64 * 64

# Each kind of decision has random numbers of its own.
_SHUFFLE, _AUGMENT, _AUGMENT_BATCH = range(3)


def training_batches(
    source: Source,
    batch_size: int,
    *,
    augment: Callable | None = None,
    batch_augment: Callable | None = None,
    seed: int = 0,
    first_epoch: int = 0,
    first_step: int = 0,
    num_epochs: int | None = None,
    carry: Sequence[str] = (),
    one_hot: bool = False,
    drop_remainder: bool = False,
    cache: bool = True,
    shuffle_buffer: int | None = None,
    examples_per_epoch: int | None = None,
    balanced: bool = False,
) -> tf.data.Dataset:
    """Returns the batches of all training epochs, one epoch after the other.

    It is meant for `fit` with the number of steps given, so that Keras knows where an
    epoch ends, and `shuffle=False`, so that it does not warn of its own default:

        model.fit(batches, initial_epoch=first_epoch, epochs=num_epochs, shuffle=False,
                  steps_per_epoch=steps_per_epoch(source.num_examples, batch_size))

    Every epoch holds each example once, in an order that depends on `seed` and the
    epoch alone. Where the batch size does not divide the number of examples the last
    batch of each epoch is smaller. Images come as uint8, so that little is moved to the
    device; the network brings them to its range.

    Under a `tf.distribute` strategy a batch is the global batch, and each worker keeps
    its part of it.

    Args:
        source: `keras_ncr.datasets.Source`.
        batch_size: Int, at least 1.
        augment: Optional callable `(image, seed) -> image` on one image, in TensorFlow
            operations, such as `crop_and_flip()`. The seed has shape
            `(2,)`, for the `tf.random.stateless_*` operations. The image is what the
            source has: pixels, or the bytes of an image file, which those of
            `crop_and_flip` and the other crops decode in part. Defaults to none; bytes
            are then decoded.
        batch_augment: Optional callable `(images, targets, seed) -> (images, targets)`
            on one batch, such as `keras_ncr.pipelines.mixup()` or a second view of each
            image; `targets` is the label, or the dict if `carry` is given. Defaults to
            none.
        seed: Int, at least 0. Defaults to 0.
        first_epoch: Int, at least 0: the epoch to start with, for a run that resumes.
            Defaults to 0.
        first_step: Int from 0 to the number of steps in an epoch: how many batches of
            the first epoch are left out, for a run that resumes within it. None of
            their images is decoded. Defaults to 0.
        num_epochs: Optional int: the epoch to stop before, counted from 0 and not from
            `first_epoch`, as `epochs` in `fit`. Defaults to no end.
        carry: Names out of `"clean_label"` (the true label, where the source knows it,
            else the source's label) and `"index"`. If any is given the target is a
            dict of `"label"` and these.
        one_hot: Boolean. Whether labels are float32 of shape `(batch, num_classes)`, as
            mixup and losses on distributions take them, and not int64 of shape
            `(batch,)`. A `"clean_label"` is always a class number. Defaults to `False`.
        drop_remainder: Boolean. Whether to leave out the smaller last batch of an
            epoch. Defaults to `False`, as in `tf.data.Dataset.batch`.
        cache: Boolean. Whether all images are held in memory as the source has them
            (pixels, or bytes of files), read once by this call. Otherwise they are read
            anew each epoch. Defaults to `True`.
        shuffle_buffer: Optional int, only with `cache=False` and a source that is read
            from beginning to end: how many images wait to be drawn from. A small one
            saves memory and shuffles only nearby images. Defaults to all, a perfect
            shuffle.
        examples_per_epoch: Optional int. An epoch then is so many examples, drawn anew
            each time. A source that is read from beginning to end is still read whole
            each epoch, but no more of it is decoded. Defaults to all.
        balanced: Boolean, only with `examples_per_epoch`: whether an epoch has the same
            number of each class, by the source's labels, as far as there are as many.
            Defaults to `False`.

    Returns:
        `tf.data.Dataset` of `(images, labels)`, or with `carry` of `(images, dict)`.

    Raises:
        ValueError: If an argument is out of its range, images differ in size and
            nothing is given that changes it, or no batch would be full.

    Example:
    >>> train, _ = keras_ncr.datasets.digits()
    >>> batches = keras_ncr.pipelines.training_batches(
    ...     train, 256, num_epochs=2, carry=["index"]
    ... )
    >>> images, targets = next(iter(batches))
    >>> images.shape, images.dtype, sorted(targets)
    (TensorShape([256, 8, 8, 1]), tf.uint8, ['index', 'label'])
    """
    epoch_size = check_size(source.num_examples, examples_per_epoch)
    num_steps = steps_per_epoch(epoch_size, batch_size, drop_remainder)
    seed = check_integer(seed, "seed", minimum=0)
    _check_epochs(first_epoch, num_epochs)
    check_integer(first_step, "first_step", minimum=0)
    if first_step > num_steps:
        raise ValueError(
            f"`first_step` must be at most {num_steps}, the number of steps in an "
            f"epoch. Received: first_step={first_step}."
        )
    _check_shuffle_buffer(shuffle_buffer, cache, source)
    draw = epoch_sampler(
        source.labels, source.num_classes, examples_per_epoch, balanced
    )
    target_of = _target_function(source, carry, one_hot)
    change = _image_function(source, augment, "augment")
    read_image = _reader(source, cache)
    # Whole batches are many times faster than image by image.
    whole = _takes_batches(change, source) and (cache or read_image is None)

    def one_epoch(epoch):
        shuffle_seed = _seed_for(seed, _SHUFFLE, epoch)
        order = draw(shuffle_seed)
        num_skipped = tf.where(
            epoch == first_epoch, tf.constant(first_step, tf.int64), 0
        )
        changed = _changer(change, whole, _seed_for(seed, _AUGMENT, epoch), source)
        if read_image is not None:
            examples = tf.data.Dataset.from_tensor_slices(order)
        else:
            examples = batching.streamed(source, order, shuffle_buffer, shuffle_seed)
        examples = examples.skip(num_skipped * batch_size)
        finish = batching.finisher(read_image, changed, target_of)
        batches = batching.batched(examples, finish, batch_size, drop_remainder, whole)
        if batch_augment is None:
            return batches
        batch_seed = _seed_for(seed, _AUGMENT_BATCH, epoch)
        return batching.augmented(batches, batch_augment, batch_seed, num_skipped)

    if num_epochs is None:
        epochs = tf.data.Dataset.counter(first_epoch)
        num_batches = tf.data.INFINITE_CARDINALITY
    else:
        epochs = tf.data.Dataset.range(first_epoch, num_epochs)
        num_batches = (num_epochs - first_epoch) * num_steps - first_step
    return batching.finished(epochs.flat_map(one_epoch), num_batches)


def evaluation_batches(
    source: Source,
    batch_size: int,
    *,
    prepare: Callable | None = None,
    carry: Sequence[str] = (),
    one_hot: bool = False,
    cache: bool = True,
) -> tf.data.Dataset:
    """Returns the batches of one pass over a source, without any random change.

    Args:
        source: `keras_ncr.datasets.Source`.
        batch_size: Int, at least 1.
        prepare: Optional callable `image -> image` on one image, in TensorFlow
            operations, such as `central_crop(224)`. Defaults to none.
        carry: As in `training_batches`.
        one_hot: As in `training_batches`, for losses and metrics that need it.
        cache: Boolean. Whether all images are held in memory, read once by this call;
            they then come in the order of the index. Otherwise they are read anew each
            time, in the order of the source. Defaults to `True`.

    Returns:
        `tf.data.Dataset` of `(images, labels)`, or with `carry` of `(images, dict)`.

    Raises:
        ValueError: If an argument is out of its range, or images differ in size and
            nothing is given that changes it.

    Example:
    >>> _, test = keras_ncr.datasets.digits()
    >>> batches = keras_ncr.pipelines.evaluation_batches(test, 256)
    >>> [len(labels) for _, labels in batches]
    [256, 104]
    """
    num_batches = steps_per_epoch(source.num_examples, batch_size)
    target_of = _target_function(source, carry, one_hot)
    change = _image_function(source, prepare, "prepare")
    read_image = _reader(source, cache)

    def changed(image, index):
        return image if change is None else change(image)

    examples = batching.in_order(source)
    if read_image is not None:
        examples = tf.data.Dataset.range(source.num_examples)
    whole = change is None and (cache or read_image is None)
    finish = batching.finisher(read_image, changed, target_of)
    batches = batching.batched(examples, finish, batch_size, False, whole)
    return batching.finished(batches, num_batches)


def _check_epochs(first_epoch, num_epochs):
    """Raises unless at least one epoch is asked for."""
    check_integer(first_epoch, "first_epoch", minimum=0)
    if num_epochs is not None and check_integer(num_epochs, "num_epochs", 1) <= (
        first_epoch
    ):
        raise ValueError(
            "`num_epochs` must be above `first_epoch`: it is the epoch to stop before, "
            "counted from 0. "
            f"Received: num_epochs={num_epochs}, first_epoch={first_epoch}."
        )


def _check_shuffle_buffer(shuffle_buffer, cache, source):
    """Raises for a buffer that is no size, or that would not be used."""
    if shuffle_buffer is None:
        return
    check_integer(shuffle_buffer, "shuffle_buffer", minimum=1)
    if cache or source.read_image is not None:
        raise ValueError(
            "`shuffle_buffer` is for images that are neither held in memory nor in "
            "files of their own, which are always shuffled as a whole. "
            f"Received: shuffle_buffer={shuffle_buffer}, cache={cache}. "
            "Leave it out, or pass `cache=False`."
        )


def _target_function(source, carry, one_hot):
    """Returns what makes a target of an index: a label, or a dict with it."""
    if isinstance(carry, str) or not set(carry) <= set(_CARRIED):
        raise ValueError(
            f"`carry` must be a list of names out of {list(_CARRIED)}. "
            f"Received: carry={carry!r}."
        )
    one_hot = check_bool(one_hot, "one_hot")
    clean_labels = source.labels
    if source.clean_labels is not None:
        clean_labels = source.clean_labels
    with tf.device("CPU:0"):
        labels, clean_labels = tf.constant(source.labels), tf.constant(clean_labels)

    def target_of(index):
        label = tf.gather(labels, index)
        if one_hot:
            label = tf.one_hot(label, source.num_classes)
        if not carry:
            return label
        candidates = {"clean_label": tf.gather(clean_labels, index), "index": index}
        return {"label": label, **{name: candidates[name] for name in carry}}

    return target_of


def _image_function(source, change, name):
    """Returns what is done to each image, or None. Bytes are decoded at least."""
    if change is not None:
        _check_takes_images(change, name)
        return change
    if source.kind != "images":
        return None
    if None in source.image_shape:
        raise ValueError(
            f"The images of {source.name!r} differ in size, and a batch must not. "
            f"Received: image_shape={source.image_shape}, {name}=None. Pass what "
            "brings them to one size: `augment=keras_ncr.pipelines."
            "random_resized_crop(size)` in training, `prepare=keras_ncr.pipelines."
            "central_crop(size)` in evaluation."
        )
    if not source.is_encoded:
        return None
    shape = source.image_shape
    return lambda image, seed=None: tf.ensure_shape(decode(image, shape[-1]), shape)


def _takes_batches(change, source):
    """Whether all that is done to images can be done to a batch of them."""
    if change is None:
        return True
    if source.kind != "images":
        return False
    pixels = source.image_shape[:-1]
    is_small = None not in source.image_shape and math.prod(pixels) <= _MAX_PIXELS
    return hasattr(change, "draw") and is_small and not source.is_encoded


def _changer(change, whole, seed, source):
    """Returns what is done to an image, or to a whole batch, in one epoch."""
    if change is None:
        return lambda image, index: image
    if not whole:
        return lambda image, index: change(image, tf.random.fold_in(seed, index))
    # For all examples at once: for the few of a batch it would take longer.
    index = tf.range(source.num_examples, dtype=tf.int64)
    numbers = change.draw(row_random.fold_in(seed, index))
    return lambda images, index: change.apply(images, tf.gather(numbers, index))


def _check_takes_images(change, name):
    """Raises unless a function can be called with what it will be given."""
    given = {"augment": ("image", "seed"), "prepare": ("image",)}[name]
    if not batching.takes(change, given):
        raise ValueError(
            f"`{name}` must be a function ({', '.join(given)}) on one image, the bytes "
            "of a file where the source is encoded; `keras_ncr.pipelines` has some. "
            f"Received: {change!r}."
        )


def _reader(source, cache):
    """Returns what reads any image by its index, or None for a stream."""
    if not cache:
        return source.read_image
    stored = source.stored_inputs
    return lambda index: rows_of(stored, index)


def _seed_for(seed, kind, epoch):
    """A seed of shape (2,) for one kind of decision in one epoch."""
    return tf.random.fold_in(tf.constant([seed, kind], tf.int64), epoch)
