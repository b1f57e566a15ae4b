"""The base of all models: compile, fit, labels, the step, losses, metrics, configs."""

import keras
import tensorflow as tf

from keras_ncr.checks import check_integer, check_layer, plain_arguments
from keras_ncr.distribution import MultiWorkerTraining, replicas
from keras_ncr.distribution.targets import factors_of, label_of, weight_of
from keras_ncr.losses import NeighborConsistencyLoss, SoftBootstrap
from keras_ncr.models.auto_weight import AUTO, LARGEST, checked_weight
from keras_ncr.models.example_memory import (
    ExampleMemory,
    index_of,
    num_examples_of,
    numbered,
)
from keras_ncr.models.fitting import (
    check_loss,
    fit_arguments,
    refuse_loss,
    with_own_callbacks,
    with_weights_by_class,
)
from keras_ncr.models.replica_parts import relative_part
from keras_ncr.models.training_labels import checked_training_data
from keras_ncr.models.unlabeled import masked
from keras_ncr.models.views import checked_views
from keras_ncr.models.warmup import ConsistencyWarmup
from keras_ncr.models.whole_set import training_part, with_whole_set


@keras.saving.register_keras_serializable(package="keras_ncr")
class Classifier(MultiWorkerTraining, keras.Model):
    """Base of Keras classifiers, of one network or several, for labels partly wrong.

    A subclass returns logits from `call` and overrides `batch_objective`. It may

    - have layers of type `ExampleMemory`: `fit` then numbers the examples of arrays,
      and expects a `tf.data.Dataset` to carry their numbers;
    - set `num_views`, the neighboring rows of a training batch that are one example;
    - set `built_in_loss`, the words for what it trains on, if `compile` takes no loss;
    - add callbacks in `own_callbacks`;
    - set `takes_unlabeled`, if its loss is `compute_loss` of this class: labels of -1
      then count in no loss and no metric; and `mixes_inputs`, if it adds up inputs;
    - set `whole_set`, the class of the `WholeSet` that it needs: `fit` then adds one
      for arrays, and expects one for a `tf.data.Dataset`.

    Args:
        num_classes: Int, at least 2.
        consistency_loss: As in `NCRModel`.
        consistency_weight: As in `NCRModel`. Defaults to 0.0.
        warmup_epochs: As in `NCRModel`.
        **kwargs: As in `keras.Model`.
    """

    built_in_loss: str | None = None
    num_views = 1
    # A `MeanPredictions`, which attaches itself.
    mean_predictions = None
    takes_unlabeled = False
    mixes_inputs = False
    whole_set: type | None = None

    def __init__(
        self,
        num_classes: int,
        consistency_loss: keras.Layer | None = None,
        consistency_weight: float | str = 0.0,
        warmup_epochs: int = 0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if consistency_loss is None:
            consistency_loss = NeighborConsistencyLoss()
        self.num_classes = check_integer(num_classes, "num_classes", minimum=2)
        self.consistency_loss = check_layer(consistency_loss, "consistency_loss")
        self.consistency_weight = checked_weight(
            consistency_weight, self.takes_unlabeled, type(self).__name__
        )
        self.warmup_epochs = check_integer(warmup_epochs, "warmup_epochs", minimum=0)
        # A plain variable: it belongs to the run of `fit`, which sets it every epoch,
        # and not to the weights that are counted, saved and averaged.
        self.current_consistency_weight = tf.Variable(
            0.0 if warmup_epochs else self.largest_consistency_weight, trainable=False
        )

    @property
    def largest_consistency_weight(self) -> float:
        """The weight of consistency, or the largest that `"auto"` may come to."""
        is_auto = self.consistency_weight == AUTO
        return LARGEST if is_auto else self.consistency_weight

    def compile(
        self, optimizer="rmsprop", loss=None, loss_weights=None, *args, **kwargs
    ):
        """As in `keras.Model`, all arguments too; `loss` has to be one on logits.

        Raises:
            ValueError: If `loss` expects probabilities, or is several; or if one is
                given to a model with a built-in loss.
        """
        if self.built_in_loss is not None:
            refuse_loss(loss, loss_weights, type(self).__name__, self.built_in_loss)
            loss = self.evaluation_loss()
        check_loss(loss)
        super().compile(optimizer, loss, loss_weights, *args, **kwargs)

    def compile_from_config(self, config):
        # What Keras does as well, but not for a model with a `compile` of its own.
        if self.built_in_loss is not None:
            config = {**config, "loss": None}
        self.compile(**keras.saving.deserialize_keras_object(config))
        # A model that was saved is past its warm-up: it evaluates as it did.
        self.current_consistency_weight.assign(self.largest_consistency_weight)
        if self.built:
            self.optimizer.build(self.trainable_variables)

    def evaluation_loss(self):
        """Returns what a model with a built-in loss reports: cross-entropy."""
        return SoftBootstrap(weight=0.0)  # It takes labels of any form.

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
        return super().fit(**self.prepared(fit_arguments(x, y, *args, **kwargs)))

    def prepared(self, arguments):
        """Returns the arguments of `fit` by name, checked and completed."""
        x, y = arguments["x"], arguments["y"]
        x = checked_views(x, y, self.num_views, arguments["shuffle"])
        if self.memories():
            y = numbered(y, self.num_views)
            self.reserve(x, y, arguments["validation_split"])
        x = checked_training_data(x, y, self)
        callbacks = with_own_callbacks(arguments["callbacks"], self)
        arguments = {**arguments, "x": x, "y": y, "callbacks": callbacks}
        arguments = with_weights_by_class(arguments, self.num_classes)
        if self.whole_set is None:
            return arguments
        return with_whole_set(arguments, self.whole_set)

    def memories(self):
        """Returns the layers that remember something about each example."""
        layers = self._flatten_layers(include_self=False)
        return [layer for layer in layers if isinstance(layer, ExampleMemory)]

    @property
    def num_examples(self):
        """The number of examples that there is room for, or `None`."""
        return next((one.num_examples for one in self.memories()), None)

    def reserve(self, x, y, validation_split):
        """Makes room in the memories for the examples that are trained on."""
        if self.whole_set is not None and y is not None:
            y = training_part(y, validation_split)
        num_examples = num_examples_of(x, y, self.num_examples)
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

    def trace_anew(self):
        """Makes Keras forget a step that it traced, for another stage of training."""
        if self.train_function is not None:
            self.make_train_function(force=True)

    def batch_objective(self, x, y, sample_weight=None):
        """Returns what a step minimizes, and the batch's logits; override this.

        The first is a scalar: this replica's share of the mean over the global batch,
        with `self.losses`. `y` holds labels, or a dict of them and what comes with
        them.
        """
        raise NotImplementedError

    def consistency_of(self, features, logits, training=True):
        """Returns the consistency loss of each example: a tensor `(batch,)`."""
        consistency = self.consistency_loss(features, logits, training=training)
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
        """Returns this replica's share of the compiled loss over the global batch."""
        # Keras averages over each replica's examples, and then over replicas: those of
        # a smaller part would weigh more. Equal parts are what Keras returned, bit for
        # bit. `additional` is the part of `loss` that is no mean over examples.
        if not replicas.has_other_replicas():
            return loss
        factor = tf.cast(relative_part(self, y, sample_weight, size), loss.dtype)
        # Written so that a factor of 1 changes no bit, and that of an empty part is 0.
        return loss + (factor - 1) * (loss - tf.cast(additional, loss.dtype))

    def mean_share(self, values, sample_weight=None):
        """Returns this replica's share of a mean per example, as Keras reduces it."""
        values *= factors_of(sample_weight, values.dtype)
        num_examples = tf.cast(tf.size(values), values.dtype)
        mean = tf.math.divide_no_nan(tf.reduce_sum(values), num_examples)
        return mean / self.distribute_strategy.num_replicas_in_sync

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
        y, y_pred = self.of_labeled(y, y_pred)
        sample_weight = weight_of(sample_weight)
        return super().compute_loss(x, y, y_pred, sample_weight, training)

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        """As in `keras.Model`, on the labels alone where `y` is a dict."""
        y, y_pred = self.of_labeled(y, y_pred)
        return super().compute_metrics(x, y, y_pred, weight_of(sample_weight))

    def of_labeled(self, y, logits):
        """Returns labels and logits, such that rows without a label do not count."""
        labels = label_of(y)
        return masked(labels, logits) if self.takes_unlabeled else (labels, logits)

    def get_config(self):
        consistency_loss = keras.saving.serialize_keras_object(self.consistency_loss)
        return {
            **plain_arguments(self, Classifier),
            **super().get_config(),
            "consistency_loss": consistency_loss,
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
