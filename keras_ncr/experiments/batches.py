"""The batches of a run: crops, augmentation, mixing, and what its method needs."""

import functools
from collections.abc import Callable

import tensorflow as tf
from ml_collections import ConfigDict

from keras_ncr import pipelines
from keras_ncr.datasets import Source
from keras_ncr.datasets.images import decode
from keras_ncr.experiments.config import choose
from keras_ncr.experiments.methods import TABLE, carried, method_of
from keras_ncr.pipelines import augmentation as augment
from keras_ncr.pipelines import mixing


def input_shape(config: ConfigDict, source: Source) -> tuple | dict:
    """Returns the shape of one example's inputs, as the network gets them."""
    if source.kind != "images":
        spec = source.dataset.element_spec["inputs"]
        return tf.nest.map_structure(lambda part: tuple(part.shape), spec)
    size = config.data.image_size
    shape = (size, size, source.image_shape[-1]) if size else source.image_shape
    if None in shape:
        raise ValueError(
            f"The images of {source.name!r} differ in size, and the network needs one. "
            f"Received: config.data.image_size={size}. Set it, to 224 for example."
        )
    return tuple(shape)


def check_fits(config: ConfigDict, source: Source) -> None:
    """Raises for methods and settings that mean nothing to inputs of a kind."""
    if source.kind == "images":
        return
    for word in method_of(config).words:
        reason = ""
        if word == "second_view" or "views" in TABLE[word].needs:
            reason = "it changes the colors and places of images"
        elif source.kind != "features" and TABLE[word].mixes:
            reason = "it mixes inputs, and only numbers can be mixed"
        if reason:
            raise ValueError(
                f"`config.method` must not have {word!r} on {source.kind}: {reason}. "
                f"Received: {config.method!r}. Leave it out, or take 'ncr+elr', which "
                "is for inputs of any kind."
            )
    for section, keys in (
        ("data", ("image_size", "short_side")),
        ("augment", ("padding", "flip")),
    ):
        for key in keys:
            if config[section][key]:
                raise ValueError(
                    f"`config.{section}.{key}` is for images, and has no effect on "
                    f"{source.kind}. Received: {config[section][key]!r}. Leave it out."
                )


def augmentation(config: ConfigDict, source: Source) -> Callable | None:
    """Returns the augmentation of single images, or `None`."""
    if source.kind != "images":
        return None
    make = choose(config.augment.crop, CROPS, "config.augment.crop")
    return make(config, source.image_shape[-1])


def view_augmentations(config: ConfigDict, source: Source) -> list:
    """Returns the augmentation of each view, `None` for one view without changes."""
    crop, method = augmentation(config, source), method_of(config)
    if not method.needs("views"):
        return [crop]
    policies = _policies(config)
    # Jittered views are made of whole batches, after one crop.
    if not policies:
        return [crop]
    return [_view(config, source, crop, one) for one in policies]


def num_views(config: ConfigDict) -> int:
    """Returns how many rows of a training batch are views of one example."""
    if not method_of(config).needs("views"):
        return 1
    policies = _policies(config)
    return len(policies) if policies else 2


def _policies(config):
    """Returns what makes each view, or `None` for jittered ones."""
    model = method_of(config).model
    return choose(config[model].views, VIEWS, f"config.{model}.views")


