"""Tests of the labels of a run: noise, corrections, validation, oracle."""

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from decisions import corrections_of, write
from settings import config_of
from sources import annotated_source, random_source

from keras_ncr import noise
from keras_ncr.datasets import digits
from keras_ncr.experiments import run
from keras_ncr.experiments.config import default_config, own_pictures
from keras_ncr.experiments.config_checks import check_config
from keras_ncr.experiments.data import Sources, load_sources
from keras_ncr.experiments.inspection.report import data_rows
from keras_ncr.experiments.labels import (
    as_trained_on,
    corrected,
    grade,
    noisy,
    reviewed,
    verify,
    with_noise,
    without_wrong_labels,
)
from keras_ncr.review.corrections import dataset_hash

# Noise


@pytest.mark.parametrize(
    ("kind", "matrix"),
    [
        ("symmetric", noise.symmetric(10, 0.3, include_true=True)),
        ("pair_flip", noise.pair_flip(10, 0.3)),
    ],
)
def test_noise_is_that_of_the_matrix_and_seed(kind, matrix):
    train, _ = digits()
    config = config_of(noise__kind=kind, noise__rate=0.3, noise__seed=5)
    source = noisy(config, train)
    expected = noise.LabelNoise(matrix, seed=5, exact=True).corrupt(train.labels)
    np.testing.assert_array_equal(source.labels, expected)
    np.testing.assert_array_equal(source.clean_labels, train.labels)
    np.testing.assert_array_equal(source.ids, train.ids)


def test_without_the_true_class_the_rate_is_the_share_of_wrong_labels():
    config = config_of(noise__include_true=False, noise__exact=True)
    source = noisy(config, digits()[0])
    assert source.realized_rate == pytest.approx(0.4, abs=10 / 1437)


@pytest.mark.parametrize("seed", [0, 1])
def test_noise_is_the_same_in_every_trial_and_version(seed):
    config = config_of(seed=seed)
    # A run that was begun by an earlier version has labels of this hash.
    assert noisy(config, digits()[0]).record.hash == (
        "d33d375721d8845fea727a40394ccfc43aea987fa1dd4c8b0cc5ec7634442101"
    )


def test_no_noise_leaves_the_labels_and_claims_nothing_of_them():
    config = config_of(noise__kind="none")
    source = noisy(config, digits()[0])
    assert np.array_equal(source.labels, digits()[0].labels)
    assert source.is_noisy is None and source.realized_rate is None


def test_noise_of_the_data_set_is_known():
    config = config_of(noise__kind="none")
    source = noisy(config, annotated_source())
    assert np.flatnonzero(source.is_noisy).tolist() == [5, 7, 30]
    assert source.realized_rate == 3 / 60


def test_noise_is_not_put_upon_noise():
    with pytest.raises(ValueError, match="noise of their own.*Set it to 'none'"):
        noisy(default_config(), annotated_source())


def test_oracle_trains_on_right_labels_only():
    source = annotated_source()
    part = without_wrong_labels(source)
    kept = np.setdiff1d(np.arange(60), [5, 7, 30])
    assert np.array_equal(part.ids, source.ids[kept])
    assert np.array_equal(part.labels, source.labels[kept])
    assert np.array_equal(part.images, source.images[kept])
    assert part.realized_rate == 0


def test_oracle_of_drawn_noise():
    clean = random_source(100)
    source = noisy(default_config(), clean)
    part = without_wrong_labels(source)
    assert part.num_examples == 100 - source.is_noisy.sum() < 100
    assert np.array_equal(part.labels, clean.labels[part.ids])


def test_oracle_needs_to_know():
    with pytest.raises(ValueError, match="An oracle needs to know"):
        without_wrong_labels(random_source(60))


@pytest.mark.parametrize("name", ["cifar10", "cifar10:3.*.*"])
def test_asymmetric_noise_knows_a_data_set_by_its_name(name):
    config = config_of(data__name=name, noise__kind="asymmetric")
    source = noisy(config, random_source(200))
    wrong = source.is_noisy
    # Truck to automobile, bird to airplane, deer to horse, cat and dog to each other.
    pairs = set(zip(source.clean_labels[wrong], source.labels[wrong], strict=True))
    assert pairs == {(9, 1), (2, 0), (4, 7), (3, 5), (5, 3)}


