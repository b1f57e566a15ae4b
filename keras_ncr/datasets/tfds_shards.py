"""The files that a data set of TensorFlow Datasets is in, and which are damaged."""

import os
import typing

import tensorflow as tf

from keras_ncr.datasets.broken_images import plain_message
from keras_ncr.datasets.skipped import Skipped


class DamagedShard(typing.NamedTuple):
    """A file that does not hold the records that the data set says it has.

    Args:
        path: String.
        num_records: Int: how many can be read, from the beginning.
        num_expected: Int: how many there should be.
        reason: String, a sentence.

    Example:
    >>> from keras_ncr.datasets.tfds_shards import DamagedShard
    >>> DamagedShard("a.tfrecord", 0, 10, "The file is empty.").num_expected
    10
    """

    path: str
    num_records: int
    num_expected: int
    reason: str


def damaged_shards(builder, split):
    """Returns the damaged ones of the files that a split is read from.

    Each file is read once, from its beginning to the first record that cannot be read.

    Args:
        builder: `tfds.core.DatasetBuilder` of a data set that is prepared.
        split: String, as for `tfds.load`.

    Returns:
        List of `DamagedShard`.

    Example:
    >>> import types
    >>> from keras_ncr.datasets.tfds_shards import damaged_shards
    >>> shard = types.SimpleNamespace(filename="gone.tfrecord", examples_in_shard=5)
    >>> info = types.SimpleNamespace(
    ...     splits={"train": types.SimpleNamespace(file_instructions=[shard])},
    ...     file_format="tfrecord",
    ... )
    >>> builder = types.SimpleNamespace(info=info)
    >>> [found.reason for found in damaged_shards(builder, "train")]
    ['The file is not there.']
    """
    damaged = []
    for shard in builder.info.splits[split].file_instructions:
        path = os.fspath(shard.filename)
        num_records, reason = _readable_records(path, builder.info.file_format)
        if reason is None and num_records != shard.examples_in_shard:
            reason = "Its records are not as many."
        if reason is not None:
            damaged.append(
                DamagedShard(path, num_records, shard.examples_in_shard, reason)
            )
    return damaged


def _readable_records(path, file_format):
    """How many records of a file can be read, and why not more of them."""
    from tensorflow_datasets.core import file_adapters

    if not tf.io.gfile.exists(path):
        return 0, "The file is not there."
    if not tf.io.gfile.stat(path).length:
        return 0, "The file is empty."
    file_format = file_adapters.FileFormat.from_value(file_format)
    adapter = file_adapters.ADAPTER_FOR_FORMAT[file_format]
    num_records = 0
    try:
        for _ in adapter.make_tf_data(path):
            num_records += 1
    except tf.errors.OpError as error:
        return num_records, plain_message(error)
    return num_records, None


def described(damaged):
    """Returns the first three damaged files in words.

    Args:
        damaged: List of `DamagedShard`.

    Returns:
        String.

    Example:
    >>> from keras_ncr.datasets.tfds_shards import DamagedShard, described
    >>> described([DamagedShard("a.tfrecord", 0, 10, "The file is empty.")])
    'a.tfrecord (0 of 10 records can be read: The file is empty.)'
    """
    words = [
        f"{shard.path} ({shard.num_records} of {shard.num_expected} records can be "
        f"read: {shard.reason})"
        for shard in damaged[:3]
    ]
    return ", ".join(words) + (", ..." if len(damaged) > 3 else "")


def readable_part(damaged):
    """Returns what makes TensorFlow Datasets read the sound records alone.

    Args:
        damaged: List of `DamagedShard`.

    Returns:
        Callable from the `FileInstruction`s of a split to others, as
        `experimental_interleave_sort_fn` of `tfds.ReadConfig`.

    Example:
    >>> from keras_ncr.datasets.tfds_shards import readable_part
    >>> readable_part([])([])
    []
    """
    num_readable = {shard.path: shard.num_records for shard in damaged}

    def select(instructions):
        selected = []
        for shard in instructions:
            limit = num_readable.get(os.fspath(shard.filename))
            if limit is not None:
                take = min(shard.take, max(0, limit - shard.skip))
                shard = shard.replace(take=take)
            if shard.take:
                selected.append(shard)
        return selected

    return select


def lost_records(builder, split, damaged):
    """Returns the records of a split that cannot be read, a list of `Skipped`.

    Args:
        builder: `tfds.core.DatasetBuilder`.
        split: String, as for `tfds.load`.
        damaged: List of `DamagedShard` of this split.

    Returns:
        List of `Skipped`, with the ids of TensorFlow Datasets.

    Example:
    >>> import types
    >>> from keras_ncr.datasets.tfds_shards import DamagedShard, lost_records
    >>> shard = types.SimpleNamespace(filename="x/a.tfrecord", skip=0, take=2)
    >>> splits = {"train": types.SimpleNamespace(file_instructions=[shard])}
    >>> builder = types.SimpleNamespace(info=types.SimpleNamespace(splits=splits))
    >>> damaged = [DamagedShard("x/a.tfrecord", 1, 2, "It is torn.")]
    >>> lost_records(builder, "train", damaged)
    [Skipped(id='a.tfrecord__1', reason='It is torn.')]
    """
    damage = {shard.path: shard for shard in damaged}
    if not damage:
        return []
    lost = []
    for shard in builder.info.splits[split].file_instructions:
        found = damage.get(os.fspath(shard.filename))
        if found is not None:
            first = max(shard.skip, found.num_records)
            name = os.path.basename(found.path)
            lost += [
                Skipped(f"{name}__{position}", found.reason)
                for position in range(first, shard.skip + shard.take)
            ]
    return lost
