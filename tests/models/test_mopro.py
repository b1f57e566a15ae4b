"""MoPro: golden numbers, steps of a slow oracle, gradients, views, what it learns."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from batches import central_differences
from model_harness import WEIGHTS, X, Y, beside_cross_entropy, compiled, fit, new_model
from oracles import softmax, unit_rows

from keras_ncr.losses.batch_sizes import RecentRows
from keras_ncr.models import MoProModel
from keras_ncr.models import mopro_losses as parts

LOGITS = np.array([[2, 0, -1], [1, 1, 0], [0, 2, 1], [-1, 0, 3.0]])
QUERIES = unit_rows(np.array([[1, 0], [1, 1], [0, 2], [1, 3.0]]))
KEYS = unit_rows(np.array([[1, 0.5], [1, 2], [0.5, 2], [0, 1]]))
PROTOTYPES = unit_rows(np.array([[1, 0], [1, 1], [0, 1.0]]))
GIVEN = np.array([2, 2, 1, 0], "int32")


def queue_of(rows, size=5):
    queue = RecentRows(size, dtype="float64")
    queue.hold(vectors=rows.shape[1])
    queue.vectors = tf.Variable(np.zeros((size, rows.shape[1])))
    queue.push(vectors=tf.constant(rows))
    return queue


def oracle(
    given, logits, queries, keys, prototypes, queue, share, threshold, temperature=0.1
):
    """What a step decides and minimizes, example by example."""
    moved, labels, losses = prototypes.copy(), [], []
    for y, z, q, k in zip(given, logits, queries, keys, strict=True):
        by_class, by_prototype = (
            softmax(row[None])[0] for row in (z, prototypes @ q / temperature)
        )
        soft = share * by_class + (1 - share) * by_prototype
        label = np.argmax(soft) if soft.max() > threshold else y
        is_kept = soft.max() > threshold or soft[y] > 1 / len(z)
        powers = np.exp(
            np.array([q @ k, *(q @ other for other in queue)]) / temperature
        )
        each = [-np.log(by_class[label]), -np.log(by_prototype[label])]
        losses.append(
            [*(each if is_kept else 2 * [np.nan]), -np.log(powers[0] / powers.sum())]
        )
        labels.append(label if is_kept else -1)
        if is_kept:
            moved[label] = 0.9 * moved[label] + 0.1 * q
    lengths = np.linalg.norm(moved, axis=1, keepdims=True)
    moved = moved / np.where(lengths > 0, lengths, 1)
    return np.array(labels), moved, np.array(losses)


def test_golden_labels_prototypes_and_losses():
    scores = parts.prototype_logits(QUERIES, tf.constant(PROTOTYPES), 0.1)
    soft = (softmax(LOGITS) + tf.nn.softmax(scores)) / 2
    np.testing.assert_allclose(soft[0], [0.896506, 0.082467, 0.021027], atol=1e-6)
    labels, is_kept = parts.corrected(GIVEN, soft, 0.8)
    assert labels.numpy().tolist() == [0, 2, 1, 0]
    assert is_kept.numpy().tolist() == [True, False, True, False]
    moved = parts.moved_prototypes(PROTOTYPES, QUERIES, labels, is_kept, 0.9)
    expected = [[1, 0], [0.653866, 0.756611], [0, 1]]
    np.testing.assert_allclose(moved, expected, atol=1e-6)
    for logits, loss in ((LOGITS, 0.288726), (scores, 1.516584)):
        each = parts.cross_entropy(labels, logits)[is_kept]
        assert np.mean(each) == pytest.approx(loss, abs=1e-6)
    queue = queue_of(np.array([[1, 0], [-1, 0], [0, -1.0]]))
    each = parts.instance_losses(tf.constant(QUERIES), KEYS, queue, 0.1)
    assert np.mean(each) == pytest.approx(0.360447, abs=1e-6)


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.999, 1.0])
def test_prototypes_move_in_closed_form_as_one_after_the_other(momentum):
    rng = np.random.default_rng(0)
    queries, labels = unit_rows(rng.normal(size=(40, 3))), rng.integers(0, 4, 40)
    is_kept = rng.random(40) < 0.7
    prototypes = np.append(unit_rows(rng.normal(size=(4, 3))), np.zeros((1, 3)), axis=0)
    expected = prototypes.copy()
    for query, label in zip(queries[is_kept], labels[is_kept], strict=True):
        expected[label] = momentum * expected[label] + (1 - momentum) * query
    expected[:4] = unit_rows(expected[:4])
    moved = parts.moved_prototypes(prototypes, queries, labels, is_kept, momentum)
    np.testing.assert_allclose(moved, expected, atol=1e-12)


def test_a_query_that_is_not_finite_moves_no_prototype():
    queries = QUERIES.copy()
    queries[0] = np.nan
    moved = parts.moved_prototypes(PROTOTYPES, queries, [0, 0, 0, 0], [True] * 4, 0.9)
    expected = parts.moved_prototypes(
        PROTOTYPES, QUERIES, [0, 0, 0, 0], [False, True, True, True], 0.9
    )
    np.testing.assert_allclose(moved, expected)


def numbers(layers):
    return [weight.numpy() for layer in layers for weight in layer.weights]


def test_steps_are_those_of_the_oracle():
    """Two steps: the queue fills and then overflows, and the average moves."""
    settings = {"temperature": 0.1, "prototype_momentum": 0.9, "average_decay": 0.25}
    shares = {"logit_share": 0.2, "correction_threshold": 0.7, "prototype_weight": 0.7}
    model = compiled("mopro", {**settings, **shares, "instance_weight": 0.3})
    model(X)
    model.has_prototypes.assign(True)
    start = unit_rows(np.random.default_rng(3).normal(size=(3, 4)))
    model.prototypes.assign(start)
    average = model.key_network
    for step in range(2):
        x, y = X[12 * step :][:12], Y[12 * step :][:12]
        own = numbers([model.backbone, model.projection])
        means = numbers([average.backbone, average.classifier])
        if step:
            own = [
                0.25 * mean + 0.75 * one for mean, one in zip(means, own, strict=True)
            ]
        queries = unit_rows(model.projection(model.backbone(x)).numpy())
        logits, prototypes = model(x).numpy(), model.prototypes.numpy()
        queue = model.queue.vectors.numpy()[model.queue.is_filled()]
        loss = model.train_on_batch(x, y)[0]
        means = numbers([average.backbone, average.classifier])
        for mean, expected in zip(means, own, strict=True):
            np.testing.assert_allclose(mean, expected, atol=1e-6)
        keys = unit_rows(average(x).numpy())
        labels, moved, losses = oracle(
            y, logits, queries, keys, prototypes, queue, share=0.2, threshold=0.7
        )
        assert -1 in labels and any((labels != y) & (labels >= 0))
        np.testing.assert_allclose(model.prototypes, moved, atol=1e-5)
        by_class, by_prototype, instance = np.nanmean(losses, axis=0)
        total = by_class + 0.7 * by_prototype + 0.3 * instance
        assert loss == pytest.approx(total, rel=1e-5)
        np.testing.assert_allclose(model.queue.vectors[-12:], keys, atol=1e-6)
    assert len(queue) == 12 and int(model.queue.count) == 18


def test_gradient_of_instances_equals_central_differences():
    rows = np.array([[1, 0], [-1, 0], [0, -1.0]])
    queue, queries = queue_of(rows), tf.Variable(QUERIES)

    def loss_of(queries):
        return tf.reduce_mean(parts.instance_losses(queries, KEYS, queue, 0.1))

    with tf.GradientTape() as tape:
        loss = loss_of(queries)
    expected = central_differences(lambda rows: loss_of(tf.constant(rows)), QUERIES)
    np.testing.assert_allclose(tape.gradient(loss, queries), expected, atol=1e-5)


def test_no_gradient_reaches_keys_or_prototypes():
    model = compiled("mopro")
    model(X)
    trained = {id(weight) for weight in model.trainable_weights}
    kept = [*model.key_network.weights, *model.queue.weights, model.prototypes]
    assert not trained & {id(weight) for weight in kept}
    assert any(id(weight) in trained for weight in model.projection.weights)


def test_labels_stay_as_given_in_the_first_stage_and_prototypes_wait_an_epoch():
    model = compiled("mopro", {"first_stage_share": 0.5})
    seen = []
    note = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: seen.append(
            (bool(model.has_prototypes), bool(model.is_corrected))
        )
    )
    fit(model, epochs=4, batch_size=24, callbacks=[note])
    assert seen == [(False, False), (True, False), (True, True), (True, True)]


def in_last_stage(epoch=3, **arguments):
    """A model of four epochs, the last of which is the last stage, as it begins one."""
    model = compiled("mopro", {"last_stage_share": 0.25, **arguments})
    model(X)
    model.prototypes.assign(unit_rows(np.random.default_rng(3).normal(size=(3, 4))))
    model.begin_epoch(epoch, 4)
    return model


@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_last_stage_has_the_loss_of_balanced_corrected_labels(weights):
    model = in_last_stage(logit_share=0.5, correction_threshold=0.45)
    model.label_counts.assign([7.0, 1.0, 30.0])
    queries = unit_rows(model.projection(model.backbone(X)).numpy())
    logits, prototypes = model(X).numpy(), model.prototypes.numpy()
    rule = {"share": 0.5, "threshold": 0.45, "temperature": 1.0}
    labels, _, losses = oracle(Y, logits, queries, queries, prototypes, [], **rule)
    kept = labels >= 0
    assert 0 < kept.sum() < 24 and np.any(labels[kept] != Y[kept])
    counts = np.array([7, 1, 30]) + np.bincount(labels[kept], minlength=3)
    shares = counts[labels[kept]] ** -0.5
    each = losses[kept, 0] * (1 if weights is None else weights[kept])
    kernel, body = model.classifier.kernel.numpy(), model.backbone.kernel.numpy()
    loss = model.train_on_batch(X, Y, weights)[0]
    assert loss == pytest.approx(np.sum(shares * each) / np.sum(shares), rel=1e-5)
    np.testing.assert_array_equal(model.label_counts, counts)
    # The classifier alone is trained, and its labels are those of the one before.
    assert np.any(model.classifier.kernel != kernel)
    np.testing.assert_array_equal(model.judge.classifier.kernel, kernel)
    np.testing.assert_array_equal(model.backbone.kernel, body)
    np.testing.assert_array_equal(model.prototypes, prototypes)


def test_a_batch_without_labels_has_loss_zero_in_the_last_stage():
    model = in_last_stage(logit_share=1.0)
    wrong = np.argmin(model(X), axis=1)
    kernel = model.classifier.kernel.numpy()
    assert model.train_on_batch(X, wrong)[0] == 0
    np.testing.assert_array_equal(model.classifier.kernel, kernel)


def test_labels_are_counted_from_the_epoch_before_the_last_stage_on():
    model, seen = compiled("mopro", {"last_stage_share": 0.5}), []
    note = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: seen.append(
            (model.is_last_stage, float(tf.reduce_sum(model.label_counts)))
        )
    )
    model.first_stage_share = 1.0  # No label is left out.
    fit(model, epochs=4, batch_size=24, callbacks=[note])
    assert [is_last for is_last, _ in seen] == [False, False, True, True]
    assert [count for _, count in seen][:2] == [24, 24]
    assert 24 <= seen[2][1] <= seen[3][1]
    fit(model, epochs=1)  # Again, from the first stage on.
    assert not model.is_last_stage


@pytest.mark.slow
def test_last_stage_on_two_replicas_trains_as_on_one_device(two_replicas):
    arguments = {"last_stage_share": 0.5, "first_stage_share": 0.0}
    one = compiled("mopro", arguments)
    with two_replicas.scope():
        two = compiled("mopro", arguments)
    for model in (one, two):
        fit(model, epochs=2, sample_weight=WEIGHTS)
    for left, right in zip(one.weights, two.weights, strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-4, atol=1e-4)


def test_a_model_with_a_last_stage_is_the_same_when_it_was_saved(tmp_path):
    model = compiled("mopro", {"last_stage_share": 0.5})
    fit(model, epochs=2)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    for one, other in zip(loaded.weights, model.weights, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("share", [0.9, 1.0])
def test_a_last_stage_that_leaves_no_room_is_refused(share):
    with pytest.raises(ValueError, match=f"1 - first_stage_share=0.8. Rec.*: {share}"):
        new_model("mopro", first_stage_share=0.2, last_stage_share=share)


def test_a_batch_out_of_distribution_has_the_loss_of_instances_alone():
    model = compiled("mopro", {"logit_share": 1.0, "instance_weight": 0.0})
    model(X)
    wrong = (np.argmin(model(X), axis=1)).astype(int)
    with tf.GradientTape() as tape:
        loss, _ = model.batch_objective(X, wrong)
    assert float(loss) == 0
    for gradient in tape.gradient(loss, model.trainable_weights):
        assert gradient is None or not np.any(gradient)
    np.testing.assert_array_equal(model.prototypes, np.zeros((3, 4)))


def test_first_views_are_classified_and_second_ones_make_the_keys():
    model = compiled("mopro", {"num_views": 2})
    model(X)
    _, logits = model.batch_objective(X, Y)
    np.testing.assert_allclose(logits, np.repeat(model(X[::2]), 2, axis=0), atol=1e-6)
    keys = unit_rows(model.key_network(X[1::2]).numpy())
    np.testing.assert_allclose(model.queue.vectors[-12:], keys, atol=1e-6)


def test_sample_weights_leave_the_loss_of_instances_alone():
    model = compiled("mopro", {"num_views": 2})
    model(X)
    model.batch_objective(X, Y)  # The queue is empty before.
    weighted, plain = (
        float(model.batch_objective(X, Y, weights)[0])
        for weights in (np.zeros(24, "float32"), None)
    )
    model = compiled("mopro", {"instance_weight": 0.0})
    model(X)
    assert float(model.batch_objective(X, Y, 0 * WEIGHTS)[0]) == 0
    assert 0 < weighted < plain


@pytest.mark.slow
def test_it_learns_more_than_cross_entropy_from_wrong_labels():
    settings = {"prototype_momentum": 0.9, "average_decay": 0.9, "queue_size": 400}
    plain, corrected, _ = beside_cross_entropy(MoProModel, 30, num_views=1, **settings)
    assert corrected > plain + 0.08
