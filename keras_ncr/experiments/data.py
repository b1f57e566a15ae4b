"""The data of a run: the examples to train on, and those to test on."""

import contextlib
import os
import pathlib
from typing import NamedTuple

import numpy as np
from ml_collections import ConfigDict

from keras_ncr import datasets
from keras_ncr.checks import check_known
from keras_ncr.datasets.unreadable import ON_ERROR, first_ones
from keras_ncr.distribution import is_chief
from keras_ncr.experiments.config import default_config


class Sources(NamedTuple):
    """The data of a run: for training, for tests every epoch, and for tests at its end.

    `whole` is there if no test data were given: `train` and `test` are parts of it.
    """

    train: datasets.Source
    test: datasets.Source
    final: dict = {}  # Read only. From the name of a split to its `Source`.
    whole: datasets.Source | None = None

    @property
    def audited(self) -> datasets.Source:
        """The `Source` of an audit: all noisy labels, those that are held out too."""
        return self.train if self.whole is None else self.whole

    @property
    def splits(self) -> dict[str, datasets.Source]:
        """The `Source` of each split by its name, as they are given."""
        final = {f"final {name}": source for name, source in self.final.items()}
        if self.whole is not None:
            return {"train": self.whole, **final}
        return {"train": self.train, "test": self.test, **final}

    @property
    def skipped(self) -> dict[str, tuple]:
        """Tuples of `Skipped`, the examples that could not be read, by the split."""
        # What is missing in the whole cannot be told by part.
        splits = {split: source.skipped for split, source in self.splits.items()}
        return {"test": (), **splits}


def load_sources(
    data: ConfigDict, verbose: bool = False, is_checked: bool = True
) -> Sources:
    """Returns the `Sources` of the settings `config.data`, before noise."""
    load, used_keys = DATA.get(data.name, (_tfds_sources, _TFDS_KEYS))
    _check_on_error(data)
    _check_unused(data, used_keys)
    train, test, final, whole = load(data, verbose)
    for source in (test, *final.values()):
        if source.class_names != train.class_names:
            raise ValueError(
                f"{source.name!r} must have the classes of {train.name!r}. Received: "
                f"{source.num_classes} and {train.num_classes} classes, or other names."
            )
    if data.on_error == "skip":
        _check_classes_left(train, data)
    elif is_checked and "check_images" in used_keys and data.check_images:
        check_images((train, test), verbose)
    sources = Sources(
        train,
        with_true_labels(test),
        {split: with_true_labels(source) for split, source in final.items()},
        whole,
    )
    if is_chief():
        _report_skipped(sources)
    return sources


def _check_on_error(data):
    """Raises for an `on_error` that is unknown or cannot work."""
    check_known(data.on_error, ON_ERROR, "config.data.on_error")
    if data.on_error == "skip" and not data.check_images:
        raise ValueError(
            "`config.data.check_images` must be True with config.data.on_error='skip': "
            "what is skipped must be known before training. Received: False."
        )


def _check_classes_left(train, data):
    """Raises if all examples of a class were skipped."""
    empty = np.flatnonzero(np.bincount(train.labels, minlength=train.num_classes) == 0)
    # A small part of the data may be without some classes anyway.
    if train.skipped and len(empty) and not data.limit:
        names = [train.class_names[label] for label in empty[:3]]
        raise ValueError(
            f"Each class of {train.name!r} must have an example left to train on. "
            f"Received: none of {', '.join(map(repr, names))}"
            f"{' and others' if len(empty) > 3 else ''}, after "
            f"{len(train.skipped):,} examples were skipped: "
            f"{first_ones(train.skipped)}. Replace them, or remove the class."
        )


def _report_skipped(sources):
    """Prints what was left out of each split, if anything was."""
    for split, source in sources.splits.items():
        if source.skipped:
            total = source.num_examples + len(source.skipped)
            print(
                f"Skipped {len(source.skipped):,} of {total:,} examples ({split}, "
                f"{source.name!r}): {first_ones(source.skipped)}. "
                "All of them are in skipped.csv in the workdir of the training."
            )


