"""SSR: who is selected, golden numbers, draws and mixtures, SSR+, what it learns."""

import keras
import numpy as np
import oracles
import pytest
import tensorflow as tf
from model_harness import X, Y, beside_cross_entropy, blobs, compiled, fit, new_model

from keras_ncr.models import SampleSelection, SSRModel
from keras_ncr.models.ssr import drawn_rows, vote_ratios

# Unit vectors at these angles, and labels of which two are alone among others.
ANGLES = np.deg2rad([0, 9, 20, 33, 80, 91, 101, 114])
CIRCLE = np.column_stack([np.cos(ANGLES), np.sin(ANGLES)])
LABELS = np.array([0, 0, 1, 0, 1, 1, 0, 1])
KEPT = [1, 1, 0.5, 1, 1, 1, 0.5, 1]


def oracle(features, labels, num_neighbors, num_classes, balance=True):
    """The ratio of an example's votes to the most, class by class."""
    ratios = []
    for own in features:
        cosines = [oracles.cosine(own, other) for other in features]
        nearest = np.argsort(cosines)[::-1][:num_neighbors]
        votes = np.array([np.sum(labels[nearest] == c) for c in range(num_classes)])
        if balance:
            shares = np.array([np.mean(labels == c) for c in range(num_classes)])
            votes = np.where(shares > 0, votes / np.where(shares > 0, shares, 1), 0)
        ratios.append(votes / votes.max())
    return np.array(ratios)[np.arange(len(labels)), labels]


def selection_of(features, labels, num_classes=2, predictions=None, **arguments):
    """The labels and shares that a model decides on."""
    arguments = {"num_neighbors": 3, **arguments}
    model = SSRModel(
        keras.layers.Identity(), num_classes, num_examples=len(labels), **arguments
    )
    if predictions is None:
        predictions = np.full((len(labels), num_classes), 1 / num_classes)
    model.select(np.eye(num_classes)[labels], predictions, features)
    return np.transpose(model.selection.rows)


def nearest_of(features, k):
    return np.argsort(-(features @ features.T), axis=1)[:, :k]


def test_golden_vote_ratios():
    ratios = vote_ratios(nearest_of(CIRCLE, 3), LABELS, 2)
    np.testing.assert_allclose(ratios, KEPT)
    np.testing.assert_allclose(oracle(CIRCLE, LABELS, 3, 2), KEPT)


@pytest.mark.parametrize("balance", [True, False])
@pytest.mark.parametrize("num_neighbors", [3, 7, 200])
def test_votes_are_those_of_the_oracle(num_neighbors, balance):
    rng = np.random.default_rng(0)
    features, labels = rng.normal(size=(30, 4)), rng.choice(4, 30, p=[0.6, 0.3, 0.1, 0])
    expected = oracle(features, labels, num_neighbors, 4, balance) >= 1 - 1e-9
    _, shares = selection_of(
        features, labels, 4, num_neighbors=num_neighbors, balance_votes=balance
    )
    np.testing.assert_array_equal(shares > 0, expected)
    # Of the classes that are kept, each is drawn as often.
    kept = set(labels[expected])
    totals = [shares[labels == c].sum() for c in kept]
    np.testing.assert_allclose(totals, 1, rtol=1e-6)


def test_sure_predictions_relabel_and_vote():
    predictions = np.full((8, 2), 0.5)
    predictions[2], predictions[6] = [0.95, 0.05], [0.1, 0.9]  # .9 is not above .9.
    labels, shares = selection_of(CIRCLE, LABELS, predictions=predictions)
    assert labels.tolist() == [0, 0, 0, 0, 1, 1, 0, 1]
    assert (shares > 0).tolist() == [True] * 6 + [False, True]


def test_labels_start_from_the_given_ones_each_time():
    model = SSRModel(keras.layers.Identity(), 2, num_examples=8, num_neighbors=3)
    given, unsure = np.eye(2)[LABELS], np.full((8, 2), 0.5)
    model.select(given, np.eye(2)[1 - LABELS], CIRCLE)
    np.testing.assert_array_equal(model.selection.rows[:, 0], 1 - LABELS)
    model.select(given, unsure, CIRCLE)
    np.testing.assert_array_equal(model.selection.rows[:, 0], LABELS)


def test_rows_are_drawn_by_their_shares():
    shares = tf.constant([0.0, 1, 0, 3, 0] * 400)
    counts = np.zeros(5)
    for seed in range(5):
        rows = drawn_rows(shares, [0, seed]).numpy()
        counts += np.bincount(rows % 5, minlength=5)
    np.testing.assert_allclose(counts / counts.sum(), [0, 0.25, 0, 0.75, 0], atol=0.02)


