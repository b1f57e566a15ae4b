"""Data sets whose examples keep one number for ever, so that labels can follow it."""

from keras_ncr.datasets.digits_source import digits
from keras_ncr.datasets.source import Source, from_arrays
from keras_ncr.datasets.tfds_source import from_tfds

__all__ = ["Source", "digits", "from_arrays", "from_tfds"]
