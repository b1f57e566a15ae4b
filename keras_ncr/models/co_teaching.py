"""Co-teaching: two networks that choose for each other what to learn from."""

import keras
import tensorflow as tf

from keras_ncr.checks import check_bool, check_integer, check_rate
from keras_ncr.distribution import replicas
from keras_ncr.distribution.targets import factors_of, label_of
from keras_ncr.models.fitting import counts_in_loss
from keras_ncr.models.network_pair import NetworkPair, mean_logits


@keras.saving.register_keras_serializable(package="keras_ncr")
class CoTeachingModel(NetworkPair):
    """Two networks, each trained on what the other one finds easy.

    In every batch a network keeps the examples of smallest loss, and the OTHER network
    learns from these: their losses are averaged over those kept. In epoch t, counted
    from 0, the share kept is

        R(t) = 1 - forget_rate * min((t + 1) / (ramp_epochs - 1), 1)

    as in the released code, which counts from 0 as well, and trains from epoch 1 on:
    with 10 epochs of ramp it forgets a ninth of the rate in the first epoch of
    training, and all of it in the ninth. Right labels are fitted first, so those of
    large loss are mostly wrong ones; and two networks do not make the same mistakes.

    The share is one of the global batch, under a `tf.distribute` strategy too. It is
    rounded down to whole examples, but to one at least; of equal losses the earlier
    example is kept. Labels that the loss ignores, by its `ignore_class`, are neither
    kept nor counted. Sample weights act on the losses of those kept, not on the choice.
    With `consistency_weight` above 0, NCR is joined: eq. 4 with this classification
    loss, and neighbor consistency of the whole batch, since it needs no label.

    The released code divides by the number kept twice, which Adam hides; here it is
    done once. It reports the accuracy of each network, and so predictions are those of
    one: the mean of both, an ensemble, is better than what papers print.

    Args:
        backbones: As in `NetworkPair`.
        num_classes: As in `NetworkPair`.
        forget_rate: Float in [0, 1) (the paper's tau): the share of labels that are
            wrong, known or estimated. It has no default, since no value is good for
            all data.
        ramp_epochs: Int, at least 0 (the paper's T_k): epochs over which the share
            forgotten grows from 0, before training, to `forget_rate`. Defaults to 10,
            the paper's.
        ensemble: Bool. Whether predictions are the mean of both networks' logits, and
            not the first network's. Defaults to `False`; `all_logits` returns both.
        **kwargs: As in `NetworkPair`, `consistency_weight` for example.

    Raises:
        ValueError: If an argument is out of its range or missing; in training, if the
            compiled loss is not one for each example.

    Reference:
        - [Han et al., 2018](https://arxiv.org/abs/1804.06872), Algorithm 1.

    Example:
    >>> backbones = [
    ...     keras.Sequential([keras.layers.Dense(16, activation="relu")])
    ...     for _ in range(2)
    ... ]
    >>> model = keras_ncr.models.CoTeachingModel(
    ...     backbones, num_classes=3, forget_rate=0.4
    ... )
    >>> model.compile(
    ...     optimizer="adam",
    ...     loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    ... )
    >>> x, y = np.random.default_rng(0).normal(size=(32, 5)), np.arange(32) % 3
    >>> history = model.fit(x, y, epochs=2, verbose=0)
    >>> [round(model.forget_rate_at(epoch), 2) for epoch in (0, 5, 10, 20)]
    [0.04, 0.27, 0.4, 0.4]
    """

    def __init__(
        self,
        backbones: list,
        num_classes: int,
        forget_rate: float,
        ramp_epochs: int = 10,
        ensemble: bool = False,
        **kwargs,
    ):
        super().__init__(backbones, num_classes, **kwargs)
        if forget_rate is None or check_rate(forget_rate, "forget_rate") == 1:
            raise ValueError(
                "`forget_rate` must be the share of labels that are wrong, below 1. "
                f"Received: forget_rate={forget_rate!r}. If it is not known, estimate "
                "it on some examples that you look at."
            )
        self.forget_rate = float(forget_rate)
        self.ramp_epochs = check_integer(ramp_epochs, "ramp_epochs", minimum=0)
        self.ensemble = check_bool(ensemble, "ensemble")
        # A plain variable, as the weight of the consistency loss: it belongs to the run
        # of `fit`, which sets it every epoch. Loops without `fit` assign it themselves.
        self.current_forget_rate = tf.Variable(self.forget_rate_at(0), trainable=False)

    def forget_rate_at(self, epoch: int) -> float:
        """Returns the share that is forgotten in `epoch`, counted from 0."""
        if epoch + 1 >= self.ramp_epochs - 1:
            return self.forget_rate
        return self.forget_rate * (epoch + 1) / (self.ramp_epochs - 1)

    def call(self, inputs, training=None):
        if self.ensemble:
            return super().call(inputs, training=training)
        return self.networks[0](inputs, training=training)

    def own_callbacks(self):
        """Returns those of all models, and one that sets the share forgotten."""
        return [*super().own_callbacks(), ForgetRateSchedule()]

    def network_objectives(self, x, y, sample_weight=None):
        """Returns each network's loss on what the other one keeps, and the logits."""
        outputs = self.features_and_logits(x)
        labels = label_of(y)
        is_labeled = counts_in_loss(self.loss, labels)
        objectives = []
        for (features, logits), (_, teacher_logits) in zip(
            outputs, reversed(outputs), strict=True
        ):
            losses = example_losses(self.loss, labels, teacher_logits)
            weights = kept_weights(losses, 1 - self.current_forget_rate, is_labeled)
            weights *= factors_of(sample_weight, weights.dtype)
            supervised = self.classification_loss(y, logits, weights)
            objectives.append(self.joined_loss(supervised, features, logits))
        (_, first), _ = outputs
        logits = mean_logits(outputs) if self.ensemble else tf.stop_gradient(first)
        return objectives, logits


