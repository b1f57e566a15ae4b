"""From a `Source` to batches for `fit` and `evaluate`.

source -> labels by index -> memory -> shuffle -> augment -> batch -> prefetch

Every random decision of training is a function of numbers alone: the order of an epoch
of (seed, epoch), an image's augmentation of (seed, epoch, index), a batch's of (seed,
epoch, step). A run that resumes at an epoch therefore sees exactly what the
uninterrupted run saw, and the global seed of TensorFlow and Keras plays no part.
"""

import tensorflow as tf

from keras_ncr.checks import check_integer, check_labels

# What a target can carry beside the label.
_CARRIED = ("clean_label", "index")

# Each kind of decision has random numbers of its own.
_SHUFFLE, _AUGMENT, _AUGMENT_BATCH = range(3)


def training_batches(
    source,
    batch_size,
    *,
    labels=None,
    augment=None,
    batch_augment=None,
    seed=0,
    first_epoch=0,
    num_epochs=None,
    carry=(),
    drop_remainder=False,
    cache=True,
    shuffle_buffer=None,
):
    """Returns the batches of all training epochs, one epoch after the other.

    It is meant for `fit` with the number of steps given, so that Keras knows where an
    epoch ends, and `shuffle=False`, so that it does not warn of its own default:

        model.fit(batches, initial_epoch=first_epoch, epochs=num_epochs, shuffle=False,
                  steps_per_epoch=steps_per_epoch(source.num_examples, batch_size))

    Every epoch holds each example once, in an order that depends on `seed` and the
    epoch alone. Where the batch size does not divide the number of examples the last
    batch of each epoch is smaller. Images come as the source has them (uint8), so that
    little is moved to the device; the network brings them to its range.

    Under a `tf.distribute` strategy a batch is the global batch, and each worker keeps
    its part of it.

    Args:
        source: `keras_ncr.datasets.Source`.
        batch_size: Int, at least 1.
        labels: Optional integer array of shape `(n,)`: the labels to train on, by
            index, such as noisy ones. Defaults to the source's own.
        augment: Optional callable `(image, seed) -> image` on one image, in TensorFlow
            operations, such as `keras_ncr.augment.crop_and_flip()`. The seed has shape
            `(2,)`, for the `tf.random.stateless_*` operations. Defaults to none.
        batch_augment: Optional callable `(images, targets, seed) -> (images, targets)`
            on one batch, where mixup or a second view belong; `targets` is the label,
            or the dict if `carry` is given. Defaults to none.
        seed: Int, at least 0. Defaults to 0.
        first_epoch: Int, at least 0: the epoch to start with, for a run that resumes.
            Defaults to 0.
        num_epochs: Optional int: the epoch to stop before, counted from 0 and not from
            `first_epoch`, as `epochs` in `fit`. Defaults to no end.
        carry: Names out of `"clean_label"` (the source's label) and `"index"`. If any
            is given the target is a dict of `"label"` and these.
        drop_remainder: Boolean. Whether to leave out the smaller last batch of an
            epoch. Defaults to `False`, as in `tf.data.Dataset.batch`.
        cache: Boolean. Whether all images are held in memory, read once by this call.
            Otherwise they are read anew each epoch. Defaults to `True`.
        shuffle_buffer: Optional int, only with `cache=False`: how many images wait to
            be drawn from. A small one saves memory and shuffles only nearby images.
            Defaults to all, a perfect shuffle.

    Returns:
        `tf.data.Dataset` of `(images, labels)`, or with `carry` of `(images, dict)`.

    Raises:
        ValueError: If an argument is out of its range, `labels` does not fit the
            source, or no batch would be full.

    Example:
    >>> train, _ = keras_ncr.datasets.digits()
    >>> batches = keras_ncr.pipelines.training_batches(
    ...     train, 256, num_epochs=2, carry=["index"]
    ... )
    >>> images, targets = next(iter(batches))
    >>> images.shape, images.dtype, sorted(targets)
    (TensorShape([256, 8, 8, 1]), tf.uint8, ['index', 'label'])
    """
    num_steps = steps_per_epoch(source.num_examples, batch_size, drop_remainder)
    seed = check_integer(seed, "seed", minimum=0)
    _check_epochs(first_epoch, num_epochs)
    _check_shuffle_buffer(shuffle_buffer, cache)
    target_of = _target_function(source, labels, carry)
    images = source.image_tensor if cache else None

    def one_epoch(epoch):
        finish = _finish_function(augment, target_of, _seed_for(seed, _AUGMENT, epoch))
        shuffle_seed = _seed_for(seed, _SHUFFLE, epoch)
        if cache:
            order = tf.random.experimental.stateless_shuffle(
                tf.range(source.num_examples, dtype=tf.int64), shuffle_seed
            )
            # Without augmentation whole batches are gathered at once, which is many
            # times faster than image by image.
            batches = _gathered(
                images, order, batch_size, drop_remainder, finish, augment is None
            )
        else:
            examples = _streamed(source, shuffle_buffer, shuffle_seed)
            batches = _parallel_map(examples, finish).batch(batch_size, drop_remainder)
        if batch_augment is None:
            return batches
        batch_seed = _seed_for(seed, _AUGMENT_BATCH, epoch)
        return _augmented(batches, batch_augment, batch_seed)

    if num_epochs is None:
        epochs = tf.data.Dataset.counter(first_epoch)
        num_batches = tf.data.INFINITE_CARDINALITY
    else:
        epochs = tf.data.Dataset.range(first_epoch, num_epochs)
        num_batches = (num_epochs - first_epoch) * num_steps
    return _finished(epochs.flat_map(one_epoch), num_batches)


