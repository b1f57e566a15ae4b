"""MOIT and MOIT+: contrast of mixtures, and labels that neighbors confirm."""

import functools

import keras
import tensorflow as tf

from keras_ncr.checks import check_integer, check_positive, check_rate, check_weight
from keras_ncr.distribution import replicas
from keras_ncr.distribution.targets import factors_of, label_of, weight_of
from keras_ncr.losses.batch_sizes import RecentRows
from keras_ncr.losses.interpolated_contrast import Embedded, interpolated_contrast
from keras_ncr.losses.labels import label_distributions
from keras_ncr.losses.neighbors import unit_vectors
from keras_ncr.models.clean_set import CleanSetDetection, clean_labels
from keras_ncr.models.example_memory import ExampleMemory, index_of
from keras_ncr.models.moit_losses import (
    Mixed,
    Side,
    classification_losses,
    clean_losses,
    remembered,
)
from keras_ncr.models.ncr import NCRModel
from keras_ncr.models.nearest import nearest_neighbors
from keras_ncr.models.ssr import drawn_rows
from keras_ncr.models.views import one_view
from keras_ncr.pipelines.mixture import Mixture, likely_owner_weights

# The share of the last stage without hard labels of its own: 30 epochs of 70.
PLAIN_SHARE = 30 / 70


