"""NetworkPair: two NCRModels in one step, and the manners of one Keras classifier."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_ncr import NCRModel
from keras_ncr.models.network_pair import NetworkPair

X = np.random.default_rng(0).normal(size=(36, 5)).astype("float32")
Y = np.random.default_rng(1).integers(0, 3, 36)
WEIGHTS = np.linspace(0.1, 2.0, 36).astype("float32")
SETTINGS = {"batch_size": 20, "shuffle": False, "verbose": 0}


class AddLoss(keras.layers.Layer):
    def call(self, inputs):
        self.add_loss(0.01 * keras.ops.mean(inputs**2))
        return inputs


def small_backbone(seed=1):
    initializer = keras.initializers.GlorotUniform(seed)
    return keras.Sequential(
        [keras.layers.Dense(8, activation="relu", kernel_initializer=initializer)]
    )


def rich_backbone(seed=1):
    """A backbone with everything that has a part in a training step."""
    dtype = keras.config.floatx()  # Keras cannot add a float16 loss to a float32 one.
    return keras.Sequential(
        [
            keras.layers.Dense(
                16,
                activation="relu",
                kernel_regularizer="l2",
                kernel_initializer=keras.initializers.GlorotUniform(seed),
                dtype=dtype,
            ),
            AddLoss(dtype=dtype),
            keras.layers.BatchNormalization(momentum=0.9),
            keras.layers.Dropout(0.3, seed=seed),
            keras.layers.Dense(
                8,
                activation="relu",
                kernel_initializer=keras.initializers.GlorotUniform(seed),
            ),
        ]
    )


def head(seed):
    initializer = keras.initializers.GlorotUniform(seed + 10)
    return keras.layers.Dense(3, kernel_initializer=initializer, dtype="float32")


def compiled(model, run_eagerly=True, optimizer=None):
    model.compile(
        optimizer or keras.optimizers.SGD(0.1, momentum=0.9),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        run_eagerly=run_eagerly,
    )
    return model


def make(cls=NetworkPair, backbone=small_backbone, run_eagerly=True, **kwargs):
    pair = cls([backbone(1), backbone(2)], 3, classifier=[head(1), head(2)], **kwargs)
    return compiled(pair, run_eagerly)


def single(seed, backbone=small_backbone, **kwargs):
    return compiled(NCRModel(backbone(seed), 3, classifier=head(seed), **kwargs))


def assert_close(ours, theirs, tolerance=1e-5):
    np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance)


def assert_same_weights(ours, theirs, tolerance=1e-5):
    for one, two in zip(ours, theirs, strict=True):
        assert_close(one.numpy(), two.numpy(), tolerance)


# Training


@pytest.mark.parametrize(
    "policy, alpha, backbone",
    [
        pytest.param("float32", 0.0, small_backbone, marks=pytest.mark.slow),
        ("float32", 0.7, rich_backbone),
        ("mixed_float16", 0.7, rich_backbone),
    ],
)
def test_a_pair_trains_as_two_models(policy, alpha, backbone):
    keras.config.set_dtype_policy(policy)
    arguments = {
        "backbone": backbone,
        "consistency_weight": alpha,
        "warmup_epochs": 1,
    }
    pair = make(**arguments)
    models = [single(seed, **arguments) for seed in (1, 2)]
    settings = SETTINGS | {"epochs": 2, "sample_weight": WEIGHTS}
    loss = pair.fit(X, Y, **settings).history["loss"]
    losses = [model.fit(X, Y, **settings).history["loss"] for model in models]
    # In half precision rounding is larger.
    tolerance = 1e-5 if policy == "float32" else 5e-3
    assert_close(loss, np.mean(losses, axis=0), tolerance)
    for network, model in zip(pair.networks, models, strict=True):
        assert_same_weights(network.weights, model.weights, tolerance)


def test_warmup_ends_for_both_networks():
    pair = make(consistency_weight=1.0, warmup_epochs=1)
    pair.build((None, 5))
    # Nothing but consistency trains when the labels count for nothing.
    settings = SETTINGS | {"sample_weight": np.zeros(36)}
    before = [network.get_weights() for network in pair.networks]
    pair.fit(X, Y, epochs=1, **settings)
    for network, weights in zip(pair.networks, before, strict=True):
        np.testing.assert_array_equal(network.get_weights()[0], weights[0])
    pair.fit(X, Y, initial_epoch=1, epochs=2, **settings)
    for network, weights in zip(pair.networks, before, strict=True):
        assert np.abs(network.get_weights()[0] - weights[0]).max() > 1e-5


@pytest.mark.slow
def test_graph_and_eager_steps_agree():
    histories, pairs = [], []
    for run_eagerly in (True, False):
        pairs.append(make(run_eagerly=run_eagerly, consistency_weight=0.5))
        settings = SETTINGS | {"validation_data": (X, Y)}
        histories.append(pairs[-1].fit(X, Y, **settings).history)
    assert set(histories[0]) == {"loss", "accuracy", "val_loss", "val_accuracy"}
    for name, values in histories[0].items():
        assert_close(values, histories[1][name])
    assert_same_weights(pairs[0].weights, pairs[1].weights)


@pytest.mark.slow
def test_two_replicas_train_as_one_device(two_replicas):
    one = make(backbone=regularized, consistency_weight=0.5)
    with two_replicas.scope():
        two = make(backbone=regularized, consistency_weight=0.5)
    settings = SETTINGS | {"sample_weight": WEIGHTS}
    histories = [pair.fit(X, Y, **settings).history for pair in (one, two)]
    for name in ("loss", "accuracy"):
        assert_close(histories[0][name], histories[1][name])
    assert_same_weights(one.weights, two.weights)
    assert_close(two.predict(X, verbose=0), one.predict(X, verbose=0))


def regularized(seed=1):
    initializer = keras.initializers.GlorotUniform(seed)
    return keras.layers.Dense(
        8,
        activation="relu",
        kernel_initializer=initializer,
        kernel_regularizer="l2",
    )


def test_labels_in_a_dict_and_datasets_train_alike():
    dataset = tf.data.Dataset.from_tensor_slices((X, {"label": Y, "index": Y}))
    with_arrays, with_dataset = make(), make()
    with_arrays.fit(X, Y, **SETTINGS)
    with_dataset.fit(dataset.batch(20), verbose=0)
    assert_same_weights(with_arrays.weights, with_dataset.weights)


class Counting(NetworkPair):
    """Has a callback of its own, which counts epochs."""

    def own_callbacks(self):
        self.epochs = []
        count = keras.callbacks.LambdaCallback(
            on_epoch_begin=lambda epoch, logs: self.epochs.append(epoch)
        )
        return [count]


@pytest.mark.parametrize("as_list", [False, True], ids=["given none", "CallbackList"])
def test_own_callbacks_are_called(as_list):
    pair = make(Counting)
    callbacks = (
        keras.callbacks.CallbackList(add_history=True, model=pair) if as_list else None
    )
    pair.fit(X, Y, epochs=2, callbacks=callbacks, **SETTINGS)
    assert pair.epochs == [0, 1]


# A Keras classifier


def test_logits_are_the_mean_of_both_networks():
    pair = make()
    first, second = pair.all_logits(X)
    assert np.abs(first - second).max() > 0.1
    np.testing.assert_array_equal(pair(X), (first + second) / 2)
    assert_close(pair.predict(X, verbose=0), (first + second) / 2)
    loss, accuracy = pair.evaluate(X, Y, verbose=0)
    logits = pair(X)
    cross_entropy = tf.nn.sparse_softmax_cross_entropy_with_logits(Y, logits)
    assert_close(loss, np.mean(cross_entropy))
    assert_close(accuracy, np.mean(np.argmax(logits, axis=1) == Y))


def test_logits_are_float32_under_mixed_precision():
    keras.config.set_dtype_policy("mixed_float16")
    assert make()(X).dtype == "float32"


def test_a_saved_pair_predicts_and_trains_alike(tmp_path):
    pair = make(backbone=small_backbone, consistency_weight=0.5)
    pair.fit(X, Y, **SETTINGS)
    pair.save(tmp_path / "pair.keras")
    copy = keras.models.load_model(tmp_path / "pair.keras")
    expected = pair.predict(X, verbose=0)
    np.testing.assert_array_equal(copy.predict(X, verbose=0), expected)
    pair.fit(X, Y, **SETTINGS)
    copy.fit(X, Y, **SETTINGS)
    assert_same_weights(pair.weights, copy.weights)


@pytest.mark.parametrize("classifier", ["linear", "cosine"])
def test_a_named_classifier_is_made_twice(classifier):
    pair = NetworkPair([small_backbone(1), small_backbone(2)], 3, classifier=classifier)
    assert pair(X).shape == (36, 3)
    first, second = (network.classifier for network in pair.networks)
    assert first is not second


def test_a_feature_map_is_averaged():
    backbones = [keras.layers.Conv2D(4, 2, activation="relu") for _ in range(2)]
    assert NetworkPair(backbones, 3)(np.zeros((2, 5, 5, 1))).shape == (2, 3)


# What is refused

SHARED = small_backbone()


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"backbones": [SHARED, SHARED]}, "`backbones` must be two different ones"),
        ({"backbones": [SHARED]}, "Construct it twice"),
        ({"backbones": SHARED}, "`backbones` must be two"),
        ({"backbones": ["a", "b"]}, "`backbones` must be a Keras layer"),
        ({"classifier": [SHARED, SHARED]}, "`classifier` must be two different ones"),
        ({"classifier": "nearest"}, '`classifier` must be "linear"'),
        ({"num_classes": 1}, "num_classes=1"),
        ({"consistency_weight": 2}, "consistency_weight=2"),
    ],
)
def test_wrong_arguments_are_refused(arguments, message):
    backbones = [small_backbone(1), small_backbone(2)]
    with pytest.raises(ValueError, match=message):
        NetworkPair(**{"backbones": backbones, "num_classes": 3} | arguments)


def test_wrong_labels_are_refused_before_training():
    pair = make()
    with pytest.raises(ValueError, match="`y` must be below 3. Received: 3"):
        pair.fit(X, Y + 1, **SETTINGS)
    dataset = tf.data.Dataset.from_tensor_slices((X, Y + 1)).batch(20)
    with pytest.raises(tf.errors.InvalidArgumentError, match="A label in `x` must be"):
        pair.fit(dataset, verbose=0)


def test_a_loss_on_probabilities_is_refused():
    with pytest.raises(ValueError, match="`loss` must be one on logits"):
        make().compile("sgd", "sparse_categorical_crossentropy")
