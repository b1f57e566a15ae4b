r"""Builders for noisy data sets that TensorFlow Datasets lacks.

Importing this package registers `webvision`, `clothing1m`, `animal10n` and
`food101n`, after which `tfds.load` and `keras_ncr.datasets.from_tfds` know them. None
of the four can be fetched by a program: `tfds.builder(name)` has
`MANUAL_DOWNLOAD_INSTRUCTIONS`, which say what to get, and where. With the files in a
folder, either command prepares a data set:

    python -m keras_ncr.datasets.builders webvision/mini \
        --manual_dir=FOLDER --data_dir=DATA_DIR
    tfds build webvision/mini --imports=keras_ncr.datasets.builders \
        --manual_dir=FOLDER --data_dir=DATA_DIR

The second has more options. In TensorFlow Datasets 4.9.10 it does not start without two
libraries that other commands of `tfds` use: `pip install apache-beam mlcroissant`.

While it builds, every image is decoded once, so that a broken one is found now and
not in the middle of training. At 256 x 340 pixels that took 1.2 ms on one core: a
minute and a half for mini-WebVision, most of an hour for the whole.
"""

from keras_ncr.datasets.builders.animal10n import Animal10N
from keras_ncr.datasets.builders.clothing1m import Clothing1M
from keras_ncr.datasets.builders.food101n import Food101N
from keras_ncr.datasets.builders.webvision import WebVision

__all__ = ["Animal10N", "Clothing1M", "Food101N", "WebVision"]