def test_asymmetric_noise_of_cifar100_in_blocks_is_that_of_elr():
    config = config_of(data__name="cifar100", noise__kind="asymmetric_blocks")
    source = noisy(config, random_source(400, num_classes=100))
    clean = source.clean_labels
    expected = np.where(source.is_noisy, 5 * (clean // 5) + (clean + 1) % 5, clean)
    assert np.array_equal(source.labels, expected)
    assert source.is_noisy.any()


@pytest.mark.parametrize("kind", ["asymmetric", "asymmetric_blocks"])
def test_asymmetric_noise_is_refused_where_no_look_alikes_are_known(kind):
    config = config_of(data__name="mnist", noise__kind=kind)
    with pytest.raises(ValueError, match="config.noise.kind.*='mnist'.*pair_flip"):
        noisy(config, digits()[0])


def test_asymmetric_noise_of_features_goes_by_the_look_alikes_that_are_named():
    config = config_of(data__name="features", noise__kind="asymmetric")
    config.noise.look_alikes = "cifar10"
    source = noisy(config, random_source(200, num_classes=10))
    of_cifar = default_config()
    of_cifar.data.name, of_cifar.noise.kind = "cifar10", "asymmetric"
    expected = noisy(of_cifar, random_source(200, num_classes=10))
    assert np.array_equal(source.labels, expected.labels)
    config.noise.look_alikes = "cats"
    with pytest.raises(ValueError, match="config.noise.look_alikes='cats'"):
        noisy(config, random_source(200, num_classes=10))


# The held-out part of the noisy training examples


def test_validation_is_held_out_of_training_with_its_noisy_labels():
    config = config_of(data__validation_share=0.25)
    source, test = random_source(200), random_source(20)
    noisy_source = noisy(config, source)
    sources = as_trained_on(config, Sources(noisy_source, test))
    assert (sources.train.num_examples, sources.test.num_examples) == (150, 50)
    assert not set(sources.train.ids) & set(sources.test.ids)
    given = dict(zip(source.ids, noisy_source.labels, strict=True))
    assert [given[i] for i in sources.test.ids] == sources.test.labels.tolist()
    assert [given[i] for i in sources.train.ids] == sources.train.labels.tolist()
    assert np.any(
        sources.test.labels != source.labels[np.isin(source.ids, sources.test.ids)]
    )


@pytest.mark.parametrize("share", [-0.1, 1.0, 2.0])
def test_validation_share_out_of_range_is_refused(share):
    config = config_of(data__validation_share=share)
    source = noisy(config, random_source(40))
    with pytest.raises(ValueError, match="`config.data.validation_share` must be"):
        as_trained_on(config, Sources(source, source))


# Corrections


@pytest.fixture
def config(tmp_path):
    """Returns the config of a folder of ten pictures each of cats and dogs."""
    for number in range(10):
        image = tf.io.encode_png(np.full((4, 4, 3), number, "uint8"))
        for name in ("cat", "dog"):
            tf.io.write_file(str(tmp_path / "pets" / name / f"{number}.png"), image)
    arguments = {"method": "standard", "size": 4, "backbone": "mlp", "epochs": 2}
    return own_pictures("folder", {"path": str(tmp_path / "pets"), **arguments})


def given_sources(config):
    """Returns the sources of a config as given, before corrections."""
    return with_noise(config, load_sources(config.data, is_checked=False))


def with_corrections(config, path, corrections):
    """Returns sources and counts of a config after corrections in a file."""
    config.data.corrections = str(write(path, corrections))
    return corrected(config, given_sources(config))


def test_without_corrections_nothing_changes(config):
    sources = given_sources(config)
    assert corrected(config, sources) == (sources, None)


def test_audit_is_of_all_pictures_of_the_user(config):
    sources = given_sources(config)
    source = sources.audited
    assert source is sources.whole
    assert (sources.train.num_examples, sources.test.num_examples) == (16, 4)
    assert source.labels.tolist() == [0] * 10 + [1] * 10
    assert source.clean_labels is None


@pytest.mark.parametrize("key", ["symmetric", "pair_flip"])
def test_audit_has_the_noise_of_the_training_part(config, key):
    config.noise.kind, config.noise.rate = key, 0.5
    train, test, _, whole, _ = sources = given_sources(config)
    label_of = dict(zip(whole.ids.tolist(), whole.labels, strict=True))
    assert [label_of[name] for name in train.ids] == train.labels.tolist()
    assert [label_of[name] for name in test.ids] == [0, 0, 1, 1]
    assert whole.clean_labels.tolist() == [0] * 10 + [1] * 10
    assert sources.audited.is_noisy.sum() == train.is_noisy.sum() > 0


def test_audit_of_data_with_a_test_set_is_of_the_training_part():
    config = config_of(data__validation_share=0.25)
    sources = given_sources(config)
    assert sources.audited is sources.train


def test_corrections_of_all_pictures_reach_both_parts(config, tmp_path):
    sources = given_sources(config)
    train, test = sources.train.ids.tolist(), sources.test.ids.tolist()
    decisions = {train[0]: "dog", train[1]: None, test[0]: "dog", test[1]: None}
    corrections = corrections_of(sources.whole, decisions)
    after, counts = with_corrections(config, tmp_path / "c.csv", corrections)
    assert counts == {"kept": 0, "relabeled": 2, "dropped": 2}
    assert after.train.ids.tolist() == train[:1] + train[2:]
    assert after.train.labels.tolist() == [1] + [0] * 6 + [1] * 8
    assert after.test.ids.tolist() == test[:1] + test[2:]
    assert after.test.labels.tolist() == [1, 1, 1]
    assert after.train.is_noisy is None
    # What is to be reviewed stays as given.
    given = given_sources(config).audited
    assert dataset_hash(given.labels, given.ids) == corrections.dataset_hash


def test_corrections_of_the_training_part_leave_the_other_as_it_is(config, tmp_path):
    train = given_sources(config).train
    corrections = corrections_of(train, {train.ids[0]: "dog"})
    after, _ = with_corrections(config, tmp_path / "c.csv", corrections)
    assert after.train.labels.tolist() == [1] + [0] * 7 + [1] * 8
    assert after.test.labels.tolist() == [0, 0, 1, 1]


def test_what_noise_made_wrong_is_right_after_correction(config, tmp_path):
    config.noise.kind, config.noise.rate = "pair_flip", 0.5
    train, test, _, whole, _ = sources = given_sources(config)
    wrong, right = np.flatnonzero(train.is_noisy), np.flatnonzero(~train.is_noisy)
    names = train.class_names
    decisions = {
        train.ids[wrong[0]]: names[train.clean_labels[wrong[0]]],
        train.ids[wrong[1]]: None,
        train.ids[right[0]]: names[1 - train.clean_labels[right[0]]],
        test.ids[0]: "dog",
    }
    corrections = corrections_of(whole, decisions)
    after, _ = with_corrections(config, tmp_path / "c.csv", corrections)
    kept = np.delete(np.arange(16), wrong[1])
    assert after.train.clean_labels.tolist() == train.clean_labels[kept].tolist()
    is_noisy = train.is_noisy.copy()
    is_noisy[[wrong[0], right[0]]] = False, True
    assert after.train.is_noisy.tolist() == is_noisy[kept].tolist()
    assert after.test.labels.tolist() == [1, 0, 1, 1]
    # As `apply-corrections` does it.
    source = corrections.apply(sources.audited, reviewed(corrections, sources))
    assert source.num_examples == 19
    label_of = dict(zip(source.ids.tolist(), source.labels, strict=True))
    assert [label_of[name] for name in after.train.ids] == after.train.labels.tolist()


def test_test_labels_that_are_known_to_be_true_stay(config, tmp_path):
    folder = tmp_path / "pets"
    rows = [f"dog/{n}.png,{'cat' if n < 3 else 'dog'},dog" for n in range(10)]
    rows += [f"cat/{n}.png,cat,cat" for n in range(10)]
    (folder / "t.csv").write_text("\n".join(["path,label,truth", *rows]))
    config.data.name, config.data.path = "table", str(folder / "t.csv")
    config.data.clean_label_key = "truth"
    sources = given_sources(config)
    first, second = sources.test.ids[:2]
    truth = sources.test.labels.tolist()
    changed = {"cat": "dog", "dog": "cat"}
    given = dict(zip(sources.whole.ids, sources.whole.labels, strict=True))
    decisions = {first: changed[sources.whole.class_names[given[first]]], second: None}
    corrections = corrections_of(sources.whole, decisions)
    after, _ = with_corrections(config, tmp_path / "c.csv", corrections)
    assert after.test.labels.tolist() == truth[:1] + truth[2:]
    assert after.train.is_noisy is not None


def test_validation_part_has_corrected_labels(tmp_path):
    config = config_of(data__validation_share=0.25)
    given = given_sources(config).train
    decisions = {
        given.ids[i]: given.class_names[given.clean_labels[i]]
        for i in np.flatnonzero(given.is_noisy)
    }
    corrections = corrections_of(given, decisions)
    sources, _ = with_corrections(config, tmp_path / "c.csv", corrections)
    sources = as_trained_on(config, sources)
    assert sources.train.realized_rate == 0
    truth, _ = digits()
    ids = np.concatenate([sources.train.ids, sources.test.ids])
    assert sorted(ids) == sorted(truth.ids)
    label_of = dict(zip(truth.ids, truth.labels, strict=True))
    assert [label_of[i] for i in sources.train.ids] == sources.train.labels.tolist()
    assert [label_of[i] for i in sources.test.ids] == sources.test.labels.tolist()


@pytest.mark.parametrize("change", ["another seed", "a picture more", "a class more"])
def test_corrections_of_what_was_there_before_are_refused(config, tmp_path, change):
    config.noise.kind, config.noise.rate = "symmetric", 0.5
    corrections = corrections_of(given_sources(config).audited, {"cat/0.png": None})
    image = tf.io.encode_png(np.zeros((4, 4, 3), "uint8"))
    if change == "another seed":
        config.noise.seed += 1
    else:
        name = "cat" if change == "a picture more" else "ape"
        tf.io.write_file(str(tmp_path / "pets" / name / "10.png"), image)
    with pytest.raises(ValueError, match="`config.data.corrections`: .*dataset_hash="):
        with_corrections(config, tmp_path / "c.csv", corrections)


@pytest.mark.parametrize(
    ("content", "error"), [(None, FileNotFoundError), ("id,label\n", ValueError)]
)
def test_config_with_bad_corrections_is_refused_at_once(tmp_path, content, error):
    path = tmp_path / "corrections.csv"
    if content is not None:
        path.write_text(content)
    config = config_of(data__corrections=str(path))
    with pytest.raises(error, match="`config.data.corrections`: .*corrections.csv"):
        check_config(config)


# Verification labels


class Verified:
    """Stands for a model that has to know which labels are right."""

    def verify(self, is_right, labels):
        self.is_right, self.labels = is_right, labels


def test_true_labels_of_a_share_are_looked_up_in_every_class():
    config, model = default_config(), Verified()
    config.method, config.cleannet.verified_share = "cleannet", 0.2
    source = noisy(config, digits()[0])
    verify(config, source, model)
    is_verified = model.is_right >= 0
    assert is_verified.sum() == pytest.approx(0.2 * 1437, abs=1)
    assert (np.bincount(source.labels[is_verified]) > 20).all()
    np.testing.assert_array_equal(
        model.is_right[is_verified] == 1, ~source.is_noisy[is_verified]
    )
    assert np.all(model.labels == -1)


def test_decisions_say_of_given_labels_whether_they_are_right(config, tmp_path):
    config.method, model = "cleannet", Verified()
    train = given_sources(config).train.ids.tolist()
    decisions = {train[0]: "dog", train[1]: None, train[2]: "cat", train[15]: "dog"}
    corrections = corrections_of(given_sources(config).whole, decisions)
    after, _ = with_corrections(config, tmp_path / "c.csv", corrections)
    verify(config, after.train, model)
    # The second one is left out of the data.
    assert model.is_right.tolist() == [0, 1, *[-1] * 12, 1]
    assert model.labels.tolist() == [0, 0, *[-1] * 12, 1]
    assert after.train.labels.tolist()[0] == 1


def test_other_methods_are_told_nothing():
    model = Verified()
    verify(default_config(), digits()[0], model)
    assert not vars(model)


@pytest.mark.parametrize(
    ("share", "message"),
    [
        (0.0, "needs verification labels.*keras-ncr audit.*corrections.*ncr\\+elr"),
        (0.1, "verified_share` must be 0 where true labels are not known"),
        (1.0, "verified_share` must be at least 0 and below 1"),
    ],
)
def test_verification_labels_that_there_are_not_are_refused(share, message):
    config = config_of(method="cleannet", cleannet__verified_share=share)
    source = annotated_source() if share == 1 else random_source(30)
    with pytest.raises(ValueError, match=message):
        verify(config, source, Verified())


# Scores of an audit


class Graded:
    """What a model is told."""

    def grade(self, scores):
        self.scores = list(scores)


@pytest.fixture
def graded_config(tmp_path):
    """Returns the config of a curriculum on four examples that an audit has scored."""
    config = config_of(method="curriculum", curriculum__scores=str(tmp_path / "a.csv"))
    frame = pd.DataFrame({"id": ["3", "0", "9", "2", "1"]})
    frame["label_quality"] = [0.3, 0.0, 0.9, 0.2, 0.1]
    frame.to_csv(config.curriculum.scores, index=False)
    return config


def test_a_model_is_told_the_scores_of_its_examples(graded_config, tmp_path):
    model = Graded()
    grade(graded_config, random_source(4), model)
    assert model.scores == [0.0, 0.1, 0.2, 0.3]
    path = tmp_path / "a.parquet"
    pd.read_csv(graded_config.curriculum.scores).to_parquet(path)
    graded_config.curriculum.scores = str(path)
    grade(graded_config, random_source(4), again := Graded())
    assert again.scores == model.scores
    graded_config.method = "ncr"
    grade(graded_config, random_source(4), None)  # It has no scores.


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("nowhere.csv", "`config.curriculum.scores`: .*must be a file that exists"),
        ("b.csv", "the table of an audit, .* without label_quality"),
        ("a.csv", "of each example .* without 1 of 5: '4'. Audit a run on the same"),
    ],
)
def test_scores_that_there_are_not_are_named(graded_config, tmp_path, path, message):
    pd.DataFrame({"id": [0]}).to_csv(tmp_path / "b.csv")
    graded_config.curriculum.scores = str(tmp_path / path)
    size = 5 if path == "a.csv" else 4
    if path == "a.csv":
        frame = pd.read_csv(graded_config.curriculum.scores)
        frame[frame["id"] != 9].to_csv(graded_config.curriculum.scores)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        grade(graded_config, random_source(size), Graded())


