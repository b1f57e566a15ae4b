"""MoPro: prototypes of classes, which correct labels and tell who belongs to none."""

import keras
import tensorflow as tf

from keras_ncr.checks import check_integer, check_positive, check_rate, check_weight
from keras_ncr.distribution import replicas
from keras_ncr.distribution.targets import factors_of, label_of, weight_of
from keras_ncr.losses.batch_sizes import RecentRows
from keras_ncr.losses.labels import label_distributions
from keras_ncr.losses.neighbors import unit_vectors
from keras_ncr.models.mopro_losses import (
    corrected,
    cross_entropy,
    instance_losses,
    moved_prototypes,
    prototype_logits,
)
from keras_ncr.models.ncr import NCRModel
from keras_ncr.models.second_stage import check_num_epochs
from keras_ncr.models.views import one_view
from keras_ncr.models.weight_average import (
    copy_of,
    copy_weights,
    leave_to_average,
    move_average,
)


class PrototypeStage(keras.callbacks.Callback):
    """Tells a `MoProModel` as an epoch begins, from 0, which stage it belongs to."""

    def on_epoch_begin(self, epoch, logs=None):
        self.model.begin_epoch(epoch, check_num_epochs(self.params.get("epochs")))


@keras.saving.register_keras_serializable(package="keras_ncr")
class MoProModel(NCRModel):
    """Classifier whose labels are corrected by prototypes of the classes (MoPro).

    A projection of the features, of length 1, is an example's query `q`. Its key `k` is
    that of another view, by a moving average of the network. With `c_j` the prototype
    of class j, of length 1 or 0, and keys `k'` of a queue of earlier examples, each
    example has the losses, added up,

        cross-entropy of the label, by the logits
        cross-entropy of the label, by the logits q c_j / T
        -log(exp(q k / T) / (exp(q k / T) + sum over the queue of exp(q k' / T)))

    of which the second comes in after the first epoch. After the first stage of
    training, with `s = w * softmax(logits) + (1 - w) * softmax(q c / T)`,

        label = argmax(s)  if max(s) > correction_threshold
        label = as given   if not, and s[label as given] > 1 / num_classes

    and all other examples are out of distribution: they have the third loss alone. The
    first two are means over those that have a label. Prototypes follow the queries of
    the label's examples one after the other, `c = m * c + (1 - m) * q`, and are then
    brought to length 1, once a step.

    A last stage trains the classifier alone, by cross-entropy. The rest of the network
    runs as in evaluation, labels are corrected by it and by the classifier as it was,
    and an example of a class with n labels, since the epoch before, counts `n**-0.5`.

    A batch holds `num_views` views of each example in neighboring rows, as
    `pipelines.views_of` and `views_in_rows` make them: the first, weakly changed, is
    classified, the second makes the key. Sample weights multiply the first two losses.
    The loss is the model's own, so `compile` takes none. Evaluation reports plain
    cross-entropy.

    It differs from the authors' code in that: keys of all replicas are normalized by
    the statistics of their own part of the batch, without a shuffle between replicas;
    the queue starts empty, not with random vectors; means are over the global batch,
    not over a device's part of it; and a batch without any label has a loss of 0 there,
    not NaN. Prototypes move in one step, in a closed form of theirs. The last stage is
    a program of its own there: labels are corrected once, on unchanged images, rare
    classes are drawn more often in place of weights, and a schedule begins anew. Here
    optimizer and schedule go on; NCR's term has no part in it.

    Args:
        backbone: As in `NCRModel`.
        num_classes: As in `NCRModel`.
        projection_dim: Int, at least 2: of queries and keys. Defaults to 128, the
            authors'.
        projection_units: Int, at least 1: of the projection's hidden layer. Defaults to
            2048, the authors'.
        queue_size: Int, at least 1: how many keys are kept. Defaults to 8192, the
            authors'.
        temperature: Positive float (T). Defaults to 0.1, the authors'.
        prototype_momentum: Float in [0, 1] (m). Defaults to 0.999, the authors'; with
            few examples of a class take less.
        average_decay: Float in [0, 1]: of the average of weights, per step. Defaults to
            0.999, the authors'; with few steps take less.
        logit_share: Float in [0, 1] (w). Defaults to 0.5, the authors'.
        correction_threshold: Float in [0, 1]. Defaults to 0.8, the authors'.
        first_stage_share: Float in [0, 1]: the share of the epochs of `fit` that comes
            first, with all labels as given. Loops without `fit` assign `has_prototypes`
            and `is_corrected` themselves. Defaults to 0.12: the authors have 11 of 90.
        last_stage_share: Float in [0, 1): the share of the epochs of `fit` that comes
            last. Defaults to 0.0, none; the authors' figure of WebVision is after one,
            of 15 epochs of 105.
        prototype_weight: Float, at least 0: of the second loss. Defaults to 1.0, the
            authors'.
        instance_weight: Float, at least 0: of the third. Defaults to 1.0, the authors'.
        num_views: Int, 1 or 2: rows of a training batch per example. With 1, query and
            key are of one row. Defaults to 2.
        consistency_loss: As in `NCRModel`.
        consistency_weight: As in `NCRModel`; above 0 the method is joined with NCR, of
            the first views, of which MoPro is then the classification loss. Defaults to
            0.0.
        **kwargs: As in `NCRModel`, `warmup_epochs` and `classifier` for example.

    Raises:
        ValueError: If an argument is out of its range, or the network cannot be copied;
            in `compile`, for a loss; in `fit`, if arrays do not hold views.
        tf.errors.InvalidArgumentError: In `fit`, if a batch does not.

    Reference:
        - [Li et al., 2021](https://arxiv.org/abs/2009.07995)

    Example:
    >>> backbone = keras.Sequential([keras.layers.Dense(16, activation="relu")])
    >>> model = keras_ncr.models.MoProModel(backbone, num_classes=3, num_views=1)
    >>> model.compile(optimizer="sgd", metrics=["accuracy"])
    >>> x, y = np.random.default_rng(0).normal(size=(32, 5)), np.arange(32) % 3
    >>> history = model.fit(x, y, verbose=0)
    >>> tuple(model.prototypes.shape)
    (3, 128)
    """

    built_in_loss = "losses by classes, prototypes and instances"
    takes_unlabeled = False

    def __init__(
        self,
        backbone: keras.Layer,
        num_classes: int,
        projection_dim: int = 128,
        projection_units: int = 2048,
        queue_size: int = 8192,
        temperature: float = 0.1,
        prototype_momentum: float = 0.999,
        average_decay: float = 0.999,
        logit_share: float = 0.5,
        correction_threshold: float = 0.8,
        first_stage_share: float = 0.12,
        last_stage_share: float = 0.0,
        prototype_weight: float = 1.0,
        instance_weight: float = 1.0,
        num_views: int = 2,
        consistency_loss: keras.Layer | None = None,
        consistency_weight: float = 0.0,
        **kwargs,
    ):
        super().__init__(
            backbone,
            num_classes,
            consistency_loss=consistency_loss,
            consistency_weight=consistency_weight,
            **kwargs,
        )
        dim = check_integer(projection_dim, "projection_dim", minimum=2)
        units = check_integer(projection_units, "projection_units", minimum=1)
        self.projection_dim, self.projection_units = dim, units
        self.queue_size = check_integer(queue_size, "queue_size", minimum=1)
        self.temperature = check_positive(temperature, "temperature")
        self.prototype_momentum = check_rate(prototype_momentum, "prototype_momentum")
        self.average_decay = check_rate(average_decay, "average_decay")
        self.logit_share = check_rate(logit_share, "logit_share")
        self.correction_threshold = check_rate(
            correction_threshold, "correction_threshold"
        )
        self.first_stage_share = check_rate(first_stage_share, "first_stage_share")
        self.last_stage_share = check_rate(last_stage_share, "last_stage_share")
        if self.last_stage_share > min(1 - self.first_stage_share, 0.99):
            raise ValueError(
                "`last_stage_share` must be below 1, and at most 1 - first_stage_share"
                f"={1 - self.first_stage_share:g}. Received: {last_stage_share!r}."
            )
        self.prototype_weight = check_weight(prototype_weight, "prototype_weight")
        self.instance_weight = check_weight(instance_weight, "instance_weight")
        self.num_views = check_integer(num_views, "num_views", minimum=1)
        if self.num_views > 2:
            raise ValueError(
                "`num_views` must be 1 or 2: one view of an example makes its query, "
                f"one its key. Received: num_views={num_views!r}."
            )
        self.projection = keras.Sequential(
            [keras.layers.Dense(units, activation="relu"), keras.layers.Dense(dim)],
            name="projection",
        )
        query_network = NCRModel(
            self.backbone, dim, classifier=self.projection, dtype=self.dtype_policy
        )
        self.key_network = copy_of(query_network)
        self.queue = RecentRows(self.queue_size, name="queue")
        self.queue.hold(vectors=dim)
        # All replicas move them alike, by the global batch.
        self.prototypes = replicas.add_state(
            self, "prototypes", (self.num_classes, dim)
        )
        self.judge, self.is_last_stage = None, False
        if self.last_stage_share:
            self.add_judge()
        # Plain variables: `fit` sets them every epoch.
        self.has_prototypes = tf.Variable(False, trainable=False)
        self.is_corrected = tf.Variable(self.first_stage_share == 0, trainable=False)

    def add_judge(self):
        """Adds what decides on labels in the last stage, and what counts them."""
        head = {"classifier": self.classifier, "dtype": self.dtype_policy}
        # The classifier as it was before that stage.
        self.judge = copy_of(
            NCRModel(keras.layers.Identity(), self.num_classes, **head)
        )
        self.label_counts = replicas.add_state(
            self, "label_counts", (self.num_classes,)
        )

    def build(self, input_shape):
        super().build(input_shape)
        self.key_network.build(input_shape)
        leave_to_average(self.key_network)

    def own_callbacks(self):
        """Returns the callbacks of `NCRModel`, and the one that changes the stage."""
        return [*super().own_callbacks(), PrototypeStage()]

    def begin_epoch(self, epoch, num_epochs):
        """Sets what the steps of an epoch do, which is counted from 0."""
        last_start = (1 - self.last_stage_share) * num_epochs
        is_last = self.last_stage_share > 0 and epoch >= last_start
        self.has_prototypes.assign(epoch > 0)
        self.is_corrected.assign(
            is_last or epoch >= self.first_stage_share * num_epochs
        )
        if is_last and epoch - 1 < last_start:
            copy_weights(self.classifier, self.judge.classifier)
        if self.judge is not None and not is_last:
            self.label_counts.assign(tf.zeros_like(self.label_counts))
        if is_last != self.is_last_stage:
            self.is_last_stage = is_last
            self.trace_anew()

    def features_and_logits(self, inputs, training=None):
        features, logits = super().features_and_logits(inputs, training)
        if not self.projection.built:
            self.projection(features)
        if self.judge is not None and not self.judge.built:
            self.judge(features)
        return features, logits

    def train_step(self, data):
        """As in all models; in the last stage the classifier alone is trained."""
        if not self.is_last_stage:
            return super().train_step(data)
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        weights = self.classifier.trainable_weights
        with tf.GradientTape() as tape:
            objective, logits = self.last_objective(x, y, sample_weight)
            scaled_objective = self.optimizer.scale_loss(objective)
        self.optimizer.apply(tape.gradient(scaled_objective, weights), weights)
        return self.compute_metrics(x, y, logits, sample_weight=sample_weight)

    def last_objective(self, x, y, sample_weight=None):
        """Returns the last stage's loss, this replica's share of it, and the logits."""
        rows = (x, label_of(y), weight_of(sample_weight))
        x, y, sample_weight = one_view(rows, 0, self.num_views)
        features, logits = self(x, training=False, return_features=True)
        queries = unit_vectors(tf.cast(self.projection(features), "float32"))
        scores = prototype_logits(queries, self.prototypes.value, self.temperature)
        given = label_distributions(tf.cast(y, "float32"), logits)
        labels, is_kept = self.corrected_labels(given, self.judge(features), scores)
        self.count(labels, is_kept)
        counts = tf.gather(tf.convert_to_tensor(self.label_counts), labels)
        shares = tf.where(is_kept, tf.math.rsqrt(counts), 0.0)
        each = tf.math.multiply_no_nan(cross_entropy(labels, logits), shares)
        each *= factors_of(sample_weight, each.dtype)
        total = replicas.global_sum(tf.reduce_sum(shares))
        objective = tf.math.divide_no_nan(tf.reduce_sum(each), total)
        size = replicas.global_size(logits)
        self.track("loss", objective, size)
        self.track("classification_loss", objective, size)
        return objective, tf.repeat(logits, self.num_views, axis=0)

    def count(self, labels, is_kept):
        """Counts the labels that were kept, of all replicas together, by class."""
        if self.judge is not None:
            kept = tf.one_hot(tf.where(is_kept, labels, -1), self.num_classes)
            counts = replicas.global_sum(tf.reduce_sum(kept, axis=0))
            self.label_counts.assign_add(counts)

    def batch_objective(self, x, y, sample_weight=None):
        """Returns the objective of `NCRModel` on first views, once the keys moved."""
        if not self.built:
            self(x)
        # At first the average is the network itself.
        is_first = tf.equal(self.optimizer.iterations, 0)
        decay = tf.where(is_first, 0.0, self.average_decay)
        move_average(self.key_network.backbone, self.backbone, decay)
        move_average(self.key_network.classifier, self.projection, decay)
        rows = (x, label_of(y), weight_of(sample_weight))
        first = one_view(rows, 0, self.num_views)
        other = one_view(x, self.num_views - 1, self.num_views)
        targets = {"label": first[1], "other_view": other}
        objective, logits = super().batch_objective(first[0], targets, first[2])
        return objective, tf.repeat(logits, self.num_views, axis=0)

    def supervised_loss(self, x, y, features, logits, sample_weight=None):
        """Returns this replica's share of MoPro's losses, with `self.losses`."""
        # Read before the keys' network adds its own.
        additional = self.additional_loss()
        queries = unit_vectors(tf.cast(self.projection(features), "float32"))
        keys = self.key_network(y["other_view"], training=True)
        keys = tf.stop_gradient(unit_vectors(tf.cast(keys, "float32")))
        given = label_distributions(tf.cast(label_of(y), "float32"), logits)
        scores = prototype_logits(queries, self.prototypes.value, self.temperature)
        labels, is_kept = self.corrected_labels(given, logits, scores)
        each = cross_entropy(labels, logits)
        has_prototypes = tf.cast(tf.convert_to_tensor(self.has_prototypes), each.dtype)
        each += self.prototype_weight * has_prototypes * cross_entropy(labels, scores)
        each *= factors_of(sample_weight, each.dtype)
        # A mean over those that are kept, as one over all.
        kept = tf.cast(is_kept, each.dtype)
        num_kept = replicas.global_sum(tf.reduce_sum(kept))
        relative = tf.math.divide_no_nan(replicas.global_size(kept), num_kept)
        each = tf.where(is_kept, each * relative, 0.0)
        each += self.instance_weight * instance_losses(
            queries, keys, self.queue, self.temperature
        )
        self.remember(queries, keys, labels, is_kept)
        self.count(labels, is_kept)
        share = self.mean_share(each)
        return share + tf.cast(additional, share.dtype)

    def corrected_labels(self, given, logits, scores):
        """Returns the labels that a step trains on, and which examples have one."""
        own = self.logit_share
        soft = own * tf.nn.softmax(logits) + (1 - own) * tf.nn.softmax(scores)
        given = tf.argmax(given, axis=1, output_type="int32")
        labels, is_kept = corrected(given, soft, self.correction_threshold)
        is_corrected = tf.convert_to_tensor(self.is_corrected)
        return tf.where(is_corrected, labels, given), is_kept | ~is_corrected

    def remember(self, queries, keys, labels, is_kept):
        """Moves the prototypes, and puts the keys into the queue, of all replicas."""
        # Replicas gather numbers alone.
        rows = [tf.stop_gradient(queries), keys, labels, tf.cast(is_kept, "int32")]
        if replicas.has_other_replicas():
            rows = [replicas.gather_replicas(row) for row in rows]
        queries, keys, labels, is_kept = rows
        momentum, prototypes = self.prototype_momentum, self.prototypes.value
        self.prototypes.assign(
            moved_prototypes(prototypes, queries, labels, is_kept > 0, momentum)
        )
        self.queue.push(vectors=keys)
