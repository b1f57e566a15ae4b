"""SOPModel: one step by a slow oracle, noise by example, two views, Keras' manners."""

import keras
import model_harness
import numpy as np
import pytest
import tensorflow as tf
from model_harness import (
    X,
    blobs,
    cross_entropy,
    learned,
    numeric_gradient,
    view_batches,
)
from oracles import softmax

from keras_ncr.models.mix_match import imbalance
from keras_ncr.models.sop import SOPModel, sop_loss, view_divergence

Y = np.random.default_rng(1).integers(0, 3, 24)
PAIRS = np.repeat(Y[:12], 2)
INDEX = np.repeat(np.random.default_rng(2).permutation(12), 2)
SOP_PLUS = {"num_views": 2, "consistency_term_weight": 0.9, "balance_weight": 0.1}


def small_backbone():
    return keras.Sequential([keras.layers.Dense(8, activation="relu")])


def make(backbone=small_backbone, compiled=None, **kwargs):
    """Returns a compiled model with the same initial weights every time."""
    keras.utils.set_random_seed(1)
    model = SOPModel(backbone(), 3, **kwargs)
    settings = {"metrics": ["accuracy"], "run_eagerly": True} | (compiled or {})
    model.compile(keras.optimizers.SGD(0.5, momentum=0.9), **settings)
    return model


def fit(model, x=X, y=Y, **kwargs):
    return model_harness.fit(model, x, y, **kwargs)


def with_noise(model, num_examples):
    """Gives the model noise that matters, as it has late in training."""
    rng = np.random.default_rng(5)
    model.u.reserve(num_examples)
    model.v.reserve(num_examples)
    for memory in (model.u, model.v):
        # Some are beyond 1, where noise is as large as it can be.
        memory.rows.assign(rng.uniform(-1.1, 1.1, memory.rows.shape))
    return model


def assert_same_variables(model, other, **tolerance):
    for ours, theirs in zip(model.variables, other.variables, strict=True):
        np.testing.assert_allclose(
            ours.numpy(), theirs.numpy(), err_msg=ours.path, **tolerance
        )


# The oracle


