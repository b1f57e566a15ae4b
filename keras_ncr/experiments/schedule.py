"""The optimizer of a run: SGD with its learning rates and its weight decay."""

import keras
from ml_collections import ConfigDict


def optimizer(config: ConfigDict, steps_per_epoch: int) -> keras.optimizers.SGD:
    """Returns SGD with linear warm-up and cosine decay, as in all of the paper."""
    settings = config.optimizer
    sgd = keras.optimizers.SGD(
        learning_rate_schedule(config, steps_per_epoch),
        momentum=settings.momentum,
        nesterov=settings.nesterov,
        weight_decay=settings.weight_decay / (1 - settings.momentum) or None,
    )
    if settings.decay_kernels_only and settings.weight_decay:
        sgd.exclude_from_weight_decay(var_names=["bias", "gamma", "beta", "scale"])
    return sgd


def learning_rate_schedule(
    config: ConfigDict, steps_per_epoch: int
) -> keras.optimizers.schedules.LearningRateSchedule:
    """Returns the learning rate by step: from 0 to its peak, and back to 0."""
    peak = config.optimizer.learning_rate
    warmup_steps = round(config.optimizer.warmup_epochs * steps_per_epoch)
    decay_steps = config.epochs * steps_per_epoch - warmup_steps
    if not warmup_steps:
        return keras.optimizers.schedules.CosineDecay(peak, decay_steps)
    return keras.optimizers.schedules.CosineDecay(
        0.0, decay_steps, warmup_target=peak, warmup_steps=warmup_steps
    )
