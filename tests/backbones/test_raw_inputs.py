"""Tests of the networks on texts, on columns and on features."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_ncr import backbones

TEXTS = ["good film", "bad film", "so, so good", "...", "one\u2028two\x85three"]
COLUMNS = {
    "age": np.array([31.0, 7.0, 45.0, 9.0]),
    "town": np.array(["Bonn", "", "Köln", "Bonn"]),
    "note": np.array(["a\nb", "", "c\u2028d", "a"]),
}
BUILD = {
    "bag_of_words": lambda: backbones.bag_of_words(tf.constant(TEXTS), hidden=(8, 4)),
    "column_mlp": lambda: backbones.column_mlp(COLUMNS, hidden=(8, 4)),
    "mlp": lambda: backbones.mlp((3,), hidden=(8, 4)),
}
INPUTS = {
    "bag_of_words": tf.constant(TEXTS),
    "column_mlp": {name: tf.constant(column) for name, column in COLUMNS.items()},
    "mlp": tf.random.stateless_normal((5, 3), [0, 1]),
}


@pytest.mark.parametrize("name", BUILD)
def test_saved_network_gives_the_same_features(name, tmp_path):
    network = BUILD[name]()
    features = network.predict(INPUTS[name], verbose=0)
    assert features.shape == (len(tf.nest.flatten(INPUTS[name])[0]), 4)
    assert np.isfinite(features).all() and (features >= 0).all()
    network.save(tmp_path / "net.keras")
    loaded = keras.models.load_model(tmp_path / "net.keras")
    np.testing.assert_array_equal(loaded.predict(INPUTS[name], verbose=0), features)


def test_texts_with_like_words_are_neighbors(tmp_path):
    texts = [f"{a} film, {a} actors {n}" for n in range(4) for a in ("good", "bad")]
    network = backbones.latent_semantics(tf.constant(texts), dim=3)
    features = network(tf.constant(texts)).numpy()
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    cosines = unit @ unit.T
    is_like = np.arange(8)[:, None] % 2 == np.arange(8) % 2
    assert cosines[is_like].min() > cosines[~is_like].max()
    network.save(tmp_path / "net.keras")
    loaded = keras.models.load_model(tmp_path / "net.keras")
    np.testing.assert_allclose(loaded(tf.constant(texts)), features, atol=1e-6)


def test_words_and_pairs_of_them_count_and_case_does_not():
    network = BUILD["bag_of_words"]()
    words = keras.Model(network.input, network.get_layer("words").output)
    a, b, c = words(tf.constant(["Good film!", "film good", "good film"])).numpy()
    np.testing.assert_array_equal(a, c)
    assert a.sum() == 3 and not np.array_equal(a, b)


def test_numbers_of_columns_are_standardized_and_words_have_places():
    network = BUILD["column_mlp"]()
    first = next(layer for layer in network.layers if layer.name == "hidden1_dense")
    encoded = keras.Model(network.input, first.input)(INPUTS["column_mlp"]).numpy()
    ages = encoded[:, 0]  # In the order of the names.
    assert abs(ages.mean()) < 1e-5 and abs(ages.std() - 1) < 1e-3
    np.testing.assert_array_equal(np.sort(encoded[:, 1:])[:, -2:], 1)
    assert not np.array_equal(encoded[0, 1:], encoded[1, 1:])


def test_columns_come_with_and_without_an_axis_and_in_any_order():
    network = BUILD["column_mlp"]()
    inputs = INPUTS["column_mlp"]
    other = {name: inputs[name][:, None] for name in reversed(inputs)}
    np.testing.assert_array_equal(network(inputs), network(other))


def test_features_of_any_scale_train_alike():
    scaled = INPUTS["mlp"] * [1.0, 1e3, 1e-2] + [0.0, 5e3, 1.0]
    outputs = []
    for inputs in (INPUTS["mlp"], scaled):
        keras.utils.set_random_seed(0)
        outputs.append(BUILD["mlp"]()(inputs, training=True))

    np.testing.assert_allclose(outputs[0], outputs[1], atol=1e-2)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: backbones.bag_of_words(["...", "!"]), "`texts` must have words"),
        (lambda: backbones.bag_of_words(TEXTS, max_tokens=1), "max_tokens=1"),
        (lambda: backbones.bag_of_words(TEXTS, hidden=()), "`hidden`.*at least one"),
        (lambda: backbones.column_mlp(COLUMNS, hidden=(0,)), "hidden=0"),
        (lambda: backbones.column_mlp({}), "`columns` must have at least one"),
        (lambda: backbones.mlp((0,)), r"input_shape\[0\]=0"),
    ],
)
def test_bad_arguments_are_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()
