"""The cosine classifier against NumPy, and where a cosine is not defined."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_ncr.backbones import CosineClassifier


@pytest.fixture
def mixed_float16():
    keras.config.set_dtype_policy("mixed_float16")
    yield
    keras.config.set_dtype_policy("float32")


def random_features(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def numpy_cosine(feature, weight):
    return np.dot(feature, weight) / (np.linalg.norm(feature) * np.linalg.norm(weight))


@pytest.mark.parametrize("learnable_scale", [True, False])
def test_logits_are_scaled_cosines(learnable_scale):
    classifier = CosineClassifier(3, scale=7.0, learnable_scale=learnable_scale)
    features = random_features(5, 4)
    logits = classifier(features)
    for i in range(5):
        for c in range(3):
            expected = 7.0 * numpy_cosine(features[i], classifier.kernel.numpy()[:, c])
            np.testing.assert_allclose(logits[i, c], expected, rtol=1e-4, atol=1e-5)


def test_leading_axes_are_kept():
    classifier = CosineClassifier(3)
    features = random_features(2, 5, 4)
    logits = classifier(features)
    assert logits.shape == classifier.compute_output_shape((2, 5, 4)) == (2, 5, 3)
    np.testing.assert_allclose(logits[1], classifier(features[1]), atol=1e-6)


def test_lengths_of_features_and_weights_do_not_matter():
    classifier = CosineClassifier(3)
    features = random_features(5, 4)
    logits = classifier(features)
    lengths = np.array([[1e-3], [0.1], [1.0], [10.0], [1e6]], "float32")
    np.testing.assert_allclose(classifier(features * lengths), logits, atol=1e-5)
    classifier.kernel.assign(classifier.kernel * [0.01, 5.0, 100.0])
    np.testing.assert_allclose(classifier(features), logits, atol=1e-5)


def test_no_logit_exceeds_the_scale():
    classifier = CosineClassifier(2, scale=5.0)
    classifier.build((None, 3))
    weights = np.transpose(classifier.kernel.numpy())
    logits = classifier(np.concatenate([weights, -weights])).numpy()
    np.testing.assert_allclose(logits[[0, 1], [0, 1]], 5.0, rtol=1e-6)
    np.testing.assert_allclose(logits[[2, 3], [0, 1]], -5.0, rtol=1e-6)


@pytest.mark.parametrize("scale", [1e-3, 0.5, 1, 10.0, 1000.0, np.float32(16)])
def test_learnable_scale_starts_at_the_given_value(scale):
    classifier = CosineClassifier(2, scale=scale)
    classifier.build((None, 2))
    classifier.kernel.assign(np.eye(2))
    np.testing.assert_allclose(classifier(np.eye(2)), scale * np.eye(2), rtol=1e-4)


def test_learnable_scale_stays_positive_wherever_training_takes_it():
    classifier = CosineClassifier(2)
    classifier.build((None, 2))
    classifier.kernel.assign(np.eye(2))
    for raw_scale in (-1.0, -20.0, -80.0):
        classifier.raw_scale.assign(raw_scale)
        assert classifier(np.eye(2))[0, 0] > 0


def test_only_a_learnable_scale_is_a_weight():
    for learnable_scale, expected in (
        (True, ["kernel", "raw_scale"]),
        (False, ["kernel"]),
    ):
        classifier = CosineClassifier(2, learnable_scale=learnable_scale)
        classifier.build((None, 3))
        assert [w.name for w in classifier.trainable_weights] == expected


def test_weight_decay_can_spare_the_scale():
    classifier = CosineClassifier(2)
    classifier.build((None, 3))
    kernel = classifier.kernel.numpy()
    raw_scale = classifier.raw_scale.numpy()
    optimizer = keras.optimizers.SGD(0.1, weight_decay=0.5)
    optimizer.exclude_from_weight_decay(var_names=["raw_scale"])
    zeros = [tf.zeros(w.shape) for w in classifier.trainable_weights]
    optimizer.apply(zeros, classifier.trainable_weights)
    assert classifier.raw_scale.numpy() == raw_scale
    np.testing.assert_allclose(classifier.kernel, 0.95 * kernel, rtol=1e-6)


def test_gradients_equal_central_differences():
    classifier = CosineClassifier(3, scale=2.0, dtype="float64")
    features = random_features(5, 4).astype("float64")
    upstream = random_features(5, 3, seed=1).astype("float64")

    def value():
        return tf.reduce_sum(classifier(variable) * upstream)

    variable = tf.Variable(features)
    value()
    watched = [variable, classifier.kernel.value, classifier.raw_scale.value]
    with tf.GradientTape() as tape:
        loss = value()
    for tensor, gradient in zip(watched, tape.gradient(loss, watched), strict=True):
        start = np.array(tensor.numpy())
        for index in np.ndindex(start.shape):
            values = []
            for step in (1e-6, -1e-6):
                moved = start.copy()
                moved[index] += step
                tensor.assign(moved)
                values.append(value().numpy())
            tensor.assign(start)
            expected = (values[0] - values[1]) / 2e-6
            np.testing.assert_allclose(np.array(gradient)[index], expected, atol=1e-7)


@pytest.mark.parametrize("tiny", [0.0, 1e-30, 1e-10])
def test_zero_features_give_zero_logits_and_gradients(tiny):
    classifier = CosineClassifier(3)
    features = tf.Variable(random_features(2, 4) * [[tiny], [1.0]])
    with tf.GradientTape() as tape:
        logits = classifier(features)
        loss = tf.reduce_sum(logits**2) + tf.reduce_sum(logits)
    gradient = tape.gradient(loss, features)
    np.testing.assert_allclose(logits[0], 0.0, atol=1e-6)
    np.testing.assert_allclose(gradient[0], 0.0, atol=1e-6)
    assert np.any(gradient[1])


def test_zero_weights_give_zero_logits_and_finite_gradients():
    classifier = CosineClassifier(2)
    classifier.build((None, 3))
    classifier.kernel.assign([[0.0, 1.0]] * 3)
    with tf.GradientTape() as tape:
        logits = classifier(random_features(4, 3))
        loss = tf.reduce_sum(logits**2)
    np.testing.assert_array_equal(logits[:, 0], 0.0)
    assert np.all(np.isfinite(tape.gradient(loss, classifier.kernel.value)))


@pytest.mark.usefixtures("mixed_float16")
def test_float16_features_too_long_to_square_are_normalized_in_float32():
    classifier = CosineClassifier(3)
    features = random_features(5, 4)
    logits = classifier(tf.cast(features * 1000, "float16"))
    assert logits.dtype == "float32"
    np.testing.assert_allclose(logits, classifier(features), atol=0.02)


@pytest.mark.usefixtures("mixed_float16")
def test_mixed_precision_fit_with_dead_features_updates_the_weights():
    backbone = keras.layers.Dense(4, activation="relu")
    model = keras.Sequential([backbone, CosineClassifier(2)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.1), loss)
    x = random_features(8, 3)
    x[:4] = 0.0
    model(x)
    before = backbone.kernel.numpy()
    model.fit(x, np.arange(8) % 2, batch_size=8, verbose=0)
    assert np.all(np.isfinite(backbone.kernel))
    assert np.any(before != backbone.kernel.numpy())


@pytest.mark.parametrize("learnable_scale", [True, False])
def test_config_round_trip_keeps_every_argument(learnable_scale):
    classifier = CosineClassifier(
        4, scale=3.0, learnable_scale=learnable_scale, name="head"
    )
    config = CosineClassifier.from_config(classifier.get_config()).get_config()
    assert config == classifier.get_config()
    assert (config["num_classes"], config["scale"]) == (4, 3.0)
    assert config["learnable_scale"] is learnable_scale
    assert config["name"] == "head"


def test_saved_model_gives_the_same_logits(tmp_path):
    model = keras.Sequential([keras.Input((4,)), CosineClassifier(3)])
    model.layers[0].raw_scale.assign(4.0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    features = random_features(5, 4)
    np.testing.assert_array_equal(loaded(features), model(features))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_classes": 1}, "`num_classes`.*num_classes=1"),
        ({"num_classes": 2.5}, "num_classes=2.5"),
        ({"num_classes": 2, "scale": 0.0}, "positive.*scale=0.0"),
        ({"num_classes": 2, "scale": -1}, "scale=-1"),
        ({"num_classes": 2, "scale": float("inf")}, "finite.*scale=inf"),
        ({"num_classes": 2, "scale": float("nan")}, "scale=nan"),
        ({"num_classes": 2, "scale": "10"}, "scale='10'"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        CosineClassifier(**arguments)


def test_features_of_another_size_are_refused():
    classifier = CosineClassifier(2)
    classifier(random_features(3, 4))
    with pytest.raises(ValueError, match="axis -1"):
        classifier(random_features(3, 5))