def check_images(sources, verbose=False):
    """Raises if images of any source cannot be decoded, and names them all."""
    complaints = []
    for source in sources:
        try:
            datasets.check_images(source, verbose=verbose)
        except ValueError as error:
            complaints.append(str(error))
    if complaints:
        raise ValueError(" ".join(complaints))


def with_true_labels(source: datasets.Source) -> datasets.Source:
    """Returns a source for testing, with the true labels where these are known.

    Images that belong to none of the classes have no right answer and are left out.
    """
    if source.clean_labels is None or np.all(source.clean_labels < 0):
        return source
    has_answer = np.flatnonzero(source.clean_labels >= 0)
    if len(has_answer) < source.num_examples:
        source = source.subset(has_answer)
    return source.relabeled(source.clean_labels, clean_labels=source.clean_labels)


def _digits_sources(data, verbose):
    """Returns scikit-learn's digits."""
    return Sources(*datasets.digits())


def _tfds_sources(data, verbose):
    """Returns splits of TensorFlow Datasets."""
    keys = {
        key: data[key] or None
        for key in ("label_key", "clean_label_key", "is_clean_key")
    }
    folder = data.dir or None

    def test_split(split):
        true_key = data.clean_label_key or data.label_key or None
        return datasets.from_tfds(
            data.name, split, folder, label_key=true_key, on_error=data.on_error
        )

    return Sources(
        datasets.from_tfds(
            data.name,
            data.train_split,
            folder,
            data.limit or None,
            on_error=data.on_error,
            **keys,
        ),
        test_split(data.test_split),
        {split: test_split(split) for split in split_names(data.final_splits)},
    )


def _cifar_n_sources(data, verbose):
    """Returns CIFAR with labels that people gave, and with its own for testing."""
    return Sources(
        datasets.cifar_n(
            data.label_key,
            data.train_split,
            data.dir or None,
            limit=data.limit or None,
            on_error=data.on_error,
        ),
        datasets.cifar_n(
            data.label_key, data.test_split, data.dir or None, on_error=data.on_error
        ),
    )


def _folder_sources(data, verbose):
    """Returns the pictures of folders; test pictures are in another, or held out.

    A folder with folders named as the splits (`train` and `test`) holds both; in any
    other, every folder is a class.
    """
    folder, test_folder = _own_path(data), data.test_path
    beside = _beside(data)
    if beside:
        folder, test_folder = beside
    with naming("path"):
        train = _decodable(
            datasets.from_folder(folder, on_error=data.on_error), data, verbose
        )
    if not test_folder:
        return _with_part_held_out(train, data)
    _check_apart(folder, pathlib.Path(test_folder))
    with naming("test_path"):
        test = datasets.from_folder(
            test_folder, class_names=train.class_names, on_error=data.on_error
        )
        test = _decodable(test, data, verbose)
    return Sources(train, test)


def _table_sources(data, verbose):
    """Returns the pictures of a table; test pictures are in another, or held out."""
    columns = {
        "image": data.image_key or "path",
        "label": data.label_key or "label",
        "clean_label": data.clean_label_key or None,
        "on_error": data.on_error,
    }
    with naming("path"):
        train = datasets.from_table(_own_path(data), **columns)
        train = _decodable(train, data, verbose)
    if not data.test_path:
        return _with_part_held_out(train, data)
    # A test label is the truth.
    columns["clean_label"] = None
    with naming("test_path"):
        test = datasets.from_table(
            data.test_path, class_names=train.class_names, **columns
        )
        test = _decodable(test, data, verbose)
    shared = _paths(data.path, train) & _paths(data.test_path, test)
    if shared:
        raise ValueError(
            "`config.data.test_path` must list other images than `config.data.path`. "
            f"Received: {len(shared)} images in both, {min(shared)!r} for one."
        )
    return Sources(train, test)


