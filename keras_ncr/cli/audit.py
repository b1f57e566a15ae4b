"""Lists the labels of a training run that are probably wrong.

    python -m keras_ncr.audit --workdir=runs/digits --review=runs/digits-review

The workdir is that of a run of `keras-ncr train`. It gets a folder `audit` with
`labels.csv` (every example, the worst first), `labels.parquet`, `summary.json` and
pictures. `--review` also writes a page on which to decide about the labels.
`--folds=5` judges each example by a model that has not seen it: more exact about how
many labels are wrong, at five times the training.
"""

from absl import app, flags

from keras_ncr.cli.command_line import WORKDIR, parse_flags, refusal_in_one_line
from keras_ncr.experiments.run_audit import audit_run

REVIEW = flags.DEFINE_string("review", None, "A folder for the review page.")
TRIAL = flags.DEFINE_integer("trial", 0, "By the model of which trial.", 0)
FOLDS = flags.DEFINE_integer("folds", 0, "Models that each leave out a part; 0: none.")
PRECISION = flags.DEFINE_float(
    "expected_precision", 0.8, "Expected share of errors among the labels called wrong."
)
NEIGHBORS = flags.DEFINE_integer("num_neighbors", 10, "Neighbors of each example.", 1)
# So that --help shows it.
flags.declare_key_flag("workdir")


def main(argv):
    """Runs the command, and prints what it found."""
    if len(argv) > 1:
        raise app.UsageError(f"{argv[1:]}: a flag reads --NAME=VALUE.")
    if WORKDIR.value is None:
        raise SystemExit("Error: flag --workdir must have a value.")
    with refusal_in_one_line():
        print(
            audit_run(
                WORKDIR.value,
                trial=TRIAL.value,
                num_folds=FOLDS.value,
                expected_precision=PRECISION.value,
                num_neighbors=NEIGHBORS.value,
                review=REVIEW.value,
            )
        )


if __name__ == "__main__":
    app.run(main, flags_parser=parse_flags)
