"""NCRModel: any Keras backbone, trained with neighbor consistency by plain `fit`."""

import warnings

import keras
import tensorflow as tf

from keras_ncr.checks import check_layer
from keras_ncr.distribution import replicas
from keras_ncr.models._base import Classifier
from keras_ncr.models.auto_weight import AUTO, AutoWeight
from keras_ncr.models.classifier_layer import classifier_layer
from keras_ncr.models.outlier_rejection import OutlierRejection, checked_share


@keras.saving.register_keras_serializable(package="keras_ncr")
class NCRModel(Classifier):
    """Classifier that pulls each prediction toward those of its neighbors.

    Training minimizes eq. 4 of the paper,

        (1 - alpha) * classification loss + alpha * neighbor consistency + self.losses

    where the classification loss is the one given to `compile`, with sample and class
    weights as ever, and `self.losses` are regularizers and `add_loss` terms, to which
    alpha does not apply. Neighbor consistency is the mean of `consistency_loss` over
    the global batch; sample weights do not enter it, since it needs no label.

    A label of -1, or a one-hot row of it, is none: such examples take part in neighbor
    consistency alone; losses, and metrics that heed Keras' masks, leave them out.

    In all else it is a Keras classifier: calling it, `predict`, metrics, saving and
    `export` deal with logits. Logs have `loss` (eq. 4), `classification_loss` and
    `neighbor_consistency_loss`, those of validation and of `evaluate` too: there by the
    neighbors in a batch of evaluation, and with the current alpha. Where alpha changes
    with the epochs, let callbacks monitor `val_classification_loss` or a metric. Lists
    of results have `loss` and the compiled metrics alone, as of any Keras classifier.

    Labels may also come as a dict with the key `"label"`, beside whatever else a
    subclass or a callback needs (`"clean_label"`, `"index"`). The compiled loss and
    metrics get the labels.

    Args:
        backbone: Keras model or layer that returns features, `(batch, dim)`, or a
            feature map, `(batch, height, width, dim)`, which is averaged. Features that
            are not negative, as after a ReLU, are what the paper has.
        num_classes: Int, at least 2.
        consistency_loss: Layer from features and logits to one value per example.
            Defaults to `NeighborConsistencyLoss()`.
        consistency_weight: Float in [0, 1] (the paper's alpha), or `"auto"`: alpha then
            rises with the share of labels that is learned by heart, as
            `keras_ncr.models.AutoWeight` has it. That needs the numbers of the examples
            as `ELRModel` does, and leaves out the labels of a few. It was chosen for
            the join with ELR, and is at most 0.6. Defaults to 0.9, best in the paper's
            ablation wherever labels are wrong.
        warmup_epochs: Int (the paper's e): epochs of `fit` with alpha = 0 that come
            first. Loops without `fit` assign `current_consistency_weight` themselves.
            Defaults to 0, best in the paper's ablation at 40 % noise and more.
        classifier: `"linear"`, a `Dense` layer; `"cosine"`, a `CosineClassifier`, as
            the paper uses on WebVision; `"heteroscedastic"`, a
            `HeteroscedasticClassifier`, whose logits are log probabilities; or a layer
            that returns logits. Defaults to `"linear"`.
        num_examples: Int, the number of training examples, for `"auto"` and
            `reject_outliers`; `None` if `fit` is to count them, which it can on arrays.
            Defaults to `None`.
        reject_outliers: Float, at least 0, below 1: the expected share of examples that
            belong to no class; or `"auto"`, which need not know it. From the second
            epoch on, those that look like it train nothing by their labels, as
            `keras_ncr.models.OutlierRejection` has it; that needs the numbers of the
            examples too. Defaults to 0.0, none.
        **kwargs: As in `keras.Model`.

    Call arguments:
        inputs: Whatever the backbone takes.
        training: Bool, as in `keras.Model`.
        return_features: Bool. Whether to return the features too. Defaults to `False`.

    Returns:
        Float32 logits of shape `(batch, num_classes)`, or `(features, logits)`.

    Raises:
        ValueError: If an argument is out of its range; on first use, if the backbone's
            or the classifier's output has another shape.

    Reference:
        - [Iscen et al., 2022](https://arxiv.org/abs/2202.02200)

    Example:
    >>> backbone = keras.Sequential([keras.layers.Dense(16, activation="relu")])
    >>> model = keras_ncr.NCRModel(backbone, num_classes=3)
    >>> model.compile(
    ...     optimizer="sgd",
    ...     loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    ...     metrics=["accuracy"],
    ... )
    >>> x, y = np.random.default_rng(0).normal(size=(32, 5)), np.arange(32) % 3
    >>> history = model.fit(x, y, epochs=1, verbose=0)
    >>> sorted(history.history)
    ['accuracy', 'classification_loss', 'loss', 'neighbor_consistency_loss']
    >>> model.predict(x, verbose=0).shape
    (32, 3)

    Another forward pass: override `features_and_logits`, here to compare neighbors by a
    projection of the features.

    >>> class ProjectedNCR(keras_ncr.NCRModel):
    ...     def __init__(self, *args, **kwargs):
    ...         super().__init__(*args, **kwargs)
    ...         self.projection = keras.layers.Dense(8, activation="relu")
    ...
    ...     def features_and_logits(self, inputs, training=None):
    ...         features, logits = super().features_and_logits(inputs, training)
    ...         return self.projection(features), logits

    Another loss term: `add_loss` in the same place, here a penalty on confidence.

    >>> class HumbleNCR(keras_ncr.NCRModel):
    ...     def features_and_logits(self, inputs, training=None):
    ...         features, logits = super().features_and_logits(inputs, training)
    ...         self.add_loss(0.01 * keras.ops.mean(logits**2))
    ...         return features, logits
    """

    takes_unlabeled = True

    def __init__(
        self,
        backbone: keras.Layer,
        num_classes: int,
        consistency_loss: keras.Layer | None = None,
        consistency_weight: float | str = 0.9,
        warmup_epochs: int = 0,
        classifier: str | keras.Layer = "linear",
        num_examples: int | None = None,
        reject_outliers: float | str = 0.0,
        **kwargs,
    ):
        super().__init__(
            num_classes, consistency_loss, consistency_weight, warmup_epochs, **kwargs
        )
        self.backbone = check_layer(backbone, "backbone")
        self.classifier = classifier_layer(classifier, self.num_classes)
        self.classification_tracker = keras.metrics.Mean(name="classification_loss")
        self.consistency_tracker = keras.metrics.Mean(name="neighbor_consistency_loss")
        self.auto_weight = self.weight_tracker = None
        if self.consistency_weight == AUTO:
            settings = getattr(self.consistency_loss, "settings", None)
            self.auto_weight = AutoWeight(num_examples, settings, name="auto_weight")
            self.weight_tracker = keras.metrics.Mean(name="consistency_weight")
        self.outlier_rejection = None
        self.reject_outliers = checked_share(reject_outliers, self)
        if self.reject_outliers:
            self.outlier_rejection = OutlierRejection(
                self.reject_outliers, num_examples, name="outlier_rejection"
            )

    def build(self, input_shape):
        inputs = keras.tree.map_shape_structure(keras.KerasTensor, input_shape)
        try:
            self.compute_output_spec(inputs)
        except Exception as error:
            # Strings, for example, or indices: a shape does not tell the dtype. The
            # first call on a batch builds the rest, or fails where the reason shows.
            warnings.warn(
                f"{self.name} could not be built from input_shape={input_shape} alone: "
                f"{error} Call it on a batch before its weights are used.",
                stacklevel=2,
            )

    def own_network(self):
        """Returns an `NCRModel` of the same layers: what a copy of them is made of."""
        return NCRModel(
            self.backbone,
            self.num_classes,
            classifier=self.classifier,
            dtype=self.dtype_policy,
        )

    def features_and_logits(self, inputs, training=None):
        """Returns the features and the logits of ONE forward pass; override this.

        Their shapes are `(batch, dim)` and `(batch, num_classes)`; the arguments are
        those of `call`.
        """
        features = self.backbone(inputs, training=training)
        check_features(features)
        if len(features.shape) == 4:
            first = 1 if keras.config.image_data_format() == "channels_last" else 2
            features = keras.ops.mean(features, axis=(first, first + 1))
        return features, self.classifier(features)

    def call(self, inputs, training=None, return_features=False):
        features, logits = self.features_and_logits(inputs, training=training)
        # Building the model builds the loss as well. Not so in one of several replicas
        # that predict: there the loss would ask the others for their part of the batch.
        if not (self.consistency_loss.built or replicas.has_other_replicas()):
            specs = [keras.KerasTensor(x.shape, x.dtype) for x in (features, logits)]
            self.consistency_loss(*specs, training=False)
        if tuple(logits.shape[1:]) != (self.num_classes,):
            raise ValueError(
                f"`classifier` must return (batch, num_classes={self.num_classes}). "
                f"Received: a shape of {tuple(logits.shape)}."
            )
        logits = keras.ops.cast(logits, "float32")
        return (features, logits) if return_features else logits

    def batch_objective(self, x, y, sample_weight=None):
        """Returns eq. 4 of one batch, this replica's share of it, and the logits."""
        return self.eq_4(x, y, sample_weight, training=True)

    def test_step(self, data):
        """Reports of eq. 4, in evaluation, what training does."""
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        _, logits = self.eq_4(x, y, sample_weight, training=False)
        return self.compute_metrics(x, y, logits, sample_weight=sample_weight)

    def _flatten_metrics_in_order(self, logs):
        # Keras returns lists, of which people take the second for the accuracy.
        parts = ("classification_loss", "neighbor_consistency_loss")
        if self.auto_weight is not None:
            parts += ("consistency_weight",)
        logs = {name: value for name, value in logs.items() if name not in parts}
        return super()._flatten_metrics_in_order(logs)

    def eq_4(self, x, y, sample_weight, training):
        """Returns the objective of a batch and its logits, and counts its parts."""
        features, logits = self(x, training=training, return_features=True)
        is_auto = self.auto_weight is not None
        if self.outlier_rejection is not None and training:
            y = self.outlier_rejection(logits, y)
        given = y
        if is_auto and training:
            y = self.auto_weight.trained(given)
        # Replicas have one list of `add_loss` terms: it is read before any of them
        # waits for the others, which are going to write theirs.
        additional = self.additional_loss()
        if training:
            supervised = self.supervised_loss(x, y, features, logits, sample_weight)
        else:
            supervised = self.compute_loss(x, y, logits, sample_weight, training)
        size = replicas.global_size(logits)
        supervised = self.share_of_mean(supervised, y, sample_weight, size, additional)
        target_loss = 0.0
        if training:
            target_loss = replicas.global_mean(self.target_losses(y, logits), size)
        # The consistency loss may add some of its own, beside what it returns.
        before = self.additional_loss(self.consistency_loss)
        consistency = self.consistency_of(features, logits, training)
        added = self.additional_loss(self.consistency_loss) - before
        additional += added
        supervised += tf.cast(added, supervised.dtype)
        if is_auto and training:
            self.auto_weight(features, logits, given)
        if self.outlier_rejection is not None and training:
            self.outlier_rejection.update(logits, given)
        share = replicas.global_mean(consistency, size)
        objective = self.objective(supervised, share, additional, target_loss)
        classification = supervised - tf.cast(additional, supervised.dtype)
        self.track("loss", objective, size)
        self.track("classification_loss", classification, size)
        self.consistency_tracker.update_state(consistency)
        if is_auto:
            self.weight_tracker.update_state(self.alpha())
        return objective, logits

    def supervised_loss(self, x, y, features, logits, sample_weight=None):
        """Returns the classification loss of a batch, with `self.losses`."""
        return self.compute_loss(x, y, logits, sample_weight, training=True)

    def target_losses(self, y, logits):
        """Returns a term that needs more of the targets than labels; override this.

        It has one value per example, `(batch,)`, and is 0 here. It is asked for in
        training alone, once a batch. Like what `add_loss` adds, its mean stays outside
        of alpha.
        """
        return tf.zeros_like(logits[:, 0])

    def objective(self, supervised, consistency, additional=0.0, target_loss=0.0):
        """Returns eq. 4 of scalars, whose alpha leaves the last two terms alone."""
        # `additional` is a part of `supervised`.
        dtype = supervised.dtype
        target_loss = tf.cast(target_loss, dtype)
        if self.consistency_weight == 0:
            return supervised + target_loss
        alpha = tf.cast(self.alpha(), dtype)
        # The second term gives `additional` back, of which the first takes a share.
        unweighted = tf.cast(consistency, dtype) + tf.cast(additional, dtype)
        return (1 - alpha) * supervised + alpha * unweighted + target_loss

    def alpha(self):
        """Returns the weight of consistency as it is now, a float32 scalar."""
        alpha = tf.convert_to_tensor(self.current_consistency_weight)
        if self.auto_weight is None:
            return alpha
        return tf.minimum(alpha, tf.convert_to_tensor(self.auto_weight.alpha))

    def outlier_scores(self):
        """Returns a score of each training example, low for what is of no class.

        `keras_ncr.audit` takes it as `outlier_scores`.

        Returns:
            NumPy float32 array of shape `(num_examples,)`, in [0, 1], by the examples'
            numbers; the median is 0.5.

        Raises:
            ValueError: If the model has `reject_outliers=0`, or was not trained.
        """
        rejection = self.outlier_rejection
        if rejection is None or rejection.energies.rows is None:
            raise ValueError(
                "`outlier_scores` are those of a training with `reject_outliers` above "
                f"0. Received: reject_outliers={self.reject_outliers}, "
                f"num_examples={self.num_examples}."
            )
        return rejection.scores()

    def get_config(self):
        serialize = keras.saving.serialize_keras_object
        return {
            **super().get_config(),
            "backbone": serialize(self.backbone),
            "classifier": serialize(self.classifier),
        }


def check_features(features):
    """Raises unless a backbone has returned features or a feature map."""
    shape = getattr(features, "shape", None)
    if shape is None or len(shape) not in (2, 4):
        raise ValueError(
            "`backbone` must return features of shape (batch, dim) or a feature map "
            "(batch, height, width, dim). Received: "
            f"{type(features).__name__ if shape is None else tuple(shape)}. Add a "
            "pooling or Flatten layer to it, or override "
            "`NCRModel.features_and_logits`."
        )
