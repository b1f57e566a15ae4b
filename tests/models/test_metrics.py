"""MemorizationRate: the share of wrong labels that a model has learned."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_ncr.models.metrics import MemorizationRate


def slow_rate(labels, predictions, clean_labels):
    """The definition, one label at a time."""
    wrong = [i for i in range(len(labels)) if labels[i] != clean_labels[i]]
    memorized = [i for i in wrong if predictions[i] == labels[i]]
    return len(memorized) / len(wrong)


@pytest.mark.parametrize("label_dtype", ["int32", "int64", "uint8", "float32"])
@pytest.mark.parametrize("batch_size", [1, 7, 100])
def test_it_equals_its_definition(label_dtype, batch_size):
    rng = np.random.default_rng(0)
    labels, clean_labels = rng.integers(0, 4, (2, 100)).astype(label_dtype)
    logits = rng.normal(size=(100, 4)).astype("float32")
    metric = MemorizationRate()
    for first in range(0, 100, batch_size):
        rows = slice(first, first + batch_size)
        metric.update_state(labels[rows], logits[rows], clean_labels[rows])
    expected = slow_rate(labels, logits.argmax(1), clean_labels)
    np.testing.assert_allclose(metric.result(), expected, rtol=1e-6)


@pytest.mark.parametrize(
    "labels, clean, rate",
    [
        ([1, 1], [0, 0], 1.0),
        ([1, 1], [1, 1], 0.0),
        ([2, 2], [0, 1], 0.0),
        ([1, 2], [0, 0], 0.5),
    ],
)
def test_closed_forms(labels, clean, rate):
    metric = MemorizationRate()
    metric.update_state(labels, tf.one_hot([1, 1], 3), clean)
    assert float(metric.result()) == rate


def test_it_is_zero_before_any_example_and_after_a_reset():
    metric = MemorizationRate()
    assert float(metric.result()) == 0
    metric.update_state([1], [[0.0, 1.0]], [0])
    assert float(metric.result()) == 1
    metric.reset_state()
    assert float(metric.result()) == 0


def test_it_works_in_a_graph():
    metric = MemorizationRate()
    update = tf.function(metric.update_state)
    update(tf.constant([1, 2]), tf.one_hot([1, 1], 3), tf.constant([0, 0]))
    assert float(metric.result()) == 0.5


def test_its_config_round_trips():
    metric = MemorizationRate(name="learned_by_heart")
    config = keras.saving.serialize_keras_object(metric)
    assert config["registered_name"] == "keras_ncr>MemorizationRate"
    copy = keras.saving.deserialize_keras_object(config)
    assert copy.name == "learned_by_heart"
