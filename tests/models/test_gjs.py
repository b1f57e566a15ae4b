"""GJSModel: views that agree with a label, in training; one view in evaluation."""

import keras
import numpy as np
import pytest
from model_harness import X, Y, blobs, fit, learned, numeric_gradient
from oracles import softmax

from keras_ncr import NCRModel
from keras_ncr.losses import JensenShannon
from keras_ncr.models.gjs import GJSModel

WEIGHTS = np.repeat(np.linspace(0.1, 2.0, 12).astype("float32"), 2)


def make(cls=GJSModel, backbone=None, loss=None, compiled=None, **kwargs):
    """Returns a compiled model with the same initial weights every time."""
    keras.utils.set_random_seed(1)
    model = cls((backbone or small_backbone)(), 3, **kwargs)
    settings = {"metrics": ["accuracy"], "run_eagerly": True} | (compiled or {})
    model.compile(keras.optimizers.SGD(0.5), loss, **settings)
    return model


def small_backbone():
    return keras.Sequential([keras.layers.Dense(8, activation="relu")])


def entropy(p):
    return -sum(value * np.log(value) for value in p if value > 0)


def gjs(kernel, x, y, weights, label_weight, num_views):
    """The loss of a linear classifier, example by example, by entropies."""
    total = 0.0
    for first in range(0, len(x), num_views):
        views = [softmax(x[first + view] @ kernel) for view in range(num_views)]
        parts = [np.eye(3)[y[first]], *views]
        shares = [label_weight] + [(1 - label_weight) / num_views] * num_views
        mean = sum(share * part for share, part in zip(shares, parts, strict=True))
        divergence = entropy(mean) - sum(
            share * entropy(part) for share, part in zip(shares, parts, strict=True)
        )
        scale = -(1 - label_weight) * np.log(1 - label_weight)
        total += weights[first] * divergence / scale
    return total * num_views / len(x)


# One step


@pytest.mark.parametrize("num_views", [1, 2, 3])
@pytest.mark.parametrize("label_weight", [0.1, 0.7])
def test_a_step_follows_the_formula(num_views, label_weight):
    labels = np.repeat(Y[::2], num_views)[:24]
    weights = np.repeat(WEIGHTS[::2], num_views)[:24]
    model = make(
        backbone=keras.layers.Flatten,
        label_weight=label_weight,
        num_views=num_views,
        classifier=keras.layers.Dense(3, use_bias=False),
    )
    x = X[: len(labels)]
    model(x)
    before = model.classifier.kernel.numpy().astype("float64")

    def loss(kernel):
        return gjs(kernel, x, labels, weights, label_weight, num_views)

    history = fit(model, x, labels, batch_size=24, sample_weight=weights)
    np.testing.assert_allclose(history["classification_loss"], [loss(before)], 1e-5)
    expected = before - 0.5 * numeric_gradient(loss, before)
    np.testing.assert_allclose(model.classifier.kernel, expected, atol=1e-5)


def test_one_view_is_the_loss_for_any_keras_model():
    ours = make(num_views=1, label_weight=0.3)
    theirs = make(NCRModel, loss=JensenShannon(0.3), consistency_weight=0.0)
    assert fit(ours, epochs=2) == fit(theirs, epochs=2)
    for one, two in zip(ours.weights, theirs.weights, strict=True):
        np.testing.assert_array_equal(one.numpy(), two.numpy())


def test_views_that_are_copies_are_one_view():
    x, y = np.repeat(X[::2], 2, axis=0), Y
    twice = fit(make(), x, y, batch_size=24)
    once = fit(make(num_views=1), x[::2], y[::2])
    np.testing.assert_allclose(
        twice["classification_loss"], once["classification_loss"], rtol=1e-5
    )


def test_evaluation_has_one_view():
    model = make(label_weight=0.3)
    loss, accuracy = model.evaluate(X[:7], Y[:7], verbose=0)
    logits = model.predict(X[:7], verbose=0)
    np.testing.assert_allclose(loss, JensenShannon(0.3)(Y[:7], logits), rtol=1e-5)
    np.testing.assert_allclose(accuracy, np.mean(logits.argmax(1) == Y[:7]))
    history = fit(model, validation_data=(X[:7], Y[:7]))
    assert history["val_loss"][0] > 0


# Errors


def test_a_batch_of_odd_size_says_what_is_expected():
    with pytest.raises(ValueError, match="2 views of each example in neighboring rows"):
        make().train_on_batch(X[:3], Y[:3])
    with pytest.raises(ValueError, match="keras_ncr.pipelines.second_view"):
        fit(make(), batch_size=3)


# Learning


@pytest.mark.slow
def test_it_learns_better_than_cross_entropy_from_wrong_labels():
    x, _, y = blobs(512, seed=0)
    views = np.repeat(x, 2, axis=0)
    views += np.random.default_rng(3).normal(size=views.shape, scale=0.5)
    plain, ours, _ = learned(GJSModel, views, np.repeat(y, 2), label_weight=0.9)
    assert ours > plain + 0.1
