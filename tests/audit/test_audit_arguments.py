"""Tests of what an audit is given: odd inputs work or are named, before the pass."""

import importlib

import keras
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import tensorflow as tf

import keras_ncr
from keras_ncr.datasets import from_arrays

# TensorFlow notes that pipelines are not run eagerly.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Even though the:UserWarning"),
    pytest.mark.usefixtures("eager_functions"),
]
LABELS = [0, 1] * 20
TABLE = pd.DataFrame(
    np.random.default_rng(0).normal(size=(40, 3)), columns=["a", "b", "c"]
)


@pytest.fixture(scope="module")
def model():
    return keras.Sequential([keras.Input([3]), keras.layers.Dense(2)])


def audit(model, x, y=LABELS, **options):
    return keras_ncr.audit(model, x, y, verbose=0, **options)


# Tables


@pytest.mark.parametrize(
    "column",
    [
        TABLE["c"] > 0,
        pd.array([1, 0] * 20, dtype="Int64"),
        pd.array([True, False] * 20, dtype="boolean"),
        pd.array([0.5, 1.5] * 20, dtype="Float32"),
        pd.Series([1, 2.5] * 20, dtype=object),
    ],
    ids=["bool", "nullable_int", "nullable_bool", "nullable_float", "object"],
)
def test_table_of_what_is_numeric_is_audited(model, column):
    frame = audit(model, TABLE.assign(c=column))
    numbers = np.array(TABLE.assign(c=np.array(column, "float64")), "float64")
    pd.testing.assert_frame_equal(frame, audit(model, numbers))


def test_table_of_bools_alone_is_one_of_numbers(model):
    frame = audit(model, TABLE > 0)
    pd.testing.assert_frame_equal(frame, audit(model, (TABLE > 0).to_numpy("float32")))


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (TABLE.assign(c="Bonn"), "column 'c' of dtype .* 'Bonn' .*get_dummies"),
        (
            TABLE.assign(c=pd.Categorical(["x", "y"] * 20)),
            "column 'c' of dtype category",
        ),
        (
            TABLE.assign(c=pd.array([1] * 39 + [None], dtype="Int64")),
            "<NA> in row 39 of column 'c'; 1 such rows in all. Fill",
        ),
        (
            scipy.sparse.csr_matrix(TABLE),
            r"`x` must be dense. .*csr_matrix .*\(40, 3\). Convert it by `toarray\(\)`",
        ),
        (
            pd.Series([*["good day", "bad day"] * 19, None, "ok"], dtype=object),
            r"texts alone. Received: None in row 38; 1 .*x.fillna\(''\)",
        ),
        ([[1, 2, 3], [1, 2]] * 20, "rows of one shape.*pad_sequences"),
    ],
)
def test_inputs_that_are_no_numbers_are_named(model, x, message):
    with pytest.raises(ValueError, match=message):
        audit(model, x)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (np.linspace(0, 9, 40), "fractions in most rows.*pandas.qcut"),
        (pd.Series([["a"], ["b"]] * 20), r"Received: \['a'\] at position 0"),
        (pd.array([0] * 39 + [None], dtype="Int64"), "Received: nan at position 39"),
    ],
)
def test_labels_that_are_none_are_named(model, y, message):
    with pytest.raises(ValueError, match=message):
        audit(model, TABLE, y)


def test_nullable_labels_are_labels(model):
    frame = audit(model, TABLE, pd.Series(LABELS, dtype="Int64"))
    assert frame["given_label"].tolist() == LABELS


# Names and ids


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ({"dog": 1, "cat": 0}, "in the order of the class numbers. Received: a dict"),
        ({0: "cat", 1: "dog"}, r"`\[names\[i\] for i in range"),
        ({"cat", "dog"}, "Received: a set"),
        ("ab", "at least two strings"),
        ([0, 1], "at least two strings"),
        (["cat"], "2 different strings"),
    ],
)
def test_names_without_the_order_of_the_classes_are_refused(names, message):
    with pytest.raises(ValueError, match=message):
        keras_ncr.audit_predictions(
            [0, 1], [[0.9, 0.1]] * 2, class_names=names, verbose=0
        )


@pytest.mark.parametrize(
    "names", [["cat", "dog"], pd.Index(["cat", "dog"]), np.array(["cat", "dog"])]
)
def test_names_in_any_list_are_taken(names):
    frame = keras_ncr.audit_predictions(
        [0, 1], [[0.9, 0.1]] * 2, class_names=names, verbose=0
    )
    assert frame["given_class"].tolist() == ["cat", "dog"]


