"""ELR+: steps by hand, the averages' course, and the manners of a Keras classifier."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
from model_harness import (
    accuracy_of_a_pair,
    assert_close,
    assert_same_variables,
    cross_entropy,
    dense,
    linear_pair,
)

import keras_ncr
from keras_ncr.models import ELRPlusModel, NetworkPair
from keras_ncr.pipelines.mixture import Mixture

X = np.random.default_rng(0).normal(size=(12, 4)).astype("float32")
Y = np.random.default_rng(1).integers(0, 3, 12)
WEIGHTS = np.linspace(0.5, 2.0, 12).astype("float32")
SETTINGS = {"batch_size": 12, "shuffle": False, "verbose": 0}
RATE = 0.1


make = functools.partial(linear_pair, ELRPlusModel)


# Steps by hand


class Fixed(ELRPlusModel):
    """Mixes with the next row, by a weight of 0.7 in the first network, 0.6 after."""

    def drawn_mixture(self, batch_size):
        self.turn = getattr(self, "turn", 0) + 1
        weight = 0.7 if self.turn % 2 else 0.6
        return Mixture(tf.constant(weight), tf.roll(tf.range(batch_size), -1, axis=0))


def linear(weights, x):
    kernel, bias, head, head_bias = weights
    features = x @ kernel + bias
    return features, features @ head + head_bias


def clipped(logits):
    return tf.clip_by_value(tf.nn.softmax(logits), 1e-4, 1 - 1e-4)


def grown(step, num_steps):
    return np.exp(-5 * (1 - min(step / num_steps, 1)) ** 2)


def by_hand(networks, num_steps, weights, alpha, ramp_steps, by_targets=False):
    """Returns each step's loss, and the weights, targets and averages at the end.

    Decay and ramp count the step itself, from 1, and targets move by softmax as it is:
    `update_ema_variables`, `_train_epoch` and `update_hist` of the released code
    (https://github.com/shengliu66/ELR, ELR_plus/trainer/trainer.py, model/loss.py).
    """
    networks = [[tf.constant(w) for w in network] for network in networks]
    averages = networks
    targets = [np.zeros((12, 3)), np.zeros((12, 3))]
    partners = [*range(1, 12), 0]
    losses = []
    for step in range(num_steps):
        decay = min(1 - 1 / (step + 1), 0.9)
        averages = [
            [decay * mean + (1 - decay) * w for mean, w in zip(*pair, strict=True)]
            for pair in zip(averages, networks, strict=True)
        ]
        ramp = grown(step + 1, ramp_steps) if ramp_steps else 1.0
        moved, total = [], 0.0
        for own, w in [(0, 0.7), (1, 0.6)]:
            seen = tf.nn.softmax(linear(averages[1 - own], X)[1]).numpy()
            targets[own] = 0.7 * targets[own] + 0.3 * seen
            q = w * targets[own] + (1 - w) * targets[own][partners]
            with tf.GradientTape() as tape:
                tape.watch(networks[own])
                mixed = w * X + (1 - w) * X[partners]
                features, logits = linear(networks[own], mixed)
                log_p = tf.nn.log_softmax(logits)
                labels = weights[:, None] * np.eye(3, dtype="float32")[Y]
                labels = w * labels + (1 - w) * labels[partners]
                if by_targets:  # `forward` of the released loss, with 100 classes.
                    sums = labels.sum(axis=1, keepdims=True)
                    labels = labels * q / (labels * q).sum(axis=1, keepdims=True) * sums
                supervised = -tf.reduce_sum(labels * log_p) / 12
                consistency = tf.reduce_mean(
                    keras_ncr.losses.neighbor_consistency(features, logits)
                )
                agreement = tf.reduce_sum(q * clipped(logits), axis=1)
                term = 2.0 * ramp * tf.reduce_mean(tf.math.log(1 - agreement))
                loss = (1 - alpha) * supervised + alpha * consistency + term
            gradients = tape.gradient(loss, networks[own])
            moved.append(
                [v - RATE * g for v, g in zip(networks[own], gradients, strict=True)]
            )
            total += float(loss) / 2
        networks = moved
        losses.append(total)
    return losses, networks, targets, averages


@pytest.mark.parametrize(
    "alpha, ramp_steps, weighted, by_targets",
    [(0.0, 0, False, False), (0.6, 2, True, False), (0.0, 3, False, True)],
)
def test_steps_are_those_by_hand(alpha, ramp_steps, weighted, by_targets):
    model = Fixed(
        [dense(6, 1), dense(6, 2)],
        3,
        elr_weight=2.0,
        average_decay=0.9,
        ramp_steps=ramp_steps,
        labels_by_targets=by_targets,
        consistency_weight=alpha,
        classifier=[dense(3, 3), dense(3, 4)],
    )
    model.compile(keras.optimizers.SGD(RATE), cross_entropy(), run_eagerly=True)
    model(X)
    start = [network.get_weights() for network in model.networks]
    weights = WEIGHTS if weighted else np.ones(12, "float32")
    given = {"sample_weight": WEIGHTS} if weighted else {}
    history = model.fit(X, Y, epochs=4, **SETTINGS, **given).history
    losses, networks, targets, averages = by_hand(
        start, 4, weights, alpha, ramp_steps, by_targets
    )
    assert_close(history["loss"], losses)
    for own in range(2):
        assert_same_variables(model.networks[own].weights, networks[own])
        assert_same_variables(model.averages[own].weights, averages[own])
        assert_close(model.targets[own].rows.numpy(), targets[own])


def test_targets_are_those_of_the_other_network():
    model = make(target_momentum=0.0)
    second = tf.nn.softmax(model.networks[1](X)).numpy()
    model.fit(X, Y, **SETTINGS)
    assert_close(model.targets[0].rows.numpy(), second)


def test_targets_follow_the_index_of_an_example():
    model = make(num_examples=20)
    index = np.arange(12)[::-1] + 5
    model.fit(X, {"label": Y, "index": index}, **SETTINGS)
    other = make()
    other.fit(X, Y, **SETTINGS)
    expected = other.targets[0].rows.numpy()
    assert_close(model.targets[0].rows.numpy()[index], expected)
    assert not model.targets[0].rows.numpy()[:5].any()


# Averages


def normalized_backbone(seed):
    return keras.Sequential(
        [dense(6, seed), keras.layers.BatchNormalization(momentum=0.5)]
    )


def test_moving_statistics_are_copied_and_weights_averaged():
    backbones = [normalized_backbone(1), normalized_backbone(2)]
    model = make(backbones=backbones, average_decay=1.0)
    model.fit(X, Y, epochs=3, **SETTINGS)
    model.update_averages()
    network, average = model.networks[0], model.averages[0]
    for weight, mean in zip(network.weights, average.weights, strict=True):
        if "kernel" in weight.path:
            assert np.abs(weight.numpy() - mean.numpy()).max() > 1e-5, weight.path
        elif "moving" in weight.path:
            np.testing.assert_array_equal(weight.numpy(), mean.numpy())


def test_the_decay_grows_as_in_the_released_configs_of_cifar():
    """`ema_update` is true there: 0.997 * exp(-5 * (1 - (s + 1) / 40000)**2)."""
    model = make(average_ramp_steps=40, average_decay=0.9)
    model(X)
    model.fit(X, Y, epochs=1, **SETTINGS)
    network, average = model.networks[0].weights[0], model.averages[0].weights[0]
    average.assign(tf.zeros_like(average))
    for steps, expected in [(19, 0.9 * np.exp(-1.25)), (39, 0.9), (500, 0.9)]:
        model.optimizer.iterations.assign(steps)
        average.assign(tf.zeros_like(average))
        model.update_averages()
        assert_close(average, (1 - expected) * network.numpy())


def test_averages_predict_as_in_training():
    """By the batch's statistics: the released code leaves them in train mode."""
    backbones = [normalized_backbone(1), normalized_backbone(2)]
    model = make(backbones=backbones, target_momentum=0.0)
    model(X)
    hidden = model.networks[1].backbone.layers[0](X).numpy()
    normalized = (hidden - hidden.mean(0)) / np.sqrt(hidden.var(0) + 1e-3)
    expected = tf.nn.softmax(model.networks[1].classifier(normalized))
    model.fit(X, Y, **SETTINGS)
    assert_close(model.targets[0].rows.numpy(), expected)


def with_input(*before, after=()):
    layers = [keras.Input((4,)), *before, dense(6, 1, name="features"), *after]
    return keras.Sequential(layers)


def adapted():
    layer = keras.layers.Normalization()
    layer.adapt(10 * X + 50)
    return layer


def with_lora():
    backbone = with_input()
    backbone.layers[0].enable_lora(2)
    return backbone


@pytest.mark.parametrize(
    "backbone",
    [lambda: with_input(adapted()), with_lora],
    ids=["adapted to data", "with LoRA"],
)
def test_averages_predict_as_their_networks_at_first(backbone):
    model = make(backbones=[backbone(), backbone()], average_decay=0.0)
    model.optimizer.learning_rate = 0.0
    model.fit(X, Y, **SETTINGS)
    for network, average in zip(model.networks, model.averages, strict=True):
        assert_close(average(X), network(X))


def test_what_is_adapted_later_reaches_the_averages():
    layer = keras.layers.Normalization()
    model = make(backbones=[with_input(layer), with_input(adapted())])
    layer.adapt(10 * X + 50)
    model.optimizer.learning_rate = 0.0
    model.fit(X, Y, **SETTINGS)
    assert_close(model.averages[0](X), model.networks[0](X))


def test_weights_that_appear_later_are_refused():
    backbones = [with_input(), with_input()]
    model = make(backbones=backbones)
    backbones[0].layers[0].enable_lora(2)
    with pytest.raises(ValueError, match="layer 'features' .*lora_.* Enable LoRA"):
        model.fit(X, Y, **SETTINGS)


class Blocks(keras.layers.Layer):
    """A layer whose own layers get other names in each copy."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.first, self.second = keras.layers.Dense(5), keras.layers.Dense(6)

    def call(self, inputs):
        return self.second(self.first(inputs))


def test_layers_within_layers_are_averaged_by_their_place():
    with keras.saving.custom_object_scope({"Blocks": Blocks}):
        model = make(backbones=[Blocks(), Blocks()], average_decay=0.0)
    model.fit(X, Y, **SETTINGS)
    model.update_averages()
    assert_close(model.averages[0](X), model.networks[0](X))


def test_averages_are_not_trained():
    backbones = [normalized_backbone(1), normalized_backbone(2)]
    model = make(backbones=backbones)
    model(X)
    trained = sum(len(network.trainable_weights) for network in model.networks)
    assert len(model.trainable_weights) == trained
    assert not model.averages[0].trainable_weights


@pytest.mark.parametrize("decay", [0.0, 1.0])
def test_averages_start_as_the_networks(decay):
    model = make(average_decay=decay)
    model(X)
    start = model.networks[0].get_weights()
    model.fit(X, Y, **SETTINGS)
    for mean, weight in zip(model.averages[0].get_weights(), start, strict=True):
        np.testing.assert_array_equal(mean, weight)


# Mixing


@pytest.mark.parametrize("alpha", [0.01, 0.2, 1.0])
def test_owners_weigh_half_or_more_as_the_beta_distribution_has_it(alpha):
    model = make(mixup_alpha=alpha)
    draw = tf.function(lambda: model.drawn_mixture(4).owner_weights, autograph=False)
    weights = [float(draw()) for _ in range(300)]
    assert 0.5 <= min(weights) and max(weights) <= 1.0
    # E max(v, 1 - v) by numerical means.
    drawn = np.random.default_rng(0).beta(alpha, alpha, 100_000)
    assert np.mean(weights) == pytest.approx(
        np.mean(np.maximum(drawn, 1 - drawn)), 0.05
    )


def test_mixing_compiles_with_xla():
    model = make()
    draw = tf.function(
        lambda: model.drawn_mixture(6).rows(tf.range(6)), autograph=False
    )
    compiled = tf.function(draw, jit_compile=True, autograph=False)
    assert compiled().shape == (6,)


def test_partners_are_a_permutation_and_draws_differ():
    model = make()
    first, second = model.drawn_mixture(12), model.drawn_mixture(12)
    assert sorted(first.partners.numpy()) == list(range(12))
    assert list(first.partners.numpy()) != list(second.partners.numpy())
    assert float(first.owner_weights) != float(second.owner_weights)
    again = make().drawn_mixture(12)
    np.testing.assert_array_equal(again.partners, first.partners)
    other = make(seed=1).drawn_mixture(12)
    assert list(other.partners.numpy()) != list(first.partners.numpy())


# A Keras classifier


def test_variables_hold_all_that_training_changes():
    """A resumed run is bit-equal: what the checkpoint of a run saves is enough."""
    model = make()
    model.fit(X, Y, epochs=2, **SETTINGS)
    state = [*model.variables, *model.optimizer.variables]
    values = [variable.numpy() for variable in state]
    first = model.fit(X, Y, epochs=2, **SETTINGS).history["loss"]
    for variable, value in zip(state, values, strict=True):
        variable.assign(value)
    assert model.fit(X, Y, epochs=2, **SETTINGS).history["loss"] == first


def test_predictions_are_without_the_averages():
    model = make()
    model.fit(X, Y, epochs=2, **SETTINGS)
    first, second = (network(X) for network in model.networks)
    assert_close(model.predict(X, verbose=0), (first + second) / 2)


# What is refused


class Unknown(keras.layers.Dense):
    """A layer that Keras is not told of, and cannot load."""


def test_backbones_that_cannot_be_copied_are_refused():
    with pytest.raises(ValueError, match="`backbones` must be such.*'Unknown'"):
        make(backbones=[Unknown(6), Unknown(6)])


# Learning


@pytest.mark.slow
def test_it_learns_better_than_cross_entropy_from_wrong_labels():
    plain, regularized = [
        accuracy_of_a_pair(cls, keras.optimizers.SGD(0.1, momentum=0.9))
        for cls in (NetworkPair, ELRPlusModel)
    ]
    assert regularized > plain + 0.1
