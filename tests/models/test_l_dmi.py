"""L_DMI in two stages: what each minimizes, when it changes, and what it learns."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
from model_harness import X, Y, blobs, compiled, cross_entropy, fit, new_model

from keras_ncr.losses import DeterminantMutualInformation
from keras_ncr.models import LDMIModel
from keras_ncr.models.fitting import counts_in_loss


@pytest.mark.parametrize(
    ("share", "epochs", "stages"),
    [
        (0.0, 2, [1, 1]),
        (0.6, 3, [0, 0, 1]),
        pytest.param(0.5, 4, [0, 0, 1, 1], marks=pytest.mark.slow),
        pytest.param(0.9, 2, [0, 0], marks=pytest.mark.slow),
    ],
)
def test_epochs_belong_to_the_stage_that_the_share_says(share, epochs, stages):
    model = compiled("l_dmi", {"first_stage_share": share})
    seen = []
    note = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: seen.append(int(model.is_second_stage))
    )
    fit(model, epochs=epochs, callbacks=[note])
    assert seen == stages


def test_the_second_stage_minimizes_l_dmi_by_its_weight():
    model = compiled("l_dmi", {"second_stage_weight": 0.3})
    model(X)
    copy = new_model("l_dmi")
    copy(X)
    optimizer = keras.optimizers.SGD(0.1, momentum=0.9)
    with tf.GradientTape() as tape:
        loss = 0.3 * DeterminantMutualInformation()(Y, copy(X, training=True))
    optimizer.apply(tape.gradient(loss, copy.trainable_weights), copy.trainable_weights)
    assert fit(model, batch_size=24)["loss"][0] == pytest.approx(float(loss), rel=1e-6)
    for one, other in zip(model.get_weights(), copy.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_one_class_in_a_batch_stops_the_second_stage_alone():
    fit(compiled("l_dmi", {"first_stage_share": 0.5}), y=0 * Y)
    with pytest.raises(tf.errors.InvalidArgumentError, match="two classes at least"):
        fit(compiled("l_dmi"), y=0 * Y)


def test_rows_without_a_label_have_no_part_in_the_second_stage():
    loss = cross_entropy(ignore_class=-1)
    unlabeled = np.where(np.arange(24) % 3 == 0, -1, Y)
    received = fit(compiled("l_dmi", loss=loss), y=unlabeled, batch_size=24)["loss"]
    keep = unlabeled >= 0
    model = compiled("l_dmi", loss=loss)
    expected = fit(model, X[keep], Y[keep], batch_size=24)["loss"][0]
    # All rows count in the mean, which adds a constant for each of three classes.
    constant = 0.01 * 3 * np.log(24 / keep.sum())
    assert received[0] == pytest.approx(expected + constant, rel=1e-5)


IGNORING = {"from_logits": True, "ignore_class": -1}


@pytest.mark.parametrize(
    "loss",
    [
        cross_entropy(ignore_class=-1),
        [cross_entropy(ignore_class=-1)],
        functools.partial(keras.losses.sparse_categorical_crossentropy, **IGNORING),
    ],
    ids=["object", "list", "function"],
)
def test_what_a_loss_ignores_is_known_in_any_form_of_it(loss):
    is_counted = counts_in_loss(loss, np.array([[0], [-1], [2]]))
    assert is_counted.numpy().tolist() == [True, False, True]


@pytest.mark.slow
def test_the_second_stage_finds_more_than_the_first():
    """45 % of the labels are those of the next class: a rule that L_DMI ignores."""
    x, clean, _ = blobs(400, seed=0, rate=0)
    is_wrong = np.random.default_rng(1).random(400) < 0.45
    noisy = np.where(is_wrong, (clean + 1) % 4, clean)
    x_test, labels, _ = blobs(2000, seed=5, rate=0)
    accuracies = {}
    for share in (0.95, 0.5):
        keras.utils.set_random_seed(0)
        model = LDMIModel(keras.layers.Identity(), 4, share, second_stage_weight=1.0)
        model.compile(keras.optimizers.SGD(0.1), cross_entropy(), metrics=["accuracy"])
        model.fit(x, noisy, 100, epochs=40, verbose=0)
        accuracies[share] = model.evaluate(x_test, labels, verbose=0)[1]
    assert accuracies[0.5] > accuracies[0.95] + 0.03
