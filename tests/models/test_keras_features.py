"""What people bring: generators, soft labels, weights in files, ids, precision."""

import keras
import numpy as np
import pytest
import scipy.sparse
import tensorflow as tf
from model_harness import (
    MODELS,
    WITH_BUILT_IN_LOSS,
    WITH_MEMORY,
    WITH_VIEWS,
    X,
    Y,
    assert_same_history,
    assert_same_variables,
    compiled,
    cross_entropy,
    few,
    fit,
    new_model,
    plain_history,
)

from keras_ncr.losses import GeneralizedCrossEntropy
from keras_ncr.models import DivideMixModel, ELRPlusModel

ONE_HOT = np.eye(3, dtype="float32")[Y]
OF_DISTRIBUTIONS = keras.losses.CategoricalCrossentropy(from_logits=True)


class Batches(keras.utils.PyDataset):
    """Two batches of rows that belong to the models' examples."""

    def __init__(self, y, index):
        super().__init__()
        self.y = y
        self.index = index

    def __len__(self):
        return 2

    def __getitem__(self, number):
        rows = slice(12 * number, 12 * number + 12)
        return X[rows], {"label": self.y[rows], "index": self.index[rows]}


def generated(y, index):
    yield from (Batches(y, index)[number] for number in range(2))


@pytest.mark.parametrize("kind", [Batches, generated])
@pytest.mark.parametrize("name", few("elr", of=["elr", "sop"]))
def test_batches_of_python_train_as_arrays(name, kind):
    index = np.arange(24) // (2 if name in WITH_VIEWS else 1)
    num_examples = int(index[-1]) + 1
    model = compiled(name, {"num_examples": num_examples})
    options = {"batch_size": None, "validation_data": (X, Y)}
    options |= {"validation_batch_size": 12, "steps_per_epoch": 2}
    history = fit(model, kind(Y, index), None, **options)
    assert_same_history(history, plain_history(name))


@pytest.mark.parametrize("kind", [Batches, generated])
@pytest.mark.parametrize(
    ("y", "index", "message"),
    [
        (Y + 1, np.arange(24), "`y` must be below 3. Received: 3"),
        (Y, np.arange(24) + 1, "below num_examples=24. Received: 24"),
    ],
    ids=["label", "index"],
)
def test_wrong_targets_in_batches_of_python_are_refused(kind, y, index, message):
    model = compiled("elr", {"num_examples": 24})
    with pytest.raises(ValueError, match=message):
        fit(model, kind(y, index), None, batch_size=None, steps_per_epoch=2)


@pytest.mark.parametrize(
    "loss",
    [OF_DISTRIBUTIONS, pytest.param(GeneralizedCrossEntropy(), marks=pytest.mark.slow)],
)
def test_soft_labels_of_unknown_width_train_as_known_ones(loss):
    def batches():
        yield from ((X[rows], ONE_HOT[rows]) for rows in np.split(np.arange(24), 2))

    signature = tf.TensorSpec((None, 5)), tf.TensorSpec((None, None))
    unknown = tf.data.Dataset.from_generator(batches, output_signature=signature)
    unknown = unknown.apply(tf.data.experimental.assert_cardinality(2))
    history = fit(compiled("ncr", loss=loss), unknown, None, batch_size=None)
    assert_same_history(history, fit(compiled("ncr", loss=loss), y=ONE_HOT))
    wrong = unknown.map(lambda x, y: (x, 2 * y))
    with pytest.raises(tf.errors.InvalidArgumentError, match="or class probabilities"):
        fit(compiled("ncr", loss=loss), wrong, None, batch_size=None)


@pytest.mark.parametrize("name", few("elr", of=WITH_MEMORY))
def test_weights_bring_back_what_was_remembered(name, tmp_path):
    model, other = compiled(name), new_model(name)
    fit(model, epochs=2)
    model.save_weights(tmp_path / "model.weights.h5")
    other.build((None, 5))
    other.load_weights(tmp_path / "model.weights.h5")
    assert other.num_examples == model.num_examples
    assert_same_variables(other.weights, model.weights, 0)
    larger = new_model(name, num_examples=99)
    larger.build((None, 5))
    with pytest.raises(ValueError, match="num_examples=99. Received: those of another"):
        larger.load_weights(tmp_path / "model.weights.h5")


