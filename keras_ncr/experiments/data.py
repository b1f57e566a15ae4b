"""The data of a run: the examples to train on, and those to test on."""

import collections
from typing import NamedTuple

import numpy as np
from ml_collections import ConfigDict

from keras_ncr import datasets
from keras_ncr.checks import check_known
from keras_ncr.datasets.image_files import first_few
from keras_ncr.datasets.unlabeled import parts_by_label
from keras_ncr.datasets.unreadable import ON_ERROR, first_ones
from keras_ncr.distribution import is_chief
from keras_ncr.experiments.config import default_config
from keras_ncr.experiments.own_pictures import (
    check_apart,
    folders_of_splits,
    in_settings,
    naming,
    own_path,
    real_paths,
    with_folders_beside,
)


class Sources(NamedTuple):
    """The data of a run: for training, for tests every epoch, and for tests at its end.

    `whole` is there if no test data were given: `train` and `test` are parts of it.
    `unlabeled` has examples without a label, which `trained_on` has behind `train`.
    """

    train: datasets.Source
    test: datasets.Source
    final: dict = {}  # Read only. From the name of a split to its `Source`.
    whole: datasets.Source | None = None
    unlabeled: datasets.Source | None = None

    @property
    def trained_on(self) -> datasets.Source:
        """The `Source` of the batches of training: `train`, and what has no label."""
        if self.unlabeled is None:
            return self.train
        return datasets.with_unlabeled(self.train, self.unlabeled)

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

    @property
    def left_out(self) -> dict[str, tuple]:
        """Tuples of `Skipped`, the files that are no examples, by the split."""
        return {split: source.left_out for split, source in self.splits.items()}


def load_sources(
    data: ConfigDict, verbose: bool = False, is_checked: bool = True
) -> Sources:
    """Returns the `Sources` of the settings `config.data`, before noise."""
    load, used_keys = DATA.get(data.name, (_tfds_sources, _TFDS_KEYS))
    _check_on_error(data)
    _check_unused(data, used_keys)
    with in_settings():
        train, test, final, whole, unlabeled = load(data, verbose)
    for source in (test, *final.values()):
        if source.class_names != train.class_names:
            raise ValueError(
                f"{source.name!r} must have the classes of {train.name!r}. Received: "
                f"{source.num_classes} and {train.num_classes} classes, or other names."
            )
    if data.on_error == "skip":
        _check_classes_left(train, data)
    elif is_checked and "check_images" in used_keys and data.check_images:
        pictures = [train, test] if unlabeled is None else [train, test, unlabeled]
        check_images(pictures, verbose)
    sources = Sources(
        train,
        with_true_labels(test),
        {split: with_true_labels(source) for split, source in final.items()},
        whole,
        unlabeled,
    )
    if is_chief():
        _report_skipped(sources)
        _report_left_out(sources)
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


