"""Early-learning regularization (ELR), alone and joined with NCR."""

import keras
import tensorflow as tf

from keras_ncr.checks import check_integer, check_positive, check_rate
from keras_ncr.distribution import replicas
from keras_ncr.distribution.targets import label_of
from keras_ncr.losses import NeighborConsistencyLoss
from keras_ncr.models.auto_weight import AUTO
from keras_ncr.models.example_memory import ExampleMemory, index_of
from keras_ncr.models.ncr import NCRModel
from keras_ncr.models.unlabeled import has_label

# Probabilities are kept so far from 0 and 1, as in the released code: the term has no
# lower bound without it.
PROBABILITY_MARGIN = 1e-4


@keras.saving.register_keras_serializable(package="keras_ncr")
class EarlyLearningRegularization(keras.layers.Layer):
    """Layer that rewards predictions for staying what they were early in training.

    It remembers a target for each example, the moving average of its predictions. With
    `p = softmax(logits)`, and no gradient into the target,

        t_i = beta * t_i + (1 - beta) * p_i
        loss_i = log(1 - <t_i, p_i>)

    Networks fit right labels first: the targets then hold what was learned so far, and
    the gradient of the term outweighs that of the wrong labels. Every call moves the
    targets of the batch's examples: call it in training alone, once a batch.

    Args:
        num_classes: Int, at least 2.
        num_examples: Int, or `None` if it is to be told to `reserve` later. Defaults
            to `None`.
        momentum: Float in [0, 1] (the paper's beta). Defaults to 0.7, the released
            code's for symmetric noise on CIFAR-10; it has 0.9 for all else on CIFAR.
        **kwargs: As in `keras.layers.Layer`.

    Call arguments:
        logits: Tensor of shape `(batch, num_classes)`, before softmax.
        index: Ints of shape `(batch,)`: the examples' numbers, 0 to
            `num_examples - 1`, none of them twice.

    Returns:
        Float32 tensor of shape `(batch,)`: one value per example, in nats, at most 0.

    Raises:
        ValueError: If an argument is out of its range, or `num_examples` is not known.

    Reference:
        - [Liu et al., 2020](https://arxiv.org/abs/2007.00151), Section 4.

    Example:
    The second example's prediction leaves what it was; the first one's does not.

    >>> loss = keras_ncr.models.EarlyLearningRegularization(2, num_examples=2)
    >>> index = np.array([0, 1])
    >>> for _ in range(20):
    ...     values = loss(np.array([[3., 0.], [3., 0.]]), index)
    >>> loss(np.array([[3., 0.], [0., 3.]]), index).numpy().round(2)
    array([-2.4 , -0.41], dtype=float32)
    """

    def __init__(
        self,
        num_classes: int,
        num_examples: int | None = None,
        momentum: float = 0.7,
        **kwargs,
    ):
        super().__init__(autocast=False, **kwargs)
        self.num_classes = check_integer(num_classes, "num_classes", minimum=2)
        self.momentum = check_rate(momentum, "momentum")
        self.targets = ExampleMemory(self.num_classes, num_examples, name="targets")
        self.built = True

    @property
    def num_examples(self):
        """The number of examples that there is room for, or `None`."""
        return self.targets.num_examples

    def reserve(self, num_examples: int):
        """Makes room for the targets of so many examples, once."""
        self.targets.reserve(num_examples)

    def call(self, logits, index):
        probabilities = clipped_softmax(logits)
        seen = tf.stop_gradient(probabilities)
        seen /= tf.reduce_sum(seen, axis=1, keepdims=True)
        targets = self.momentum * self.targets(index) + (1 - self.momentum) * seen
        self.targets.write(index, targets)
        return agreement_loss(targets, probabilities)

    def get_config(self):
        return {
            **super().get_config(),
            "num_classes": self.num_classes,
            "num_examples": self.num_examples,
            "momentum": self.momentum,
        }


def clipped_softmax(logits):
    """Returns softmax in float32, kept from 0 and 1 as in the released code of ELR."""
    probabilities = tf.nn.softmax(tf.cast(logits, "float32"))
    return tf.clip_by_value(probabilities, PROBABILITY_MARGIN, 1.0 - PROBABILITY_MARGIN)


def agreement_loss(targets, probabilities):
    """Returns `log(1 - <targets, probabilities>)`, ELR's term: a tensor `(batch,)`."""
    agreement = tf.reduce_sum(targets * probabilities, axis=1)
    # Two probabilities that were clipped upward may sum to more than 1.
    return tf.math.log(tf.maximum(1.0 - agreement, PROBABILITY_MARGIN))


