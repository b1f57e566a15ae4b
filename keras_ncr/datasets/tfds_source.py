"""Any image classification data set that TensorFlow Datasets can build."""

import difflib

import numpy as np
import tensorflow as tf

from keras_ncr.checks import check_integer
from keras_ncr.datasets.source import Source


def from_tfds(name, split, data_dir=None, limit=None, download=True):
    """Returns one split of a data set of TensorFlow Datasets as a `Source`.

    TensorFlow Datasets gives each stored example an id, made of the file's name and
    the position in it. The index is the rank of that id (files by name, positions by
    number) and so does not depend on the order in which files are read. Labels and ids
    are collected in one pass that decodes no image.

    Args:
        name: String, as for `tfds.load`: `"cifar10"`, `"cifar100"`, `"fashion_mnist"`,
            with a version or configuration if wanted (`"cifar10:3.*.*"`).
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

    Returns:
        `Source`, with the ids of TensorFlow Datasets as strings.

    Raises:
        ValueError: If there is no data set or split of that name, it has no single
            image and class label, or `limit` is not from 1 to the number of examples.
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
    builder = _prepared_builder(name, data_dir, download)
    full_name = f"{name}/{split}"
    image_key, label_key = _supervised_keys(builder)
    ids, labels = _ids_and_labels(builder, split, label_key)
    kept = _kept_positions(len(ids), limit, full_name)
    ids, labels = ids[kept], labels[kept]
    label_feature = builder.info.features[label_key]
    return Source(
        name=full_name,
        dataset=_indexed_examples(builder, split, image_key, ids, labels),
        labels=labels,
        ids=ids.astype(str),
        num_classes=label_feature.num_classes,
        class_names=tuple(
            label_feature.int2str(label) for label in range(label_feature.num_classes)
        ),
        image_shape=tuple(builder.info.features[image_key].shape),
    )


def _prepared_builder(name, data_dir, download):
    """The data set's builder, after a download where the data are not there yet."""
    import tensorflow_datasets as tfds

    try:
        builder = tfds.builder(name, data_dir=data_dir)
    except tfds.core.DatasetNotFoundError as error:
        plain_name = name.split("/")[0].split(":")[0]
        nearest = difflib.get_close_matches(plain_name, tfds.list_builders())
        raise ValueError(
            "`name` must be a data set that TensorFlow Datasets knows "
            f"(`tfds.list_builders()`). Received: name={name!r}. "
            f"Nearest: {', '.join(nearest) or 'none'}."
        ) from error
    if builder.is_prepared():
        return builder
    try:
        if not download:
            raise FileNotFoundError("no download was asked for")
        builder.download_and_prepare()
    # Whatever goes wrong (network, checksum, disk, files to fetch by hand), the user
    # needs the same facts and the reason.
    except Exception as error:
        raise FileNotFoundError(
            f"Data set {name!r} is not prepared in {builder.data_dir}. Run "
            f"`tfds build {name} --data_dir=DIR` where there is a network, copy DIR if "
            "need be, and pass it as `data_dir`. "
            f"Received: data_dir={data_dir!r}, download={download}. Reason: {error}"
        ) from error
    return builder


def _supervised_keys(builder):
    """Names of the image and of its class among the features."""
    import tensorflow_datasets as tfds

    features = builder.info.features
    keys = builder.info.supervised_keys or ("image", "label")
    kinds = (tfds.features.Image, tfds.features.ClassLabel)
    if len(keys) == 2 and all(
        isinstance(key, str) and key in features and isinstance(features[key], kind)
        for key, kind in zip(keys, kinds, strict=True)
    ):
        return keys
    raise ValueError(
        "The data set must be for image classification, with one image and one class "
        f"label. Received: {builder.info.full_name} with features {list(features)}."
    )


def _read(builder, split, decoders):
    """Examples in the order of the files, each with its id."""
    import tensorflow_datasets as tfds

    return builder.as_dataset(
        split=split,
        decoders=decoders,
        # Whether images stay in memory is the pipeline's decision.
        read_config=tfds.ReadConfig(add_tfds_id=True, try_autocache=False),
        shuffle_files=False,
    )


def _ids_and_labels(builder, split, label_key):
    """Ids (bytes) and labels, sorted by file and by position in the file."""
    import tensorflow_datasets as tfds

    try:
        examples = _read(builder, split, tfds.decode.PartialDecoding({label_key: True}))
    except ValueError as error:  # an unknown split, or a part with nothing in it
        raise ValueError(
            "`split` must be a split of the data set or a part of one, with at least "
            f"one example. Known splits: {list(builder.info.splits)}. "
            f"Received: split={split!r}. {error}"
        ) from error
    batches = list(examples.batch(4096).as_numpy_iterator())
    ids = np.concatenate([batch["tfds_id"] for batch in batches])
    labels = np.concatenate([batch[label_key] for batch in batches])

    def file_and_position(rank):
        file, position = ids[rank].rsplit(b"__", 1)
        return file, int(position)  # as text, 10 would come before 2

    order = np.array(sorted(range(len(ids)), key=file_and_position))
    return ids[order], labels[order]


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


def _indexed_examples(builder, split, image_key, ids, labels):
    """The wanted examples, decoded, with the index that their id stands for."""
    import tensorflow_datasets as tfds

    index_of_id = tf.lookup.StaticHashTable(
        tf.lookup.KeyValueTensorInitializer(
            tf.constant(ids), tf.range(len(ids), dtype=tf.int64)
        ),
        default_value=-1,
    )
    decode = builder.info.features[image_key].decode_example
    labels = tf.constant(labels, tf.int64)

    def add_index(example):
        index = index_of_id.lookup(example["tfds_id"])
        return {"image": example[image_key], "index": index}

    def decode_image(example):
        return {
            "image": decode(example["image"]),
            "label": tf.gather(labels, example["index"]),
            "index": example["index"],
        }

    # Decoding comes last, so that images beyond the limit are never decoded.
    undecoded = {image_key: tfds.decode.SkipDecoding()}
    return (
        _read(builder, split, undecoded)
        .map(add_index)
        .filter(lambda example: example["index"] >= 0)
        .map(decode_image, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        .apply(tf.data.experimental.assert_cardinality(len(ids)))
    )