@pytest.mark.parametrize(
    "name", few("l_dmi", of=[n for n in MODELS if n not in WITH_VIEWS])
)
def test_models_train_where_numbers_are_checked(name):
    tf.debugging.enable_check_numerics()
    try:
        history = fit(compiled(name), epochs=2)
    finally:
        tf.debugging.disable_check_numerics()
    assert history["loss"][0] == pytest.approx(plain_history(name)["loss"][0], rel=1e-5)


@pytest.mark.parametrize(
    "name", few("elr", of=[n for n in MODELS if n not in ("divide_mix", "longremix")])
)
def test_double_precision_trains_as_single(name):
    single = compiled(name)
    single.build((None, 5))
    keras.config.set_floatx("float64")
    double = compiled(name)
    double.build((None, 5))
    double.set_weights(single.get_weights())
    keras.config.set_floatx("float32")
    expected = fit(single)
    keras.config.set_floatx("float64")
    assert_same_history(fit(double), expected, 1e-4)


# Not gjs, which wants views; nor sgn, whose logits sum to 0: scikit-learn takes
# such rows for none of the classes.
@pytest.mark.parametrize(
    "name",
    few(
        "ncr",
        "ssr",
        "sop",
        of=[n for n in MODELS if n not in ("divide_mix", "gjs", "sgn")],
    ),
)
def test_models_are_wrapped_for_scikit_learn(name):
    arguments = {"num_views": 1, "consistency_term_weight": 0} if name == "sop" else {}
    loss = {} if name in WITH_BUILT_IN_LOSS else {"loss": OF_DISTRIBUTIONS}
    model = compiled(name, arguments, **loss)
    wrapped = keras.wrappers.SKLearnClassifier(model, fit_kwargs={"verbose": 0})
    assert set(wrapped.fit(X, Y).predict(X)) <= {0, 1, 2}


# Inputs that cannot be mixed


def of_ids():
    embedding = keras.layers.Embedding(10, 8)
    inputs = keras.Input((4,), dtype="int32")
    return keras.Model(inputs, keras.layers.Flatten()(embedding(inputs)))


def unsuitable(kind):
    ids = np.zeros((24, 4), "int32")
    if kind == "ids":
        return ids
    if kind == "text":
        return tf.constant(["a word"] * 24)
    if kind == "sparse":
        return scipy.sparse.csr_matrix(X)
    return tf.data.Dataset.from_tensor_slices(
        (ids, {"label": Y, "index": np.arange(24)})
    ).batch(12)


MIXING = {
    "elr_plus": (ELRPlusModel, {"num_examples": 24}),
    "divide_mix": (DivideMixModel, {"num_examples": 24}),
}


@pytest.mark.parametrize("kind", ["ids", "text", "sparse", "dataset"])
@pytest.mark.parametrize("name", MIXING)
def test_inputs_that_cannot_be_mixed_are_refused(name, kind):
    cls, arguments = MIXING[name]
    model = cls([of_ids(), of_ids()], 3, **arguments)
    model.compile("sgd", cross_entropy())
    x = unsuitable(kind)
    y = None if kind == "dataset" else Y
    with pytest.raises(ValueError, match="`x` must be numbers that can be averaged"):
        model.fit(x, y, verbose=0)


def test_elr_plus_without_mixing_takes_ids():
    model = ELRPlusModel([of_ids(), of_ids()], 3, mixup_alpha=0)
    model.compile("sgd", cross_entropy(), run_eagerly=True)
    assert np.isfinite(fit(model, unsuitable("ids"))["loss"][0])


def test_pictures_of_small_integers_may_be_mixed():
    pixels = np.zeros((24, 4, 4, 1), "uint8")
    backbones = [keras.Sequential([keras.layers.Flatten()]) for _ in range(2)]
    model = ELRPlusModel(backbones, 3)
    model.compile("sgd", cross_entropy(), run_eagerly=True)
    assert np.isfinite(fit(model, pixels)["loss"][0])
