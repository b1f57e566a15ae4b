"""NCRModel on two replicas: losses, metrics and weights are those of one device."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_ncr
from keras_ncr import NCRModel
from keras_ncr.distribution.batch_statistics import moving_statistics
from keras_ncr.models.metrics import MemorizationMonitor

X = np.random.default_rng(0).normal(size=(70, 5)).astype("float32")
Y = np.random.default_rng(1).integers(0, 3, 70)
# What is left of the examples behind batches of 32: more for one replica than for the
# other, all for one of them.
UNEQUAL = [67, 65, 35, 33]
LOSSES = ["loss", "classification_loss", "neighbor_consistency_loss", "accuracy"]


class Inherited(NCRModel):
    """What NCRModel would be without a training step of its own."""

    def train_step(self, data):
        return keras.Model.train_step(self, data)


def make(cls=NCRModel, run_eagerly=False, **kwargs):
    keras.utils.set_random_seed(1)
    backbone = keras.Sequential(
        [keras.layers.Dense(8, activation="relu", kernel_regularizer="l2")]
    )
    model = cls(backbone, 3, **kwargs)
    model.compile(
        keras.optimizers.SGD(0.1, momentum=0.9),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        run_eagerly=run_eagerly,
    )
    return model


def restartable(model):
    """Returns a function that trains from the same start each time it is called.

    It returns the history and the weights. A model is compiled once for all sizes.
    """
    model.build((None, 5))
    model.optimizer.build(model.trainable_variables)
    state = [*model.weights, *model.optimizer.variables]
    start = [variable.numpy() for variable in state]

    def train(size, learning_rate=0.1, **kwargs):
        for variable, value in zip(state, start, strict=True):
            variable.assign(value)
        model.optimizer.learning_rate = learning_rate
        settings = {"batch_size": 32, "shuffle": False, "verbose": 0}
        history = model.fit(X[:size], Y[:size], **settings | kwargs).history
        return history, [weight.numpy() for weight in model.weights]

    return train


@pytest.fixture(scope="module")
def train_pair(two_replicas):
    """Two functions that train with alpha = 0.5: on one device, on two replicas."""
    arguments = {"consistency_weight": 0.5, "warmup_epochs": 1}
    with two_replicas.scope():
        distributed = restartable(make(**arguments))
    return restartable(make(**arguments)), distributed


def assert_close(ours, theirs, tolerance=1e-5):
    np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance)


def assert_same_run(ours, theirs):
    for name in LOSSES:
        assert_close(ours[0][name], theirs[0][name])
    for one, two in zip(ours[1], theirs[1], strict=True):
        assert_close(one, two)


@pytest.mark.slow
def test_equal_shares_train_as_one_device(train_pair):
    one, two = [train(68, epochs=2) for train in train_pair]
    assert_same_run(two, one)
    # The first epoch is warm-up, on both replicas.
    history = two[0]
    assert history["loss"][0] > history["classification_loss"][0]
    assert history["loss"][1] < history["classification_loss"][1]


@pytest.mark.slow  # By default their examples have weights: the next test.
@pytest.mark.parametrize("size", UNEQUAL)
def test_unequal_shares_train_as_one_device(train_pair, size):
    settings = {"initial_epoch": 1, "epochs": 2}
    one, two = [train(size, **settings) for train in train_pair]
    assert_same_run(two, one)
    assert one[0]["neighbor_consistency_loss"][0] > 0
    assert one[0]["loss"][0] < one[0]["classification_loss"][0]


@pytest.mark.parametrize("size", [67, pytest.param(33, marks=pytest.mark.slow)])
def test_weighted_examples_of_unequal_shares_train_as_on_one_device(train_pair, size):
    weights = np.random.default_rng(2).uniform(0, 3, size)
    settings = {"initial_epoch": 1, "epochs": 2, "sample_weight": weights}
    one, two = [train(size, **settings) for train in train_pair]
    assert_same_run(two, one)


@pytest.mark.slow
def test_alpha_zero_is_the_inherited_step(two_replicas):
    settings = {"run_eagerly": True, "consistency_weight": 0.0}
    with two_replicas.scope():
        ours = restartable(make(**settings))
        theirs = restartable(make(Inherited, **settings))
    # Two steps, of which the second has shares of two examples. Where shares differ,
    # the inherited step weighs examples unlike.
    (history, weights), (expected, expected_weights) = ours(36), theirs(36)
    assert history["loss"] == expected["loss"]
    assert history["accuracy"] == expected["accuracy"]
    for one, two in zip(weights, expected_weights, strict=True):
        np.testing.assert_array_equal(one, two)


class Humble(NCRModel):
    """Adds a loss in the forward pass, of which both replicas have their own."""

    def features_and_logits(self, inputs, training=None):
        features, logits = super().features_and_logits(inputs, training)
        self.add_loss(0.5 * keras.ops.mean(logits**2))
        return features, logits


@pytest.mark.slow
def test_added_losses_train_as_on_one_device(two_replicas):
    one = restartable(make(Humble, run_eagerly=True))
    with two_replicas.scope():
        two = restartable(make(Humble, run_eagerly=True))
    assert_same_run(two(32), one(32))


def test_evaluate_and_predict_are_those_of_one_device(two_replicas):
    one = make(run_eagerly=True)
    with two_replicas.scope():
        two = make(run_eagerly=True)
    # Predicting first must not leave the model unable to train.
    # Two batches each, the second smaller.
    x, y, options = X[:36], Y[:36], {"batch_size": 20, "verbose": 0}
    assert_close(two.predict(x, **options), one.predict(x, **options))
    assert_close(two.evaluate(x, y, **options), one.evaluate(x, y, **options))
    history = two.fit(x, y, validation_data=(X[:35], Y[:35]), **options).history
    assert history.keys() == {*LOSSES, *["val_" + name for name in LOSSES]}
    one.set_weights(two.get_weights())
    final = one.evaluate(X[:35], Y[:35], **options)
    assert_close([history["val_loss"][0], history["val_accuracy"][0]], final)


def test_wrong_labels_in_a_distributed_dataset_stop_training(two_replicas):
    with two_replicas.scope():
        model = make()
    dataset = tf.data.Dataset.from_tensor_slices((X, Y + 1)).batch(32)
    with pytest.raises(tf.errors.InvalidArgumentError, match="A label in `x` must be"):
        model.fit(dataset, verbose=0)
    assert keras.ops.convert_to_numpy(model.optimizer.iterations) == 0


class FirstFeature(NCRModel):
    """Predicts the class that the first feature names."""

    def features_and_logits(self, inputs, training=None):
        features, logits = super().features_and_logits(inputs, training)
        return features, 0 * logits + tf.one_hot(tf.cast(inputs[:, 0], "int32"), 3)


def test_the_monitor_counts_no_example_twice(two_replicas):
    labels, clean_labels = np.array([1, 2, 1, 2, 1, 0]), np.zeros(6, int)
    x = np.zeros((6, 5), "float32")
    x[:2, 0] = labels[:2]
    targets = {"label": labels, "clean_label": clean_labels}
    dataset = tf.data.Dataset.from_tensor_slices((x, targets)).batch(4)
    with two_replicas.scope():
        monitor = MemorizationMonitor(dataset)
        model = make(FirstFeature, run_eagerly=True)
        history = model.fit(X[:8], Y[:8], callbacks=[monitor], verbose=0)
    assert history.history["memorization_rate"] == pytest.approx([2 / 5])


def with_normalization(run_eagerly=True):
    keras.utils.set_random_seed(1)
    backbone = keras.Sequential(
        [
            keras.layers.Dense(4),
            keras.layers.BatchNormalization(momentum=0.9),
            keras.layers.Activation("relu"),
        ]
    )
    model = NCRModel(backbone, 3, consistency_weight=0.5)
    model.build((None, 5))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    # At rest: parts are normalized by other variances, and would train otherwise.
    model.compile(keras.optimizers.SGD(0.0), loss, run_eagerly=run_eagerly)
    return model


def test_moving_statistics_are_those_of_the_global_batch(two_replicas):
    one = with_normalization()
    with two_replicas.scope():
        two = with_normalization(run_eagerly=False)
    assert moving_statistics(two) == two.backbone.layers[1].non_trainable_variables
    for model in (one, two):
        # Batches in parts of 3 and 2 examples, and of one and none.
        model.fit(X[:6], Y[:6], batch_size=5, shuffle=False, verbose=0)
    mean, variance = moving_statistics(two)
    for statistic in (mean, variance):
        first, second = two_replicas.experimental_local_results(statistic.value)
        np.testing.assert_array_equal(first, second)
        assert np.all(np.isfinite(first))
    assert_close(mean.numpy(), moving_statistics(one)[0].numpy())


def with_our_backbone():
    keras.utils.set_random_seed(1)
    backbone = keras_ncr.backbones.mlp((5, 1, 1), hidden=(8, 4))
    model = NCRModel(backbone, 3, consistency_weight=0.5)
    model.compile(
        keras.optimizers.SGD(0.1, momentum=0.9),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    return model


@pytest.mark.slow
def test_backbones_with_batch_normalization_train_as_on_one_device(
    two_replicas, tmp_path
):
    pixels = np.random.default_rng(2).integers(0, 256, (67, 5, 1, 1)).astype("uint8")
    one = with_our_backbone()
    with two_replicas.scope():
        two = with_our_backbone()
    assert moving_statistics(one) and not moving_statistics(two)
    settings = {"batch_size": 32, "shuffle": False, "verbose": 0, "epochs": 3}
    # The last batch leaves two examples to one replica and one to the other.
    ours, theirs = [m.fit(pixels, Y[:67], **settings).history for m in (two, one)]
    for name in LOSSES:
        assert_close(ours[name], theirs[name], 1e-4)
    for first, second in zip(two.weights, one.weights, strict=True):
        assert_close(first.numpy(), second.numpy(), 1e-4)
    for mean in [w for w in two.weights if "moving" in w.path]:
        parts = two_replicas.experimental_local_results(mean.value)
        np.testing.assert_array_equal(*parts)
    # What two replicas trained goes on on one device.
    two.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    for model in (one, loaded):
        model.fit(pixels, Y[:67], **settings)
    assert_close(loaded(pixels).numpy(), one(pixels).numpy(), 1e-3)