def _report_left_out(sources):
    """Prints how many files are no examples, by the reason, if there are any."""
    for split, source in sources.splits.items():
        by_reason = collections.defaultdict(list)
        for file in source.left_out:
            by_reason[file.reason].append(file.id)
        if by_reason:
            words = (
                f"{len(files):,} {reason} ({first_few(files)})"
                for reason, files in by_reason.items()
            )
            print(
                f"Left out {len(source.left_out):,} beside {source.num_examples:,} "
                f"examples ({split}, {source.name!r}): {'; '.join(words)}. All of them "
                "are in left_out.csv in the workdir of training or inspect."
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
    """Returns a source for testing, with the true labels where these are known."""
    # Images that belong to none of the classes have no right answer: they are left out.
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
    options = {"data_dir": data.dir or None, "on_error": data.on_error}
    own_keys = ("label_key", "clean_label_key", "is_clean_key")
    own = {"limit": data.limit or None, **{key: data[key] or None for key in own_keys}}
    true = {"label_key": data.clean_label_key or data.label_key or None}

    def read(split, others):
        return datasets.from_tfds(data.name, split, **options, **others)

    final = {split: read(split, true) for split in split_names(data.final_splits)}
    return Sources(read(data.train_split, own), read(data.test_split, true), final)


def _cifar_n_sources(data, verbose):
    """Returns CIFAR with labels that people gave, and with its own for testing."""
    key, limit = data.label_key, data.limit or None
    options = {"data_dir": data.dir or None, "on_error": data.on_error}
    return Sources(
        datasets.cifar_n(key, data.train_split, limit=limit, **options),
        datasets.cifar_n(key, data.test_split, **options),
    )


def _folder_sources(data, verbose):
    """Returns the pictures of folders; test pictures are in another, or held out."""
    folder, test_folder = folders_of_splits(data)
    with naming("path"):
        name = data.unlabeled_folder or None
        train = datasets.from_folder(folder, on_error=data.on_error, unlabeled=name)
        train = with_folders_beside(
            _decodable(train, data, verbose), folder, test_folder
        )
    train, unlabeled = parts_by_label(train)
    if test_folder is None:
        return _with_part_held_out(train, data)._replace(unlabeled=unlabeled)
    check_apart(folder, test_folder)
    with naming("test_path"):
        test = datasets.from_folder(
            test_folder, class_names=train.class_names, on_error=data.on_error
        )
        test = _decodable(test, data, verbose)
    return Sources(train, test, unlabeled=unlabeled)


def _table_sources(data, verbose):
    """Returns the pictures of a table; test pictures are in another, or held out."""
    columns = {
        "image": data.image_key or "path",
        "label": data.label_key or "label",
        "clean_label": data.clean_label_key or None,
        "on_error": data.on_error,
    }
    with naming("path"):
        train = datasets.from_table(own_path(data), **columns)
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
    shared = real_paths(data.path, train) & real_paths(data.test_path, test)
    if shared:
        raise ValueError(
            "`config.data.test_path` must list other images than `config.data.path`. "
            f"Received: {len(shared)} images in both, {min(shared)!r} for one."
        )
    return Sources(train, test)


def _other_sources(data, verbose):
    """Returns features, texts or rows; those for testing are given, or held out."""
    read, keys = _OTHERS[data.name]
    arguments = {argument: data[key] for argument, key in keys.items() if data[key]}
    if "columns" in arguments:
        arguments["columns"] = split_names(arguments["columns"])
    with naming("path"):
        train = read(own_path(data), **arguments)
    if not data.test_path:
        return _with_part_held_out(train, data)
    for argument in ("clean_label", "picture"):  # A test label is the truth.
        arguments.pop(argument, None)
    if train.kind == "columns":
        arguments["columns"] = list(train.stored_inputs)
    with naming("test_path"):
        test = read(data.test_path, class_names=train.class_names, **arguments)
    specs = [source.dataset.element_spec["inputs"] for source in (train, test)]
    if specs[0] != specs[1]:
        raise ValueError(
            "`config.data.test_path` must hold inputs as `config.data.path` does. "
            f"Received: {specs[1]}, and there {specs[0]}."
        )
    return Sources(train, test)


_LABEL_KEYS = {"label": "label_key", "clean_label": "clean_label_key"}
_ROW_KEYS = {**_LABEL_KEYS, "id_column": "id_key", "picture": "picture_key"}
# What reads data other than images, and which settings are its arguments.
_OTHERS = {
    "features": (datasets.from_features, {}),
    "text": (datasets.from_texts, {"text": "text_key", **_ROW_KEYS}),
    "tabular": (datasets.from_columns, {"columns": "columns", **_ROW_KEYS}),
}


def _decodable(source, data, verbose):
    """Returns a source without broken images, if these are skipped."""
    if data.on_error == "raise":
        return source
    return datasets.skip_broken_images(source, verbose=verbose)


def _with_part_held_out(whole, data):
    """Returns both parts of the data, if none were given for testing."""
    counts = np.bincount(whole.labels, minlength=whole.num_classes)
    if data.hold_out * counts[counts > 1].sum() < 0.5:
        raise ValueError(
            "`config.data.hold_out` must leave an image to test on, and a class of one "
            f"image keeps it. Received: {data.hold_out}, of {whole.num_examples:,} "
            f"images in {whole.num_classes:,} classes, "
            f"{np.sum(counts == 1):,} of one image. Give images to test on by "
            "--config.data.test_path=, or more of each class. If the labels are "
            "measurements, put them into a few groups first."
        )
    return Sources(*datasets.hold_out(whole, data.hold_out), whole=whole)


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
    "folder": (
        _folder_sources,
        (*_OWN_KEYS, "train_split", "test_split", "unlabeled_folder"),
    ),
    "table": (
        _table_sources,
        (*_OWN_KEYS, "image_key", "label_key", "clean_label_key"),
    ),
    **{
        name: (_other_sources, ("path", "test_path", "hold_out", *keys.values()))
        for name, (_, keys) in _OTHERS.items()
    },
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
