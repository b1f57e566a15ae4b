"""The outcomes of all jobs as Markdown and as CSV."""

import csv
import pathlib
import statistics

from keras_ncr.experiments.measures import mean_and_deviation, spread
from keras_ncr.files import as_cell, replacing

CSV_HEADER = (
    *("method", "noise", "rate", "realized_rate", "trials", "failed"),
    *("last_mean", "last_sd", "best_mean", "best_sd", "memorized", "seconds"),
    *("cpu_seconds", "failure"),
)


def markdown(cells: dict[str, list]) -> str:
    """Returns the Markdown of two tables, and of the failures."""
    outcomes = [outcome for row in cells.values() for _, outcome in row]
    num_trials = max(outcome.num_asked for outcome in outcomes)
    measured = "one trial"
    if num_trials > 1:
        measured = f"mean ± standard deviation of {num_trials} trials"
    rule = "The best of each column is bold"
    if any(map(_is_told, cells)):
        rule += ", but for an oracle, which is told what is wrong"
    lines = [
        f"{outcomes[0].data}: test accuracy (%) in the last epoch, {measured}. {rule}.",
        "",
        *_with_costs(_table(cells, _last_cell, lambda outcome: outcome.last), cells),
        "",
        "In the best epoch, which only the test images can tell:",
        "",
        *_table(cells, _best_cell, lambda outcome: outcome.best),
    ]
    complaints = [line for row in cells.values() for line in _complaints(row)]
    if complaints:
        lines += ["", "What went wrong:", "", *complaints]
    return "\n".join(lines) + "\n"


def _is_told(method):
    """Returns whether a method knows which labels are wrong, and cannot be best."""
    return "oracle" in method.split("+")


def _table(cells, text_of, values_of):
    """Returns the lines of a table of methods by noises, the best of each in bold."""
    means = {
        method: [mean_and_deviation(values_of(outcome))["mean"] for _, outcome in row]
        for method, row in cells.items()
    }
    competitors = [row for method, row in means.items() if not _is_told(method)]
    best = [
        max((mean for mean in column if mean is not None), default=None)
        for column in zip(*competitors, strict=True)
    ] or [None] * len(next(iter(means.values())))
    titles = map(_title, zip(*cells.values(), strict=True))
    lines = [f"| method | {' | '.join(titles)} |", "| --- |" + " ---: |" * len(best)]
    for method, row in cells.items():
        texts = [
            text_of(outcome, not _is_told(method) and mean is not None and mean == top)
            for (_, outcome), mean, top in zip(row, means[method], best, strict=True)
        ]
        lines.append(f"| {method} | {' | '.join(texts)} |")
    return lines


def _with_costs(lines, cells):
    """Returns the lines of a table with a last column: the cost of a trial."""
    if not any(outcome.cpu_seconds for row in cells.values() for _, outcome in row):
        return lines
    costs = [
        [outcome.cpu_seconds for _, outcome in row if outcome.cpu_seconds is not None]
        for row in cells.values()
    ]
    texts = [f"{statistics.mean(row) / 60:.1f}" if row else "" for row in costs]
    column = ("CPU minutes a trial", "---:", *texts)
    return [f"{line} {text} |" for line, text in zip(lines, column, strict=True)]


def _title(column):
    """Returns the head of a column: what was asked for, and what share is wrong."""
    title = column[0][0].noise.title
    # An oracle leaves the wrong ones out.
    rates = [outcome.realized_rate or 0 for _, outcome in column]
    return f"{title} ({100 * max(rates):.0f} % wrong)" if max(rates) else title


def _last_cell(outcome, is_best):
    """Returns mean, deviation and notes, or why there are none."""
    if not outcome.num_run:
        return "failed" if outcome.failure else "not run"
    text = ""
    if outcome.last:
        text = spread(mean_and_deviation(outcome.last)).removesuffix(" %")
    return " ".join(filter(None, [f"**{text}**" if is_best else text, outcome.notes]))


def _best_cell(outcome, is_best):
    """Returns the mean alone, which is enough for a glance."""
    mean = mean_and_deviation(outcome.best)["mean"]
    if mean is None:
        return ""
    return f"**{100 * mean:.1f}**" if is_best else f"{100 * mean:.1f}"


def _complaints(row):
    """Returns a line on each run of a row that failed, as a whole or in part."""
    return [
        f"- {job.name}: {reason}"
        for job, outcome in row
        for reason in dict.fromkeys([outcome.failure, *outcome.failed_trials])
        if reason
    ]


def write_csv(cells: dict[str, list], path: pathlib.Path) -> None:
    """Writes a line for each method and noise; accuracies are shares, not percent."""
    with replacing(path) as temporary, open(temporary, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(CSV_HEADER)
        for method, row in cells.items():
            for job, outcome in row:
                writer.writerow(map(as_cell, _csv_row(method, job, outcome)))


def _csv_row(method, job, outcome):
    """Returns the values of a line of the CSV file; None is written as nothing."""
    reasons = [*outcome.failed_trials, outcome.failure]
    return [
        method,
        job.noise.kind,
        job.noise.rate,
        outcome.realized_rate,
        outcome.num_run,
        len(outcome.failed_trials),
        *mean_and_deviation(outcome.last).values(),
        *mean_and_deviation(outcome.best).values(),
        mean_and_deviation(outcome.memorized)["mean"],
        round(outcome.seconds, 1),
        None if outcome.cpu_seconds is None else round(outcome.cpu_seconds, 1),
        "; ".join(dict.fromkeys(filter(None, reasons))),
    ]
