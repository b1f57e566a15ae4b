"""MLNT: golden terms and gradients, copies and stages, neighbors, what it learns."""

import keras
import numpy as np
import oracles
import pytest
import tensorflow as tf
from model_harness import (
    X,
    Y,
    assert_close,
    assert_same_variables,
    beside_cross_entropy,
    compiled,
    cross_entropy,
    dense,
    fit,
    new_model,
    numeric_gradient,
)

from keras_ncr.models import MLNTModel, NCRModel
from keras_ncr.models.mlnt import nearest_in_batch, relabeled

ROWS = np.array([[1, 0], [1, 1], [0, 2], [1, 3.0]], "float32")
KERNEL = np.array([[1, 0, -1], [0, 0.5, 0.2]], "float32")
SYNTHETIC = np.array([0, 1, 1, 2])
# By the weights, of the mean divergence, which the term divides by the classes.
SECOND_ORDER = [[0.000070, 0.006193, -0.006263], [-0.072490, 0.043554, 0.028936]]
FIRST_ORDER = [[-0.007735, 0.013507, -0.005772], [-0.095784, 0.065496, 0.030288]]


def linear_model(second_order):
    model = MLNTModel(
        keras.layers.Identity(),
        3,
        inner_learning_rate=0.2,
        second_order=second_order,
        classifier=keras.layers.Dense(3, use_bias=False),
    )
    model(ROWS)
    model.classifier.kernel.assign(KERNEL)
    return model


def term_of(kernel):
    """The mean divergence over the classes after an inner step, row by row."""
    kernel = kernel.astype("float64")
    gradient = np.zeros_like(kernel)
    for row, label in zip(ROWS, SYNTHETIC, strict=True):
        difference = oracles.softmax(row @ kernel) - np.eye(3)[label]
        gradient += np.outer(row, difference) / len(ROWS)
    moved, divergences = kernel - 0.2 * gradient, []
    for row in ROWS:
        target = oracles.softmax(row @ (0.8 * KERNEL.astype("float64")))
        prediction = oracles.softmax(row @ moved)
        divergences.append(np.sum(target * np.log(target / prediction)))
    return np.mean(divergences) / 3


@pytest.mark.parametrize(
    ("second_order", "gradient"), [(True, SECOND_ORDER), (False, FIRST_ORDER)]
)
def test_golden_term_and_gradients(second_order, gradient):
    targets = tf.nn.softmax(ROWS @ (0.8 * KERNEL))
    term, (received,) = linear_model(second_order).term_and_gradients(
        ROWS, tf.one_hot(SYNTHETIC, 3), targets, [tf.constant(KERNEL)]
    )
    assert float(term) == pytest.approx(0.003365696, abs=1e-7)
    assert term_of(KERNEL) == pytest.approx(0.010097088 / 3, abs=1e-9)
    np.testing.assert_allclose(3 * received, gradient, atol=2e-6)


def test_second_order_is_the_gradient_by_differences():
    received = numeric_gradient(term_of, KERNEL.astype("float64"))
    np.testing.assert_allclose(3 * received, SECOND_ORDER, atol=1e-6)


@pytest.mark.parametrize("second_order", [True, False])
def test_a_step_minimizes_the_loss_and_the_mean_of_the_terms(second_order):
    arguments = {"num_label_sets": 3, "meta_weight": 5.0, "second_order": second_order}
    model = compiled("mlnt", arguments)
    model(X)
    weights = [tf.constant(one.value) for one in model.trainable_variables]
    with tf.GradientTape() as tape:
        objective, logits = model.batch_objective(X, Y)
    received = tape.gradient(objective, model.trainable_weights)
    # Of the first step copies are the network itself.
    for copy in (model.teacher, model.frozen):
        for part in ("backbone", "classifier"):
            ours, theirs = getattr(copy, part), getattr(model, part)
            assert_same_variables(ours.weights, theirs.weights, 0)
    plain = compiled("ncr", {"consistency_weight": 0.0})
    plain(X)
    with tf.GradientTape() as tape:
        loss, _ = plain.batch_objective(X, Y)
    expected = tape.gradient(loss, plain.trainable_weights)
    neighbors = nearest_in_batch(plain.backbone(X), 10)
    for number in range(3):
        seed = tf.random.fold_in([0, 0], number)
        drawn = relabeled(tf.one_hot(Y, 3), neighbors, 0.5, seed)
        targets = tf.nn.softmax(logits)
        term, own = model.term_and_gradients(X, drawn, targets, weights)
        loss += 5 / 3 * term
        expected = [one + 5 / 3 * two for one, two in zip(expected, own, strict=True)]
    assert float(objective) == pytest.approx(float(loss), rel=1e-6)
    for one, two in zip(received, expected, strict=True):
        assert_close(one, two, 1e-6)
    assert np.any(np.abs(own[0]) > 1e-5)


