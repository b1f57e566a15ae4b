"""Settings that cannot take effect: refused, or named in the first lines of a run."""

import math
from collections.abc import Iterable

from ml_collections import ConfigDict

from keras_ncr.datasets import Source
from keras_ncr.experiments.batches import steps_per_epoch
from keras_ncr.experiments.config import WITH_STEM
from keras_ncr.experiments.methods import TABLE, consistency_settings, method_of


def check_effects(config: ConfigDict) -> None:
    """Raises if a part of the method would never come in."""
    method = method_of(config)
    sections = {"ncr": "NCR's term"} if "ncr" in method.words else {}
    own = config.get(method.model, {})
    if method.model != "ncr" and "warmup_epochs" in own:
        sections[method.model] = method.model
    for section, what in sections.items():
        limit, epochs = f"config.epochs={config.epochs}", config.epochs
        if section == method.model and own.get("first_stage_share"):
            first = math.ceil(own.first_stage_share * epochs)
            epochs = min(first, epochs - first)
            limit = f"the epochs of the shorter stage, {epochs} of {limit}"
        warmup = config[section].warmup_epochs
        if warmup >= epochs:
            raise ValueError(
                f"`config.{section}.warmup_epochs` must be below {limit}, or {what} "
                f"never comes in. Received: {warmup}. Set "
                f"both, such as --config.{section}.warmup_epochs={epochs // 3}."
            )


def notes(config: ConfigDict, source: Source) -> list[str]:
    """Returns sentences on settings that take effect in part, or not at all."""
    method, found = method_of(config), []
    examples = config.epochs * steps_per_epoch(config, source) * config.batch_size
    if "ncr" in method.words:
        ncr = consistency_settings(config)
        if ncr["consistency_weight"] == 0:
            found.append("NCR's term has the weight 0: this is training without it.")
        largest = min(config.batch_size, source.num_examples) - 1 + ncr["queue_size"]
        if ncr["num_neighbors"] > largest:
            found.append(
                f"config.ncr.num_neighbors={ncr['num_neighbors']} is more than the "
                f"{largest} other examples of a batch: all of them are neighbors."
            )
        if ncr["queue_size"] > examples:
            found.append(
                f"config.ncr.queue_size={ncr['queue_size']:,} is never filled by the "
                f"{examples:,} examples of the run: there is no neighbor from it."
            )
    own = config.get(method.model, {})
    ramp = own.get("ramp_epochs", 0) + own.get("warmup_epochs", 0)
    if method.model == "co_teaching":
        ramp -= 1  # It reaches its full value in the last epoch but one.
    if ramp > config.epochs and "ramp_epochs" in own:
        found.append(
            f"config.{method.model}.ramp_epochs={own.ramp_epochs} is longer than the "
            f"run of {config.epochs} epochs: its full value is never reached."
        )
    steps = config.epochs * steps_per_epoch(config, source)
    for key in ("ramp_steps", "average_ramp_steps"):
        if own.get(key, 0) > steps:
            found.append(
                f"config.{method.model}.{key}={own[key]:,} is longer than the run of "
                f"{steps:,} steps: its full value is never reached."
            )
    if own.get("teacher_steps", 0) >= steps:
        found.append(
            f"config.{method.model}.teacher_steps={own.teacher_steps:,} is not less "
            f"than the run's {steps:,} steps: there is no phase of predicted labels."
        )
    if 0 < own.get("last_stage_share", 0) * config.epochs < 1:
        found.append(
            f"config.{method.model}.last_stage_share={own.last_stage_share} of "
            f"{config.epochs} epochs is less than one: there is no last stage."
        )
    if config.noise.kind != "none" and config.noise.rate == 0:
        found.append(
            f"config.noise.kind={config.noise.kind!r} has the rate 0: no label "
            "is redrawn."
        )
    if config.top_5 and source.num_classes <= 5:
        found.append(
            f"config.top_5 is 100 % of {source.num_classes} classes: it says nothing."
        )
    return found


def unused_settings(config: ConfigDict, keys: Iterable[str]) -> list[str]:
    """Returns a sentence for each dotted key that has no effect on a config."""
    sentences, unused = [], _unused(config)
    for key in keys:
        for place, reason in unused.items():
            if key == place or (place.endswith(".") and key.startswith(place)):
                sentences.append(f"--config.{key} has no effect with {reason}.")
                break
    return sentences


def _unused(config):
    """Returns reasons by what has no effect: keys, and sections that end with a dot."""
    method, method_reason = method_of(config), f"--config.method={config.method}"
    views = config[method.model].views if method.needs("views") else ""
    used = {*method.words, *(["second_view"] if views == "jittered" else [])}
    found = {
        f"{word}.": method_reason
        for word in TABLE
        if word not in used and word in config
    }
    if views and "second_view." in found:
        found["second_view."] = f"--config.{method.model}.views={views}"
    # What a model that NCR is joined with has in place of `config.ncr`.
    joined = TABLE[method.model].settings.keys() & config.ncr.keys()
    joined = joined if TABLE[method.model].joins_ncr else ()
    place = "ncr" if "ncr" in method.words else method.model
    found |= {f"{place}.{key}": method_reason for key in joined}
    noise, optimizer = config.noise, config.optimizer
    has_test = config.data.name in ("folder", "table") and config.data.test_path
    for key, cause, is_unused in (
        ("noise.rate", "noise.kind", noise.kind == "none"),
        ("noise.seed", "noise.kind", noise.kind == "none"),
        ("noise.exact", "noise.kind", noise.kind in ("none", "instance")),
        ("noise.look_alikes", "noise.kind", noise.kind != "asymmetric"),
        ("noise.include_true", "noise.kind", noise.kind != "symmetric"),
        ("curriculum.first_stage_share", "curriculum.scores", config.curriculum.scores),
        ("model.stem", "model.backbone", config.model.backbone not in WITH_STEM),
        ("augment.min_area", "augment.crop", config.augment.crop != "resized"),
        ("optimizer.nesterov", "optimizer.momentum", not optimizer.momentum),
        (
            "optimizer.decay_kernels_only",
            "optimizer.weight_decay",
            not optimizer.weight_decay,
        ),
        ("data.hold_out", "data.test_path", has_test),
        ("data.train_split", "data.test_path", has_test),
        ("data.test_split", "data.test_path", has_test),
    ):
        if is_unused:
            section, _, name = cause.partition(".")
            # A number is a cause only when it is 0; 0.0 is written so too.
            found[key] = f"--config.{cause}={config[section][name] or 0}"
    return found
