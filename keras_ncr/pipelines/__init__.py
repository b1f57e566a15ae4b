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
from keras_ncr.pipelines.sampling import steps_per_epoch

__all__ = [
    "central_crop",
    "color_jitter",
    "crop_and_flip",
    "evaluation_batches",
    "in_sequence",
    "mixup",
    "random_crop",
    "random_resized_crop",
    "random_shift",
    "second_view",
    "steps_per_epoch",
    "training_batches",
]
