"""DivideMix: two networks; each learns from the labels that the other one trusts."""

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
from keras_ncr.distribution import replicas
from keras_ncr.distribution.targets import label_of, weight_of
from keras_ncr.losses.labels import label_distributions
from keras_ncr.models.co_divide import CoDivide, clean_probabilities, normalized
from keras_ncr.models.example_memory import ExampleMemory, index_of
from keras_ncr.models.fitting import counts_in_loss
from keras_ncr.models.mix_match import entropy, mean_of_views, mix_match_loss, sharpen
from keras_ncr.models.network_pair import NetworkPair, mean_logits
from keras_ncr.models.views import one_view
from keras_ncr.pipelines.mixture import Mixture, drawn_mixture, likely_owner_weights

# No cross-entropy is negative: this stands for one that is not known.
NOT_KNOWN = -1.0


@keras.saving.register_keras_serializable(package="keras_ncr")
class DivideMixModel(NetworkPair):
    """Two networks trained by DivideMix: doubtful labels are replaced by guesses.

    After `warmup_epochs` of the compiled loss alone, each epoch begins with a division:
    two Gaussians are fitted to the losses that a network has on all training examples,
    and `w_i` is the probability that label i is right. Each network then trains on the
    division by the other one. An example with `w_i` above `threshold` keeps its label,
    mixed with the network's own prediction; the others get what both predict:

        t_i = sharpen(w_i * y_i + (1 - w_i) * own p_i)    or    sharpen(mean p_i)
        sharpen(p) = p**(1 / T) / sum of the same

    where predictions are means over the views of an example. One without a label, which
    the loss ignores by its `ignore_class`, is never trusted. All rows are mixed with
    others as in mixup, `v = max(u, 1 - u)` of their own, u ~ Beta(a, a), and count as
    what the owner is. A network minimizes

        cross-entropy of labeled rows
            + unlabeled_weight * ramp * squared error of unlabeled rows
            + sum_c pi_c * log(pi_c / mean predicted probability of c),    pi_c = 1 / C

    The first term's place is that of the classification loss in eq. 4 if
    `consistency_weight` is above 0, which joins NCR on the mixed rows.

    What differs from the released code: it draws labeled and unlabeled examples by
    separate loaders, as many of one as of the other, and trains one network for an
    epoch and then the other. Here a batch holds both, in the shares that the data have,
    and the networks train side by side. Both predict as in training, where there the
    one that is not trained predicts as in evaluation. `ramp` counts whole epochs.

    `fit` on arrays does all by itself. On a `tf.data.Dataset`, pass `num_examples`,
    batches with targets `{"label": ..., "index": ...}`, and a `CoDivide`. The paper has
    two views of each example: `num_views=2`, with the views in neighboring rows, as
    `pipelines.views_of` and `views_in_rows` make them; warm-up takes the first.
    Inputs are mixed, so they have to be numbers such as pixels.
    `clean_probabilities.rows`, of shape `(num_examples, 2)`, has the latest `w` by each
    network's losses.

    Args:
        backbones: As in `NetworkPair`.
        num_classes: As in `NetworkPair`.
        num_examples: As in `ELRModel`.
        warmup_epochs: Int: epochs of the compiled loss alone, before any division, and
            before consistency if there is any. Defaults to 10, the released code's for
            CIFAR-10; it has 30 for CIFAR-100 and 1 for Clothing1M and WebVision.
        unlabeled_weight: Float, at least 0 (lambda_u). It has to fit the noise; the
            authors have on CIFAR-10 0 for 20 % symmetric and 40 % asymmetric noise and
            25 for 50 and 80 %; on CIFAR-100 25 for 20 % and 150 for more; and 0 on
            Clothing1M and WebVision. Defaults to 25.
        threshold: Float in [0, 1] (tau). Defaults to 0.5, the released code's.
        sharpening_temperature: Float above 0 (T). Defaults to 0.5, the paper's.
        mixup_alpha: Float above 0 (a). Defaults to 4, the paper's for CIFAR; it has
            0.5 for Clothing1M and WebVision.
        ramp_epochs: Int: epochs after warm-up over which `ramp` grows from 0 to 1.
            Defaults to 16, the released code's.
        num_views: Int: rows of a training batch per example. Defaults to 1.
        penalize_confidence: Bool. Whether the entropy of predictions is rewarded during
            warm-up, as the paper has it for asymmetric noise. Defaults to `False`.
        averaged_epochs: Int: epochs over whose losses is averaged before Gaussians are
            fitted. Defaults to 1; the released code has 5 for 90 % noise.
        seed: Int, for mixing and for the fit of the Gaussians. Defaults to 0.
        **kwargs: As in `NetworkPair`.

    Raises:
        ValueError: If an argument is out of its range, or, in `fit`, examples cannot be
            numbered, counted or divided.

    Reference:
        - [Li et al., 2020](https://arxiv.org/abs/2002.07394)

    Example:
    >>> backbones = [
    ...     keras.Sequential([keras.layers.Dense(16, activation="relu")])
    ...     for _ in range(2)
    ... ]
    >>> model = keras_ncr.models.DivideMixModel(backbones, 3, warmup_epochs=1)
    >>> model.compile(
    ...     optimizer="sgd",
    ...     loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    ...     metrics=["accuracy"],
    ... )
    >>> x, y = np.random.default_rng(0).normal(size=(32, 5)), np.arange(32) % 3
    >>> history = model.fit(x, y, epochs=2, verbose=0)
    >>> model.clean_probabilities.rows.numpy().shape
    (32, 2)
    """

    mixes_inputs = True
    whole_set = CoDivide

    def __init__(
        self,
        backbones: list,
        num_classes: int,
        num_examples: int | None = None,
        warmup_epochs: int = 10,
        unlabeled_weight: float = 25.0,
        threshold: float = 0.5,
        sharpening_temperature: float = 0.5,
        mixup_alpha: float = 4.0,
        ramp_epochs: int = 16,
        num_views: int = 1,
        penalize_confidence: bool = False,
        averaged_epochs: int = 1,
        seed: int = 0,
        **kwargs,
    ):
        super().__init__(backbones, num_classes, warmup_epochs=warmup_epochs, **kwargs)
        self.unlabeled_weight = check_weight(unlabeled_weight, "unlabeled_weight")
        self.threshold = check_rate(threshold, "threshold")
        self.sharpening_temperature = check_positive(
            sharpening_temperature, "sharpening_temperature"
        )
        self.mixup_alpha = check_positive(mixup_alpha, "mixup_alpha")
        self.owner_weights = likely_owner_weights(self.mixup_alpha)
        self.ramp_epochs = check_integer(ramp_epochs, "ramp_epochs", minimum=0)
        self.num_views = check_integer(num_views, "num_views", minimum=1)
        self.penalize_confidence = check_bool(
            penalize_confidence, "penalize_confidence"
        )
        self.averaged_epochs = check_integer(
            averaged_epochs, "averaged_epochs", minimum=1
        )
        self.seed = check_integer(seed, "seed", minimum=0)
        self.seed_generator = keras.random.SeedGenerator(self.seed)
        self.clean_probabilities = ExampleMemory(2, num_examples)
        self.past_losses = ExampleMemory(
            2 * self.averaged_epochs,
            num_examples,
            keras.initializers.Constant(NOT_KNOWN),
        )
        self.current_epoch = self.add_weight(
            shape=(), dtype="int32", initializer="zeros", trainable=False, name="epoch"
        )
        # In Python, so that warm-up does not pay for the steps of later epochs.
        self.is_divided = False

    def prepared(self, arguments):
        """As in all models, but for views in arrays."""
        if arguments["y"] is not None and self.num_views > 1:
            raise ValueError(
                "`x` must be a dataset of batches where `num_views` is above 1: `fit` "
                "shuffles arrays, which parts the views. Received: arrays, and "
                f"num_views={self.num_views}. Pass batches with the views of an "
                "example in neighboring rows, as `pipelines.second_view` makes "
                "them."
            )
        return super().prepared(arguments)

    def begin_epoch(self, epoch, num_epochs=None):
        """Sets the epoch, counted from 0, and with it what the next steps do.

        Returns how many divisions came before the one that is due; or `None`.
        """
        self.current_epoch.assign(epoch)
        is_divided = epoch >= self.warmup_epochs
        if is_divided != self.is_divided:
            self.is_divided = is_divided
            self.trace_anew()
        return epoch - self.warmup_epochs if is_divided else None

    def losses_of_networks(self, inputs, labels):
        """Returns both networks' cross-entropy, `(batch, 2)`, as in evaluation."""
        is_labeled = counts_in_loss(self.loss, labels)
        losses = []
        for logits in self.all_logits(inputs, training=False):
            logits = tf.cast(logits, "float32")
            distributions = label_distributions(tf.cast(labels, "float32"), logits)
            loss = tf.nn.softmax_cross_entropy_with_logits(distributions, logits)
            losses.append(tf.where(is_labeled, loss, NOT_KNOWN))
        return tf.stack(losses, axis=1)

    def divide(self, losses, is_first=False):
        """Decides anew how probable it is of each label that it is right.

        Args:
            losses: Array of shape `(num_examples, 2)`: both networks' cross-entropy;
                -1 for an example without a label, which is never trusted.
            is_first: Bool. Whether losses of earlier epochs do not count.
        """
        is_labeled = losses[:, 0] != NOT_KNOWN
        if not np.any(is_labeled):
            raise ValueError(
                "`y` must hold a label for some examples. Received: none that the loss "
                "does not ignore."
            )
        losses = np.stack([normalized(one, is_labeled) for one in losses.T], axis=1)
        if self.averaged_epochs > 1:
            past = self.past_losses.rows.numpy().reshape(-1, self.averaged_epochs, 2)
            past = np.full_like(past, NOT_KNOWN) if is_first else past
            past = np.concatenate([past[:, 1:], losses[:, None]], axis=1)
            self.past_losses.rows.assign(past.reshape(len(past), -1))
            is_known = past[np.argmax(is_labeled), :, 0] != NOT_KNOWN
            losses = past[:, is_known].mean(axis=1)
        probabilities = np.zeros(losses.shape)
        probabilities[is_labeled] = np.stack(
            [clean_probabilities(one[is_labeled], self.seed) for one in losses.T],
            axis=1,
        )
        self.clean_probabilities.rows.assign(probabilities)

    def network_objectives(self, x, y, sample_weight=None):
        """Returns what each network minimizes in the current phase, and the logits."""
        if not self.is_divided:
            return self.warmup_objectives(x, y, sample_weight)
        # Each network sees the rows as they are, to make targets, and then mixed ones.
        seen = [tf.stop_gradient(logits) for logits in self.all_logits(x, True)]
        objectives = []
        targets, is_labeled = self.targets(
            y, [tf.nn.softmax(tf.cast(logits, "float32")) for logits in seen]
        )
        weight = weight_of(sample_weight)
        for network, target, labeled in zip(
            self.networks, targets, is_labeled, strict=True
        ):
            mixed_x, mixed_target = self.mixed(x, target)
            features, logits = network(mixed_x, training=True, return_features=True)
            loss = mix_match_loss(
                tf.cast(logits, "float32"),
                mixed_target,
                labeled,
                self.current_weight(),
                weight,
            )
            loss = tf.cast(loss, keras.config.floatx())
            objectives.append(self.joined_loss(loss, features, logits))
        return objectives, (seen[0] + seen[1]) / 2

    def warmup_objectives(self, x, y, sample_weight=None):
        """Returns the objectives before the first division, as `network_objectives`.

        They have one view of each example.
        """
        if self.num_views > 1:
            x, y, sample_weight = one_view((x, y, sample_weight), 0, self.num_views)
        outputs = self.features_and_logits(x)
        objectives = []
        for features, logits in outputs:
            loss = self.classification_loss(y, logits, sample_weight)
            if self.penalize_confidence:
                loss -= replicas.global_mean(entropy(logits))
            objectives.append(self.joined_loss(loss, features, logits))
        return objectives, tf.repeat(mean_logits(outputs), self.num_views, axis=0)

    def targets(self, y, predictions):
        """Returns co-refined labels and guesses, and which rows are labeled.

        `predictions` are both networks' probabilities; both results are lists with an
        entry for each network.
        """
        predictions = [mean_of_views(p, self.num_views) for p in predictions]
        labels = tf.cast(tf.convert_to_tensor(label_of(y)), "float32")
        labels = label_distributions(labels, predictions[0])
        probabilities = self.clean_probabilities(index_of(y))
        guess = (predictions[0] + predictions[1]) / 2
        targets, is_labeled = [], []
        for own, prediction in enumerate(predictions):
            trust = probabilities[:, 1 - own]  # By the other network's losses.
            labeled = trust > self.threshold
            refined = trust[:, None] * labels + (1 - trust[:, None]) * prediction
            target = tf.where(labeled[:, None], refined, guess)
            targets.append(sharpen(target, self.sharpening_temperature))
            is_labeled.append(labeled)
        return targets, is_labeled

    def mixed(self, x, targets):
        """Returns inputs and targets, each row mixed with one of the global batch."""
        has_others = replicas.has_other_replicas()
        gather = replicas.gather_replicas if has_others else tf.identity
        everything = keras.tree.map_structure(
            lambda rows: gather(tf.cast(rows, "float32")), (x, targets)
        )
        rows = tf.shape(keras.tree.flatten(everything)[0])[0]
        mix = self.drawn_mixture(rows)
        if has_others:
            # All replicas draw the same numbers; each needs those of its own rows.
            first = replicas.first_of_replica(targets)
            own = first + tf.range(tf.shape(targets)[0])
            mix = Mixture(mix.owner_weights, tf.gather(mix.partners, own))
        return keras.tree.map_structure(mix.rows, (x, targets), everything)

    def drawn_mixture(self, num_rows):
        """Returns a `Mixture` drawn at random."""
        return drawn_mixture(self.owner_weights, num_rows, self.seed_generator)

    def current_weight(self):
        """Returns `unlabeled_weight`, as far as the ramp has come in this epoch."""
        since = tf.cast(self.current_epoch.value - self.warmup_epochs, "float32")
        # A ramp of no epochs is at its end at once.
        ramp = tf.clip_by_value(since / max(self.ramp_epochs, 1), 0.0, 1.0)
        return self.unlabeled_weight * (ramp if self.ramp_epochs else 1.0)
