"""SGN: a Gaussian of log-ratios, which moves wrong labels and weighs unsure ones."""

import math

import keras
import numpy as np
import tensorflow as tf

from keras_ncr.checks import check_integer, check_positive, check_rate
from keras_ncr.distribution.targets import label_of, weight_of
from keras_ncr.losses.labels import label_distributions
from keras_ncr.models.classifier_layer import refuse_classifier
from keras_ncr.models.ncr import NCRModel
from keras_ncr.models.weight_average import copy_of, decay_at, move_average


@keras.saving.register_keras_serializable(package="keras_ncr")
class LogRatioClassifier(keras.layers.Layer):
    """Layer that predicts log-ratios of classes: their mean, as logits, and spread."""

    # The log-ratios of probabilities p are H log(p), of means m the logits m H, with H
    # the rows of Helmert's matrix: orthonormal, and each of sum 0.

    def __init__(self, num_classes: int, **kwargs):
        super().__init__(**{"dtype": "float32", **kwargs})
        self.num_classes = check_integer(num_classes, "num_classes", minimum=2)
        dtype = self.dtype_policy
        num_ratios = self.num_classes - 1
        self.mean = keras.layers.Dense(num_ratios, dtype=dtype, name="mean")
        self.spread = keras.layers.Dense(num_ratios, dtype=dtype, name="spread")

    def build(self, input_shape):
        self.mean.build(input_shape)
        self.spread.build(input_shape)

    def call(self, features):
        mean = self.mean(features)
        rows = keras.ops.convert_to_tensor(helmert(self.num_classes), mean.dtype)
        return keras.ops.matmul(mean, rows)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.num_classes)

    def get_config(self):
        return {**super().get_config(), "num_classes": self.num_classes}


class EpochLength(keras.callbacks.Callback):
    """Tells an `SGNModel` how many steps make an epoch; `fit` adds one by itself."""

    def on_train_begin(self, logs=None):
        steps = self.params["steps"]
        if steps is None:
            raise ValueError(
                "`steps_per_epoch` must be given to `fit` where the length of the data "
                "is not known: SGN counts epochs with their fractions. Received: None."
            )
        self.model.epoch_length.assign(float(steps))