# Examples without a label


@pytest.fixture
def partly_labeled(config, tmp_path):
    """Returns the config of the pets, with six pictures of which nothing is known."""
    for number in range(6):
        image = tf.io.encode_png(np.full((4, 4, 3), number, "uint8"))
        tf.io.write_file(str(tmp_path / "pets" / "unlabelled" / f"{number}.png"), image)
    config.data.unlabeled_folder, config.method = "unlabelled", "ncr"
    return config


def test_examples_without_a_label_are_trained_on_and_nothing_else(partly_labeled):
    sources = as_trained_on(partly_labeled, given_sources(partly_labeled))
    assert (sources.train.num_examples, sources.test.num_examples) == (16, 4)
    assert sources.audited.num_examples == 20
    assert sources.trained_on.num_examples == 22
    assert (sources.trained_on.labels[16:] == -1).all()
    assert ("without a label", "6") in data_rows(partly_labeled, sources)
    partly_labeled.data.validation_share = 0.25
    sources = as_trained_on(partly_labeled, given_sources(partly_labeled))
    assert sources.trained_on.num_examples == 18


@pytest.mark.parametrize("method", ["standard", "sop", "ncr+mixup", "elr", "ncr+ssr"])
def test_methods_that_need_labels_are_refused(partly_labeled, method):
    partly_labeled.method = method
    sources = given_sources(partly_labeled)
    with pytest.raises(ValueError, match="without a label: ncr or ncr\\+elr.*Received"):
        as_trained_on(partly_labeled, sources)


def test_balanced_classes_are_refused_where_labels_are_missing(partly_labeled):
    partly_labeled.data.balanced = True
    with pytest.raises(ValueError, match="balanced` must be False with .*unlabeled"):
        as_trained_on(partly_labeled, given_sources(partly_labeled))


@pytest.mark.usefixtures("eager_functions")
def test_a_run_trains_on_examples_without_a_label(partly_labeled, tmp_path):
    partly_labeled.epochs, partly_labeled.trials = 1, 1
    results = run.train(partly_labeled, tmp_path / "run", verbose=0)
    assert results["num_failed"] == 0
    confidence = np.load(tmp_path / "run" / "trial-0" / "confidence.npy")
    means = np.load(tmp_path / "run" / "trial-0" / "mean_predictions.npz")["means"]
    assert len(confidence) == len(means) == 16
