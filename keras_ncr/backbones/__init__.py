"""Networks that turn raw pixels into features, for any classifier to follow.

Each function returns a Functional `keras.Model` from images `(batch, height, width,
channels)`, uint8 or float in 0..255, to features `(batch, dim)`. `application` takes
any network of `keras.applications` as Keras has it. The others, our own, share these
choices:

- The first layer rescales pixels to [-1, 1], so that pipelines carry uint8 to the
  device and a saved model serves raw images.
- The last operations are a ReLU and, but for the two smallest nets, a global average.
  Features are therefore non-negative and their cosines lie in [0, 1].
- There is no classifier and no regularizer inside: weight decay is the optimizer's
  affair (`keras.optimizers.SGD(weight_decay=...)`).
- Initial weights are He's (https://arxiv.org/abs/1502.01852) and follow
  `keras.utils.set_random_seed`.
"""

from keras_ncr.backbones.applications import application
from keras_ncr.backbones.cosine_classifier import CosineClassifier
from keras_ncr.backbones.networks import (
    mlp,
    preact_resnet18,
    resnet18,
    resnet34,
    resnet50,
    small_cnn,
)

__all__ = [
    "CosineClassifier",
    "application",
    "mlp",
    "preact_resnet18",
    "resnet18",
    "resnet34",
    "resnet50",
    "small_cnn",
]