@keras.saving.register_keras_serializable(package="keras_ncr")
class SGNModel(NCRModel):
    """Classifier that takes labels for shifted, noisy log-ratios (SGN).

    A label, one-hot or soft, is smoothed to `y = (1 - e) * label + e / num_classes`;
    its `num_classes - 1` log-ratios `t = H log(y)` are taken for normal, with a mean
    `m` and a direction `r` of larger variance that the network predicts:

        f = 1 - correction_decay**epochs
        loss = -log N(t; m + f * (t - [m']), I + r r^T)

    `m'` is the mean that the moving average of the network predicts, without gradient;
    `epochs` counts fractions. As f grows to 1 the target of `m` moves from the label to
    `m'`, which corrects labels; a large `r` lets an example count less. Predictions are
    `softmax(m H)`. It needs one view, no index, and remembers nothing about examples.

    The loss is the model's own, so `compile` takes none. Evaluation reports plain
    cross-entropy. Epochs are counted by the optimizer's steps: another `fit` goes on.
    The authors train with a constant learning rate of 0.01, Nesterov's momentum and
    weight decay 2.5e-4, for 600 epochs on CIFAR.

    It differs from the authors' code in that: the average predicts as in evaluation,
    with the network's batch statistics, where theirs is in training mode; it starts as
    the network, with a decay of at most `1 - 1 / step`, where theirs starts at random;
    both are saved.

    Args:
        backbone: As in `NCRModel`.
        num_classes: As in `NCRModel`. There is no `classifier`: the model's own
            predicts log-ratios.
        correction_decay: Float in [0, 1]; 1 never corrects. Defaults to 0.995, the
            authors' for all noise on CIFAR in 600 epochs, after which f is 0.95; for
            the 10 epochs of Clothing1M they have 0.7, for WebVision 0.999.
        smoothing: Float above 0 and below 1, e above. Defaults to 0.001, the authors'
            for CIFAR; for Clothing1M they have 0.1, for WebVision 0.01.
        average_decay: Float in [0, 1]: of the weights' average, per step. Defaults to
            0.9999, the authors'; with few steps take less.
        consistency_loss: As in `NCRModel`.
        consistency_weight: As in `NCRModel`; above 0 the method is joined with NCR, of
            which SGN is then the classification loss. Defaults to 0.0.
        **kwargs: As in `NCRModel`, `warmup_epochs` for example.

    Raises:
        ValueError: If an argument is out of its range; in `compile`, for a loss; in
            `fit`, if the length of an epoch is not known.

    Reference:
        - [Englesson and Azizpour, 2024](https://github.com/ErikEnglesson/SGN), ICLR

    Example:
    >>> backbone = keras.Sequential([keras.layers.Dense(16, activation="relu")])
    >>> model = keras_ncr.models.SGNModel(backbone, num_classes=3)
    >>> model.compile(optimizer="sgd", metrics=["accuracy"])
    >>> x, y = np.random.default_rng(0).normal(size=(32, 5)), np.arange(32) % 3
    >>> history = model.fit(x, y, verbose=0)
    >>> model.predict(x, verbose=0).shape
    (32, 3)
    """

    built_in_loss = "the likelihood of log-ratios"
    takes_unlabeled = False

    def __init__(
        self,
        backbone: keras.Layer,
        num_classes: int,
        correction_decay: float = 0.995,
        smoothing: float = 0.001,
        average_decay: float = 0.9999,
        consistency_loss: keras.Layer | None = None,
        consistency_weight: float = 0.0,
        **kwargs,
    ):
        refuse_classifier(kwargs, "SGNModel", "predicts log-ratios")
        super().__init__(
            backbone,
            num_classes,
            consistency_loss=consistency_loss,
            consistency_weight=consistency_weight,
            classifier=LogRatioClassifier(num_classes, name="classifier"),
            **kwargs,
        )
        self.correction_decay = check_rate(correction_decay, "correction_decay")
        self.smoothing = check_positive(smoothing, "smoothing")
        if self.smoothing >= 1:
            raise ValueError(
                "`smoothing` must be above 0 and below 1. Received: "
                f"smoothing={smoothing!r}."
            )
        self.average_decay = check_rate(average_decay, "average_decay")
        self.average = copy_of(self.own_network())
        # A plain variable: `fit` sets it. At 0 nothing is corrected.
        self.epoch_length = tf.Variable(0.0, trainable=False)

    def build(self, input_shape):
        super().build(input_shape)
        self.average.build(input_shape)
        # Once more, for layers that were not there before.
        self.average.trainable = False

    def own_callbacks(self):
        """Returns the callbacks of `NCRModel`, and the one that counts steps."""
        return [*super().own_callbacks(), EpochLength()]

    def batch_objective(self, x, y, sample_weight=None):
        """Returns the objective of `NCRModel`, once the average has moved."""
        if not self.built:
            self(x)
        decay = decay_at(self.optimizer.iterations, self.average_decay)
        move_average(self.average.backbone, self.backbone, decay)
        move_average(self.average.classifier, self.classifier, decay)
        return super().batch_objective(x, y, sample_weight)

    def supervised_loss(self, x, y, features, logits, sample_weight=None):
        """Returns this replica's share of SGN's loss, with `self.losses`."""
        # Read before the average adds its own.
        additional = self.additional_loss()
        labels = tf.cast(tf.convert_to_tensor(label_of(y)), "float32")
        labels = label_distributions(labels, logits)
        smoothed = (1 - self.smoothing) * labels + self.smoothing / self.num_classes
        ratios = helmert(self.num_classes).T.astype("float32")
        each = log_ratio_loss(
            tf.matmul(tf.math.log(smoothed), ratios),
            tf.matmul(logits, ratios),
            tf.cast(self.classifier.spread(features), "float32"),
            tf.matmul(self.average(x, training=False), ratios),
            self.corrected_share(),
        )
        share = self.mean_share(each, weight_of(sample_weight))
        return share + tf.cast(additional, share.dtype)

    def corrected_share(self):
        """Returns f, how much of the label the average has replaced."""
        epochs = tf.math.divide_no_nan(
            tf.cast(self.optimizer.iterations, "float32"),
            tf.convert_to_tensor(self.epoch_length),
        )
        return 1.0 - self.correction_decay**epochs

    def get_config(self):
        config = super().get_config()
        del config["classifier"]
        return config


def helmert(num_classes):
    """Returns Helmert's matrix without its first row: `(classes - 1, classes)`."""
    # Row i compares class i with the mean of those before it.
    rows = np.tril(np.ones((num_classes, num_classes)), -1)[1:]
    counts = np.arange(1, num_classes)
    rows[counts - 1, counts] = -counts
    return rows / np.sqrt(counts * (counts + 1))[:, None]


def log_ratio_loss(targets, means, spread, average_means, corrected_share):
    """Returns the negative log likelihood of log-ratios per example, `(batch,)`."""
    shift = corrected_share * (targets - tf.stop_gradient(average_means))
    residual = targets - means - shift
    # The inverse and the determinant of I + r r^T.
    scale = 1.0 + tf.reduce_sum(spread**2, axis=1)
    along = tf.reduce_sum(spread * residual, axis=1)
    distance = tf.reduce_sum(residual**2, axis=1) - along**2 / scale
    constant = targets.shape[1] * math.log(2 * math.pi)
    return 0.5 * (distance + tf.math.log(scale) + constant)
