"""Reviewed labels: read from the file of the review page, put on a data set."""

import collections
import csv
import dataclasses
import os
import pathlib

import numpy as np

from keras_ncr.checks import check_known
from keras_ncr.datasets import Source
from keras_ncr.datasets.image_files import first_few
from keras_ncr.files import from_cell
from keras_ncr.noise import NoisyLabels

HEADER = ("id", "given_class", "action", "new_class", "dataset_hash")
# The label stays, it changes to another class, or the example is left out.
ACTIONS = ("keep", "relabel", "drop")


@dataclasses.dataclass(frozen=True)
class Corrections:
    """Decisions of people on some labels of a data set, example by example.

    Args:
        ids: Strings, all different: the ids of the examples that were decided on.
        given_classes: Strings, as many: the class that each one's label named.
        actions: Strings, as many, out of `"keep"`, `"relabel"` and `"drop"`.
        new_classes: Strings, as many: the class after the decision, empty where the
            example is dropped.
        dataset_hash: String: the `dataset_hash` of the labels that were reviewed.

    Example:
    >>> from keras_ncr.review.corrections import Corrections, dataset_hash
    >>> source = keras_ncr.datasets.from_arrays(
    ...     np.zeros((3, 4, 4, 1), int), [0, 1, 1], class_names=["cat", "dog"]
    ... )
    >>> corrections = Corrections(
    ...     ids=("0", "2"),
    ...     given_classes=("cat", "dog"),
    ...     actions=("drop", "relabel"),
    ...     new_classes=("", "cat"),
    ...     dataset_hash=dataset_hash(source.labels, source.ids),
    ... )
    >>> corrected = corrections.apply(source)
    >>> corrected.ids.tolist(), corrected.labels.tolist()
    ([1, 2], [1, 0])
    """

    ids: tuple
    given_classes: tuple
    actions: tuple
    new_classes: tuple
    dataset_hash: str

    @property
    def counts(self) -> dict[str, int]:
        """How many labels were kept, relabeled and dropped: a dict of ints."""
        counted = collections.Counter(self.actions)
        return {
            "kept": counted["keep"],
            "relabeled": counted["relabel"],
            "dropped": counted["drop"],
        }

    def apply(self, source: Source, reviewed: Source | None = None) -> Source:
        """Returns a source with these corrections.

        Args:
            source: `keras_ncr.datasets.Source`. Examples that the corrections do not
                name stay as they are.
            reviewed: Optional `Source`: the examples that were reviewed, with the
                labels that they had then, if `source` is a part of them. Defaults to
                `source`.

        Returns:
            `Source` of the examples that were not dropped, in their order, with the
            labels as corrected. What is known of the true labels stays.

        Raises:
            ValueError: If labels or ids are not those that were reviewed, the
                corrections name an example or a class that does not exist, or another
                given class than the example has, or no example is left.
        """
        self._check(source if reviewed is None else reviewed)
        labels = source.labels.copy()
        is_kept = np.ones(len(labels), bool)
        class_number = {name: label for label, name in enumerate(source.class_names)}
        index_of = {example: index for index, example in enumerate(_texts(source))}
        for example, action, new_class in zip(
            self.ids, self.actions, self.new_classes, strict=True
        ):
            index = index_of.get(example)
            if index is not None and action == "drop":
                is_kept[index] = False
            elif index is not None and action == "relabel":
                labels[index] = class_number[new_class]
        if not np.any(is_kept):
            raise ValueError(
                f"The corrections must leave an example of {source.name!r}. Received: "
                f"all {len(labels)} are dropped. Keep or relabel some."
            )
        corrected = source.relabeled(labels, clean_labels=source.clean_labels)
        kept = np.flatnonzero(is_kept)
        return corrected if len(kept) == len(labels) else corrected.subset(kept)

    def _check(self, source):
        """Raises unless these are corrections of the labels of a source."""
        received = dataset_hash(source.labels, source.ids)
        if received != self.dataset_hash:
            raise ValueError(
                f"The corrections must be of the labels of {source.name!r} as they are "
                f"given. Received: dataset_hash={self.dataset_hash[:12]}..., and "
                f"theirs is {received[:12]}...: the corrections are of other data or "
                "noise, or examples and labels have changed since the audit. Audit and "
                "review this data set, or go back to what was reviewed."
            )
        given = _class_of_id(source)
        unknown = [example for example in self.ids if example not in given]
        if unknown:
            raise ValueError(
                f"The corrections must be of examples of {source.name!r}. Received: "
                f"{len(unknown)} ids that it does not have, {first_few(unknown)}. "
                "Spreadsheets change what looks like a number or a date: import the "
                "column as text."
            )
        known = {*source.class_names, ""}  # A dropped example has no new class.
        rows = zip(self.ids, self.given_classes, self.new_classes, strict=True)
        for example, given_class, new_class in rows:
            for name, value in (("given_class", given_class), ("new_class", new_class)):
                if value not in known:
                    check_known(value, source.class_names, f"{name} of {example}")
            if given_class != given[example]:
                raise ValueError(
                    f"`given_class` of {example!r} must be {given[example]!r}, as its "
                    f"label is. Received: {given_class!r}. Edit `action` and "
                    "`new_class` only."
                )


