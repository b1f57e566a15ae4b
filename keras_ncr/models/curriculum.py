"""CurriculumNet: first the dense examples of each class, then those far from others."""

import math

import keras
import numpy as np
import tensorflow as tf

from keras_ncr.checks import check_integer, check_weight
from keras_ncr.distribution import replicas
from keras_ncr.distribution.targets import factors_of
from keras_ncr.models.example_memory import ExampleMemory, index_of
from keras_ncr.models.ncr import NCRModel
from keras_ncr.models.nearest import check_finite
from keras_ncr.models.second_stage import check_first_stage_share, check_num_epochs
from keras_ncr.models.weight_average import copy_of, copy_weights
from keras_ncr.models.whole_set import WholeSet

# Features are brought to so many numbers, by the directions in which a class differs.
NUM_DIRECTIONS = 256
# The share of all pairs, those of an example with itself too, that are taken for close.
CLOSE_SHARE = 0.6
# A larger class has its densities among so many examples: 128 MB of distances.
COMPARED = 4000
ROWS = 1024
NUM_SUBSETS = 3


class DensityCurriculum(WholeSet):
    """Divides the training examples of a `CurriculumModel` by density, once.

    It does so as the stages begin, by the features that the network then has, as in
    evaluation. `CurriculumModel.fit` on arrays adds one by itself.

    Args:
        dataset: As in `CoDivide`.

    Raises:
        ValueError: If the dataset has no numbers, or, in `fit`, not all examples.

    Reference:
        - [Guo et al., 2018](https://arxiv.org/abs/1808.01097), Section 3.2.

    Example:
    >>> images = np.zeros((4, 2), "float32")
    >>> targets = {"label": np.zeros(4), "index": np.arange(4)}
    >>> dataset = tf.data.Dataset.from_tensor_slices((images, targets)).batch(2)
    >>> curriculum = keras_ncr.models.DensityCurriculum(dataset)
    """

    def on_epoch_begin(self, epoch, logs=None):
        if self.model.begin_epoch(epoch, (self.params or {}).get("epochs")):
            rows = self.look()
            self.model.divide(rows[:, 0].astype(int), rows[:, 1:])


