"""Networks that turn raw inputs into features, for any classifier to follow.

Each function returns a Functional `keras.Model` from images `(batch, height, width,
channels)`, uint8 or float in 0..255, to features `(batch, dim)`; `mlp` takes features
too, `bag_of_words` texts and `column_mlp` the columns of a table. `application` takes
any network of `keras.applications` as Keras has it. The others, our own, share these
choices:

- The first layer rescales pixels to [-1, 1], so that pipelines carry uint8 to the
  device and a saved model serves raw images.
- The last operations are a ReLU and, but for the two smallest nets, a global average.
  Features are therefore non-negative and their cosines lie in [0, 1]. The features of
  `preact_resnet18` have either sign, as those of its authors.
- Convolutions with strides are padded alike on all sides, as in PyTorch, and not on the
  right and the bottom alone, as `padding="same"` does it.
- There is no classifier and no regularizer inside: weight decay is the optimizer's
  affair (`keras.optimizers.SGD(weight_decay=...)`).
- Initial weights are He's (https://arxiv.org/abs/1502.01852), normal by fan-in, and
  follow `keras.utils.set_random_seed`. torchvision's are normal by fan-out, those of
  ELR, DivideMix and SOP PyTorch's default, uniform within 1 / sqrt(fan-in).

The `keras.layers.Dense` that models put on top starts as Keras has it: uniform with a
standard deviation of sqrt(2 / (fan-in + classes)), 1.40 / sqrt(fan-in) for 512 features
and 10 classes, biases 0. The released NCR code (Flax) has 1 / sqrt(fan-in); PyTorch has
0.58 / sqrt(fan-in), for biases too.
"""

from keras_ncr.backbones.applications import application
from keras_ncr.backbones.cosine_classifier import CosineClassifier
from keras_ncr.backbones.heteroscedastic_classifier import HeteroscedasticClassifier
from keras_ncr.backbones.networks import (
    mlp,
    preact_resnet18,
    resnet18,
    resnet34,
    resnet50,
    small_cnn,
    small_resnet,
)
from keras_ncr.backbones.pretrained import pretrained
from keras_ncr.backbones.raw_inputs import (
    bag_of_words,
    column_mlp,
    encoded_columns,
    latent_semantics,
)
from keras_ncr.backbones.text_encoder import text_encoder

__all__ = [
    "CosineClassifier",
    "HeteroscedasticClassifier",
    "application",
    "bag_of_words",
    "column_mlp",
    "encoded_columns",
    "latent_semantics",
    "mlp",
    "preact_resnet18",
    "pretrained",
    "resnet18",
    "resnet34",
    "resnet50",
    "small_cnn",
    "small_resnet",
    "text_encoder",
]
