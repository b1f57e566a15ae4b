"""NCRModel saved, loaded in another process, cloned, exported."""

import copy
import pathlib
import pickle
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_ncr import NCRModel, NeighborConsistencyLoss

X = np.random.default_rng(0).normal(size=(40, 5)).astype("float32")
Y = np.random.default_rng(1).integers(0, 3, 40)


@keras.saving.register_keras_serializable(package="tests")
class Backbone(keras.Model):
    """A registered backbone of the user's own."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.dense = keras.layers.Dense(units, activation="relu")

    def call(self, inputs):
        return self.dense(inputs)

    def get_config(self):
        return {**super().get_config(), "units": self.units}


@keras.saving.register_keras_serializable(package="tests")
class ProjectedNCR(NCRModel):
    """A subclass with an argument and a layer of its own."""

    def __init__(self, *args, projection_dim=4, **kwargs):
        super().__init__(*args, **kwargs)
        self.projection_dim = projection_dim
        self.projection = keras.layers.Dense(projection_dim, activation="relu")

    def features_and_logits(self, inputs, training=None):
        features, logits = super().features_and_logits(inputs, training)
        return self.projection(features), logits

    def get_config(self):
        return {**super().get_config(), "projection_dim": self.projection_dim}


def sequential():
    return keras.Sequential(
        [keras.layers.Dense(8, activation="relu"), keras.layers.BatchNormalization()]
    )


MODELS = {
    "linear": lambda: NCRModel(
        sequential(),
        3,
        NeighborConsistencyLoss(num_neighbors=3, direction="neighbors_to_self"),
        consistency_weight=0.7,
        warmup_epochs=1,
    ),
    "cosine": lambda: NCRModel(sequential(), 3, classifier="cosine"),
    "custom": lambda: NCRModel(Backbone(6), 3, classifier=keras.layers.Dense(3)),
    "subclass": lambda: ProjectedNCR(Backbone(6), 3, projection_dim=5),
}


def fit(model, epochs=2, **kwargs):
    return model.fit(
        X, Y, epochs=epochs, batch_size=20, shuffle=False, verbose=0, **kwargs
    ).history


def trained(name):
    keras.utils.set_random_seed(0)
    model = MODELS[name]()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(
        keras.optimizers.Adam(0.01), loss, metrics=["accuracy"], run_eagerly=True
    )
    fit(model)
    return model


def test_a_loaded_model_has_the_arguments_and_the_compiled_state(tmp_path):
    model = trained("linear")
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert type(loaded) is NCRModel
    assert loaded.num_classes == 3
    assert loaded.consistency_weight == 0.7
    assert loaded.warmup_epochs == 1
    assert loaded.consistency_loss.num_neighbors == 3
    assert loaded.consistency_loss.direction == "neighbors_to_self"
    assert loaded.optimizer.learning_rate.numpy() == np.float32(0.01)
    assert loaded.evaluate(X, Y, verbose=0) == model.evaluate(X, Y, verbose=0)
    for ours, theirs in zip(
        loaded.optimizer.variables, model.optimizer.variables, strict=True
    ):
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())


def test_a_saved_model_may_be_uncompiled(tmp_path):
    model = MODELS["linear"]()
    logits = model(X)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert not loaded.compiled
    np.testing.assert_array_equal(loaded(X), logits)


@pytest.mark.parametrize("name", MODELS)
def test_the_config_round_trips(name):
    model = MODELS[name]()
    config = model.get_config()
    copied = type(model).from_config(config)
    assert type(copied) is type(model)
    assert copied.get_config() == config
    assert keras.saving.serialize_keras_object(model)["registered_name"] == (
        "tests>ProjectedNCR" if name == "subclass" else "keras_ncr>NCRModel"
    )


def test_an_unregistered_backbone_loads_with_custom_objects(tmp_path):
    class Unregistered(keras.layers.Layer):
        def call(self, inputs):
            return keras.ops.relu(inputs)

    model = NCRModel(Unregistered(), 3)
    logits = model(X)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(
        tmp_path / "model.keras", custom_objects={"Unregistered": Unregistered}
    )
    np.testing.assert_array_equal(loaded(X), logits)


@pytest.mark.parametrize(
    "copy_of",
    [
        lambda model: pickle.loads(pickle.dumps(model)),
        pytest.param(copy.deepcopy, marks=pytest.mark.slow),  # By the same door.
    ],
    ids=["pickle", "deepcopy"],
)
def test_a_copy_predicts_the_same_and_trains_apart(copy_of):
    model = trained("subclass")
    copied = copy_of(model)
    logits = model.predict(X, verbose=0)
    np.testing.assert_array_equal(copied.predict(X, verbose=0), logits)
    fit(copied)
    np.testing.assert_array_equal(model.predict(X, verbose=0), logits)


def test_a_clone_has_the_same_layers_and_new_weights():
    model = trained("linear")
    clone = keras.models.clone_model(model)
    clone.build((None, 5))
    assert np.any(clone.classifier.kernel.numpy() != model.classifier.kernel.numpy())
    clone.set_weights(model.get_weights())
    np.testing.assert_array_equal(
        clone.predict(X, verbose=0), model.predict(X, verbose=0)
    )


def test_a_copied_consistency_loss_is_the_same_loss():
    loss = NeighborConsistencyLoss(num_neighbors=3, temperature=1.5)
    features, logits = np.maximum(X, 0), X[:, :3]
    np.testing.assert_array_equal(
        copy.deepcopy(loss)(features, logits), loss(features, logits)
    )


@pytest.mark.slow
def test_weights_alone_are_saved_and_loaded(tmp_path):
    model = trained("cosine")
    model.save_weights(tmp_path / "model.weights.h5")
    loaded = MODELS["cosine"]()
    loaded.build((None, 5))
    loaded.load_weights(tmp_path / "model.weights.h5")
    np.testing.assert_array_equal(
        loaded.predict(X, verbose=0), model.predict(X, verbose=0)
    )


def test_an_exported_model_serves_any_batch(tmp_path):
    model = trained("linear")
    model.export(tmp_path, verbose=False)
    served = tf.saved_model.load(tmp_path)
    for size in (40, 7, 1):
        np.testing.assert_allclose(
            served.serve(X[:size]), model.predict(X[:size], verbose=0), atol=1e-6
        )


def text(dtype):
    layers = [keras.layers.Embedding(9, 4), keras.layers.GlobalAveragePooling1D()]
    if dtype == "string":
        words = keras.layers.TextVectorization(vocabulary=["a", "b"])
        return keras.Sequential([words, *layers]), tf.constant([["a b"], ["b"]])
    return keras.Sequential(layers), np.array([[1, 2, 3], [4, 5, 8]])


def several():
    inputs = {name: keras.Input((5,), name=name) for name in "ab"}
    features = keras.layers.Dense(8, activation="relu")(inputs["a"] + inputs["b"])
    return keras.Model(inputs, features), {"a": X, "b": 2 * X}


@pytest.mark.parametrize(
    "kind", ["string", "dict", pytest.param("int32", marks=pytest.mark.slow)]
)
def test_models_of_text_and_of_several_inputs_are_saved(kind, tmp_path):
    backbone, x = several() if kind == "dict" else text(kind)
    model = NCRModel(backbone, 3)
    logits = model.predict(x, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), logits)


# Another process


LOAD = """
import sys
import numpy as np
sys.path.insert(0, sys.argv[1])
import keras
import test_saving
folder, *names = sys.argv[2:]
for name in names:
    model = keras.models.load_model(f"{folder}/{name}.keras", safe_mode=True)
    before = model.predict(test_saving.X, verbose=0)
    test_saving.fit(model, epochs=3, initial_epoch=2)
    after = model.predict(test_saving.X, verbose=0)
    np.savez(f"{folder}/{name}.npz", before=before, after=after)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "names",
    [
        ("linear", "subclass"),
        pytest.param(("cosine", "custom"), marks=pytest.mark.slow),
    ],
    ids="-".join,
)
def test_another_process_loads_the_same_model_and_trains_on(names, tmp_path):
    models = {name: trained(name) for name in names}
    for name, model in models.items():
        model.save(tmp_path / f"{name}.keras")
    here = pathlib.Path(__file__).parent
    command = [sys.executable, "-c", LOAD, here, tmp_path, *names]
    subprocess.run(command, cwd=here.parents[1], check=True)
    for name, model in models.items():
        predictions = np.load(tmp_path / f"{name}.npz")
        np.testing.assert_array_equal(
            predictions["before"], model.predict(X, verbose=0)
        )
        fit(model, epochs=3, initial_epoch=2)
        np.testing.assert_array_equal(predictions["after"], model.predict(X, verbose=0))
