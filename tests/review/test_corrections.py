"""Tests of reviewed labels put back."""

import csv
import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from keras_ncr.datasets import digits, from_arrays
from keras_ncr.experiments.config import default_config, own_pictures
from keras_ncr.experiments.config_checks import check_config
from keras_ncr.experiments.data import load_sources
from keras_ncr.experiments.labels import (
    as_trained_on,
    corrected,
    reviewed,
    with_noise,
)
from keras_ncr.noise import NoisyLabels
from keras_ncr.review.corrections import (
    HEADER,
    Corrections,
    dataset_hash,
    read_corrections,
)

NAMES = ("cat", "dog", "owl")


def source_of(labels=(0, 1, 2, 0, 1), ids=None, clean_labels=None):
    """Returns a `Source` whose images show their index."""
    images = np.arange(len(labels), dtype="uint8")[:, None, None, None]
    return from_arrays(
        np.broadcast_to(images, (len(labels), 2, 2, 1)),
        labels,
        class_names=NAMES,
        ids=ids,
        clean_labels=clean_labels,
    )


def corrections_of(source, decisions):
    """Returns corrections from a dict of ids to new classes, None for those dropped."""
    label_of = dict(zip(map(str, source.ids.tolist()), source.labels, strict=True))
    given = [source.class_names[label_of[str(example)]] for example in decisions]
    new = [name or "" for name in decisions.values()]
    actions = [
        "drop" if not after else "keep" if after == before else "relabel"
        for before, after in zip(given, new, strict=True)
    ]
    return Corrections(
        tuple(map(str, decisions)),
        tuple(given),
        tuple(actions),
        tuple(new),
        dataset_hash(source.labels, source.ids),
    )


def write(path, corrections, encoding="utf-8", line_end="\n"):
    """Writes corrections as the review page exports them; returns the path."""
    with open(path, "w", encoding=encoding, newline="") as file:
        writer = csv.writer(file, lineterminator=line_end)
        writer.writerow(HEADER)
        columns = (
            corrections.ids,
            corrections.given_classes,
            corrections.actions,
            corrections.new_classes,
        )
        for row in zip(*columns, strict=True):
            writer.writerow([*row, corrections.dataset_hash])
    return path


# Applied to a source


def test_labels_change_dropped_examples_go_and_the_rest_stays():
    source = source_of(clean_labels=[1, 1, 2, 0, 0])
    decisions = {0: "dog", 2: None, 3: "cat"}
    corrections = corrections_of(source, decisions)
    assert corrections.counts == {"kept": 1, "relabeled": 1, "dropped": 1}
    corrected = corrections.apply(source)
    assert corrected.labels.tolist() == [1, 1, 0, 1]
    assert corrected.clean_labels.tolist() == [1, 1, 0, 0]
    assert corrected.ids.tolist() == [0, 1, 3, 4]
    assert corrected.images[:, 0, 0, 0].tolist() == [0, 1, 3, 4]
    assert (corrected.num_classes, corrected.class_names) == (3, NAMES)
    read = {int(e["index"]): int(e["label"]) for e in corrected.dataset}
    assert read == {0: 1, 1: 1, 2: 0, 3: 1}
    assert source.labels.tolist() == [0, 1, 2, 0, 1]


def test_kept_labels_change_nothing():
    source = source_of()
    corrected = corrections_of(source, {1: "dog"}).apply(source)
    assert corrected.labels.tolist() == source.labels.tolist()
    assert corrected.clean_labels is None


@pytest.mark.parametrize(
    "ids",
    [
        ["a.png", "b/ä, 1.png", ' "c"', "=d", "e\nf"],
        np.array([b"a", b"b", b"c", b"d", b"e"]),
        np.array([7, 300, 2, -1, 2**40]),
    ],
)
def test_any_id_is_found_again_after_the_file(tmp_path, ids):
    source = source_of(ids=ids)
    texts = list(map(str, NoisyLabels(None, source.labels, ids).ids.tolist()))
    corrections = Corrections(
        (texts[1], texts[4]),
        ("dog", "dog"),
        ("relabel", "drop"),
        ("owl", ""),
        dataset_hash(source.labels, source.ids),
    )
    path = write(tmp_path / "corrections.csv", corrections)
    assert read_corrections(path).apply(source).labels.tolist() == [0, 2, 2, 0]


def test_hash_is_that_of_labels_and_ids():
    expected = NoisyLabels(None, [0, 1], ["a", "b"]).hash
    assert dataset_hash([0, 1], ["a", "b"]) == expected
    others = [([1, 0], ["a", "b"]), ([0, 1], ["b", "a"]), ([0, 1], ["a", "c"])]
    assert expected not in {dataset_hash(*other) for other in others}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dataset_hash": "0af3"}, "dataset_hash=0af3.*of other data or noise"),
        ({"ids": ("0", "9")}, "of 'arrays'. Received: 1 ids .* not have, '9'. Spread"),
        ({"new_classes": ("", "do")}, "`new_class of 1` .*'do'. Did you mean 'dog'"),
        ({"given_classes": ("cat", "Dog")}, "`given_class of 1` .*Did you mean 'dog'"),
        ({"given_classes": ("owl", "dog")}, "`given_class` of '0' must be 'cat'"),
    ],
)
def test_corrections_of_other_data_are_refused(changes, message):
    source = source_of()
    corrections = corrections_of(source, {0: None, 1: "owl"})
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(corrections, **changes).apply(source)


