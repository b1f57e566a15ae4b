"""ELR, alone and joined with NCR: closed forms, a slow step, memory, replicas, use."""

import keras
import numpy as np
import oracles
import pytest
import tensorflow as tf

import keras_ncr
from keras_ncr import ELRModel
from keras_ncr.models import EarlyLearningRegularization
from keras_ncr.models.example_memory import ExampleMemory

CLIP = 1e-4


def elr_oracle(logits, index, targets, momentum):
    """ELR's term example by example, in float64; moves `targets` in place."""
    values = []
    for row, i in zip(np.asarray(logits, "float64"), index, strict=True):
        p = np.clip(oracles.softmax(row), CLIP, 1 - CLIP)
        targets[i] = momentum * targets[i] + (1 - momentum) * p / p.sum()
        values.append(np.log(max(1 - targets[i] @ p, CLIP)))
    return np.array(values)


def linear_backbone(dim=4, width=6, seed=0):
    """A layer of features that are not negative."""
    inputs = keras.Input((dim,))
    initializer = keras.initializers.RandomNormal(0, 1, seed=seed)
    layer = keras.layers.Dense(width, "relu", kernel_initializer=initializer)
    return keras.Model(inputs, layer(inputs))


def compiled(**arguments):
    model = ELRModel(linear_backbone(), 3, **arguments)
    model.build((None, 4))
    model.compile(
        keras.optimizers.SGD(0.5),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        run_eagerly=True,
    )
    return model


def toy(num_examples=24, seed=0):
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(num_examples, 4)).astype("float32")
    return x, generator.integers(0, 3, num_examples)


# The term


def test_equals_the_oracle_over_several_visits():
    generator = np.random.default_rng(0)
    layer = EarlyLearningRegularization(3, num_examples=10, momentum=0.9)
    targets = np.zeros((10, 3))
    for _ in range(5):
        logits = generator.normal(0, 3, (4, 3)).astype("float32")
        index = generator.permutation(10)[:4]
        expected = elr_oracle(logits, index, targets, 0.9)
        np.testing.assert_allclose(layer(logits, index), expected, rtol=2e-5, atol=1e-6)
        np.testing.assert_allclose(layer.targets.rows, targets, rtol=1e-5, atol=1e-7)


def test_first_visit_has_a_closed_form():
    # t = (1 - beta) p, so the term is log(1 - (1 - beta) sum p^2).
    layer = EarlyLearningRegularization(2, num_examples=1, momentum=0.7)
    value = layer(np.array([[np.log(3.0), 0.0]]), np.array([0]))
    expected = np.log(1 - 0.3 * (0.75**2 + 0.25**2))
    np.testing.assert_allclose(value, [expected], rtol=1e-6)


def test_gradient_is_that_of_central_differences_with_the_target_fixed():
    logits = np.array([[1.0, -0.5, 0.3]])
    layer = EarlyLearningRegularization(3, num_examples=1)
    start = np.array([[0.2, 0.5, 0.1]], "float32")
    layer.targets.write(np.array([0]), start)
    variable = tf.Variable(logits, dtype="float32")
    with tf.GradientTape() as tape:
        value = tf.reduce_sum(layer(variable, np.array([0])))
    target = layer.targets.rows.numpy()[0].astype("float64")

    def term(z):
        return np.log(1 - target @ oracles.softmax(z))

    steps = 1e-5 * np.eye(3)
    expected = [(term(logits[0] + e) - term(logits[0] - e)) / 2e-5 for e in steps]
    np.testing.assert_allclose(tape.gradient(value, variable)[0], expected, rtol=1e-4)


@pytest.mark.parametrize("size", [50.0, 1e4])
def test_sure_predictions_have_finite_values_and_gradients(size):
    layer = EarlyLearningRegularization(2, num_examples=1, momentum=0.0)
    logits = tf.Variable([[size, -size]])
    with tf.GradientTape() as tape:
        value = layer(logits, np.array([0]))
    # <t, p> = 1 - 2e-4, to first order.
    np.testing.assert_allclose(value, [np.log(2e-4)], rtol=1e-3)
    assert np.all(np.isfinite(tape.gradient(value, logits)))


def test_layer_computes_in_float32_under_a_half_precision_policy():
    keras.config.set_dtype_policy("mixed_float16")
    layer = EarlyLearningRegularization(2, num_examples=3000)
    value = layer(tf.constant([[1.0, 0.0]], "float16"), np.array([2999]))
    assert value.dtype == "float32"
    assert np.any(layer.targets.rows.numpy()[2999] > 0)


# The memory


