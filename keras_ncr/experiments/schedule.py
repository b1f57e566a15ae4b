"""The optimizer of a run: SGD with its learning rates and its weight decay."""

import keras
from ml_collections import ConfigDict

from keras_ncr.models import PlainSGD


def optimizer(config: ConfigDict, steps_per_epoch: int) -> keras.optimizers.SGD:
    """Returns SGD with linear warm-up and cosine decay, as in all of the paper."""
    # Papers add weight decay to the gradient, and momentum accumulates it: in the long
    # run each step shrinks a weight by `learning_rate * weight_decay / (1 - momentum)`.
    # Keras shrinks it by `learning_rate * weight_decay`; so that is divided below, but
    # not of `PlainSGD`, which has the papers' meaning itself.
    settings = config.optimizer
    weight_decay, cls = settings.weight_decay, PlainSGD
    if not settings.plain_velocity:
        weight_decay, cls = weight_decay / (1 - settings.momentum), keras.optimizers.SGD
    sgd = cls(
        learning_rate_schedule(config, steps_per_epoch),
        momentum=settings.momentum,
        nesterov=settings.nesterov,
        weight_decay=weight_decay or None,
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
