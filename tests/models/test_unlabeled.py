"""Examples without a label, -1: they take part in neighbor consistency alone."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from model_harness import (
    MODELS,
    WEIGHTS,
    WITH_WHOLE_SET,
    X,
    Y,
    assert_close,
    assert_same_history,
    assert_same_variables,
    compiled,
    cross_entropy,
    few,
    fit,
)

IS_LABELED = np.arange(24) % 4 != 0
PARTLY = np.where(IS_LABELED, Y, -1)
ONE_HOT = np.where(IS_LABELED[:, None], np.eye(3)[Y], -1.0).astype("float32")
WITHOUT_CONSISTENCY = {"consistency_weight": 0.0}
TAKING = ["ncr", "elr"]
WHOLE = {"batch_size": 24}


def from_dataset(model, y):
    targets = {"label": y, "index": np.arange(24)}
    batches = tf.data.Dataset.from_tensor_slices((X, targets)).batch(24)
    return fit(model, batches, None, batch_size=None)


@pytest.mark.parametrize("name", few("ncr", of=TAKING))
@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "sum"])
def test_without_consistency_they_change_no_step(name, reduction):
    options = {"loss": cross_entropy(reduction=reduction)}
    ours, theirs = [compiled(name, WITHOUT_CONSISTENCY, **options) for _ in range(2)]
    history = fit(ours, y=PARTLY, **WHOLE)
    expected = fit(theirs, X[IS_LABELED], Y[IS_LABELED], **WHOLE)
    for part in ("loss", "accuracy"):
        assert history[part] == pytest.approx(expected[part], rel=1e-5)
    assert_same_variables(ours.trainable_weights, theirs.trainable_weights)


def test_neighbor_consistency_counts_them():
    model = compiled("ncr")
    expected = fit(compiled("ncr"), **WHOLE)["neighbor_consistency_loss"]
    assert fit(model, y=PARTLY, **WHOLE)["neighbor_consistency_loss"] == expected


def test_examples_without_any_label_are_learned_from():
    model = compiled("ncr")
    model(X)
    before = model.get_weights()
    history = fit(model, y=np.full(24, -1))
    assert history["classification_loss"] == history["accuracy"] == [0.0]
    assert history["neighbor_consistency_loss"][0] > 0
    assert any(np.any(a != b) for a, b in zip(before, model.get_weights(), strict=True))


@pytest.mark.parametrize(
    ("name", "form"),
    [
        pytest.param(name, form, marks=[] if is_default else pytest.mark.slow)
        for name in TAKING
        for form in ("one-hot", "dataset", "loss that ignores", "graph")
        # Those who number examples read datasets in their own way.
        for is_default in [form == "dataset" or (name == "ncr" and form != "graph")]
    ],
)
def test_they_come_in_any_form(name, form):
    expected = fit(compiled(name), y=PARTLY, **WHOLE)
    if form == "dataset":
        model = compiled(name, {"num_examples": 24} if name == "elr" else None)
        return assert_same_history(from_dataset(model, PARTLY), expected)
    options, y = {}, PARTLY
    if form == "one-hot":
        y = ONE_HOT
        options["loss"] = keras.losses.CategoricalCrossentropy(from_logits=True)
    elif form == "graph":
        options["run_eagerly"] = False
    else:
        options["loss"] = [cross_entropy(ignore_class=-1)]
    assert_same_history(fit(compiled(name, **options), y=y, **WHOLE), expected)


def test_weights_of_examples_are_those_of_the_labeled():
    model = compiled("ncr", WITHOUT_CONSISTENCY)
    history = fit(model, y=PARTLY, sample_weight=WEIGHTS, **WHOLE)
    each = tf.nn.sparse_softmax_cross_entropy_with_logits(
        Y, compiled("ncr", WITHOUT_CONSISTENCY)(X)
    )
    expected = np.mean((each * WEIGHTS)[IS_LABELED])
    assert history["loss"] == pytest.approx([expected], rel=1e-5)


def test_evaluation_leaves_them_out():
    model = compiled("ncr", WITHOUT_CONSISTENCY)
    expected = model.evaluate(X[IS_LABELED], Y[IS_LABELED], verbose=0)
    assert_close(model.evaluate(X, PARTLY, batch_size=24, verbose=0), expected)


@pytest.mark.slow
@pytest.mark.parametrize("name", TAKING)
def test_two_replicas_train_as_one_device(name, two_replicas):
    one = compiled(name)
    with two_replicas.scope():
        two = compiled(name, run_eagerly=False)
    # All that have no label are in one replica's part.
    y = np.where(np.arange(24) < 9, -1, Y)
    options = {"y": y, "epochs": 2, "validation_data": (X, y)} | WHOLE
    assert_same_history(*[fit(model, **options) for model in (one, two)], 1e-4)
    assert_same_variables(one.weights, two.weights, 1e-4)


@pytest.mark.parametrize(
    "name",
    few("sop", "pair", *WITH_WHOLE_SET, of=[n for n in MODELS if n not in TAKING]),
)
def test_other_models_say_who_takes_them(name):
    with pytest.raises(ValueError, match="-1 at position 0.*NCRModel.*`ignore_class`"):
        fit(compiled(name), y=np.repeat(PARTLY[::2], 2))
