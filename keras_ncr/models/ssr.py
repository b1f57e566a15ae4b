"""SSR and SSR+: trains on labels that neighbors in the whole set confirm."""

import keras
import numpy as np
import tensorflow as tf

from keras_ncr.checks import (
    check_bool,
    check_integer,
    check_positive,
    check_rate,
    check_weight,
)
from keras_ncr.distribution.targets import factors_of
from keras_ncr.losses.labels import label_distributions
from keras_ncr.models.example_memory import ExampleMemory, index_of
from keras_ncr.models.ncr import NCRModel
from keras_ncr.models.nearest import nearest_neighbors, vote_shares
from keras_ncr.models.views import by_example
from keras_ncr.models.whole_set import WholeSet
from keras_ncr.pipelines.mixture import Mixture, likely_owner_weights


class SampleSelection(WholeSet):
    """Relabels and selects the training examples of an `SSRModel` as an epoch begins.

    It runs the network over all training examples, as in evaluation, and has the model
    decide by features and predictions. `SSRModel.fit` on arrays adds one by itself.

    Args:
        dataset: As in `CoDivide`.

    Raises:
        ValueError: If the dataset has no numbers, or, in `fit`, not all examples.

    Reference:
        - [Feng et al., 2022](https://arxiv.org/abs/2111.11288), Section 3.

    Example:
    >>> images = np.zeros((4, 2), "float32")
    >>> targets = {"label": np.zeros(4), "index": np.arange(4)}
    >>> dataset = tf.data.Dataset.from_tensor_slices((images, targets)).batch(2)
    >>> selection = keras_ncr.models.SampleSelection(dataset)
    """

    def seen(self, inputs, labels):
        """Returns given labels, predictions and features, side by side."""
        features, logits = self.model(inputs, training=False, return_features=True)
        given = label_distributions(tf.cast(labels, "float32"), logits)
        features = tf.cast(features, "float32")
        return tf.concat([given, tf.nn.softmax(logits), features], axis=1)

    def on_epoch_begin(self, epoch, logs=None):
        parts = np.split(self.look(), np.arange(1, 3) * self.model.num_classes, axis=1)
        self.model.select(*parts)


