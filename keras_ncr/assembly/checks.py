"""What a config must be before anything is made of it."""

from keras_ncr.assembly.labels import NOISES
from keras_ncr.assembly.model import BACKBONES, METHODS
from keras_ncr.checks import check_integer
from keras_ncr.config import choose


def check_config(config):
    """Raises for a name that is not known, or a number that makes no run.

    What belongs to noise, model, loss and augmentation is checked where these are made.
    """
    choose(config.method, METHODS, "config.method")
    choose(config.model.backbone, BACKBONES, "config.model.backbone")
    choose(config.noise.kind, NOISES, "config.noise.kind")
    for key, minimum in {"epochs": 1, "batch_size": 1, "trials": 1, "seed": 0}.items():
        check_integer(config[key], f"config.{key}", minimum)
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
