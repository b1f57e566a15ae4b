"""Any image classification data set that TensorFlow Datasets can build."""

import os
from itertools import starmap

import numpy as np
import tensorflow as tf

from keras_ncr.checks import check_bool, check_integer, check_labels
from keras_ncr.datasets.source import Source, host_tensor
from keras_ncr.datasets.tfds_builder import damaged_files, prepared_builder
from keras_ncr.datasets.tfds_keys import keys_of, num_classes_of
from keras_ncr.datasets.unreadable import (
    Skipped,
    check_left,
    check_on_error,
    find_broken_images,
    first_ones,
)


def from_tfds(
    name: str,
    split: str,
    data_dir: str | os.PathLike | None = None,
    limit: int | None = None,
    download: bool = True,
    *,
    label_key: str | None = None,
    clean_label_key: str | None = None,
    is_clean_key: str | None = None,
    encoded: bool | None = None,
    on_error: str = "raise",
) -> Source:
    """Returns one split of a data set of TensorFlow Datasets as a `Source`.

    TensorFlow Datasets gives each stored example an id, made of the file's name and
    the position in it. The index is the rank of that id (files by name, positions by
    number) and so does not depend on the order in which files are read. Labels and ids
    are collected in one pass that decodes no image.

    Some data sets know which of their labels are wrong: by a second feature with the
    true label, or by a boolean one. Naming it fills `clean_labels` of the source.

    Args:
        name: String, as for `tfds.load`: `"cifar10"`, `"cifar100"`, `"fashion_mnist"`,
            with a version or configuration if wanted (`"cifar10:3.*.*"`). Those of
            `keras_ncr.datasets.builders` are known as well.
        split: String, as for `tfds.load`: `"train"`, `"test"`, `"train[:90%]"`.
        data_dir: Optional path of the folder that holds prepared data sets.
            Defaults to TensorFlow Datasets' own (`~/tensorflow_datasets`).
        limit: Optional int. Keeps this many examples: the first of the permutation
            `np.random.RandomState(0).permutation(n)`, in the order of their ids, with
            an index of their own from 0. A smaller limit keeps a subset of a larger
            one's examples. Defaults to all.
        download: Boolean. Whether to download and prepare data that are not in
            `data_dir`. Without a network it takes minutes until that is given up.
            Defaults to `True`, as in `tfds.load`.
        label_key: Optional string: the class label to train on. Defaults to the data
            set's own supervised key, or `"label"`; in `cifar10_n` and `cifar100_n`
            that is the true one (see `cifar_n`).
        clean_label_key: Optional string: the class label that is the true one. Defaults
            to none.
        is_clean_key: Optional string, instead of `clean_label_key`: the boolean that
            says whether the label is right. Where it is not, the clean label is -1.
            Defaults to `"is_clean"` where there is one and no other key is given, as
            in `controlled_noisy_web_labels`. That data set calls each image from the
            web wrong, even where people found its label right.
        encoded: Optional boolean. Whether images stay the bytes that are stored, to be
            decoded when they are needed. Defaults to `True` where they differ in size.
        on_error: `"raise"` or `"skip"`, which leaves out, and lists in `skipped` of the
            source, labels out of range and broken images, for which all images are
            decoded once. Defaults to `"raise"`, which finds the labels now, and the
            images when they are read. Files that are damaged are never skipped.

    Returns:
        `Source`, with the ids of TensorFlow Datasets as strings.

    Raises:
        ValueError: If there is no data set, split or key of that name, it has no single
            image and class label, a label is missing (-1), a file is damaged, or
            `limit` is not from 1 to the number of examples.
        FileNotFoundError: If the data set is not prepared in `data_dir`, and was not
            to be or could not be downloaded now.

    Reference:
        - [Splits in TensorFlow Datasets](https://www.tensorflow.org/datasets/splits)
        - [Its ids](https://www.tensorflow.org/datasets/api_docs/python/tfds/ReadConfig)

    Example:
    >>> import tensorflow_datasets as tfds
    >>> with tfds.testing.mock_data(num_examples=5):  # random images, no download
    ...     source = keras_ncr.datasets.from_tfds("cifar10", "train")
    >>> source.num_examples, source.num_classes, source.image_shape
    (5, 10, (32, 32, 3))
    """
    builder = prepared_builder(name, data_dir, download)
    full_name = f"{name}/{split}"
    keys = keys_of(builder, label_key, clean_label_key, is_clean_key)
    features = builder.info.features
    num_classes = num_classes_of(features, keys)
    image_feature = features[keys.image]
    if encoded is None:
        encoded = None in image_feature.shape
    decode = None if check_bool(encoded, "encoded") else image_feature.decode_example
    skips = check_on_error(on_error)
    read = _reader(builder, split)
    ids, columns = _ids_and_columns(read, builder, split, keys)
    skipped = []
    kept = _kept_positions(len(ids), limit, full_name)
    ids, columns = ids[kept], {key: column[kept] for key, column in columns.items()}
    reasons = _wrong_labels(columns, keys, num_classes)
    if reasons and not skips:
        raise ValueError(_about_labels(reasons, ids))
    if skips:
        reasons = {**_broken_images(read, keys.image, ids), **reasons}
        skipped = _skipped(reasons, ids)
        kept = np.setdiff1d(np.arange(len(ids)), list(reasons))
        check_left(len(kept), skipped, full_name)
        ids, columns = ids[kept], {key: column[kept] for key, column in columns.items()}
    labels = check_labels(columns[keys.label], num_classes, keys.label)

    def find_faults():
        return damaged_files(builder, split) or dict(
            _skipped(_broken_images(read, keys.image, ids), ids)
        )

    return Source(
        name=full_name,
        dataset=_indexed_examples(read, keys.image, decode, ids, labels),
        labels=labels,
        ids=ids.astype(str),
        num_classes=num_classes,
        # CIFAR-N's builders name the classes in the true label alone.
        class_names=tuple(features[keys.clean_label or keys.label].names),
        image_shape=tuple(image_feature.shape),
        clean_labels=_clean_labels(columns, keys),
        skipped=tuple(skipped),
        find_faults=find_faults,
    )


