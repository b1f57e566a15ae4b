"""What the tables of results say is what the files of results hold."""

import csv
import pathlib
import re

import pytest

DOCS = pathlib.Path(__file__).parents[1] / "docs"
# What a column of a table is, in the files.
NOISES = {
    "right labels": "none",
    "human, 18 %": "human",
    **{f"sym. {rate} %": f"symmetric-0.{rate // 10}" for rate in (20, 40, 50, 80, 90)},
    "asym. 40 %": "asymmetric-0.4",
    "inst. 40 %": "instance-0.4",
}
# Where a table begins, in `docs/results.md`, and its file.
TABLES = {
    "## CIFAR-10 as features": "cifar_features",
    "**All 50,000 pictures**": "cifar_features_50000",
    "## CIFAR-10 from pixels": "cifar_pixels",
    "**A network that learns little": "cifar_pixels_small_cnn",
    "## Fashion-MNIST": "fashion_mnist",
    "## Rows of a table": "rows",
    "## Texts": "texts",
    "## Digits": "digits",
}
OF_README = {
    "CIFAR-10, by people": ("cifar_features", "human"),
    "CIFAR-10": ("cifar_features", "symmetric-0.4"),
    "": ("cifar_features", "symmetric-0.8"),
    "digits (`make demo`)": ("digits", "symmetric-0.4"),
}


def cells_of(file):
    """Returns a file's accuracies as a table writes them, by method and noise."""
    with open(DOCS / "results" / f"{file}.csv", encoding="utf-8") as lines:
        return {
            (row["method"], row["noise"]): cell(row) for row in csv.DictReader(lines)
        }


def cell(row):
    """Returns a row's accuracy in percent, with its deviation if there is one."""
    mean, deviation = (100 * float(row[key] or 0) for key in ("last_mean", "last_sd"))
    return f"{mean:.1f} ± {deviation:.1f}" if row["last_sd"] else f"{mean:.1f}"


def table_after(words, text):
    """Returns the rows of the first table behind some words, without the bold."""
    table = re.search(r"(?:^\|.*\n)+", text[text.index(words) :], re.MULTILINE)
    lines = table.group().replace("**", "").splitlines()
    return [[word.strip() for word in line.split("|")[1:-1]] for line in lines]


@pytest.mark.parametrize(("words", "file"), TABLES.items(), ids=TABLES.values())
def test_a_table_says_what_its_file_holds(words, file):
    held = cells_of(file)
    text = (DOCS / "results.md").read_text(encoding="utf-8")
    head, _, *rows = table_after(words, text)
    columns = {place: NOISES[name] for place, name in enumerate(head) if name in NOISES}
    said = {
        (row[0].removesuffix(" (2)"), noise): row[place]
        for row in rows
        for place, noise in columns.items()
        if row[place]
    }
    methods = {method for method, _ in said}
    assert len(said) > 4
    assert said == {key: held[key] for key in held if key[0] in methods}


def test_the_readme_says_what_the_files_hold():
    text = (DOCS.parent / "README.md").read_text(encoding="utf-8")
    _, _, *rows = table_after("## What it gains", text)
    assert {row[0] for row in rows} == OF_README.keys()
    methods = ("standard", "elr", "ncr", "ncr+elr", "oracle")
    for name, _, *said in rows:
        file, noise = OF_README[name]
        held = cells_of(file)
        assert said == [held[method, noise] for method in methods]
