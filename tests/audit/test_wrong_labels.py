"""Tests of wrong_labels.py: wrong labels found from features, in one line."""

import dataclasses
import functools
import json

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_ncr
from keras_ncr.audit.wrong_labels import draws_of, out_of_sample_probabilities
from keras_ncr.datasets.split import stratified_folds
from keras_ncr.models.head import HeadSettings, HeadTraining, train_head

pytestmark = pytest.mark.usefixtures("eager_functions")
SHORT = HeadSettings(epochs=10, consistency_weight=0.3)
NAMES = np.array(["bird", "cat", "dog"])


@pytest.fixture(scope="module")
def blobs():
    """Features, true labels and labels of which every tenth is wrong."""
    random = np.random.default_rng(0)
    clean = np.arange(120) % 3
    features = 3 * np.eye(3, 8)[clean] + random.normal(size=(120, 8))
    noisy = clean.copy()
    noisy[::10] = (noisy[::10] + 1) % 3
    return 50 + 10 * features, clean, noisy


def find(features, labels, **arguments):
    short = {"settings": SHORT, "num_folds": 2, "num_draws": 1, "verbose": 0}
    return keras_ncr.find_wrong_labels(features, labels, **short | arguments)


def data_of(page):
    """Returns what a review page shows."""
    text = (page / "data.js").read_text().partition("window.reviewData=")[2]
    return json.loads(text.rstrip(";\n"))


FOUND = []


@pytest.fixture
def found(blobs):
    """The list of the features with wrong labels, made once."""
    if not FOUND:
        FOUND.append(find(blobs[0], blobs[2]))
    return FOUND[0]


def test_wrong_labels_come_first(blobs, found):
    _, clean, noisy = blobs
    frame = found
    worst = frame["label_quality"].nsmallest(12).index
    assert np.isin(worst, np.flatnonzero(clean != noisy)).mean() > 0.8
    is_issue = frame["is_label_issue"]
    assert (clean == frame["predicted_label"])[is_issue].mean() > 0.7
    assert {"neighbor_label", "outlier_score"} <= set(frame)


@pytest.mark.slow
def test_names_give_the_list_of_the_numbers(blobs, found):
    features, _, noisy = blobs
    by_name = find(features, NAMES[noisy])
    assert by_name["label_quality"].equals(found["label_quality"])
    assert by_name.attrs["class_names"] == NAMES.tolist()
    assert by_name["given_class"].tolist() == NAMES[noisy].tolist()


@pytest.mark.slow
def test_same_seed_gives_the_same_list_and_leaves_the_global_seed_alone(blobs, found):
    features, _, noisy = blobs
    keras.utils.set_random_seed(1)
    expected = np.random.random(), float(tf.random.uniform(()))
    keras.utils.set_random_seed(1)
    assert find(features, noisy).equals(found)
    assert (np.random.random(), float(tf.random.uniform(()))) == expected
    other = dataclasses.replace(SHORT, seed=1)
    assert not find(features, noisy, settings=other).equals(found)


def test_no_example_is_judged_by_a_classifier_that_has_seen_it():
    # Labels that are noise cannot be known without having seen them.
    random = np.random.default_rng(0)
    labels, features = random.integers(0, 2, 200), random.normal(size=(200, 300))
    settings = HeadSettings(
        hidden_units=64, num_layers=1, epochs=15, batch_size=100, consistency_weight=0.0
    )
    probabilities = out_of_sample_probabilities(
        features, labels, 2, num_folds=2, settings=settings, verbose=0
    )
    assert abs((probabilities.argmax(1) == labels).mean() - 0.5) < 0.12
    seen = train_head(features, labels, 2, settings=settings)
    assert (seen.predict_on_batch(features).argmax(1) == labels).mean() > 0.9


