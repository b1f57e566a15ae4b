"""CurriculumNet: densities and subsets, what each stage trains on, what it learns."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from model_harness import (
    WEIGHTS,
    X,
    Y,
    beside_cross_entropy,
    blobs,
    compiled,
    cross_entropy,
    fit,
    new_model,
)

from keras_ncr.models import CurriculumModel, curriculum
from keras_ncr.models.curriculum import density, subsets_of

POINTS = np.array([[0, 0], [0.1, 0], [0, 0.2], [0.3, 0.3], [1, 1], [1.5, 0.2], [4, 4]])
TARGETS = {"label": Y, "index": np.arange(24)}


def oracle(features):
    """How many others are nearer than the distance at 60 % of all, pair by pair."""
    distances = [[np.linalg.norm(a - b) for b in features] for a in features]
    cutoff = np.sort(np.ravel(distances))[int(0.6 * len(features) ** 2)]
    return [sum(d < cutoff for d in row) - 1 for row in distances]


def test_golden_densities_and_subsets():
    np.testing.assert_array_equal(density(POINTS), [3, 4, 4, 5, 4, 2, 0])
    np.testing.assert_array_equal(subsets_of(density(POINTS)), [1, 0, 0, 0, 0, 1, 2])


@pytest.mark.parametrize("num_examples", [1, 2, 3, 40])
def test_densities_are_those_of_the_oracle(num_examples):
    features = np.random.default_rng(0).normal(size=(num_examples, 3))
    np.testing.assert_array_equal(density(features), oracle(features))


def test_distances_are_between_the_directions_in_which_a_class_differs(monkeypatch):
    monkeypatch.setattr(curriculum, "NUM_DIRECTIONS", 2)
    rng = np.random.default_rng(0)
    plane, rotation = rng.normal(size=(30, 2)), np.linalg.qr(rng.normal(size=(5, 5)))[0]
    small = 1e-9 * rng.normal(size=(30, 3))
    features = np.concatenate([plane, small], axis=1) @ rotation + 7.0
    np.testing.assert_array_equal(density(features), oracle(plane))


def test_a_large_class_is_compared_with_a_part_of_it(monkeypatch):
    features = np.random.default_rng(0).normal(size=(600, 2))
    whole = density(features)
    monkeypatch.setattr(curriculum, "COMPARED", 200)
    monkeypatch.setattr(curriculum, "ROWS", 64)
    part = density(features)
    assert np.corrcoef(whole, part)[0, 1] > 0.95
    assert part.max() < 200 and len(part) == 600


@pytest.mark.parametrize(
    ("features", "subsets"),
    [
        (np.ones((5, 2)), [0] * 5),
        (np.array([[0.0], [0.0], [0.0], [0.0], [9.0]]), [0] * 5),
        (np.vstack([np.eye(3), 9 * np.ones(3), -9 * np.ones(3)]), [0, 0, 0, 1, 1]),
        (np.ones((1, 2)), [0]),
    ],
    ids="copies one_far two_densities single".split(),
)
def test_few_densities_make_few_subsets(features, subsets):
    np.testing.assert_array_equal(subsets_of(density(features)), subsets)


def test_features_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match="`features` must be finite.*row 1"):
        density(np.array([[0.0], [np.nan]]))


def test_classes_are_divided_by_themselves():
    model = new_model("curriculum", num_examples=14)
    model(X)
    labels = np.arange(14) % 2
    features = np.repeat(POINTS, 2, axis=0) + np.array([0, 50])[labels][:, None]
    model.divide(labels, features)
    expected = np.repeat([1, 0, 0, 0, 0, 1, 2], 2)
    np.testing.assert_array_equal(model.subsets.rows[:, 0], expected)


def staged(stage, subsets, **arguments):
    model = compiled("curriculum", {"num_examples": 24, **arguments})
    model(X)
    model.subsets.rows.assign(subsets[:, None])
    model.stage.assign(stage)
    return model


SUBSETS = np.arange(24) % 3
COUNTS = [[1, 1, 1], [1, 0, 0], [1, 0.3, 0], [1, 0.3, 0.3]]


@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_steps_of_each_stage_minimize_the_loss_of_what_it_has(stage, weights):
    model = staged(stage, SUBSETS, noisy_weight=0.3)
    with tf.GradientTape() as tape:
        logits = model(X, training=True)
        each = tf.nn.sparse_softmax_cross_entropy_with_logits(Y, logits)
        counts = np.array(COUNTS[stage], "float32")[SUBSETS]
        each *= counts * (1 if weights is None else weights)
        expected = tf.reduce_sum(each) / np.sum(counts > 0)
    expected_gradients = tape.gradient(expected, model.trainable_weights)
    with tf.GradientTape() as tape:
        loss, _ = model.batch_objective(X, TARGETS, weights)
    assert float(loss) == pytest.approx(float(expected), rel=1e-5)
    gradients = tape.gradient(loss, model.trainable_weights)
    for one, other in zip(gradients, expected_gradients, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_a_batch_without_dense_examples_has_loss_and_gradient_zero_at_first():
    model = staged(1, np.ones(24))
    with tf.GradientTape() as tape:
        loss, _ = model.batch_objective(X, TARGETS)
    assert float(loss) == 0
    for gradient in tape.gradient(loss, model.trainable_weights):
        assert not np.any(gradient)


class Seen(keras.callbacks.Callback):
    def on_train_begin(self, logs=None):
        self.stages, self.subsets, self.weights = [], [], []

    def on_epoch_begin(self, epoch, logs=None):
        self.stages.append(int(self.model.stage))
        self.subsets.append(self.model.subsets.rows.numpy())
        self.weights.append(self.model.backbone.kernel.numpy())


@pytest.mark.parametrize(
    ("share", "epochs", "stages"),
    [
        (0.25, 8, [0, 0, 1, 1, 2, 2, 3, 3]),
        (0.0, 3, [1, 2, 3]),
        (0.5, 3, [0, 0, 1]),
        (0.5, 5, [0, 0, 0, 1, 2]),
    ],
)
def test_epochs_belong_to_the_stages_in_their_order(share, epochs, stages):
    model = new_model("curriculum", first_stage_share=share)
    received = []
    for epoch in range(epochs):
        is_due = model.begin_epoch(epoch, epochs)
        received.append(int(model.stage))
        assert is_due == (received[-1] > 0 and 0 in [epoch, *received[-2:-1]])
    assert received == stages


def test_examples_are_divided_once_and_the_stages_start_from_the_first_weights():
    seen, model = Seen(), compiled("curriculum", {"first_stage_share": 0.25})
    fit(model, epochs=4, batch_size=24, callbacks=[seen])
    assert seen.stages == [0, 1, 2, 3]
    assert not np.any(seen.subsets[0]) and np.ptp(seen.subsets[1]) == 2
    for later in seen.subsets[2:]:
        np.testing.assert_array_equal(later, seen.subsets[1])
    np.testing.assert_array_equal(seen.weights[0], seen.weights[1])
    assert np.any(seen.weights[2] != seen.weights[1])
    assert not model.start.trainable_weights


def test_grades_take_the_place_of_densities_and_of_the_first_stage():
    scores = np.random.default_rng(0).permutation(24) / 24
    seen, model = Seen(), compiled("curriculum", {"first_stage_share": 0.5})
    model.grade(scores)
    fit(model, epochs=3, batch_size=24, callbacks=[seen])
    assert seen.stages == [1, 2, 3]
    subsets = model.subsets.rows.numpy()[:, 0]
    for label in range(3):
        expected = subsets_of(scores[Y == label].astype("float32"))
        np.testing.assert_array_equal(subsets[Y == label], expected)
        order = subsets[Y == label][np.argsort(-scores[Y == label])]
        assert sorted(order) == list(order)


def test_a_graded_model_is_still_graded_when_it_was_saved(tmp_path):
    model = compiled("curriculum")
    model.grade(np.arange(24))
    fit(model)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.is_graded
    np.testing.assert_array_equal(loaded.grades.rows[:, 0], np.arange(24))


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        (np.array([0.5, np.nan]), "must be finite.*shape \\(2,\\), 1 not finite"),
        (np.ones((24, 1)), "of shape \\(num_examples,\\). Received: shape \\(24, 1"),
        (np.ones(23), "must stay 24"),
    ],
)
def test_grades_that_cannot_be_are_refused(scores, message):
    model = new_model("curriculum", num_examples=24)
    with pytest.raises(ValueError, match=message):
        model.grade(scores)


def test_a_loss_that_is_no_mean_is_refused():
    model = compiled("curriculum", loss=cross_entropy(reduction="sum"))
    with pytest.raises(ValueError, match="`loss` must be a mean over the batch.*sum"):
        fit(model)


@pytest.mark.slow
def test_it_learns_more_than_cross_entropy_from_wrong_labels():
    plain, staged, model = beside_cross_entropy(
        CurriculumModel, 60, first_stage_share=0.1
    )
    assert staged > plain + 0.05
    _, clean, noisy = blobs(400, seed=0)
    is_right, subsets = noisy == clean, model.subsets.rows[:, 0]
    assert np.mean(is_right[subsets == 0]) > np.mean(is_right[subsets == 2]) + 0.2
