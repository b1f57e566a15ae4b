"""From a `Source` to batches: which examples, what is done to them, in which order."""

from keras_ncr.pipelines.augmentation import (
    central_crop,
    crop_and_flip,
    random_crop,
    random_resized_crop,
)
from keras_ncr.pipelines.mixing import (
    color_jitter,
    in_sequence,
    mixup,
    random_shift,
    second_view,
)
from keras_ncr.pipelines.pipeline import evaluation_batches, training_batches
from keras_ncr.pipelines.policies import auto_augment, cutout, rand_augment
from keras_ncr.pipelines.sampling import steps_per_epoch
from keras_ncr.pipelines.several_views import one_after_another, views_in_rows, views_of

__all__ = [
    "auto_augment",
    "central_crop",
    "color_jitter",
    "crop_and_flip",
    "cutout",
    "evaluation_batches",
    "in_sequence",
    "mixup",
    "one_after_another",
    "rand_augment",
    "random_crop",
    "random_resized_crop",
    "random_shift",
    "second_view",
    "steps_per_epoch",
    "training_batches",
    "views_in_rows",
    "views_of",
]
