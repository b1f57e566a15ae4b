"""Tests of keras_ncr.audit: one table from whatever the user has, or a clear no."""

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

import keras_ncr
from keras_ncr import NCRModel
from keras_ncr.audit.auditing import identity_of
from keras_ncr.audit.predictions import from_probabilities
from keras_ncr.backbones import mlp
from keras_ncr.datasets import digits, from_arrays
from keras_ncr.noise import LabelNoise, symmetric
from keras_ncr.review.corrections import dataset_hash

# Each model is asked once: tracing would take longer.
pytestmark = pytest.mark.usefixtures("eager_functions")

NUM_EXAMPLES = 600


@pytest.fixture(scope="module")
def source():
    """Digits of which 30 % have a wrong label; the true ones are known."""
    clean = digits()[0].subset(np.arange(NUM_EXAMPLES))
    noise = LabelNoise(symmetric(10, 0.3, include_true=False), seed=0, exact=True)
    return clean.relabeled(noise.corrupt(clean.labels), clean_labels=clean.labels)


@pytest.fixture(scope="module")
def model(source):
    keras.utils.set_random_seed(0)
    tf.config.run_functions_eagerly(False)
    model = NCRModel(mlp((8, 8, 1)), 10)
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(source.images, source.labels, batch_size=128, epochs=20, verbose=0)
    return model


@pytest.fixture(scope="module")
def frame(model, source):
    return keras_ncr.audit(model, source, verbose=0)


def assert_same(one, other, atol=1e-4):
    """Asserts that two tables say the same, but for rounding and what they are of."""
    assert list(one) == list(other)
    for name in one.columns.drop(["id", "given_class", "predicted_class"]):
        if one[name].dtype == np.float32:
            np.testing.assert_allclose(one[name], other[name], atol=atol)
        elif name not in ("neighbor_class", "is_label_issue", "is_outlier_issue"):
            np.testing.assert_array_equal(one[name], other[name])
    # What stands at a threshold may fall to either side.
    assert np.mean(one["is_label_issue"] != other["is_label_issue"]) < 0.01


# What it finds


@pytest.mark.slow
def test_most_wrong_labels_are_called_and_most_called_are_wrong(frame, source):
    is_wrong = source.labels != source.clean_labels
    called = frame["is_label_issue"].to_numpy()
    assert is_wrong.mean() == pytest.approx(0.3, abs=0.01)
    assert is_wrong[called].mean() > 0.75
    assert called[is_wrong].mean() > 0.8
    assert frame.attrs["noise_rate"] == pytest.approx(0.3, abs=0.06)
    suggested = frame["predicted_label"][is_wrong]
    assert np.mean(suggested == source.clean_labels[is_wrong]) > 0.85


def test_columns_and_attributes_are_those_of_the_docstring(frame, source):
    documented = keras_ncr.audit.__doc__
    assert all(f"`{name}`" in documented for name in frame.columns)
    assert len(frame.columns) == 17 and len(frame) == NUM_EXAMPLES
    expected = dataset_hash(source.labels, source.ids)
    assert frame.attrs["dataset_hash"] == expected
    assert frame.attrs["class_names"] == list(source.class_names)
    np.testing.assert_array_equal(frame["id"], source.ids)


def test_cleanlab_takes_our_probabilities_and_largely_agrees(frame, model, source):
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores

    probabilities = np.asarray(tf.nn.softmax(model.predict(source.images, verbose=0)))
    theirs = find_label_issues(source.labels, probabilities, n_jobs=1)
    ours = frame["is_label_issue"].to_numpy()
    assert (theirs & ours).sum() / theirs.sum() > 0.9
    scores = get_label_quality_scores(source.labels, probabilities)
    num_wrong = int(np.sum(source.labels != source.clean_labels))
    worst = set(np.argsort(scores)[:num_wrong])
    shared = worst & set(frame.sort_values("label_quality").index[:num_wrong])
    assert len(shared) / num_wrong > 0.8


def test_out_of_sample_probabilities_take_the_place_of_the_models(frame, model, source):
    known = 0.91 * np.eye(10)[source.clean_labels] + 0.009
    told = keras_ncr.audit(model, source, probabilities=known, verbose=0)
    is_wrong = source.labels != source.clean_labels
    np.testing.assert_allclose(told["given_confidence"][is_wrong], 0.009, rtol=1e-5)
    np.testing.assert_allclose(told["given_confidence"][~is_wrong], 0.919, rtol=1e-5)
    same = ["neighbor_agreement", "outlier_score", "near_duplicate"]
    pd.testing.assert_frame_equal(told[same], frame[same])


