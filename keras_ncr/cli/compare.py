r"""Compares methods on one data set, under one or several label noises.

    keras-ncr compare --config=fashion_mnist --trials=3 \
        --methods=standard,ncr,ncr+mixup --noises=symmetric:0.4,asymmetric:0.4 \
        --processes=2 --workdir=runs/compare

Each method and noise is one `keras-ncr train` in a folder of its own, with its log
beside it. The same command again goes on: what is finished is not run again, and more
methods, noises and trials can be added. A run that fails does not stop the others.
`--config.KEY=VALUE` holds for all runs, and so do the arguments after the config's name
(`cifar:classes=100`). `--methods=all` takes all rows of the paper's tables, and
`--report_only` runs nothing and reports what is there.

The workdir gets `table.md`, which is printed too, `table.csv` and `picture.png`.
"""

from collections.abc import Iterable

from absl import flags

from keras_ncr import plots
from keras_ncr.cli import comparison_flags
from keras_ncr.cli.command_line import refusal_in_one_line
from keras_ncr.cli.config_flag import CONFIG
from keras_ncr.experiments.comparison.jobs import run_jobs
from keras_ncr.experiments.comparison.outcome import outcome_of
from keras_ncr.experiments.comparison.plan import Job, Plan
from keras_ncr.experiments.comparison.table import CSV_HEADER, markdown, write_csv
from keras_ncr.experiments.methods import METHOD_ROWS
from keras_ncr.files import check_none_lost, replacing

METHODS = flags.DEFINE_list(
    "methods",
    [],
    "The rows, with commas between them: what config.method can be; or all.",
)
REPORT_ONLY = flags.DEFINE_bool("report_only", False, "Report what is there; run none.")
for name in comparison_flags.NAMES:  # So that --help shows them.
    flags.declare_key_flag(name)
Rows = dict[str, list[Job]]  # By method, a job for each noise.


def main() -> None:
    """Runs the command, and prints its table."""
    with refusal_in_one_line():
        plan = comparison_flags.plan()
        rows = {
            method: [plan.job(noise, method, method) for noise in plan.noises]
            for method in methods_of(plan)
        }
        jobs = [job for row in rows.values() for job in row]
        comparison_flags.refuse_unused(jobs, *plan.overrides)
        check_none_lost(
            plan.workdir, ("table.csv", "table.md", "picture.png"), ",".join(CSV_HEADER)
        )
        if not REPORT_ONLY.value:
            run(plan, rows)
        text = report(plan, rows)
        draw(plan, rows)
    print(f"\n{text}\nTable and picture: {plan.workdir}")
    has_failed = [outcome_of(job).has_failed for row in rows.values() for job in row]
    if any(has_failed) and not REPORT_ONLY.value:
        raise SystemExit("Error: some runs failed; the table says which, and why.")


def methods_of(plan: Plan) -> Iterable[str]:
    """Returns the methods that are compared, without repetition."""
    refuse = comparison_flags.refuse_given
    refuse(plan.arguments, plan.overrides, ("method",), "--methods")
    if CONFIG.value.method == plan.arguments.partition(",")[0]:
        raise ValueError(
            "Arguments of the config must not name a method beside --methods. "
            f"Received: {plan.arguments!r}. Leave it out."
        )
    methods = METHODS.value
    if not methods or "" in methods:
        raise ValueError(
            f"`--methods` must name some of {', '.join(METHOD_ROWS)}, or be all. "
            f"Received: {','.join(methods) or 'none'!r}."
        )
    return METHOD_ROWS if methods == ["all"] else dict.fromkeys(methods)


def run(plan: Plan, rows: Rows) -> None:
    """Runs all jobs, column by column: a finished column can be read already."""
    jobs = [job for column in zip(*rows.values(), strict=True) for job in column]
    try:
        run_jobs(jobs, comparison_flags.PROCESSES.value, lambda: report(plan, rows))
    except KeyboardInterrupt:
        raise SystemExit(comparison_flags.INTERRUPTED) from None


def report(plan: Plan, rows: Rows) -> str:
    """Writes the tables of what has been run so far, and returns the Markdown."""
    cells = cells_of(rows)
    text = markdown(cells)
    plan.workdir.mkdir(parents=True, exist_ok=True)
    write_csv(cells, plan.workdir / "table.csv")
    with replacing(plan.workdir / "table.md") as temporary:
        temporary.write_text(text, encoding="utf-8")
    return text


def draw(plan: Plan, rows: Rows) -> None:
    """Draws what has been run so far."""
    figure = plots.comparison_figure(
        {
            method: {
                job.noise.title: (outcome.last, outcome.best) for job, outcome in row
            }
            for method, row in cells_of(rows).items()
        },
        title=CONFIG.value.data.name,
    )
    with replacing(plan.workdir / "picture.png") as temporary:
        figure.savefig(temporary, dpi=120)


def cells_of(rows: Rows) -> dict[str, list]:
    """Returns each job with what came of it, by method."""
    return {
        method: [(job, outcome_of(job)) for job in row] for method, row in rows.items()
    }
