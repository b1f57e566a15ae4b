"""Searches settings one after the other, each with the best values before it."""

import statistics

from ml_collections import ConfigDict

from keras_ncr.checks import check_known
from keras_ncr.experiments.comparison.outcome import outcome_of
from keras_ncr.experiments.config import string_arguments
from keras_ncr.experiments.measures import mean_and_deviation


def parse_tries(words: list[str], config: ConfigDict) -> dict[str, tuple]:
    """Returns the values to try by key, converted to the types in the config."""
    if not words:
        raise ValueError(
            "`--try` must name a setting and the values to try, for example "
            "--try=ncr.num_neighbors=1,10,50. Received: none."
        )
    tries = {}
    for word in words:
        key, _, texts = word.partition("=")
        default = _value(config, key)
        if key in tries:
            raise ValueError(f"`--try` must name a key once. Received: {key!r} twice.")
        values = [
            string_arguments(f"{key}={text}", **{key: default})[key]
            for text in texts.split(",")
        ]
        tries[key] = tuple(dict.fromkeys(values))
    return tries


def _value(config, key):
    """Returns what a config has under a dotted key, or raises."""
    value = config
    for part in key.split("."):
        known = [*value] if isinstance(value, ConfigDict) else []
        check_known(part, known, f"--try={key}")
        value = value[part]
    if isinstance(value, ConfigDict):
        raise ValueError(
            f"`--try` must name one setting of a group: {key}.KEY, with KEY one of "
            f"{[*value]}. Received: {key!r}."
        )
    return value


def job_of(plan, noise, settings):
    """Returns the `Job` of some settings under a noise."""
    # Named after what differs from the config alone, a run serves again when its
    # settings come up in a later stage, or when more keys are tried.
    config, _ = plan.config(noise)
    differing = {
        key: value for key, value in settings.items() if _value(config, key) != value
    }
    name = ",".join(f"{key}={value}" for key, value in differing.items())
    return plan.job(noise, name or "as_configured", **differing)


def search(plan, tries, run):
    """Yields the stages so far, as in `sweep.json`, each time that one has been run."""
    # The best has the highest mean over noises and trials of the accuracy in the last
    # epoch. What failed in a trial is not chosen.
    chosen, stages = {}, []
    for key, values in tries.items():
        jobs = {
            value: [
                job_of(plan, noise, {**chosen, key: value}) for noise in plan.noises
            ]
            for value in values
        }
        run([job for row in jobs.values() for job in row])
        tried = [_tried(value, row) for value, row in jobs.items()]
        succeeded = [entry for entry in tried if not entry["failed"]]
        if not succeeded:
            raise ValueError(
                f"Of `{key}` at least one value must train to the end. Received: "
                f"{list(values)}, which all failed: {tried[0]['failed'][0]}"
            )
        chosen[key] = max(succeeded, key=lambda entry: entry["mean"])["value"]
        stages.append({"key": key, "tried": tried, "chosen": chosen[key]})
        yield stages


def _tried(value, jobs):
    """Returns the outcome of a value: by noise, and as the mean over all noises."""
    outcomes = {job.noise.title: outcome_of(job) for job in jobs}
    unfinished = [
        f"{job.name}: {outcome.failure}"
        for job, outcome in zip(jobs, outcomes.values(), strict=True)
        if not outcome.is_finished
    ]
    # An infinite loss says something about the setting, an unfinished run does not.
    if unfinished:
        raise ValueError(
            "All runs must be finished before the best is chosen. Received: "
            f"{unfinished[0]} The same command tries it again."
        )
    failed = [
        reason for outcome in outcomes.values() for reason in outcome.failed_trials
    ]
    by_noise = {title: outcome.last for title, outcome in outcomes.items()}
    means = (
        [] if failed else [*map(statistics.mean, zip(*by_noise.values(), strict=True))]
    )
    return {
        "value": value,
        **mean_and_deviation(means),
        "accuracies": by_noise,
        "failed": list(dict.fromkeys(failed)),
    }