def test_rare_class_is_not_called_wrong_for_being_rare():
    rng = np.random.default_rng(0)
    truth = np.repeat([0, 1, 2], [400, 380, 20])
    labels = truth.copy()
    labels[[0, 1, 2, 3, 4]] = 1
    labels[[780, 781]] = 0
    features = 3 * np.eye(3)[truth] + rng.normal(0, 0.3, (800, 3))
    probabilities = 0.85 * np.eye(3)[truth] + 0.05
    frame = keras_ncr.audit_predictions(labels, probabilities, features, verbose=0)
    assert np.flatnonzero(frame["is_label_issue"]).tolist() == [0, 1, 2, 3, 4, 780, 781]


def test_copies_with_different_labels_are_found(model, source):
    labels = source.labels[:60].copy()
    images = source.images[:60].copy()
    images[50] = images[7]
    labels[50] = (labels[7] + 1) % 10
    frame = keras_ncr.audit(model, images, labels, verbose=0)
    assert frame["near_duplicate"][[7, 50]].tolist() == [50, 7]
    assert frame["is_near_duplicate_issue"].sum() == 2


# One table from whatever there is


def test_arrays_source_and_dataset_give_the_same_table(frame, model, source):
    arrays = keras_ncr.audit(model, source.images, source.labels, verbose=0)
    assert_same(arrays, frame)
    slices = tf.data.Dataset.from_tensor_slices((source.images, source.labels))
    assert_same(keras_ncr.audit(model, slices.batch(100), verbose=0), frame)
    assert arrays["id"].tolist() == list(range(NUM_EXAMPLES))
    assert arrays["given_class"].tolist() == [str(label) for label in source.labels]


def test_size_of_the_batches_does_not_matter(frame, model, source):
    assert_same(keras_ncr.audit(model, source, batch_size=77, verbose=0), frame)


def test_two_replicas_give_the_same_table(frame, model, source, two_replicas):
    with two_replicas.scope():
        copy = NCRModel(mlp((8, 8, 1)), 10)
        copy(np.zeros((1, 8, 8, 1)))
        copy.set_weights(model.get_weights())
        inside = keras_ncr.audit(copy, source, verbose=0)
    assert_same(inside, frame)
    assert_same(keras_ncr.audit(copy, source, verbose=0), frame)


def test_labels_beside_a_source_replace_its_own(frame, model, source):
    told = keras_ncr.audit(model, source, source.clean_labels, verbose=0)
    np.testing.assert_array_equal(told["given_label"], source.clean_labels)
    assert told["is_label_issue"].sum() < 0.2 * frame["is_label_issue"].sum()
    expected = dataset_hash(source.clean_labels, source.ids)
    assert told.attrs["dataset_hash"] == expected


