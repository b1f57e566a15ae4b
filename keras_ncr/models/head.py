"""Classifiers on features that are given: NCR with ELR on a few dense layers."""

import dataclasses

import keras
import numpy as np
import tensorflow as tf

from keras_ncr.checks import check_integer, check_known, check_positive, check_weight
from keras_ncr.models.auto_weight import AUTO, checked_weight
from keras_ncr.models.elr import ELRModel

_SCALES = ("each", "all")
# Rows whose sums are taken at a time.
_ROWS_AT_ONCE = 4096


@dataclasses.dataclass(frozen=True)
class HeadSettings:
    """How a classifier on features is built and trained.

    Args:
        hidden_units: Int, at least 1: the width of each dense layer. Defaults to 512.
        num_layers: Int, at least 0: dense layers before the last one, each with batch
            normalization and a ReLU. Defaults to `None`: two, or none if there are
            fewer than 5,000 examples, which would be learned by heart.
        epochs: Int, at least 1. Defaults to `None`: 15, or as many more as make 150
            steps.
        batch_size: Int, at least 1. Defaults to `None`: 256, or 128 if there are fewer
            than 5,000 examples; without hidden layers 512.
        learning_rate: Positive float, after a warm-up; it falls to 0 as a cosine.
            Defaults to `None`: 0.1; without hidden layers 4 / dim, at most 0.5.
        weight_decay: Float, at least 0. Defaults to `None`: 4e-3; without hidden layers
            3 * dim / n, at most 0.1 / learning_rate: the more features and the fewer
            examples there are, the nearer all logits stay to each other
            (`benchmarks/README.md`).
        consistency_weight: As in `ELRModel`. Defaults to `None`: `"auto"`, or 0.3
            without hidden layers.
        elr_weight: As in `ELRModel`. Defaults to `None`: 3, or 1 if there are fewer
            than 5,000 examples, or 0.3 without hidden layers.
        scale: `"each"` brings each feature to a variance of 1; `"all"` divides all by
            one number, to a mean variance of 1, so that those that vary most count
            most: better for singular vectors of texts. Defaults to `"each"`.
        seed: Int, at least 0. Defaults to 0.

    Raises:
        ValueError: If one is out of its range.

    Example:
    >>> from keras_ncr.models.head import HeadSettings
    >>> settings = HeadSettings().completed(num_examples=600, dim=1280)
    >>> settings.batch_size, settings.epochs
    (512, 150)
    """

    hidden_units: int = 512
    num_layers: int | None = None
    epochs: int | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    weight_decay: float | None = None
    consistency_weight: float | str | None = None
    elr_weight: float | None = None
    scale: str = "each"
    seed: int = 0

    def __post_init__(self):
        """Checks what is given."""
        for name, minimum in (
            ("hidden_units", 1),
            ("num_layers", 0),
            ("epochs", 1),
            ("batch_size", 1),
            ("seed", 0),
        ):
            if getattr(self, name) is not None:
                check_integer(getattr(self, name), name, minimum)
        for name, check in (
            ("learning_rate", check_positive),
            ("elr_weight", check_positive),
            ("weight_decay", check_weight),
        ):
            if getattr(self, name) is not None:
                check(getattr(self, name), name)
        check_known(self.scale, _SCALES, "scale")
        if self.consistency_weight is not None:
            checked_weight(self.consistency_weight, True, "the head")

    def completed(self, num_examples: int, dim: int) -> "HeadSettings":
        """Returns the settings for such features, with nothing left open."""
        is_small = num_examples < 5_000

        def choose(value, default):
            return default if value is None else value

        num_layers = choose(self.num_layers, 0 if is_small else 2)
        batch_size = (128 if is_small else 256) if num_layers else 512
        batch_size = min(choose(self.batch_size, batch_size), num_examples)
        num_steps = max(num_examples // batch_size, 1)
        # A step then changes logits alike, however many features add up to them.
        learning_rate = choose(
            self.learning_rate, 0.1 if num_layers else min(4 / dim, 0.5)
        )
        weight_decay = 4e-3
        if not num_layers:
            weight_decay = min(3 * dim / num_examples, 0.1 / learning_rate)
        elr_weight = (1.0 if is_small else 3.0) if num_layers else 0.3
        return dataclasses.replace(
            self,
            num_layers=num_layers,
            batch_size=batch_size,
            epochs=choose(self.epochs, max(15, -(-150 // num_steps))),
            consistency_weight=choose(
                self.consistency_weight, AUTO if num_layers else 0.3
            ),
            elr_weight=choose(self.elr_weight, elr_weight),
            weight_decay=choose(self.weight_decay, weight_decay),
            learning_rate=learning_rate,
        )


def train_head(
    features,
    labels,
    num_classes: int,
    rows=None,
    settings: HeadSettings | None = None,
    sample_weight=None,
    callbacks=(),
    verbose=0,
) -> keras.Model:
    """Returns an `ELRModel` from features to logits, trained by NCR with ELR."""
    # It standardizes the features itself, and reads them, or a `numpy.memmap`, batch by
    # batch. The same settings give the same weights, whatever the global seed.
    rows = np.arange(len(labels)) if rows is None else np.asarray(rows)
    training = HeadTraining(
        features, labels, num_classes, len(rows), settings, sample_weight
    )
    return training.train(rows, callbacks=callbacks, verbose=verbose)


class HeadTraining:
    """Trainings of one classifier on several parts of the same features, traced once.

    Each begins anew from the same weights. `num_rows` is that of the smallest part.
    """

    def __init__(
        self, features, labels, num_classes, num_rows, settings=None, sample_weight=None
    ):
        settings = (settings or HeadSettings()).completed(num_rows, features.shape[1])
        self.features, self.labels, self.settings = features, labels, settings
        self.sample_weight = sample_weight
        self.num_steps = num_rows // settings.batch_size
        self.model = _head_model(features.shape[1], num_classes, len(labels), settings)
        _compile(self.model, settings, self.num_steps)
        self.model(np.zeros((1, features.shape[1]), "float32"))
        self.model.optimizer.build(self.model.trainable_variables)
        self.variables = [*self.model.variables, *self.model.optimizer.variables]
        self.start = [keras.ops.convert_to_numpy(one) for one in self.variables]

    def train(self, rows, seed=None, callbacks=(), verbose=0) -> keras.Model:
        """Returns the classifier, trained on some rows: always the same object."""
        for variable, value in zip(self.variables, self.start, strict=True):
            variable.assign(value)
        scale = self.model.backbone.get_layer("standardize")
        mean, variance = _moments(self.features, rows, self.settings.scale)
        scale.moving_mean.assign(mean)
        scale.moving_variance.assign(variance)
        self.model.fit(
            self._batches(rows, self.settings.seed if seed is None else seed),
            epochs=self.settings.epochs,
            steps_per_epoch=self.num_steps,
            shuffle=False,
            callbacks=list(callbacks),
            verbose=verbose,
        )
        return self.model

    def _batches(self, rows, seed):
        """Returns the batches of all epochs, with the numbers of the examples."""
        features, labels, settings = self.features, self.labels, self.settings
        random = np.random.default_rng(seed)
        # The few that fill no batch are others in each epoch.
        num_used = self.num_steps * settings.batch_size
        order = [random.permutation(rows)[:num_used] for _ in range(settings.epochs)]
        weights = []
        if self.sample_weight is not None:
            weights = [np.asarray(self.sample_weight, "float32")]

        def read(index):
            return (
                np.asarray(features[index], "float32"),
                labels[index].astype("int64"),
                *(weight[index] for weight in weights),
            )

        def batch(index):
            shape = [settings.batch_size]
            types = (tf.float32, tf.int64, *(tf.float32 for _ in weights))
            inputs, *others = tf.numpy_function(read, [index], types, stateful=False)
            inputs.set_shape([*shape, features.shape[1]])
            label, *weight = (tf.ensure_shape(one, shape) for one in others)
            return inputs, {"label": label, "index": index}, *weight

        return (
            tf.data.Dataset.from_tensor_slices(np.concatenate(order))
            .batch(settings.batch_size, drop_remainder=True)
            .map(batch)
            .prefetch(tf.data.AUTOTUNE)
        )


def _head_model(dim, num_classes, num_examples, settings):
    """Returns the classifier, not trained."""
    seeds = iter(range(settings.seed, settings.seed + settings.num_layers + 1))
    layers = [
        keras.Input([dim]),
        # As `Normalization`, whose mean would be a constant of the trace.
        keras.layers.BatchNormalization(
            center=False, scale=False, epsilon=0, trainable=False, name="standardize"
        ),
    ]
    for _ in range(settings.num_layers):
        start = keras.initializers.HeNormal(seed=next(seeds))
        layers += [
            keras.layers.Dense(
                settings.hidden_units, use_bias=False, kernel_initializer=start
            ),
            keras.layers.BatchNormalization(momentum=0.9),
            keras.layers.ReLU(),
        ]
    start = keras.initializers.GlorotUniform(seed=next(seeds))
    return ELRModel(
        keras.Sequential(layers, name="head"),
        num_classes,
        num_examples,
        elr_weight=settings.elr_weight,
        consistency_weight=settings.consistency_weight,
        classifier=keras.layers.Dense(
            num_classes, dtype="float32", kernel_initializer=start, name="classifier"
        ),
    )


def _compile(model, settings, num_steps):
    """Compiles a model: momentum, a warm-up, then a cosine."""
    total = settings.epochs * num_steps
    warmup = max(total * 2 // 15, 1)
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0,
        max(total - warmup, 1),
        warmup_target=settings.learning_rate,
        warmup_steps=warmup,
    )
    model.compile(
        keras.optimizers.SGD(
            schedule, momentum=0.9, weight_decay=settings.weight_decay
        ),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )


def _moments(features, rows, scale):
    """Returns each column's mean over some rows, and its variance or that of all."""
    sums = np.zeros((2, features.shape[1]))
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        block = np.asarray(features[rows[start : start + _ROWS_AT_ONCE]], "float64")
        sums += block.sum(axis=0), (block**2).sum(axis=0)
    mean, square = sums / len(rows)
    variance = square - mean**2
    if scale == "all":
        variance = np.full_like(variance, variance.mean())
    # A column that never changes stays as it is.
    return mean, np.where(variance > 1e-12 * (1 + mean**2), variance, 1.0)
