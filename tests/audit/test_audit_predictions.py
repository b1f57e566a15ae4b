"""Tests of audit/predictions.py: what a classifier says, kept in little memory."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_ncr import ELRModel, NCRModel, pipelines
from keras_ncr.audit.predictions import from_probabilities, joined, predict
from keras_ncr.backbones import mlp
from keras_ncr.datasets import digits
from keras_ncr.models import NetworkPair

# Each model is asked once: tracing would take longer.
pytestmark = pytest.mark.usefixtures("eager_functions")


def functional(activation=None, num_classes=10):
    inputs = keras.Input((8, 8, 1))
    x = keras.layers.Rescaling(1 / 16)(keras.layers.Flatten()(inputs))
    features = keras.layers.Dense(12, "relu")(x)
    return keras.Model(
        inputs, keras.layers.Dense(num_classes, activation=activation)(features)
    )


MODELS = {
    "ncr": lambda: NCRModel(mlp((8, 8, 1)), 10),
    "elr": lambda: ELRModel(mlp((8, 8, 1)), 10, num_examples=1437),
    "pair": lambda: NetworkPair([mlp((8, 8, 1)), mlp((8, 8, 1))], 10),
    "functional_logits": functional,
    "functional_softmax": lambda: functional("softmax"),
}


@pytest.fixture(scope="module")
def images():
    return digits()[0].images[:100]


@pytest.fixture(scope="module")
def labels():
    return digits()[0].labels[:100]


def batches_of(inputs, targets, size=32):
    return tf.data.Dataset.from_tensor_slices((inputs, targets)).batch(size)


def softmax(logits):
    return np.asarray(tf.nn.softmax(logits))


def dense(predictions):
    """Returns all probabilities, of ten classes of which all are kept."""
    return predictions.as_sparse().toarray()


@pytest.mark.parametrize("kind", MODELS)
def test_predictions_are_those_of_the_model(kind, images, labels):
    model = MODELS[kind]()
    expected = model.predict(images, verbose=0)
    if not kind.endswith("softmax"):
        expected = softmax(expected)
    found = predict(model, batches_of(images, labels))
    np.testing.assert_allclose(dense(found), expected, atol=1e-5)
    np.testing.assert_array_equal(found.classes[:, 0], expected.argmax(axis=1))
    np.testing.assert_array_equal(found.labels, labels)
    given = expected[np.arange(100), labels]
    np.testing.assert_allclose(found.given_probabilities, given, atol=1e-5)


def test_logits_that_look_like_probabilities_are_logits(images):
    # The classifier of our own models has no activation, whatever it returns.
    bias = keras.initializers.Constant([0.25, 0.75])
    head = keras.layers.Dense(2, kernel_initializer="zeros", bias_initializer=bias)
    model = NCRModel(mlp((8, 8, 1)), 2, classifier=head)
    found = predict(model, batches_of(images, np.zeros(100, int)))
    np.testing.assert_allclose(dense(found)[0], softmax([0.25, 0.75]), atol=1e-6)


def test_features_are_unit_rows_in_half_precision(images, labels):
    found = predict(MODELS["ncr"](), batches_of(images, labels))
    assert found.features.dtype == np.float16 and len(found.features) == 100
    lengths = np.linalg.norm(found.features.astype("float32"), axis=1)
    np.testing.assert_allclose(lengths, 1, atol=2e-3)


def test_rows_of_any_length_become_unit_rows():
    features = [[3e30, 4e30], [3e-30, -4e-30], [0, 0]]
    found = from_probabilities([0, 0, 0], np.full((3, 2), 0.5), features).features
    np.testing.assert_allclose(found, [[0.6, 0.8], [0.6, -0.8], [0, 0]], atol=1e-3)


def test_order_is_that_of_the_index(images, labels):
    order = np.random.default_rng(0).permutation(100)
    targets = {"label": labels[order], "index": order}
    model = MODELS["ncr"]()
    moved = predict(model, batches_of(images[order], targets))
    straight = predict(model, batches_of(images, labels))
    np.testing.assert_array_equal(moved.labels, labels)
    np.testing.assert_allclose(dense(moved), dense(straight), atol=1e-5)
    np.testing.assert_array_equal(moved.descriptors, straight.descriptors)
    np.testing.assert_allclose(moved.features, straight.features, atol=2e-3)


@pytest.mark.parametrize("index", [[0, 1, 1, 3], [0, 1, 2, 4], [1, 2, 3, 4]])
def test_index_must_have_each_number_once(index, images, labels):
    batches = batches_of(images[:4], {"label": labels[:4], "index": index}, 2)
    with pytest.raises(ValueError, match="must run from 0 to 3, each number once"):
        predict(MODELS["ncr"](), batches)


def test_batches_of_a_source_come_in_the_order_of_its_index():
    source = digits()[0].subset(np.arange(50))
    batches = pipelines.evaluation_batches(source, 32, carry=("index",), cache=False)
    np.testing.assert_array_equal(
        predict(MODELS["ncr"](), batches).labels, source.labels
    )


@pytest.mark.parametrize(
    "change",
    [
        lambda labels: np.eye(10)[labels],
        lambda labels: labels[:, None],
        lambda labels: labels.astype("float32"),
        lambda labels: labels.astype("uint8"),
    ],
    ids=["one_hot", "column", "float", "uint8"],
)
def test_labels_may_come_in_the_forms_of_keras(change, images, labels):
    found = predict(functional(), batches_of(images, change(labels)))
    np.testing.assert_array_equal(found.labels, labels)
    assert found.labels.dtype == np.int64


def test_stream_of_unknown_length_is_read_once(images, labels):
    starts = []

    def stream():
        starts.append(0)
        for start in range(0, 100, 30):
            yield images[start : start + 30], labels[start : start + 30]

    spec = (tf.TensorSpec((None, 8, 8, 1), tf.uint8), tf.TensorSpec((None,), tf.int64))
    batches = tf.data.Dataset.from_generator(stream, output_signature=spec)
    model = functional()
    streamed, known = (
        predict(model, batches),
        predict(model, batches_of(images, labels)),
    )
    np.testing.assert_array_equal(streamed.labels, labels)
    np.testing.assert_allclose(dense(streamed), dense(known), atol=1e-5)
    assert len(starts) == 1


def test_sample_weights_are_passed_over(images, labels):
    batches = batches_of(images, labels).map(lambda x, y: (x, y, tf.ones_like(y)))
    assert len(predict(functional(), batches)) == 100


def test_inputs_of_several_parts_and_text_have_no_descriptors():
    inputs = {"a": keras.Input([3], name="a"), "b": keras.Input([2], name="b")}
    features = keras.layers.Concatenate()(list(inputs.values()))
    model = keras.Model(inputs, keras.layers.Dense(2)(features))
    x = {"a": np.ones((4, 3), "float32"), "b": np.zeros((4, 2), "float32")}
    found = predict(model, batches_of(x, [0, 1, 0, 1]))
    assert found.descriptors is None and found.features.shape == (4, 5)
    words = keras.layers.TextVectorization(
        vocabulary=["good", "bad"], output_mode="tf_idf", idf_weights=[1.0, 1.0]
    )
    text = keras.Sequential(
        [keras.Input([], dtype="string"), words, keras.layers.Dense(2)]
    )
    found = predict(text, batches_of(np.array(["good", "bad bad"]), [0, 1]))
    assert found.descriptors is None and found.features.shape == (2, 3)


def test_model_in_half_precision_is_read(images, labels):
    keras.config.set_dtype_policy("mixed_float16")
    found = predict(functional("softmax"), batches_of(images, labels))
    np.testing.assert_allclose(dense(found).sum(axis=1), 1, atol=5e-3)


def test_most_likely_classes_and_the_given_one_are_kept():
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.ones(50), 30)
    labels = rng.integers(0, 50, 30)
    found = from_probabilities(labels, probabilities)
    assert found.classes.shape == found.probabilities.shape == (30, 20)
    kept = found.as_sparse().toarray()
    for row, (label, expected) in enumerate(zip(labels, probabilities, strict=True)):
        largest = np.sort(expected)[::-1][:20]
        np.testing.assert_allclose(found.probabilities[row], largest, rtol=1e-6)
        expected = np.where(expected >= largest[-1], expected, 0)
        expected[label] = probabilities[row, label]
        np.testing.assert_allclose(kept[row], expected, rtol=1e-6)


def test_joined_parts_are_in_the_order_of_the_indices():
    probabilities = np.random.default_rng(0).dirichlet(np.ones(3), 5)
    labels = np.array([0, 1, 2, 0, 1])
    indices = [[3, 0], [4, 1, 2]]
    parts = [from_probabilities(labels[i], probabilities[i]) for i in indices]
    whole = joined(parts, indices, 5)
    np.testing.assert_array_equal(whole.labels, labels)
    np.testing.assert_allclose(dense(whole), probabilities, rtol=1e-6)


@pytest.mark.parametrize(
    ("indices", "num_examples", "message"),
    [
        ([[0], [0]], 2, "each number once"),
        ([[0], [2]], 2, "each number once"),
        ([[0], [1]], 3, "must hold 3 examples. Received: 2"),
    ],
)
def test_joined_parts_must_hold_each_example_once(indices, num_examples, message):
    parts = [from_probabilities([0], [[0.5, 0.5]])] * 2
    with pytest.raises(ValueError, match=message):
        joined(parts, indices, num_examples)


# What is refused


@pytest.mark.parametrize(
    ("labels", "probabilities", "message"),
    [
        ([0, 1], [[0.5, 0.5]], "2 labels and 1 rows"),
        ([0], [[0.5, 0.4]], "row 0, which sums to 0.9"),
        ([0, 0], [[0.5, 0.5], [1.5, -0.5]], "row 1, .*-0.5 as its smallest"),
        ([0], [[np.nan, 1.0]], "finite. Received: nan in row 0"),
        ([0], [[2.0, -3.0]], "take `tf.nn.softmax"),
        ([0], [0.5, 0.5], r"shape \(n, num_classes\).*shape \(2,\)"),
        ([0], [[1.0]], "at least two classes"),
        ([2], [[0.5, 0.5]], "must be below 2. Received: 2 at position 0"),
        ([-1], [[0.5, 0.5]], "must be 0 or more"),
        ([np.nan], [[0.5, 0.5]], "whole class numbers"),
        (["cat"], [[0.5, 0.5]], "Map names to numbers"),
        ([], np.zeros((0, 2)), "at least one label"),
        ([[1, 0]], [[0.5, 0.5]], "For one-hot labels"),
    ],
)
def test_probabilities_that_do_not_fit_are_refused(labels, probabilities, message):
    with pytest.raises(ValueError, match=message):
        from_probabilities(labels, probabilities)


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (np.zeros((2, 3)), "1 labels and 2 rows"),
        (np.zeros((1, 2, 2)), r"`features.reshape\(n, -1\)`"),
        ([[1.0, -np.inf]], "Received: -inf in row 0"),
    ],
)
def test_features_that_do_not_fit_are_refused(features, message):
    with pytest.raises(ValueError, match=message):
        from_probabilities([0], [[0.5, 0.5]], features)


@pytest.mark.parametrize(
    ("label", "message"),
    [
        (10, "`labels of batch 3` must be below 10. Received: 10.0 at position 2"),
        (-1, "`labels of batch 3` must be 0 or more"),
        (np.nan, "`labels of batch 3` must hold whole"),
    ],
)
def test_label_that_is_no_class_is_named(label, message, images, labels):
    labels = labels.astype("float64")
    labels[98] = label
    with pytest.raises(ValueError, match=message):
        predict(functional(), batches_of(images, labels))


@pytest.mark.parametrize("num_columns", [2, 11])
def test_rows_that_are_not_one_hot_are_refused(num_columns, images):
    with pytest.raises(ValueError, match="`labels of batch 0` must have shape"):
        predict(functional(), batches_of(images, np.zeros((100, num_columns))))


def test_model_with_one_output_is_refused(images, labels):
    with pytest.raises(ValueError, match=r"at least two classes.*\(32, 1\)"):
        predict(functional("sigmoid", 1), batches_of(images, labels))


def test_model_that_diverged_is_refused(images, labels):
    model = functional()
    model.layers[-1].bias.assign(np.full(10, np.nan))
    with pytest.raises(ValueError, match="finite logits. Received: nan"):
        predict(model, batches_of(images, labels))


def test_nothing_to_read_is_refused(images, labels):
    with pytest.raises(ValueError, match="must hold examples"):
        predict(functional(), batches_of(images, labels).take(0))
