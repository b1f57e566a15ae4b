"""Two networks trained side by side: an ensemble, and what methods with two need."""

import keras
import tensorflow as tf

from keras_ncr.checks import check_layer
from keras_ncr.distribution import MultiWorkerTraining, replicas
from keras_ncr.distribution.shares import share_of_mean
from keras_ncr.distribution.targets import (
    check_per_example,
    check_takes_logits,
    checked_training_data,
    label_of,
    weight_of,
    with_weights_by_class,
)
from keras_ncr.losses import NeighborConsistencyLoss
from keras_ncr.models.ncr import NCRModel
from keras_ncr.models.warmup import with_warmup


@keras.saving.register_keras_serializable(package="keras_ncr")
class NetworkPair(MultiWorkerTraining, keras.Model):
    """Two classifiers of one task, trained in one step; predictions are their mean.

    Used as it is, each network minimizes eq. 4 of the paper by its own features and
    logits, with alpha = 0 if not told otherwise: an ensemble. Methods in which networks
    teach each other are subclasses that override `network_objectives`.

    One optimizer trains both, which for optimizers that treat each weight by itself,
    such as SGD and Adam, is the same as two. `fit` reports `loss`, the mean of what the
    two networks minimize, and the compiled metrics, of the mean logits.

    Args:
        backbones: Two Keras models or layers, as `backbone` in `NCRModel`. They should
            start from different weights.
        num_classes: As in `NCRModel`.
        consistency_loss: As in `NCRModel`; both networks use it, so that it must not
            have a queue.
        consistency_weight: As in `NCRModel`. Defaults to 0.0, without consistency.
        warmup_epochs: As in `NCRModel`.
        classifier: `"linear"` or `"cosine"`, as in `NCRModel`, or two such names or
            layers, one for each network. Defaults to `"linear"`.
        **kwargs: As in `keras.Model`.

    Call arguments:
        inputs: Whatever the backbones take.
        training: Bool, as in `keras.Model`.

    Returns:
        Float32 logits of shape `(batch, num_classes)`: the mean of both networks'.

    Raises:
        ValueError: If an argument is out of its range, or there are not two backbones.

    Example:
    >>> backbones = [
    ...     keras.Sequential([keras.layers.Dense(16, activation="relu")])
    ...     for _ in range(2)
    ... ]
    >>> model = keras_ncr.models.NetworkPair(backbones, num_classes=3)
    >>> model.compile(
    ...     optimizer="sgd",
    ...     loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    ...     metrics=["accuracy"],
    ... )
    >>> x, y = np.random.default_rng(0).normal(size=(32, 5)), np.arange(32) % 3
    >>> history = model.fit(x, y, epochs=1, verbose=0)
    >>> sorted(history.history)
    ['accuracy', 'loss']
    >>> first, second = model.all_logits(x)
    """

    def __init__(
        self,
        backbones,
        num_classes,
        consistency_loss=None,
        consistency_weight=0.0,
        warmup_epochs=0,
        classifier="linear",
        **kwargs,
    ):
        super().__init__(**kwargs)
        if consistency_loss is None:
            consistency_loss = NeighborConsistencyLoss()
        check_keeps_no_queue(consistency_loss)
        backbones = two_of(backbones, "backbones")
        if isinstance(classifier, str):
            classifier = [classifier, classifier]
        classifiers = two_of(classifier, "classifier")
        self.networks = [
            NCRModel(
                check_layer(backbone, "backbones"),
                num_classes,
                consistency_loss,
                consistency_weight,
                warmup_epochs,
                one_classifier,
                dtype=self.dtype_policy,
            )
            for backbone, one_classifier in zip(backbones, classifiers, strict=True)
        ]
        first, second = self.networks
        self.num_classes = first.num_classes
        self.consistency_loss = first.consistency_loss
        self.consistency_weight = first.consistency_weight
        self.warmup_epochs = first.warmup_epochs
        # One variable for all, which the warm-up sets.
        self.current_consistency_weight = first.current_consistency_weight
        second.current_consistency_weight = first.current_consistency_weight

    def build(self, input_shape):
        for network in self.networks:
            network.build(input_shape)

    def call(self, inputs, training=None):
        first, second = self.all_logits(inputs, training=training)
        return (first + second) / 2

    def all_logits(self, inputs, training=None):
        """Returns both networks' logits, a list; the arguments are those of `call`."""
        return [network(inputs, training=training) for network in self.networks]

    def compile(self, optimizer="rmsprop", loss=None, *args, **kwargs):
        """As in `keras.Model`, all arguments too; `loss` has to be one on logits.

        Raises:
            ValueError: If `loss`, or one of several, expects probabilities.
        """
        for one in keras.tree.flatten(loss):
            check_takes_logits(one)
        super().compile(optimizer, loss, *args, **kwargs)

    def compile_from_config(self, config):
        # What Keras does as well, but not for a model with a `compile` of its own.
        self.compile(**keras.saving.deserialize_keras_object(config))
        if self.built:
            self.optimizer.build(self.trainable_variables)

    def fit(
        self,
        x=None,
        y=None,
        batch_size=None,
        epochs=1,
        verbose="auto",
        callbacks=None,
        validation_split=0.0,
        *args,
        **kwargs,
    ):
        """As in `NCRModel`, all arguments too; warm-up is taken care of.

        Raises:
            ValueError: If labels are out of range or NaN, or there is no example.
            tf.errors.InvalidArgumentError: If labels in a `tf.data.Dataset` are.
        """
        x = checked_training_data(x, y, self.num_classes, self.loss)
        kwargs = with_weights_by_class(x, y, self.num_classes, validation_split, kwargs)
        callbacks = with_callbacks(with_warmup(callbacks, self), self)
        return super().fit(
            x,
            y,
            batch_size,
            epochs,
            verbose,
            callbacks,
            validation_split,
            *args,
            **kwargs,
        )

    def own_callbacks(self):
        """Returns the callbacks that the method itself needs; override this.

        `fit` adds them before those it is given.
        """
        return []

    def train_step(self, data):
        """Minimizes the sum of both networks' objectives on one batch.

        Args:
            data: A batch `(inputs, labels)` or `(inputs, labels, sample_weight)`.

        Returns:
            Dict of the metrics' values so far in this epoch.
        """
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        if not self.built:
            self(x)  # Which builds the model: what follows calls its networks alone.
        with tf.GradientTape() as tape:
            objectives, logits = self.network_objectives(x, y, sample_weight)
            objective = sum(objectives) + self.additional_loss()
            scaled_objective = self.optimizer.scale_loss(objective)
        self.track_loss(objective, logits)
        gradients = tape.gradient(scaled_objective, self.trainable_weights)
        self.optimizer.apply(gradients, self.trainable_weights)
        return self.compute_metrics(x, y, logits, sample_weight=sample_weight)

    def network_objectives(self, x, y, sample_weight=None):
        """Returns what the networks minimize, and the batch's logits; override this.

        Called in training alone, under the gradient tape. `classification_loss` and
        `joined_loss` help. A network's `add_loss` terms and regularizers are added
        afterwards: they are those of its last call.

        Args:
            x: The batch's inputs.
            y: The batch's targets: labels, or a dict of them and what comes with them.
            sample_weight: The examples' weights, or `None`.

        Returns:
            Pair: a list of two scalars, without `self.losses`, each this replica's
            share of the mean over the global batch; and the logits for the compiled
            metrics, of shape `(batch, num_classes)`.
        """
        outputs = self.features_and_logits(x)
        objectives = []
        for features, logits in outputs:
            supervised = self.classification_loss(y, logits, sample_weight)
            objectives.append(self.joined_loss(supervised, features, logits))
        return objectives, mean_logits(outputs)

    def features_and_logits(self, x):
        """Returns (features, logits) of both networks, a list: one pass of training."""
        return [
            network(x, training=True, return_features=True) for network in self.networks
        ]

    def classification_loss(self, y, logits, sample_weight=None):
        """Returns this replica's share of the compiled loss, without `self.losses`."""
        loss = self.compute_loss(None, y, logits, sample_weight, training=True)
        loss -= tf.cast(self.additional_loss(), loss.dtype)
        size = replicas.global_size(logits)
        return share_of_mean(loss, self.loss, y, sample_weight, size)

    def joined_loss(self, supervised, features, logits):
        """Returns eq. 4: the supervised loss of one network, and its consistency."""
        if self.consistency_weight == 0:
            return supervised
        consistency = self.consistency_loss(features, logits, training=True)
        check_per_example(consistency)
        share = tf.cast(replicas.global_mean(consistency), supervised.dtype)
        alpha = tf.cast(self.current_consistency_weight, supervised.dtype)
        return (1 - alpha) * supervised + alpha * share

    def additional_loss(self):
        """Returns this replica's share of the sum of `self.losses`, as a scalar."""
        dtype = keras.config.floatx()
        terms = [tf.cast(tf.reduce_sum(loss), dtype) for loss in self.losses]
        return (
            sum(terms, tf.zeros((), dtype))
            / self.distribute_strategy.num_replicas_in_sync
        )

    def track_loss(self, objective, logits):
        """Counts a batch in the loss that `fit` reports: the mean per network."""
        num_replicas = self.distribute_strategy.num_replicas_in_sync
        # A share of a mean over the global batch: it stands for as many examples.
        num_examples = replicas.global_size(logits) / num_replicas
        for metric in self.metrics:
            if metric.name == "loss":
                metric.update_state(objective * num_replicas / 2, num_examples)

    def compute_loss(
        self, x=None, y=None, y_pred=None, sample_weight=None, training=True
    ):
        """As in `keras.Model`, on the labels alone where `y` is a dict."""
        sample_weight = weight_of(sample_weight)
        return super().compute_loss(x, label_of(y), y_pred, sample_weight, training)

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        """As in `keras.Model`, on the labels alone where `y` is a dict."""
        sample_weight = weight_of(sample_weight)
        return super().compute_metrics(x, label_of(y), y_pred, sample_weight)

    def get_config(self):
        serialize = keras.saving.serialize_keras_object
        return {
            **super().get_config(),
            "backbones": [serialize(network.backbone) for network in self.networks],
            "num_classes": self.num_classes,
            "consistency_loss": serialize(self.consistency_loss),
            "consistency_weight": self.consistency_weight,
            "warmup_epochs": self.warmup_epochs,
            "classifier": [serialize(network.classifier) for network in self.networks],
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        parts = {
            name: keras.saving.deserialize_keras_object(
                config[name], custom_objects=custom_objects
            )
            for name in ("backbones", "consistency_loss", "classifier")
        }
        return cls(**{**config, **parts})


def two_of(parts, name):
    """Returns two parts as a list, or raises: networks that share one are no pair."""
    is_pair = isinstance(parts, list | tuple) and len(parts) == 2
    if not is_pair or (parts[0] is parts[1] and isinstance(parts[0], keras.Layer)):
        raise ValueError(
            f"`{name}` must be two different ones, one for each network. "
            f"Received: {name}={parts!r}. Construct it twice."
        )
    return list(parts)


def check_keeps_no_queue(consistency_loss):
    """Raises if the loss remembers examples: it would mix those of two networks."""
    queue_size = getattr(consistency_loss, "queue_size", 0)
    if queue_size:
        raise ValueError(
            "`consistency_loss` must have queue_size=0 where two networks use it: "
            "features of one are no neighbors of the other's. Received: "
            f"queue_size={queue_size}. Leave it out, and make batches larger."
        )


def mean_logits(outputs):
    """Returns the mean of both networks' logits, without a gradient."""
    (_, first), (_, second) = outputs
    return tf.stop_gradient((first + second) / 2)


def with_callbacks(callbacks, model):
    """Returns the callbacks of `fit`, with those that the model's method needs."""
    own = model.own_callbacks()
    if isinstance(callbacks, keras.callbacks.CallbackList):
        for callback in own:
            callback.set_model(model)
        callbacks.callbacks[:0] = own
        return callbacks
    return [*own, *callbacks]