def _reader(builder, split):
    """A function from decoders to the examples, each with its id, file by file."""
    import tensorflow_datasets as tfds

    read_config = tfds.ReadConfig(
        add_tfds_id=True,
        # Whether images stay in memory is the pipeline's decision.
        try_autocache=False,
    )

    def read(decoders):
        return builder.as_dataset(
            split=split, decoders=decoders, read_config=read_config, shuffle_files=False
        )

    return read


def _ids_and_columns(read, builder, split, keys):
    """Ids (bytes) and all but the images, sorted by file and by position in it."""
    import tensorflow_datasets as tfds

    wanted = {key: True for key in keys[1:] if key is not None}
    try:
        examples = read(tfds.decode.PartialDecoding(wanted))
    except ValueError as error:  # an unknown split, or a part with nothing in it
        raise ValueError(
            "`split` must be a split of the data set or a part of one, with at least "
            f"one example. Known splits: {list(builder.info.splits)}. "
            f"Received: split={split!r}. {error}"
        ) from error
    try:
        batches = list(examples.batch(4096).as_numpy_iterator())
    except tf.errors.OpError as error:
        damaged = damaged_files(builder, split)
        if not damaged:
            raise
        first = first_ones(list(starmap(Skipped, damaged.items())))
        raise ValueError(
            f"All files of {builder.info.full_name} in {builder.data_dir} must be "
            f"whole. Received: {len(damaged)} damaged ones of split={split!r}: "
            f"{first}. Remove the folder, and prepare or copy the data set again."
        ) from error
    columns = {
        key: np.concatenate([batch[key] for batch in batches])
        for key in ("tfds_id", *wanted)
    }
    ids = columns.pop("tfds_id")

    def file_and_position(rank):
        file, position = ids[rank].rsplit(b"__", 1)
        return file, int(position)  # as text, 10 would come before 2

    order = np.array(sorted(range(len(ids)), key=file_and_position))
    return ids[order], {key: column[order] for key, column in columns.items()}


def _wrong_labels(columns, keys, num_classes):
    """Reasons by the position of labels that are no class numbers."""
    reasons = {}
    # -1 in a class label means "not given", which is not "wrong".
    for key in filter(None, (keys.label, keys.clean_label)):
        labels = columns[key]
        for position in np.flatnonzero((labels < 0) | (labels >= num_classes)):
            bound = "0 or more" if labels[position] < 0 else f"below {num_classes}"
            reason = f"`{key}` must be {bound}. Received: {labels[position]}."
            reasons.setdefault(int(position), reason)
    return reasons


def _about_labels(reasons, ids):
    """What the error says of wrong labels."""
    position, reason = min(reasons.items())
    return (
        f"{reason[:-1]} for example {ids[position].decode()!r}; {len(reasons):,} such "
        "examples in all. Name the right key, correct the data set, or go on without "
        'them by `on_error="skip"` (`--config.data.on_error=skip`).'
    )


def _broken_images(read, image_key, ids):
    """Reasons by the position of images that cannot be decoded, from their bytes."""
    labels = np.zeros(len(ids), np.int64)  # Of no matter here.
    images = _indexed_examples(read, image_key, None, ids, labels)
    return find_broken_images(
        Source("images", images, labels, ids, 2, ("0", "1"), (None, None, 3))
    )


def _skipped(reasons, ids):
    """What is faulty, a list of `Skipped` from reasons by position."""
    return [Skipped(ids[i].decode(), text) for i, text in sorted(reasons.items())]


def _clean_labels(columns, keys):
    """The true labels, as far as the data set knows them; None if it does not."""
    if keys.clean_label is not None:
        return columns[keys.clean_label]
    if keys.is_clean is not None:
        return np.where(columns[keys.is_clean], columns[keys.label], -1)
    return None


def _kept_positions(num_examples, limit, full_name):
    """Sorted positions of the examples that a limit keeps."""
    if limit is None:
        return np.arange(num_examples)
    if check_integer(limit, "limit", minimum=1) > num_examples:
        raise ValueError(
            f"`limit` must be at most {num_examples}, the number of examples of "
            f"{full_name!r}. Received: limit={limit}."
        )
    # RandomState's stream is frozen for ever; default_rng's may change with NumPy.
    return np.sort(np.random.RandomState(0).permutation(num_examples)[:limit])


def _indexed_examples(read, image_key, decode, ids, labels):
    """The wanted examples, with the index that their id stands for."""
    import tensorflow_datasets as tfds

    index_of_id = tf.lookup.StaticHashTable(
        tf.lookup.KeyValueTensorInitializer(
            tf.constant(ids), tf.range(len(ids), dtype=tf.int64)
        ),
        default_value=-1,
    )
    labels = host_tensor(labels)

    def add_index(example):
        index = index_of_id.lookup(example["tfds_id"])
        return {"inputs": example[image_key], "index": index}

    def finish(example):
        image = example["inputs"]
        return {
            "inputs": image if decode is None else decode(image),
            "label": tf.gather(labels, example["index"]),
            "index": example["index"],
        }

    # Decoding comes last, so that images beyond the limit are never decoded.
    undecoded = {image_key: tfds.decode.SkipDecoding()}
    return (
        read(undecoded)
        .map(add_index)
        .filter(lambda example: example["index"] >= 0)
        .map(finish, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        .apply(tf.data.experimental.assert_cardinality(len(ids)))
    )
