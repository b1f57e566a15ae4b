"""Tests of reviewed labels put back."""

import dataclasses

import numpy as np
import pytest
from decisions import corrections_of, write

from keras_ncr.datasets import from_arrays
from keras_ncr.noise import NoisyLabels
from keras_ncr.review.corrections import Corrections, dataset_hash, read_corrections

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
    source = from_arrays(images, [0, 1], class_names=["cat", "dog"])
    source = dataclasses.replace(source, class_names=("cat", "cat"))
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