def test_a_step_minimizes_cross_entropy_of_mixtures_of_kept_examples():
    seen = []

    class Watched(SSRModel):
        def call(self, inputs, training=None, return_features=False):
            if training and not return_features:
                seen.append(inputs.numpy())
            return super().call(inputs, training, return_features)

    model = Watched(
        keras.layers.Dense(8, activation="relu"), 3, num_examples=24, num_neighbors=4
    )
    model.compile("sgd", run_eagerly=True)
    # Only these are kept: all mixtures lie between them.
    rows = np.zeros((24, 2), "float32")
    rows[3], rows[8] = [1, 1.0], [2, 1.0]
    model(X)
    model.selection.rows.assign(rows)
    model.batch_objective(X, {"label": Y, "index": np.arange(24)})
    mixed, difference = seen[0], X[8] - X[3]
    places = (mixed - X[3]) @ difference / (difference @ difference)
    np.testing.assert_allclose(mixed, X[3] + places[:, None] * difference, atol=1e-5)
    weight = max(1 - places.min(), places.max()) if len(set(places)) > 2 else 1.0
    assert weight >= 0.5 and np.all((places > -1e-5) & (places < 1 + 1e-5))
    # The class weights are the places between the two.
    loss, _ = model.batch_objective(X, {"label": Y, "index": np.arange(24)})
    places = (seen[1] - X[3]) @ difference / (difference @ difference)
    targets = np.column_stack([0 * places, 1 - places, places])
    logits = model(seen[1])
    expected = tf.nn.softmax_cross_entropy_with_logits(targets, logits)
    np.testing.assert_allclose(loss, np.mean(expected), rtol=1e-4)


def test_a_batch_without_kept_examples_has_loss_and_gradient_zero():
    model = compiled("ssr", {"num_examples": 24})
    model(X)
    with tf.GradientTape() as tape:
        loss, _ = model.batch_objective(X, {"label": Y, "index": np.arange(24)})
    assert float(loss) == 0
    for gradient in tape.gradient(loss, model.trainable_weights):
        assert not np.any(gradient)


def test_replicas_draw_from_their_own_parts(two_replicas, monkeypatch):
    with two_replicas.scope():
        model = compiled("ssr", {"num_examples": 24})
        logits = model(X)
    # Each part has one example that is kept: there is nothing else to draw.
    rows = np.zeros((24, 2), "float32")
    rows[3], rows[15] = [1, 1.0], [2, 1.0]

    def keep(model, *parts):
        model.selection.rows.assign(rows)

    monkeypatch.setattr(SSRModel, "select", keep)
    each = tf.nn.sparse_softmax_cross_entropy_with_logits(
        [1, 2], tf.gather(logits, [3, 15])
    )
    loss = fit(model, batch_size=24)["loss"]
    assert loss[0] == pytest.approx(float(np.mean(each)), rel=1e-5)


def test_the_same_step_draws_the_same_and_others_do_not():
    model = compiled("ssr")
    fit(model)
    targets = {"label": Y, "index": np.arange(24)}
    first, again = (float(model.batch_objective(X, targets)[0]) for _ in range(2))
    model.optimizer.iterations.assign_add(1)
    assert first == again != float(model.batch_objective(X, targets)[0])


def test_second_views_predict_first_ones_in_ssr_plus():
    arguments = {"num_views": 2, "feature_consistency_weight": 1.0}
    model = compiled("ssr", {"num_examples": 12, **arguments})
    model(X)
    assert model.predictor.built
    targets = {"label": Y, "index": np.arange(24) // 2}
    with tf.GradientTape() as tape:
        loss, _ = model.batch_objective(X, targets)
    # Nothing is kept: all that is left is the term.
    features = model.backbone(X).numpy().reshape(12, 2, -1)
    target = model.projection(features[:, 0], training=True).numpy()
    second = model.projection(features[:, 1], training=True)
    prediction = model.predictor(second, training=True).numpy()
    cosines = [oracles.cosine(*pair) for pair in zip(target, prediction, strict=True)]
    assert float(loss) == pytest.approx(-np.mean(cosines), rel=1e-4)
    assert np.any(tape.gradient(loss, model.predictor.trainable_weights[0]))


def test_datasets_train_with_a_selection_and_not_without():
    targets = {"label": Y, "index": np.arange(24)}
    batches = tf.data.Dataset.from_tensor_slices((X, targets)).batch(12)
    model = compiled("ssr", {"num_examples": 24})
    with pytest.raises(ValueError, match="must have a `SampleSelection` where"):
        fit(model, batches, None, batch_size=None)
    history = fit(
        model, batches, None, batch_size=None, callbacks=[SampleSelection(batches)]
    )
    assert history["loss"] == pytest.approx(fit(compiled("ssr"))["loss"], rel=1e-5)
    with pytest.raises(ValueError, match=r'carry=\["index"\]'):
        SampleSelection(tf.data.Dataset.from_tensor_slices((X, Y)).batch(12))


def test_ssr_plus_without_views_is_refused():
    with pytest.raises(ValueError, match="`num_views` must be 1 or 2, and 2 where"):
        new_model("ssr", feature_consistency_weight=1.0)


@pytest.mark.slow
def test_it_learns_more_than_cross_entropy_from_wrong_labels():
    plain, selected, model = beside_cross_entropy(SSRModel, 30, num_neighbors=30)
    assert selected > plain + 0.08
    _, clean, _ = blobs(400, seed=0)
    found, shares = np.transpose(model.selection.rows)
    assert np.mean(found[shares > 0] == clean[shares > 0]) > 0.9
