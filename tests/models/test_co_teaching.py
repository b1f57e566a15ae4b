"""Co-teaching: what is kept, by whom, and what one step does with it."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from model_harness import accuracy_of_a_pair, assert_close, cross_entropy, linear_pair

from keras_ncr.losses import GeneralizedCrossEntropy
from keras_ncr.models.co_teaching import CoTeachingModel, example_losses, kept_weights

X = np.random.default_rng(0).normal(size=(20, 4)).astype("float32")
Y = np.random.default_rng(1).integers(0, 3, 20)
WEIGHTS = np.linspace(0.5, 2.0, 20).astype("float32")
SETTINGS = {"batch_size": 20, "shuffle": False, "verbose": 0}


def make(forget_rate=0.4, ramp_epochs=0, **kwargs):
    return linear_pair(CoTeachingModel, forget_rate, ramp_epochs, **kwargs)


# What is kept


@pytest.mark.parametrize(
    "losses, share, expected",
    [
        ([0.1, 3.0, 0.2, 0.3], 1.0, [1, 1, 1, 1]),
        ([0.1, 3.0, 0.2, 0.3], 0.75, [4 / 3, 0, 4 / 3, 4 / 3]),
        ([0.1, 3.0, 0.2, 0.3], 0.5, [2, 0, 2, 0]),
        ([0.1, 3.0, 0.2, 0.3], 0.01, [4, 0, 0, 0]),
        ([1.0, 1.0, 1.0, 0.5], 0.5, [2, 0, 0, 2]),
        ([2.0], 0.3, [1]),
    ],
    ids=["all", "three", "two", "never none", "first of equals", "batch of one"],
)
def test_examples_of_smallest_loss_are_kept(losses, share, expected):
    assert_close(kept_weights(tf.constant(losses), share), expected)


def test_rows_without_a_label_are_neither_kept_nor_counted():
    losses, is_labeled = [0.0, 3.0, 0.2, 0.0, 0.3], [False, True, True, False, True]
    weights = kept_weights(tf.constant(losses), 0.7, tf.constant(is_labeled))
    assert_close(weights, [0, 0, 1.5, 0, 1.5])
    none = kept_weights(tf.zeros(3), 0.5, tf.zeros(3, "bool"))
    assert_close(none, [0, 0, 0])


def test_labels_that_the_loss_ignores_leave_training_to_the_others():
    few, all_of_them = make(0.5), make(0.5)
    few.compile(few.optimizer, cross_entropy(ignore_class=-1), run_eagerly=True)
    is_labeled = np.arange(20) % 2 == 1
    few.fit(X, np.where(is_labeled, Y, -1), **SETTINGS)
    settings = {**SETTINGS, "batch_size": 10}
    all_of_them.fit(X[is_labeled], Y[is_labeled], **settings)
    for ours, theirs in zip(few.weights, all_of_them.weights, strict=True):
        assert_close(ours, theirs)


# `int(remember_rate * len(loss_1_sorted))` in the released code, loss.py, of
# https://github.com/bhanML/Co-teaching, with the rates of `rate_schedule`, main.py.
@pytest.mark.parametrize("rate, kept", [(0.2, 102), (0.15, 108), (0.45, 70), (0.5, 64)])
def test_the_number_kept_is_rounded_down_as_in_the_released_code(rate, kept):
    assert np.count_nonzero(kept_weights(tf.range(128.0), 1 - rate)) == kept


@pytest.mark.parametrize("rate", [0.1, 0.2, 0.3, 0.5, 0.7, 0.9])
def test_the_number_kept_is_exact(rate):
    weights = kept_weights(tf.range(10.0), tf.constant(1.0) - tf.constant(rate))
    assert np.count_nonzero(weights) == round(10 * (1 - rate))
    assert_close(np.mean(weights), 1.0)


def test_weights_compile_with_xla():
    losses = tf.constant([0.1, 3.0, 0.2, 0.3])
    compiled = tf.function(kept_weights, jit_compile=True)
    np.testing.assert_array_equal(compiled(losses, 0.5), kept_weights(losses, 0.5))


@pytest.mark.parametrize(
    "loss, labels",
    [
        (cross_entropy(), Y),
        (cross_entropy(), Y[:, None]),
        (keras.losses.CategoricalCrossentropy(from_logits=True), np.eye(3)[Y]),
        (lambda y, logits: cross_entropy(reduction=None)(y, logits), Y),
        (GeneralizedCrossEntropy(q=1e-7, dtype="float64"), Y),
    ],
    ids=["class numbers", "a column", "one-hot", "function", "of this package"],
)
def test_losses_of_examples_are_those_of_the_compiled_loss(loss, labels):
    logits = X[:, :3]
    expected = tf.nn.sparse_softmax_cross_entropy_with_logits(Y, logits)
    assert_close(example_losses(loss, labels, logits), expected)


@pytest.mark.parametrize("loss", [lambda y, logits: tf.reduce_mean(logits), {"a": 1}])
def test_a_loss_that_is_not_per_example_is_refused(loss):
    with pytest.raises(ValueError, match="`loss` must be a loss with one value"):
        example_losses(loss, Y, X[:, :3])


# The share over the epochs


@pytest.mark.parametrize(
    "ramp_epochs, rates",
    [
        (4, np.array([1, 2, 3, 3]) * 0.4 / 3),
        (10, np.minimum(np.arange(1, 13), 9) * 0.4 / 9),
        (2, [0.4, 0.4]),
        (1, [0.4, 0.4]),
        (0, [0.4, 0.4]),
    ],
)
def test_the_share_forgotten_grows_to_its_end(ramp_epochs, rates):
    """`np.linspace(0, forget_rate, num_gradual)`, of which training takes 1 first.

    So main.py of the released code, which evaluates in epoch 0 and trains from 1 on.
    """
    model = make(0.4, ramp_epochs)
    assert_close([model.forget_rate_at(epoch) for epoch in range(len(rates))], rates)


@pytest.mark.parametrize("initial_epoch", [0, 2])
def test_fit_sets_the_share_of_its_epoch(initial_epoch):
    model = make(0.4, ramp_epochs=4)
    seen = []
    look = keras.callbacks.LambdaCallback(
        on_train_batch_begin=lambda batch, logs: seen.append(
            float(model.current_forget_rate)
        )
    )
    settings = SETTINGS | {"initial_epoch": initial_epoch, "epochs": 4}
    model.fit(X, Y, callbacks=[look], **settings)
    assert_close(seen, [0.4 / 3, 0.8 / 3, 0.4, 0.4][initial_epoch:])


# A step


def by_hand(parameters, forget_rate, weights):
    """Returns both losses, and the gradients of one network's four arrays each."""
    logits, losses, gradients = [], [], []
    for kernel, bias, head, head_bias in parameters:
        logits.append((X @ kernel + bias) @ head + head_bias)
    each = []
    for rows in logits:
        shifted = rows - rows.max(axis=1, keepdims=True)
        log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        each.append((-log_p[np.arange(20), Y], np.exp(log_p)))
    num_kept = round(20 * (1 - forget_rate))
    for own in range(2):
        kept = np.argsort(each[1 - own][0], kind="stable")[:num_kept]
        values, probabilities = each[own]
        losses.append(np.sum(weights[kept] * values[kept]) / num_kept)
        slope = (probabilities - np.eye(3)[Y]) * weights[:, None] / num_kept
        slope[np.setdiff1d(np.arange(20), kept)] = 0
        kernel, bias, head, _ = parameters[own]
        back = slope @ head.T
        gradients.append(
            [X.T @ back, back.sum(0), (X @ kernel + bias).T @ slope, slope.sum(0)]
        )
    return losses, gradients


