"""Food-101N: dishes that a web search found, tested on those of Food-101."""

import numpy as np
import tensorflow_datasets as tfds

from keras_ncr.datasets.builders import manual_files

HOMEPAGE = "https://kuanghuei.github.io/Food-101N/"
TEST_PAGE = "https://data.vision.ee.ethz.ch/cvl/datasets_extra/food-101/"
NUM_CLASSES = 101
NOT_VERIFIED = -1
CLASSES, IMAGES, TEST_IMAGES = "meta/classes.txt", "meta/imagelist.tsv", "meta/test.txt"
VERIFIED = ("meta/verified_train.tsv", "meta/verified_val.tsv")


class Food101N(tfds.core.GeneratorBasedBuilder):
    """Builder of `food101n`: dishes with noisy labels, and Food-101's test images.

    | split | images | |
    | --- | --- | --- |
    | `train` | 310,009 | the whole of Food-101N, about 20 % of the labels wrong |
    | `verified_validation` | 4,741 | those of `train` in `meta/verified_val.tsv` |
    | `test` | 25,250 | Food-101's |

    Features: `image`, of any size; `label`, one of 101; `id`, the key of the data set's
    lists (`"apple_pie/a.jpg"`); `verification_label`: 1 where people found the label
    right, 0 where wrong, -1 where nobody looked, as at the test images. Of `train`,
    57,609 were looked at.

    `verified_validation` serves to measure how well wrong labels are found. It is no
    validation set for a classifier trained on `train`, which holds the same images.

    Reference:
        - [Lee et al., 2018](https://arxiv.org/abs/1711.07131)
        - [Bossard et al.,
        2014](https://data.vision.ee.ethz.ch/cvl/datasets_extra/food-101/)

    Example:
    >>> import tensorflow_datasets as tfds
    >>> import keras_ncr.datasets.builders
    >>> tfds.builder("food101n", data_dir=".").info.features["label"].num_classes
    101
    """

    name = "food101n"
    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "Initial release."}
    MANUAL_DOWNLOAD_INSTRUCTIONS = f"""
    The manual directory must hold:

      - Food-101N_release.zip (or the folder Food-101N_release/) from {HOMEPAGE}
      - food-101.tar.gz (5 GB; or the folder food-101/) from
        {TEST_PAGE}
    """

    def _info(self):
        return tfds.core.DatasetInfo(
            builder=self,
            description=(
                "Photos of 101 dishes, found on the web by the names of the dishes. "
                "About a fifth of the labels are wrong; for some it is known whether. "
                "The test images are those of Food-101, which were checked."
            ),
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(),
                    "label": tfds.features.ClassLabel(num_classes=NUM_CLASSES),
                    "verification_label": np.int64,
                    "id": tfds.features.Text(),
                }
            ),
            supervised_keys=("image", "label"),
            homepage=HOMEPAGE,
            citation="""
            @inproceedings{lee2018cleannet,
              title={{CleanNet}: Transfer Learning for Scalable Image Classifier
                Training with Label Noise},
              author={Lee, Kuang-Huei and He, Xiaodong and Zhang, Lei and Yang, Linjun},
              booktitle={CVPR}, year={2018}}
            """,
        )

    def _split_generators(self, dl_manager):
        noisy = manual_files.find_place(
            dl_manager.manual_dir,
            ["Food-101N_release.zip"],
            folder="Food-101N_release",
            inside="Food-101N_release/",
            page=HOMEPAGE,
        )
        clean = manual_files.find_place(
            dl_manager.manual_dir,
            ["food-101.tar.gz"],
            folder="food-101",
            inside="food-101/",
            page=TEST_PAGE,
        )
        classes, images, *verified = manual_files.read_texts(
            noisy, [CLASSES, IMAGES, *VERIFIED]
        )
        names = [line for _, line in _rows(classes)]
        class_names = manual_files.checked_classes(names, NUM_CLASSES, CLASSES)
        self.info.features["label"].names = class_names
        train = _parse_keys(images, IMAGES, class_names)
        manual_files.require_every_class(train.values(), class_names, IMAGES)
        verdicts = [
            _parse_verified(text, file, train)
            for text, file in zip(verified, VERIFIED, strict=True)
        ]
        verdict = _merged(*verdicts)
        validation = {key: train[key] for key in verdicts[1]}
        (test,) = manual_files.read_texts(clean, [TEST_IMAGES])
        test = {
            f"{key}.jpg": label
            for key, label in _parse_keys(test, TEST_IMAGES, class_names).items()
        }
        return {
            "train": self._generate_examples(noisy, train, IMAGES, verdict),
            "verified_validation": self._generate_examples(
                noisy, validation, VERIFIED[1], verdict
            ),
            "test": self._generate_examples(clean, test, TEST_IMAGES, {}),
        }

    def _generate_examples(self, place, labels, list_name, verdict):
        names = {f"images/{key}" for key in labels}
        for name, image in manual_files.stream_images(place, names, list_name):
            key = name.removeprefix("images/")
            yield (
                key,
                {
                    "image": image,
                    "label": labels[key],
                    "verification_label": verdict.get(key, NOT_VERIFIED),
                    "id": key,
                },
            )


def _rows(text):
    """Numbered lines without the line of column names."""
    lines = manual_files.numbered_lines(text)
    return [(n, line) for n, line in lines if not (n == 1 and "class_name" in line)]


def _parse_keys(text, file_name, class_names):
    """The label of every key, class/image."""
    label_of_name = {name: label for label, name in enumerate(class_names)}
    labels = {}
    for number, key in _rows(text):
        class_name, slash, image = key.partition("/")
        if not (slash and image):
            expectation = "be a class, a slash and an image"
            raise manual_files.line_error(file_name, number, key, expectation)
        if class_name not in label_of_name:
            expectation = f"begin with a class of {CLASSES}"
            raise manual_files.line_error(file_name, number, key, expectation)
        labels[key] = label_of_name[class_name]
    return labels


def _parse_verified(text, file_name, labels):
    """Whether the label of a key was found right (1) or wrong (0)."""
    verdict = {}
    for number, line in _rows(text):
        key, _, right = line.partition("\t")
        if right not in ("0", "1"):
            expectation = "be a key, a tab and 0 or 1"
            raise manual_files.line_error(file_name, number, line, expectation)
        if key not in labels:
            expectation = f"begin with a key of {IMAGES}"
            raise manual_files.line_error(file_name, number, line, expectation)
        if verdict.setdefault(key, int(right)) != int(right):
            expectation = f"end with {verdict[key]}, as an earlier line does"
            raise manual_files.line_error(file_name, number, line, expectation)
    return verdict


def _merged(first, second):
    """Both lists' verdicts, which must not contradict each other."""
    for key in first.keys() & second.keys():
        if first[key] != second[key]:
            raise ValueError(
                f"{' and '.join(VERIFIED)} must agree. Received: {first[key]} and "
                f"{second[key]} for {key}. Fetch them again."
            )
    return first | second