def test_terms_move_neither_statistics_nor_generators():
    def trained(cls, **arguments):
        backbone = keras.Sequential(
            [
                dense(8, 1),
                keras.layers.BatchNormalization(momentum=0.5),
                keras.layers.Dropout(0.3, seed=1),
            ]
        )
        model = cls(backbone, 3, classifier=dense(3, 2), **arguments)
        model.compile("sgd", cross_entropy(), run_eagerly=True)
        fit(model)
        return model.backbone.variables

    none = {"first_stage_share": 0.0, "num_label_sets": 1, "meta_weight": 0.0}
    ours = trained(MLNTModel, **none)
    assert_same_variables(ours, trained(NCRModel, consistency_weight=0.0), 0)


def test_the_teacher_follows_at_one_pace_in_the_ramp_and_at_another_after_it():
    arguments = {"ramp_steps": 2, "average_decay": 0.5, "early_average_decay": 0.25}
    model = compiled("mlnt", {**arguments, "first_stage_share": 0.5})
    fit(model)  # Two steps, both of the first stage.
    assert int(model.meta_steps) == 0
    model.is_second_stage.assign(True)
    seen = []
    for _ in range(4):
        seen.append(model.backbone.kernel.numpy())
        model.train_on_batch(X, Y)
    expected = seen[0]
    for kernel, decay in zip(seen[1:], [0.25, 0.5, 0.5], strict=True):
        expected = decay * expected + (1 - decay) * kernel
    assert_close(model.teacher.backbone.kernel, expected)
    assert_close(model.frozen.backbone.kernel, seen[0], 0)
    assert int(model.meta_steps) == 4


def test_a_second_fit_has_both_stages_again():
    model = compiled("mlnt", {"first_stage_share": 0.5})
    for _ in range(2):
        fit(model, epochs=2)
        assert int(model.meta_steps) == 2 and bool(model.is_second_stage)


def test_neighbors_are_nearest_by_distance_and_never_the_row_itself():
    rows = np.random.default_rng(0).normal(size=(9, 3))
    rows[4] = rows[7]
    received = nearest_in_batch(rows, 5).numpy()
    for number, found in enumerate(received):
        others = [other for other in range(9) if other != number]
        distances = {j: np.sum((rows[number] - rows[j]) ** 2) for j in others}
        assert found.tolist() == sorted(others, key=distances.get)[:5]
    assert nearest_in_batch(rows, 20).shape == (9, 8)


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_a_share_of_the_labels_are_those_of_neighbors(share):
    labels, neighbors = tf.eye(10), (np.arange(10)[:, None] + [1, 2]) % 10
    steps = set()
    for number in range(20):
        drawn = relabeled(labels, neighbors, share, [0, number]).numpy()
        step = (drawn.argmax(1) - np.arange(10)) % 10
        assert np.sum(step > 0) == 10 * share
        steps |= set(step.tolist())
    assert steps == {0.0: {0}, 0.5: {0, 1, 2}, 1.0: {1, 2}}[share]


def test_a_batch_of_one_keeps_its_label():
    neighbors = nearest_in_batch(np.ones((1, 2)), 10)
    np.testing.assert_array_equal(
        relabeled([[0.0, 1.0]], neighbors, 1.0, [0, 0])[0, 1], 1
    )


def test_rows_that_the_loss_ignores_have_no_part_in_inner_steps():
    loss = cross_entropy(ignore_class=-1)
    unlabeled = np.where(np.arange(24) % 3 == 0, -1, Y)
    model = compiled("mlnt", loss=loss)
    assert np.isfinite(fit(model, y=unlabeled)["loss"][0])


def test_replicas_are_refused(two_replicas):
    with two_replicas.scope():
        model = new_model("mlnt")
        with pytest.raises(
            ValueError, match="MLNTModel must be on one device. .*2 rep"
        ):
            model.compile("sgd", cross_entropy())


@pytest.mark.slow
def test_it_learns_more_than_cross_entropy_from_wrong_labels():
    paces = {"average_decay": 0.95, "early_average_decay": 0.9, "ramp_steps": 10}
    plain, taught, _ = beside_cross_entropy(
        MLNTModel,
        30,
        first_stage_share=0.1,
        num_label_sets=5,
        meta_weight=20.0,
        inner_learning_rate=0.5,
        **paces,
    )
    assert taught > plain + 0.08
