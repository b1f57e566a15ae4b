"""The stages of a `tf.data` pipeline: examples of an epoch, batches, what ends it."""

import inspect

import keras
import tensorflow as tf


def takes(function, arguments):
    """Whether it can be called so. A Keras layer can, but has no use for a seed."""
    try:
        inspect.signature(function).bind(*arguments)
    except (TypeError, ValueError):  # Not callable, or with other arguments.
        return False
    return not isinstance(function, keras.Layer)  # They take batches of pixels.


def finisher(read_image, changed, target_of):
    """Returns what makes an image and its target of what an epoch has in order."""
    if read_image is None:
        return lambda image, index: (changed(image, index), target_of(index))
    return lambda index: (changed(read_image(index), index), target_of(index))


def batched(examples, finish, batch_size, drop_remainder, whole_batches):
    """Returns batches of examples that are finished one by one, or batch by batch."""
    if whole_batches:
        return parallel_map(examples.batch(batch_size, drop_remainder), finish)
    return parallel_map(examples, finish).batch(batch_size, drop_remainder)


def in_order(source):
    """Returns a source's images and indices, read from beginning to end."""
    return source.dataset.map(lambda example: (example["inputs"], example["index"]))


def streamed(source, order, shuffle_buffer, shuffle_seed):
    """Returns the examples of an epoch, shuffled while they are read `in_order`."""
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
    """Returns the batches of an epoch after a function of the user's."""

    def augment_step(step, batch):
        return batch_augment(*batch, tf.random.fold_in(seed, step))

    return parallel_map(batches.enumerate(first_step), augment_step)


def parallel_map(dataset, function):
    """Returns a dataset mapped on all cores; the order of the elements stays."""
    return dataset.map(
        function, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
    )


def finished(batches, num_batches):
    """Returns batches of known number and fixed order, made ready in advance."""
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
