"""Trains two networks side by side: an ensemble, and the base of methods with two."""

import keras
import tensorflow as tf

from keras_ncr.checks import check_layer
from keras_ncr.distribution import replicas
from keras_ncr.models._base import Classifier
from keras_ncr.models.ncr import NCRModel


@keras.saving.register_keras_serializable(package="keras_ncr")
class NetworkPair(Classifier):
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
        classifier: A name as in `NCRModel`, or two such names or layers, one for each
            network. Defaults to `"linear"`.
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
        backbones: list,
        num_classes: int,
        consistency_loss: keras.Layer | None = None,
        consistency_weight: float = 0.0,
        warmup_epochs: int = 0,
        classifier: str | list = "linear",
        **kwargs,
    ):
        super().__init__(
            num_classes, consistency_loss, consistency_weight, warmup_epochs, **kwargs
        )
        check_keeps_no_queue(self.consistency_loss)
        backbones = two_of(backbones, "backbones")
        if isinstance(classifier, str):
            classifier = [classifier, classifier]
        classifiers = two_of(classifier, "classifier")
        self.networks = [
            NCRModel(
                check_layer(backbone, "backbones"),
                self.num_classes,
                self.consistency_loss,
                self.consistency_weight,
                self.warmup_epochs,
                one_classifier,
                dtype=self.dtype_policy,
            )
            for backbone, one_classifier in zip(backbones, classifiers, strict=True)
        ]
        for network in self.networks:
            # One variable for all, which the warm-up sets.
            network.current_consistency_weight = self.current_consistency_weight

    def build(self, input_shape):
        for network in self.networks:
            network.build(input_shape)

    def call(self, inputs, training=None):
        first, second = self.all_logits(inputs, training=training)
        return (first + second) / 2

    def all_logits(self, inputs, training=None):
        """Returns both networks' logits, a list; the arguments are those of `call`."""
        return [network(inputs, training=training) for network in self.networks]

    def batch_objective(self, x, y, sample_weight=None):
        """Returns the sum of both networks' objectives, and their mean logits."""
        if not self.built:
            self(x)  # Which builds the model: what follows calls its networks alone.
        objectives, logits = self.network_objectives(x, y, sample_weight)
        objective = sum(objectives) + self.additional_loss()
        self.track("loss", objective / 2, replicas.global_size(logits))
        return objective, logits

    def network_objectives(self, x, y, sample_weight=None):
        """Returns what the networks minimize, and the batch's logits; override this.

        The first is a list of two scalars, each this replica's share of the mean over
        the global batch, without `add_loss` terms and regularizers: these are added
        afterwards. `classification_loss` and `joined_loss` help. The logits are for the
        compiled metrics.
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
        return self.share_of_mean(loss, y, sample_weight, replicas.global_size(logits))

    def joined_loss(self, supervised, features, logits):
        """Returns eq. 4: the supervised loss of one network, and its consistency."""
        if self.consistency_weight == 0:
            return supervised
        share = replicas.global_mean(self.consistency_of(features, logits))
        return self.networks[0].objective(supervised, share)

    def get_config(self):
        serialize = keras.saving.serialize_keras_object
        return {
            **super().get_config(),
            "backbones": [serialize(network.backbone) for network in self.networks],
            "classifier": [serialize(network.classifier) for network in self.networks],
        }


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
