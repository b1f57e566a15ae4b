"""Features and logits of trained models: whose, in which order, what is refused."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_ncr
from keras_ncr.features.extraction import features_and_logits_model, features_of
from keras_ncr.models.network_pair import NetworkPair


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).normal(size=(10, 4, 4, 1)).astype("float32")


@pytest.fixture
def network():
    backbone = keras.Sequential(
        [
            keras.layers.Conv2D(6, 3, activation="relu"),
            keras.layers.BatchNormalization(),
        ]
    )
    return keras_ncr.NCRModel(backbone, num_classes=3)


def test_features_of_ncr_model_are_its_own(network, images):
    network(images)
    before = [variable.numpy() for variable in network.variables]
    features = features_of(network, images, batch_size=4, verbose=0)
    expected = network.backbone(images, training=False).numpy().mean(axis=(1, 2))
    assert features.shape == (10, 6)
    np.testing.assert_allclose(features, expected, rtol=1e-5)
    for old, new in zip(before, network.variables, strict=True):
        np.testing.assert_array_equal(old, new)


def test_features_come_in_the_order_of_batches(images, capsys):
    model = keras_ncr.NCRModel(keras.layers.Flatten(), num_classes=3)
    dataset = tf.data.Dataset.from_tensor_slices((images, np.arange(10))).batch(3)
    features = features_of(model, dataset, verbose=1)
    np.testing.assert_array_equal(features, images.reshape(10, 16))
    assert "4/4" in capsys.readouterr().out  # The progress bar.


def test_features_of_a_pair_are_both_networks_at_equal_length(images):
    backbones = [keras.layers.Flatten(), keras.layers.GlobalAveragePooling2D()]
    features = features_of(NetworkPair(backbones, 3), images, verbose=0)
    flat, mean = images.reshape(10, 16), images.mean(axis=(1, 2))
    expected = [
        part / np.linalg.norm(part, axis=1, keepdims=True) for part in (flat, mean)
    ]
    np.testing.assert_allclose(features, np.concatenate(expected, 1), rtol=1e-4)


def functional(*head):
    inputs = keras.Input((4, 4, 1))
    outputs = keras.layers.Flatten()(inputs)
    for layer in head:
        outputs = layer(outputs)
    return keras.Model(inputs, outputs)


def sequential(*head):
    return keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Flatten(), *head])


@pytest.mark.parametrize("kind", [functional, sequential])
def test_features_of_keras_classifier_enter_its_last_weights(kind, images):
    hidden = keras.layers.Dense(7, activation="relu")
    head = keras.layers.Dropout(0.5), keras.layers.Dense(3), keras.layers.Softmax()
    features = features_of(kind(hidden, *head), images, verbose=0)
    np.testing.assert_allclose(features, hidden(images.reshape(10, 16)), rtol=1e-5)


def test_features_in_half_precision_are_float32(images):
    keras.config.set_dtype_policy("mixed_bfloat16")
    backbone = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(8)])
    own = keras_ncr.NCRModel(backbone, num_classes=3)
    other = sequential(keras.layers.Dense(8), keras.layers.Dense(3))
    for model in (own, other):
        features = features_of(model, images, verbose=0)
        assert features.dtype == "float32"
        assert np.isfinite(features).all()


def test_features_of_a_model_made_for_replicas(two_replicas, images):
    with two_replicas.scope():
        model = keras_ncr.NCRModel(keras.layers.Flatten(), num_classes=3)
        model(images)
    features = features_of(model, images, verbose=0)
    np.testing.assert_array_equal(features, images.reshape(10, 16))


@pytest.mark.parametrize(
    "model, message",
    [
        (keras.layers.Dense(3), "`model` must be an NCRModel"),
        (keras.Sequential([keras.layers.Dense(3)]), "`model` must be an NCRModel"),
        (functional(), "Sequential model with weights"),
        (
            keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Conv2D(3, 4)]),
            r"take features of shape \(batch, dim\)",
        ),
    ],
)
def test_models_without_features_are_refused(model, message, images):
    with pytest.raises(ValueError, match=message):
        features_of(model, images)


def test_endless_dataset_is_refused(network, images):
    dataset = tf.data.Dataset.from_tensor_slices(images).batch(5).repeat()
    with pytest.raises(ValueError, match="`x` must end"):
        features_of(network, dataset)


def test_features_and_logits_come_from_the_model_as_it_is(network, images):
    pair = NetworkPair([keras.layers.Flatten(), keras.layers.Flatten()], 3)
    other = sequential(keras.layers.Dense(8), keras.layers.Dense(3))
    for model in (network, pair, other):
        features, logits = features_and_logits_model(model).predict(images, verbose=0)
        np.testing.assert_allclose(logits, model.predict(images, verbose=0), rtol=1e-5)
        np.testing.assert_array_equal(features, features_of(model, images, verbose=0))
