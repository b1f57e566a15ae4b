"""CleanNet: golden losses, networks, draws, references, weights, what it learns."""

import keras
import numpy as np
import oracles
import pytest
import tensorflow as tf
from model_harness import VERIFIED, X, Y, blobs, compiled, cross_entropy, fit

from keras_ncr.models import CleanNet, CleanNetModel, LabelVerification, NCRModel
from keras_ncr.models.clean_net import (
    Pool,
    centers,
    cosines,
    scaled,
    verification_losses,
)

GOLDEN = np.array([0.9, 0.3, 0.05, -0.2], "float32")


def small_net(**arguments):
    few = {"num_references": 2, "num_steps": 10, "wrong_weight": 0.01}
    return CleanNet(3, **few | arguments)


def test_golden_losses():
    received = verification_losses(GOLDEN, [1, 0, 0, 1])
    np.testing.assert_allclose(received, [0.1, 1.0, 0, 1.2], atol=1e-6)
    received = verification_losses(GOLDEN, [-1, -1, -1, -1])
    np.testing.assert_allclose(received, [0.01, 0.07, 0, 0], atol=1e-6)


@pytest.mark.parametrize(
    ("is_right", "expected"),
    [([1, 0, 0, 1], [-1, 5, 0, -1]), ([-1] * 4, [-0.1, -0.1, 0, 0])],
)
def test_gradients_of_the_golden_losses(is_right, expected):
    similarities = tf.Variable(GOLDEN)
    with tf.GradientTape() as tape:
        losses = verification_losses(similarities, is_right)
    np.testing.assert_allclose(tape.gradient(losses, similarities), expected)


def test_a_row_of_zeros_has_similarity_and_gradient_zero():
    rows = tf.constant([[0.0, 0.0], [3.0, 4.0]])
    with tf.GradientTape() as tape:
        tape.watch(rows)
        received = cosines(rows, tf.constant([[1.0, 0.0], [1.0, 0.0]]))
    np.testing.assert_allclose(received, [0, 0.6], atol=1e-6)
    assert np.isfinite(tape.gradient(received, rows)).all()


@pytest.mark.usefixtures("eager_functions")
def test_a_batch_has_the_loss_of_the_oracle():
    """Of networks without what dropout leaves out, example by example."""
    net = small_net(dropout_rate=0.0)
    net.fit(X, Y, VERIFIED)
    inputs = scaled(X)

    def dense(number, rows, network):
        layers = [one for one in network.layers if hasattr(one, "kernel")]
        kernel, *bias = layers[number].get_weights()
        out = rows @ kernel.astype("float64") + (bias[0] if bias else 0)
        return np.tanh(out) if bias else out

    classes = []
    for references in net.references.numpy():
        hidden = dense(1, dense(0, references, net.reference), net.reference)
        scores = dense(3, dense(2, hidden, net.reference), net.reference)[:, 0]
        mean = oracles.softmax(scores) @ hidden
        classes.append(dense(4, mean, net.reference))
    losses = []
    for row, label, is_right in zip(inputs, Y, VERIFIED, strict=True):
        code = dense(1, dense(0, row, net.query), net.query)
        restored = dense(3, dense(2, code, net.query), net.query)
        similarity = oracles.cosine(code, classes[label])
        is_called = similarity >= 0.1 if is_right < 0 else is_right
        loss = 1 - similarity if is_called else 0.01 * max(0, similarity - 0.1)
        loss *= 0.1 if is_right < 0 else 1
        losses.append(loss + 0.1 * np.sum((row - restored) ** 2))
    penalty = sum(
        1e-4 * np.sum(layer.kernel.numpy() ** 2)
        for layer in [*net.query.layers, *net.reference.layers]
        if getattr(layer, "use_bias", False)
    )
    received = net._loss(inputs, Y, VERIFIED)
    assert float(received) == pytest.approx(np.mean(losses) + penalty, rel=1e-5)
    expected = [
        oracles.cosine(dense(1, dense(0, row, net.query), net.query), classes[label])
        for row, label in zip(inputs, Y, strict=True)
    ]
    np.testing.assert_allclose(net.similarities(X, Y), expected, atol=1e-5)


def test_inputs_are_logarithms_also_of_negative_features():
    received = scaled(np.array([0.0, np.e - 1, 1 - np.e]))
    np.testing.assert_allclose(received, [0, 1, -1])


@pytest.mark.usefixtures("eager_functions")
def test_references_are_centers_or_the_examples_where_these_are_few():
    points = np.array([[0, 0], [0, 1], [9, 0], [9, 1]], "float32")
    found = centers(np.repeat(points, 3, axis=0), 2, seed=0)
    assert sorted(found.tolist()) == [[0, 0.5], [9, 0.5]]
    few = centers(np.repeat(points[:2], 3, axis=0), 5, seed=0)
    assert few.tolist() == points[[0, 1, 0, 1, 0]].tolist()
    net = small_net().fit(X, np.minimum(Y, 1), VERIFIED)
    assert not np.any(net.references[2])
    assert np.isfinite(net.similarities(X, np.full(24, 2))).all()


def test_each_class_is_drawn_as_often_and_each_of_its_examples():
    rows, labels = np.array([5, 7, 8, 9]), np.array([2, 0, 2, 2])
    drawn = Pool(rows, labels).drawn(12000, np.random.RandomState(0))
    shares = [np.mean(drawn == row) for row in rows]
    np.testing.assert_allclose(shares, [1 / 6, 1 / 2, 1 / 6, 1 / 6], atol=0.02)