@keras.saving.register_keras_serializable(package="keras_ncr")
class SSRModel(NCRModel):
    """Classifier trained on labels that neighbors in the whole training set confirm.

    Before each epoch, with `p` the prediction for an example and `y` its given label:

        label = argmax(p) if max(p) > relabel_threshold else y
        votes_c = share of c among the labels of the k nearest examples, itself included
        kept if votes_label / max_c votes_c >= vote_threshold

    where votes are divided by the share of c in the whole set. An epoch then minimizes
    cross-entropy of mixtures, `w * x_i + (1 - w) * x_j`, of kept examples, drawn so
    that all classes are as probable. No rate of noise is told, and there is no warm-up.

    SSR+ adds `-cos(h(g(f_2)), [g(f_1)])`, without gradient into `[...]`, for the
    features of two views of each example, kept or not; g and h are small networks of
    two layers, which predictions do not use.

    The loss is the model's own, so `compile` takes none. Evaluation reports plain
    cross-entropy. `fit` on arrays numbers the examples by itself; a `tf.data.Dataset`
    has to carry their numbers, as `keras_ncr.pipelines.training_batches` does with
    `carry=["index"]`, and `fit` then needs a `SampleSelection` among its callbacks.

    It differs from the authors' code in that: their sampler draws batches of kept
    examples from the whole set, of which here each batch draws as many rows of its own,
    some more than once; of more than 100,000 examples neighbors are found by cells, and
    a few are missed. Under replicas each draws from its part.

    Args:
        backbone: As in `NCRModel`.
        num_classes: As in `NCRModel`.
        num_examples: As in `ELRModel`.
        relabel_threshold: Float in [0, 1] (the paper's theta_r). Defaults to 0.9, the
            authors'; for CIFAR-100 with 50 % noise and more they have 0.8, for
            WebVision and ANIMAL-10N 0.95, for Clothing1M 0.99.
        vote_threshold: Float in [0, 1] (theta_s): 1 keeps labels that win the vote, 0
            all. Defaults to 1.0, the authors'.
        num_neighbors: Int, at least 2 (k), the example itself included. Defaults to
            200, the authors'.
        balance_votes: Bool. Whether votes are divided by the share of their class.
            Defaults to `True`; the authors' script for Clothing1M has it off.
        mixup_alpha: Positive float: of Beta, from which the weights of mixtures are
            drawn, the larger share for the owner. Defaults to 4.0, the authors'.
        feature_consistency_weight: Float, at least 0: the weight of SSR+'s term, which
            needs `num_views=2`. Defaults to 0.0, plain SSR; the authors have 1.0.
        num_views: Int, 1 or 2: the views of each example in a training batch. Defaults
            to 1.
        seed: Int. What draws and mixtures come from. Defaults to 0.
        consistency_loss: As in `NCRModel`.
        consistency_weight: As in `NCRModel`; above 0 the method is joined with NCR, of
            which SSR is then the classification loss. Defaults to 0.0.
        **kwargs: As in `NCRModel`, `warmup_epochs` and `classifier` for example.

    Raises:
        ValueError: If an argument is out of its range; in `compile`, for a loss; in
            `fit`, if examples cannot be numbered, counted or selected.

    Reference:
        - [Feng et al., 2022](https://arxiv.org/abs/2111.11288)

    Example:
    >>> backbone = keras.Sequential([keras.layers.Dense(16, activation="relu")])
    >>> model = keras_ncr.models.SSRModel(backbone, num_classes=3)
    >>> model.compile(optimizer="sgd", metrics=["accuracy"])
    >>> x, y = np.random.default_rng(0).normal(size=(32, 5)), np.arange(32) % 3
    >>> history = model.fit(x, y, verbose=0)
    >>> model.selection.num_examples
    32
    """

    built_in_loss = "cross-entropy of mixtures of selected examples"
    takes_unlabeled = False
    mixes_inputs = True
    whole_set = SampleSelection

    def __init__(
        self,
        backbone: keras.Layer,
        num_classes: int,
        num_examples: int | None = None,
        relabel_threshold: float = 0.9,
        vote_threshold: float = 1.0,
        num_neighbors: int = 200,
        balance_votes: bool = True,
        mixup_alpha: float = 4.0,
        feature_consistency_weight: float = 0.0,
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
        self.relabel_threshold = check_rate(relabel_threshold, "relabel_threshold")
        self.vote_threshold = check_rate(vote_threshold, "vote_threshold")
        self.num_neighbors = check_integer(num_neighbors, "num_neighbors", minimum=2)
        self.balance_votes = check_bool(balance_votes, "balance_votes")
        self.mixup_alpha = check_positive(mixup_alpha, "mixup_alpha")
        self.owner_weights = likely_owner_weights(self.mixup_alpha)
        self.feature_consistency_weight = check_weight(
            feature_consistency_weight, "feature_consistency_weight"
        )
        self.num_views = check_integer(num_views, "num_views", minimum=1)
        if self.num_views > 2 or (self.feature_consistency_weight and num_views == 1):
            raise ValueError(
                "`num_views` must be 1 or 2, and 2 where `feature_consistency_weight` "
                "is above 0: the term compares two views. Received: "
                f"num_views={num_views!r}, feature_consistency_weight="
                f"{feature_consistency_weight!r}."
            )
        self.seed = check_integer(seed, "seed", minimum=0)
        # Each example's label, and how probable it is to be drawn.
        self.selection = ExampleMemory(2, num_examples, name="selection")
        self.projection = self.predictor = None
        if self.feature_consistency_weight:
            self.projection = small_network("projection")
            self.predictor = small_network("predictor")

    def select(self, given, predictions, features):
        """Decides anew on the labels, and on which examples to train.

        Args:
            given: Array of shape `(num_examples, num_classes)`: one-hot given labels.
            predictions: Array of the same shape: probabilities.
            features: Array of shape `(num_examples, dim)`.
        """
        labels = np.argmax(given, axis=1)
        is_sure = np.max(predictions, axis=1) > self.relabel_threshold
        labels = np.where(is_sure, np.argmax(predictions, axis=1), labels)
        indices, _ = nearest_neighbors(features, self.num_neighbors - 1)
        neighbors = np.column_stack([np.arange(len(labels)), indices])
        agreement = vote_ratios(neighbors, labels, self.num_classes, self.balance_votes)
        is_kept = agreement >= self.vote_threshold - 1e-9
        counts = np.bincount(labels[is_kept], minlength=self.num_classes)
        shares = np.where(is_kept, 1 / np.maximum(counts[labels], 1), 0)
        self.selection.rows.assign(np.stack([labels, shares], axis=1))

    def features_and_logits(self, inputs, training=None):
        features, logits = super().features_and_logits(inputs, training)
        if self.predictor is not None and not self.predictor.built:
            self.predictor(self.projection(features))
        return features, logits

    def supervised_loss(self, x, y, features, logits, sample_weight=None):
        """Returns this replica's share of SSR's loss, with `self.losses`."""
        # Read before another forward pass.
        additional = self.additional_loss()
        labels, shares = tf.unstack(self.selection(index_of(y)), axis=1)
        loss = self.mixture_loss(x, labels, shares * factors_of(sample_weight))
        if self.feature_consistency_weight:
            views = by_example(features, 2)
            cosines = self.view_cosines(views[:, 0], views[:, 1])
            loss -= self.feature_consistency_weight * tf.reduce_mean(cosines)
        share = loss / self.distribute_strategy.num_replicas_in_sync
        return share + tf.cast(additional, share.dtype)

    def mixture_loss(self, x, labels, shares):
        """Returns the loss on mixtures of rows that are drawn by their shares."""
        step = tf.cast(self.optimizer.iterations, "int32")
        row_seed, weight_seed, order_seed = tf.unstack(
            tf.random.split(tf.stack([self.seed, step]), num=3)
        )
        rows = drawn_rows(shares, row_seed)
        weight = tf.random.stateless_uniform(
            (), weight_seed, 0, len(self.owner_weights), "int32"
        )
        order = tf.argsort(tf.random.stateless_uniform(tf.shape(rows), order_seed))
        mix = Mixture(tf.gather(self.owner_weights, weight), order)
        mixed_x = keras.tree.map_structure(
            lambda part: mix.rows(tf.gather(part, rows)), x
        )
        labels = tf.one_hot(tf.cast(tf.gather(labels, rows), "int32"), self.num_classes)
        each = tf.nn.softmax_cross_entropy_with_logits(
            mix.rows(labels), self(mixed_x, training=True)
        )
        has_any = tf.reduce_any(shares > 0)
        return tf.where(has_any, tf.reduce_mean(each), 0.0)

    def view_cosines(self, first, second):
        """Returns how well second views predict first ones, `(examples,)`."""
        target = tf.stop_gradient(self.projection(first, training=True))
        prediction = self.predictor(
            self.projection(second, training=True), training=True
        )
        return -keras.losses.cosine_similarity(
            tf.cast(target, "float32"), tf.cast(prediction, "float32")
        )


def small_network(name):
    """Returns a network as SSR+ puts two of on top of features."""
    return keras.Sequential(
        [
            keras.layers.Dense(256),
            keras.layers.BatchNormalization(),
            keras.layers.ReLU(),
            keras.layers.Dense(128),
        ],
        name=name,
    )


def vote_ratios(neighbors, labels, num_classes, balance_votes=True):
    """Returns for each example its label's votes over those of the class with most."""
    votes = vote_shares(neighbors, labels, num_classes)
    if balance_votes:
        votes /= np.maximum(np.bincount(labels, minlength=num_classes), 1)
    own = np.take_along_axis(votes, labels[:, None], axis=1)[:, 0]
    return own / votes.max(axis=1)


def drawn_rows(shares, seed):
    """Returns as many rows as there are, drawn with the probabilities of `shares`."""
    totals = tf.cumsum(shares)
    drawn = tf.random.stateless_uniform(tf.shape(shares), seed) * totals[-1]
    rows = tf.reduce_sum(tf.cast(totals <= drawn[:, None], "int32"), axis=1)
    return tf.minimum(rows, tf.size(shares) - 1)
