"""Tests of benchmarks/reproduce.py: every row of the paper is a command that works."""

import ast
import pathlib
import runpy
import shlex

import pytest

from keras_ncr.experiments.comparison.plan import Plan, parse_noises
from keras_ncr.review.corrections import HEADER

REPOSITORY = pathlib.Path(__file__).parents[2]
REPRODUCE = runpy.run_path(str(REPOSITORY / "benchmarks" / "reproduce.py"))
ROWS = [(table, row) for table, rows in REPRODUCE["TABLES"].items() for row in rows]


def value_of(text):
    """Returns what an override sets; a file of decisions stands for the people's."""
    if not text.endswith("corrections.csv"):
        return ast.literal_eval(text)
    pathlib.Path(text).write_text(",".join(HEADER) + "\na,T-Shirt,keep,T-Shirt,0af3\n")
    return text


def check_command(command):
    """Makes each config that a command trains; bad settings raise."""
    program, subcommand, *flags = shlex.split(command)
    flags = dict(flag.removeprefix("--").split("=", 1) for flag in flags)
    assert (program, subcommand) in {
        ("keras-ncr", word) for word in ("compare", "train", "sweep")
    }
    name, _, arguments = flags["config"].partition(":")
    overrides = {
        key.removeprefix("config."): value_of(value)
        for key, value in flags.items()
        if key.startswith("config.")
    }
    noises = parse_noises(
        flags.get("noises", "").split(",") if "noises" in flags else []
    )
    file = REPOSITORY / "configs" / f"{name}.py"
    plan = Plan(str(file), arguments, overrides, noises, pathlib.Path("runs"))
    for method in flags.get("methods", "").split(","):
        for noise in noises:
            plan.job(noise, "row", method)


@pytest.mark.parametrize("table", REPRODUCE["TABLES"])
def test_every_row_is_a_command_whose_settings_make_sense(table, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for row in REPRODUCE["TABLES"][table]:
        for command in REPRODUCE["commands_of_row"](table, row):
            check_command(command)


def test_every_figure_is_commands_that_make_sense():
    for figure, parts in REPRODUCE["FIGURES"].items():
        commands = REPRODUCE["commands_of_figure"](figure)
        for command in commands[: len(parts)]:
            check_command(command)
        for command in commands[len(parts) :]:
            assert (REPOSITORY / shlex.split(command)[1]).exists()


def test_page_is_what_the_command_writes():
    page = REPOSITORY / "docs" / "reproduce.md"
    assert page.read_text(encoding="utf-8") == REPRODUCE["document"]()


def test_costs_are_of_known_methods():
    known = {row for _, row in ROWS}
    assert set(REPRODUCE["COSTS"]) <= known
