"""WebVision 1.0: photos that web searches for the classes of ImageNet found."""

import dataclasses
import re
import typing

import tensorflow_datasets as tfds

from keras_ncr.datasets.builders import manual_files

HOMEPAGE = "https://data.vision.ee.ethz.ch/cvl/webvision/dataset2017.html"
DOWNLOADS = "https://data.vision.ee.ethz.ch/cvl/webvision/download.html"
IMAGENET_PAGE = "https://image-net.org/download-images"
NUM_CLASSES = 1000


@dataclasses.dataclass(eq=False)
class WebVisionConfig(tfds.core.BuilderConfig):
    """Which part of WebVision to build."""

    halves: tuple = ("google",)  # and "flickr": whose images to train on
    num_classes: int = 50  # keeps those below; the paper has 50 and 1,000
    has_imagenet: bool = True  # whether there is a split of ImageNet's images


def _configs():
    """The two sizes, each with and without ImageNet's images."""
    sizes = {
        "mini": (("google",), 50, "Google's images of the first 50 classes"),
        "full": (("google", "flickr"), NUM_CLASSES, "All images of 1,000 classes"),
    }
    return [
        WebVisionConfig(
            name=name if has_imagenet else f"{name}_without_imagenet",
            description=description + ("." if has_imagenet else ", no split imagenet."),
            halves=halves,
            num_classes=num_classes,
            has_imagenet=has_imagenet,
        )
        for has_imagenet in (True, False)
        for name, (halves, num_classes, description) in sizes.items()
    ]


class WebVision(tfds.core.GeneratorBasedBuilder):
    """Builder of `webvision`: splits `train`, `validation` and `imagenet`.

    | configuration | classes | train | validation | imagenet |
    | --- | --- | --- | --- | --- |
    | `mini`, the default | 50 | 65,944, Google | 2,500 | 2,500 |
    | `full` | 1,000 | 2.4 million, Google and Flickr | 50,000 | 50,000 |

    Features: `image`, resized by WebVision (not those of `imagenet`); `label`; `id`,
    the file (`"google/q0001/a.jpg"`). A training label is what was searched for; nobody
    checked it. `imagenet` holds ILSVRC-2012's validation images of the same classes.
    Labels follow the order of WebVision's `info/synsets.txt`, whose lines (a WordNet id
    and words) are the class names; ImageNet's images get theirs by WordNet id.

    Without ImageNet's archive both stop and name the file. For users who do not have
    it there are `mini_without_imagenet` and `full_without_imagenet`.

    Reference:
        - [Li et al., 2017](https://arxiv.org/abs/1708.02862)

    Example:
    >>> import tensorflow_datasets as tfds
    >>> import keras_ncr.datasets.builders
    >>> builder = tfds.builder("webvision/mini", data_dir=".")
    >>> builder.info.features["label"].num_classes
    50
    """

    name = "webvision"
    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "Initial release."}
    BUILDER_CONFIGS = _configs()
    DEFAULT_BUILDER_CONFIG_NAME = "mini"
    MANUAL_DOWNLOAD_INSTRUCTIONS = f"""
    The manual directory must hold these files, or the folders that come out of them:

      - info.tar (0.2 GB; or info/), google_resized_256.tar (17 GB; or google/) and
        val_images_256.tar (0.9 GB; or val_images_256/) from
        {DOWNLOADS}
      - for `full`: flickr_resized_256.tar (or flickr/) from the same page
      - unless the configuration ends with `_without_imagenet`: ILSVRC2012_img_val.tar
        (6.3 GB; or its images in ILSVRC2012_img_val/), for which to register on
        {IMAGENET_PAGE}
    """

    def _info(self):
        return tfds.core.DatasetInfo(
            builder=self,
            description=(
                "Photos that Google and Flickr returned for the 1,000 classes of "
                "ILSVRC-2012. The label is the class that was searched for: many are "
                "wrong, and nobody knows which. The validation images were checked."
            ),
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(),
                    "label": tfds.features.ClassLabel(
                        num_classes=self.builder_config.num_classes
                    ),
                    "id": tfds.features.Text(),
                }
            ),
            supervised_keys=("image", "label"),
            homepage=HOMEPAGE,
            citation="""
            @article{li2017webvision,
              title={{WebVision} Database: Visual Learning and Understanding from Web
                Data},
              author={Li, Wen and Wang, Limin and Li, Wei and Agustsson, Eirikur and
                Van Gool, Luc},
              journal={arXiv:1708.02862}, year={2017}}
            """,
        )

    def _split_generators(self, dl_manager):
        config = self.builder_config
        # All files are looked for, and all lists read, before the first image is.
        archives = {half: f"{half}_resized_256.tar" for half in config.halves}
        archives["val_images_256"] = "val_images_256.tar"
        places = {
            folder: _find(dl_manager.manual_dir, archive, folder)
            for folder, archive in archives.items()
        }
        imagenet = (
            _find_imagenet(dl_manager.manual_dir) if config.has_imagenet else None
        )
        lists = [f"train_filelist_{half}.txt" for half in config.halves]
        lists.append("val_filelist.txt")
        info = _find(dl_manager.manual_dir, "info.tar", "info")
        synsets, *texts = manual_files.read_texts(info, ["synsets.txt", *lists])
        class_names = parse_synsets(synsets)[: config.num_classes]
        self.info.features["label"].names = class_names
        *train, validation = (
            _Part(folder, place, _labels(text, folder, file, config.num_classes), file)
            for (folder, place), text, file in zip(
                places.items(), texts, lists, strict=True
            )
        )
        manual_files.require_every_class(
            (label for part in train for label in part.labels.values()),
            class_names,
            " and ".join(lists[:-1]),
        )
        parts = {"train": train, "validation": [validation]}
        if imagenet:
            labels = imagenet_labels(class_names)
            parts["imagenet"] = [_Part("imagenet", imagenet, labels, "ILSVRC-2012")]
        return {split: self._generate_examples(parts[split]) for split in parts}

    def _generate_examples(self, parts):
        for part in parts:
            for name, image in manual_files.stream_images(
                part.place, part.labels, part.list_name
            ):
                key = f"{part.folder}/{name}"
                yield key, {"image": image, "label": part.labels[name], "id": key}


