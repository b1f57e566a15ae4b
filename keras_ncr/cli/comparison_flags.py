"""The flags that `compare` and `sweep` share, and the plan that they describe."""

import pathlib
from collections.abc import Container, Iterable

from absl import flags
from ml_collections import config_flags

from keras_ncr.cli.command_line import WORKDIR
from keras_ncr.cli.config_flag import config_path, required_config
from keras_ncr.cli.trials_flag import TRIALS
from keras_ncr.experiments.comparison.plan import Job, Plan, parse_noises
from keras_ncr.experiments.effects import unused_settings
from keras_ncr.files import check_no_links

NOISES = flags.DEFINE_list(
    "noises",
    [],
    "Label noises: KIND:RATE, a kind alone or a rate alone, with commas in between. "
    "Default: the noise of the config.",
)
PROCESSES = flags.DEFINE_integer("processes", 1, "Trainings at a time.", 1)
# The flags that set keys of the config.
_FLAGS = {"trials": "--trials", "data.validation_share": "--validation"}
NAMES = ("config", "workdir", "noises", "trials", "processes")

INTERRUPTED = "\nInterrupted. The same command goes on: each run where it was saved."


def plan(**overrides: object) -> Plan:
    """Returns the `Plan` of the flags, and of settings by their dotted keys."""
    required_config()
    if WORKDIR.value is None:
        raise ValueError("`--workdir` must name a folder. Received: none.")
    check_no_links(WORKDIR.value)
    flag = flags.FLAGS["config"]
    name, _, arguments = config_flags.get_config_filename(flag).partition(":")
    file = str(config_path(name))
    given = config_flags.get_override_values(flag)
    noises = parse_noises(NOISES.value)
    if NOISES.value:
        refuse_given(arguments, given, ("noise", "rate"), "--noises")
        refuse_given("", given, ("noise.kind", "noise.rate"), "--noises")
    if TRIALS.value is not None:
        overrides["trials"] = TRIALS.value
    for key in overrides:
        refuse_given("", given, (key,), _FLAGS[key])
    overrides = {**given, **overrides}
    return Plan(
        file, arguments, overrides, noises, pathlib.Path(WORKDIR.value).expanduser()
    )


def refuse_given(
    arguments: str, overrides: Container[str], keys: Iterable[str], flag: str
) -> None:
    """Raises if arguments of the config, or overrides, have a key that a flag sets."""
    named = [word.partition("=")[0] for word in arguments.split(",")]
    for key in keys:
        if key in named or key in overrides:
            raise ValueError(
                f"`{key}` must not be set in --config beside {flag}, which sets it. "
                "Received: both. Leave one out."
            )


def refuse_unused(jobs: Iterable[Job], *keys: str) -> None:
    """Raises if one of some settings has no effect on any of the trainings."""
    for key in keys:
        found = [unused_settings(job.config, [key]) for job in jobs]
        if found and all(found):
            raise ValueError(f"{found[0][0]} Leave it out.")
