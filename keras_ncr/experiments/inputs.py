"""What a run was given, kept in its folder: a run that goes on must be given the same.

Each function writes a file, or raises if the run has begun with something else.
"""

import csv
import pathlib

from keras_ncr.experiments.workdir import damage_named
from keras_ncr.files import as_cell, from_cell, replacing
from keras_ncr.noise import NoisyLabels


def keep_labels(labels: NoisyLabels, path: pathlib.Path, remedy: str):
    """Writes the labels that are trained on."""
    if path.exists() and NoisyLabels.load(path).hash != labels.hash:
        raise ValueError(
            f"{path} holds other labels than this config gives now: the data set, its "
            f"corrections or the package have changed since. {remedy}"
        )
    labels.save(path)


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
    rows = [
        {"id": example.id, "reason": example.reason, "split": split}
        for split, examples in skipped.items()
        for example in examples
    ]
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
