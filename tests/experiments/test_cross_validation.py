"""Tests of audit/cross_validation.py: who is judged by which model."""

import json

import keras
import numpy as np
import pytest
from settings import config_of

from keras_ncr.audit.predictions import from_probabilities
from keras_ncr.datasets import digits
from keras_ncr.experiments import cross_validation
from keras_ncr.experiments.cross_validation import out_of_sample_predictions
from keras_ncr.experiments.trials import Trial


@pytest.fixture(scope="module")
def source():
    """Sixty digits, of which a nine is the only one of its kind."""
    clean = digits()[0]
    chosen = [np.flatnonzero(clean.labels == label)[:12] for label in range(5)]
    chosen.append(np.flatnonzero(clean.labels == 9)[:1])
    return clean.subset(np.random.default_rng(0).permutation(np.concatenate(chosen)))


@pytest.fixture
def config():
    config = config_of(model__backbone="mlp", epochs=1)
    return config


@pytest.fixture
def trained(monkeypatch):
    """Lets trainings take no time, and returns the list of what each has seen.

    The model of a fold is its number, and it predicts that class for everything.
    """
    seen = []

    class FakeTrial(Trial):
        def result(self, callbacks, verbose):
            if not (self.folder / "result.json").exists():
                seen.append(self)
                self.folder.mkdir()
                result = {"trial": self.trial, "seconds": 1.5}
                (self.folder / "result.json").write_text(json.dumps(result))
            return json.loads((self.folder / "result.json").read_text())

    def fake_predict(fold, batches):
        targets = list(batches.unbatch().map(lambda image, target: target))
        labels = [int(t["label"]) for t in sorted(targets, key=lambda t: t["index"])]
        return from_probabilities(labels, np.eye(10)[[fold] * len(labels)])

    monkeypatch.setattr(cross_validation, "Trial", FakeTrial)
    monkeypatch.setattr(cross_validation, "predict", fake_predict)
    monkeypatch.setattr(
        keras.models, "load_model", lambda path: int(path.parent.name[len("trial-") :])
    )
    return seen


def test_each_example_is_judged_by_a_model_that_has_not_seen_it(
    trained, config, source, tmp_path
):
    labels = np.where(source.labels == 9, 9, 4 - source.labels)
    source = source.relabeled(labels, clean_labels=source.labels)
    found = out_of_sample_predictions(config, source, tmp_path, 3)
    np.testing.assert_array_equal(found.labels, labels)
    judges = found.classes[:, 0]
    assert sorted(set(judges)) == [0, 1, 2] and found.features is None
    for fold, trial in enumerate(trained):
        held_out = set(source.ids[judges == fold])
        assert set(trial.sources.test.ids) == held_out
        assert set(trial.sources.train.ids) == set(source.ids) - held_out
        train = trial.sources.train
        assert train.clean_labels is None  # Nothing of the truth is used.
        np.testing.assert_array_equal(train.labels, labels[judges != fold])


def test_folds_have_the_same_shares_of_each_label(trained, config, source, tmp_path):
    out_of_sample_predictions(config, source, tmp_path, 3)
    for trial in trained:
        counts = np.bincount(trial.sources.train.labels, minlength=10)
        assert counts[:5].tolist() == [8] * 5
        assert counts[9] <= 1  # The only nine is held out once.
    assert len({trial.seed for trial in trained}) == 3


def test_finished_fold_is_not_trained_again(trained, config, source, tmp_path):
    first = out_of_sample_predictions(config, source, tmp_path, 3)
    assert len(trained) == 3
    (tmp_path / "trial-1" / "result.json").unlink()
    (tmp_path / "trial-1").rmdir()
    again = out_of_sample_predictions(config, source, tmp_path, 3)
    assert [trial.trial for trial in trained] == [0, 1, 2, 1]
    np.testing.assert_array_equal(first.classes, again.classes)


def test_folds_of_other_labels_or_settings_are_not_taken(
    trained, config, source, tmp_path
):
    out_of_sample_predictions(config, source, tmp_path, 3)
    other = source.labels.copy()
    other[0] = (other[0] + 1) % 5
    with pytest.raises(ValueError, match="other labels .* Remove .*trained again"):
        out_of_sample_predictions(config, source.relabeled(other), tmp_path, 3)
    config.epochs = 2
    with pytest.raises(ValueError, match="another config: epochs"):
        out_of_sample_predictions(config, source, tmp_path, 3)


def test_training_that_failed_is_named(trained, config, source, tmp_path, monkeypatch):
    failed = {"failed": "The loss became nan in epoch 1."}
    monkeypatch.setattr(
        cross_validation.Trial, "result", lambda trial, callbacks, verbose: failed
    )
    with pytest.raises(ValueError, match="fold 1 failed: The loss became nan.*trial-0"):
        out_of_sample_predictions(config, source, tmp_path, 3)


@pytest.mark.parametrize(
    ("num_folds", "message"),
    [
        (1, "`num_folds` must be an integer of at least 2"),
        (2.5, "`num_folds` must be an integer"),
        (13, "at most the number of examples of the most frequent label, 12"),
    ],
)
def test_number_of_folds_must_fit(num_folds, message, config, source, tmp_path):
    folder = tmp_path / "folds"
    with pytest.raises(ValueError, match=message):
        out_of_sample_predictions(config, source, folder, num_folds)
    assert not folder.exists()


@pytest.mark.slow
def test_folds_are_trained_and_their_view_is_unbiased(config, tmp_path):
    source = digits()[0].subset(np.arange(400))
    rng = np.random.default_rng(0)
    labels = source.labels.copy()
    wrong = rng.choice(400, 80, replace=False)
    labels[wrong] = (labels[wrong] + rng.integers(1, 10, 80)) % 10
    config.epochs, config.method = 40, "standard"  # Learns its labels by heart.
    config.batch_size = 64
    found = out_of_sample_predictions(config, source.relabeled(labels), tmp_path, 2)
    # A model that had seen them would give these labels nearly all.
    assert found.given_probabilities[wrong].mean() < 0.3
    assert np.mean(found.classes[:, 0] == source.labels) > 0.6
