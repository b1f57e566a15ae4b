"""Data sets whose examples keep one number for ever, so that labels can follow it."""

from keras_ncr.datasets.array_source import from_arrays
from keras_ncr.datasets.cifar_n_source import cifar_n, human_labels
from keras_ncr.datasets.dataset_source import from_dataset
from keras_ncr.datasets.digits_source import digits
from keras_ncr.datasets.feature_source import from_features
from keras_ncr.datasets.folder_source import from_folder
from keras_ncr.datasets.row_source import from_columns, from_texts
from keras_ncr.datasets.source import Source
from keras_ncr.datasets.split import hold_out
from keras_ncr.datasets.table_source import from_table
from keras_ncr.datasets.tfds_source import from_tfds
from keras_ncr.datasets.unlabeled import with_unlabeled
from keras_ncr.datasets.unreadable import (
    Skipped,
    check_images,
    faults_named,
    find_broken_images,
    skip_broken_images,
)

__all__ = [
    "Skipped",
    "Source",
    "check_images",
    "cifar_n",
    "digits",
    "faults_named",
    "find_broken_images",
    "from_arrays",
    "from_columns",
    "from_dataset",
    "from_features",
    "from_folder",
    "from_table",
    "from_texts",
    "from_tfds",
    "hold_out",
    "human_labels",
    "skip_broken_images",
    "with_unlabeled",
]
