"""Lists the labels of a training run that are probably wrong.

    keras-ncr audit --workdir=runs/digits --review=runs/digits-review

The workdir is that of a run of `keras-ncr train`. It gets a folder `audit` with
`labels.csv` (every example, the worst first), `labels.parquet`, `summary.json` and
pictures. `--review` also writes a page on which you decide about the labels.
`--folds=5` judges each example by a model that has not seen it: it counts the wrong
labels more exactly, and takes five times the training.
"""

from absl import flags

from keras_ncr.cli.command_line import WORKDIR, refusal_in_one_line, required
from keras_ncr.experiments.run_audit import audit_run

REVIEW = flags.DEFINE_string("review", None, "A folder for the review page.")
TRIAL = flags.DEFINE_integer("trial", 0, "The trial whose model judges.", 0)
FOLDS = flags.DEFINE_integer(
    "folds", 0, "Models that are trained, each without a part of the data; 0: none."
)
THRESHOLD = flags.DEFINE_float(
    "threshold", 0.5, "Labels are called that are wrong with a larger probability."
)
PRECISION = flags.DEFINE_float(
    "expected_precision",
    None,
    "In place of the threshold: the expected share of errors among the labels called.",
)
NEIGHBORS = flags.DEFINE_integer("num_neighbors", 10, "Neighbors of each example.", 1)
# So that --help shows it.
flags.declare_key_flag("workdir")


def main() -> None:
    """Runs the command, and prints what it found."""
    required(WORKDIR)
    with refusal_in_one_line(flags_of={"num_folds": "--folds", "folder": "--review"}):
        print(
            audit_run(
                WORKDIR.value,
                trial=TRIAL.value,
                num_folds=FOLDS.value,
                threshold=THRESHOLD.value,
                expected_precision=PRECISION.value,
                num_neighbors=NEIGHBORS.value,
                review=REVIEW.value,
            )
        )
