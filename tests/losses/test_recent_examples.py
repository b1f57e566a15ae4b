"""The queue of past examples: who is in it, who may use it, and that it survives."""

import functools

import keras
import numpy as np
import oracles
import pytest
import tensorflow as tf
from batches import assert_all_close, random_batch, value_and_gradients
from replica_runs import on_replicas, split

from keras_ncr import NCRModel, NeighborConsistencyLoss
from keras_ncr.losses import PassThrough
from keras_ncr.losses.batch_sizes import RecentExamples
from keras_ncr.losses.consistency import Settings, consistency
from keras_ncr.models import NetworkPair

DIRECTIONS = ["self_to_neighbors", "neighbors_to_self"]
DIM, NUM_CLASSES = 4, 3


def step(layer, features, logits):
    """One step of training: loss, and the gradients of its sum with unequal weights."""
    loss = functools.partial(layer, training=True)
    return value_and_gradients(loss, features, logits)


def state(layer):
    return [np.array(variable) for variable in layer.variables]


def assert_all_equal(received, expected):
    for one, other in zip(received, expected, strict=True):
        np.testing.assert_array_equal(one, other)


# Value and gradients


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize(
    "num_neighbors, similarity_power, rows_per_block",
    [(1, 1.0, None), (3, 2.0, None), (None, 1.0, None), (3, 2.0, 4), (None, 1.0, 4)],
)
def test_neighbors_are_those_of_the_batch_and_the_last_examples(
    num_neighbors, similarity_power, rows_per_block, direction
):
    arguments = {
        "num_neighbors": num_neighbors,
        "similarity_power": similarity_power,
        "direction": direction,
    }
    layer = NeighborConsistencyLoss(
        **arguments, queue_size=10, rows_per_block=rows_per_block
    )
    past = [], []
    for seed, n in enumerate([6, 6, 6, 3, 14, 6]):  # The queue is full from 12 on.
        batch = random_batch(n, seed=seed)
        is_full = len(past[0]) >= 10
        pool = [
            np.concatenate([new, old[-10:]]) if is_full else new
            for new, old in zip(batch, past, strict=True)
        ]
        expected = oracles.neighbor_consistency(*pool, **arguments)[:n]
        received = step(layer, *batch)[0]
        np.testing.assert_allclose(received, expected, rtol=5e-5, atol=5e-6)
        past = [[*old, *new] for new, old in zip(batch, past, strict=True)]


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("rows_per_block", [None, 4])
def test_gradients_are_those_of_the_batch_in_a_pool_that_stays(
    rows_per_block, direction
):
    arguments = {"num_neighbors": 3, "similarity_power": 2.0, "direction": direction}
    layer = NeighborConsistencyLoss(
        **arguments, queue_size=9, rows_per_block=rows_per_block
    )
    past, batch = random_batch(9, seed=1), random_batch(6, seed=2)
    step(layer, *past)

    def in_one_batch(features, logits, training):
        pool = [
            tf.concat([new, old], axis=0)
            for new, old in zip([features, logits], past, strict=True)
        ]
        return NeighborConsistencyLoss(**arguments)(*pool)[:6]

    expected = step(in_one_batch, *batch)
    assert np.max(np.abs(expected[1])) > 1e-2
    assert_all_close(step(layer, *batch), expected)


def test_until_it_is_full_the_loss_is_that_of_the_batch_alone():
    queue = RecentExamples(13)
    # In float64, so that the order in which a sum is added up does not matter.
    queue.vectors = tf.Variable(tf.zeros((13, DIM), "float64"))
    queue.log_predictions = tf.Variable(tf.zeros((13, NUM_CLASSES), "float64"))
    queue.count = tf.Variable(0)
    settings = Settings(num_neighbors=3)
    plain, queued = (
        functools.partial(consistency, settings=settings, queue=one)
        for one in (None, queue)
    )
    for seed in range(3):  # 4, 8 and 12 examples are held.
        batch = random_batch(4, seed=seed, dtype="float64")
        received = value_and_gradients(queued, *batch)
        assert_all_close(received, value_and_gradients(plain, *batch), atol=1e-12)
    assert int(queue.count) == 12
    value_and_gradients(queued, *random_batch(1, seed=3, dtype="float64"))
    batch = random_batch(4, seed=4, dtype="float64")
    difference = queued(*batch) - plain(*batch)
    assert np.max(np.abs(difference)) > 1e-2


