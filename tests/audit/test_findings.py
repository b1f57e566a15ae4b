"""Tests of audit/findings.py: the table of an audit, and what it says of all."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_digits

from keras_ncr.audit import audit_predictions
from keras_ncr.audit.findings import Identity, find
from keras_ncr.audit.near_duplicates import duplicate_descriptors
from keras_ncr.audit.predictions import from_probabilities
from keras_ncr.noise import NoisyLabels

COLUMNS = {
    "id": "int64",
    "given_label": "int64",
    "given_class": "category",
    "predicted_label": "int64",
    "predicted_class": "category",
    "label_quality": "float32",
    "is_label_issue": "bool",
    "issue_probability": "float32",
    "given_confidence": "float32",
    "predicted_confidence": "float32",
    "neighbor_label": "int64",
    "neighbor_class": "category",
    "neighbor_agreement": "float32",
    "outlier_score": "float32",
    "is_outlier_issue": "bool",
}
NAMES = ["cat", "dog", "owl"]


def clusters(num_wrong=6, num_examples=90):
    """Returns predictions on three clusters, the first of dogs labeled as cats."""
    rng = np.random.default_rng(0)
    truth = np.arange(num_examples) % 3
    features = 4 * np.eye(3)[truth] + rng.normal(0, 0.3, (num_examples, 3))
    labels = truth.copy()
    labels[np.flatnonzero(truth == 1)[:num_wrong]] = 0
    probabilities = 0.9 * np.eye(3)[truth] + 0.1 / 3
    return truth, from_probabilities(labels, probabilities, features)


def found(predictions, ids=None, class_names=NAMES, num_neighbors=5):
    ids = np.arange(len(predictions)) if ids is None else ids
    identity = Identity("pets", ids, class_names)
    return find(predictions, identity, 0.5, None, num_neighbors)


@pytest.fixture(scope="module")
def frame():
    return found(clusters(num_wrong=8)[1]).frame


def test_columns_have_the_names_and_types_that_are_documented(frame):
    assert {name: str(kind) for name, kind in frame.dtypes.items()} == COLUMNS
    assert frame.index.tolist() == list(range(90)) and frame.index.name == "index"


def test_wrong_labels_are_found(frame):
    truth, predictions = clusters(num_wrong=8)
    is_wrong = predictions.labels != truth
    np.testing.assert_array_equal(frame["is_label_issue"], is_wrong)
    np.testing.assert_array_equal(frame["predicted_label"], truth)
    assert np.mean(frame["neighbor_label"] == truth) > 0.9
    assert (
        frame["label_quality"][is_wrong].max() < frame["label_quality"][~is_wrong].min()
    )
    for kind in ("given", "predicted", "neighbor"):
        classes = [NAMES[label] for label in frame[f"{kind}_label"]]
        assert frame[f"{kind}_class"].tolist() == classes


def test_confidences_are_those_of_both_labels(frame):
    is_wrong = frame["is_label_issue"].to_numpy()
    np.testing.assert_allclose(frame["predicted_confidence"], 0.9 + 0.1 / 3, rtol=1e-5)
    given = np.where(is_wrong, 0.1 / 3, 0.9 + 0.1 / 3)
    np.testing.assert_allclose(frame["given_confidence"], given, rtol=1e-5)


def test_attributes_hold_for_the_whole_data_set(frame):
    assert set(frame.attrs) == {
        "name",
        "dataset_hash",
        "class_names",
        "expected_precision",
        "expected_precision_bounds",
        "noise_rate",
        "noise_rate_bounds",
        "knows_classes",
        "doubts",
        "suggestion_accuracy",
        "transition_matrix",
        "confused_classes",
    }
    assert json.loads(json.dumps(frame.attrs)) == frame.attrs
    assert frame.attrs["knows_classes"] is True
    record = NoisyLabels(None, clusters(num_wrong=8)[1].labels, np.arange(90))
    assert frame.attrs["dataset_hash"] == record.hash
    assert frame.attrs["name"] == "pets" and frame.attrs["class_names"] == NAMES
    called = frame.loc[frame["is_label_issue"], "issue_probability"]
    assert frame.attrs["expected_precision"] == pytest.approx(called.mean())
    low, high = frame.attrs["expected_precision_bounds"]
    assert 0 <= low <= frame.attrs["expected_precision"] <= high <= 1
    assert frame.attrs["noise_rate"] == pytest.approx(8 / 90, abs=0.03)
    matrix = np.array(frame.attrs["transition_matrix"])
    np.testing.assert_allclose(matrix.sum(axis=1), 1, atol=1e-5)


@pytest.mark.parametrize(("num_wrong", "is_confused"), [(6, False), (7, True)])
def test_confused_in_one_direction_is_what_chance_would_rarely_do(
    num_wrong, is_confused
):
    # Seven heads in a row: 1 in 128. Six: 1 in 64.
    pairs = found(clusters(num_wrong)[1]).frame.attrs["confused_classes"]
    expected = {
        "given": "cat",
        "suggested": "dog",
        "count": num_wrong,
        "reverse_count": 0,
    }
    assert pairs == [expected] * is_confused


def test_confused_in_both_directions_is_not_one():
    truth, predictions = clusters(10)
    predictions.labels[np.flatnonzero(truth == 0)[:8]] = 1
    frame = found(predictions).frame
    assert frame["is_label_issue"].sum() == 18
    assert frame.attrs["confused_classes"] == []


def test_model_that_knows_no_class_names_no_pair_of_classes():
    rng = np.random.default_rng(0)
    labels, probabilities = rng.integers(0, 2, 400), rng.dirichlet([2, 2], 400)
    labels = np.where(probabilities[:, 0] > 0.7, 1, labels)  # All but one way.
    frame = audit_predictions(labels, probabilities, verbose=0)
    assert "do not rely on any of these numbers" in frame.attrs["doubts"][0]
    assert frame["is_label_issue"].sum() > 100
    assert frame.attrs["confused_classes"] == []
    assert frame.attrs["knows_classes"] is False


def test_predictions_out_of_sample_are_not_advised_to_be_so():
    rng = np.random.default_rng(0)
    labels, probabilities = rng.integers(0, 2, 200), rng.dirichlet([2, 2], 200)
    said = [
        audit_predictions(
            labels, probabilities, rng.normal(size=(200, 4)), verbose=0, **known
        ).attrs
        for known in ({}, {"out_of_sample": True})
    ]
    advised = ["--folds" in " ".join(one["doubts"]) for one in said]
    assert advised == [True, False]
    assert said[0]["expected_precision_bounds"][1] == 1


@pytest.mark.parametrize("features", [None, np.eye(200)], ids=["alone", "features"])
def test_what_is_said_of_the_model_is_believed(features):
    labels = np.arange(200) % 2
    seen_by_heart = labels, 0.02 + 0.96 * np.eye(2)[labels]
    usual, unseen, seen = (
        audit_predictions(*seen_by_heart, features, out_of_sample=known, verbose=0)
        for known in (None, True, False)
    )
    assert seen.attrs["noise_rate_bounds"][1] == 1
    assert unseen.attrs["noise_rate_bounds"][1] < 0.1
    same = unseen if features is None else seen
    assert usual.attrs["noise_rate_bounds"] == same.attrs["noise_rate_bounds"]


def test_without_features_there_are_no_columns_of_neighbors():
    truth, predictions = clusters()
    plain = from_probabilities(predictions.labels, predictions.as_sparse().toarray())
    findings = found(plain)
    assert findings.neighborhood is None
    assert list(findings.frame) == list(COLUMNS)[:10]
    is_wrong = predictions.labels != truth
    np.testing.assert_array_equal(findings.frame["is_label_issue"], is_wrong)


def test_example_without_similar_ones_has_no_neighbor_label():
    features = [[1.0, 0.0], [1.0, 0.1], [-1.0, 0.0]]
    predictions = from_probabilities(
        [0, 0, 1], [[0.9, 0.1]] * 2 + [[0.1, 0.9]], features
    )
    frame = found(predictions, class_names=["", "dog"], num_neighbors=1).frame
    assert frame["neighbor_label"].tolist() == [0, 0, -1]
    assert frame["neighbor_class"].isna().tolist() == [False, False, True]
    assert frame["neighbor_agreement"][2] == 0


@pytest.mark.parametrize("num_examples", [1, 2])
def test_few_examples_make_a_table(num_examples):
    predictions = from_probabilities(
        [0] * num_examples, [[0.2, 0.8]] * num_examples, np.ones((num_examples, 3))
    )
    frame = found(predictions, class_names=["a", "b"]).frame
    assert len(frame) == num_examples
    assert frame["label_quality"].between(0, 1).all()


@pytest.mark.parametrize(
    "ids",
    [np.arange(90) * 7, np.array([f'ä/{i}, "{i}".png' for i in range(90)])],
    ids=["int", "text"],
)
def test_table_survives_its_files(tmp_path, ids):
    frame = found(clusters()[1], ids).frame
    frame.to_parquet(tmp_path / "labels.parquet")
    read = pd.read_parquet(tmp_path / "labels.parquet")
    pd.testing.assert_frame_equal(read, frame)
    assert read.attrs == frame.attrs
    frame.to_csv(tmp_path / "labels.csv")
    read = pd.read_csv(tmp_path / "labels.csv", index_col="index")
    assert read["id"].tolist() == ids.tolist()
    for name in COLUMNS:
        if COLUMNS[name] == "float32":
            np.testing.assert_allclose(read[name], frame[name], rtol=1e-6)
        else:
            assert read[name].tolist() == frame[name].tolist()


def test_predictions_out_of_sample_need_no_neighbors():
    _, predictions = clusters(num_wrong=8)
    alone = found(from_probabilities(predictions.labels, dense(predictions))).frame
    views = from_probabilities(
        predictions.labels, np.full((90, 3), 1 / 3), predictions.features
    )
    out_of_sample = found(predictions.with_views_of(views)).frame
    for column in ("label_quality", "issue_probability", "predicted_label"):
        np.testing.assert_array_equal(out_of_sample[column], alone[column])
    assert "neighbor_agreement" in out_of_sample


def dense(predictions):
    return predictions.as_sparse().toarray()


@pytest.mark.parametrize("rate", [0.05, 0.2, 0.4])
def test_labels_that_few_examples_had_learned_are_bounded_by_the_nearest_inputs(rate):
    # A network agrees with all labels, and has drawn features of one label together.
    rng = np.random.default_rng(0)
    inputs, truth = (part[:600] for part in load_digits(return_X_y=True))
    labels = np.where(rng.random(600) < rate, rng.integers(0, 10, 600), truth)
    probabilities = 0.95 * np.eye(10)[labels] + 0.005
    features = np.eye(10)[labels] + rng.normal(0, 0.01, (600, 10))
    unknown = from_probabilities(labels, probabilities, features)
    assert found(unknown, class_names=list("abcdefghij")).frame.attrs[
        "noise_rate_bounds"
    ] == [0, 1]
    descriptors = duplicate_descriptors(inputs)
    known = dataclasses.replace(unknown, descriptors=descriptors)
    attributes = found(known, class_names=list("abcdefghij")).frame.attrs
    low, high = attributes["noise_rate_bounds"]
    assert low <= np.mean(labels != truth) <= high < rate + 0.2
    assert "learned the wrong ones by heart" in attributes["doubts"][0]