def test_images_of_a_source_are_prepared(frame, model, source):
    dark = from_arrays(source.images // 2, source.labels, 10)
    told = keras_ncr.audit(model, dark, prepare=lambda image: 2 * image, verbose=0)
    even = from_arrays(2 * (source.images // 2), source.labels, 10)
    assert_same(told, keras_ncr.audit(model, even, verbose=0))


def test_ids_and_names_are_the_users(model, source):
    ids = [f"{i}.png" for i in range(NUM_EXAMPLES)]
    names = [f"digit {i}" for i in range(10)]
    frame = keras_ncr.audit(model, source, ids=ids, class_names=names, verbose=0)
    assert frame["id"].tolist() == ids
    assert frame["given_class"].tolist() == [names[i] for i in source.labels]
    assert frame.attrs["class_names"] == names


@pytest.mark.parametrize("kind", ["source", "images"])
def test_review_page_knows_examples_by_the_ids_of_the_call(
    kind, model, source, tmp_path
):
    source = source.subset(np.arange(60))
    data = (source,) if kind == "source" else (source.images, source.labels)
    ids = [f"{i}.png" for i in range(60)]
    keras_ncr.audit(model, *data, ids=ids, review=tmp_path / "page", verbose=0)
    assert '.png"' in (tmp_path / "page" / "data.js").read_text()


def tabular(num_examples=60):
    rng = np.random.default_rng(0)
    labels = np.arange(num_examples) % 2
    rows = rng.normal(size=(num_examples, 4)) + 3 * labels[:, None]
    return rows.astype("float32"), labels


def sequential():
    return keras.Sequential(
        [keras.Input([4]), keras.layers.Dense(8, "relu"), keras.layers.Dense(2)]
    )


@pytest.mark.parametrize(
    "change",
    [np.asarray, tf.constant, lambda rows: rows.tolist(), pd.DataFrame],
    ids=["array", "tensor", "list", "table"],
)
def test_tables_are_audited_by_a_sequential_model(change):
    rows, labels = tabular()
    model = sequential()
    expected = tf.nn.softmax(model.predict(rows, verbose=0))
    frame = keras_ncr.audit(model, change(rows), labels.tolist(), verbose=0)
    told = keras_ncr.audit_predictions(
        labels, expected, keras_ncr.features.features_of(model, rows, verbose=0)
    )
    np.testing.assert_allclose(
        frame["given_confidence"], told["given_confidence"], atol=1e-5
    )
    assert frame["near_duplicate"].eq(-1).all()


@pytest.mark.parametrize("kind", [dict, tuple, list])
def test_inputs_of_several_parts_are_audited(kind):
    rows, labels = tabular()
    parts = {"left": rows[:, :3], "right": rows[:, 3:]}
    inputs = {
        name: keras.Input([part.shape[1]], name=name) for name, part in parts.items()
    }
    features = keras.layers.Concatenate()(list(inputs.values()))
    outputs = keras.layers.Dense(2)(features)
    if kind is not dict:
        inputs, parts = (kind(d.values()) for d in (inputs, parts))
    frame = keras_ncr.audit(keras.Model(inputs, outputs), parts, labels, verbose=0)
    assert len(frame) == 60 and "neighbor_label" in frame
    assert "near_duplicate" not in frame  # What a copy is, nobody has said.


# The review page


@pytest.mark.parametrize("kind", ["source", "images", "table", "batches"])
def test_review_writes_the_page(kind, model, source, tmp_path):
    source = source.subset(np.arange(60))
    rows, labels = tabular()
    data = {
        "source": (model, source),
        "images": (model, source.images, source.labels),
        "table": (sequential(), pd.DataFrame(rows, columns=list("abcd")), labels),
        "batches": (sequential(), tf.data.Dataset.from_tensors((rows, labels))),
    }
    keras_ncr.audit(*data[kind], review=tmp_path / "page", verbose=0)
    content = (tmp_path / "page" / "data.js").read_text()
    assert (tmp_path / "page" / "index.html").is_file()
    has_pictures = (tmp_path / "page" / "thumbnails").is_dir()
    assert has_pictures == (kind in ("source", "images"))
    assert ('"detailColumns":["a","b","c","d"]' in content) == (kind == "table")


def test_folder_in_use_is_refused_before_the_model_is_asked(model, source, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ValueError, match="mine.txt"):
        keras_ncr.audit("no model", source, review=tmp_path, verbose=0)


# Predictions of other libraries


def test_predictions_without_features_say_what_they_can():
    labels = [0, 1, 1, 0, 1, 0]
    probabilities = [[0.9, 0.1], [0.2, 0.8], [0.1, 0.9], [0.9, 0.1], [0.95, 0.05]]
    frame = keras_ncr.audit_predictions(
        labels, [*probabilities, [0.8, 0.2]], class_names=["cat", "dog"], verbose=0
    )
    assert frame["label_quality"].argmin() == 4
    assert (
        frame["predicted_class"].tolist() == ["cat", "dog", "dog", "cat"] + ["cat"] * 2
    )
    assert "neighbor_label" not in frame and "near_duplicate" not in frame


def test_predictions_and_features_say_what_the_model_would(frame, model, source):
    features = keras_ncr.features.features_of(model, source.images, verbose=0)
    probabilities = tf.nn.softmax(model.predict(source.images, verbose=0))
    told = keras_ncr.audit_predictions(
        source.labels, probabilities, features, ids=source.ids, verbose=0
    )
    assert_same(told, frame.drop(columns=["near_duplicate", "is_near_duplicate_issue"]))


# What is refused


ROWS, LABELS = np.zeros((4, 4), "float32"), [0, 1, 0, 1]
HALVES = np.full((4, 2), 0.5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((ROWS, LABELS[:3]), "inputs of length 4 and 3 labels"),
        ((ROWS,), "`y` must hold the labels"),
        ((np.float32(1), LABELS), "inputs of length 0 and 4 labels"),
        (((ROWS, ROWS[:2]), LABELS), "inputs of length 4, 2 and 4 labels"),
        ((ROWS, [0, 1, 2, 0]), "must be below 2. Received: 2"),
        ((ROWS, [0, 1, np.nan, 0]), "whole class numbers"),
        ((ROWS, np.eye(4)), "For one-hot labels"),
        ((ROWS, ["cat"] * 4), "Map names to numbers"),
    ],
)
def test_data_that_do_not_fit_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        keras_ncr.audit(sequential(), *arguments, verbose=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"probabilities": HALVES[:3]}, "4 labels and 3 rows"),
        ({"probabilities": 0.9 * HALVES}, "row 0, which sums to 0.9"),
        (
            {"probabilities": np.full((4, 4), 0.25)},
            "each of the 2 classes .* 4 columns",
        ),
        ({"ids": [1, 2, 2, 3]}, "`ids` must all be different"),
        ({"ids": [1, 2, 3]}, r"`ids` must have shape \(4,\)"),
        ({"ids": [1.0, 2.0, 3.0, 4.0]}, "integers or strings"),
        ({"class_names": ["a"]}, "2 different strings"),
        ({"class_names": ["a", "a"]}, "2, 1 of them different"),
        ({"threshold": 0}, "`threshold` must be above 0 and below 1"),
        ({"threshold": 1.0}, "`threshold` must be above 0 and below 1"),
        ({"expected_precision": 0}, "must be above 0"),
        ({"expected_precision": 1.5}, "from 0 to 1. Received: expected_precision=1.5"),
        ({"num_neighbors": 0}, "`num_neighbors` must be an integer of at least 1"),
        ({"batch_size": 0}, "`batch_size` must be an integer of at least 1"),
        ({"prepare": np.abs}, "`prepare` is for the images of a source"),
    ],
)
def test_options_out_of_their_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        keras_ncr.audit(sequential(), ROWS, LABELS, verbose=0, **options)


