"""MOIT and MOIT+: golden numbers, oracles, gradients, stages, what they learn."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from batches import central_differences
from model_harness import X, Y, beside_cross_entropy, blobs, compiled, fit, new_model
from oracles import softmax, unit_rows

from keras_ncr.losses.batch_sizes import RecentRows
from keras_ncr.losses.interpolated_contrast import Embedded, interpolated_contrast
from keras_ncr.models import CleanSetDetection, MOITModel
from keras_ncr.models.clean_set import clean_labels, discrepancy
from keras_ncr.models.moit_losses import (
    Mixed,
    Side,
    classification_losses,
    clean_losses,
    remembered,
)
from keras_ncr.models.nearest import vote_shares

LOGITS = np.array([[2, 0, -1], [1, 1, 0], [0, 2, 1], [-1, 0, 3.0]])
LABELS, CLEAN = np.array([0, 0, 1, 2], "int32"), np.array([1, 1, 0, 1.0])
VECTORS = np.concatenate(
    [
        unit_rows(np.array([[1, 0], [1, 1], [0, 2], [1, 3.0]])),
        unit_rows(np.array([[1, 0.5], [1, 2], [0.5, 2], [0, 1]])),
    ]
)
PARTNERS = np.array([2, 0, 3, 1, 1, 3, 0, 2], "int32")
WEIGHTS = np.repeat([0.7, 0.8], 4)
EXAMPLES, VIEWS = np.tile(np.arange(4), 2), np.repeat([0, 1], 4)
ROWS = Embedded(VECTORS, np.tile(LABELS, 2), EXAMPLES, VIEWS)
ANGLES = np.deg2rad([0, 9, 20, 33, 80, 91, 101, 114])
GIVEN = np.array([0, 0, 1, 0, 1, 1, 0, 1])


def contrast(vectors, columns=None, counts=None):
    rows = ROWS._replace(vectors=tf.convert_to_tensor(vectors))
    columns = rows if columns is None else columns
    partner_labels = LABELS[PARTNERS]
    return interpolated_contrast(
        rows, columns, partner_labels, PARTNERS, WEIGHTS, 0.1, counts
    )


def memory_of(vectors, labels, size=20):
    memory = RecentRows(size, dtype="float64")
    memory.hold(vectors=2, labels=1)
    memory.vectors = tf.Variable(np.zeros((size, 2)))
    memory.labels = tf.Variable(np.zeros((size, 1)))
    if len(vectors):
        memory.push(vectors=vectors, labels=np.array(labels, "float64")[:, None])
    return memory


def oracle(vectors, labels, partners, weights, past=(), past_labels=()):
    """The contrast of each row, pair by pair; rows i and i + n are of one example."""
    n, losses = len(vectors) // 2, []
    columns = [*past, *vectors]
    for r, vector in enumerate(vectors):
        here = [c for c in range(len(columns)) if c != r + len(past)]
        powers = {c: np.exp(columns[c] @ vector / 0.1) for c in here}
        total, means = sum(powers.values()), []
        own, other = labels[r % n], labels[partners[r]]
        for is_major in (True, False):
            counts, sums = 0, 0
            for c in here:
                is_past = c < len(past)
                example = -1 if is_past else (c - len(past)) % n
                label = past_labels[c] if is_past else labels[example]
                if is_major:
                    times = int(label == own or example == r % n)
                else:
                    times = int(label == other) + int(example == partners[r])
                counts += times
                sums += times * np.log(powers[c] / total)
            means.append(sums / counts)
        losses.append(-(weights[r] * means[0] + (1 - weights[r]) * means[1]))
    return np.array(losses)


def test_golden_contrast_within_a_batch():
    expected = [3.956952, 2.032506, 1.296081, 2.208772]
    expected += [1.355159, 3.399738, 2.288913, 1.450494]
    np.testing.assert_allclose(contrast(VECTORS), expected, atol=1e-6)
    assert np.mean(contrast(VECTORS)) == pytest.approx(2.248577, abs=1e-6)


def test_golden_contrast_with_a_memory():
    past = unit_rows(np.array([[1, 0], [0, 1], [1, 1], [-1, 0.0]]))
    columns, counts = remembered(memory_of(past, [0, 1, 2, 1]), ROWS)
    loss = np.mean(contrast(VECTORS, columns, counts))
    assert loss == pytest.approx(3.755697, abs=1e-6)


def test_a_memory_of_the_batch_alone_adds_what_the_batch_does():
    columns, counts = remembered(memory_of([], []), ROWS)
    np.testing.assert_allclose(contrast(VECTORS, columns, counts), contrast(VECTORS))


def test_the_batch_displaces_the_oldest_in_the_memory():
    past = unit_rows(np.random.default_rng(0).normal(size=(10, 2)))
    labels = [0, 1, 2, 0, 1, 2, 0, 1, 2, 0]
    columns, counts = remembered(memory_of(past, labels, size=10), ROWS)
    expected = oracle(VECTORS, LABELS, PARTNERS, WEIGHTS, past[8:], labels[8:])
    np.testing.assert_allclose(contrast(VECTORS, columns, counts), expected)


def test_contrast_is_that_of_the_oracle():
    rng = np.random.default_rng(1)
    vectors, labels = unit_rows(rng.normal(size=(12, 5))), rng.integers(0, 3, 6)
    # Some are their own partners.
    partners = np.concatenate([rng.permutation(6), [0, 2, 1, 3, 5, 4]])
    weights = rng.uniform(0.5, 1, 12)
    rows = Embedded(
        vectors, np.tile(labels, 2), np.tile(np.arange(6), 2), np.repeat([0, 1], 6)
    )
    found = interpolated_contrast(rows, rows, labels[partners], partners, weights, 0.1)
    np.testing.assert_allclose(found, oracle(vectors, labels, partners, weights))


@pytest.mark.parametrize("has_memory", [False, True])
def test_gradient_of_contrast_equals_central_differences(has_memory):
    """Against the memory the batch's own columns have none."""
    past, labels = unit_rows(np.array([[1, 0], [0, 1.0]])), [0, 1]

    def loss_of(vectors, others):
        if not has_memory:
            return tf.reduce_mean(contrast(vectors))
        columns, counts = remembered(
            memory_of(past, labels), ROWS._replace(vectors=others)
        )
        return tf.reduce_mean(contrast(vectors, columns, counts))

    vectors = tf.Variable(VECTORS)
    with tf.GradientTape() as tape:
        loss = loss_of(vectors, tf.convert_to_tensor(vectors))
    expected = central_differences(
        lambda rows: loss_of(tf.constant(rows), tf.constant(VECTORS)), VECTORS
    )
    np.testing.assert_allclose(tape.gradient(loss, vectors), expected, atol=1e-5)


