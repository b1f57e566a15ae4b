"""Tests of non_finite.py: what is said of a loss that is not finite."""

import pytest

from keras_ncr.experiments.trials.non_finite import FailAtNonFiniteLoss, NonFiniteLoss


def callback(examples):
    """Returns the callback in the third of several epochs of ten steps."""
    callback = FailAtNonFiniteLoss(10, lambda step: step / 100, lambda *at: examples)
    callback.on_epoch_begin(2)
    return callback


@pytest.mark.parametrize("loss", [float("nan"), float("inf"), float("-inf")])
def test_step_rate_and_indices_are_in_the_message(loss):
    with pytest.raises(NonFiniteLoss) as error:
        callback({"indices": [7, 3]}).on_train_batch_end(4, {"loss": loss})
    assert str(error.value) == (
        f"The loss became {loss} in epoch 3, step 5 (25 of the run), at a learning "
        "rate of 0.24. The batch held the examples 7, 3. Look at these, or lower the "
        "learning rate."
    )
    assert error.value.place == {
        "epoch": 3,
        "step": 5,
        "step_of_run": 25,
        "learning_rate": 0.24,
        "indices": [7, 3],
    }


def test_ids_are_named_with_the_first_indices():
    examples = {"indices": list(range(7)), "ids": [f"cat/{i}.jpg" for i in range(7)]}
    with pytest.raises(NonFiniteLoss) as error:
        callback(examples).on_train_batch_end(0, {"loss": float("nan")})
    assert (
        "held the examples 0 ('cat/0.jpg'), 1 ('cat/1.jpg'), 2 ('cat/2.jpg'), "
        "3 ('cat/3.jpg'), 4 ('cat/4.jpg') and 2 others, all in result.json."
    ) in str(error.value)
    assert error.value.place["ids"] == examples["ids"]


def test_loss_on_the_test_images_belongs_to_no_batch():
    with pytest.raises(NonFiniteLoss, match="on the test images after step 10"):
        callback(None).on_epoch_end(2, {"loss": 1.0, "val_loss": float("nan")})


@pytest.mark.parametrize("logs", [None, {}, {"loss": 1.0, "val_loss": 2.0}])
def test_finite_losses_and_none_are_let_through(logs):
    callback(None).on_train_batch_end(0, logs)
    callback(None).on_epoch_end(2, logs)
