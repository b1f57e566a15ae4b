"""Asks the other replicas of a `tf.distribute` strategy for their part of a batch.

A replica can ask inside of a step, as long as all of them ask alike.
"""

import tensorflow as tf


def add_state(layer, name, shape, initializer="zeros", dtype="float32"):
    """Returns a new weight of a layer, not trained, that all replicas change alike."""
    return layer.add_weight(
        name=name,
        shape=shape,
        dtype=dtype,
        initializer=initializer,
        trainable=False,
        # Half precision elsewhere in a model must not reach what is kept.
        autocast=False,
        aggregation="only_first_replica",
    )


def has_other_replicas():
    """Returns whether this code runs in one of several replicas of a strategy."""
    # Not while a model is being built: there is no other replica to wait for.
    context = tf.distribute.get_replica_context()
    return context is not None and context.num_replicas_in_sync > 1


def gather_replicas(local):
    """Returns `local` of all replicas, one below the other. Gradients flow back."""
    # Several machines gather from the device of a tensor, which inputs do not have yet.
    return tf.distribute.get_replica_context().all_gather(tf.identity(local), axis=0)


def first_of_replica(local):
    """Returns the index in the global batch of this replica's first example."""
    sizes = gather_replicas(tf.shape(local)[:1])
    replica = tf.distribute.get_replica_context().replica_id_in_sync_group
    return tf.cumsum(sizes, exclusive=True)[replica]


def global_sum(local):
    """Returns the sum of a tensor over all replicas."""
    if not has_other_replicas():
        return local
    return tf.distribute.get_replica_context().all_reduce("SUM", local)


def global_size(local):
    """Returns how many rows `local` has in all replicas together, as a float."""
    return global_sum(tf.cast(tf.shape(local)[0], "float32"))


def global_mean(local, size=None):
    """Returns this replica's share of the mean over the global batch."""
    # Shares add up to the mean, as gradients do, with unequal parts of a batch too.
    size = global_size(local) if size is None else size
    return tf.reduce_sum(local) / tf.cast(size, local.dtype)
