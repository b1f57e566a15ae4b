"""Clothing1M: photos of clothes that shops' texts label, some of them checked."""

import re

import numpy as np
import tensorflow_datasets as tfds
from absl import logging

from keras_ncr.datasets.builders import manual_files

HOMEPAGE = "https://github.com/Cysu/noisy_label"
NUM_CLASSES = 14
UNKNOWN = -1  # where an image has no clean label, or no noisy one
NAMES, NOISY_LABELS, CLEAN_LABELS = (
    "category_names_eng.txt",
    "noisy_label_kv.txt",
    "clean_label_kv.txt",
)
KEY_LISTS = {
    "train": "noisy_train_key_list.txt",
    "validation": "clean_val_key_list.txt",
    "test": "clean_test_key_list.txt",
    "clean_train": "clean_train_key_list.txt",
}


class Clothing1M(tfds.core.GeneratorBasedBuilder):
    """Builder of `clothing1m`: a million images with noisy labels, 72,409 with clean.

    | split | images | label |
    | --- | --- | --- |
    | `train` | about 1,000,000 | noisy, from the text around the image |
    | `validation` | 14,313 | clean |
    | `test` | 10,526 | clean |
    | `clean_train` | 47,570 | clean; the paper does not train on them |

    Features: `image`, of any size; `label`, one of 14; `id`, the key of the data set's
    lists (`"images/7/12/a.jpg"`); `clean_label` and `noisy_label`, -1 where it is not
    known. Some images of the clean splits have both: they show which classes are taken
    for which. A training image that is in a clean list, too, is dropped, and how many
    were is logged. An estimated 38 % of the noisy labels are wrong.

    Reference:
        - [Xiao et al.,
        2015](https://openaccess.thecvf.com/content_cvpr_2015/html/Xiao_Learning_From_Massive_2015_CVPR_paper.html)

    Example:
    >>> import tensorflow_datasets as tfds
    >>> import keras_ncr.datasets.builders
    >>> builder = tfds.builder("clothing1m", data_dir=".")
    >>> builder.info.features["label"].num_classes
    14
    """

    name = "clothing1m"
    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "Initial release."}
    MANUAL_DOWNLOAD_INSTRUCTIONS = f"""
    Ask for the data set as {HOMEPAGE} describes. The manual directory must hold:

      - images/0.tar to images/9.tar (or the folders images/0/ to images/9/ that come
        out of them)
      - annotations.zip, or what is in it, there or in a folder annotations/:
        {NAMES}, {NOISY_LABELS}, {CLEAN_LABELS},
        {", ".join(KEY_LISTS.values())}
    """

    def _info(self):
        return tfds.core.DatasetInfo(
            builder=self,
            description=(
                "Photos of clothes from shops on the web. Most are labeled by the "
                "words around them, often wrongly; some were labeled by people."
            ),
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(),
                    "label": tfds.features.ClassLabel(num_classes=NUM_CLASSES),
                    "clean_label": np.int64,
                    "noisy_label": np.int64,
                    "id": tfds.features.Text(),
                }
            ),
            supervised_keys=("image", "label"),
            homepage=HOMEPAGE,
            citation="""
            @inproceedings{xiao2015learning,
              title={Learning from Massive Noisy Labeled Data for Image Classification},
              author={Xiao, Tong and Xia, Tian and Yang, Yi and Huang, Chang and Wang,
                Xiaogang},
              booktitle={CVPR}, year={2015}}
            """,
        )

    def _split_generators(self, dl_manager):
        files = [NAMES, NOISY_LABELS, CLEAN_LABELS, *KEY_LISTS.values()]
        texts = manual_files.read_texts(_find_lists(dl_manager.manual_dir), files)
        texts = dict(zip(files, texts, strict=True))
        names = [line for _, line in manual_files.numbered_lines(texts[NAMES])]
        class_names = manual_files.checked_classes(names, NUM_CLASSES, NAMES)
        self.info.features["label"].names = class_names
        noisy, clean = (
            manual_files.parse_labels(texts[file], file, NUM_CLASSES)
            for file in (NOISY_LABELS, CLEAN_LABELS)
        )
        keys = {
            split: _parse_keys(texts[file], file, noisy if split == "train" else clean)
            for split, file in KEY_LISTS.items()
        }
        keys["train"] = _without_clean(keys)
        manual_files.require_every_class(
            (noisy[key] for key in keys["train"]), class_names, KEY_LISTS["train"]
        )
        shards = sorted({key.split("/")[1] for split in keys for key in keys[split]})
        places = {
            shard: manual_files.find_place(
                dl_manager.manual_dir,
                [f"images/{shard}.tar"],
                folder=f"images/{shard}",
                inside=f"{shard}/",
                page=HOMEPAGE,
            )
            for shard in shards
        }
        return {
            split: self._generate_examples(split, keys[split], places, noisy, clean)
            for split in KEY_LISTS
        }

    def _generate_examples(self, split, keys, places, noisy, clean):
        labels = noisy if split == "train" else clean
        for shard, place in places.items():
            start = f"images/{shard}/"
            names = {key.removeprefix(start) for key in keys if key.startswith(start)}
            if not names:
                continue
            for name, image in manual_files.stream_images(
                place, names, KEY_LISTS[split]
            ):
                key = start + name
                yield (
                    key,
                    {
                        "image": image,
                        "label": labels[key],
                        "clean_label": clean.get(key, UNKNOWN),
                        "noisy_label": noisy.get(key, UNKNOWN),
                        "id": key,
                    },
                )


def _find_lists(manual_dir):
    """Place of the lists: their archive, their folder, or beside the images."""
    if (manual_dir / NAMES).exists():
        return manual_files.Place(manual_dir)
    return manual_files.find_place(
        manual_dir, ["annotations.zip"], "annotations", inside=None, page=HOMEPAGE
    )


def _parse_keys(text, file_name, labels):
    """The keys of a list, each once, in its order."""
    keys = {}
    for number, key in manual_files.numbered_lines(text):
        if not re.match("images/[^/]+/.", key):
            expectation = "be a key like images/0/12/a.jpg"
            raise manual_files.line_error(file_name, number, key, expectation)
        if key not in labels:
            expectation = "be the key of an image that has a label"
            raise manual_files.line_error(file_name, number, key, expectation)
        keys[key] = None
    return list(keys)


def _without_clean(keys):
    """The training images that are in none of the clean lists."""
    clean = {key for split in keys if split != "train" for key in keys[split]}
    kept = [key for key in keys["train"] if key not in clean]
    logging.info(
        "clothing1m: dropped %d of %d training images that are in a clean list, too.",
        len(keys["train"]) - len(kept),
        len(keys["train"]),
    )
    return kept
