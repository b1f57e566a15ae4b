"""ELR+: two networks, each regularized by targets from the other one's average."""

import keras
import tensorflow as tf

from keras_ncr.checks import (
    check_bool,
    check_integer,
    check_positive,
    check_rate,
    check_weight,
)
from keras_ncr.distribution import replicas
from keras_ncr.distribution.targets import factors_of, label_of, weight_of
from keras_ncr.losses.labels import label_distributions
from keras_ncr.models.elr import agreement_loss, clipped_softmax
from keras_ncr.models.example_memory import ExampleMemory, index_of
from keras_ncr.models.network_pair import NetworkPair, mean_logits
from keras_ncr.models.weight_average import (
    copy_adapted_state,
    copy_of,
    leave_to_average,
    move_average,
)
from keras_ncr.pipelines.mixture import drawn_mixture, likely_owner_weights


@keras.saving.register_keras_serializable(package="keras_ncr")
class ELRPlusModel(NetworkPair):
    """Two networks trained by mixup and early-learning regularization of each other.

    A target is remembered for each example and network. It comes from the OTHER
    network: from a copy of it whose weights are a moving average, shown the example as
    it is. The network itself learns from mixtures. With `w = max(v, 1 - v)`,
    `v ~ Beta(mixup_alpha, mixup_alpha)`, drawn once for a batch and a network, and j a
    random partner of i in the batch, each network minimizes

        t_i = beta * t_i + (1 - beta) * softmax(the other one's average)(x_i)
        q_i = w * t_i + (1 - w) * t_j
        p_i = softmax(logits(w * x_i + (1 - w) * x_j))
        (1 - alpha) * (w * loss(y_i, p_i) + (1 - w) * loss(y_j, p_i))
            + alpha * neighbor consistency
            + ramp * elr_weight * log(1 - <q_i, p_i>)

    averaged over the batch. The loss is the compiled one; to mix the values of
    cross-entropy is to mix its labels. `alpha` is `consistency_weight`, 0 unless
    given: ELR+ alone. The consistency is that of the mixed batch's features and logits,
    and ELR's term stands outside of alpha, as in `ELRModel`.

    After step s, counted from 1, an average becomes `d * average + (1 - d) * weight`
    for weights that an optimizer trains, with

        d = min(1 - 1 / (s + 1), average_decay)    or, with `average_ramp_steps`,
        d = average_decay * exp(-5 * (1 - (s + 1) / average_ramp_steps)**2)

    Other weights are copied. The averages run as in training: batch normalization takes
    the batch's statistics, which fit averaged weights, where moving ones do not. The
    compiled metrics of training are those of mixtures. Predictions are the mean of both
    networks' logits, without the averages, as in the released code.

    What differs from the released code, and why: an average starts as its network, not
    as another random one (a pretrained network is not half forgotten; its part in the
    average after s steps is `1 / (s + 1)` anyhow). The networks train side by side on
    the same batches, and the teachers move with each step; there one network trains for
    an epoch beside a teacher that stands still, and then the other, which here would
    take two more copies. Logarithms are kept finite.

    The model remembers two targets for each training example; `ELRModel` says how
    examples get their numbers. Steps are those of the optimizer: compiling anew
    starts the averages and the ramp anew. Under a `tf.distribute` strategy each replica
    mixes its own part of the batch.

    Args:
        backbones: As in `NetworkPair`. They must be such that Keras can save them, to
            be copied, and keep their weights: enable LoRA before.
        num_classes: As in `NetworkPair`.
        num_examples: As in `ELRModel`.
        elr_weight: Positive float (ELR's lambda). Defaults to 3.0, the released code's
            for CIFAR-10 and symmetric noise (1 for asymmetric, 7 on CIFAR-100).
        target_momentum: Float in [0, 1] (ELR's beta). Defaults to 0.7, the released
            code's for CIFAR-10 and symmetric noise (0.9 for all else on CIFAR).
        average_decay: Float in [0, 1]. Defaults to 0.997, the released code's.
        average_ramp_steps: Int, at least 0: the steps over which the decay grows, as
            above. Defaults to 0, the first form, as on WebVision and Clothing1M; the
            released code has 40000 on CIFAR.
        mixup_alpha: Float, at least 0, which mixes nothing. Defaults to 1.0, the
            released code's on CIFAR.
        ramp_steps: Int, at least 0: the steps over which ELR's term grows to its full
            weight, `ramp = exp(-5 * (1 - s / ramp_steps)**2)`. Defaults to 0, at
            once, as on CIFAR-10; the released code has 40000 for CIFAR-100.
        labels_by_targets: Bool. Whether mixed labels are multiplied by the mixed
            targets and scaled to sum 1: `w` becomes
            `w * q_i[y_i] / (w * q_i[y_i] + (1 - w) * q_i[y_j])`. Defaults to `False`;
            the released code does so with 100 classes.
        seed: Int. What the mixing is drawn from. Defaults to 0.
        **kwargs: As in `NetworkPair`, `consistency_weight` for example.

    Raises:
        ValueError: If an argument is out of its range, or, in `fit`, examples cannot be
            numbered or counted, or a network has other weights than its average.

    Reference:
        - [Liu et al., 2020](https://arxiv.org/abs/2007.00151)

    Example:
    >>> backbones = [
    ...     keras.Sequential([keras.layers.Dense(16, activation="relu")])
    ...     for _ in range(2)
    ... ]
    >>> model = keras_ncr.models.ELRPlusModel(backbones, num_classes=3)
    >>> model.compile(
    ...     optimizer="sgd",
    ...     loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    ... )
    >>> x, y = np.random.default_rng(0).normal(size=(32, 5)), np.arange(32) % 3
    >>> history = model.fit(x, y, epochs=1, verbose=0)
    >>> [targets.num_examples for targets in model.targets]
    [32, 32]
    """

    def __init__(
        self,
        backbones: list,
        num_classes: int,
        num_examples: int | None = None,
        elr_weight: float = 3.0,
        target_momentum: float = 0.7,
        average_decay: float = 0.997,
        mixup_alpha: float = 1.0,
        ramp_steps: int = 0,
        seed: int = 0,
        average_ramp_steps: int = 0,
        labels_by_targets: bool = False,
        **kwargs,
    ):
        super().__init__(backbones, num_classes, **kwargs)
        self.elr_weight = check_positive(elr_weight, "elr_weight")
        self.target_momentum = check_rate(target_momentum, "target_momentum")
        self.average_decay = check_rate(average_decay, "average_decay")
        self.mixup_alpha = check_weight(mixup_alpha, "mixup_alpha")
        self.ramp_steps = check_integer(ramp_steps, "ramp_steps", minimum=0)
        self.average_ramp_steps = check_integer(
            average_ramp_steps, "average_ramp_steps", minimum=0
        )
        self.labels_by_targets = check_bool(labels_by_targets, "labels_by_targets")
        self.seed = check_integer(seed, "seed", minimum=0)
        self.seed_generator = keras.random.SeedGenerator(self.seed)
        self.owner_weights = (
            likely_owner_weights(self.mixup_alpha) if self.mixup_alpha else [1.0]
        )
        self.targets = [
            ExampleMemory(self.num_classes, num_examples, name=name)
            for name in ("first_targets", "second_targets")
        ]
        self.averages = [copy_of(network) for network in self.networks]

    @property
    def mixes_inputs(self):
        """Whether inputs are mixed."""
        return self.mixup_alpha > 0

    def build(self, input_shape):
        super().build(input_shape)
        for average in self.averages:
            average.build(input_shape)
            leave_to_average(average)

    def prepared(self, arguments):
        """As in all models; averages get what their networks have adapted to data."""
        for network, average in zip(self.networks, self.averages, strict=True):
            copy_adapted_state(network, average)
        return super().prepared(arguments)

    def network_objectives(self, x, y, sample_weight=None):
        """Returns what each network minimizes, and the mean logits of mixtures."""
        self.update_averages()
        ramp = self.ramp()
        sample_weight = weight_of(sample_weight)
        objectives, outputs = [], []
        for number, network in enumerate(self.networks):
            targets = self.moved_targets(number, x, index_of(y))
            mix = self.drawn_mixture(tf.shape(targets)[0])
            mixed_x, targets = keras.tree.map_structure(mix.rows, x), mix.rows(targets)
            features, logits = network(mixed_x, training=True, return_features=True)
            supervised = self.mixed_classification_loss(
                mix, y, logits, sample_weight, targets
            )
            objective = self.joined_loss(supervised, features, logits)
            agreement = agreement_loss(targets, clipped_softmax(logits))
            term = self.elr_weight * ramp * replicas.global_mean(agreement)
            objectives.append(objective + tf.cast(term, objective.dtype))
            outputs.append((features, logits))
        return objectives, mean_logits(outputs)

    def moved_targets(self, number, x, index):
        """Returns a network's targets, once the other one's average has moved them."""
        teacher, memory = self.averages[1 - number], self.targets[number]
        seen = tf.nn.softmax(tf.cast(teacher(x, training=True), "float32"))
        beta = self.target_momentum
        targets = tf.stop_gradient(beta * memory(index) + (1 - beta) * seen)
        memory.write(index, targets)
        return targets

    def drawn_mixture(self, batch_size):
        """Returns a `Mixture` drawn at random."""
        return drawn_mixture(self.owner_weights, batch_size, self.seed_generator)

    def mixed_classification_loss(self, mix, y, logits, sample_weight, targets):
        """Returns the compiled loss by the owners' labels and by their partners'."""
        labels = label_of(y)
        partners = mix.of_partners(labels)
        own_weight = partner_weight = sample_weight
        if sample_weight is not None:
            partner_weight = mix.of_partners(sample_weight)
        share = mix.owner_weights
        if self.labels_by_targets:
            own = share * agreement_of(labels, targets)
            others = (1 - share) * agreement_of(partners, targets)
            shares = tf.math.divide_no_nan(own, own + others)
            # As weights of examples, by which the loss is multiplied.
            own_weight = shares * factors_of(own_weight)
            partner_weight = (1 - shares) * factors_of(partner_weight)
        of_owners = self.classification_loss(labels, logits, own_weight)
        of_partners = self.classification_loss(partners, logits, partner_weight)
        if self.labels_by_targets:
            return of_owners + of_partners
        share = tf.cast(share, of_owners.dtype)
        return share * of_owners + (1 - share) * of_partners

    def ramp(self):
        """Returns the share of ELR's weight that counts in this step."""
        if not self.ramp_steps:
            return 1.0
        return grown(self.optimizer.iterations + 1, self.ramp_steps)

    def update_averages(self):
        """Moves the averages toward the networks, and copies what is not trained.

        As a step begins, so that those of the very first are the networks themselves.
        """
        steps = self.optimizer.iterations  # Those that are done.
        decay = tf.minimum(1 - 1 / (tf.cast(steps, "float32") + 1), self.average_decay)
        if self.average_ramp_steps:
            ramp = grown(steps + 1, self.average_ramp_steps)
            decay = tf.where(steps == 0, 0.0, self.average_decay * ramp)
        for network, average in zip(self.networks, self.averages, strict=True):
            move_average(average, network, decay)


def grown(step, num_steps):
    """Returns `exp(-5 * (1 - step / num_steps)**2)`, and 1 from the last step on."""
    rest = 1.0 - tf.cast(step, "float32") / num_steps
    return tf.exp(-5.0 * tf.maximum(rest, 0.0) ** 2)


def agreement_of(labels, targets):
    """Returns each row's target at its label, `(batch,)`; 0 where there is no label."""
    labels = tf.cast(tf.convert_to_tensor(labels), targets.dtype)
    labels = label_distributions(labels, targets)
    labels = tf.where(tf.math.is_nan(labels), 0.0, labels)
    return tf.reduce_sum(labels * targets, axis=1)