@keras.saving.register_keras_serializable(package="keras_ncr")
class ELRModel(NCRModel):
    """NCR joined with early-learning regularization, or the latter alone.

    Training minimizes

        (1 - alpha) * classification loss + alpha * neighbor consistency
            + elr_weight * mean_i log(1 - <t_i, p_i>) + self.losses

    where `t_i` is the moving average of example i's predictions. The paper's Table 3
    has NCR joined with ELR, and does not say how; here ELR's term stands outside of
    alpha, so that it means what it means in ELR. `consistency_weight=0` is ELR alone.
    Examples without a label, as in `NCRModel`, have no part in it. Evaluation, where no
    target is known, reports `loss` without it.

    The model remembers a target for each training example. `fit` on arrays numbers the
    examples by itself. A `tf.data.Dataset` has to carry their numbers, as
    `keras_ncr.pipelines.training_batches` does with `carry=["index"]`, and
    `num_examples` has to be given. Train again on the same examples only.

    Args:
        backbone: As in `NCRModel`.
        num_classes: As in `NCRModel`.
        num_examples: Int, the number of training examples; `None` if `fit` is to count
            them, which it can on arrays. Defaults to `None`.
        elr_weight: Positive float (ELR's lambda). Defaults to 3.0, the released
            code's for CIFAR-10 and symmetric noise (1 for asymmetric, 7 on CIFAR-100).
            A network that is trained from scratch on pictures and learns few labels by
            heart loses accuracy by 3, and none by 1 (`docs/results.md`).
        target_momentum: As `momentum` in `EarlyLearningRegularization`.
        consistency_loss: As in `NCRModel`. Defaults to
            `NeighborConsistencyLoss(similarity_power=6.0, temperature_squared=True)`.
        consistency_weight: As in `NCRModel`. Defaults to `"auto"`: within a point of
            the best of 0.1 to 0.7 in 17 of 19 cases, where 0.3 is so in 13
            (`docs/ablation.md`).
        **kwargs: As in `NCRModel`, `warmup_epochs` and `classifier` for example.

    Raises:
        ValueError: If an argument is out of its range, or, in `fit`, examples cannot be
            numbered or counted.

    Reference:
        - [Liu et al., 2020](https://arxiv.org/abs/2007.00151)
        - [Iscen et al., 2022](https://arxiv.org/abs/2202.02200), Table 3.

    Example:
    >>> backbone = keras.Sequential([keras.layers.Dense(16, activation="relu")])
    >>> model = keras_ncr.ELRModel(backbone, num_classes=3)
    >>> model.compile(
    ...     optimizer="sgd",
    ...     loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    ...     metrics=["accuracy"],
    ... )
    >>> x, y = np.random.default_rng(0).normal(size=(32, 5)), np.arange(32) % 3
    >>> history = model.fit(x, y, epochs=1, verbose=0)
    >>> model.early_learning.num_examples
    32
    """

    def __init__(
        self,
        backbone: keras.Layer,
        num_classes: int,
        num_examples: int | None = None,
        elr_weight: float = 3.0,
        target_momentum: float = 0.7,
        consistency_loss: keras.Layer | None = None,
        consistency_weight: float | str = AUTO,
        **kwargs,
    ):
        if consistency_loss is None:
            consistency_loss = NeighborConsistencyLoss(
                similarity_power=6.0, temperature_squared=True
            )
        super().__init__(
            backbone,
            num_classes,
            consistency_loss=consistency_loss,
            consistency_weight=consistency_weight,
            num_examples=num_examples,
            **kwargs,
        )
        self.elr_weight = check_positive(elr_weight, "elr_weight")
        self.target_momentum = check_rate(target_momentum, "target_momentum")
        self.early_learning = EarlyLearningRegularization(
            self.num_classes, num_examples, self.target_momentum, name="early_learning"
        )

    def target_losses(self, y, logits):
        """Returns ELR's term of each example."""
        terms = self.elr_weight * self.early_learning(logits, index_of(y))
        # Divided by the size of the batch, where only those with a label count.
        is_labeled = tf.cast(has_label(label_of(y)), terms.dtype)
        share = replicas.global_sum(replicas.global_mean(is_labeled))
        return tf.math.divide_no_nan(terms * is_labeled, share)