def test_unknown_ids_are_listed_but_not_all():
    source = source_of()
    corrections = Corrections(
        *(tuple("pqrst"), ("cat",) * 5, ("drop",) * 5, ("",) * 5),
        dataset_hash(source.labels, source.ids),
    )
    with pytest.raises(ValueError, match="5 ids .*'p', 'q', 'r' and 2 more"):
        corrections.apply(source)


def test_something_must_be_left():
    source = source_of([0, 1, 2])
    corrections = corrections_of(source, {0: None, 1: None, 2: None})
    with pytest.raises(ValueError, match="leave an example of 'arrays'.*all 3"):
        corrections.apply(source)


def test_classes_with_one_name_are_refused():
    images = np.zeros((2, 2, 2, 1), "uint8")
    source = from_arrays(images, [0, 1], class_names=["cat", "cat"])
    with pytest.raises(ValueError, match="names must be all different"):
        corrections_of(source, {0: None}).apply(source)


# The file


DECISIONS = Corrections(
    ("a.png", "b.png", "c.png"),
    ("cat", "big, old dog", 'the "owl"'),
    ("keep", "relabel", "drop"),
    ("cat", 'the "owl"', ""),
    "0af3",
)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_file_is_read_as_it_was_written(tmp_path, encoding, line_end):
    path = write(tmp_path / "corrections.csv", DECISIONS, encoding, line_end)
    assert read_corrections(str(path)) == DECISIONS


def test_empty_rows_are_passed_over(tmp_path):
    path = write(tmp_path / "corrections.csv", DECISIONS)
    header, first, *others = path.read_text().splitlines()
    path.write_text("\n".join(["", header, "", first, ",,,,", *others, "", ""]))
    assert read_corrections(path) == DECISIONS


HEAD = "id,given_class,action,new_class,dataset_hash\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "begins with id,given_class,action,new_class,dataset_hash. Received: ''"),
        ("id;given_class;action;new_class;dataset_hash\n", "commas between the col"),
        ("path,label\na.png,cat\n", "holds no corrections.*Received: 'path,label'"),
        (HEAD, "at least one decision. Received: a header alone"),
        (HEAD + "a,cat,keep,cat\n", "Row 2 .* must have 5 cells.*Received: 4 cells"),
        (HEAD + '"a"b,cat,keep,cat,0\n', "holds no corrections: ',' expected"),
        (HEAD + "\na,cat,kep,cat,0\n", "`action of row 3` .*Did you mean 'keep'"),
        (HEAD + "a,cat,keep,dog,0\n", "`new_class` of row 2 must be 'cat', the given"),
        (HEAD + "a,cat,relabel,cat,0\n", "must be another than the given one"),
        (HEAD + "a,cat,relabel,,0\n", "must be another than .* Received: ''"),
        (HEAD + "a,cat,drop,dog,0\n", "must be empty, with the action 'drop'"),
        (
            HEAD + "a,cat,drop,,0\nb,cat,drop,,0\na,cat,keep,cat,0\n",
            "decide on each example once. Received: 'a' in rows 2, 4 of",
        ),
        (HEAD + "a,cat,drop,,0\nb,cat,drop,,1\n", "2 different values of dataset_hash"),
    ],
)
def test_file_that_holds_no_corrections_says_why(tmp_path, content, message):
    path = tmp_path / "corrections.csv"
    path.write_text(content)
    with pytest.raises(ValueError, match=message):
        read_corrections(path)


def test_bytes_that_are_no_text_are_refused(tmp_path):
    path = tmp_path / "corrections.csv"
    path.write_bytes(b"PK\x03\x04\xff\xfe")
    with pytest.raises(ValueError, match="holds no corrections.*a CSV file in UTF-8"):
        read_corrections(path)


def test_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere.csv"):
        read_corrections(tmp_path / "nowhere.csv")


# In a run


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
    train, test, _, whole = sources = given_sources(config)
    label_of = dict(zip(whole.ids.tolist(), whole.labels, strict=True))
    assert [label_of[name] for name in train.ids] == train.labels.tolist()
    assert [label_of[name] for name in test.ids] == [0, 0, 1, 1]
    assert whole.clean_labels.tolist() == [0] * 10 + [1] * 10
    assert sources.audited.is_noisy.sum() == train.is_noisy.sum() > 0


def test_audit_of_data_with_a_test_set_is_of_the_training_part():
    config = default_config()
    config.data.validation_share = 0.25
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
    train, test, _, whole = sources = given_sources(config)
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
    config = default_config()
    config.data.validation_share = 0.25
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
    config = default_config()
    config.data.corrections = str(path)
    with pytest.raises(error, match="`config.data.corrections`: .*corrections.csv"):
        check_config(config)
