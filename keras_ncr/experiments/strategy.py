"""The devices of a run: one, all of this machine, several machines, or TPUs."""

import functools
import json
import os
import sys

import tensorflow as tf
from ml_collections import ConfigDict

import keras_ncr
from keras_ncr.checks import check_known
from keras_ncr.datasets import Source
from keras_ncr.distribution import workers
from keras_ncr.distribution.multi_worker import worker_lost
from keras_ncr.experiments.data import Sources
from keras_ncr.experiments.workdir import flat

_EXAMPLE = (
    """TF_CONFIG='{"cluster": {"worker": ["10.0.0.1:12345", "10.0.0.2:12345"]}, """
    """"task": {"type": "worker", "index": 0}}'"""
)


def strategy_of(config: ConfigDict) -> tf.distribute.Strategy:
    """Returns the `tf.distribute.Strategy` that `config.strategy` names."""
    # It comes first in a program: several machines must be named before TensorFlow's
    # first operation. Each is made once: TensorFlow 2.21 mixes up the collectives of
    # several.
    check_known(config.strategy, STRATEGIES, "config.strategy")
    return STRATEGIES[config.strategy]()


def check_same_config(config: ConfigDict) -> None:
    """Raises unless all workers were given one config, but for where the data are."""
    settings = flat(config.to_dict())
    keys = sorted({*settings} - {"data.dir", "data.path", "data.test_path"})
    version = f"{keras_ncr.__version__} {keys}"
    if not workers.are_alike(workers.number_of(version)):
        raise ValueError(
            "All workers must have the same version of keras_ncr. Received: another "
            f"one than {keras_ncr.__version__}, or other settings, on another worker."
        )
    numbers = [workers.number_of(repr(settings[key])) for key in keys]
    differing = [
        f"{key}={settings[key]!r}"
        for key, is_alike in zip(keys, workers.alike_each(*numbers), strict=True)
        if not is_alike
    ]
    if differing:
        raise ValueError(
            "All workers must be given the same config. Received: "
            f"{', '.join(differing)} here, and something else on another worker. Give "
            "the same command on every machine."
        )


def check_same_labels(sources: Sources) -> None:
    """Raises unless all workers read the same examples with the same labels."""
    if not workers.has_other_workers():
        return
    hashes = [source.record.hash for source in (sources.train, sources.test)]
    if not workers.are_alike(*map(workers.number_of, hashes)):
        raise ValueError(
            "All workers must read the same data. Received: labels with the hash "
            f"{hashes[0][:12]}... here, and others, or other test labels, on another "
            "worker. Give all of them the same files."
        )


def check_replicas(config: ConfigDict, strategy: tf.distribute.Strategy) -> None:
    """Raises if a global batch is too small to give each replica a part of it."""
    num_replicas = strategy.num_replicas_in_sync
    if config.batch_size < num_replicas:
        raise ValueError(
            f"`config.batch_size` must be at least {num_replicas}, the number of "
            f"replicas of config.strategy={config.strategy!r}: it is the batch of all "
            f"of them together. Received: {config.batch_size}."
        )


def check_parts(config: ConfigDict, source: Source) -> None:
    """Raises if a batch leaves a replica without an example."""
    num_replicas = tf.distribute.get_strategy().num_replicas_in_sync
    batch_size = min(config.batch_size, source.num_examples)
    rest = 0 if config.steps_per_epoch else source.num_examples % batch_size
    for size, which in ((batch_size, "each batch"), (rest, "the last batch")):
        part = -(-size // num_replicas)
        if size and part * (num_replicas - 1) >= size:
            raise ValueError(
                "`config.batch_size` must leave an example for each of the "
                f"{num_replicas} replicas in each batch of an epoch, which are given "
                f"equal parts, rounded up. Received: {config.batch_size}, of "
                f"{source.num_examples} examples, with {size} in {which}. Choose a "
                f"multiple of {num_replicas}, and should the last batch be too small, "
                "another one, or set config.steps_per_epoch."
            )


@functools.cache
def _mirrored():
    """Returns a strategy over all devices of this machine."""
    devices = [
        device.name
        for kind in ("GPU", "CPU")
        for device in tf.config.list_logical_devices(kind)
    ]
    num_gpus = len(tf.config.list_logical_devices("GPU"))
    return tf.distribute.MirroredStrategy(devices[: num_gpus or None])


@functools.cache
def _multi_worker():
    """Returns a strategy over the machines that `TF_CONFIG` names."""
    try:
        cluster = json.loads(os.environ.get("TF_CONFIG") or "{}")
        is_complete = bool(cluster["cluster"]) and "index" in cluster["task"]
    except (json.JSONDecodeError, KeyError, TypeError):
        is_complete = False
    if not is_complete:
        raise ValueError(
            "`config.strategy`='multi_worker' needs the environment variable "
            "TF_CONFIG, which names all machines and which of them this is. Received: "
            f"TF_CONFIG={os.environ.get('TF_CONFIG', '')!r}. Set, with another index "
            f"on each machine: {_EXAMPLE}"
        )
    # TensorFlow says nothing while it waits.
    print("Waits for all machines of TF_CONFIG.", file=sys.stderr, flush=True)
    try:
        return tf.distribute.MultiWorkerMirroredStrategy()
    except (RuntimeError, ValueError) as error:
        raise ValueError(
            "`config.strategy`='multi_worker' must be set up before any other use of "
            "TensorFlow, and by a TF_CONFIG that is right. Start a new process, in "
            f"which `train` comes first. TensorFlow says: {error}"
        ) from error
    except tf.errors.OpError as error:
        raise worker_lost(error) from error


@functools.cache
def _tpu():
    """Returns a strategy over the TPU that is reachable; not run on one so far."""
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver.connect()
    except (ValueError, OSError, tf.errors.OpError) as error:
        raise ValueError(
            "`config.strategy`='tpu' needs a TPU, by the environment variable TPU_NAME "
            f"or on this machine. TensorFlow says: {error}"
        ) from error
    return tf.distribute.TPUStrategy(resolver)


# From a value of `config.strategy` to the function that makes the strategy.
STRATEGIES = {
    "one": tf.distribute.get_strategy,  # The caller's: one device if there is none.
    "mirrored": _mirrored,
    "multi_worker": _multi_worker,
    "tpu": _tpu,
}