def _view(config, source, crop, policy):
    """Returns the augmentation that makes one view of an image."""
    as_stored = functools.partial(_as_stored, source.image_shape)
    if policy == PLAIN:
        prepare = preparation(config, source)
        return (lambda image, seed: prepare(image)) if prepare else as_stored
    crop = crop or as_stored
    if policy is None:
        return crop
    height, *_ = input_shape(config, source)
    cutout = pipelines.cutout(height // 2)  # 16 pixels of 32, as on CIFAR.
    # As in the authors' code images change before they are cropped; but where they are
    # brought to a size first, afterwards.
    is_first = not config.data.image_size and not source.is_encoded
    steps = [policy(), crop] if is_first else [crop, policy()]
    return pipelines.one_after_another(*steps, cutout)


def _as_stored(shape, image, seed):
    """Returns the pixels of an image."""
    return tf.ensure_shape(decode(image, shape[-1]), shape)


# A view as it is in evaluation.
PLAIN = "plain"

# What makes the first and the second view of an example; None beside: its crop alone.
VIEWS = {
    "plain": (None, None),
    "rand_augment": (pipelines.rand_augment, pipelines.rand_augment),
    "auto_augment": (None, pipelines.auto_augment),
    "rand_augment_and_plain": (pipelines.rand_augment, pipelines.rand_augment, PLAIN),
    # One crop, and the changes of `config.second_view`, drawn anew for each view.
    "jittered": None,
}


def _padded_crop(config, channels):
    """Returns the crop of the CIFAR protocol: an image shifted by some pixels."""
    settings, size = config.augment, config.data.image_size
    if not settings.padding and not settings.flip and not size:
        return None
    return augment.crop_and_flip(
        settings.padding, settings.flip, size or None, channels
    )


def _random_crop(config, channels):
    """Returns the crop of Clothing1M's protocol: a square out of a resized image."""
    return augment.random_crop(
        config.data.image_size,
        config.data.short_side or config.data.image_size,
        config.augment.flip,
        channels,
    )


def _resized_crop(config, channels):
    """Returns the crop of the ImageNet protocol: a random part, resized to a square."""
    return augment.random_resized_crop(
        config.data.image_size,
        config.augment.min_area,
        flip=config.augment.flip,
        channels=channels,
    )


CROPS = {"padded": _padded_crop, "random": _random_crop, "resized": _resized_crop}


def preparation(config: ConfigDict, source: Source) -> Callable | None:
    """Returns the crop of single test images, or `None`."""
    if not config.data.image_size or source.kind != "images":
        return None
    return augment.central_crop(
        config.data.image_size, config.data.short_side or None, source.image_shape[-1]
    )


def batch_augmentation(config: ConfigDict) -> Callable | None:
    """Returns the augmentation of whole batches, or `None`."""
    method = method_of(config)
    steps = []
    if "second_view" in method.words:
        steps.append(mixing.second_view(*_changes_of_view(config.second_view)))
    if method.needs("views"):
        if config[method.model].views == "jittered":
            changes = _changes_of_view(config.second_view)
            steps.append(mixing.second_view(*changes, keep_first=False))
        else:
            steps.append(pipelines.views_in_rows())
    if "mixup" in method.words:
        steps.append(mixing.mixup(config.mixup.alpha))
    return mixing.in_sequence(*steps) if len(steps) > 1 else (steps or [None])[0]


def _changes_of_view(settings):
    """Returns the changes that make a second view of images."""
    jitter = mixing.color_jitter(
        settings.brightness, settings.contrast, settings.saturation, settings.hue
    )
    return [jitter, mixing.random_shift(settings.shift)]


def training_batches(
    config: ConfigDict, source: Source, seed: int, **options
) -> tf.data.Dataset:
    """Returns the batches of all epochs of a trial, as its method wants them.

    Options are those of `pipelines.training_batches`, in place of the config's.
    """
    check_fits(config, source)
    method, views = method_of(config), view_augmentations(config, source)
    settings = {
        "batch_size": config.batch_size,
        "augment": views[0] if len(views) == 1 else pipelines.views_of(*views),
        "batch_augment": batch_augmentation(config),
        "num_epochs": config.epochs,
        "carry": carried(config),
        "one_hot": method.needs("one_hot"),
        "cache": config.data.cache,
        "shuffle_buffer": config.data.shuffle_buffer or None,
        "examples_per_epoch": config.steps_per_epoch * config.batch_size or None,
        "balanced": config.data.balanced,
    }
    return pipelines.training_batches(source, seed=seed, **{**settings, **options})


def evaluation_batches(
    config: ConfigDict, source: Source, **options
) -> tf.data.Dataset:
    """Returns the batches of one pass over a source, as the network gets them.

    Options are those of `pipelines.evaluation_batches`, in place of the config's.
    """
    settings = {
        "batch_size": config.batch_size,
        "prepare": preparation(config, source),
        "cache": config.data.cache,
    }
    return pipelines.evaluation_batches(source, **{**settings, **options})


def steps_per_epoch(config: ConfigDict, source: Source) -> int:
    """Returns the number of batches in an epoch of training."""
    return config.steps_per_epoch or pipelines.steps_per_epoch(
        source.num_examples, config.batch_size
    )
