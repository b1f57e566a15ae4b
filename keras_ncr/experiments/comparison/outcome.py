"""The outcome of a job, read from its folder."""

from typing import NamedTuple

from keras_ncr.experiments.comparison.plan import Job
from keras_ncr.experiments.measures import mean_and_deviation
from keras_ncr.experiments.workdir import damage_named, read_dict


class Outcome(NamedTuple):
    """What the trials of a job measured, and what failed. Lists are over trials."""

    num_asked: int  # How many trials there are to be.
    num_run: int
    last: list  # Test accuracies of the last epoch, of trials that did not fail.
    best: list  # Those of the best epoch.
    memorized: list  # Shares of the wrong labels, where these are known.
    seconds: float
    cpu_seconds: float | None  # Of a trial, in the mean; None if it is not known.
    realized_rate: float | None
    data: str
    failed_trials: list  # Why trials failed.
    failure: str  # Why the run as a whole failed, or nothing.

    @property
    def is_finished(self):
        """Whether all trials are run."""
        return self.num_run >= self.num_asked

    @property
    def has_failed(self):
        """Whether it ended without any result."""
        return bool(self.failure or (self.failed_trials and not self.last))

    @property
    def notes(self):
        """The remarks beside the numbers, or nothing."""
        notes = []
        if self.failed_trials:
            notes.append(f"{len(self.failed_trials)} of {self.num_run} failed")
        if self.num_run and not self.is_finished:
            notes.append(f"{self.num_run} of {self.num_asked} run")
            notes += ["then failed"] if self.failure else []
        return f"({', '.join(notes)})" if notes else ""


def outcome_of(job: Job) -> Outcome:
    """Returns the `Outcome` of a job, run or not; a damaged file is its failure."""
    path = job.folder / "results.json"
    try:
        with damage_named(path, "The same command again writes it anew."):
            return _outcome(job, read_dict(path) if path.exists() else {})
    except ValueError as error:
        return _outcome(job, {})._replace(failure=str(error))


def _outcome(job, results):
    """Returns the `Outcome` of a job with these results."""
    trials = results.get("trials", [])
    succeeded = [trial for trial in trials if "failed" not in trial]
    # The accuracy after label propagation replaces that of the classifier.
    is_propagated = any("propagated_test_accuracy" in trial for trial in succeeded)
    measure = "propagated_test_accuracy" if is_propagated else "last_test_accuracy"
    num_asked, num_run = job.config.trials, len(trials)
    failure = job.beside(".failed")
    # Another process may have finished what failed here.
    has_failed = num_run < num_asked and failure.exists()
    return Outcome(
        num_asked=num_asked,
        num_run=num_run,
        last=[trial[measure] for trial in succeeded],
        best=[trial["best_test_accuracy"] for trial in succeeded if not is_propagated],
        memorized=[
            trial["memorization_rate"]
            for trial in succeeded
            if trial.get("memorization_rate") is not None
        ],
        seconds=sum(trial.get("seconds", 0) for trial in trials),
        cpu_seconds=mean_and_deviation(
            [trial.get("cpu_seconds") for trial in succeeded]
        )["mean"],
        realized_rate=results.get("noise", {}).get("realized_rate"),
        data=results.get("data", job.config.data.name),
        failed_trials=[trial["failed"] for trial in trials if "failed" in trial],
        failure=failure.read_text().strip() if has_failed else "",
    )
