"""Tells whether several processes train one model, and which of them writes files."""

import hashlib

import tensorflow as tf

from keras_ncr.distribution import replicas


def has_other_workers():
    """Returns whether several processes, as on machines, train one model together."""
    strategy = tf.distribute.get_strategy()
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return False
    if strategy.cluster_resolver is None:
        return False
    jobs = strategy.cluster_resolver.cluster_spec().as_dict()
    return len(jobs.get("chief", [])) + len(jobs.get("worker", [])) > 1


def is_chief() -> bool:
    """Returns whether this process is the one of a strategy's that writes files.

    It is, unless several machines train one model and this is not the first.

    Returns:
        Bool.

    Example:
    >>> if keras_ncr.distribution.is_chief():
    ...     print("Written once, not once on each machine.")
    Written once, not once on each machine.
    """
    if not has_other_workers():
        return True
    resolver = tf.distribute.get_strategy().cluster_resolver
    if "chief" in resolver.cluster_spec().jobs:
        return resolver.task_type == "chief"
    return resolver.task_id == 0


def are_alike(*numbers):
    """Returns whether all workers have the same integers; all of them have to ask."""
    return all(alike_each(*numbers))


def alike_each(*numbers):
    """Returns for each integer whether all workers have the same; all have to ask."""
    if not has_other_workers():
        return [True] * len(numbers)
    strategy = tf.distribute.get_strategy()
    own = tf.constant([numbers], "int32")
    gather = tf.function(lambda: strategy.run(replicas.gather_replicas, (own,)))
    everyone, *_ = strategy.experimental_local_results(gather())
    return tf.reduce_all(everyone == own, axis=0).numpy().tolist()


def number_of(text):
    """Returns an integer for `are_alike` that stands for a text."""
    digest = hashlib.sha256(text.encode()).digest()
    return int.from_bytes(digest[:4], "big", signed=True)
