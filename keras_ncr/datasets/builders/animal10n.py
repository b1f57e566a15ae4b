"""ANIMAL-10N: ten animals of which each resembles another, labeled by people."""

import re

import tensorflow_datasets as tfds

from keras_ncr.datasets.builders import manual_files

HOMEPAGE = "https://dm.kaist.ac.kr/datasets/animal-10n/"
CLASS_NAMES = [
    *("cat", "lynx", "wolf", "coyote", "cheetah", "jaguar"),
    *("chimpanzee", "orangutan", "hamster", "guinea pig"),
]


class Animal10N(tfds.core.GeneratorBasedBuilder):
    """Builder of `animal10n`: splits `train` (50,000 images) and `test` (5,000).

    Features: `image`, 64 x 64 pixels; `label`, one of ten; `id`, the file
    (`"training/3_img_7.jpg"`). About 8 % of the training labels are wrong; those of the
    test images agree with the word that found them.

    Reference:
        - [Song et al., 2019](https://proceedings.mlr.press/v97/song19b.html)

    Example:
    >>> import tensorflow_datasets as tfds
    >>> import keras_ncr.datasets.builders
    >>> tfds.builder("animal10n", data_dir=".").info.features["label"].names[9]
    'guinea pig'
    """

    name = "animal10n"
    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "Initial release."}
    MANUAL_DOWNLOAD_INSTRUCTIONS = f"""
    Ask for the data set on {HOMEPAGE} and take the version with raw images. The manual
    directory must hold one of:

      - raw_image_ver.zip, as it is downloaded,
      - raw_image.zip, which is in it,
      - the folders training/ and testing/, which are in that.
    """

    def _info(self):
        return tfds.core.DatasetInfo(
            builder=self,
            description=(
                "Photos of five pairs of animals that are easily mistaken for each "
                "other, found by a search for their names and labeled by students. "
                "About 8 % of the training labels are wrong."
            ),
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(),
                    "label": tfds.features.ClassLabel(names=CLASS_NAMES),
                    "id": tfds.features.Text(),
                }
            ),
            supervised_keys=("image", "label"),
            homepage=HOMEPAGE,
            citation="""
            @inproceedings{song2019selfie,
              title={{SELFIE}: Refurbishing Unclean Samples for Robust Deep Learning},
              author={Song, Hwanjun and Kim, Minseok and Lee, Jae-Gil},
              booktitle={ICML}, year={2019}}
            """,
        )

    def _split_generators(self, dl_manager):
        places = {
            folder: manual_files.find_place(
                dl_manager.manual_dir,
                ["raw_image_ver.zip", "raw_image.zip"],
                folder=folder,
                inside=f"{folder}/",
                page=HOMEPAGE,
            )
            for folder in ("training", "testing")
        }
        labels = {folder: _labels(place) for folder, place in places.items()}
        manual_files.require_every_class(
            labels["training"].values(), CLASS_NAMES, str(places["training"].path)
        )
        return {
            split: self._generate_examples(folder, places[folder], labels[folder])
            for split, folder in (("train", "training"), ("test", "testing"))
        }

    def _generate_examples(self, folder, place, labels):
        for name, image in manual_files.stream_images(place, labels, f"{folder}/"):
            key = f"{folder}/{name}"
            yield key, {"image": image, "label": labels[name], "id": key}


def _labels(place):
    """The label of every image: the digit before the first underscore of its name."""
    labels = {}
    for name in manual_files.list_names(place):
        if name.startswith(".") or not name.endswith((".jpg", ".jpeg", ".png")):
            continue  # what file managers leave behind
        if not re.match("[0-9]_", name):
            raise ValueError(
                f"Images of {place.path} must be named after their label, 0 to 9, "
                f"followed by an underscore. Received: {name}. Take it away."
            )
        labels[name] = int(name[0])
    return labels
