"""The plan of a comparison: a config file, label noises, and a `Job` per training."""

import pathlib
import re
import runpy
from typing import NamedTuple

from ml_collections import ConfigDict

from keras_ncr.checks import check_rate
from keras_ncr.experiments.config_checks import check_config


class Noise(NamedTuple):
    """The label noise of some runs. Empty and None stand for the config's own."""

    kind: str = ""
    rate: float | None = None

    @property
    def arguments(self):
        """The arguments of the config file."""
        kind = [f"noise={self.kind}"] if self.kind else []
        return kind + ([] if self.rate is None else [f"rate={self.rate:g}"])

    @property
    def folder(self):
        """The name of the folder with the runs of this noise."""
        values = [word.partition("=")[2] for word in self.arguments]
        return "-".join(values) or "as_configured"

    @property
    def title(self):
        """The head of the column."""
        if self.rate is None:
            return "labels as they are" if self.kind == "none" else self.kind
        # Without a kind, the rate is in whatever unit the data set has its rates in.
        return f"{self.kind} {100 * self.rate:g} %" if self.kind else f"{self.rate:g}"


class Job(NamedTuple):
    """One `keras-ncr train`: its name, its folder and its words."""

    name: str
    folder: pathlib.Path
    words: tuple
    config: ConfigDict  # What the words stand for.
    noise: Noise  # As the config has it, if none was asked for.

    def beside(self, suffix):
        """Returns the path of a file beside the folder of the training."""
        return self.folder.with_name(self.folder.name + suffix)


class Plan(NamedTuple):
    """The settings that all runs of a command share."""

    config_file: str
    arguments: str  # What follows the file after a colon.
    overrides: dict  # From dotted keys to values.
    noises: tuple
    workdir: pathlib.Path

    def config(self, noise, method="", **overrides):
        """Returns the config of a run, and the same as words of a command."""
        words = [self.arguments] if self.arguments else []
        words += [f"method={method}"] if method else []
        arguments = ",".join(words + noise.arguments)
        overrides = {**self.overrides, **overrides}
        get_config = runpy.run_path(self.config_file)["get_config"]
        config = get_config(arguments) if arguments else get_config()
        config.update_from_flattened_dict(overrides)
        file = f"{self.config_file}:{arguments}" if arguments else self.config_file
        settings = [f"--config.{key}={value}" for key, value in overrides.items()]
        return config, (f"--config={file}", *settings)

    def job(self, noise, name, method="", **overrides):
        """Returns the `Job` of a run, or raises if its config makes no sense."""
        config, words = self.config(noise, method, **overrides)
        check_config(config)
        folder = self.workdir / noise.folder / re.sub(r"[^\w.+=,-]+", "-", name)
        if not noise.arguments:
            is_added = config.noise.kind != "none"
            noise = Noise(config.noise.kind, config.noise.rate if is_added else None)
        name = str(folder.relative_to(self.workdir))
        return Job(name, folder, (*words, f"--workdir={folder}"), config, noise)


def parse_noises(words: list[str]) -> tuple[Noise, ...]:
    """Returns the `Noise` of each word, or that of the config for no words."""
    # A word is `KIND:RATE`, a kind alone (`none`), or a rate alone, for data sets that
    # come in several rates.
    return tuple(dict.fromkeys(map(_noise, words))) or (Noise(),)


def _noise(word):
    """Returns the `Noise` that a word stands for."""
    number = r"(\d*\.?\d+)"
    match = re.fullmatch(rf"([A-Za-z]\w*)(?::{number})?|{number}", word)
    if match is None:
        raise ValueError(
            "`--noises` must hold KIND:RATE, a kind alone or a rate alone, with commas "
            f"in between (symmetric:0.2,asymmetric:0.4). Received: {word!r}."
        )
    kind, rate_of_kind, rate = match.groups()
    if kind is None:
        return Noise(rate=float(rate))
    if rate_of_kind is None:
        return Noise(kind)
    return Noise(kind, check_rate(float(rate_of_kind), f"rate of {kind} in --noises"))
