"""LongReMix: the set that was long trusted, the second start, what it learns."""

import keras
import numpy as np
import pytest
from model_harness import WEIGHTS, X, blobs, compiled, cross_entropy, fit, new_model

from keras_ncr.models import DivideMixModel, LongReMixModel

# Whether the division trusts four labels, in six epochs.
HISTORY = np.array([[1, 1, 1, 1, 1, 1], [1, 0, 1, 1, 1, 1], [0, 1, 1, 1, 1, 1]])
HISTORY = np.vstack([HISTORY, [1, 1, 1, 1, 1, 0]])


def divided(monkeypatch, history, num_epochs=20, **arguments):
    """Yields a model after each division of a history, the same for both networks."""
    model = new_model("longremix", num_examples=len(history), **arguments)
    model.compile("sgd", cross_entropy(), run_eagerly=True)
    model(X)

    def divide(self, losses, is_first=False):
        self.clean_probabilities.rows.assign(losses)

    monkeypatch.setattr(DivideMixModel, "divide", divide)
    for epoch, trusted in enumerate(np.transpose(history)):
        assert model.begin_epoch(epoch, num_epochs) == epoch % (num_epochs // 2)
        model.divide(np.stack([0.6 + 0.3 * trusted] * 2, axis=1) * trusted[:, None])
        yield model


def test_golden_sets_of_labels_that_were_trusted_in_five_epochs(monkeypatch):
    sets = []
    for model in divided(monkeypatch, HISTORY, warmup_epochs=0, confident_epochs=5):
        for network in (0, 1):
            trust = model.clean_probabilities.rows[:, network]
            np.testing.assert_allclose(trust[trust > 0], 0.9, rtol=1e-6)
        sets.append(np.flatnonzero(trust).tolist())
    # Until there are five epochs, all that there are have to agree.
    assert sets == [[0, 1, 3], [0, 3], [0, 3], [0, 3], [0, 3], [0, 2]]
    # Of 10 epochs of the first stage the second half counts, and the latest of equals.
    np.testing.assert_array_equal(model.confidence.rows[:, 2], [1, 0, 1, 0])
    np.testing.assert_array_equal(model.confidence.rows[:, 0], [6, 4, 5, 0])


def test_the_largest_set_of_the_first_stages_second_half_is_kept(monkeypatch):
    history = np.array([[1, 1, 1, 1], [1, 1, 1, 0], [1, 0, 0, 1]])
    arguments = {"warmup_epochs": 0, "confident_epochs": 1}
    *_, model = divided(monkeypatch, history, 8, **arguments)
    # All three in the first epoch, which does not count; two in the third and fourth.
    np.testing.assert_array_equal(model.confidence.rows[:, 2], [1, 0, 1])


def test_the_second_stage_trusts_the_set_for_sure_and_divides_the_others(monkeypatch):
    for model in divided(monkeypatch, HISTORY, 10, warmup_epochs=0):
        if model.is_second_stage:
            break
        chosen = model.confidence.rows[:, 2].numpy() > 0
    assert chosen.tolist() == [True, False, False, True]
    expected = np.where(chosen, 1, 0.9 * HISTORY[:, 5])
    for network in (0, 1):
        np.testing.assert_allclose(
            model.clean_probabilities.rows[:, network], expected, rtol=1e-6
        )


def test_networks_have_sets_of_their_own(monkeypatch):
    (model,) = divided(monkeypatch, np.ones((3, 1)), warmup_epochs=0)
    model.begin_epoch(1, 20)
    model.divide(np.array([[0.9, 0.0], [0.0, 0.9], [0.9, 0.9]]))
    trusted = model.clean_probabilities.rows.numpy() > 0
    assert trusted.tolist() == [[True, False], [False, True], [True, True]]


class Seen(keras.callbacks.Callback):
    """Notes of each epoch the stage, the epoch in it, the phase, and the set."""

    def __init__(self):
        super().__init__()
        self.epochs, self.sets, self.weights = [], [], []

    def on_epoch_begin(self, epoch, logs=None):
        self.weights.append([w.numpy() for w in self.model.trainable_weights])

    def on_epoch_end(self, epoch, logs=None):
        model = self.model
        epoch = int(model.current_epoch)
        self.epochs.append((model.is_second_stage, epoch, model.is_divided))
        self.sets.append(model.confidence.rows.numpy()[:, 2])


def test_stages_warm_up_and_divide_and_the_second_starts_from_the_first_weights():
    seen = Seen()
    fit(compiled("longremix"), epochs=7, batch_size=24, callbacks=[seen])
    first = [(False, 0, False), *[(False, epoch, True) for epoch in (1, 2, 3)]]
    second = [(True, 0, False), *[(True, epoch, True) for epoch in (1, 2)]]
    assert seen.epochs == first + second
    for one, two in zip(seen.weights[0], seen.weights[4], strict=True):
        np.testing.assert_array_equal(one, two)
    assert any(
        np.any(one != two)
        for one, two in zip(seen.weights[0], seen.weights[3], strict=True)
    )
    # The set stays as it is in the second stage.
    for later in seen.sets[4:]:
        np.testing.assert_array_equal(later, seen.sets[3])


@pytest.mark.slow
def test_warmup_has_a_history_too():
    model = compiled("longremix", {"warmup_epochs": 4})
    fit(model, epochs=6)  # Of which three belong to each stage: only warm-up.
    assert not model.is_divided
    assert set(np.unique(model.confidence.rows[:, :2])) <= {0, 1, 2}
    assert np.any(model.confidence.rows[:, :2])


def test_a_callback_list_without_epochs_is_refused():
    model = compiled("longremix")
    callbacks = keras.callbacks.CallbackList([], model=model, add_history=True)
    with pytest.raises(ValueError, match="CallbackList made with `epochs`"):
        fit(model, callbacks=callbacks)


@pytest.mark.slow
def test_two_replicas_train_as_one_device(two_replicas):
    one = compiled("longremix")
    with two_replicas.scope():
        two = compiled("longremix", run_eagerly=False)
    histories = [
        fit(model, epochs=4, sample_weight=WEIGHTS)["loss"] for model in (one, two)
    ]
    np.testing.assert_allclose(*histories, rtol=1e-4)
    for ours, theirs in zip(one.weights, two.weights, strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), atol=1e-4)


@pytest.mark.slow
def test_it_learns_more_than_its_warmup_from_wrong_labels():
    x, clean, noisy = blobs(512, seed=0)
    x_test, labels, _ = blobs(2000, seed=5)
    accuracies = []
    for warmup_epochs in (60, 5):  # The first does not get beyond warm-up.
        keras.utils.set_random_seed(0)
        backbones = [
            keras.Sequential([keras.layers.Dense(128, "relu") for _ in range(2)])
            for _ in range(2)
        ]
        model = LongReMixModel(
            backbones, 4, warmup_epochs=warmup_epochs, unlabeled_weight=1.0
        )
        optimizer = keras.optimizers.Adam(3e-3)
        model.compile(optimizer, cross_entropy(), metrics=["accuracy"])
        model.fit(x, noisy, 64, 60, 0)
        accuracies.append(model.evaluate(x_test, labels, verbose=0)[1])
    assert accuracies[1] > accuracies[0] + 0.1
    chosen = model.confidence.rows[:, 2].numpy() > 0
    assert np.mean(noisy[chosen] == clean[chosen]) > 0.95
