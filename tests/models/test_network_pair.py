"""NetworkPair: two NCRModels in one step, and the manners of one Keras classifier."""

import keras
import numpy as np
import pytest
from model_harness import (
    assert_close,
    assert_same_variables,
    cross_entropy,
    dense,
    head,
    rich_backbone,
)

from keras_ncr import NCRModel
from keras_ncr.models.network_pair import NetworkPair

X = np.random.default_rng(0).normal(size=(36, 5)).astype("float32")
Y = np.random.default_rng(1).integers(0, 3, 36)
WEIGHTS = np.linspace(0.1, 2.0, 36).astype("float32")
SETTINGS = {"batch_size": 20, "shuffle": False, "verbose": 0}


def small_backbone(seed=1, **kwargs):
    return keras.Sequential([dense(8, seed, activation="relu", **kwargs)])


def compiled(model, run_eagerly=True, optimizer=None):
    model.compile(
        optimizer or keras.optimizers.SGD(0.1, momentum=0.9),
        cross_entropy(),
        metrics=["accuracy"],
        run_eagerly=run_eagerly,
    )
    return model


def make(cls=NetworkPair, backbone=small_backbone, run_eagerly=True, **kwargs):
    pair = cls([backbone(1), backbone(2)], 3, classifier=[head(1), head(2)], **kwargs)
    return compiled(pair, run_eagerly)


def single(seed, backbone=small_backbone, **kwargs):
    return compiled(NCRModel(backbone(seed), 3, classifier=head(seed), **kwargs))


# Training


@pytest.mark.parametrize(
    "policy, alpha, backbone",
    [
        pytest.param("float32", 0.0, small_backbone, marks=pytest.mark.slow),
        ("float32", 0.7, rich_backbone),
        pytest.param("mixed_float16", 0.7, rich_backbone, marks=pytest.mark.slow),
    ],
)
def test_a_pair_trains_as_two_models(policy, alpha, backbone):
    keras.config.set_dtype_policy(policy)
    arguments = {"backbone": backbone, "consistency_weight": alpha, "warmup_epochs": 1}
    pair = make(**arguments)
    models = [single(seed, **arguments) for seed in (1, 2)]
    settings = SETTINGS | {"epochs": 2, "sample_weight": WEIGHTS}
    loss = pair.fit(X, Y, **settings).history["loss"]
    losses = [model.fit(X, Y, **settings).history["loss"] for model in models]
    # In half precision rounding is larger.
    tolerance = 1e-5 if policy == "float32" else 5e-3
    assert_close(loss, np.mean(losses, axis=0), tolerance)
    for network, model in zip(pair.networks, models, strict=True):
        assert_same_variables(network.weights, model.weights, tolerance)


def test_warmup_ends_for_both_networks():
    pair = make(consistency_weight=1.0, warmup_epochs=1)
    pair.build((None, 5))
    # Nothing but consistency trains when the labels count for nothing.
    settings = SETTINGS | {"sample_weight": np.zeros(36)}
    before = [network.get_weights() for network in pair.networks]
    pair.fit(X, Y, epochs=1, **settings)
    for network, weights in zip(pair.networks, before, strict=True):
        np.testing.assert_array_equal(network.get_weights()[0], weights[0])
    pair.fit(X, Y, initial_epoch=1, epochs=2, **settings)
    for network, weights in zip(pair.networks, before, strict=True):
        assert np.abs(network.get_weights()[0] - weights[0]).max() > 1e-5


class Counting(NetworkPair):
    """Has a callback of its own, which counts epochs."""

    def own_callbacks(self):
        self.epochs = []
        count = keras.callbacks.LambdaCallback(
            on_epoch_begin=lambda epoch, logs: self.epochs.append(epoch)
        )
        return [count]


@pytest.mark.parametrize("as_list", [False, True], ids=["given none", "CallbackList"])
def test_own_callbacks_are_called(as_list):
    pair = make(Counting)
    callbacks = (
        keras.callbacks.CallbackList(add_history=True, model=pair) if as_list else None
    )
    pair.fit(X, Y, epochs=2, callbacks=callbacks, **SETTINGS)
    assert pair.epochs == [0, 1]


# A Keras classifier


@pytest.mark.parametrize("classifier", ["linear", "cosine"])
def test_a_named_classifier_is_made_twice(classifier):
    pair = NetworkPair([small_backbone(1), small_backbone(2)], 3, classifier=classifier)
    assert pair(X).shape == (36, 3)
    first, second = (network.classifier for network in pair.networks)
    assert first is not second


def test_a_feature_map_is_averaged():
    backbones = [keras.layers.Conv2D(4, 2, activation="relu") for _ in range(2)]
    assert NetworkPair(backbones, 3)(np.zeros((2, 5, 5, 1))).shape == (2, 3)


# What is refused

SHARED = small_backbone()


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"backbones": [SHARED, SHARED]}, "`backbones` must be two different ones"),
        ({"backbones": [SHARED]}, "Construct it twice"),
        ({"backbones": SHARED}, "`backbones` must be two"),
        ({"backbones": ["a", "b"]}, "`backbones` must be a Keras layer"),
        ({"classifier": [SHARED, SHARED]}, "`classifier` must be two different ones"),
        ({"classifier": "nearest"}, '`classifier` must be "linear"'),
        ({"num_classes": 1}, "num_classes=1"),
        ({"consistency_weight": 2}, "consistency_weight=2"),
    ],
)
def test_wrong_arguments_are_refused(arguments, message):
    backbones = [small_backbone(1), small_backbone(2)]
    with pytest.raises(ValueError, match=message):
        NetworkPair(**{"backbones": backbones, "num_classes": 3} | arguments)