def oracle(kernel, u, v, fixed_kernel, fixed_v, x, labels, weights, settings):
    """SOP's loss of a linear classifier, view by view, example by example.

    `fixed_kernel` and `fixed_v` are the same numbers where no gradient is to flow.
    """
    num_views, consistency, balance = settings
    num_examples = len(x) // num_views
    total, predictions = 0.0, []
    for i in range(num_examples):
        row = i * num_views
        y = labels[row]
        p = softmax(x[row] @ kernel)
        added = [min(u[i, 0] ** 2, 1) * y[c] for c in range(3)]
        removed = [min(v[i, c] ** 2, 1) * (1 - y[c]) for c in range(3)]
        fixed = [min(fixed_v[i, c] ** 2, 1) * (1 - y[c]) for c in range(3)]
        q = np.array([max(p[c] + added[c] - fixed[c], 1e-4) for c in range(3)])
        # Twice, as `forward` of the released loss has it (model/loss.py).
        q = np.maximum(q / q.sum(), 1e-4)
        predictions.append(q)
        cross_entropy = -sum(y[c] * np.log(q[c]) for c in range(3))
        hard = np.eye(3)[np.argmax(p)]
        unexplained = sum(
            (hard[c] + added[c] - removed[c] - y[c]) ** 2 for c in range(3)
        )
        total += weights[row] * (cross_entropy + unexplained) / num_examples
        if consistency:
            first = softmax(x[row] @ fixed_kernel)
            second = softmax(x[row + 1] @ kernel)
            divergence = sum(first * np.log(first / second))
            total += consistency * divergence / num_examples
    if balance:
        mean = np.mean(predictions, axis=0)
        total += balance * sum(np.log(1 / 3 / mean[c]) / 3 for c in range(3))
    return total


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
@pytest.mark.parametrize("plus", [{}, SOP_PLUS], ids=["sop", "sop+"])
def test_a_step_follows_the_formulas(plus, smoothing):
    model = with_noise(
        make(
            keras.layers.Flatten,
            u_learning_rate=0.3,
            v_learning_rate=0.7,
            classifier=keras.layers.Dense(3, use_bias=False),
            **plus,
        ),
        num_examples=12,
    )
    num_views = plus.get("num_views", 1)
    x, numbers, index = X[: 12 * num_views], PAIRS[::2], INDEX[::2]
    numbers, index = np.repeat(numbers, num_views), np.repeat(index, num_views)
    labels = (1 - smoothing) * np.eye(3)[numbers] + smoothing / 3
    weights = np.repeat(np.linspace(0.1, 2.0, 12), num_views)
    model(x)
    kernel, u, v = [
        variable.numpy().astype("float64")
        for variable in (model.classifier.kernel, model.u.rows, model.v.rows)
    ]
    of_batch = index[::num_views]
    settings = [
        plus.get(name, 0)
        for name in ("num_views", "consistency_term_weight", "balance_weight")
    ]
    data = x, labels, weights, [num_views, *settings[1:]]

    def loss(some_kernel, some_u, some_v):
        return oracle(
            some_kernel, some_u[of_batch], some_v[of_batch], kernel, v[of_batch], *data
        )

    y = {"label": labels if smoothing else numbers, "index": index}
    history = fit(model, x, y, batch_size=len(x), sample_weight=weights)
    np.testing.assert_allclose(history["classification_loss"], [loss(kernel, u, v)])
    to_kernel = numeric_gradient(lambda k: loss(k, u, v), kernel)
    to_u = numeric_gradient(lambda some_u: loss(kernel, some_u, v), u)
    to_v = numeric_gradient(lambda some_v: loss(kernel, u, some_v), v)
    assert min(np.abs(g).max() for g in (to_kernel, to_u, to_v)) > 0.01
    close = {"atol": 1e-5}
    np.testing.assert_allclose(
        model.classifier.kernel, kernel - 0.5 * to_kernel, **close
    )
    np.testing.assert_allclose(model.u.rows, u - 0.3 * to_u, **close)
    np.testing.assert_allclose(model.v.rows, v - 0.7 * to_v, **close)


# Closed forms and edges of the terms


def test_without_noise_it_is_cross_entropy_and_a_count_of_errors():
    logits = tf.constant(X[:, :3])
    labels = tf.one_hot(Y, 3)
    q, loss = sop_loss(labels, logits, tf.zeros((24, 1)), tf.zeros((24, 3)))
    cross_entropy = tf.nn.softmax_cross_entropy_with_logits(labels, logits)
    is_wrong = np.argmax(logits, axis=1) != Y
    np.testing.assert_allclose(q, tf.nn.softmax(logits), rtol=1e-5)
    np.testing.assert_allclose(loss, cross_entropy + 2.0 * is_wrong, rtol=1e-5)


def test_noise_on_the_right_classes_explains_a_wrong_label():
    labels, logits = tf.constant([[0.0, 1.0, 0.0]]), tf.constant([[50.0, 0.0, 0.0]])
    _, loss = sop_loss(labels, logits, tf.ones((1, 1)), tf.constant([[1.0, 1.0, 0.0]]))
    # What is left are the two classes at the floor of the probabilities.
    np.testing.assert_allclose(loss, [np.log(1 + 2e-4)], rtol=1e-3)


def test_probabilities_are_at_least_the_floor_once_they_sum_to_one():
    """The released code clamps before and after it normalizes, at 1e-4 both times."""
    labels, logits = tf.constant([[0.0, 1.0, 0.0]]), tf.constant([[50.0, 0.0, 0.0]])
    with tf.GradientTape() as tape:
        tape.watch(logits)
        q, loss = sop_loss(labels, logits, tf.zeros((1, 1)), tf.zeros((1, 3)))
    np.testing.assert_allclose(q, [[1 / 1.0002, 1e-4, 1e-4]], rtol=1e-6)
    np.testing.assert_allclose(loss, [2 - np.log(1e-4)], rtol=1e-6)
    np.testing.assert_array_equal(tape.gradient(loss, logits), np.zeros((1, 3)))


