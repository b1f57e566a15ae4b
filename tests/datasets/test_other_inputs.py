"""Tests of data that are no images: features, texts, columns of a table."""

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from keras_ncr import datasets, noise, pipelines

TEXTS = pd.DataFrame(
    {
        "text": ["good film", "bad film", "  so good ", "so, so bad"],
        "label": ["+", "-", "+", "+"],
        "truth": ["+", "-", "+", "-"],
        "key": ["a", "b", "c", "d"],
    }
)
ROWS = pd.DataFrame(
    {
        "age": [31, 7, 45, 9],
        "member": [True, False, True, True],
        "town": ["Bonn", "", "Köln", "Bonn"],
        "label": ["adult", "child", "adult", "adult"],
    }
)
FEATURES = np.random.default_rng(0).normal(size=(4, 3))


def source_of(kind):
    if kind == "features":
        return datasets.from_features(FEATURES, [0, 1, 0, 1], ids=list("abcd"))
    if kind == "text":
        return datasets.from_texts(TEXTS, clean_label="truth", id_column="key")
    return datasets.from_columns(ROWS)


def flat(inputs):
    return [np.asarray(part).tolist() for part in tf.nest.flatten(inputs)]


@pytest.mark.parametrize("kind", ["features", "text", "columns"])
def test_inputs_follow_their_index_through_splits_and_pipelines(kind):
    source = source_of(kind)
    assert source.kind == kind and source.image_shape is None
    part = source.subset([2, 0]).relabeled([1, 0])
    for cache in (True, False):
        batches = pipelines.evaluation_batches(part, 2, carry=["index"], cache=cache)
        seen = {}
        for inputs, targets in batches:
            for row, index in enumerate(targets["index"].numpy()):
                one = tf.nest.map_structure(lambda part, row=row: part[row], inputs)
                seen[int(index)] = flat(one)
        rows = [
            tf.nest.map_structure(lambda p, i=i: p[i], source.stored_inputs)
            for i in (2, 0)
        ]
        assert seen == {0: flat(rows[0]), 1: flat(rows[1])}
    batches = pipelines.training_batches(source, 4, num_epochs=1, carry=["index"])
    inputs, targets = next(iter(batches))
    order = targets["index"].numpy()
    given = tf.nest.map_structure(lambda p: tf.gather(p, order), source.stored_inputs)
    assert flat(inputs) == flat(given)


@pytest.mark.parametrize("kind", ["features", "text", "columns"])
def test_inputs_are_read_again_from_the_data_set(kind):
    source = source_of(kind)
    kept = vars(source).pop("stored_inputs")
    assert flat(source.stored_inputs) == flat(kept)


def test_columns_are_numbers_or_words(tmp_path):
    source = source_of("columns")
    stored = source.stored_inputs
    assert stored["age"].dtype == stored["member"].dtype == tf.float32
    assert stored["town"].numpy().tolist()[1] == b""
    path = tmp_path / "t.csv"
    ROWS.drop(columns="member").to_csv(path, index=False)
    read = datasets.from_columns(path)
    assert flat(read.stored_inputs["age"]) == flat(stored["age"])
    assert flat(read.stored_inputs["town"]) == flat(stored["town"])
    assert read.ids.tolist() == [2, 3, 4, 5]  # As a spreadsheet shows them.
    assert datasets.from_columns(path, ["age"]).stored_inputs.keys() == {"age"}


def test_texts_have_true_labels_and_ids():
    source = source_of("text")
    assert source.ids.tolist() == list("abcd")
    assert source.is_noisy.tolist() == [False, False, False, True]
    assert source.stored_inputs.numpy()[2] == b"so good"


def test_features_from_a_file_are_those_of_arrays(tmp_path):
    path = tmp_path / "f.npz"
    names = np.array(["cat", "dog", "cat", "dog"])
    np.savez(
        path,
        features=FEATURES,
        labels=names,
        ids=np.arange(4) + 7,
        clean_labels=np.array(["cat", "dog", "none", "cat"]),
    )
    source = datasets.from_features(path)
    assert source.name == "f.npz" and source.class_names == ("cat", "dog")
    assert source.ids.tolist() == [7, 8, 9, 10]
    assert source.clean_labels.tolist() == [0, 1, -1, 0]
    np.testing.assert_array_equal(source.stored_inputs, FEATURES.astype("float32"))


def with_nan():
    features = FEATURES.copy()
    features[2, 1] = np.nan
    return features


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((with_nan(), [0, 1, 0, 1]), "must be finite. .* 1 of 4 .* position 2"),
        ((FEATURES, [0, 1, 0]), "equally long. Received: 4 examples and 3 labels"),
        ((FEATURES[0], [0, 1, 0]), r"shape \(n, dim\)"),
        ((FEATURES,), "`labels` must be given"),
        ((np.array([["a"], ["b"]]), [0, 1]), "must be an array of numbers"),
        ((FEATURES, ["1", "1.0", "2", "2"]), "'1' and '1.0'"),
        ((FEATURES, ["a", "b"] * 2, {"b": 0, "a": 1}), "order of the class .*a dict"),
        ((FEATURES, [0, 1] * 2, {"b": 0, "a": 1}), "order of the class .*a dict"),
        ((FEATURES, [1, 2] * 2), "none of class 0"),
    ],
)
def test_bad_features_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        datasets.from_features(*arguments)