def evaluation_batches(source, batch_size, *, labels=None, carry=(), cache=True):
    """Returns the batches of one pass over a source, without any random change.

    Args:
        source: `keras_ncr.datasets.Source`.
        batch_size: Int, at least 1.
        labels: As in `training_batches`, to evaluate against other labels.
        carry: As in `training_batches`.
        cache: Boolean. Whether all images are held in memory, read once by this call;
            they then come in the order of the index. Otherwise they are read anew each
            time, in the order of the source. Defaults to `True`.

    Returns:
        `tf.data.Dataset` of `(images, labels)`, or with `carry` of `(images, dict)`.

    Raises:
        ValueError: If an argument is out of its range, or `labels` does not fit the
            source.

    Example:
    >>> _, test = keras_ncr.datasets.digits()
    >>> batches = keras_ncr.pipelines.evaluation_batches(test, 256)
    >>> [len(labels) for _, labels in batches]
    [256, 104]
    """
    num_batches = steps_per_epoch(source.num_examples, batch_size)
    target_of = _target_function(source, labels, carry)
    finish = _finish_function(None, target_of, None)
    if cache:
        order = tf.range(source.num_examples, dtype=tf.int64)
        batches = _gathered(source.image_tensor, order, batch_size, False, finish, True)
    else:
        examples = source.dataset.map(_image_and_index)
        batches = _parallel_map(examples, finish).batch(batch_size)
    return _finished(batches, num_batches)