def test_a_queue_that_is_not_full_is_as_good_as_empty():
    layer = NeighborConsistencyLoss(3, queue_size=13)
    for seed in range(3):
        batch = random_batch(4, seed=seed)
        empty = NeighborConsistencyLoss(3, queue_size=13)
        assert_all_equal(step(layer, *batch), step(empty, *batch))


def test_without_a_queue_there_are_no_variables():
    layer = NeighborConsistencyLoss()
    step(layer, *random_batch(4))
    assert layer.variables == []


# Who is in it


def test_it_holds_directions_and_softened_predictions_of_the_last_examples():
    layer = NeighborConsistencyLoss(queue_size=5, temperature=2.0)
    seen = [], []
    for n in (3, 4, 1, 9):
        batch = random_batch(n, seed=n)
        step(layer, *batch)
        for part, new in zip(seen, batch, strict=True):
            part.extend(new)
        features, logits = np.array(seen[0]), np.array(seen[1])
        lengths = np.linalg.norm(features, axis=1, keepdims=True)
        predictions = np.array([oracles.softmax(row / 2) for row in logits])
        num_held = min(len(features), 5)
        vectors, held, count = state(layer)
        np.testing.assert_allclose(
            vectors[-num_held:], (features / lengths)[-num_held:], atol=1e-6
        )
        held = np.exp(held[-num_held:])
        np.testing.assert_allclose(held, predictions[-num_held:], atol=1e-6)
        assert count == num_held
        assert not np.any(vectors[: 5 - num_held])


@pytest.mark.parametrize("training", [None, False])
def test_only_training_uses_and_fills_it(training):
    layer = NeighborConsistencyLoss(3, queue_size=4)
    layer(*random_batch(6), training=training)
    assert not any(np.any(part) for part in state(layer))
    step(layer, *random_batch(6))
    before, batch = state(layer), random_batch(6, seed=1)
    loss = layer(*batch, training=training)
    np.testing.assert_array_equal(loss, NeighborConsistencyLoss(3)(*batch))
    assert_all_equal(state(layer), before)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("where", [0, 1])
def test_examples_that_are_not_finite_do_not_spoil_what_follows(where, bad):
    layer = NeighborConsistencyLoss(3, queue_size=6)
    batch = random_batch(6)
    batch[where][2, 1] = bad
    assert not np.all(np.isfinite(step(layer, *batch)[0]))
    assert all(np.all(np.isfinite(part)) for part in state(layer))
    assert all(
        np.all(np.isfinite(part)) for part in step(layer, *random_batch(6, seed=1))
    )


# Graphs, precision


@pytest.mark.parametrize(
    "jit_compile, batch, sizes",
    [
        (False, None, [6, 14, 6]),
        (True, 6, [6, 6, 6]),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in [
                (False, 6, [6, 6, 6]),
                (False, None, [6, 2, 14, 6]),
                (True, None, [6, 14, 6]),
                (True, None, [6, 2, 14, 6]),
            ]
        ),
    ],
)
def test_compiled_equals_eager(batch, sizes, jit_compile):
    layers = [NeighborConsistencyLoss(3, queue_size=8) for _ in range(2)]
    for layer in layers:
        layer.build((None, DIM), (None, NUM_CLASSES))
    compiled = tf.function(
        lambda features, logits: step(layers[0], features, logits),
        input_signature=[
            tf.TensorSpec([batch, DIM]),
            tf.TensorSpec([batch, NUM_CLASSES]),
        ],
        jit_compile=jit_compile,
    )
    for seed, n in enumerate(sizes):
        inputs = random_batch(n, seed=seed)
        assert_all_close(compiled(*inputs), step(layers[1], *inputs))
    assert_all_close(state(layers[0]), state(layers[1]), atol=1e-6)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float64"])
