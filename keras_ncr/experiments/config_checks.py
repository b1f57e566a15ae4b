"""Checks of a config, before anything is made from it."""

from ml_collections import ConfigDict

from keras_ncr.backbones.applications import application_names
from keras_ncr.checks import check_integer, check_known
from keras_ncr.experiments.batches import CROPS
from keras_ncr.experiments.config import choose
from keras_ncr.experiments.effects import check_effects
from keras_ncr.experiments.labels import NOISES
from keras_ncr.experiments.methods import method_of
from keras_ncr.experiments.model import BACKBONES
from keras_ncr.experiments.own_pictures import naming
from keras_ncr.experiments.strategy import STRATEGIES
from keras_ncr.review.corrections import read_corrections

_SMALLEST = {"epochs": 1, "batch_size": 1, "trials": 1, "seed": 0, "steps_per_epoch": 0}


def check_config(config: ConfigDict) -> None:
    """Raises for a name that is not known, or a number out of its range.

    The settings of noise, model, loss and augmentation are checked where these are
    made.
    """
    method_of(config)
    check_known(
        config.model.backbone,
        [*BACKBONES, *application_names()],
        "config.model.backbone",
    )
    check_known(config.strategy, STRATEGIES, "config.strategy")
    choose(config.noise.kind, NOISES, "config.noise.kind")
    choose(config.augment.crop, CROPS, "config.augment.crop")
    for key, minimum in _SMALLEST.items():
        check_integer(config[key], f"config.{key}", minimum)
    if not config.checkpoint_seconds >= 0:
        raise ValueError(
            "`config.checkpoint_seconds` must be at least 0, which is a checkpoint "
            f"after every step. Received: {config.checkpoint_seconds}."
        )
    for key in ("image_size", "short_side", "shuffle_buffer", "limit"):
        check_integer(config.data[key], f"config.data.{key}", minimum=0)
    if not 0 < config.data.hold_out < 1:
        raise ValueError(
            "`config.data.hold_out` must be above 0 and below 1, the share of the "
            f"images that is held out for testing. Received: {config.data.hold_out}."
        )
    if config.data.corrections:  # Before all images are decoded.
        with naming("corrections"):
            read_corrections(config.data.corrections)
    _check_crop(config)
    check_effects(config)
    settings = config.optimizer
    for key, is_right, expected in (
        ("learning_rate", settings.learning_rate > 0, "above 0"),
        ("momentum", 0 <= settings.momentum < 1, "at least 0 and below 1"),
        ("weight_decay", settings.weight_decay >= 0, "at least 0"),
        (
            "warmup_epochs",
            0 <= settings.warmup_epochs < config.epochs,
            f"at least 0 and below config.epochs={config.epochs}",
        ),
    ):
        if not is_right:
            raise ValueError(
                f"`config.optimizer.{key}` must be {expected}. "
                f"Received: {settings[key]}."
            )


def _check_crop(config):
    """Raises if a crop lacks its size, or a size has no effect on it."""
    data, crop = config.data, config.augment.crop
    if not data.image_size and (crop != "padded" or data.short_side):
        raise ValueError(
            "`config.data.image_size` must be above 0 with "
            f"config.augment.crop={crop!r} and config.data.short_side="
            f"{data.short_side}. Received: {data.image_size}."
        )
    if data.short_side and crop == "padded":
        raise ValueError(
            "`config.data.short_side` must be 0 with config.augment.crop='padded', "
            "which takes the largest square of an image, in training as in testing. "
            f"Received: {data.short_side}."
        )
    if config.augment.padding and crop != "padded":
        raise ValueError(
            "`config.augment.padding` has no effect on "
            f"config.augment.crop={crop!r}. Received: {config.augment.padding}. "
            "Leave it out."
        )
    if data.balanced and not config.steps_per_epoch:
        raise ValueError(
            "`config.data.balanced` needs `config.steps_per_epoch`: an epoch of all "
            "examples is as balanced as they are. Received: True. Set the steps too."
        )