@pytest.mark.slow
@pytest.mark.usefixtures("eager_functions")
def test_the_same_seed_learns_the_same():
    first, again, other = [
        small_net(seed=seed).fit(X, Y, VERIFIED).similarities(X, Y)
        for seed in (1, 1, 2)
    ]
    np.testing.assert_array_equal(first, again)
    assert np.any(first != other)


def test_examples_count_by_their_similarities():
    model = compiled("cleannet")
    history = fit(model, batch_size=24)
    features = compiled("ncr").backbone(X)
    expected = np.maximum(
        small_net().fit(features, Y, VERIFIED).similarities(features, Y), 0
    )
    received = model.label_weights.rows[:, 0]
    np.testing.assert_allclose(received, expected, atol=1e-5)
    assert np.any(received > 0)
    plain = compiled("ncr", {"consistency_weight": 0.0})
    theirs = fit(plain, batch_size=24, sample_weight=np.asarray(received))
    assert history["loss"] == pytest.approx(theirs["loss"], rel=1e-5)


@pytest.mark.parametrize(
    ("share", "refresh", "expected"),
    [
        (0.3, 2, [2, 4]),
        pytest.param(0.5, 0, [3], marks=pytest.mark.slow),
        pytest.param(0.0, 3, [0, 3], marks=pytest.mark.slow),
    ],
)
def test_examples_are_weighed_as_the_second_stage_begins_and_anew(
    share, refresh, expected
):
    begun, weighed = [], []

    class Watched(CleanNetModel):
        def weigh(self, features, labels):
            weighed.append(begun[-1])

    note = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: begun.append(epoch)
    )
    model = Watched(
        keras.layers.Identity(), 3, first_stage_share=share, refresh_epochs=refresh
    )
    model.verify(VERIFIED)
    model.compile("sgd", cross_entropy(), run_eagerly=True)
    targets = {"label": Y, "index": np.arange(24)}
    batches = tf.data.Dataset.from_tensor_slices((X, targets)).batch(24)
    callbacks = [note, LabelVerification(batches)]
    fit(model, batches, None, batch_size=None, epochs=5, callbacks=callbacks)
    assert weighed == expected


def test_labels_that_were_corrected_teach_by_what_they_were():
    model = compiled("cleannet")
    seen = []

    class Watched(CleanNet):
        def _train(self, inputs, labels, is_right):
            seen.append(labels)
            super()._train(inputs, labels, is_right)

    net = Watched(3, 2, 1)
    given = np.where(VERIFIED == 0, (Y + 1) % 3, Y)
    net.fit(X, Y, VERIFIED, given)
    np.testing.assert_array_equal(seen[0], given)
    model.verify(VERIFIED, np.where(VERIFIED == 0, given, -1))
    assert np.array_equal(model.verification.rows[:, 1] >= 0, VERIFIED == 0)


def test_without_verification_labels_the_remedies_are_named():
    model = CleanNetModel(keras.layers.Identity(), 3)
    model.compile("sgd", cross_entropy())
    with pytest.raises(ValueError, match="verification labels.*`verify`.*corrections"):
        fit(model)
    with pytest.raises(ValueError, match="none that was found wrong. Review some"):
        model.verify(np.where(np.arange(24) < 3, 1, -1))
    with pytest.raises(ValueError, match="must hold 1, 0 or -1 for each of 2"):
        model.verify([1, 2])


def test_datasets_need_a_callback():
    targets = {"label": Y, "index": np.arange(24)}
    batches = tf.data.Dataset.from_tensor_slices((X, targets)).batch(12)
    with pytest.raises(ValueError, match="must have a `LabelVerification` where"):
        fit(compiled("cleannet"), batches, None, batch_size=None)
    with pytest.raises(ValueError, match='"label" and "index"'):
        compiled("cleannet").train_on_batch(X, Y)


def test_replicas_are_refused(two_replicas):
    with two_replicas.scope():
        model = CleanNetModel(keras.layers.Identity(), 3)
        with pytest.raises(ValueError, match="CleanNetModel must be on one device"):
            model.compile("sgd", cross_entropy())


@pytest.mark.slow
def test_it_learns_more_than_cross_entropy_from_wrong_labels():
    x, clean, noisy = blobs(400, seed=0)
    x_test, labels, _ = blobs(2000, seed=5)
    is_right = np.where(np.arange(400) < 80, clean == noisy, -1)
    accuracies = []
    for cls, arguments in (
        (NCRModel, {"consistency_weight": 0.0}),
        (CleanNetModel, {"first_stage_share": 0.1, "num_steps": 500}),
    ):
        keras.utils.set_random_seed(0)
        model = cls(keras.layers.Dense(256, activation="relu"), 4, **arguments)
        if cls is CleanNetModel:
            model.verify(is_right)
        model.compile(
            keras.optimizers.Adam(0.01), cross_entropy(), metrics=["accuracy"]
        )
        model.fit(x, noisy, batch_size=100, epochs=30, verbose=0)
        accuracies.append(model.evaluate(x_test, labels, verbose=0)[1])
    assert accuracies[1] > accuracies[0] + 0.08
    weights = model.label_weights.rows[:, 0].numpy()
    is_wrong = clean != noisy
    assert weights[~is_wrong].mean() > 3 * weights[is_wrong].mean()