def _decodable(source, data, verbose):
    """Returns a source without broken images, if these are skipped.

    Called before a part is held out, so that the parts have the right sizes.
    """
    if data.on_error == "raise":
        return source
    return datasets.skip_broken_images(source, verbose=verbose)


def picture_folder(data: ConfigDict) -> pathlib.Path | None:
    """Returns the folder that ids of the user's own pictures start from, else None."""
    if data.name not in ("folder", "table"):
        return None
    path = _own_path(data)
    if data.name == "table":
        return path.parent
    return (_beside(data) or [path])[0]


def _beside(data):
    """Returns the folders of both splits if the path has both, else an empty list."""
    folder = _own_path(data)
    beside = [folder / split for split in (data.train_split, data.test_split)]
    is_found = not data.test_path and all(part.is_dir() for part in beside)
    return beside if is_found else []


def _with_part_held_out(whole, data):
    """Returns both parts of the pictures, if none were given for testing."""
    return Sources(*datasets.hold_out(whole, data.hold_out), whole=whole)


@contextlib.contextmanager
def naming(key: str):
    """Names the setting in errors."""
    try:
        yield
    except (ValueError, FileNotFoundError) as error:
        raise type(error)(f"`config.data.{key}`: {error}") from error


def _check_apart(folder, test_folder):
    """Raises if images of one folder are in the other too."""
    folder, test_folder = folder.resolve(), test_folder.expanduser().resolve()
    if folder.is_relative_to(test_folder) or test_folder.is_relative_to(folder):
        raise ValueError(
            "`config.data.test_path` must not share images with `config.data.path`. "
            f"Received: {str(test_folder)!r} and {str(folder)!r}, one within the "
            "other. Move them apart."
        )


def _paths(table, source):
    """Returns the real paths of the images of a table."""
    folder = pathlib.Path(table).expanduser().parent
    return {os.path.realpath(folder / name) for name in source.ids.tolist()}


def _own_path(data):
    """Returns the path of the user's data, or says that it must be given."""
    if not data.path:
        raise ValueError(
            f"`config.data.path` must say where the {data.name} is. Received: none. "
            f"Pass --config=configs/{data.name}.py:PATH or --config.data.path=PATH."
        )
    return pathlib.Path(data.path).expanduser()


# Settings that every data set has.
_COMMON_KEYS = {
    *("name", "image_size", "short_side", "cache", "shuffle_buffer", "balanced"),
    *("validation_share", "corrections"),
}
_CIFAR_N_KEYS = (
    *("dir", "train_split", "test_split", "limit", "label_key", "on_error"),
)
_TFDS_KEYS = (*_CIFAR_N_KEYS, "final_splits", "clean_label_key", "is_clean_key")
_OWN_KEYS = ("path", "test_path", "hold_out", "check_images", "on_error")

# The loader of each kind of data, and its settings. Any other name is one of TensorFlow
# Datasets.
DATA = {
    "digits": (_digits_sources, ()),
    "cifar_n": (_cifar_n_sources, _CIFAR_N_KEYS),
    "folder": (_folder_sources, (*_OWN_KEYS, "train_split", "test_split")),
    "table": (
        _table_sources,
        (*_OWN_KEYS, "image_key", "label_key", "clean_label_key"),
    ),
}


def _check_unused(data, used_keys):
    """Raises if a setting was given that the data set has no use for."""
    default = default_config().data
    for key in set(data) - set(used_keys) - _COMMON_KEYS:
        if data[key] != default[key]:
            raise ValueError(
                f"`config.data.{key}` has no effect on {data.name!r}. "
                f"Received: {data[key]!r}. Leave it out. Of the settings of data it "
                f"goes by {', '.join(used_keys) or 'none'}."
            )


def split_names(words: str) -> list[str]:
    """Returns the names between commas."""
    return [name.strip() for name in words.split(",") if name.strip()]