@keras.saving.register_keras_serializable(package="keras_ncr")
class CurriculumModel(NCRModel):
    """Classifier that learns from examples amid others first (CurriculumNet).

    After a first part of `fit` with all labels, which makes the features, each class is
    divided into three subsets by density: how many of the class are nearer to an
    example than a distance that 60 % of the class's pairs fall below. The network then
    starts again from its first weights, and trains in three stages of equal length: on
    the dense subset; on it and the second, whose loss counts `noisy_weight`; and on all
    three, the last two counting so. The compiled loss is averaged over the examples
    that a stage has.

    The authors released the code of the subsets alone; how long stages take is a choice
    of this package. They draw batches by subset and class, where here a batch holds
    what the data have. In a class of more than 4,000 examples, densities are counted
    among as many drawn at random; the authors cut it into parts.

    In place of densities, `grade` takes a score of each example, such as the
    `label_quality` of an audit: the three stages are then all there is, and the
    subsets of each class are those of its scores.

    `fit` on arrays does all by itself. On a `tf.data.Dataset`, pass `num_examples`,
    batches with targets `{"label": ..., "index": ...}`, and a `DensityCurriculum`.
    `subsets.rows`, of shape `(num_examples, 1)`, has 0 for the dense subset, 1 and 2.
    The weights that the network starts from are saved with the model.

    Args:
        backbone: As in `NCRModel`; Keras must be able to save and load it.
        num_classes: As in `NCRModel`.
        num_examples: As in `ELRModel`.
        first_stage_share: Float in [0, 1): the share of the epochs of `fit` that trains
            on all labels, for the features. 0 is for a network that was trained before,
            which goes on. Defaults to 0.25; the authors train two networks.
        noisy_weight: Float, at least 0: what the loss of an example counts that is not
            in the dense subset. Defaults to 0.5, the paper's.
        seed: Int: for the division into subsets. Defaults to 0.
        consistency_loss: As in `NCRModel`.
        consistency_weight: As in `NCRModel`; above 0 the method is joined with NCR,
            whose term has all examples in all stages. Defaults to 0.0.
        **kwargs: As in `NCRModel`, `warmup_epochs` and `classifier` for example.

    Raises:
        ValueError: If an argument is out of its range, the backbone cannot be copied,
            or, in `fit`, examples cannot be numbered, counted or divided, or the loss
            is no mean over the batch.

    Reference:
        - [Guo et al., 2018](https://arxiv.org/abs/1808.01097)

    Example:
    >>> backbone = keras.Sequential([keras.layers.Dense(16, activation="relu")])
    >>> model = keras_ncr.models.CurriculumModel(backbone, num_classes=3)
    >>> model.compile(
    ...     optimizer="sgd",
    ...     loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    ... )
    >>> x, y = np.random.default_rng(0).normal(size=(32, 5)), np.arange(32) % 3
    >>> history = model.fit(x, y, epochs=4, verbose=0)
    >>> int(model.stage), sorted(set(model.subsets.rows.numpy().ravel().tolist()))
    (3, [0.0, 1.0, 2.0])
    """

    takes_unlabeled = False
    whole_set = DensityCurriculum

    def __init__(
        self,
        backbone: keras.Layer,
        num_classes: int,
        num_examples: int | None = None,
        first_stage_share: float = 0.25,
        noisy_weight: float = 0.5,
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
        self.first_stage_share = check_first_stage_share(first_stage_share)
        self.noisy_weight = check_weight(noisy_weight, "noisy_weight")
        self.seed = check_integer(seed, "seed", minimum=0)
        self.subsets = ExampleMemory(1, num_examples, name="subsets")
        unknown = keras.initializers.Constant(np.nan)
        self.grades = ExampleMemory(1, num_examples, unknown, name="grades")
        self.start = copy_of(self.own_network())
        # A plain variable: `fit` sets it every epoch. 0 is the part before the stages.
        self.stage = tf.Variable(0, trainable=False)

    def build(self, input_shape):
        super().build(input_shape)
        self.start.build(input_shape)
        # Once more, for layers that were not there before.
        self.start.trainable = False

    @property
    def is_graded(self) -> bool:
        """Whether `grade` has said which examples are good."""
        rows = self.grades.rows
        return rows is not None and not np.isnan(rows).any()

    def grade(self, scores):
        """Tells which examples come first, in place of their densities.

        Args:
            scores: Floats of shape `(num_examples,)`, by the examples' numbers, large
                where a label seems right: `label_quality` of `keras_ncr.audit`, for
                example. Each class is divided by its own, into three by k-means.

        Raises:
            ValueError: If they are not finite, or of another number of examples.
        """
        scores = np.asarray(scores, "float32")
        if scores.ndim != 1 or not np.isfinite(scores).all():
            raise ValueError(
                "`scores` must be finite numbers of shape (num_examples,). Received: "
                f"shape {scores.shape}, {np.sum(~np.isfinite(scores))} not finite."
            )
        for memory in self.memories():
            memory.reserve(len(scores))
        self.grades.rows.assign(scores[:, None])

    def prepared(self, arguments):
        """As in all models, for a loss that is a mean over the batch."""
        reduction = getattr(self.loss, "reduction", "sum_over_batch_size")
        if reduction not in ("sum_over_batch_size", "mean"):
            raise ValueError(
                "`loss` must be a mean over the batch, reduction="
                '"sum_over_batch_size": a stage averages over the examples that it '
                f"has. Received: reduction={reduction!r}."
            )
        return super().prepared(arguments)

    def begin_epoch(self, epoch, num_epochs):
        """Sets the stage; returns whether examples are to be divided first."""
        num_epochs = check_num_epochs(num_epochs)
        share = 0 if self.is_graded else self.first_stage_share
        first = math.ceil(share * num_epochs)
        if epoch == 0:
            copy_layers(self, self.start)
        past = (epoch - first) / max(num_epochs - first, 1)
        self.stage.assign(0 if epoch < first else 1 + int(NUM_SUBSETS * past))
        return epoch == first

    def divide(self, labels, features):
        """Divides the examples of each class by density or grade, and starts again.

        Args:
            labels: Ints of shape `(num_examples,)`.
            features: Float array of shape `(num_examples, dim)`.
        """
        subsets = np.zeros(len(labels))
        for label in np.unique(labels):
            of_class = labels == label
            if self.is_graded:
                values = self.grades.rows.numpy()[of_class, 0]
            else:
                values = density(features[of_class], self.seed)
            subsets[of_class] = subsets_of(values, self.seed)
        self.subsets.rows.assign(subsets[:, None])
        copy_layers(self.start, self)

    def stage_weights(self, index):
        """Returns what examples count in the current stage, `(batch,)`."""
        subsets = self.subsets(index)[:, 0]
        stage = tf.cast(tf.convert_to_tensor(self.stage), subsets.dtype)
        weights = tf.where(subsets == 0, 1.0, self.noisy_weight)
        weights = tf.where(subsets < stage, weights, 0.0)
        return tf.where(stage == 0, tf.ones_like(weights), weights)

    def supervised_loss(self, x, y, features, logits, sample_weight=None):
        """Returns this replica's share of the stage's loss, with `self.losses`."""
        # Read before replicas wait for each other.
        additional = self.additional_loss()
        weights = self.stage_weights(index_of(y))
        is_there = tf.reduce_sum(tf.cast(weights > 0, "float32"))
        weights *= factors_of(sample_weight)
        loss = self.compute_loss(x, y, logits, weights, training=True)
        additional = tf.cast(additional, loss.dtype)
        size, num_there = replicas.global_size(logits), replicas.global_sum(is_there)
        scale = tf.cast(tf.math.divide_no_nan(size, num_there), loss.dtype)
        return scale * (loss - additional) + additional


def copy_layers(network, copy):
    """Gives the backbone and the classifier of one the weights of another's."""
    copy_weights(network.backbone, copy.backbone)
    copy_weights(network.classifier, copy.classifier)


def subsets_of(values, seed=0):
    """Returns 0 for the largest values of a class, 1 and 2 for others: `(n,)`."""
    # Values are divided by k-means; there are fewer subsets of fewer different ones.
    from sklearn.cluster import KMeans

    num_subsets = min(NUM_SUBSETS, len(np.unique(values)))
    means = KMeans(num_subsets, n_init=10, random_state=seed)
    clusters = means.fit_predict(values[:, None])
    ranks = np.argsort(np.argsort(-means.cluster_centers_[:, 0]))
    return ranks[clusters]


def density(features, seed=0):
    """Returns how many others of a class are close to each example, `(n,)`."""
    from scipy.spatial.distance import cdist
    from sklearn.decomposition import PCA

    features = np.asarray(features, "float64")
    check_finite(features)
    num_examples = len(features)
    if min(features.shape) > NUM_DIRECTIONS:
        features = PCA(NUM_DIRECTIONS, random_state=seed).fit_transform(features)
    compared = np.arange(num_examples)
    if num_examples > COMPARED:
        random = np.random.default_rng(seed)
        compared = random.choice(num_examples, COMPARED, replace=False)
    others = features[compared]
    distances = cdist(others, others).ravel()
    place = int(CLOSE_SHARE * len(distances))
    cutoff = np.partition(distances, place)[place]
    counts = np.concatenate(
        [
            np.sum(cdist(features[first : first + ROWS], others) < cutoff, axis=1)
            for first in range(0, num_examples, ROWS)
        ]
    ).astype("float64")
    counts[compared] -= 1  # Each is close to itself.
    return counts
