"""Prints and runs the commands of a row of the paper's tables, or of a figure.

    python benchmarks/reproduce.py --table=3 --row=ncr+elr_plus --run
    python benchmarks/reproduce.py --figure=2
    python benchmarks/reproduce.py --write=docs/reproduce.md

Hours are estimated for one accelerator that trains at 30 TFLOP/s throughout: three
times the operations of the network for each image. They were not measured.

Reference: https://arxiv.org/abs/2202.02200, Tables 1 to 3 and 6, Figures 2 to 4.
"""

import argparse
import pathlib
import shlex
import subprocess
import sys
from typing import NamedTuple

FLOPS = 30e12
# From the network and the pixels of a side to 10^9 multiplications an image.
OPERATIONS = {"resnet18 at 32": 0.56, "resnet18 at 224": 1.8, "resnet50 at 224": 4.1}


class Part(NamedTuple):
    """One command of a row: what it trains, how often, and on how many images."""

    command: str  # With METHOD in the place of the method.
    network: str  # A key of OPERATIONS.
    images: float  # That one training sees.
    trainings: int

    def hours(self, method):
        """Returns the estimated hours of all trainings with a method."""
        operations = 6e9 * OPERATIONS[self.network] * self.images * cost_of(method)
        return self.trainings * operations / FLOPS / 3600


# Trainings of one network that a method costs, in forward and backward passes.
COSTS = {
    **{"elr_plus": 4, "ncr+elr_plus": 4, "divide_mix": 8, "gjs": 2, "l_dmi": 2},
    # Half of the steps with ten terms, of two passes forward and three backward.
    **{"ncr+mixup+second_view": 2, "mlnt": 9, "longremix": 8},
    # Keys, and predictions of a third view and of the whole set, are forward alone.
    **{"mopro": 1.3, "moit": 2.7, "moit_plus": 2.7},
}


def cost_of(method):
    """Returns how many trainings of a single network a method costs, roughly."""
    return COSTS.get(method, 1)


def mini_imagenet(color):
    """Returns the part of Table 1 for one color."""
    return Part(
        f"keras-ncr compare --config=mini_imagenet:color={color} --methods=METHOD "
        f"--noises=0,20,40,80 --trials=5 --workdir=runs/table1-{color}",
        "resnet18 at 224",
        130 * 50_000,
        4 * 5,
    )


def cifar(classes):
    """Returns the part of Table 3 for CIFAR-10 or CIFAR-100."""
    rates = ",".join(f"symmetric:0.{digit}" for digit in "24589")
    return Part(
        f"keras-ncr compare --config=cifar:classes={classes} --methods=METHOD "
        f"--noises={rates},asymmetric:0.4 --trials=5 --workdir=runs/table3-{classes}",
        "resnet18 at 32",
        250 * 50_000,
        6 * 5,
    )