class ForgetRateSchedule(keras.callbacks.Callback):
    """Sets a `CoTeachingModel`'s share forgotten as an epoch begins."""

    def on_epoch_begin(self, epoch, logs=None):
        self.model.current_forget_rate.assign(self.model.forget_rate_at(epoch))


def example_losses(loss, labels, logits):
    """Returns the compiled loss of each example, without a gradient, or raises."""
    is_one = not isinstance(loss, dict | list | tuple)
    function = keras.losses.get(loss) if is_one else None
    if isinstance(function, keras.losses.Loss):
        # It averages over the batch when it is called; its `call` does not, and takes
        # what has its dtype.
        labels = tf.cast(labels, function.dtype)
        logits = tf.cast(logits, function.dtype)
        function = function.call
    losses = function(labels, logits) if callable(function) else None
    if losses is None or losses.shape.rank != 1:
        raise ValueError(
            "`loss` must be a loss with one value per example, of which the smallest "
            f"are chosen. Received: loss={loss!r}. Pass for example "
            "keras.losses.SparseCategoricalCrossentropy(from_logits=True)."
        )
    return tf.stop_gradient(losses)


def kept_weights(losses, share, is_labeled=None):
    """Returns weights that average a loss over its smallest `share` of labeled rows."""
    # They are 0 for examples not kept, and one number for the rest.
    is_labeled = tf.ones_like(losses, "bool") if is_labeled is None else is_labeled
    first, pool = 0, tf.where(is_labeled, losses, losses.dtype.max)
    if replicas.has_other_replicas():
        first = replicas.first_of_replica(losses)
        pool = replicas.gather_replicas(pool)
    num_labeled = tf.reduce_sum(tf.cast(is_labeled, "float32"))
    if replicas.has_other_replicas():
        num_labeled = replicas.global_sum(num_labeled)
    # The share is of single precision: a whole number may miss itself by that much.
    num_kept = tf.floor(tf.cast(share, "float32") * num_labeled + 1e-3)
    num_kept = tf.maximum(num_kept, 1.0)
    # The place of each example in the order of losses.
    ranks = tf.math.invert_permutation(tf.argsort(pool, stable=True))
    own_ranks = ranks[first : first + tf.size(losses)]
    is_kept = is_labeled & (tf.cast(own_ranks, "float32") < num_kept)
    # `classification_loss` is going to divide by the number of labeled examples.
    return tf.where(is_kept, num_labeled / num_kept, 0.0)
