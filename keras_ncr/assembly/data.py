"""The data of a run: which examples, and what is done to their images."""

from keras_ncr import augment, datasets
from keras_ncr.config import default_config


def load_sources(data):
    """Returns the training and the test `Source` of a data set."""
    if data.name == "digits":
        _check_untouched(data, ("train_split", "test_split", "dir", "limit"))
        return datasets.digits()
    folder = data.dir or None
    return (
        datasets.from_tfds(data.name, data.train_split, folder, data.limit or None),
        datasets.from_tfds(data.name, data.test_split, folder),
    )


def _check_untouched(data, keys):
    """Raises if a setting was given that the data set has no use for."""
    default = default_config().data
    for key in keys:
        if data[key] != default[key]:
            raise ValueError(
                f"`config.data.{key}` is for data of TensorFlow Datasets and has no "
                f"effect on {data.name!r}. Received: {data[key]!r}. Leave it out."
            )


def augmentation(settings):
    """Returns the augmentation of single images, or `None`."""
    if not settings.padding and not settings.flip:
        return None
    return augment.crop_and_flip(settings.padding, settings.flip)
