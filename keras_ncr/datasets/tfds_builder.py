"""The builder of a data set of TensorFlow Datasets, prepared, and its damaged files."""

import difflib
import os

import tensorflow as tf

from keras_ncr.datasets.unreadable import plain_message


def prepared_builder(name, data_dir, download):
    """The data set's builder, after a download where the data are not there yet."""
    import tensorflow_datasets as tfds

    import keras_ncr.datasets.builders  # noqa: F401 (what is imported is registered)

    if data_dir is not None:
        data_dir = os.path.expanduser(data_dir)
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
            f"Data set {name!r} is not prepared in {builder.data_dir}. "
            f"{_how_to_prepare(builder, name)} "
            f"Received: data_dir={data_dir!r}, download={download}. Reason: {error}"
        ) from error
    return builder


def damaged_files(builder, split):
    """Returns the reason by the path of each file of a split that is not whole."""
    reasons = {}
    for shard in builder.info.splits[split].file_instructions:
        path, num_expected = os.fspath(shard.filename), shard.examples_in_shard
        num_records, reason = _readable_records(path, builder.info.file_format)
        if reason is None and num_records != num_expected:
            reason = "Its records are not as many as the data set says."
        if reason is not None:
            counts = f"{num_records} of {num_expected} records can be read."
            reasons[path] = f"{reason} {counts}"
    return reasons


def _how_to_prepare(builder, name):
    """What the user can do, for data that must be fetched by hand and for others."""
    if builder.MANUAL_DOWNLOAD_INSTRUCTIONS:
        return (
            "Its files are fetched by hand; the reason says which. With them in a "
            f"folder, run `python -m keras_ncr.datasets.builders {name} "
            "--manual_dir=FOLDER --data_dir=DIR`, and pass DIR as `data_dir`."
        )
    return (
        f"Run `tfds build {name} --data_dir=DIR` where there is a network, copy DIR if "
        "need be, and pass it as `data_dir`."
    )


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
