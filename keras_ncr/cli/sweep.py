r"""Finds good settings of a method: one after the other, as in the paper's Figure 2.

    keras-ncr sweep --config=fashion_mnist:ncr --processes=2 \
        --try=ncr.consistency_weight=0.1,0.3,0.5,0.7,0.9 \
        --try=ncr.num_neighbors=1,5,10,50 --try=ncr.warmup_epochs=0,5,10 \
        --noises=symmetric:0.2,symmetric:0.4 --workdir=runs/sweep

Each setting is tried with the best values of those before it. The best value is right
most often in the last epoch, by the mean over all noises, on training examples that are
held out with their noisy labels: it needs no true label and no test set. The same
command again goes on, and more settings can be tried after those before.

Prints the chosen settings as words for the command line. The workdir gets `sweep.json`,
with all that was tried, `picture.png`, and a folder for each run.
"""

from absl import flags

from keras_ncr import plots
from keras_ncr.cli import comparison_flags
from keras_ncr.cli.command_line import refusal_in_one_line
from keras_ncr.cli.config_flag import CONFIG
from keras_ncr.experiments.comparison.jobs import run_jobs
from keras_ncr.experiments.comparison.plan import Job, Plan
from keras_ncr.experiments.comparison.search import job_of, parse_tries, search
from keras_ncr.experiments.measures import mean_and_deviation, spread
from keras_ncr.files import check_none_lost, replacing, write_json

TRIES = flags.DEFINE_multi_string(
    "try", [], "KEY=VALUE,VALUE,...: a setting and what to try. May come repeatedly."
)
VALIDATION = flags.DEFINE_float(
    "validation", 0.1, "The share of the training examples that is held out."
)
for name in comparison_flags.NAMES:  # So that --help shows them.
    flags.declare_key_flag(name)


def main() -> None:
    """Runs the command, and prints what was tried and chosen."""
    with refusal_in_one_line():
        if not 0 < VALIDATION.value < 1:
            raise ValueError(
                "`--validation` must be above 0 and below 1, the share that is held "
                f"out. Received: {VALIDATION.value}."
            )
        shares = {"data.validation_share": VALIDATION.value}
        plan = comparison_flags.plan(**shares)
        tries = parse_tries(TRIES.value, CONFIG.value)
        check(plan, tries)
        check_none_lost(plan.workdir, ("sweep.json", "picture.png"), '"config": ')
        try:
            for stages in search(plan, tries, run):
                keep(plan, stages)
                print(summary(stages[-1]))
        except KeyboardInterrupt:
            raise SystemExit(comparison_flags.INTERRUPTED) from None
    words = [f"--config.{stage['key']}={stage['chosen']}" for stage in stages]
    print(f"\nChosen: {' '.join(words)}\nAll that was tried: {plan.workdir}")


def check(plan: Plan, tries: dict[str, list]) -> None:
    """Raises if one of the runs cannot be made, before the first one begins."""
    taken = {*plan.overrides}
    if comparison_flags.NOISES.value:
        taken |= {"noise.kind", "noise.rate"}
    for key, values in tries.items():
        comparison_flags.refuse_given("", taken | {"trials"}, (key,), "--try")
        for value in values:
            for noise in plan.noises:
                comparison_flags.refuse_unused([job_of(plan, noise, {key: value})], key)


def run(jobs: list[Job]) -> None:
    """Runs the jobs of a stage."""
    run_jobs(jobs, comparison_flags.PROCESSES.value)


def keep(plan: Plan, stages: list[dict]) -> None:
    """Writes and draws what has been tried so far."""
    content = {
        "config": plan.config_file,
        "arguments": plan.arguments,
        "overrides": plan.overrides,
        "stages": stages,
        "chosen": {stage["key"]: stage["chosen"] for stage in stages},
    }
    write_json(plan.workdir / "sweep.json", content)
    figure = plots.sweep_figure(
        {
            stage["key"]: (
                stage["chosen"],
                {entry["value"]: entry["accuracies"] for entry in stage["tried"]},
            )
            for stage in stages
        },
        title=f"{CONFIG.value.data.name}, {CONFIG.value.method}",
    )
    with replacing(plan.workdir / "picture.png") as temporary:
        figure.savefig(temporary, dpi=120)


def summary(stage: dict) -> str:
    """Returns the lines on a stage: each value with its accuracy, and the choice."""
    lines = [stage["key"]]
    for entry in stage["tried"]:
        accuracies = ", ".join(
            f"{title}: {spread(mean_and_deviation(values))}"
            for title, values in entry["accuracies"].items()
            if values
        )
        reasons = "; ".join(entry["failed"])
        text = f"failed, {reasons}" if reasons else accuracies
        is_chosen = entry["value"] == stage["chosen"]
        lines.append(f"  {entry['value']!s:10} {text}{'  < chosen' * is_chosen}")
    return "\n".join(lines)