def test_memory_reads_what_was_written_and_leaves_the_rest():
    memory = ExampleMemory(2, num_examples=4, initializer="ones")
    memory.write(np.array([3, 0]), np.array([[5, 6], [7, 8]], "float32"))
    np.testing.assert_array_equal(memory.rows, [[7, 8], [1, 1], [1, 1], [5, 6]])


def test_memory_keeps_its_size():
    memory = ExampleMemory(2, num_examples=4)
    memory.reserve(4)
    with pytest.raises(ValueError, match="must stay 4.*Received: 5"):
        memory.reserve(5)


def test_memory_without_room_says_what_to_do():
    with pytest.raises(ValueError, match="Pass it to the constructor, or call"):
        ExampleMemory(2)(np.array([0]))


# The model


def step_oracle(model, x, y, index, targets):
    """Returns the loss of one step, by plain formulas on the model's weights."""
    kernel, bias, classifier, offset = (
        np.asarray(weight, "float64") for weight in model.trainable_weights
    )
    features = np.maximum(x @ kernel + bias, 0)
    logits = features @ classifier + offset
    probabilities = np.array([oracles.softmax(row) for row in logits])
    cross_entropy = -np.mean(np.log(probabilities[np.arange(len(y)), y]))
    consistency = np.mean(
        oracles.neighbor_consistency(
            features, logits, 10, similarity_power=6.0, temperature_squared=True
        )
    )
    elr = np.mean(elr_oracle(logits, index, targets, 0.7))
    alpha = model.consistency_weight
    return (1 - alpha) * cross_entropy + alpha * consistency + model.elr_weight * elr


@pytest.mark.parametrize("alpha", [0.0, 0.3])
def test_objective_is_that_of_plain_formulas(alpha):
    x, y = toy()
    model = compiled(num_examples=24, elr_weight=2.0, consistency_weight=alpha)
    targets = np.zeros((24, 3))
    for start in (0, 12, 0):
        part = np.arange(start, start + 12)
        expected = step_oracle(model, x[part], y[part], part, targets)
        model.reset_metrics()
        data = (x[part], {"label": y[part], "index": part})
        loss = model.train_step(data)["loss"]
        np.testing.assert_allclose(loss, expected, rtol=2e-5)
        np.testing.assert_allclose(
            model.early_learning.targets.rows, targets, rtol=1e-4, atol=1e-6
        )


def test_arrays_are_numbered_in_any_order_of_the_batches():
    x, y = toy()
    model = compiled(elr_weight=1.0)
    model.optimizer.learning_rate = 0.0
    model.fit(x, y, batch_size=7, epochs=2, verbose=0)
    p = tf.nn.softmax(model.predict(x, verbose=0)).numpy()
    p = np.clip(p, CLIP, 1 - CLIP)
    p /= p.sum(axis=1, keepdims=True)
    # Two visits of each example, from zero.
    expected = (1 - 0.7**2) * p
    rows = model.early_learning.targets.rows
    np.testing.assert_allclose(rows, expected, rtol=1e-4, atol=1e-6)


def test_batches_of_the_pipeline_carry_the_numbers():
    train, _ = keras_ncr.datasets.digits()
    train = train.subset(np.arange(40))
    batches = keras_ncr.pipelines.training_batches(
        train, 16, num_epochs=1, carry=["index"]
    )
    model = ELRModel(keras_ncr.backbones.mlp((8, 8, 1), (4,)), 10, num_examples=40)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss, run_eagerly=True)
    model.fit(batches, verbose=0)
    assert np.all(np.sum(model.early_learning.targets.rows, axis=1) > 0.29)


def test_validation_split_and_sample_weights_work():
    x, y = toy()
    history = compiled().fit(
        x, y, sample_weight=np.ones(24), validation_split=0.25, verbose=0
    )
    assert {"val_loss", "val_accuracy"} <= set(history.history)


@pytest.mark.slow
def test_learns_what_cross_entropy_does_not():
    generator = np.random.default_rng(0)
    clean = np.arange(300) % 3
    x = generator.normal(0, 1, (300, 30)) + 3.0 * np.eye(3, 30)[clean]
    noisy = np.where(generator.random(300) < 0.5, generator.integers(0, 3, 300), clean)
    accuracies = {}
    for elr_weight in (1e-9, 3.0):
        keras.utils.set_random_seed(0)
        model = ELRModel(
            keras.Sequential([keras.layers.Dense(128, "relu")]),
            3,
            elr_weight=elr_weight,
            consistency_weight=0.0,
        )
        model.compile(
            keras.optimizers.SGD(0.1, momentum=0.9),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
        )
        model.fit(x, noisy, batch_size=100, epochs=30, verbose=0)
        accuracies[elr_weight] = model.evaluate(x, clean, verbose=0)[1]
    assert accuracies[3.0] > accuracies[1e-9] + 0.1, accuracies
