"""Half precision, accumulated gradients and averaged weights: all of them train."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
from model_harness import cross_entropy, dense, head

from keras_ncr import ELRModel, NCRModel
from keras_ncr.losses import consistency, neighbor_consistency
from keras_ncr.models.network_pair import NetworkPair

RNG = np.random.default_rng(0)
CENTERS = RNG.normal(size=(3, 6))
Y = np.arange(96) % 3
X = (CENTERS[Y] + RNG.normal(scale=0.3, size=(96, 6))).astype("float32")
INDEX = np.arange(96)


def backbone(seed):
    return dense(16, seed, activation="relu")


def ncr():
    return NCRModel(backbone(1), 3, consistency_weight=0.5, classifier=head(1))


def elr():
    return ELRModel(backbone(1), 3, num_examples=96, classifier=head(1))


def pair():
    return NetworkPair(
        [backbone(1), backbone(2)],
        3,
        consistency_weight=0.5,
        classifier=[head(1), head(2)],
    )


KINDS = {"ncr": ncr, "elr": elr, "pair": pair}
slow = functools.partial(pytest.param, marks=pytest.mark.slow)
ALL_KINDS = pytest.mark.parametrize("kind", ["ncr", slow("elr"), slow("pair")])


def compiled(kind, optimizer, **settings):
    """Returns a model with the same initial weights every time."""
    model = KINDS[kind]()
    defaults = {"metrics": ["accuracy"], "run_eagerly": True}
    model.compile(optimizer, cross_entropy(), **defaults | settings)
    model(X[:2])
    return model


def targets(rows=slice(None)):
    return {"label": Y[rows], "index": INDEX[rows]}


def step(model, rows):
    """Trains on one batch."""
    y = {key: tf.constant(value) for key, value in targets(rows).items()}
    return model.train_on_batch(tf.constant(X[rows]), y, return_dict=True)


def weights(model):
    return [variable.numpy() for variable in model.trainable_variables]


def assert_close(found, expected, **tolerance):
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, **tolerance)


HALF = {"policy": "mixed_float16"}
BRAIN = {"policy": "mixed_bfloat16"}
SETTINGS = {
    "float16": HALF,
    "bfloat16": BRAIN,
    "accumulated": {"gradient_accumulation_steps": 2},
    "averaged": {"use_ema": True, "ema_momentum": 0.7},
    "float16, accumulated, averaged": HALF
    | {"gradient_accumulation_steps": 2, "use_ema": True, "ema_momentum": 0.7},
    "bfloat16, averaged": BRAIN | {"use_ema": True, "ema_momentum": 0.7},
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("ncr", "float16, accumulated, averaged"),
        slow("ncr", "float16"),
        slow("ncr", "bfloat16"),
        slow("ncr", "accumulated"),
        slow("ncr", "averaged"),
        slow("ncr", "bfloat16, averaged"),
        *(slow("elr", name) for name in SETTINGS),
        *(slow("pair", name) for name in SETTINGS),
    ],
)
def test_loss_falls_and_classes_are_learned(kind, name):
    settings = dict(SETTINGS[name])
    keras.config.set_dtype_policy(settings.pop("policy", "float32"))
    model = compiled(kind, keras.optimizers.Adam(0.02, **settings))
    history = model.fit(
        X, targets(), batch_size=48, epochs=12, shuffle=False, verbose=0
    ).history
    assert history["loss"][-1] < history["loss"][0] - 0.2
    results = model.evaluate(X, Y, verbose=0, return_dict=True)
    assert results["accuracy"] > 0.9
    assert model.predict(X[:2], verbose=0).dtype == "float32"
    assert all(variable.dtype == "float32" for variable in model.trainable_variables)


@pytest.mark.slow
@ALL_KINDS
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_half_precision_trains_in_a_graph(kind, policy):
    keras.config.set_dtype_policy(policy)
    model = compiled(kind, keras.optimizers.Adam(0.02), run_eagerly=False)
    model.fit(X, targets(), batch_size=32, epochs=12, shuffle=False, verbose=0)
    assert model.evaluate(X, Y, verbose=0, return_dict=True)["accuracy"] > 0.9


# NCR is computed in float32


@ALL_KINDS
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_neighbors_are_sought_and_compared_in_float32(kind, policy, monkeypatch):
    keras.config.set_dtype_policy(policy)
    model = compiled(kind, keras.optimizers.SGD(0.1))
    seen, of_batch = [], consistency.consistency

    def spy(features, logits, *args):
        loss = of_batch(features, logits, *args)
        seen.append((features.dtype, logits.dtype, loss.dtype))
        return loss

    monkeypatch.setattr(consistency, "consistency", spy)
    step(model, slice(0, 32))
    assert seen == [(tf.float32,) * 3] * (2 if kind == "pair" else 1)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_value_is_that_of_float32_on_the_same_features(policy):
    keras.config.set_dtype_policy(policy)
    model = compiled("ncr", keras.optimizers.SGD(0.1))
    features, logits = model(X, return_features=True)
    assert features.dtype == policy.removeprefix("mixed_")
    assert logits.dtype == tf.float32
    loss = model.consistency_loss(features, logits)
    assert loss.dtype == tf.float32
    exact = neighbor_consistency(
        tf.cast(features, "float64"), tf.cast(logits, "float64")
    )
    np.testing.assert_allclose(loss, exact, rtol=1e-3, atol=1e-6)


class Watched(NCRModel):
    """Notes the dtypes of the parts of eq. 4."""

    def objective(self, *parts):
        objective = super().objective(*parts)
        self.dtypes = [tf.convert_to_tensor(part).dtype for part in (*parts, objective)]
        return objective


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_eq_4_is_in_float32(policy):
    keras.config.set_dtype_policy(policy)
    model = Watched(backbone(1), 3)
    model.compile("sgd", cross_entropy(), run_eagerly=True)
    step(model, slice(0, 32))
    assert set(model.dtypes) == {tf.float32}


# Loss scaling


@ALL_KINDS
def test_step_that_overflows_is_skipped_and_halves_the_scale(kind):
    keras.config.set_dtype_policy("mixed_float16")
    # Gradients that reach float16 overflow at this scale, and the loss does not.
    optimizer = keras.optimizers.LossScaleOptimizer(
        keras.optimizers.SGD(0.1), initial_scale=2.0**28
    )
    model = compiled(kind, optimizer)
    before = weights(model)
    logs = step(model, slice(0, 32))
    assert np.isfinite(logs["loss"])
    assert_close(weights(model), before, rtol=0)
    assert float(optimizer.dynamic_scale) == 2.0**27
    assert int(optimizer.iterations) == 0
    for _ in range(15):
        step(model, slice(0, 32))
    scale = float(optimizer.dynamic_scale)
    assert scale < 2.0**27
    assert int(optimizer.iterations) == 1 + 15 - (28 - np.log2(scale))
    assert all(np.all(np.isfinite(weight)) for weight in weights(model))
    assert any(np.any(a != b) for a, b in zip(weights(model), before, strict=True))


# Accumulated gradients


@ALL_KINDS
@pytest.mark.parametrize("policy", ["float32", slow("mixed_bfloat16")])
def test_accumulated_gradient_is_the_mean_of_two(kind, policy):
    keras.config.set_dtype_policy(policy)
    first, second = slice(0, 32), slice(32, 64)
    gradients = []
    for rows in (first, second):
        model = compiled(kind, keras.optimizers.SGD(1.0))
        before = weights(model)
        step(model, rows)
        gradients.append([b - a for a, b in zip(weights(model), before, strict=True)])
    optimizer = keras.optimizers.SGD(0.5, gradient_accumulation_steps=2)
    model = compiled(kind, optimizer)
    step(model, first)
    assert_close(weights(model), before, rtol=0)
    step(model, second)
    expected = [
        w - 0.5 * (a + b) / 2 for w, a, b in zip(before, *gradients, strict=True)
    ]
    assert_close(weights(model), expected, rtol=1e-4, atol=1e-6)
    assert int(optimizer.iterations) == 1


# Averaged weights


class Recorder(keras.callbacks.Callback):
    """Notes the weights after each step."""

    def __init__(self):
        super().__init__()
        self.steps = []

    def on_train_batch_end(self, batch, logs=None):
        self.steps.append(weights(self.model))


@ALL_KINDS
@pytest.mark.parametrize("policy", ["float32", slow("mixed_float16")])
def test_averaged_weights_follow_the_recursion_and_are_what_is_evaluated(kind, policy):
    keras.config.set_dtype_policy(policy)
    optimizer = keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.8)
    model, recorder = compiled(kind, optimizer), Recorder()
    model.fit(
        X,
        targets(),
        batch_size=32,
        epochs=2,
        shuffle=False,
        verbose=0,
        callbacks=[recorder],
    )
    average, *later = recorder.steps
    assert len(later) == 5
    for step_weights in later:
        average = [
            0.8 * mean + 0.2 * weight
            for mean, weight in zip(average, step_weights, strict=True)
        ]
    assert_close(weights(model), average, rtol=1e-5, atol=1e-6)
    assert any(
        np.abs(a - b).max() > 1e-4
        for a, b in zip(average, recorder.steps[-1], strict=True)
    )
    other = compiled(kind, keras.optimizers.SGD(0.1))
    for variable, value in zip(other.trainable_variables, average, strict=True):
        variable.assign(value)
    # What a loss depends on beside the weights: alpha, where it sets itself.
    states = other.non_trainable_variables, model.non_trainable_variables
    for variable, value in zip(*states, strict=True):
        variable.assign(value)
    results = [m.evaluate(X, Y, verbose=0) for m in (model, other)]
    np.testing.assert_allclose(*results, rtol=1e-3)