MINI = Part(
    "keras-ncr compare --config=webvision --methods=METHOD --trials=5 "
    "--workdir=runs/table2-mini",
    "resnet50 at 224",
    130 * 65_944,
    5,
)
FULL = Part(
    "keras-ncr compare --config=webvision:subset=full --methods=METHOD --trials=1 "
    "--workdir=runs/table2-full",
    "resnet50 at 224",
    130 * 2.4e6,
    1,
)
# Its figure of WebVision is after a last stage, of 15 epochs of 105.
MOPRO = FULL._replace(
    command="keras-ncr compare --config=webvision:subset=full --methods=METHOD "
    "--trials=1 --workdir=runs/table2-full-mopro --config.mopro.last_stage_share=0.14"
)
CLOTHING = Part(
    "keras-ncr compare --config=clothing1m --methods=METHOD --trials=5 "
    "--workdir=runs/table2-clothing1m",
    "resnet50 at 224",
    80 * 1000 * 128,
    5,
)
# Told which of the training labels people have found right or wrong.
REVIEWED = CLOTHING._replace(
    command="keras-ncr compare --config=clothing1m --methods=METHOD --trials=5 "
    "--workdir=runs/table2-clothing1m-reviewed "
    "--config.data.corrections=clothing1m-corrections.csv"
)
_BASELINES = ("standard", "mixup", "soft_bootstrap", "soft_bootstrap+mixup")
_SMOOTHING = ("label_smoothing", "label_smoothing+mixup")
# From the number of a table to its rows, and from these to their parts.
TABLES = {
    "1": {
        method: (mini_imagenet("blue"), mini_imagenet("red"))
        for method in (
            *(*_BASELINES, *_SMOOTHING, "ncr", "ncr+mixup", "divide_mix", "elr"),
            *("moit", "oracle", "oracle+mixup"),
        )
    },
    "2": {
        **dict.fromkeys(("standard", "mixup", "ncr"), (MINI, FULL, CLOTHING)),
        **dict.fromkeys(("ncr+mixup", "ncr+mixup+second_view"), (MINI, FULL, CLOTHING)),
        **dict.fromkeys(("l_dmi", "mlnt", "longremix"), (CLOTHING,)),
        "cleannet": (REVIEWED,),
        **{
            "elr": (MINI,),
            "elr_plus": (MINI, CLOTHING),
            "divide_mix": (MINI, CLOTHING),
        },
        **{"gjs": (MINI,)},
        **dict.fromkeys(("heteroscedastic", "mile", "curriculum"), (FULL,)),
        "mopro": (MOPRO,),
    },
    "3": {
        method: (cifar(10), cifar(100))
        for method in (
            *("standard", "moit_plus", "divide_mix", "elr_plus", "ncr+elr_plus"),
        )
    },
    "6": {
        f"batch {size}": (
            Part(
                "keras-ncr train --config=webvision:ncr,subset=full "
                f"--config.batch_size={size} --workdir=runs/table6-{size}",
                "resnet50 at 224",
                130 * 2.4e6,
                1,
            ),
        )
        for size in (256, 512, 1024, 2048)
    },
}


def confidences(color):
    """Returns the part of Figures 3 and 4 for one color."""
    return Part(
        f"keras-ncr compare --config=mini_imagenet:color={color} "
        "--methods=standard,ncr --noises=40,80 --trials=1 "
        f"--workdir=runs/figure3-{color}",
        "resnet18 at 224",
        130 * 50_000,
        4,
    )


# From the number of a figure to its parts.
FIGURES = {
    "2": (
        Part(
            "keras-ncr sweep --config=cifar:ncr --validation=0.1 "
            "--noises=none,symmetric:0.2,symmetric:0.4,symmetric:0.8 "
            "--try=ncr.consistency_weight=0.1,0.3,0.5,0.7,0.9 "
            "--try=ncr.num_neighbors=1,5,10,50,100 "
            "--try=ncr.warmup_epochs=0,50,100,200 "
            "--workdir=runs/figure2",
            "resnet18 at 32",
            250 * 45_000,
            4 * (5 + 5 + 4),
        ),
    ),
    "3": tuple(map(confidences, ("blue", "red"))),
    "4": tuple(map(confidences, ("blue", "red"))),
}
# What draws a figure from what its trainings left; Figure 2 is the sweep's own.
DRAWINGS = {
    "3": [
        f"python benchmarks/figures.py --figure=3 --out=runs/figure3-{color}.png "
        + " ".join(
            f"'{rate} %:{method}=runs/figure3-{color}/{rate}/{method}'"
            for rate in (40, 80)
            for method in ("standard", "ncr")
        )
        for color in ("blue", "red")
    ],
    "4": [
        f"python benchmarks/figures.py --figure=4 --out=runs/figure4-{color}{rate}.png "
        + " ".join(
            f"'{rate} %:{method}=runs/figure3-{color}/{rate}/{method}'"
            for method in ("standard", "ncr")
        )
        for color in ("blue", "red")
        for rate in (40, 80)
    ],
}
# What was run of each, and where that is.
RUN = {
    "table 3": "CIFAR-10 as features of a pretrained network, and 10,000 pictures with "
    "a small ResNet (docs/results.md); nothing with the paper's network",
    "table 6": "batches, and 100 classes of digits (docs/ablation.md); not WebVision",
    "figure 2": "on CIFAR-10's features (docs/ablation.md)",
    "figure 3": "on CIFAR-10's features (docs/ablation.md)",
    "figure 4": "on CIFAR-10's features (docs/ablation.md)",
}