def batches_that_may_not_be_read():
    """Returns a data set that fails the test when it is read."""

    def rows():
        raise AssertionError("read before the arguments were looked at")
        yield

    signature = (tf.TensorSpec((3,), "float32"), tf.TensorSpec((), "int64"))
    return tf.data.Dataset.from_generator(rows, output_signature=signature).batch(8)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ids": [0] * 40}, "`ids` must all be different"),
        ({"ids": [0.5] * 40}, "integers or strings"),
        ({"class_names": ["a"]}, "2 different strings"),
        ({"class_names": ["a", "b", "c"]}, "2 different strings.* Received: 3"),
        ({"class_names": {"a": 0, "b": 1}}, "a dict"),
        ({"probabilities": np.ones((40, 2))}, "row 0, which sums to 2"),
        ({"probabilities": np.full((40, 4), 0.25)}, "each of the 2 .* 4 columns"),
        ({"probabilities": [0.5] * 40}, r"shape \(n, num_classes\)"),
    ],
)
def test_arguments_are_looked_at_before_the_pass(model, options, message):
    with pytest.raises(ValueError, match=message):
        audit(model, batches_that_may_not_be_read(), None, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ids": range(3)}, r"`ids` must have shape \(4,\)"),
        ({"probabilities": np.full((3, 2), 0.5)}, "4 labels and 3 rows"),
        ({"y": [0, 1, 2, 0]}, "must be below 2. Received: 2 at position 2"),
    ],
)
def test_numbers_of_a_source_are_compared_before_the_pass(
    model, monkeypatch, options, message
):
    def read(*arguments):
        raise AssertionError("read before the arguments were looked at")

    module = importlib.import_module("keras_ncr.audit.auditing")
    monkeypatch.setattr(module, "predict", read)
    source = from_arrays(np.zeros((4, 1, 1, 3), "uint8"), [0, 1, 0, 1], num_classes=3)
    with pytest.raises(ValueError, match=message):
        audit(model, source, **{"y": None, **options})


# Order


def shuffled(**options):
    slices = tf.data.Dataset.from_tensor_slices((TABLE.to_numpy("float32"), LABELS))
    return slices.shuffle(40, **options).batch(8)


@pytest.mark.parametrize("options", [{}, {"seed": 1}])
def test_dataset_that_is_shuffled_anew_is_refused_with_ids_or_without(model, options):
    dataset = shuffled(**options).prefetch(1)
    for ids in (None, range(40)):
        with pytest.raises(ValueError, match="`x` must .*same order.*shuffle=False"):
            audit(model, dataset, None, ids=ids)
    with pytest.raises(ValueError, match="`x` must .*same order"):
        keras_ncr.features.features_of(model, dataset)


def test_folder_of_keras_is_audited_unless_it_is_shuffled(tmp_path):
    for number in range(8):
        folder = tmp_path / ("cat", "dog")[number % 2]
        folder.mkdir(exist_ok=True)
        pixels = np.full((4, 4, 3), number, "uint8")
        keras.utils.save_img(folder / f"{number}.png", pixels)
    model = keras.Sequential(
        [keras.Input([4, 4, 3]), keras.layers.Flatten(), keras.layers.Dense(2)]
    )

    def read(**options):
        return keras.utils.image_dataset_from_directory(
            tmp_path, image_size=(4, 4), verbose=False, **options
        )

    dataset = read()
    with pytest.raises(ValueError, match="`shuffle=False` in `keras.utils.image_data"):
        audit(model, dataset, None, ids=dataset.file_paths)
    dataset = read(shuffle=False)
    frame = audit(model, dataset, None, ids=dataset.file_paths)
    assert [("dog" in name) for name in frame["id"]] == frame["given_label"].tolist()


def test_shuffled_batches_that_carry_the_index_are_put_in_order(model):
    index = np.arange(40)
    x = TABLE.to_numpy("float32")
    targets = {"label": np.array(LABELS), "index": index}
    slices = tf.data.Dataset.from_tensor_slices((x, targets))
    frame = audit(model, slices.shuffle(40).batch(8), None)
    assert frame["given_label"].tolist() == LABELS


def test_one_order_for_ever_is_an_order(model):
    dataset = shuffled(reshuffle_each_iteration=False)
    labels = np.concatenate([labels for _, labels in dataset.as_numpy_iterator()])
    assert audit(model, dataset, None)["given_label"].tolist() == labels.tolist()