def test_it_is_kept_in_float32_whatever_the_policy(policy):
    expected = NeighborConsistencyLoss(3, queue_size=6)
    keras.config.set_dtype_policy(policy)
    layer = NeighborConsistencyLoss(3, queue_size=6)
    for seed in range(2):
        batch = [tf.constant(part) for part in random_batch(6, seed=seed)]
        assert_all_equal(step(layer, *batch), step(expected, *batch))
    assert [part.dtype for part in state(layer)] == ["float32", "float32", "int32"]
    assert_all_equal(state(layer), state(expected))


# Replicas


@pytest.mark.parametrize(
    "rows_per_block", [None, pytest.param(3, marks=pytest.mark.slow)]
)
def test_replicas_keep_one_queue_of_the_global_batch(two_replicas, rows_per_block):
    with two_replicas.scope():
        layer = NeighborConsistencyLoss(3, queue_size=8, rows_per_block=rows_per_block)
        layer.build((None, DIM), (None, NUM_CLASSES))
    one_device = NeighborConsistencyLoss(3, queue_size=8)

    training = functools.partial(layer, training=True)
    distributed = on_replicas(
        two_replicas, functools.partial(value_and_gradients, training)
    )
    for seed, sizes in enumerate([(3, 3), (5, 1), (2, 2), (2, 3)]):
        n = sum(sizes)
        features, logits = random_batch(n, seed=seed)
        upstream = 0.5 + np.arange(n, dtype="float32") / 10
        parts = [split(x, sizes) for x in (features, logits, upstream)]
        received = [np.concatenate(pair) for pair in distributed(*parts)]
        assert_all_close(received, step(one_device, features, logits))
        for variable, whole in zip(layer.variables, state(one_device), strict=True):
            on_first, on_second = (part.numpy() for part in variable.value.values)
            np.testing.assert_array_equal(on_first, on_second)
            np.testing.assert_allclose(on_first, whole, rtol=0, atol=1e-6)
    assert int(one_device.queue.count) == 8


def test_without_cross_replica_the_neighbors_are_the_replicas_own(two_replicas):
    local = NeighborConsistencyLoss(2, cross_replica=False)
    on_two = on_replicas(two_replicas, lambda *batch: local(*batch))
    features, logits = random_batch(9)
    parts = [split(x, (5, 4)) for x in (features, logits)]
    for received, *batch in zip(on_two(*parts), *parts, strict=True):
        expected = NeighborConsistencyLoss(2)(*batch)
        np.testing.assert_allclose(received, expected, rtol=0, atol=2e-6)
    # On one device there is no other part.
    whole = NeighborConsistencyLoss(2)(features, logits)
    np.testing.assert_array_equal(local(features, logits), whole)


# Models


def model_with_queue(queue_size=20, **arguments):
    model = NCRModel(
        keras.Sequential([keras.layers.Dense(8, activation="relu")]),
        NUM_CLASSES,
        NeighborConsistencyLoss(3, queue_size=queue_size),
        **arguments,
    )
    model.compile(
        keras.optimizers.SGD(0.1),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        run_eagerly=True,
    )
    return model


X, Y = random_batch(24)[0], np.arange(24) % NUM_CLASSES