def main():
    """Prints the commands of a row or figure, and runs them where that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--table", choices=TABLES)
    parser.add_argument("--row", help="a row of the table")
    parser.add_argument("--figure", choices=FIGURES)
    parser.add_argument("--run", action="store_true", help="run the commands, too")
    parser.add_argument("--write", type=pathlib.Path, help="write all as Markdown here")
    arguments = parser.parse_args()
    if arguments.write:
        arguments.write.write_text(document(), encoding="utf-8")
        return
    if (arguments.table is None) == (arguments.figure is None):
        parser.error("one of --table and --figure must be given")
    rows = TABLES.get(arguments.table, {})
    if arguments.table and arguments.row not in rows:
        parser.error(f"--row must be one of {', '.join(rows)}: {arguments.row!r}")
    commands = (
        commands_of_row(arguments.table, arguments.row)
        if arguments.table
        else commands_of_figure(arguments.figure)
    )
    for command in commands:
        print(command, flush=True)
        if arguments.run:
            subprocess.run(as_run_here(command), check=True)


def commands_of_row(table, row):
    """Returns the commands of a row of a table."""
    return [part.command.replace("METHOD", row) for part in TABLES[table][row]]


def commands_of_figure(figure):
    """Returns the commands of a figure: the trainings, then the drawings."""
    trainings = [part.command for part in FIGURES[figure]]
    return trainings + DRAWINGS.get(figure, [])


def as_run_here(command):
    """Returns the words of a command, by this Python."""
    program, *words = shlex.split(command)
    of_program = {"keras-ncr": ["-m", "keras_ncr"], "python": []}[program]
    return [sys.executable, *of_program, *words]


def document():
    """Returns docs/reproduce.md."""
    lines = [HEAD]
    for number, rows in TABLES.items():
        run = RUN.get(f"table {number}", "nothing")
        lines += [f"## Table {number}", "", f"Run by us: {run}.", ""]
        lines += ["| row | estimated hours |", "| --- | ---: |"]
        for row, parts in rows.items():
            hours = sum(part.hours(row) for part in parts)
            lines.append(f"| `{row}` | {hours:,.0f} |")
        first = next(iter(rows))
        lines += ["", f"`make reproduce TABLE={number} ROW='{first}'` runs", ""]
        lines += ["```", *commands_of_row(number, first), "```", ""]
    for number, parts in FIGURES.items():
        hours = sum(part.hours("ncr") for part in parts)
        run = RUN.get(f"figure {number}", "nothing")
        lines += [f"## Figure {number}", "", f"Run by us: {run}.", ""]
        lines += [f"`make reproduce FIGURE={number}`, {hours:,.0f} hours, runs", ""]
        lines += ["```", *commands_of_figure(number), "```", ""]
    return "\n".join(lines).rstrip() + "\n"


HEAD = """\
# The paper's tables and figures, row by row

A command for each row of Tables 1 to 3 and 6 and for Figures 2 to 4 of
[the paper](https://arxiv.org/abs/2202.02200), for a machine with an accelerator.
`make reproduce TABLE=3 ROW=elr_plus` prints the commands of a row and runs them; the
same again goes on where it was. What to download for each data set stands in
[configs/](../configs). Written by `benchmarks/reproduce.py`.

Hours are estimated for one accelerator that trains at 30 TFLOP/s throughout, from the
operations of the network. They were not measured, and nothing here was run on a GPU or
TPU. Rows that the paper quotes from others, who had Inception-ResNet-v2, train the
network of the paper's own rows here.

The row `cleannet` of Table 2 needs verification labels: people's decisions on some of
the training labels, on the page that `keras-ncr audit --review=FOLDER` makes of a run
such as that of `standard`. Its command reads them from `clothing1m-corrections.csv`.
CleanNet's authors have verified labels that came with the data.
"""

if __name__ == "__main__":
    main()
