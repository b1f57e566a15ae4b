"""Tests of models/mean_predictions.py: what training predicted of each example."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_ncr import ELRModel, NCRModel
from keras_ncr.backbones import mlp
from keras_ncr.models.mean_predictions import MeanPredictions

pytestmark = pytest.mark.usefixtures("eager_functions")
NUM_EXAMPLES, NUM_CLASSES = 12, 3


def data():
    rng = np.random.default_rng(0)
    images = rng.normal(size=(NUM_EXAMPLES, 2, 2, 1)).astype("float32")
    labels = rng.integers(0, NUM_CLASSES, NUM_EXAMPLES)
    return images, {"label": labels, "index": np.arange(NUM_EXAMPLES)}


def compiled(cls=NCRModel, rate=0.1):
    keras.utils.set_random_seed(0)
    model = cls(mlp((2, 2, 1)), NUM_CLASSES)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(rate), loss)
    return model


class Steps(keras.callbacks.Callback):
    """Notes what the steps of each epoch predict, as an oracle."""

    def __init__(self):
        super().__init__()
        self.predictions = []

    def on_train_begin(self, logs=None):
        objective = self.model.batch_objective

        def noted(x, y, sample_weight=None):
            result = objective(x, y, sample_weight)
            self.predictions[-1][np.asarray(y["index"])] = tf.nn.softmax(result[1])
            return result

        self.model.batch_objective = noted

    def on_epoch_begin(self, epoch, logs=None):
        self.predictions.append(np.zeros((NUM_EXAMPLES, NUM_CLASSES)))


@pytest.mark.parametrize(
    ("cls", "first_epoch"),
    [
        (NCRModel, 2),
        pytest.param(ELRModel, 0, marks=pytest.mark.slow),
        pytest.param(NCRModel, 0, marks=pytest.mark.slow),
        pytest.param(ELRModel, 2, marks=pytest.mark.slow),
    ],
)
def test_means_are_of_the_steps_from_the_first_epoch_on(cls, first_epoch):
    model, kept, steps = compiled(cls), None, Steps()
    kept = MeanPredictions(NUM_EXAMPLES, NUM_CLASSES, first_epoch)
    model.fit(*data(), batch_size=5, epochs=5, verbose=0, callbacks=[kept, steps])
    expected = np.mean(steps.predictions[first_epoch:], axis=0)
    np.testing.assert_allclose(kept.means(), expected, atol=2e-3)
    assert kept.counts.numpy().tolist() == [5 - first_epoch] * NUM_EXAMPLES
    assert kept.rows.dtype == tf.float16


def test_training_is_the_same_to_the_bit():
    plain, watched = compiled(), compiled()
    plain.fit(*data(), batch_size=5, epochs=3, shuffle=False, verbose=0)
    kept = MeanPredictions(NUM_EXAMPLES, NUM_CLASSES)
    options = {"batch_size": 5, "epochs": 3, "shuffle": False, "verbose": 0}
    watched.fit(*data(), **options, callbacks=[kept])
    for one, other in zip(plain.weights, watched.weights, strict=True):
        np.testing.assert_array_equal(one, other)


def test_model_is_saved_without_the_means(tmp_path):
    model, kept = compiled(), MeanPredictions(NUM_EXAMPLES, NUM_CLASSES)
    model.fit(*data(), verbose=0, callbacks=[kept])
    model.save(tmp_path / "model.keras")
    read = keras.models.load_model(tmp_path / "model.keras")
    assert read.mean_predictions is None
    assert len(read.weights) == len(model.weights)


def test_example_that_no_step_saw_has_no_mean():
    kept = MeanPredictions(3, 2)
    kept.update(np.array([0, 2]), tf.constant([[0.0, 0.0], [100.0, 0.0]]))
    np.testing.assert_allclose(kept.means(), [[0.5, 0.5], [np.nan] * 2, [1, 0]])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 3), "`num_examples` must be an integer of at least 1"),
        ((5, 1), "`num_classes` must be an integer of at least 2"),
        ((5, 3, -1), "`first_epoch` must be an integer of at least 0"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        MeanPredictions(*arguments)


def test_plain_keras_models_are_refused():
    model = keras.Sequential([keras.Input([2]), keras.layers.Dense(2)])
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match="a model of this package"):
        model.fit(
            np.zeros((4, 2)),
            np.zeros((4, 2)),
            verbose=0,
            callbacks=[MeanPredictions(4, 2)],
        )