def test_file_without_labels_is_named(tmp_path):
    np.savez(tmp_path / "f.npz", features=FEATURES, targets=np.arange(4))
    with pytest.raises(ValueError, match="f.npz.* no array 'labels'.*'targets'"):
        datasets.from_features(tmp_path / "f.npz")
    (tmp_path / "g.npz").write_text("no numbers")
    with pytest.raises(ValueError, match="np.savez.*g.npz"):
        datasets.from_features(tmp_path / "g.npz")
    with pytest.raises(FileNotFoundError, match="h.npz"):
        datasets.from_features(tmp_path / "h.npz")


@pytest.mark.parametrize(
    ("change", "arguments", "message"),
    [
        ({"text": ["a", " ", "b", ""]}, {}, "'text' must have no empty .*2 such rows"),
        ({}, {"label": "class"}, "`label` must be one of .*'class'"),
        ({}, {"text": "body"}, "`text` must be one of .*'body'"),
        ({"text": [1, 2, 3, 4]}, {}, "'text' must hold texts. Received: 1 in row 0"),
        ({"key": list("abca")}, {"id_column": "key"}, "all different. .*'a' in row 3"),
    ],
)
def test_bad_table_of_texts_is_named(change, arguments, message):
    with pytest.raises(ValueError, match=message):
        datasets.from_texts(TEXTS.assign(**change), **arguments)


@pytest.mark.parametrize(
    ("change", "columns", "message"),
    [
        ({"age": [31, None, 45, 9]}, None, "'age' must have a finite .* row 1; 1 such"),
        ({"age": [31, np.inf, 45, 9]}, None, "'age' must have a finite"),
        ({}, ["age", "size"], "`columns` must be one of"),
        ({}, ["age", "label"], "labels or ids .*'label'"),
        ({"w/h": [1, 2, 3, 4]}, None, "without '/'.*'w/h'"),
        ({}, [], "at least one column"),
    ],
)
def test_bad_columns_are_named(change, columns, message):
    with pytest.raises(ValueError, match=message):
        datasets.from_columns(ROWS.assign(**change), columns)


def test_what_is_for_images_alone_says_so():
    source = source_of("text").relabeled([0, 1, 0, 1])
    with pytest.raises(ValueError, match="must be images. Received: text"):
        source.images  # noqa: B018 - reading it is the claim
    with pytest.raises(ValueError, match="images or features for noise .*: text"):
        source.corrupted(noise.InstanceDependentNoise(0.2, 0, 2))


def test_features_decide_their_wrong_labels_as_pixels_do():
    features = np.random.default_rng(0).normal(size=(200, 3)).astype("float32")
    labels = np.arange(200) % 3
    kind_of_noise = noise.InstanceDependentNoise(0.4, 0, 3)
    noisy = datasets.from_features(features, labels).corrupted(kind_of_noise)
    np.testing.assert_array_equal(noisy.labels, kind_of_noise.corrupt(features, labels))
    assert 0.3 < noisy.realized_rate < 0.5


def test_held_out_part_keeps_its_rows():
    source = source_of("columns")
    train, test = datasets.hold_out(
        datasets.from_columns(pd.concat([ROWS] * 5, ignore_index=True)), 0.2
    )
    assert train.num_examples + test.num_examples == 20
    stored = keras.tree.map_structure(np.asarray, test.stored_inputs)
    for position, row in enumerate(test.ids):
        expected = source.stored_inputs["age"][row % 4]
        assert stored["age"][position] == expected


def test_one_long_text_does_not_make_all_of_them_long():
    # As an array of fixed width this would take 40 GB.
    texts = ["long " * 200_000, *map(str, range(9_999))]
    table = pd.DataFrame({"text": texts, "label": ["a", "b"] * 5_000})
    assert datasets.from_texts(table).num_examples == 10_000
    rows = datasets.from_columns(table).stored_inputs["text"]
    assert rows[9_999].numpy() == b"9998"


def test_pictures_beside_texts_and_rows_stay_with_them(tmp_path):
    (tmp_path / "b.png").touch()
    table = tmp_path / "table.csv"
    rows = {"text": ["one", "two"], "photo": ["", "b.png"], "label": ["+", "-"]}
    pd.DataFrame(rows).to_csv(table, index=False)
    for read in (datasets.from_texts, datasets.from_columns):
        source = read(table, picture="photo")
        assert source.pictures.tolist() == ["", str(tmp_path / "b.png")]
        assert source.subset([1]).pictures.tolist() == [str(tmp_path / "b.png")]
    assert list(source.stored_inputs) == ["text"]
    (tmp_path / "b.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"'photo' must hold paths.*b\.png"):
        datasets.from_texts(table, picture="photo")