def mixed_of(is_clean):
    known = Side(LABELS, is_clean, softmax(2 * LOGITS), np.arange(4))
    return Mixed(known.take(EXAMPLES), known.take(PARTNERS), WEIGHTS, VIEWS)


def test_golden_classification():
    logits = tf.constant(np.concatenate([LOGITS, LOGITS / 2]))
    before = classification_losses(logits, mixed_of(np.ones(4)))
    assert np.mean(before) == pytest.approx(0.826793, abs=1e-6)
    after = classification_losses(logits, mixed_of(CLEAN))
    assert np.mean(after) == pytest.approx(0.878033, abs=1e-6)


@pytest.mark.parametrize("bootstrap", [0.0, 0.2])
def test_loss_of_the_last_stage_is_that_by_hand(bootstrap):
    logits = np.concatenate([LOGITS, LOGITS / 2])
    expected, predicted = [], np.argmax(LOGITS, axis=1)
    for row, partner, weight in zip(range(8), PARTNERS, WEIGHTS, strict=True):
        logs = np.log(softmax(logits[row : row + 1]))[0]
        own, other = (
            (1 - bootstrap) * -logs[LABELS[i]] + bootstrap * -logs[predicted[i]]
            for i in (row % 4, partner)
        )
        expected.append(CLEAN[row % 4] * (weight * own + (1 - weight) * other))
    found = clean_losses(tf.constant(logits), mixed_of(CLEAN), bootstrap)
    np.testing.assert_allclose(found, expected)


# Detection


def nearest_of(features, k):
    cosines = features @ features.T
    np.fill_diagonal(cosines, -1)
    return np.argsort(-cosines, axis=1)[:, :k]


def test_golden_detection():
    circle = np.column_stack([np.cos(ANGLES), np.sin(ANGLES)])
    neighbors = nearest_of(circle, 3)
    first = vote_shares(neighbors, GIVEN, 2)
    corrected = np.argmax(first, axis=1)
    assert corrected.tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    second = vote_shares(neighbors, corrected, 2)
    wrong = np.array([0, 0, 1, 0, 0, 0, 1, 0], bool)
    for shares, usual in ((first, 0.405465), (second, 0.010050)):
        expected = np.where(wrong, 4.605170, usual)
        np.testing.assert_allclose(discrepancy(shares, GIVEN), expected, atol=1e-6)
    # Three of each class agree.
    assert clean_labels(GIVEN, neighbors, 2).tolist() == (~wrong).tolist()