def steps_per_epoch(num_examples, batch_size, drop_remainder=False):
    """Returns the number of batches in an epoch.

    Args:
        num_examples: Int, at least 1.
        batch_size: Int, at least 1.
        drop_remainder: Boolean. Whether a smaller last batch is left out. Defaults to
            `False`, as in `tf.data.Dataset.batch`.

    Returns:
        Int, at least 1.

    Raises:
        ValueError: If an argument is below 1, or if no batch would be full and smaller
            ones are left out.

    Example:
    >>> keras_ncr.pipelines.steps_per_epoch(1437, 256)
    6
    """
    check_integer(num_examples, "num_examples", minimum=1)
    check_integer(batch_size, "batch_size", minimum=1)
    if not drop_remainder:
        return -(-num_examples // batch_size)
    if batch_size > num_examples:
        raise ValueError(
            f"`batch_size` must be at most {num_examples}, the number of examples, "
            f"with `drop_remainder=True`. Received: batch_size={batch_size}. Lower it, "
            "or keep the smaller last batch (`drop_remainder=False`)."
        )
    return num_examples // batch_size


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


def _check_shuffle_buffer(shuffle_buffer, cache):
    """Raises for a buffer that is no size, or that would not be used."""
    if shuffle_buffer is None:
        return
    check_integer(shuffle_buffer, "shuffle_buffer", minimum=1)
    if cache:
        raise ValueError(
            "`shuffle_buffer` is for images that are not held in memory, which are "
            "always shuffled as a whole. "
            f"Received: shuffle_buffer={shuffle_buffer}, cache={cache}. "
            "Leave it out, or pass `cache=False`."
        )


def _target_function(source, labels, carry):
    """Returns what makes a target of an index: a label, or a dict with it."""
    if isinstance(carry, str) or not set(carry) <= set(_CARRIED):
        raise ValueError(
            f"`carry` must be a list of names out of {list(_CARRIED)}. "
            f"Received: carry={carry!r}."
        )
    clean_labels = source.labels
    labels = check_labels(
        clean_labels if labels is None else labels, source.num_classes
    )
    if len(labels) != source.num_examples:
        raise ValueError(
            f"`labels` must have one label for each of the {source.num_examples} "
            f"examples of {source.name!r}. Received: {len(labels)} labels."
        )
    with tf.device("CPU:0"):
        labels, clean_labels = tf.constant(labels), tf.constant(clean_labels)

    def target_of(index):
        label = tf.gather(labels, index)
        if not carry:
            return label
        candidates = {"clean_label": tf.gather(clean_labels, index), "index": index}
        return {"label": label, **{name: candidates[name] for name in carry}}

    return target_of


def _finish_function(augment, target_of, augment_seed):
    """Returns what makes an element of an image and its index."""

    def finish(image, index):
        if augment is not None:
            image = augment(image, tf.random.fold_in(augment_seed, index))
        return image, target_of(index)

    return finish


def _gathered(images, order, batch_size, drop_remainder, finish, whole_batches):
    """Batches of in-memory examples in some order, finished one by one or together."""

    def gather(index):
        return finish(tf.gather(images, index), index)

    indices = tf.data.Dataset.from_tensor_slices(order)
    if whole_batches:
        return _parallel_map(indices.batch(batch_size, drop_remainder), gather)
    return _parallel_map(indices, gather).batch(batch_size, drop_remainder)


def _streamed(source, shuffle_buffer, shuffle_seed):
    """Examples read from the source and shuffled, inside the function of an epoch."""
    # `shuffle` mixes in the global seed (and fails where it is 0). Inside a traced
    # function this sets the seed of that function alone, so that only ours counts.
    tf.random.set_seed(1)
    return source.dataset.map(_image_and_index).shuffle(
        shuffle_buffer or source.num_examples,
        seed=tf.random.stateless_uniform(
            [], shuffle_seed, minval=None, maxval=None, dtype=tf.int64
        ),
        reshuffle_each_iteration=False,
    )


def _image_and_index(example):
    """The label is looked up by the index instead: it may have been replaced."""
    return example["image"], example["index"]


def _augmented(batches, batch_augment, batch_seed):
    """Batches after a function of the user's, each with a seed made from its step."""

    def augment_step(step, batch):
        return batch_augment(*batch, tf.random.fold_in(batch_seed, step))

    return _parallel_map(batches.enumerate(), augment_step)


def _seed_for(seed, kind, epoch):
    """A seed of shape (2,) for one kind of decision in one epoch."""
    return tf.random.fold_in(tf.constant([seed, kind], tf.int64), epoch)


def _parallel_map(dataset, function):
    """Maps on all cores; the order of the elements stays."""
    return dataset.map(
        function, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
    )


def _finished(batches, num_batches):
    """The last stages: known length, deterministic order, batches ready in advance."""
    options = tf.data.Options()
    options.deterministic = True
    # By elements, not by files: the global batch is then the same on any number of
    # workers, and sources without files need no warning.
    options.experimental_distribute.auto_shard_policy = (
        tf.data.experimental.AutoShardPolicy.DATA
    )
    return (
        batches.apply(tf.data.experimental.assert_cardinality(num_batches))
        .with_options(options)
        .prefetch(tf.data.AUTOTUNE)
    )
