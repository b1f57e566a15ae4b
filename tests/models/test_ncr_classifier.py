"""Tests of ncr_classifier.py: what takes a scikit-learn estimator takes this one."""

import cleanlab.classification
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from keras_ncr import NCRClassifier

pytestmark = pytest.mark.usefixtures("eager_functions")
NAMES = np.array(["bird", "cat", "dog"])


@pytest.fixture(scope="module")
def blobs():
    """Features and names of classes, every tenth wrong; and the true names."""
    random = np.random.default_rng(0)
    clean = np.arange(120) % 3
    features = 4 * np.eye(3, 6)[clean] + random.normal(size=(120, 6))
    noisy = np.where(np.arange(120) % 10 == 0, (clean + 1) % 3, clean)
    return features, NAMES[noisy], NAMES[clean]


def short(**settings):
    """Returns a classifier that trains for 12 steps, with the same alpha in all."""
    return NCRClassifier(**{"epochs": 12, "consistency_weight": 0.3, **settings})


def test_estimator_predicts_names_and_probabilities(blobs):
    features, noisy, clean = blobs
    classifier = short(consistency_weight="auto").fit(features, noisy)
    assert classifier.classes_.tolist() == NAMES.tolist()
    probabilities = classifier.predict_proba(features)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
    predicted = classifier.predict(features)
    assert (predicted == NAMES[probabilities.argmax(axis=1)]).all()
    assert classifier.score(features, clean) > 0.9
    assert len(classifier.history_.history["loss"]) == 12


def test_copy_has_every_setting_and_no_training(blobs):
    features, noisy, _ = blobs
    classifier = short(seed=3, num_layers=1, hidden_units=4, epochs=1).fit(
        features, noisy
    )
    copy = clone(classifier)
    assert copy.get_params() == classifier.get_params()
    assert not hasattr(copy, "model_")


def test_seed_decides(blobs):
    features, noisy, _ = blobs
    first, second, other = (
        short(seed=seed, epochs=1).fit(features, noisy).predict_proba(features)
        for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, other)


@pytest.mark.slow  # As cross-validation has it in the next tests.
def test_out_of_sample_predictions_of_scikit_learn(blobs):
    features, noisy, clean = blobs
    probabilities = cross_val_predict(
        short(), features, noisy, cv=2, method="predict_proba"
    )
    assert (NAMES[probabilities.argmax(axis=1)] == clean).mean() > 0.9


@pytest.mark.slow
def test_pipeline_and_grid_search(blobs):
    features, noisy, clean = blobs
    pipeline = make_pipeline(StandardScaler(), short())
    search = GridSearchCV(pipeline, {"ncrclassifier__elr_weight": [1.0]}, cv=2)
    assert search.fit(features, noisy).score(features, clean) > 0.9


def test_weights_of_examples_count(blobs):
    features, noisy, clean = blobs
    weights = (noisy == clean).astype(float)
    labels = np.where(noisy == clean, noisy, "dog")
    classifier = short(consistency_weight=0.0).fit(features, labels, weights)
    assert classifier.score(features, clean) > 0.9


@pytest.mark.slow
def test_clean_learning_of_cleanlab_works_on_it(blobs):
    features, noisy, clean = blobs
    labels = np.searchsorted(NAMES, noisy)
    learning = cleanlab.classification.CleanLearning(short(), cv_n_folds=2)
    issues = learning.find_label_issues(features, labels)
    assert issues["is_label_issue"][noisy != clean].mean() > 0.7
    learning.fit(features, labels, label_issues=issues)
    assert (NAMES[learning.predict(features)] == clean).mean() > 0.9


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"elr_weight": 0}, "`elr_weight`"),
        ({"hidden_units": 0}, "`hidden_units`"),
        ({"seed": -1}, "`seed`"),
    ],
)
def test_wrong_settings_are_refused_by_fit(blobs, settings, message):
    features, noisy, _ = blobs
    with pytest.raises(ValueError, match=message):
        short(**settings).fit(features, noisy)


@pytest.mark.parametrize(
    ("change", "message"),
    [("nan", "NaN"), ("length", "inconsistent numbers"), ("class", "one class")],
)
def test_wrong_data_are_refused(blobs, change, message):
    features, noisy, _ = blobs
    features = features.copy()
    if change == "nan":
        features[3, 2] = np.nan
    labels = {"length": noisy[1:], "class": np.zeros(120, int)}.get(change, noisy)
    with pytest.raises(ValueError, match=message):
        short().fit(features, labels)
