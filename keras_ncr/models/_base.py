"""The base of all models: compile, fit, labels, the step, losses, metrics, configs."""

import inspect

import keras
import tensorflow as tf

from keras_ncr.checks import check_integer, check_layer, check_rate
from keras_ncr.distribution import MultiWorkerTraining, replicas
from keras_ncr.distribution.targets import label_of, weight_of
from keras_ncr.losses import NeighborConsistencyLoss
from keras_ncr.models.example_memory import (
    ExampleMemory,
    index_of,
    num_examples_of,
    numbered,
)
from keras_ncr.models.fitting import (
    check_takes_logits,
    checked_training_data,
    refuse_loss,
    with_own_callbacks,
    with_weights_by_class,
)
from keras_ncr.models.views import checked_views
from keras_ncr.models.warmup import ConsistencyWarmup

_FIT = inspect.signature(keras.Model.fit)


@keras.saving.register_keras_serializable(package="keras_ncr")
class Classifier(MultiWorkerTraining, keras.Model):
    """Base of Keras classifiers, of one network or several, for labels partly wrong.

    A subclass returns logits from `call` and overrides `batch_objective`. It may

    - have layers of type `ExampleMemory`: `fit` then numbers the examples of arrays,
      and expects a `tf.data.Dataset` to carry their numbers;
    - set `num_views`, the neighboring rows of a training batch that are one example;
    - set `built_in_loss`, the words for what it trains on, if `compile` takes no loss;
    - add callbacks in `own_callbacks`, and in `training_trackers` means of losses that
      are known in training alone.

    Args:
        num_classes: Int, at least 2.
        consistency_loss: As in `NCRModel`.
        consistency_weight: As in `NCRModel`. Defaults to 0.0.
        warmup_epochs: As in `NCRModel`.
        **kwargs: As in `keras.Model`.
    """

    built_in_loss: str | None = None
    num_views = 1
    training_trackers = ()
    # A `MeanPredictions`, which attaches itself.
    mean_predictions = None

    def __init__(
        self,
        num_classes: int,
        consistency_loss: keras.Layer | None = None,
        consistency_weight: float = 0.0,
        warmup_epochs: int = 0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if consistency_loss is None:
            consistency_loss = NeighborConsistencyLoss()
        self.num_classes = check_integer(num_classes, "num_classes", minimum=2)
        self.consistency_loss = check_layer(consistency_loss, "consistency_loss")
        self.consistency_weight = check_rate(consistency_weight, "consistency_weight")
        self.warmup_epochs = check_integer(warmup_epochs, "warmup_epochs", minimum=0)
        # A plain variable: it belongs to the run of `fit`, which sets it every epoch,
        # and not to the weights that are counted, saved and averaged.
        self.current_consistency_weight = tf.Variable(
            0.0 if warmup_epochs else self.consistency_weight, trainable=False
        )

    def compile(
        self, optimizer="rmsprop", loss=None, loss_weights=None, *args, **kwargs
    ):
        """As in `keras.Model`, all arguments too; `loss` has to be one on logits.

        Raises:
            ValueError: If `loss`, or one of several, expects probabilities; or if one
                is given to a model with a built-in loss.
        """
        if self.built_in_loss is not None:
            refuse_loss(loss, loss_weights, type(self).__name__, self.built_in_loss)
            loss = self.evaluation_loss()
        for one in keras.tree.flatten(loss):
            check_takes_logits(one)
        super().compile(optimizer, loss, loss_weights, *args, **kwargs)

    def compile_from_config(self, config):
        # What Keras does as well, but not for a model with a `compile` of its own.
        if self.built_in_loss is not None:
            config = {**config, "loss": None}
        self.compile(**keras.saving.deserialize_keras_object(config))
        if self.built:
            self.optimizer.build(self.trainable_variables)

    def evaluation_loss(self):
        """Returns what a model with a built-in loss compiles, for evaluation."""
        return None

    def fit(self, x=None, y=None, *args, **kwargs):
        """As in `keras.Model`, all arguments too; warm-up is taken care of.

        Labels are ints `(n,)`, one-hot `(n, num_classes)`, or a dict of arrays with the
        key `"label"`. Epochs of warm-up are counted from `initial_epoch` 0, so a second
        `fit` starts with them again. A `ConsistencyWarmup` given replaces the model's.
        A model that remembers its examples numbers those of arrays.

        Raises:
            ValueError: If labels are out of range or NaN, there is no example, examples
                have no numbers where the model needs them, or arrays do not hold views.
            tf.errors.InvalidArgumentError: If labels or views in a `tf.data.Dataset`
                are wrong.
        """
        given = _FIT.bind(self, x, y, *args, **kwargs)
        given.apply_defaults()
        arguments = {**given.arguments}
        del arguments["self"]
        return super().fit(**self.prepared(arguments))

    def prepared(self, arguments):
        """Returns the arguments of `fit` by name, checked and completed."""
        x, y = arguments["x"], arguments["y"]
        x = checked_views(x, y, self.num_views, arguments["shuffle"])
        if self.memories():
            y = numbered(y, self.num_views)
            self.reserve(x, y, arguments["validation_split"])
        x = checked_training_data(x, y, self.num_classes, self.loss)
        callbacks = with_own_callbacks(arguments["callbacks"], self)
        arguments = {**arguments, "x": x, "y": y, "callbacks": callbacks}
        return with_weights_by_class(arguments, self.num_classes)

    def memories(self):
        """Returns the layers that remember something about each example."""
        layers = self._flatten_layers(include_self=False)
        return [layer for layer in layers if isinstance(layer, ExampleMemory)]

    @property
    def num_examples(self):
        """The number of examples that there is room for, or `None`."""
        return next((one.num_examples for one in self.memories()), None)

    def reserve(self, x, y, validation_split):
        """Makes room in the memories for the training examples."""
        num_examples = num_examples_of(x, y, self.num_examples)
        with self.distribute_strategy.scope():
            for memory in self.memories():
                memory.reserve(num_examples)

    def own_callbacks(self):
        """Returns the callbacks that the method itself needs; override this.

        `fit` puts them before those it is given, unless one of their kind is there.
        """
        return [ConsistencyWarmup()]

    def train_step(self, data):
        """Minimizes `batch_objective` on one batch; otherwise Keras' own step."""
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        with tf.GradientTape() as tape:
            objective, logits = self.batch_objective(x, y, sample_weight)
            scaled_objective = self.optimizer.scale_loss(objective)
        gradients = tape.gradient(scaled_objective, self.trainable_weights)
        self.optimizer.apply(gradients, self.trainable_weights)
        if self.mean_predictions is not None:
            self.mean_predictions.update(index_of(y), logits)
        return self.compute_metrics(x, y, logits, sample_weight=sample_weight)

    def batch_objective(self, x, y, sample_weight=None):
        """Returns what a step minimizes, and the batch's logits; override this.

        Args:
            x: The batch's inputs.
            y: The batch's targets: labels, or a dict of them and what comes with them.
            sample_weight: The examples' weights, or `None`.

        Returns:
            Pair: a scalar, this replica's share of the mean over the global batch, with
            `self.losses`; and logits of shape `(batch, num_classes)`.
        """
        raise NotImplementedError

    def consistency_of(self, features, logits):
        """Returns the consistency loss of each example: a tensor `(batch,)`."""
        consistency = self.consistency_loss(features, logits, training=True)
        if consistency.shape.rank != 1:
            raise ValueError(
                "`consistency_loss` must return one value per example, of shape "
                f"(batch,). Received: a shape of {consistency.shape}."
            )
        return consistency

    def additional_loss(self, layer=None):
        """Returns this replica's share of the summed losses of a layer, or of all."""
        dtype = keras.config.floatx()
        terms = [tf.cast(tf.reduce_sum(loss), dtype) for loss in (layer or self).losses]
        num_replicas = self.distribute_strategy.num_replicas_in_sync
        return sum(terms, tf.zeros((), dtype)) / num_replicas

    def share_of_mean(self, loss, y, sample_weight, size, additional=0.0):
        """Returns this replica's share of the compiled loss over the global batch.

        Keras averages over each replica's examples, and then over replicas: those of a
        smaller part would weigh more. Equal parts are what Keras returned, bit for bit.
        `additional` is the part of `loss` that is no mean over examples.
        """
        if not replicas.has_other_replicas():
            return loss
        factor = tf.cast(relative_part(self.loss, y, sample_weight, size), loss.dtype)
        # Written so that a factor of 1 changes no bit, and that of an empty part is 0.
        return loss + (factor - 1) * (loss - tf.cast(additional, loss.dtype))

    def track(self, name, share, size):
        """Counts this replica's share of a batch's mean in the metric of that name."""
        num_replicas = self.distribute_strategy.num_replicas_in_sync
        for metric in self.metrics:
            if metric.name == name:
                # Shares of a mean over the global batch stand for as many examples.
                metric.update_state(share * num_replicas, size / num_replicas)

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

    def test_step(self, data):
        """Returns Keras' own logs, without the losses that only training knows."""
        return self._without_training_losses(super().test_step(data))

    def get_metrics_result(self):
        """As in `keras.Model`, without losses that training has not counted yet."""
        results = super().get_metrics_result()
        if tf.executing_eagerly() and all(t.count == 0 for t in self.training_trackers):
            return self._without_training_losses(results)
        return results

    def _without_training_losses(self, results):
        names = [tracker.name for tracker in self.training_trackers]
        return {name: value for name, value in results.items() if name not in names}

    def get_config(self):
        consistency_loss = keras.saving.serialize_keras_object(self.consistency_loss)
        return {
            **super().get_config(),
            "num_classes": self.num_classes,
            "consistency_loss": consistency_loss,
            "consistency_weight": self.consistency_weight,
            "warmup_epochs": self.warmup_epochs,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        parts = {
            name: keras.saving.deserialize_keras_object(
                config[name], custom_objects=custom_objects
            )
            for name in ("backbone", "backbones", "consistency_loss", "classifier")
            if name in config
        }
        return cls(**{**config, **parts})


def relative_part(loss, y, sample_weight, size):
    """Returns how many times as much as an equal part of the batch this replica has."""
    first, *_ = keras.tree.flatten(loss) or [None]
    reduction = getattr(first, "reduction", "sum_over_batch_size")
    ignored = getattr(first, "ignore_class", None)
    if reduction in ("sum", "none", None):
        return 1.0
    labels = tf.convert_to_tensor(label_of(y))
    part = tf.cast(tf.shape(labels)[0], "float32")
    is_weighted = reduction == "mean_with_sample_weight" and sample_weight is not None
    if ignored is not None or is_weighted:
        # The mean is over what counts, of which there may be more in one replica.
        counts = tf.ones_like(labels, "float32")
        if ignored is not None:
            counts = tf.cast(labels != tf.cast(ignored, labels.dtype), "float32")
        if is_weighted:
            weights = tf.cast(weight_of(sample_weight), "float32")
            counts = tf.reshape(counts, tf.shape(weights)) * weights
        part = tf.reduce_sum(counts)
        size = replicas.global_sum(part)
    num_replicas = tf.distribute.get_strategy().num_replicas_in_sync
    return tf.math.divide_no_nan(part * num_replicas, size)
