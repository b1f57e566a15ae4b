"""Views of an example stand in neighboring rows, or training does not start."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from model_harness import WITH_VIEWS, X, compiled, fit, view_batches

from keras_ncr.models.views import by_example, checked_views, have_views_alike
from keras_ncr.pipelines import mixing


def dataset(y):
    x = np.zeros((len(np.asarray(keras.tree.flatten(y)[0])), 5), "float32")
    return tf.data.Dataset.from_tensors((x, y))


def test_rows_of_an_example_are_grouped():
    rows = np.arange(12).reshape(6, 2)
    np.testing.assert_array_equal(
        by_example(rows, 3), [[[0, 1], [2, 3], [4, 5]], [[6, 7], [8, 9], [10, 11]]]
    )
    np.testing.assert_array_equal(by_example(rows, 1)[:, 0], rows)
    assert by_example(rows[:0], 2).shape == (0, 2, 2)


def test_an_odd_batch_is_refused_by_what_makes_views():
    message = (
        r"the 2 views .* Received: a batch of 3. .*keras_ncr.pipelines.second_view"
    )
    with pytest.raises(ValueError, match=message):
        by_example(np.zeros((3, 2)), 2)

    @tf.function(input_signature=[tf.TensorSpec([None])])
    def of_any_size(rows):
        return by_example(rows, 2)

    assert of_any_size(np.zeros(4, "float32")).shape == (2, 2)
    with pytest.raises(tf.errors.InvalidArgumentError, match="second_view"):
        of_any_size(np.zeros(3, "float32"))


@pytest.mark.parametrize(
    "values",
    [
        [0, 0, 2, 2],
        [[0], [0], [2], [2]],
        np.eye(3)[[0, 0, 2, 2]],
        np.eye(3, dtype="uint8")[[0, 0, 2, 2]],
        # Mixed with others, and with each other at one half.
        [[0.5, 0.5, 0.0], [0.5, 0.0, 0.5], [0.0, 0.3, 0.7], [0.1, 0.0, 0.9]],
    ],
)
def test_views_of_one_label_are_alike(values):
    assert have_views_alike(np.array(values), 2).numpy().all()


@pytest.mark.parametrize(
    "values", [[1, 1, 2, 0], [[1], [1], [2], [0]], np.eye(3)[[1, 1, 2, 0]]]
)
def test_rows_of_two_labels_are_no_views(values):
    np.testing.assert_array_equal(have_views_alike(np.array(values), 2), [True, False])


@pytest.mark.parametrize(
    "y",
    [
        np.array([0, 1, 1, 0]),
        {"label": np.zeros(4, int), "index": np.arange(4)},
        np.zeros(3, int),
    ],
    ids=["labels", "index", "odd"],
)
def test_batches_without_views_are_refused(y):
    with pytest.raises(ValueError, match="must hold the 2 views of each example"):
        checked_views(None, y, 2, shuffle=False)
    if len(keras.tree.flatten(y)[0]) == 4:
        with pytest.raises(tf.errors.InvalidArgumentError, match="second_view"):
            list(checked_views(dataset(y), None, 2))
    else:
        with pytest.raises(ValueError, match="a batch of 3"):
            checked_views(dataset(y), None, 2)
    assert checked_views("x", y, 1) == "x"


def test_the_first_wrong_row_is_named():
    with pytest.raises(ValueError, match="rows from 4 on that differ in their label"):
        checked_views(None, np.array([0, 0, 1, 1, 2, 1]), 2, shuffle=False)


def test_arrays_of_views_are_not_shuffled():
    with pytest.raises(ValueError, match="`shuffle` must be False .* shuffle=True"):
        checked_views(None, np.array([0, 0, 1, 1]), 2)


def test_a_checked_dataset_has_the_same_batches():
    y = {"label": np.array([0, 0, 1, 1]), "index": np.array([5, 5, 3, 3])}
    batches = tf.data.Dataset.from_tensors((np.ones((4, 2)), y, np.ones(4)))
    (batch,) = checked_views(batches, None, 2)
    keras.tree.map_structure(np.testing.assert_array_equal, batch, next(iter(batches)))


# Models with views


@pytest.mark.parametrize(
    ("name", "augments"),
    [
        ("gjs", [mixing.mixup()]),
        ("sop", []),
        pytest.param("gjs", [], marks=pytest.mark.slow),
        pytest.param("sop", [mixing.mixup()], marks=pytest.mark.slow),
    ],
    ids=["gjs-mixup", "sop-plain", "gjs-plain", "sop-mixup"],
)
def test_batches_of_the_pipeline_train(name, augments):
    model = compiled(name, {"num_examples": 24, "consistency_weight": 0.5})
    history = fit(model, view_batches(*augments), None, batch_size=None)
    assert np.isfinite(history["loss"]).all()


@pytest.mark.parametrize("name", WITH_VIEWS)
def test_data_without_views_do_not_train(name):
    model, others = compiled(name, {"num_examples": 24}), np.arange(24) % 3
    with pytest.raises(ValueError, match="rows from 0 on that differ in their label"):
        fit(model, y=others)
    with pytest.raises(ValueError, match="Pass shuffle=False"):
        fit(model, shuffle=True)
    with pytest.raises(ValueError, match="a batch of 3"):
        fit(model, batch_size=3)
    targets = {"label": others, "index": np.arange(24) // 2}
    batches = tf.data.Dataset.from_tensor_slices((X, targets)).batch(8)
    with pytest.raises(tf.errors.InvalidArgumentError, match="second_view"):
        fit(model, batches, None, batch_size=None)
