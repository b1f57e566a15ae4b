"""The list of what a run skipped, kept in its folder."""

import csv

from keras_ncr.files import replacing


def keep_skipped(skipped, path):
    """Writes what was left out of each split, or raises if the run began with others.

    Args:
        skipped: Dict as `Sources.skipped`.
        path: `pathlib.Path` of the CSV file.
    """
    rows = [
        {"id": example.id, "reason": example.reason, "split": split}
        for split, examples in skipped.items()
        for example in examples
    ]
    if path.exists():
        with open(path, newline="", encoding="utf-8") as file:
            _check_same(list(csv.DictReader(file)), rows, path)
    with (
        replacing(path) as temporary,
        open(temporary, "w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.DictWriter(file, ["id", "reason", "split"])
        writer.writeheader()
        writer.writerows(rows)


def _check_same(there, here, path):
    """Raises unless both are of the same examples; reasons name where the data are."""
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
