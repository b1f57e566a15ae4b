"""The pictures that `fit` leaves for TensorBoard."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from model_harness import few
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from keras_ncr import ELRModel, NCRModel, plots
from keras_ncr.features import figure_logger
from keras_ncr.features.figure_logger import FigureLogger

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 5)).astype("float32")
CLEAN = RNG.integers(0, 3, 40)
NOISY = np.where(RNG.random(40) < 0.4, RNG.integers(0, 3, 40), CLEAN)
TAGS = ["confidence", "similarity", "transitions"]


def batches(targets=None):
    """Returns batches that do not divide the number of examples."""
    known = {"label": NOISY, "clean_label": CLEAN}
    data = X, known if targets is None else targets
    return tf.data.Dataset.from_tensor_slices(data).batch(16)


def ncr_model(cls=NCRModel):
    backbone = keras.Sequential([keras.layers.Dense(8), keras.layers.Dropout(0.5)])
    return cls(backbone, 3)


def functional_model(activation=None):
    inputs = keras.Input([5])
    features = keras.layers.Dense(8, "relu")(inputs)
    return keras.Model(inputs, keras.layers.Dense(3, activation)(features))


def fit(model, *callbacks, epochs=1, from_logits=True, **kwargs):
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits)
    model.compile(keras.optimizers.SGD(0.1), loss, run_eagerly=True)
    model.fit(X, NOISY, 20, epochs, 0, list(callbacks), **kwargs)
    return model


def written(log_dir):
    """Returns the epochs of each tag in the event files, and its last picture."""
    events = EventAccumulator(str(log_dir / "figures"), {"tensors": 0})
    events.Reload()
    return {
        tag: (
            [event.step for event in events.Tensors(tag)],
            # After its width and height, the encoded picture.
            events.Tensors(tag)[-1].tensor_proto.string_val[2],
        )
        for tag in events.Tags()["tensors"]
    }


@pytest.fixture
def not_drawn(monkeypatch):
    """Figures are made, but only a spot of each is written, which is faster."""
    spot = np.zeros((2, 2, 3), "uint8")
    monkeypatch.setattr(figure_logger, "_pixels", lambda figure: spot)


@pytest.fixture
def drawn(monkeypatch, not_drawn):
    """Returns a dict to which the arguments of each kind of figure are added."""
    calls = {}
    for name in plots.__all__:
        original = getattr(plots, name)

        def recorded(*arguments, name=name, original=original):
            calls[name] = arguments
            return original(*arguments)

        monkeypatch.setattr(plots, name, recorded)
    return calls


def test_pictures_are_written_beside_the_logs_of_tensorboard(tmp_path):
    logger = FigureLogger(batches(), tmp_path, class_names=["cat", "dog", "cow"])
    # Which asks for nothing to be written but at every third step.
    board = keras.callbacks.TensorBoard(tmp_path, update_freq=3, write_graph=False)
    fit(ncr_model(), board, logger, initial_epoch=3, epochs=4)
    pictures = written(tmp_path)
    assert sorted(pictures) == TAGS
    for epochs, picture in pictures.values():
        assert epochs == [3]
        pixels = tf.io.decode_png(picture).numpy()
        assert pixels.shape[2] == 3
        assert min(pixels.shape[:2]) > 200
        # White paper, and something on it.
        assert pixels.max() == 255
        assert 0.02 < np.mean(pixels.min(axis=2) < 255) < 0.9


@pytest.mark.parametrize("model", ["logits", "probabilities"])
def test_pictures_show_what_the_model_makes_of_the_examples(model, tmp_path, drawn):
    activation = "softmax" if model == "probabilities" else None
    logger = FigureLogger(batches(), tmp_path)
    model = fit(functional_model(activation), logger, from_logits=not activation)
    outputs = model.predict(X, verbose=0)
    probabilities = outputs if activation else tf.nn.softmax(outputs).numpy()
    ((settings,), similarity, transitions) = (
        drawn[f"{name}_figure"]
        for name in ("confidence", "similarity", "transition_matrices")
    )
    ((confidences, is_noisy),) = settings.values()
    (confidence,) = confidences.values()
    np.testing.assert_allclose(confidence, probabilities[range(40), NOISY], rtol=1e-5)
    np.testing.assert_array_equal(is_noisy, NOISY != CLEAN)
    features = keras.Model(model.inputs, model.layers[-2].output).predict(X, verbose=0)
    np.testing.assert_allclose(similarity[0], features, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(similarity[1:], [CLEAN, NOISY])
    predicted = outputs.argmax(axis=1)
    for matrix, classes in zip(transitions, (predicted, CLEAN), strict=False):
        for row, column in np.ndindex(3, 3):
            labels = NOISY[classes == row]
            share = np.mean(labels == column) if len(labels) else 0
            assert matrix[row, column] == pytest.approx(share)


@pytest.mark.parametrize("form", few("dict", of=["labels", "dict"]))
def test_nothing_is_called_wrong_where_nothing_is_known(form, tmp_path, drawn):
    targets = NOISY if form == "labels" else {"label": NOISY}
    fit(ncr_model(), FigureLogger(batches(targets), tmp_path))
    assert set(drawn) == {
        "confidence_figure",
        "similarity_figure",
        "transition_matrix_figure",
    }
    ((_, is_noisy),) = drawn["confidence_figure"][0].values()
    assert is_noisy is None
    assert drawn["similarity_figure"][1] is None
    assert sorted(written(tmp_path)) == TAGS


def test_true_class_that_is_not_known_is_drawn(tmp_path, not_drawn):
    clean = np.where(CLEAN == NOISY, CLEAN, -1)
    dataset = batches({"label": NOISY, "clean_label": clean})
    fit(ncr_model(), FigureLogger(dataset, tmp_path))
    assert sorted(written(tmp_path)) == TAGS


def test_models_that_remember_examples_are_drawn(tmp_path, not_drawn):
    fit(ncr_model(ELRModel), FigureLogger(batches(), tmp_path))
    assert sorted(written(tmp_path)) == TAGS


@pytest.mark.parametrize(
    "way", ["by hand", pytest.param("by fit", marks=pytest.mark.slow)]
)
def test_pictures_under_two_replicas_are_those_of_the_whole_sample(
    way, tmp_path, drawn, two_replicas
):
    logger = FigureLogger(batches(), tmp_path)
    with two_replicas.scope():
        model = ncr_model()
        model(X)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.SGD(0.1), loss)
    if way == "by hand":  # Without the time to compile a step.
        logger.set_model(model)
        logger.on_train_begin()
        logger.on_epoch_end(0)
        logger.on_train_end()
        logits = model(X)
    else:
        model.fit(X, NOISY, 20, verbose=0, callbacks=[logger])
        logits = model.predict(X, verbose=0)
    assert sorted(written(tmp_path)) == TAGS
    probabilities = tf.nn.softmax(logits).numpy()
    ((confidences, _),) = drawn["confidence_figure"][0].values()
    (confidence,) = confidences.values()
    np.testing.assert_allclose(confidence, probabilities[range(40), NOISY], rtol=1e-5)


def test_training_is_the_same_with_and_without(tmp_path, not_drawn):
    def weights(*callbacks):
        keras.utils.set_random_seed(1)
        return fit(ncr_model(), *callbacks, epochs=2).get_weights()

    logger = FigureLogger(batches(), tmp_path, every=1)
    for one, other in zip(weights(), weights(logger), strict=True):
        np.testing.assert_array_equal(one, other)


class StopAfter(keras.callbacks.Callback):
    def __init__(self, epoch):
        super().__init__()
        self.epoch = epoch

    def on_epoch_end(self, epoch, logs=None):
        self.model.stop_training = epoch == self.epoch


@pytest.mark.parametrize(
    ("stop", "first", "expected"),
    [
        (9, 0, [0, 2, 3]),
        (1, 0, [0, 1]),
        pytest.param(2, 0, [0, 2], marks=pytest.mark.slow),
        pytest.param(9, 3, [3], marks=pytest.mark.slow),
    ],
    ids=["to the end", "stopped", "stopped after a drawing", "resumed"],
)
def test_figures_come_every_so_many_epochs_and_at_the_end(
    stop, first, expected, tmp_path, monkeypatch
):
    drawn = []

    def draw(self):
        self.last_drawn = self.epoch
        drawn.append(self.epoch)

    monkeypatch.setattr(FigureLogger, "draw", draw)
    logger = FigureLogger(batches(), tmp_path, every=2)
    model = functional_model()
    fit(model, logger, StopAfter(stop), epochs=4, initial_epoch=first)
    assert drawn == expected


def test_an_epoch_that_diverged_has_no_pictures(tmp_path, not_drawn):
    model = functional_model()
    fit(model, FigureLogger(batches(), tmp_path))
    model.layers[-1].kernel.assign(np.full((8, 3), np.nan))
    model.fit(X, NOISY, verbose=0, callbacks=[FigureLogger(batches(), tmp_path / "2")])
    assert sorted(written(tmp_path)) == TAGS
    assert written(tmp_path / "2") == {}


@pytest.mark.parametrize(
    "dataset",
    [
        None,
        (X, NOISY),
        tf.data.Dataset.from_tensors(X),
        tf.data.Dataset.from_tensor_slices((X, NOISY)),
        tf.data.Dataset.from_tensors((X, {"clean_label": NOISY})),
        tf.data.Dataset.from_tensors((X, np.eye(3)[NOISY])),
    ],
    ids=["none", "arrays", "no labels", "no batches", "no annotated", "one-hot"],
)
def test_dataset_of_another_form_is_refused(dataset, tmp_path):
    with pytest.raises(ValueError, match="(?s)`dataset` must .*evaluation_batches"):
        FigureLogger(dataset, tmp_path)


@pytest.mark.parametrize(
    ("dataset", "every", "message"),
    [
        (batches().repeat(), 5, "repeats for ever"),
        (batches(), 0, "`every` must be an integer of at least 1"),
    ],
)
def test_wrong_arguments_are_refused(dataset, every, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        FigureLogger(dataset, tmp_path, every)


@pytest.mark.parametrize(
    ("dataset", "kwargs", "message"),
    [
        (batches(NOISY + 1), {}, "`labels` must be below 3"),
        (batches().take(0), {}, "`dataset` must hold examples"),
        (batches(), {"class_names": ["cat"]}, "`class_names` .* 3 classes .*: 1 names"),
    ],
    ids=["labels", "empty", "names"],
)
def test_what_does_not_fit_the_model_is_refused_before_it_trains(
    dataset, kwargs, message, tmp_path
):
    model = functional_model()
    before = model.get_weights()
    with pytest.raises(ValueError, match=message):
        fit(model, FigureLogger(dataset, tmp_path, **kwargs))
    np.testing.assert_array_equal(model.get_weights()[0], before[0])