def dataset_hash(labels, ids) -> str:
    """Returns a hash of labels and ids, by which a review knows its data set.

    Args:
        labels: Ints of shape `(n,)`: the labels as they are given, before corrections.
        ids: Integers or strings of shape `(n,)`, all different.

    Returns:
        String: SHA-256 in hexadecimal, the same on every machine.

    Raises:
        ValueError: As `keras_ncr.noise.NoisyLabels`.

    Example:
    >>> from keras_ncr.review.corrections import dataset_hash
    >>> dataset_hash([0, 1], ["a", "b"]) == dataset_hash([0, 1], ["b", "a"])
    False
    """
    return NoisyLabels(None, labels, ids).hash


def read_corrections(path: str | os.PathLike) -> Corrections:
    r"""Returns the corrections in a file that the review page exported.

    The file may have been edited in a spreadsheet: empty rows are skipped, and so is
    the byte-order mark of Excel. The quotation mark that keeps a spreadsheet from
    computing a text such as '=1.png is not part of the text.

    Args:
        path: String or path of a CSV file in UTF-8, with the columns id, given_class,
            action (keep, relabel or drop), new_class and dataset_hash.

    Returns:
        `Corrections`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is something else, decides nothing, decides on an example
            twice, or an action is unknown or does not fit the new class. Messages
            number rows as a spreadsheet does: the first below the header is 2.

    Example:
    >>> import pathlib
    >>> from keras_ncr.review.corrections import read_corrections
    >>> text = "id,given_class,action,new_class,dataset_hash\n7,cat,relabel,dog,0af3\n"
    >>> _ = pathlib.Path("corrections.csv").write_text(text)
    >>> corrections = read_corrections("corrections.csv")
    >>> corrections.new_classes, corrections.counts
    (('dog',), {'kept': 0, 'relabeled': 1, 'dropped': 0})
    """
    path = pathlib.Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(
            f"Corrections must be in a file that exists. Received: {str(path)!r}."
        )
    rows = _read_rows(path)
    for number, (_, given_class, action, new_class, _) in rows.items():
        check_known(action, ACTIONS, f"action of row {number}")
        _check_fits(number, given_class, action, new_class)
    ids, given_classes, actions, new_classes, hashes = zip(*rows.values(), strict=True)
    _check_different(rows, path)
    if len(set(hashes)) > 1:
        raise ValueError(
            "Corrections must all be of one data set. Received: "
            f"{len(set(hashes))} different values of dataset_hash in {str(path)!r}. "
            "Do not join the files of two reviews."
        )
    return Corrections(ids, given_classes, actions, new_classes, hashes[0])


def _read_rows(path):
    """Returns the rows that are not empty, by the number that spreadsheets show."""
    expected = f"Expected is a CSV file in UTF-8 that begins with {','.join(HEADER)}"
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            lines = [list(map(from_cell, row)) for row in csv.reader(file, strict=True)]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(
            f"{str(path)!r} holds no corrections: {error}. {expected}."
        ) from error
    rows = {n: row for n, row in enumerate(lines, start=1) if any(map(str.strip, row))}
    header = rows.pop(min(rows)) if rows else []
    if tuple(name.strip() for name in header) != HEADER:
        raise ValueError(
            f"{str(path)!r} holds no corrections. {expected}. Received: "
            f"{','.join(header)[:100]!r}. In a spreadsheet, save with commas between "
            'the columns, as "CSV UTF-8".'
        )
    for number, row in rows.items():
        if len(row) != len(HEADER):
            raise ValueError(
                f"Row {number} of {str(path)!r} must have {len(HEADER)} cells, "
                f"{','.join(HEADER)}. Received: {len(row)} cells."
            )
    if not rows:
        raise ValueError(
            f"{str(path)!r} must hold at least one decision. Received: a header alone. "
            "Decide on some labels in the review page, and export them again."
        )
    return rows


def _check_fits(number, given_class, action, new_class):
    """Raises if the action and the new class contradict each other."""
    fits, expected = {
        "keep": (new_class == given_class, f"{given_class!r}, the given one"),
        "relabel": (new_class not in ("", given_class), "another than the given one"),
        "drop": (new_class == "", "empty"),
    }[action]
    if not fits:
        raise ValueError(
            f"`new_class` of row {number} must be {expected}, with the action "
            f"{action!r}. Received: {new_class!r}."
        )


def _check_different(rows, path):
    """Raises if an example has two decisions."""
    numbers_of = collections.defaultdict(list)
    for number, row in rows.items():
        numbers_of[row[0]].append(str(number))
    repeated = [item for item in numbers_of.items() if len(item[1]) > 1]
    if repeated:
        example, numbers = repeated[0]
        raise ValueError(
            f"Corrections must decide on each example once. Received: {example!r} in "
            f"rows {', '.join(numbers)} of {str(path)!r}; {len(repeated)} such "
            "examples in all. Keep one row of each."
        )


def _texts(source):
    """Returns the ids as the file has them."""
    # The record brings bytes and integers of every kind into one form.
    return map(str, source.record.ids.tolist())


def _class_of_id(source):
    """Returns the class that each example's label names, by the text of its id."""
    if len(set(source.class_names)) < source.num_classes:
        raise ValueError(
            "Corrections name classes, so the names must be all different. Received: "
            f"class_names={list(source.class_names)}."
        )
    classes = (source.class_names[label] for label in source.labels)
    return dict(zip(_texts(source), classes, strict=True))
