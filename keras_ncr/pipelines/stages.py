"""The stages of a `tf.data` pipeline: examples of an epoch, batches, what ends it."""

import tensorflow as tf


def gathered(read_image, order, batch_size, drop_remainder, finish, whole_batches):
    """Returns batches of examples that are read by their index.

    Args:
        read_image: Callable from an index to an image; with `whole_batches`, from
            indices to images.
        order: Int64 tensor of shape `(n,)`: indices in the order of the epoch.
        batch_size: Int.
        drop_remainder: Bool.
        finish: Callable `(image, index) -> (image, target)`, or on batches likewise.
        whole_batches: Bool. Whether examples are read and finished together.

    Returns:
        `tf.data.Dataset` of `(images, targets)`.

    Example:
    >>> from keras_ncr.pipelines.stages import gathered
    >>> batches = gathered(
    ...     lambda index: 10 * index, tf.range(3), batch_size=2, drop_remainder=False,
    ...     finish=lambda image, index: (image, index % 2), whole_batches=True,
    ... )
    >>> [images.tolist() for images, _ in batches.as_numpy_iterator()]
    [[0, 10], [20]]
    """

    def gather(index):
        return finish(read_image(index), index)

    indices = tf.data.Dataset.from_tensor_slices(order)
    if whole_batches:
        return parallel_map(indices.batch(batch_size, drop_remainder), gather)
    return parallel_map(indices, gather).batch(batch_size, drop_remainder)


def in_order(source):
    """Returns a source's images and indices, read from beginning to end.

    The label is looked up by the index later: it may have been replaced.

    Args:
        source: `keras_ncr.datasets.Source`.

    Returns:
        `tf.data.Dataset` of `(image, index)`.

    Example:
    >>> from keras_ncr.pipelines.stages import in_order
    >>> images = np.zeros((3, 4, 4, 1), "uint8")
    >>> source = keras_ncr.datasets.from_arrays(images, [0, 1, 0])
    >>> [int(index) for _, index in in_order(source)]
    [0, 1, 2]
    """
    return source.dataset.map(lambda example: (example["image"], example["index"]))


def streamed(source, order, shuffle_buffer, shuffle_seed):
    """Returns the examples of an epoch, shuffled while they are read `in_order`.

    Args:
        source: `keras_ncr.datasets.Source`.
        order: Int64 tensor of shape `(n,)`: the indices that the epoch has.
        shuffle_buffer: Optional int: how many images wait to be drawn from. Defaults
            to all.
        shuffle_seed: Two integers.

    Returns:
        `tf.data.Dataset` of `(image, index)`.

    Example:
    >>> from keras_ncr.pipelines.stages import streamed
    >>> images = np.zeros((3, 4, 4, 1), "uint8")
    >>> source = keras_ncr.datasets.from_arrays(images, [0, 1, 0])
    >>> epoch = tf.data.Dataset.range(1).flat_map(
    ...     lambda _: streamed(source, tf.constant([2, 0], tf.int64), None, [0, 7])
    ... )
    >>> sorted(int(index) for _, index in epoch)
    [0, 2]
    """
    # `shuffle` mixes in the global seed (and fails where it is 0). Inside a traced
    # function this sets the seed of that function alone, so that only ours counts.
    tf.random.set_seed(1)
    examples = in_order(source)
    if order.shape[0] != source.num_examples:
        shape = [source.num_examples]
        is_drawn = tf.scatter_nd(order[:, None], tf.ones_like(order, tf.bool), shape)
        examples = examples.filter(lambda image, index: tf.gather(is_drawn, index))
    return examples.shuffle(
        shuffle_buffer or source.num_examples,
        seed=tf.random.stateless_uniform(
            [], shuffle_seed, minval=None, maxval=None, dtype=tf.int64
        ),
        reshuffle_each_iteration=False,
    )


def augmented(batches, batch_augment, seed, first_step=0):
    """Returns the batches of an epoch after a function of the user's.

    Args:
        batches: `tf.data.Dataset` of `(images, targets)`.
        batch_augment: Callable `(images, targets, seed) -> (images, targets)`.
        seed: Two integers, from which each step gets a seed of its own.
        first_step: Int: the step of the first of the batches. Defaults to 0.

    Returns:
        `tf.data.Dataset` of what the function returns.

    Example:
    >>> from keras_ncr.pipelines.stages import augmented
    >>> batches = tf.data.Dataset.from_tensors(([1.0, 2.0], [0, 1]))
    >>> doubled = augmented(batches, lambda x, y, seed: (2 * x, y), seed=[0, 7])
    >>> next(doubled.as_numpy_iterator())[0]
    array([2., 4.], dtype=float32)
    """

    def augment_step(step, batch):
        return batch_augment(*batch, tf.random.fold_in(seed, step))

    return parallel_map(batches.enumerate(first_step), augment_step)


def parallel_map(dataset, function):
    """Returns a dataset mapped on all cores; the order of the elements stays.

    Args:
        dataset: `tf.data.Dataset`.
        function: What is done to each element.

    Returns:
        `tf.data.Dataset`.

    Example:
    >>> from keras_ncr.pipelines.stages import parallel_map
    >>> list(parallel_map(tf.data.Dataset.range(3), abs).as_numpy_iterator())
    [np.int64(0), np.int64(1), np.int64(2)]
    """
    return dataset.map(
        function, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
    )


def finished(batches, num_batches):
    """Returns batches of known number and fixed order, made ready in advance.

    Args:
        batches: `tf.data.Dataset` of batches.
        num_batches: Int: how many there are, as `cardinality` counts.

    Returns:
        `tf.data.Dataset` of the same batches.

    Example:
    >>> from keras_ncr.pipelines.stages import finished
    >>> batches = tf.data.Dataset.range(4).filter(lambda number: number < 2)
    >>> len(finished(batches, 2))
    2
    """
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