def test_a_model_fills_it_by_fit_alone():
    model = model_with_queue()
    model(X[:8], training=True)
    model.predict(X, 8, verbose=0)
    model.evaluate(X, Y, 8, verbose=0)
    queue = model.consistency_loss.queue
    assert int(queue.count) == 0
    model.fit(X, Y, batch_size=8, epochs=1, verbose=0, validation_data=(X, Y))
    assert int(queue.count) == 20
    held = np.array(queue.vectors)
    np.testing.assert_allclose(np.linalg.norm(held, axis=1), 1, atol=1e-5)
    model.predict(X, 8, verbose=0)
    np.testing.assert_array_equal(queue.vectors, held)
    known = {id(variable) for variable in model.variables}
    assert {id(variable) for variable in queue.variables} <= known
    assert not any(v is w for v in queue.variables for w in model.trainable_variables)


def test_it_goes_on_as_it_was_after_saving_and_copying(tmp_path):
    model = model_with_queue()
    model.fit(X, Y, batch_size=8, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.consistency_loss.queue_size == 20
    assert_all_equal(
        loaded.consistency_loss.get_weights(), state(model.consistency_loss)
    )
    copy = model_with_queue()
    copy.build((None, DIM))
    for variable, value in zip(copy.variables, model.variables, strict=True):
        variable.assign(value)
    loaded.run_eagerly = True
    for other in (model, loaded, copy):
        other.train_on_batch(X[:8], Y[:8])
    for other in (loaded, copy):
        assert_all_equal(other.get_weights(), model.get_weights())


def test_a_loss_without_a_training_argument_still_serves():
    class Confidence(keras.layers.Layer):
        def call(self, features, logits):
            return keras.ops.mean(logits**2, axis=-1)

    model = model_with_queue()
    model.consistency_loss = Confidence()
    logs = model.fit(X, Y, batch_size=8, verbose=0).history
    assert logs["neighbor_consistency_loss"][0] > 0


def test_a_functional_model_fills_it_in_training():
    inputs = keras.Input((DIM,))
    logits = keras.layers.Dense(NUM_CLASSES)(inputs)
    layer = NeighborConsistencyLoss(3, queue_size=12)
    model = keras.Model(inputs, [logits, layer(inputs, logits)])
    model.compile(loss=[None, PassThrough()], run_eagerly=True)
    model.predict(X, 8, verbose=0)
    assert int(layer.queue.count) == 0
    model.fit(X, [Y, Y], batch_size=8, verbose=0)
    assert int(layer.queue.count) == 12


@pytest.mark.slow
@pytest.mark.parametrize("jit_compile", [False, True])
def test_a_compiled_fit_trains_with_it(jit_compile):
    model = model_with_queue()
    model.compile(
        keras.optimizers.SGD(0.1),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=jit_compile,
        steps_per_execution=2,
    )
    plain = model_with_queue()
    model.build((None, DIM))
    plain.build((None, DIM))
    plain.set_weights(model.get_weights())
    for one in (model, plain):
        one.fit(X, Y, batch_size=10, epochs=2, verbose=0, shuffle=False)
    assert_all_close(model.get_weights(), plain.get_weights(), atol=1e-5)


# Arguments


def test_config_round_trip():
    layer = NeighborConsistencyLoss(queue_size=7, rows_per_block=5)
    config = keras.saving.serialize_keras_object(layer)
    copy = keras.saving.deserialize_keras_object(config)
    assert (copy.queue_size, copy.rows_per_block, copy.cross_replica) == (7, 5, True)
    assert not NeighborConsistencyLoss(cross_replica=False).get_config()[
        "cross_replica"
    ]
    # Written before there were these arguments.
    for name in ("queue_size", "rows_per_block", "cross_replica"):
        del config["config"][name]
    old = keras.saving.deserialize_keras_object(config)
    assert (old.queue_size, old.rows_per_block, old.cross_replica) == (0, None, True)


def test_two_networks_cannot_share_a_queue():
    backbones = [keras.layers.Dense(8), keras.layers.Dense(8)]
    with pytest.raises(ValueError, match="queue_size=0 where two networks .*size=9"):
        NetworkPair(backbones, 3, NeighborConsistencyLoss(queue_size=9))
