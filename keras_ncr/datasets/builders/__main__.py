"""Command that prepares a data set from the files in a folder.

`python -m keras_ncr.datasets.builders NAME --manual_dir=FOLDER --data_dir=DATA_DIR`
does what `tfds build` does, and needs nothing beside what keras_ncr needs. NAME may be
any data set of TensorFlow Datasets that is fetched by hand.
"""

import argparse

import tensorflow_datasets as tfds
from absl import logging

import keras_ncr.datasets.builders  # noqa: F401 registers the data sets


def main(arguments=None):
    """Prepares one data set, as `tfds build` does."""
    parser = argparse.ArgumentParser(prog="python -m keras_ncr.datasets.builders")
    parser.add_argument("name", help="webvision/mini, clothing1m, cifar10_n, ...")
    parser.add_argument("--manual_dir", required=True, help="where the files are")
    parser.add_argument("--data_dir", help="where to write; ~/tensorflow_datasets")
    options = parser.parse_args(arguments)
    logging.set_verbosity(logging.INFO)  # says how many images were dropped
    config = tfds.download.DownloadConfig(manual_dir=options.manual_dir)
    try:
        builder = tfds.builder(options.name, data_dir=options.data_dir)
        builder.download_and_prepare(download_config=config)
    # No such data set or file, or one that is broken: what the message says is enough.
    except (
        tfds.core.DatasetNotFoundError,
        AssertionError,
        OSError,
        ValueError,
    ) as error:
        raise SystemExit(f"Error: {error}") from error


if __name__ == "__main__":
    main()