@keras.saving.register_keras_serializable(package="keras_ncr")
class MOITModel(NCRModel):
    """Classifier that contrasts mixtures, and trusts labels by neighbors (MOIT, MOIT+).

    Two views of each example are mixed, each with a partner of its own:
    `x = w * x_i + (1 - w) * x_j`, one `w` for a view, `w >= 0.5`. Training minimizes
    the sum of

    - the interpolated contrastive loss of projections, which are of length 1: mixtures
      are pulled to others of both their labels, as given, each by its share, and away
      from all other ones;
    - from epoch `epochs_before_memory` on, the same against a memory of `200 *
      num_classes` mixtures, this batch's among them;
    - a classification loss: `w * CE(y_i) + (1 - w) * CE(y_j)` at first; after the first
      stage only where y_i is taken for right, and then, for owners and partners whose
      label is not, their share of cross-entropy with the prediction for the last view,
      which is not mixed and gets no gradient.

    Labels are taken for right anew as each epoch begins: by votes of the
    `num_neighbors` examples with the nearest projections in the whole set, in two
    passes, as many of each class.

    MOIT+ is one more stage, of the last `last_stage_share` of the epochs. It starts the
    classifier anew, from the weights that it had first, and trains on cross-entropy of
    mixtures of those examples alone that were last taken for right; after 3/7 of the
    stage, each label counts `1 - bootstrap_weight` and the class that is predicted for
    the last view the rest.

    A batch holds `num_views` views of each example in neighboring rows. The authors
    have three: two strongly changed ones, and the image as it is. With two the second
    is also predicted, with one all are of one row. Sample weights multiply the
    classification loss. The loss is the model's own, so `compile` takes none.
    Evaluation reports plain cross-entropy. `fit` on arrays numbers the examples by
    itself; a `tf.data.Dataset` has to carry their numbers, and `fit` then needs a
    `CleanSetDetection` among its callbacks.

    It differs from the authors' code in that: labels of equal votes are taken by the
    first pass's votes, and then in order, not at random; nothing is detected before
    it counts. MOIT+ goes on with the optimizer, its schedule and momentum, where theirs
    starts at a rate of 0.001; with the first views of the batch, not weakly changed
    ones; a batch has its own clean examples as owners, and draws partners from them. Of
    more than 100,000 examples neighbors are found by cells, and a few are missed. Under
    a `tf.distribute` strategy each replica mixes its part of the batch; contrast,
    memory and means are over the global batch.

    Args:
        backbone: As in `NCRModel`; the authors' features may be negative.
        num_classes: As in `NCRModel`.
        num_examples: As in `ELRModel`.
        num_neighbors: Int, at least 1. Defaults to 250, the authors'.
        first_stage_share: Float in [0, 1]: the share of the epochs of `fit` that comes
            first, in which all labels count. Defaults to 0.52: the authors have 130 of
            250.
        last_stage_share: Float in [0, 1): the share of the epochs that MOIT+ has.
            Defaults to 0.0, MOIT. For MOIT+ the authors have 70 epochs after 250.
        bootstrap_weight: Float in [0, 1]. Defaults to 0.2, the authors'.
        mixup_alpha: Float, at least 0, which mixes nothing: of Beta, from which `w` is
            drawn. Defaults to 1.0, the authors'.
        temperature: Positive float, of the contrastive loss. Defaults to 0.1, the
            authors'.
        projection_dim: Int, at least 1. Defaults to 128, the authors'.
        epochs_before_memory: Int, at least 0. Defaults to 4, the authors'.
        num_views: Int, 1 to 3. Defaults to 1.
        seed: Int. What mixtures are drawn from. Defaults to 0.
        consistency_loss: As in `NCRModel`.
        consistency_weight: As in `NCRModel`; above 0 the method is joined with NCR, of
            the mixtures, of which MOIT is then the classification loss. Defaults to
            0.0.
        **kwargs: As in `NCRModel`, `warmup_epochs` and `classifier` for example.

    Raises:
        ValueError: If an argument is out of its range; in `compile`, for a loss; in
            `fit`, if examples cannot be numbered, counted or mixed.

    Reference:
        - [Ortego et al., 2021](https://arxiv.org/abs/2012.04462)

    Example:
    >>> backbone = keras.Sequential([keras.layers.Dense(16, activation="relu")])
    >>> model = keras_ncr.models.MOITModel(backbone, num_classes=3)
    >>> model.compile(optimizer="sgd", metrics=["accuracy"])
    >>> x, y = np.random.default_rng(0).normal(size=(32, 5)), np.arange(32) % 3
    >>> history = model.fit(x, y, verbose=0)
    >>> model.clean_set.num_examples
    32
    """

    built_in_loss = "contrast and classification of mixtures"
    takes_unlabeled = False
    whole_set = CleanSetDetection

    def __init__(
        self,
        backbone: keras.Layer,
        num_classes: int,
        num_examples: int | None = None,
        num_neighbors: int = 250,
        first_stage_share: float = 0.52,
        last_stage_share: float = 0.0,
        bootstrap_weight: float = 0.2,
        mixup_alpha: float = 1.0,
        temperature: float = 0.1,
        projection_dim: int = 128,
        epochs_before_memory: int = 4,
        num_views: int = 1,
        seed: int = 0,
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
        self.num_neighbors = check_integer(num_neighbors, "num_neighbors", minimum=1)
        self.first_stage_share = check_rate(first_stage_share, "first_stage_share")
        self.last_stage_share = check_rate(last_stage_share, "last_stage_share")
        if self.last_stage_share and last_stage_share + first_stage_share >= 1:
            raise ValueError(
                "`last_stage_share` must leave epochs to detection, which are those "
                f"after `first_stage_share`. Received: last_stage_share="
                f"{last_stage_share!r}, first_stage_share={first_stage_share!r}."
            )
        self.bootstrap_weight = check_rate(bootstrap_weight, "bootstrap_weight")
        self.mixup_alpha = check_weight(mixup_alpha, "mixup_alpha")
        self.owner_weights = (
            likely_owner_weights(self.mixup_alpha) if self.mixup_alpha else [1.0]
        )
        self.temperature = check_positive(temperature, "temperature")
        dim = check_integer(projection_dim, "projection_dim", minimum=1)
        self.projection_dim = dim
        self.epochs_before_memory = check_integer(
            epochs_before_memory, "epochs_before_memory", minimum=0
        )
        self.num_views = check_integer(num_views, "num_views", minimum=1)
        if self.num_views > 3:
            raise ValueError(
                "`num_views` must be 1, 2 or 3: two that are mixed, and one that is "
                f"not. Received: num_views={num_views!r}."
            )
        self.seed = check_integer(seed, "seed", minimum=0)
        self.projection = keras.layers.Dense(dim, name="projection")
        self.memory = RecentRows(200 * self.num_classes, name="memory")
        self.memory.hold(vectors=dim, labels=1)
        self.clean_set = ExampleMemory(1, num_examples, "ones", name="clean_set")
        self.first_classifier = []
        # Plain variables: `fit` sets them every epoch.
        self.uses_memory = tf.Variable(self.epochs_before_memory == 0, trainable=False)
        self.current_bootstrap = tf.Variable(0.0, trainable=False)
        # In Python, so that no step pays for those of another stage.
        self.is_last_stage = False

    @property
    def mixes_inputs(self):
        """Whether inputs are mixed."""
        return self.mixup_alpha > 0

    def build(self, input_shape):
        super().build(input_shape)
        if self.last_stage_share and not self.first_classifier:
            self.first_classifier = [
                self.add_weight(
                    shape=weight.shape,
                    dtype=weight.dtype,
                    # No `assign`: `fit` builds where those have no effect.
                    initializer=functools.partial(value_of, weight),
                    trainable=False,
                    name=f"first_classifier_{number}",
                )
                for number, weight in enumerate(self.classifier.trainable_weights)
            ]

    def classifier_pairs(self):
        """Returns what the classifier's weights were at first, each with the weight."""
        weights = self.classifier.trainable_weights
        return zip(self.first_classifier, weights, strict=True)

    def begin_epoch(self, epoch, num_epochs):
        """Sets what the steps of an epoch do; returns whether labels are to be judged.

        The epoch is counted from 0.
        """
        self.uses_memory.assign(epoch >= self.epochs_before_memory)
        last_start = (1 - self.last_stage_share) * num_epochs
        is_last = self.last_stage_share > 0 and epoch >= last_start
        is_first_of_last = is_last and epoch - 1 < last_start
        if is_first_of_last:
            for first, weight in self.classifier_pairs():
                weight.assign(first)
        bootstraps = epoch - last_start >= PLAIN_SHARE * (num_epochs - last_start)
        self.current_bootstrap.assign(
            self.bootstrap_weight if is_last and bootstraps else 0.0
        )
        if is_last != self.is_last_stage:
            self.is_last_stage = is_last
            self.projection.trainable = not is_last  # Nothing is contrasted there.
            self.trace_anew()
        if epoch < self.first_stage_share * num_epochs:
            self.clean_set.rows.assign(tf.ones_like(self.clean_set.rows))
            return False
        return is_first_of_last or not is_last

    def detect(self, labels, vectors):
        """Decides anew which labels are taken for right.

        Args:
            labels: Ints `(num_examples,)`, as given.
            vectors: Array of shape `(num_examples, dim)`: projections.
        """
        neighbors, _ = nearest_neighbors(vectors, self.num_neighbors)
        is_clean = clean_labels(labels, neighbors, self.num_classes)
        self.clean_set.rows.assign(is_clean[:, None].astype("float32"))

    def features_and_logits(self, inputs, training=None):
        features, logits = super().features_and_logits(inputs, training)
        if not self.projection.built:
            self.projection(features)
        return features, logits

    def batch_objective(self, x, y, sample_weight=None):
        """Returns the objective of `NCRModel` on mixtures, and logits of last views."""
        if not self.built:
            self(x)
        rows = (x, label_of(y), index_of(y), weight_of(sample_weight))
        num_views = self.num_views
        first, labels, index, sample_weight = one_view(rows, 0, num_views)
        second = one_view(x, min(1, num_views - 1), num_views)
        plain = one_view(x, num_views - 1, num_views)
        logits = tf.stop_gradient(self(plain, training=True))
        labels = label_distributions(tf.cast(labels, "float32"), logits)
        known = Side(
            tf.argmax(labels, axis=1, output_type="int32"),
            self.clean_set(index)[:, 0],
            tf.nn.softmax(logits),
            tf.range(tf.shape(logits)[0]),
        )
        views = [first] if self.is_last_stage else [first, second]
        mixes = self.drawn_mixtures(len(views), known.is_clean)
        mixed_x = keras.tree.map_structure(
            lambda *parts: tf.concat(
                [mix.rows(part) for mix, part in zip(mixes, parts, strict=True)], axis=0
            ),
            *views,
        )
        owners = tf.tile(known.examples, [len(views)])
        partners = tf.concat([mix.partners for mix in mixes], axis=0)
        weights = [tf.fill(tf.shape(labels)[:1], mix.owner_weights) for mix in mixes]
        mixed = Mixed(
            known.take(owners),
            known.take(partners),
            tf.concat(weights, axis=0),
            tf.repeat(tf.range(len(views)), tf.shape(labels)[0]),
        )
        if sample_weight is not None:
            sample_weight = tf.gather(sample_weight, owners)
        targets = {"label": mixed.owners.labels, "mixed": mixed}
        objective, _ = super().batch_objective(mixed_x, targets, sample_weight)
        return objective, tf.repeat(logits, self.num_views, axis=0)

    def drawn_mixtures(self, num_views, is_clean):
        """Returns a `Mixture` for each view; in the last stage partners are clean."""
        step = tf.cast(self.optimizer.iterations, "int32")
        seeds = tf.random.split(tf.stack([self.seed, step]), num=2 * num_views)
        mixes = []
        for pair in tf.unstack(tf.reshape(seeds, [num_views, 2, 2])):
            weight_seed, order_seed = tf.unstack(pair)
            weight = tf.random.stateless_uniform(
                (), weight_seed, 0, len(self.owner_weights), "int32"
            )
            order = (
                drawn_rows(is_clean, order_seed)
                if self.is_last_stage
                else tf.argsort(
                    tf.random.stateless_uniform(tf.shape(is_clean), order_seed)
                )
            )
            mixes.append(Mixture(tf.gather(self.owner_weights, weight), order))
        return mixes

    def supervised_loss(self, x, y, features, logits, sample_weight=None):
        """Returns this replica's share of MOIT's losses, with `self.losses`."""
        additional, mixed = self.additional_loss(), y["mixed"]
        if self.is_last_stage:
            each = clean_losses(logits, mixed, self.current_bootstrap)
            is_clean = mixed.owners.is_clean
            num_clean = replicas.global_sum(tf.reduce_sum(is_clean))
            each *= tf.math.divide_no_nan(replicas.global_size(is_clean), num_clean)
        else:
            each = classification_losses(logits, mixed)
        each *= factors_of(sample_weight, each.dtype)
        if not self.is_last_stage:
            each += self.contrast(tf.cast(self.projection(features), "float32"), mixed)
        share = self.mean_share(each)
        return share + tf.cast(additional, share.dtype)

    def contrast(self, projections, mixed):
        """Returns the contrastive losses of mixtures, against batch and memory."""
        owners, partners = mixed.owners, mixed.partners
        others = partners.examples
        vectors = unit_vectors(projections)
        rows = Embedded(vectors, owners.labels, owners.examples, mixed.views)
        columns = rows
        if replicas.has_other_replicas():
            # Each replica numbers its own examples: they get numbers of the batch.
            first = replicas.first_of_replica(vectors)
            rows = rows._replace(examples=first + rows.examples)
            others += first
            columns = Embedded(*map(replicas.gather_replicas, rows))
        arguments = (partners.labels, others, mixed.owner_weights, self.temperature)
        losses = interpolated_contrast(rows, columns, *arguments)
        past, counts = remembered(self.memory, columns)
        of_memory = interpolated_contrast(rows, past, *arguments, counts)
        new = columns.in_order()
        labels = tf.cast(new.labels, "float32")[:, None]
        self.memory.push(vectors=new.vectors, labels=labels)
        uses_memory = tf.convert_to_tensor(self.uses_memory)
        return losses + tf.where(uses_memory, of_memory, tf.zeros_like(of_memory))


def value_of(weight, shape, dtype):
    """Returns what a weight is now: an initializer."""
    return keras.ops.cast(weight, dtype)