@pytest.mark.parametrize("num_layers", [0, 1])
def test_probabilities_are_the_mean_over_the_epochs_with_layers(blobs, num_layers):
    features, _, noisy = blobs
    settings = HeadSettings(num_layers=num_layers, hidden_units=4, epochs=3)
    found = out_of_sample_probabilities(
        features, noisy, 3, num_folds=2, num_draws=1, settings=settings, verbose=0
    )
    kept, held_out = stratified_folds(noisy, 2, seed=0)[1]
    each = []

    class Keep(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            logits = self.model.predict_on_batch(features[held_out])
            each.append(tf.nn.softmax(logits).numpy())

    train_head(features, noisy, 3, kept, settings, callbacks=[Keep()])
    assert np.ptp(each, axis=0).max() > 0.01
    expected = np.mean(each, axis=0) if num_layers else each[-1]
    np.testing.assert_allclose(found[held_out], expected, atol=1e-5)


def test_training_begins_anew_on_other_examples(blobs):
    features, _, noisy = blobs
    settings = HeadSettings(num_layers=1, hidden_units=4, epochs=3)
    training = HeadTraining(features, noisy, 3, 60, settings)
    training.train(np.arange(61))
    again = training.train(np.arange(40, 100)).get_weights()
    alone = train_head(features, noisy, 3, np.arange(40, 100), settings).get_weights()
    for one, other in zip(again, alone, strict=True):
        np.testing.assert_array_equal(one, other)


def test_features_are_scaled_each_or_all_together(blobs):
    features = blobs[0] * np.array([1, 2, *[1] * 6])
    variances = {}
    for scale in ("each", "all"):
        model = train_head(
            features, blobs[2], 3, settings=HeadSettings(epochs=1, scale=scale)
        )
        variances[scale] = np.var(model.backbone(features), axis=0)
    np.testing.assert_allclose(variances["each"], 1, rtol=1e-4)
    own = features.var(axis=0)
    np.testing.assert_allclose(variances["all"], own / own.mean(), rtol=1e-4)


def test_predictions_are_the_mean_of_draws_and_none_that_is_there_is_made_again(
    blobs, tmp_path, monkeypatch
):
    features, _, noisy = blobs
    arguments = {"num_folds": 2, "num_draws": 2, "folder": tmp_path, "verbose": 0}
    find_in_folds = functools.partial(
        out_of_sample_probabilities, features, noisy, 3, **arguments
    )
    first = find_in_folds(settings=HeadSettings(epochs=2))
    expected = np.zeros((2, 120, 3))
    for draw in range(2):
        folds = stratified_folds(noisy, 2, draw)
        for number, (_, held_out) in enumerate(folds):
            found = np.load(tmp_path / f"fold-{draw}-{number}.npy")
            expected[draw, held_out] = found
    np.testing.assert_allclose(first, expected.mean(axis=0), rtol=1e-5)
    assert np.ptp(expected, axis=0).max() > 0.01

    (tmp_path / "fold-1-1.npy").unlink()
    trained, fit = [], keras_ncr.ELRModel.fit

    def counted(model, *args, **kwargs):
        trained.append(1)
        return fit(model, *args, **kwargs)

    monkeypatch.setattr(keras_ncr.ELRModel, "fit", counted)
    np.testing.assert_array_equal(first, find_in_folds(settings=HeadSettings(epochs=2)))
    assert len(trained) == 1


@pytest.mark.parametrize(
    ("num_examples", "settings", "given", "draws"),
    [
        (600, {}, None, 3),
        (600, {"num_layers": 2}, None, 1),
        (6_000, {"num_layers": 0}, None, 1),
        (6_000, {}, 2, 2),
    ],
)
def test_few_examples_are_split_several_times(num_examples, settings, given, draws):
    completed = HeadSettings(**settings).completed(num_examples, 8)
    assert draws_of(completed, num_examples, given) == draws


def test_inputs_go_through_the_model(blobs, found):
    features, _, noisy = blobs
    model = keras.Sequential([keras.Input((8,)), keras.layers.Rescaling(0.5)])
    frame = find(2 * features, noisy, model=model)
    np.testing.assert_allclose(
        frame["label_quality"], found["label_quality"], atol=1e-3
    )


def test_source_goes_through_the_model_and_onto_the_page(tmp_path):
    train, _ = keras_ncr.datasets.digits()
    train = train.subset(np.arange(120))
    wrong = np.where(np.arange(120) < 6, 9 - train.labels, train.labels)
    network = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten()])
    page = tmp_path / "review"
    frame = find(
        train,
        wrong,
        model=network,
        review=page,
        cache=tmp_path / "cache",
        settings=HeadSettings(epochs=2),
    )
    assert frame["given_label"].tolist() == wrong.tolist()
    assert frame["id"].tolist() == train.ids.tolist()
    assert any(data_of(page)["examples"]["picture"])
    assert list((tmp_path / "cache").glob("*.npy"))


@pytest.mark.slow
def test_page_shows_pictures_by_their_paths(blobs, tmp_path):
    features, _, noisy = blobs
    pictures = [tmp_path / f"{number}.png" for number in range(120)]
    for path in pictures:
        path.write_bytes(tf.io.encode_png(np.zeros((4, 4, 3), "uint8")).numpy())
    page = tmp_path / "review"
    find(
        features,
        noisy,
        pictures=pictures,
        review=page,
        ids=np.arange(120),
        settings=HeadSettings(epochs=1),
    )
    examples = data_of(page)["examples"]
    assert examples["picture"]
    assert all(examples["picture"])
    assert all(example.isdigit() for example in examples["id"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y": None}, "`labels` must be given"),
        ({"y": np.arange(10) % 3}, "equally long.*120 examples and 10 labels"),
        ({"y": NAMES[np.arange(120) % 3], "class_names": ["bird", "cat"]}, "'dog'"),
        ({"x": np.full((120, 8), np.nan)}, "finite.*120 of 120"),
        ({"num_folds": 1}, "`num_folds` must be an integer of at least 2"),
        ({"num_draws": 0}, "`num_draws` must be an integer of at least 1"),
        ({"pictures": ["gone.png"] * 120}, "120 that are not there, 'gone.png'"),
        ({"pictures": []}, "one path for each label"),
        ({"threshold": 1}, "`threshold` must be above 0 and below 1"),
        ({"ids": [1, 1] * 60}, "different"),
    ],
)
def test_wrong_arguments_are_refused(blobs, change, message):
    features, _, noisy = blobs
    arguments = {"x": features, "y": noisy, "settings": HeadSettings(epochs=1)}
    arguments |= change
    with pytest.raises(ValueError, match=message):
        find(arguments.pop("x"), arguments.pop("y"), **arguments)


def test_source_without_a_model_is_refused():
    train, _ = keras_ncr.datasets.digits()
    with pytest.raises(ValueError, match="`model` must be given with a source"):
        keras_ncr.find_wrong_labels(train)