@pytest.mark.parametrize(
    "forget_rate, weighted", [(0.0, False), (0.25, True), (0.4, False), (0.9, True)]
)
def test_a_step_learns_from_what_the_other_network_keeps(forget_rate, weighted):
    model = make(forget_rate)
    model(X)
    before = [network.get_weights() for network in model.networks]
    weights = WEIGHTS if weighted else np.ones(20, "float32")
    losses, gradients = by_hand(before, forget_rate, weights)
    given = {"sample_weight": WEIGHTS} if weighted else {}
    history = model.fit(X, Y, **SETTINGS, **given).history
    assert_close(history["loss"], [np.mean(losses)])
    for network, old, steps in zip(model.networks, before, gradients, strict=True):
        for weight, start, step in zip(network.get_weights(), old, steps, strict=True):
            assert_close(weight, start - 0.1 * step)


def test_consistency_is_joined_by_eq_4():
    alpha = 0.7
    models = [make(consistency_weight=weight) for weight in (0.0, alpha, 1.0)]
    plain, joined, alone = (
        model.fit(X, Y, **SETTINGS).history["loss"][0] for model in models
    )
    assert_close(joined, (1 - alpha) * plain + alpha * alone)
    assert alone > 0


# A Keras classifier


def test_predictions_and_accuracy_are_those_of_one_network():
    model = make()
    first, second = [logits.numpy() for logits in model.all_logits(X)]
    np.testing.assert_array_equal(model.predict(X, batch_size=20, verbose=0), first)
    seen = model.fit(X, Y, **SETTINGS).history["accuracy"]
    assert_close(seen, [np.mean(first.argmax(axis=1) == Y)])
    both = make(ensemble=True)
    predictions = both.predict(X, batch_size=20, verbose=0)
    assert_close(predictions, (first + second) / 2)
    seen = both.fit(X, Y, **SETTINGS).history["accuracy"]
    assert_close(seen, [np.mean(predictions.argmax(axis=1) == Y)])


def test_share_of_wrong_labels_must_be_given():
    with pytest.raises(ValueError, match="`forget_rate` must be the share of labels "):
        make(forget_rate=None)


# Learning


@pytest.mark.slow
def test_it_learns_better_than_cross_entropy_from_wrong_labels():
    plain, taught = [
        accuracy_of_a_pair(
            CoTeachingModel, keras.optimizers.Adam(0.01), forget_rate, ramp_epochs=5
        )
        for forget_rate in (0.0, 0.4)
    ]
    assert taught > plain + 0.1