class _Part(typing.NamedTuple):
    """Images of one archive: their labels by name, and the list that has these."""

    folder: str
    place: manual_files.Place
    labels: dict
    list_name: str


def _labels(text, folder, file_name, num_classes):
    """Labels of the kept classes' images, named within their folder."""
    labels = manual_files.parse_labels(text, file_name, NUM_CLASSES)
    return {
        name.removeprefix(f"{folder}/"): label
        for name, label in labels.items()
        if label < num_classes
    }


def _find(manual_dir, archive, folder):
    return manual_files.find_place(
        manual_dir, [archive], folder, inside=f"{folder}/", page=DOWNLOADS
    )


def _find_imagenet(manual_dir):
    """Place of ImageNet's images, or an error that also names the way without."""
    try:
        return manual_files.find_place(
            manual_dir,
            ["ILSVRC2012_img_val.tar"],
            folder="ILSVRC2012_img_val",
            inside=None,
            page=IMAGENET_PAGE,
        )
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"{error} To do without the split imagenet, build "
            "webvision/mini_without_imagenet or webvision/full_without_imagenet."
        ) from error


def parse_synsets(text):
    """Returns the class names of `info/synsets.txt`, in its order."""
    lines = manual_files.numbered_lines(text)
    for number, line in lines:
        if not re.match(r"n[0-9]{8}\b", line):
            expectation = "begin with a WordNet id"
            raise manual_files.line_error("synsets.txt", number, line, expectation)
    num_different = len({line.split()[0] for _, line in lines})
    if not len(lines) == num_different == NUM_CLASSES:
        raise ValueError(
            f"synsets.txt must have {NUM_CLASSES} lines, each with a different WordNet "
            f"id. Received: {len(lines)} lines, {num_different} different ids. "
            "Fetch info.tar again."
        )
    return [line for _, line in lines]


def imagenet_labels(class_names):
    """Returns the labels of ILSVRC-2012's validation images of these classes."""
    label_of_id = {name.split()[0]: label for label, name in enumerate(class_names)}
    ids = validation_wordnet_ids()
    unknown = sorted(set(label_of_id) - set(ids))
    if unknown:
        raise ValueError(
            "synsets.txt must name classes of ILSVRC-2012 only. "
            f"Received: {unknown[0]}, which is none. Fetch info.tar again."
        )
    return {
        f"ILSVRC2012_val_{number:08}.JPEG": label_of_id[wordnet_id]
        for number, wordnet_id in enumerate(ids, start=1)
        if wordnet_id in label_of_id
    }


def validation_wordnet_ids():
    """Returns the WordNet id of each ILSVRC-2012 validation image, in their order."""
    path = tfds.core.tfds_path("datasets/imagenet2012/validation_labels.txt")
    return path.read_text().split()
