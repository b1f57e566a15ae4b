"""What replicas of a `tf.distribute` strategy have to tell each other.

Each replica holds its part of the global batch. Inside of a step it can ask the others
for theirs, as long as all of them ask alike.
"""

import tensorflow as tf


def has_other_replicas():
    """Whether this code runs in one of several replicas of a `tf.distribute` strategy.

    It does not while a model is being built: there is one batch then, and no other
    replica to wait for.
    """
    context = tf.distribute.get_replica_context()
    return context is not None and context.num_replicas_in_sync > 1


def gather_replicas(local):
    """Returns `local` of all replicas, one below the other. Gradients flow back."""
    return tf.distribute.get_replica_context().all_gather(local, axis=0)


def first_of_replica(local):
    """Returns the index in the global batch of this replica's first example."""
    sizes = gather_replicas(tf.shape(local)[:1])
    replica = tf.distribute.get_replica_context().replica_id_in_sync_group
    return tf.cumsum(sizes, exclusive=True)[replica]


def global_mean(local):
    """Returns this replica's share of the mean over the global batch.

    The shares add up to the mean, as the gradients of replicas do, also where replicas
    hold unequal parts of the batch.
    """
    total = tf.reduce_sum(local)
    if not has_other_replicas():
        return total / tf.cast(tf.size(local), local.dtype)
    size = tf.reduce_sum(gather_replicas(tf.shape(local)[:1]))
    return total / tf.cast(size, local.dtype)
