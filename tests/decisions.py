"""Decisions on labels, as people make them and as the review page exports them."""

import csv

from keras_ncr.review.corrections import HEADER, Corrections, dataset_hash


def corrections_of(source, decisions):
    """Returns corrections from a dict of ids to new classes, None for those dropped."""
    label_of = dict(zip(map(str, source.ids.tolist()), source.labels, strict=True))
    given = [source.class_names[label_of[str(example)]] for example in decisions]
    new = [name or "" for name in decisions.values()]
    actions = [
        "drop" if not after else "keep" if after == before else "relabel"
        for before, after in zip(given, new, strict=True)
    ]
    return Corrections(
        tuple(map(str, decisions)),
        tuple(given),
        tuple(actions),
        tuple(new),
        dataset_hash(source.labels, source.ids),
    )


def write(path, corrections, encoding="utf-8", line_end="\n"):
    """Writes corrections as the review page exports them; returns the path."""
    with open(path, "w", encoding=encoding, newline="") as file:
        writer = csv.writer(file, lineterminator=line_end)
        writer.writerow(HEADER)
        columns = (
            corrections.ids,
            corrections.given_classes,
            corrections.actions,
            corrections.new_classes,
        )
        for row in zip(*columns, strict=True):
            writer.writerow([*row, corrections.dataset_hash])
    return path