@pytest.mark.parametrize("scale", [0.0, 1.0, 1e4])
def test_gradients_are_finite(scale):
    logits = tf.constant(scale * X[:, :3])
    u, v = tf.constant(scale * X[:, 3:4]), tf.constant(scale * X[:, 2:5])
    with tf.GradientTape() as tape:
        tape.watch([logits, u, v])
        q, loss = sop_loss(tf.one_hot(Y, 3), logits, u, v)
        loss += view_divergence(logits[::-1], logits) + imbalance(q)
    assert np.isfinite(loss).all()
    for gradient in tape.gradient(loss, [logits, u, v]):
        assert np.isfinite(gradient).all()


def test_the_first_view_leads_and_the_second_follows():
    first, second = tf.constant(X[:, :3]), tf.constant(X[:, 2:])
    with tf.GradientTape() as tape:
        tape.watch([first, second])
        loss = view_divergence(first, second)
    to_first, to_second = tape.gradient(loss, [first, second])
    assert to_first is None
    difference = tf.nn.softmax(second) - tf.nn.softmax(first)
    np.testing.assert_allclose(to_second, difference, atol=1e-6)
    np.testing.assert_allclose(view_divergence(first, first + 3), 0, atol=1e-6)


def test_balanced_classes_cost_nothing():
    np.testing.assert_allclose(imbalance(tf.eye(3) * 0.7 + 0.1), 0, atol=1e-6)
    skewed = imbalance(tf.constant([[0.5, 0.25, 0.25]]))
    np.testing.assert_allclose(skewed, np.log(32 / 27) / 3, rtol=1e-5)


# The noise of each example


def test_noise_starts_near_zero_by_the_seed():
    models = [make(num_examples=500, seed=seed) for seed in (0, 0, 1)]
    for name in ("u", "v"):
        rows = [getattr(model, name).rows.numpy() for model in models]
        np.testing.assert_array_equal(rows[0], rows[1])
        assert np.any(rows[0] != rows[2])
        np.testing.assert_allclose(rows[0].std(), 1e-8, rtol=0.1)
        assert abs(rows[0].mean()) < 2e-9
    assert np.any(models[0].u.rows.numpy() != models[0].v.rows.numpy()[:, :1])


def test_only_the_examples_of_a_batch_move():
    model = make(num_examples=30)
    for memory in (model.u, model.v):
        memory.rows.assign(tf.fill(memory.rows.shape, 0.5))
    model.train_on_batch(X[:3], {"label": Y[:3], "index": np.array([29, 3, 7])})
    for memory in (model.u, model.v):
        is_moved = np.any(memory.rows.numpy() != 0.5, axis=1)
        np.testing.assert_array_equal(np.flatnonzero(is_moved), [3, 7, 29])


def test_an_example_that_is_there_twice_moves_by_both_gradients():
    models = []
    for repeats in (1, 2):
        # The loss is a mean: two copies of one example have half its gradient each.
        model = with_noise(make(num_examples=4), 4)
        x, y = np.repeat(X[:1], repeats, axis=0), np.repeat(Y[:1], repeats)
        index = np.full(repeats, 2)
        model.train_on_batch(x, {"label": y, "index": index})
        models.append(model)
    assert_same_variables(*models, atol=1e-6)


def test_an_example_of_weight_zero_keeps_its_noise():
    model = with_noise(make(), 24)
    before = model.u.rows.numpy()
    weights = np.arange(24) % 2
    fit(model, sample_weight=weights)
    is_moved = np.any(model.u.rows.numpy() != before, axis=1)
    assert not np.any(is_moved[weights == 0])
    assert np.any(is_moved[weights == 1])


def test_alpha_does_not_apply_to_noise():
    models = [
        with_noise(make(consistency_weight=alpha), 24) for alpha in (0.0, 0.4, 1.0)
    ]
    for model in models:
        fit(model, batch_size=24)
    for model in models[1:]:
        np.testing.assert_array_equal(model.u.rows.numpy(), models[0].u.rows.numpy())
        np.testing.assert_array_equal(model.v.rows.numpy(), models[0].v.rows.numpy())