def test_as_many_of_each_class_are_taken_as_the_lower_median_agrees():
    # Labels 0 agree four times, 1 twice, 2 not at all, 3 three times.
    labels = np.array([0, 0, 0, 0, 1, 1, 2, 3, 3, 3])
    groups = [[0, 1, 2, 3], [4, 5, 6], [7, 8, 9]]
    neighbors = np.zeros((10, 2), int)
    for group in groups:
        for i in group:
            neighbors[i] = [j for j in group if j != i][:2]
    taken = clean_labels(labels, neighbors, 4)
    counts = [int(taken[labels == c].sum()) for c in range(4)]
    assert counts == [2, 2, 1, 2]
    # All of a class with as many votes: the first ones.
    assert taken[:4].tolist() == [True, True, False, False]


def test_ties_of_the_second_pass_go_by_the_first():
    labels = np.array([0, 0, 0, 1, 1, 1])
    # Two of each class are taken. Once 3 is corrected, 0, 1 and 2 are as sure.
    neighbors = np.array([[1, 3], [0, 2], [0, 1], [0, 1], [5, 5], [4, 4]])
    taken = clean_labels(labels, neighbors, 2)
    assert taken.tolist() == [False, True, True, False, True, True]


# Steps and stages


def test_a_step_minimizes_contrast_and_classification_of_two_mixtures():
    seen = []

    class Watched(MOITModel):
        def call(self, inputs, training=None, return_features=False):
            if training and return_features:
                seen.append(inputs.numpy())
            return super().call(inputs, training, return_features)

    model = Watched(
        keras.layers.Dense(8, activation="relu"),
        3,
        num_examples=8,
        num_views=3,
        projection_dim=4,
    )
    model.compile("sgd", run_eagerly=True)
    model(X)
    is_clean = np.array([1, 0, 1, 1, 0, 1, 1, 0], "float32")
    model.clean_set.rows.assign(is_clean[:, None])
    labels = Y[::3]
    targets = {"label": np.repeat(labels, 3), "index": np.repeat(np.arange(8), 3)}
    loss, logits = model.batch_objective(X, targets)
    np.testing.assert_allclose(logits, np.repeat(model(X[2::3]), 3, axis=0), atol=1e-6)
    mixed_x, mixes = seen[0], model.drawn_mixtures(2, tf.constant(is_clean))
    partners = np.concatenate([mix.partners for mix in mixes])
    weights = np.repeat([float(mix.owner_weights) for mix in mixes], 8)
    assert weights.min() >= 0.5 and weights[0] != weights[8]
    assert sorted(partners[:8]) == sorted(partners[8:]) == list(range(8))
    first, second = X[::3], X[1::3]
    expected = [
        w * view[i % 8] + (1 - w) * view[j]
        for i, (view, w, j) in enumerate(
            zip([first] * 8 + [second] * 8, weights, partners, strict=True)
        )
    ]
    for row, (mixture, own) in enumerate(zip(mixed_x, expected, strict=True)):
        view = (first, second)[row // 8]
        own = weights[row] * view[row % 8] + (1 - weights[row]) * view[partners[row]]
        np.testing.assert_allclose(mixture, own, atol=1e-5)
    projections = unit_rows(model.projection(model.backbone(mixed_x)).numpy())
    total = oracle(projections, labels, partners, weights).mean()
    known = Side(labels, is_clean, softmax(model(X[2::3]).numpy()), np.arange(8))
    owners = np.tile(np.arange(8), 2)
    mixed = Mixed(
        known.take(owners), known.take(partners), weights.astype("float32"), None
    )
    total += np.mean(classification_losses(model(mixed_x), mixed))
    assert float(loss) == pytest.approx(total, rel=1e-4)
    # Once the memory is used, which holds the batch of the step before too.
    past = (model.memory.vectors.numpy()[-16:], np.tile(labels, 2))
    np.testing.assert_allclose(past[0], projections, atol=1e-6)
    model.uses_memory.assign(True)
    loss, _ = model.batch_objective(X, targets)
    total += oracle(projections, labels, partners, weights, *past).mean()
    assert float(loss) == pytest.approx(total, rel=1e-4)


def test_epochs_belong_to_their_stages():
    settings = {"first_stage_share": 0.25, "last_stage_share": 0.5}
    model = compiled("moit", {**settings, "epochs_before_memory": 3})
    seen, classifiers = [], []

    def note(epoch, logs):
        rate = float(model.current_bootstrap)
        seen.append((model.is_last_stage, bool(model.uses_memory), rate > 0))

    def keep(epoch, logs):
        classifiers.append(model.classifier.kernel.numpy())

    model(X)
    notes = keras.callbacks.LambdaCallback(on_epoch_begin=keep, on_epoch_end=note)
    detections, detect = [], model.detect
    model.detect = lambda *rows: detections.append(len(seen)) or detect(*rows)
    fit(model, epochs=8, batch_size=24, callbacks=[notes])
    # 3/7 of the last four epochs are without hard labels.
    assert [last for last, _, _ in seen] == 4 * [False] + 4 * [True]
    assert [uses for _, uses, _ in seen] == 3 * [False] + 5 * [True]
    assert [rate for _, _, rate in seen] == 6 * [False] + 2 * [True]
    # From the second stage on, and once more for the last one.
    assert detections == [2, 3, 4]
    np.testing.assert_array_equal(classifiers[4], classifiers[0])
    assert np.any(classifiers[3] != classifiers[0])
    assert np.any(classifiers[5] != classifiers[0])


@pytest.mark.slow
def test_the_first_classifier_is_kept_where_fit_builds_the_model():
    model = compiled("moit", {"last_stage_share": 0.5}, run_eagerly=False)
    assert not model.built
    fit(model)
    fresh = new_model("moit")
    fresh(X)
    first = zip(model.first_classifier, fresh.classifier.weights, strict=True)
    for kept, weight in first:
        np.testing.assert_array_equal(kept, weight)
    assert np.any(model.classifier.kernel.numpy() != fresh.classifier.kernel)


def test_the_last_stage_learns_from_clean_examples_alone():
    model = compiled("moit", {"last_stage_share": 0.5, "num_examples": 24})
    model(X)
    is_clean = np.arange(24) % 3 > 0
    model.clean_set.rows.assign(is_clean[:, None].astype("float32"))
    model.is_last_stage = True
    memory, targets = model.memory.vectors.numpy(), {"index": np.arange(24)}
    wrong = np.where(is_clean, Y, (Y + 1) % 3)
    losses = [
        float(model.batch_objective(X, {**targets, "label": labels})[0])
        for labels in (Y, wrong)
    ]
    assert losses[0] == losses[1] > 0
    mix = model.drawn_mixtures(1, tf.constant(is_clean.astype("float32")))[0]
    assert np.all(is_clean[mix.partners])
    np.testing.assert_array_equal(model.memory.vectors, memory)
    model.clean_set.rows.assign(np.zeros((24, 1)))
    assert float(model.batch_objective(X, {**targets, "label": Y})[0]) == 0


def test_the_same_step_draws_the_same_and_others_do_not():
    model = compiled("moit")
    fit(model)
    targets = {"label": Y, "index": np.arange(24)}
    model.uses_memory.assign(False)
    first, again = (float(model.batch_objective(X, targets)[0]) for _ in range(2))
    model.optimizer.iterations.assign_add(1)
    assert first == again != float(model.batch_objective(X, targets)[0])


def test_labels_are_judged_by_projections_of_the_whole_set():
    model = compiled("moit", {"num_neighbors": 3})
    fit(model, epochs=1)
    fresh = new_model("moit")
    vectors = unit_rows(fresh.projection(fresh.backbone(X)).numpy())
    neighbors = nearest_of(vectors, 3)
    expected = clean_labels(Y, neighbors, 3)
    np.testing.assert_array_equal(model.clean_set.rows[:, 0], expected)
    assert 0 < expected.sum() < 24


def test_datasets_train_with_a_detection_and_not_without():
    targets = {"label": Y, "index": np.arange(24)}
    batches = tf.data.Dataset.from_tensor_slices((X, targets)).batch(12)
    model = compiled("moit", {"num_examples": 24})
    with pytest.raises(ValueError, match="must have a `CleanSetDetection` where"):
        fit(model, batches, None, batch_size=None)
    history = fit(
        model, batches, None, batch_size=None, callbacks=[CleanSetDetection(batches)]
    )
    assert history["loss"] == pytest.approx(fit(compiled("moit"))["loss"], rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("last_stage_share", [0.0, 0.2])
def test_it_learns_more_than_cross_entropy_from_wrong_labels(last_stage_share):
    shares = {"first_stage_share": 0.4, "last_stage_share": last_stage_share}
    plain, detected, model = beside_cross_entropy(
        MOITModel, 30, num_neighbors=30, **shares
    )
    assert detected > plain + 0.08
    _, clean, noisy = blobs(400, seed=0)
    is_clean = model.clean_set.rows.numpy()[:, 0] > 0
    assert np.mean(noisy[is_clean] == clean[is_clean]) > 0.9
