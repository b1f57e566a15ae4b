"""What a run was given, kept in its folder: a run that goes on must be given the same.

Each function writes a file, or raises if the run has begun with something else.
"""

import csv
import pathlib

from keras_ncr.datasets import Source
from keras_ncr.experiments.workdir import damage_named, read_dict
from keras_ncr.files import as_cell, from_cell, replacing, write_json
from keras_ncr.noise import NoisyLabels
from keras_ncr.review import dataset_hash


def keep_labels(labels: NoisyLabels, path: pathlib.Path, remedy: str):
    """Writes the labels that are trained on."""
    if path.exists() and NoisyLabels.load(path).hash != labels.hash:
        raise ValueError(
            f"{path} holds other labels than this config gives now: the data set, its "
            f"corrections or the package have changed since. {remedy}"
        )
    labels.save(path)


def keep_data(source: Source, folder: pathlib.Path):
    """Writes the names of the classes, and a hash of labels and ids, before reviews."""
    check_data(source, folder)
    write_json(folder / _DATA, _described(source))


def check_data(source: Source, folder: pathlib.Path) -> str:
    """Raises unless the classes are those of the run; returns what else has changed."""
    path = pathlib.Path(folder).expanduser() / _DATA
    if not path.exists():
        return ""
    here = _described(source)
    with damage_named(path, "Remove it: the next training with it writes it anew."):
        there = {key: read_dict(path)[key] for key in here}
    before, now = there["class_names"], here["class_names"]
    if before != now:
        differences = [
            f"{words} {', '.join(map(repr, names))}"
            for words, names in (
                ("no longer there:", [name for name in before if name not in now]),
                ("new:", [name for name in now if name not in before]),
            )
            if names
        ]
        raise ValueError(
            f"The classes of {source.name!r} must be those that {path.parent} was "
            f"trained on. Received: {'; '.join(differences) or 'another order'}. Give "
            "the classes back their names and images, or train again in a new workdir."
        )
    if there["dataset_hash"] == here["dataset_hash"]:
        return ""
    return (
        f"The examples of {source.name!r} or their labels have changed since training: "
        f"there were {there['num_examples']:,}, and there are {here['num_examples']:,}."
    )


_DATA = "data.json"


def _described(source):
    """Returns what a run keeps of its data."""
    return {
        "name": source.name,
        "num_examples": source.num_examples,
        "class_names": list(source.class_names),
        "dataset_hash": dataset_hash(source.labels, source.ids),
    }


def keep_left_out(left_out: dict, path: pathlib.Path):
    """Writes a table of the files of each split that are no examples, if there are."""
    if any(left_out.values()) or path.exists():
        _write(_rows(left_out), path)


def keep_corrections(corrections: str, path: pathlib.Path):
    """Writes a copy of the corrections, if there are any."""
    if not corrections:
        return
    content = pathlib.Path(corrections).expanduser().read_bytes()
    # Labels that are trained on were compared before; held-out ones were not.
    if path.exists() and path.read_bytes() != content:
        raise ValueError(
            f"{path} holds other corrections than {corrections} does now. Pass another "
            "`workdir`."
        )
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def keep_skipped(skipped: dict, path: pathlib.Path):
    """Writes a table of the examples of each split that could not be read."""
    rows = _rows(skipped)
    if path.exists():
        remedy = "Remove it: the same command writes it anew."
        with (
            damage_named(path, remedy),
            open(path, newline="", encoding="utf-8") as file,
        ):
            there = [
                {name: from_cell(row[name]) for name in ("id", "reason", "split")}
                for row in csv.DictReader(file)
            ]
        _check_same(there, rows, path)
    _write(rows, path)


def _rows(examples_of):
    """Returns the rows of a table of examples by their split."""
    return [
        {"id": example.id, "reason": example.reason, "split": split}
        for split, examples in examples_of.items()
        for example in examples
    ]


def _write(rows, path):
    """Writes a table of examples."""
    with (
        replacing(path) as temporary,
        open(temporary, "w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.DictWriter(file, ["id", "reason", "split"])
        writer.writeheader()
        writer.writerows({name: as_cell(row[name]) for name in row} for row in rows)


def _check_same(there, here, path):
    """Raises unless two tables are of the same examples; reasons name moved folders."""
    before, now = (
        {(row["id"], row["split"]) for row in rows} for rows in (there, here)
    )
    differing = sorted(before ^ now)
    if differing:
        raise ValueError(
            f"{path} must list what is skipped now. Received: {len(before):,} examples "
            f"there and {len(now):,} now, of which {differing[0][0]!r} is in one list "
            "alone: the data have changed since the run began. Pass another `workdir`, "
            "or put them back as they were."
        )
