"""Sparse over-parameterization (SOP): wrong labels, learned as noise on right ones."""

import keras
import tensorflow as tf

from keras_ncr.checks import check_integer, check_positive, check_weight
from keras_ncr.distribution import replicas
from keras_ncr.distribution.targets import label_of, weight_of
from keras_ncr.losses.labels import label_distributions
from keras_ncr.models.example_memory import ExampleMemory, index_of
from keras_ncr.models.mix_match import imbalance
from keras_ncr.models.ncr import NCRModel
from keras_ncr.models.views import by_example, one_view

# Where noise starts, as in the released config: at exactly 0 it has no gradient.
INITIAL_SCALE = 1e-8
# The least that noise leaves of a probability, before and after these are scaled to sum
# 1, as in the released code.
PROBABILITY_FLOOR = 1e-4


@keras.saving.register_keras_serializable(package="keras_ncr")
class SOPModel(NCRModel):
    """Classifier that learns, beside the network, which labels are wrong.

    Each example i has numbers of its own, `u_i` and one `v_i` per class, which stand
    for the noise on its label `y_i`: what was added at the label, and what was taken
    away elsewhere. With `p = softmax(logits)` and no gradient into `[...]`:

        U_i = min(u_i**2, 1) * y_i,   V_i = min(v_i**2, 1) * (1 - y_i)
        q_i = max(p_i + U_i - [V_i], 1e-4), scaled to sum 1, and again 1e-4 at least
        loss = mean_i cross_entropy(y_i, q_i) + |onehot(argmax p_i) + U_i - V_i - y_i|^2

    The compiled optimizer trains the network, on the first term; plain gradient descent
    trains `u` on both terms and `v` on the second. Noise starts near 0 and grows slowly
    where label and prediction disagree for long: networks fit right labels first. It is
    trained with the batch's mean loss, so half the batch size wants half the learning
    rates; alpha does not apply to it.

    SOP+ adds two terms: KL([p_i] || p'_i), for a second view that is to be predicted as
    the first is, and KL(uniform || mean_i q_i), against the neglect of classes. With
    two views per example in neighboring rows, as `pipelines.second_view` makes
    them, all but the first of these terms are of the first view.

    The loss is the model's own, so `compile` takes none. Evaluation reports plain
    cross-entropy. Labels are class numbers, or one-hot. `fit` on arrays numbers the
    examples by itself; a `tf.data.Dataset` has to carry their numbers, as
    `keras_ncr.pipelines.training_batches` does with `carry=["index"]`, and
    `num_examples` has to be given.

    Args:
        backbone: As in `NCRModel`.
        num_classes: As in `NCRModel`.
        num_examples: As in `ELRModel`.
        u_learning_rate: Positive float. Defaults to 1.0, the released config's for
            CIFAR-100 and symmetric noise, in batches of 128 (0.1 for asymmetric).
        v_learning_rate: Positive float. Defaults to 10.0, likewise (100 for
            asymmetric).
        num_views: Int, 1 or 2: the views of each example in a training batch. Defaults
            to 1.
        consistency_term_weight: Float, at least 0: the weight of SOP+'s term on the
            second view, which needs `num_views=2`. Defaults to 0.0, plain SOP; the
            released config has 0.9.
        balance_weight: Float, at least 0: the weight of SOP+'s term on the balance of
            classes. Defaults to 0.0, plain SOP; the released config has 0.1.
        seed: Int. Where `u` and `v` start from. Defaults to 0.
        consistency_loss: As in `NCRModel`.
        consistency_weight: As in `NCRModel`; above 0 the method is joined with NCR, of
            which SOP is then the classification loss. Defaults to 0.0.
        **kwargs: As in `NCRModel`, `warmup_epochs` and `classifier` for example.

    Raises:
        ValueError: If an argument is out of its range; in `compile`, for a loss; in
            `fit`, if examples cannot be numbered or counted, or arrays do not hold
            views in neighboring rows.

    Reference:
        - [Liu et al., 2022](https://arxiv.org/abs/2202.14026)

    Example:
    >>> backbone = keras.Sequential([keras.layers.Dense(16, activation="relu")])
    >>> model = keras_ncr.models.SOPModel(backbone, num_classes=3)
    >>> model.compile(optimizer="sgd", metrics=["accuracy"])
    >>> x, y = np.random.default_rng(0).normal(size=(32, 5)), np.arange(32) % 3
    >>> history = model.fit(x, y, verbose=0)
    >>> model.noise_at_label(np.arange(32)).shape
    TensorShape([32])
    """

    built_in_loss = "SOP's loss"
    takes_unlabeled = False

    def __init__(
        self,
        backbone: keras.Layer,
        num_classes: int,
        num_examples: int | None = None,
        u_learning_rate: float = 1.0,
        v_learning_rate: float = 10.0,
        num_views: int = 1,
        consistency_term_weight: float = 0.0,
        balance_weight: float = 0.0,
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
        self.u_learning_rate = check_positive(u_learning_rate, "u_learning_rate")
        self.v_learning_rate = check_positive(v_learning_rate, "v_learning_rate")
        self.num_views = check_num_views(num_views, consistency_term_weight)
        self.consistency_term_weight = check_weight(
            consistency_term_weight, "consistency_term_weight"
        )
        self.balance_weight = check_weight(balance_weight, "balance_weight")
        self.seed = check_integer(seed, "seed", minimum=0)
        self.u, self.v = [
            ExampleMemory(
                width,
                num_examples,
                # Other numbers for u and v, whatever the seed.
                keras.initializers.RandomNormal(
                    stddev=INITIAL_SCALE, seed=2 * self.seed + place
                ),
                name=name,
            )
            for place, (name, width) in enumerate([("u", 1), ("v", self.num_classes)])
        ]

    def noise_at_label(self, index):
        """Returns how much of examples' labels is taken for noise, from 0 to 1.

        Args:
            index: Ints of shape `(n,)`: the examples' numbers.

        Returns:
            Float32 tensor of shape `(n,)`, `min(u**2, 1)`: near 1 the label is taken to
            be wrong.
        """
        return tf.minimum(self.u(tf.convert_to_tensor(index))[:, 0] ** 2, 1.0)

    def evaluation_loss(self):
        """Returns plain cross-entropy."""
        return cross_entropy

    def compute_loss(
        self, x=None, y=None, y_pred=None, sample_weight=None, training=True
    ):
        """Returns SOP's loss in training, and takes a step with `u` and `v`.

        In evaluation it is cross-entropy. Otherwise as in `keras.Model`.
        """
        if not training:
            return super().compute_loss(x, y, y_pred, sample_weight, training)
        # Read before replicas wait for each other: they have one list of such terms.
        additional = self.additional_loss()
        logits = tf.cast(y_pred, "float32")
        labels = tf.cast(tf.convert_to_tensor(label_of(y)), "float32")
        labels = label_distributions(labels, logits)
        loss = self.descend(index_of(y), labels, logits, weight_of(sample_weight))
        return loss + tf.cast(additional, loss.dtype)

    def descend(self, index, labels, logits, sample_weight=None):
        """Returns the loss, and moves the examples' noise down its gradient."""
        rows = (index, labels, sample_weight)
        index, labels, sample_weight = one_view(rows, 0, self.num_views)
        u, v = self.u(index), self.v(index)
        with tf.GradientTape() as tape:
            tape.watch([u, v])
            loss = self.noisy_label_loss(labels, logits, u, v, sample_weight)
            size = replicas.global_size(index)
            share = self.share_of_mean(loss, index, None, size)
        to_u, to_v = tape.gradient(share, [u, v])
        # The rows of an example that is there twice get the same, both gradients.
        self.u.write(index, u - self.u_learning_rate * sum_by_example(index, to_u))
        self.v.write(index, v - self.v_learning_rate * sum_by_example(index, to_v))
        return loss

    def noisy_label_loss(self, labels, logits, u, v, sample_weight=None):
        """Returns SOP's loss, with the terms of SOP+, as this replica's share."""
        views = by_example(logits, self.num_views)
        predictions, each = sop_loss(labels, views[:, 0], u, v)
        loss = self.mean_share(each, sample_weight)
        if self.consistency_term_weight:
            # What needs no label is not weighted by how much labels are to count.
            divergence = view_divergence(views[:, 0], views[:, 1])
            loss += self.consistency_term_weight * self.mean_share(divergence)
        if self.balance_weight:
            loss += self.balance_weight * imbalance(predictions)
        return loss


def cross_entropy(labels, logits):
    """Returns the loss of evaluation per example, of labels in any form."""
    labels = label_distributions(tf.cast(labels, logits.dtype), logits)
    return tf.nn.softmax_cross_entropy_with_logits(labels, logits)


def sop_loss(labels, logits, u, v):
    """Returns the predictions that noise explains, `q`, and SOP's loss per example."""
    added = tf.minimum(u**2, 1.0) * labels
    removed = tf.minimum(v**2, 1.0) * (1 - labels)
    noisy = tf.nn.softmax(logits) + added - tf.stop_gradient(removed)
    noisy = tf.maximum(noisy, PROBABILITY_FLOOR)
    predictions = noisy / tf.reduce_sum(noisy, axis=1, keepdims=True)
    predictions = tf.maximum(predictions, PROBABILITY_FLOOR)
    cross_entropy = -tf.reduce_sum(labels * tf.math.log(predictions), axis=1)
    classes = tf.one_hot(tf.argmax(logits, axis=1), logits.shape[1], dtype=logits.dtype)
    unexplained = tf.reduce_sum((classes + added - removed - labels) ** 2, axis=1)
    return predictions, cross_entropy + unexplained


def view_divergence(logits, other_logits):
    """Returns KL(p || p') of two views in nats, with no gradient into the first."""
    log_first = tf.stop_gradient(tf.nn.log_softmax(logits))
    log_ratio = log_first - tf.nn.log_softmax(other_logits)
    return tf.reduce_sum(tf.exp(log_first) * log_ratio, axis=1)


def sum_by_example(index, gradients):
    """Returns for each row the summed gradients of its example, in the global batch."""
    all_index, all_gradients = index, gradients
    if replicas.has_other_replicas():
        all_index = replicas.gather_replicas(index)
        all_gradients = replicas.gather_replicas(gradients)
    is_same = tf.cast(index[:, None] == all_index[None], gradients.dtype)
    return tf.matmul(is_same, all_gradients)


def check_num_views(num_views, consistency_term_weight):
    """Returns `num_views`, or raises."""
    check_integer(num_views, "num_views", minimum=1)
    if num_views > 2:
        raise ValueError(
            f"`num_views` must be 1 or 2. Received: num_views={num_views!r}."
        )
    if consistency_term_weight and num_views == 1:
        raise ValueError(
            "`num_views` must be 2 where `consistency_term_weight` is above 0: the "
            "term compares two views. Received: num_views=1, "
            f"consistency_term_weight={consistency_term_weight!r}. Pass num_views=2 "
            "and train on batches from keras_ncr.pipelines.second_view."
        )
    return int(num_views)