def test_noise_of_a_label_is_a_share():
    model = with_noise(make(num_examples=4), 4)
    model.u.rows.assign([[0.0], [-0.5], [1.0], [1.3]])
    np.testing.assert_allclose(model.noise_at_label([0, 1, 2, 3]), [0, 0.25, 1, 1])


# The manners of a Keras classifier


def test_arrays_are_numbered():
    numbered = make()
    history = fit(numbered)
    by_hand = make()
    assert fit(by_hand, y={"label": Y, "index": np.arange(24)}) == history
    assert_same_variables(numbered, by_hand, rtol=0)
    assert numbered.u.num_examples == numbered.v.num_examples == 24


def test_views_in_arrays_are_numbered_by_example():
    model = make(**SOP_PLUS)
    fit(model, y=PAIRS)
    assert model.u.num_examples == 12


def test_evaluation_is_cross_entropy():
    model = with_noise(make(), 24)
    weights = np.linspace(0.1, 2.0, 7)
    loss, accuracy = model.evaluate(X[:7], Y[:7], sample_weight=weights, verbose=0)
    logits = model.predict(X[:7], verbose=0)
    expected = cross_entropy()(Y[:7], logits, weights)
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    np.testing.assert_allclose(accuracy, np.mean(logits.argmax(1) == Y[:7]))


@pytest.mark.parametrize(
    "jit_compile", [False, pytest.param(True, marks=pytest.mark.slow)]
)
@pytest.mark.slow
def test_graph_trains_as_eager_execution(jit_compile):
    compiled = {"run_eagerly": False, "jit_compile": jit_compile}
    options = {"y": None, "batch_size": None}
    models, histories = [], []
    for settings in (compiled, {}):
        model = make(compiled=settings, num_examples=24, **SOP_PLUS)
        models.append(with_noise(model, 24))
        histories.append(fit(model, view_batches(), **options))
    np.testing.assert_allclose(histories[0]["loss"], histories[1]["loss"], rtol=1e-4)
    assert_same_variables(*models, atol=1e-4)


@pytest.mark.slow
def test_two_replicas_train_as_one_device(two_replicas):
    settings = {"consistency_weight": 0.5, **SOP_PLUS}
    one = make(**settings)
    with two_replicas.scope():
        two = make(**settings)
    # An example in both replicas' parts of the second batch.
    index = INDEX.copy()
    index[12:14] = index[22:24]
    histories = [fit(model, y={"label": PAIRS, "index": index}) for model in (one, two)]
    for name in histories[0]:
        np.testing.assert_allclose(histories[1][name], histories[0][name], rtol=1e-4)
    # Noise is still far smaller than any tolerance, but not its relative growth.
    assert_same_variables(one, two, rtol=1e-3, atol=1e-14)


def test_variables_hold_all_that_a_resumed_run_needs():
    whole, first, second = [make(num_examples=24) for _ in range(3)]
    fit(whole, epochs=2)
    fit(first)
    second.build((None, 5))
    second.optimizer.build(second.trainable_variables)
    state = [*first.variables, *first.optimizer.variables]
    for new, old in zip(
        [*second.variables, *second.optimizer.variables], state, strict=True
    ):
        new.assign(old)
    fit(second, initial_epoch=1, epochs=2)
    assert_same_variables(second, whole, rtol=0)


# Errors


def test_consistency_of_one_view_is_refused():
    with pytest.raises(ValueError, match="`num_views` must be 2 .*second_view"):
        SOPModel(small_backbone(), 3, consistency_term_weight=0.9)


# Learning


@pytest.mark.slow
def test_it_learns_better_than_cross_entropy_and_finds_the_wrong_labels():
    x, clean, y = blobs(512, seed=0)
    rates = {"u_learning_rate": 30.0, "v_learning_rate": 30.0}
    plain, ours, model = learned(SOPModel, x, y, shuffle=True, **rates)
    assert ours > plain + 0.1
    noise = model.noise_at_label(np.arange(512)).numpy()
    assert noise[y != clean].mean() > 0.7
    assert noise[y == clean].mean() < 0.1
