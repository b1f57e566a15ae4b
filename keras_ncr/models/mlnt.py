"""MLNT: trains for weights that a step on wrong labels would not spoil."""

import keras
import tensorflow as tf

from keras_ncr.checks import (
    check_bool,
    check_integer,
    check_positive,
    check_rate,
    check_weight,
)
from keras_ncr.distribution.targets import label_of
from keras_ncr.losses.labels import label_distributions
from keras_ncr.models.elr_plus import grown
from keras_ncr.models.fitting import counts_in_loss, refuse_replicas
from keras_ncr.models.ncr import NCRModel
from keras_ncr.models.second_stage import SecondStage, check_first_stage_share
from keras_ncr.models.weight_average import copy_of, leave_to_average, move_average


@keras.saving.register_keras_serializable(package="keras_ncr")
class MLNTModel(NCRModel):
    """Classifier that learns such that a step on wrong labels changes it little.

    The first stage minimizes the compiled loss. A copy of its network then stays as it
    is and tells which examples of a batch are alike; another, the teacher, follows the
    network as a moving average. Each step of the second stage draws labels for the
    batch `num_label_sets` times: a share of the examples gets the label of one of its
    nearest neighbors. With `W` the weights, `y_m` such labels, and `p_W` predictions,

        W_m = W - inner_learning_rate * gradient of cross-entropy(y_m, p_W)
        term_m = mean over examples of KL(p_teacher || p_(W_m)) / num_classes
        loss + ramp * meta_weight * mean over m of term_m

    is minimized, where the loss is the compiled one on the given labels. The gradient
    of a term goes through the inner step as well (second order), unless
    `second_order=False`. The term is divided by the number of classes as in the
    authors' code: for the mean divergence of an example, multiply `meta_weight` by it.

    Each term costs two passes forward and, in second order, three backward. They are
    taken one after the other: memory is that of one. What they do to moving statistics
    and random generators is thrown away. Predictions are the network's. It trains on
    one device.

    It differs from the authors' code in that: the first stage gives both the network
    that tells neighbors, where they take the best checkpoint of another training, and
    the weights to go on with, where they start from ImageNet's and have 500 steps of
    warm-up; the last epoch counts, where they choose among networks and teachers by
    clean labels; an example is never its own neighbor, where they leave out the first
    one found; the terms' passes leave moving statistics alone, where they move them 10
    times a step; the teacher's are those of the network. The three rounds of the
    paper's Table 2, with a mentor, are not in their code and not here.

    Args:
        backbone: As in `NCRModel`, such that Keras can save it, to be copied.
        num_classes: As in `NCRModel`.
        first_stage_share: Float in [0, 1): the share of the epochs of `fit` that comes
            first. 0 is for a model that was trained before. Loops without `fit` assign
            `is_second_stage` themselves. Defaults to 0.5.
        num_label_sets: Int, at least 1 (M). Defaults to 10, the authors'.
        num_neighbors: Int, at least 1: the neighbors, nearest by Euclidean distance, of
            which one gives its label. Defaults to 10, the authors'.
        relabeled_share: Float in [0, 1]: the share of a batch that gets labels of
            neighbors. Defaults to 0.5, the authors'.
        inner_learning_rate: Positive float. Defaults to 0.02, the authors'.
        meta_weight: Float, at least 0. Defaults to 1.0, the authors'.
        second_order: Bool. Defaults to `True`, as in the authors' code.
        ramp_steps: Int, at least 0: the steps of the second stage over which the term
            grows to its weight, `ramp = exp(-5 * (1 - step / ramp_steps)**2)`. Defaults
            to 1500, the authors'.
        average_decay: Float in [0, 1]: of the teacher's weights, per step. Defaults to
            0.999, the authors'.
        early_average_decay: Float in [0, 1]: the same during the ramp. Defaults to
            0.99, the authors'.
        seed: Int. What labels are drawn from. Defaults to 0.
        consistency_loss: As in `NCRModel`.
        consistency_weight: As in `NCRModel`; above 0 the method is joined with NCR, of
            which MLNT is then the classification loss. Defaults to 0.0.
        **kwargs: As in `NCRModel`, `warmup_epochs` and `classifier` for example.

    Raises:
        ValueError: If an argument is out of its range; in `compile`, under a strategy
            of several replicas.

    Reference:
        - [Li et al., 2019](https://arxiv.org/abs/1812.05214)

    Example:
    >>> backbone = keras.Sequential([keras.layers.Dense(16, activation="relu")])
    >>> model = keras_ncr.models.MLNTModel(backbone, num_classes=3, num_label_sets=2)
    >>> model.compile(
    ...     optimizer="sgd",
    ...     loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    ... )
    >>> x, y = np.random.default_rng(0).normal(size=(32, 5)), np.arange(32) % 3
    >>> history = model.fit(x, y, epochs=2, verbose=0)
    >>> int(model.meta_steps.numpy())
    1
    """

    takes_unlabeled = False

    def __init__(
        self,
        backbone: keras.Layer,
        num_classes: int,
        first_stage_share: float = 0.5,
        num_label_sets: int = 10,
        num_neighbors: int = 10,
        relabeled_share: float = 0.5,
        inner_learning_rate: float = 0.02,
        meta_weight: float = 1.0,
        second_order: bool = True,
        ramp_steps: int = 1500,
        average_decay: float = 0.999,
        early_average_decay: float = 0.99,
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
        self.num_label_sets = check_integer(num_label_sets, "num_label_sets", minimum=1)
        self.num_neighbors = check_integer(num_neighbors, "num_neighbors", minimum=1)
        self.relabeled_share = check_rate(relabeled_share, "relabeled_share")
        self.inner_learning_rate = check_positive(
            inner_learning_rate, "inner_learning_rate"
        )
        self.meta_weight = check_weight(meta_weight, "meta_weight")
        self.second_order = check_bool(second_order, "second_order")
        self.ramp_steps = check_integer(ramp_steps, "ramp_steps", minimum=0)
        self.average_decay = check_rate(average_decay, "average_decay")
        self.early_average_decay = check_rate(
            early_average_decay, "early_average_decay"
        )
        self.seed = check_integer(seed, "seed", minimum=0)
        network = self.own_network()
        self.teacher, self.frozen = copy_of(network), copy_of(network)
        # A plain variable: `fit` sets it every epoch.
        self.is_second_stage = tf.Variable(first_stage_share == 0, trainable=False)
        # Steps of the second stage that are done: saved with the weights.
        self.meta_steps = self.add_weight(
            shape=(),
            initializer="zeros",
            dtype="int32",
            trainable=False,
            name="meta_steps",
        )

    def build(self, input_shape):
        super().build(input_shape)
        for copy in (self.teacher, self.frozen):
            copy.build(input_shape)
        # Once more, for layers that were not there before.
        self.frozen.trainable = False
        leave_to_average(self.teacher)

    def compile(self, *args, **kwargs):
        """As in all models of the package, on one device alone."""
        refuse_replicas(self)
        super().compile(*args, **kwargs)

    def own_callbacks(self):
        """Returns the callbacks of `NCRModel`, and the one that changes the stage."""
        return [*super().own_callbacks(), SecondStage()]

    def begin_second_stage(self):
        """Lets the next step copy the network anew."""
        self.meta_steps.assign(0)

    def supervised_loss(self, x, y, features, logits, sample_weight=None):
        """Returns the compiled loss, and the terms in the second stage."""
        if not self.built:
            self(x)
        loss = super().supervised_loss(x, y, features, logits, sample_weight)
        weights = [tf.convert_to_tensor(one.value) for one in self.trainable_variables]
        value, gradients = tf.cond(
            tf.convert_to_tensor(self.is_second_stage),
            lambda: self.meta_step(x, y, logits),
            lambda: (tf.zeros(()), [tf.zeros_like(weight) for weight in weights]),
        )
        # It has this value and these gradients: the terms themselves are forgotten.
        pairs = zip(gradients, weights, strict=True)
        slope = tf.add_n(
            [
                tf.reduce_sum(tf.cast(tf.stop_gradient(gradient) * weight, loss.dtype))
                for gradient, weight in pairs
            ]
        )
        value = tf.stop_gradient(tf.cast(value, loss.dtype) - slope) + slope
        return loss + value

    def meta_step(self, x, y, logits):
        """Returns the weighted mean of the terms, and its gradients."""
        self.move_copies()
        labels = tf.convert_to_tensor(label_of(y))
        is_labeled = counts_in_loss(self.loss, labels)
        labels = label_distributions(tf.cast(labels, "float32"), logits)
        labels = tf.where(is_labeled[:, None], labels, 0.0)
        alike, _ = self.frozen(x, training=False, return_features=True)
        neighbors = nearest_in_batch(alike, self.num_neighbors)
        targets = tf.nn.softmax(self.teacher(x, training=True))
        weights = [tf.convert_to_tensor(one.value) for one in self.trainable_variables]
        step = tf.stack([self.seed, tf.cast(self.optimizer.iterations, "int32")])

        def add_term(number, value, gradients):
            seed = tf.random.fold_in(step, number)
            drawn = relabeled(labels, neighbors, self.relabeled_share, seed)
            term, own = self.term_and_gradients(x, drawn, targets, weights)
            sums = [one + two for one, two in zip(gradients, own, strict=True)]
            return number + 1, value + term, sums

        # One after the other, so that memory is that of one.
        _, value, gradients = tf.while_loop(
            lambda number, *_: number < self.num_label_sets,
            add_term,
            (0, tf.zeros(()), [tf.zeros_like(weight) for weight in weights]),
            parallel_iterations=1,
        )
        factor = self.meta_weight / self.num_label_sets
        if self.ramp_steps:
            factor *= grown(self.meta_steps.value, self.ramp_steps)
        self.meta_steps.assign_add(1)
        scaled = [tf.cast(factor, one.dtype) * one for one in gradients]
        return factor * value, scaled

    def term_and_gradients(self, x, labels, targets, weights):
        """Returns the term of one set of labels, and its gradients by the weights."""
        with tf.GradientTape() as outer:
            outer.watch(weights)
            with tf.GradientTape() as inner:
                inner.watch(weights)
                loss = tf.reduce_mean(
                    tf.nn.softmax_cross_entropy_with_logits(
                        labels, self.logits_with(weights, x)
                    )
                )
            steps = dense_gradients(inner, loss, weights)
            if not self.second_order:
                steps = [tf.stop_gradient(step) for step in steps]
            rate = self.inner_learning_rate
            pairs = zip(weights, steps, strict=True)
            moved = [weight - rate * step for weight, step in pairs]
            log_predictions = tf.nn.log_softmax(self.logits_with(moved, x))
            # 0 for the logarithm of 0, which is multiplied by it.
            log_targets = tf.math.log(tf.where(targets > 0, targets, 1.0))
            divergences = tf.reduce_sum(
                targets * (log_targets - log_predictions), axis=1
            )
            term = tf.reduce_mean(divergences) / self.num_classes
        return term, dense_gradients(outer, term, weights)

    def logits_with(self, weights, x):
        """Returns logits by other weights, and changes nothing."""
        pairs = list(zip(self.trainable_variables, weights, strict=True))
        with keras.StatelessScope(state_mapping=pairs):
            return self(x, training=True)

    def move_copies(self):
        """Moves the teacher; as the stage begins, both copies are the network."""
        steps = self.meta_steps.value
        decay = self.average_decay
        if self.ramp_steps:
            is_early = steps < self.ramp_steps
            decay = tf.where(is_early, self.early_average_decay, decay)
        decay = tf.where(steps == 0, 0.0, decay)
        self.move(self.teacher, decay)

        def freeze():
            self.move(self.frozen, 0.0)
            return True

        tf.cond(steps == 0, freeze, lambda: False)

    def move(self, copy, decay):
        """Moves a copy toward the network."""
        move_average(copy.backbone, self.backbone, decay)
        move_average(copy.classifier, self.classifier, decay)


def nearest_in_batch(features, num_neighbors):
    """Returns for each row the nearest others by Euclidean distance, ints `(n, k)`."""
    features = tf.cast(features, "float32")
    size = tf.shape(features)[0]
    products = tf.matmul(features, features, transpose_b=True)
    squares = tf.linalg.diag_part(products)
    distances = squares[:, None] - 2 * products + squares[None]
    distances = tf.linalg.set_diag(distances, tf.fill([size], float("inf")))
    # A row that is alone is all there is.
    k = tf.maximum(tf.minimum(num_neighbors, size - 1), 1)
    return tf.math.top_k(-distances, k)[1]


def relabeled(labels, neighbors, share, seed):
    """Returns labels, a share of them, drawn at random, those of drawn neighbors."""
    row_seed, neighbor_seed = tf.unstack(tf.random.split(seed, num=2))
    size, num_neighbors = tf.unstack(tf.shape(neighbors))
    order = tf.argsort(tf.random.stateless_uniform([size], row_seed))
    is_changed = order < tf.cast(share * tf.cast(size, "float32"), "int32")
    choice = tf.random.stateless_uniform(
        [size], neighbor_seed, 0, num_neighbors, "int32"
    )
    givers = tf.gather(neighbors, choice, batch_dims=1)
    return tf.where(is_changed[:, None], tf.gather(labels, givers), labels)


def dense_gradients(tape, value, weights):
    """Returns gradients as dense tensors, zeros where there is none."""
    gradients = tape.gradient(value, weights, unconnected_gradients="zero")
    return [tf.convert_to_tensor(gradient) for gradient in gradients]