@pytest.mark.parametrize(
    ("dataset", "y", "message"),
    [
        (tf.data.Dataset.from_tensors((ROWS, LABELS)), LABELS, "without `y` beside"),
        (tf.data.Dataset.from_tensors(ROWS), None, r"batches of \(inputs, labels\)"),
        (tf.data.Dataset.from_tensors((ROWS,)), None, r"batches of \(inputs, labels\)"),
        (
            tf.data.Dataset.from_tensor_slices((ROWS, LABELS)),
            None,
            r"become batches by `.batch\(256\)`",
        ),
        (
            tf.data.Dataset.from_tensors((ROWS, LABELS)).repeat(),
            None,
            "repeats for ever",
        ),
    ],
    ids=["labels_twice", "no_labels", "inputs_alone", "no_batches", "no_end"],
)
def test_datasets_that_do_not_fit_are_refused(dataset, y, message):
    with pytest.raises(ValueError, match=message):
        keras_ncr.audit(sequential(), dataset, y, verbose=0)


def test_labels_of_a_source_must_be_as_many(model, source):
    with pytest.raises(ValueError, match="one label for each of the 600 examples"):
        keras_ncr.audit(model, source, [0, 1], verbose=0)


def test_model_that_is_none_is_refused(source):
    with pytest.raises(ValueError, match="must be an NCRModel, a NetworkPair"):
        keras_ncr.audit("no model", source, verbose=0)


def test_source_with_names_that_repeat_is_refused():
    predictions = from_probabilities([0, 1], HALVES[:2])
    with pytest.raises(ValueError, match="2, 1 of them different"):
        identity_of(predictions, "pets", class_names=("cat", "cat"))


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((LABELS[:3], HALVES), {}, "3 labels and 4 rows"),
        ((LABELS, 0.9 * HALVES), {}, "row 0, which sums to 0.9"),
        ((LABELS, HALVES, ROWS[:3]), {}, "4 labels and 3 rows"),
        ((LABELS, HALVES), {"ids": ["a"] * 4}, "must all be different"),
        ((LABELS, HALVES), {"num_neighbors": 0}, "at least 1"),
        ((LABELS, HALVES), {"expected_precision": -1}, "from 0 to 1"),
    ],
)
def test_predictions_that_do_not_fit_are_refused(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        keras_ncr.audit_predictions(*arguments, verbose=0, **options)
