"""DivideMix: the division by losses, targets and mixtures, a step, a learned task."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_ncr.models.co_divide import CoDivide, clean_probabilities, normalized
from keras_ncr.models.divide_mix import DivideMixModel
from keras_ncr.models.mix_match import (
    entropy,
    imbalance,
    mean_of_views,
    mix_match_loss,
    sharpen,
)
from keras_ncr.pipelines.mixture import Mixture

X = np.random.default_rng(0).normal(size=(24, 5)).astype("float32")
Y = np.random.default_rng(1).integers(0, 3, 24)
INDEX = np.arange(24)
# Of rows whose labels both, one or none of the networks trust.
TRUST = np.random.default_rng(2).uniform(size=(24, 2)).astype("float32")


def make(cls=DivideMixModel, regularizer=None, optimizer=None, eager=True, **kwargs):
    keras.utils.set_random_seed(1)
    backbones = [
        keras.Sequential(
            [keras.layers.Dense(4, "tanh", kernel_regularizer=regularizer)]
        )
        for _ in range(2)
    ]
    model = cls(backbones, 3, **kwargs)
    model.compile(
        optimizer or keras.optimizers.SGD(0.1),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        run_eagerly=eager,
    )
    return model


def batches(x=X, y=Y, index=INDEX, size=8, num_views=1):
    """Batches with the views of an example in neighboring rows, without any change."""
    x, y, index = (np.repeat(rows, num_views, axis=0) for rows in (x, y, index))
    arrays = x, {"label": y, "index": index}
    return tf.data.Dataset.from_tensor_slices(arrays).batch(size * num_views)


def values_of(variables):
    return [np.array(variable) for variable in variables]


def assert_close(one, other, tolerance=1e-5):
    np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance)


# The division


def test_losses_are_normalized_to_zero_and_one():
    assert normalized([3.0, 1.0, 2.0]).tolist() == [1.0, 0.0, 0.5]
    assert normalized([2.0, 2.0]).tolist() == [0.0, 0.0]


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_losses_that_are_not_finite_are_refused(wrong):
    with pytest.raises(ValueError, match="position 1.*diverged"):
        normalized([1.0, wrong, 2.0])


def test_mixture_finds_the_wrong_labels_of_a_bimodal_loss():
    rng = np.random.default_rng(0)
    is_wrong = rng.uniform(size=1000) < 0.4
    losses = np.where(is_wrong, rng.normal(3, 0.5, 1000), rng.exponential(0.3, 1000))
    probabilities = clean_probabilities(normalized(losses))
    assert np.mean((probabilities < 0.5) == is_wrong) > 0.98
    assert probabilities.min() >= 0 and probabilities.max() <= 1


def test_losses_far_apart_divide_for_sure_and_higher_ones_are_trusted_less():
    far = np.concatenate([np.full(30, 0.0), np.full(20, 1.0)])
    assert_close(clean_probabilities(far), 1 - far)
    losses = np.sort(np.random.default_rng(0).uniform(size=50) ** 2)
    assert np.all(np.diff(clean_probabilities(losses)[:25]) <= 1e-9)


def test_division_does_not_depend_on_the_order_and_is_the_same_again():
    losses = np.random.default_rng(0).normal(size=60)
    order = np.random.default_rng(1).permutation(60)
    once = clean_probabilities(losses, seed=3)
    np.testing.assert_array_equal(once, clean_probabilities(losses, seed=3))
    assert_close(once[order], clean_probabilities(losses[order], seed=3), 0.02)


@pytest.mark.parametrize("losses", [[0.5], [0.0, 0.0, 0.0]])
def test_equal_losses_leave_all_labels_trusted(losses):
    assert clean_probabilities(losses).tolist() == [1.0] * len(losses)


def test_division_by_several_epochs_averages_their_normalized_losses():
    model = make(num_examples=24, averaged_epochs=2, seed=5)
    first, second, third = np.random.default_rng(0).uniform(size=(3, 24, 2))
    model.divide(first, is_first=True)
    for network in (0, 1):
        expected = clean_probabilities(normalized(first[:, network]), seed=5)
        assert_close(model.clean_probabilities.rows[:, network], expected, 1e-3)
    model.divide(second)
    model.divide(third)
    for network in (0, 1):
        mean = normalized(second[:, network]) + normalized(third[:, network])
        expected = clean_probabilities(mean / 2, seed=5)
        assert_close(model.clean_probabilities.rows[:, network], expected, 1e-3)
    # A run that starts again forgets the losses of the one before.
    model.divide(first, is_first=True)
    expected = clean_probabilities(normalized(first[:, 1]), seed=5)
    assert_close(model.clean_probabilities.rows[:, 1], expected, 1e-3)


def test_labels_that_the_loss_ignores_are_never_trusted():
    model = make(num_examples=24, averaged_epochs=2)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=-1)
    model.compile("sgd", loss, run_eagerly=True)
    is_labeled = INDEX % 4 > 0
    co_divide = CoDivide(batches(y=np.where(is_labeled, Y, -1)))
    co_divide.set_model(model)
    co_divide.on_train_begin()
    losses = co_divide.look()
    assert np.all(losses[~is_labeled] == -1) and np.all(losses[is_labeled] > 0)
    for _ in range(2):  # The mean of equal epochs is that of one.
        model.divide(losses)
    rows = model.clean_probabilities.rows.numpy()
    assert not rows[~is_labeled].any()
    expected = clean_probabilities(normalized(losses[is_labeled, 0]))
    assert_close(rows[is_labeled, 0], expected, 1e-3)
    with pytest.raises(ValueError, match="`y` must hold a label for some examples"):
        model.divide(np.full((24, 2), -1.0))


def test_examples_without_a_label_train_by_guesses():
    model = make(warmup_epochs=1, optimizer=keras.optimizers.SGD(0.1))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=-1)
    model.compile(model.optimizer, loss, run_eagerly=True)
    model.fit(X, np.where(INDEX % 4, Y, -1), 12, 3, 0)
    assert all(np.all(np.isfinite(value)) for value in values_of(model.weights))


def test_look_takes_each_networks_losses_in_evaluation_form():
    model = make(num_examples=24)
    order = np.random.default_rng(0).permutation(24)
    co_divide = CoDivide(batches(X[order], Y[order], order, size=7))
    co_divide.set_model(model)
    co_divide.on_train_begin()
    logits = [np.array(network(X), "float64") for network in model.networks]
    expected = [
        [np.log(np.exp(row).sum()) - row[y] for row, y in zip(z, Y, strict=True)]
        for z in logits
    ]
    assert_close(co_divide.look(), np.transpose(expected))
    one_hot = CoDivide(batches(y=np.eye(3)[Y]))
    one_hot.set_model(model)
    one_hot.on_train_begin()
    assert_close(one_hot.look(), np.transpose(expected))


@pytest.mark.parametrize(
    ("index", "message"),
    [
        (np.arange(24) % 23, "index 0 2 times"),
        (np.arange(1, 25), r"0\.\.23.*17 to 24"),
        (np.arange(-1, 23), r"0\.\.23.*-1 to 6"),
    ],
)
def test_division_needs_every_example_once(index, message):
    model = make(num_examples=24, warmup_epochs=0)
    with pytest.raises(ValueError, match=message):
        model.fit(batches(), callbacks=[CoDivide(batches(index=index))], verbose=0)


# Parts of the step


def oracle_sharpen(row, temperature):
    powers = [p ** (1 / temperature) for p in row]
    return np.array([power / sum(powers) for power in powers])


def oracle_softmax(row):
    powers = np.exp(np.asarray(row, "float64") - np.max(row))
    return powers / powers.sum()


def oracle_targets(labels, trust, predictions, own, num_views=1, temperature=0.5):
    """Row by row, in the words of the paper: co-refinement and co-guessing."""
    targets, is_labeled = [], []
    for row, label in enumerate(labels):
        first = row - row % num_views
        views = range(first, first + num_views)
        mean_own = np.mean([predictions[own][view] for view in views], axis=0)
        mean_other = np.mean([predictions[1 - own][view] for view in views], axis=0)
        clean = trust[row][1 - own]
        if clean > 0.5:
            target = clean * np.eye(3)[label] + (1 - clean) * mean_own
        else:
            target = (mean_own + mean_other) / 2
        targets.append(oracle_sharpen(target, temperature))
        is_labeled.append(clean > 0.5)
    return np.array(targets), np.array(is_labeled)


def oracle_loss(logits, targets, is_labeled, unlabeled_weight, weight=None):
    probabilities = np.array([oracle_softmax(row) for row in logits])
    weight = np.ones(len(logits)) if weight is None else weight
    labeled, unlabeled = [], []
    for p, t, w, is_one in zip(probabilities, targets, weight, is_labeled, strict=True):
        if is_one:
            labeled.append(-w * sum(t * np.log(p)))
        else:
            unlabeled.append(w * np.mean((p - t) ** 2))
    mean = probabilities.mean(axis=0)
    penalty = sum(np.log(1 / 3 / share) / 3 for share in mean)
    supervised = np.mean(labeled) if labeled else 0.0
    guessed = np.mean(unlabeled) if unlabeled else 0.0
    return supervised + unlabeled_weight * guessed + penalty


@pytest.mark.parametrize("temperature", [0.1, 0.5, 1.0, 3.0])
def test_sharpening_matches_the_formula(temperature):
    rows = np.random.default_rng(0).dirichlet(np.ones(4), 6)
    expected = [oracle_sharpen(row, temperature) for row in rows]
    assert_close(sharpen(rows, temperature), expected)


def test_sharpening_an_impossible_or_tiny_probability_is_finite():
    rows = tf.constant([[1.0, 0.0, 0.0], [0.4, 0.4, 0.2]])
    sharpened = sharpen(rows, 0.001).numpy()
    assert_close(sharpened, [[1, 0, 0], [0.5, 0.5, 0]])


def test_mean_of_views_is_over_neighboring_rows():
    rows = np.arange(8.0).reshape(4, 2)
    assert mean_of_views(rows, 1).numpy().tolist() == rows.tolist()
    expected = [[1, 2], [1, 2], [5, 6], [5, 6]]
    assert mean_of_views(rows, 2).numpy().tolist() == expected


def test_mixing_compiles_with_xla():
    model = make()

    def draw():
        mix = model.drawn_mixture(6)
        return mix.owner_weights, mix.partners

    share, partners = tf.function(draw, jit_compile=True, autograph=False)()
    assert 0.5 <= float(share) <= 1
    assert sorted(partners.numpy()) == list(range(6))


def test_rows_get_at_least_half_and_partners_anew_in_each_draw():
    model = make(mixup_alpha=4.0, seed=3)
    draws = [model.drawn_mixture(6) for _ in range(8)]
    shares = np.array([float(mix.owner_weights) for mix in draws])
    assert shares.min() >= 0.5 and shares.max() <= 1
    assert len(set(shares)) == 8
    assert all(sorted(mix.partners.numpy()) == list(range(6)) for mix in draws)
    assert len({tuple(mix.partners.numpy()) for mix in draws}) > 4


def test_entropy_matches_closed_forms():
    assert_close(entropy(tf.zeros([1, 4])), [np.log(4)])
    assert_close(entropy(tf.constant([[1000.0, 0.0]])), [0.0])


def test_even_mean_prediction_costs_nothing_and_a_missing_class_is_finite():
    assert_close(imbalance(tf.eye(3)), 0.0)
    assert 0 < float(imbalance(tf.constant([[1.0, 0.0, 0.0]]))) < 20


@pytest.mark.parametrize("num_views", [1, 2])
@pytest.mark.parametrize("form", ["numbers", "column", "one-hot"])
def test_targets_match_the_oracle(num_views, form):
    model = make(num_examples=24, num_views=num_views)
    model.clean_probabilities.rows.assign(TRUST)
    rows = np.repeat([3, 11, 0, 7, 20], num_views)
    labels = {
        "numbers": Y[rows],
        "column": Y[rows, None],
        "one-hot": np.eye(3)[Y[rows]],
    }
    rng = np.random.default_rng(0)
    predictions = rng.dirichlet(np.ones(3), (2, len(rows))).astype("float32")
    targets, is_labeled = model.targets(
        {"label": labels[form], "index": rows}, list(predictions)
    )
    for own in (0, 1):
        expected, counts = oracle_targets(
            Y[rows], TRUST[rows], predictions, own, num_views
        )
        assert_close(targets[own], expected)
        assert is_labeled[own].numpy().tolist() == counts.tolist()


@pytest.mark.parametrize("labeled", ["some", "all", "none"])
@pytest.mark.parametrize("weighted", [False, True])
def test_loss_matches_the_oracle(labeled, weighted):
    rng = np.random.default_rng(0)
    logits, targets = rng.normal(size=(6, 3)), rng.dirichlet(np.ones(3), 6)
    is_labeled = {"some": INDEX[:6] % 3 == 0, "all": INDEX[:6] >= 0}.get(
        labeled, INDEX[:6] < 0
    )
    weight = rng.uniform(size=6) if weighted else None
    loss = mix_match_loss(
        tf.constant(logits, "float32"),
        tf.constant(targets, "float32"),
        tf.constant(is_labeled),
        unlabeled_weight=7.0,
        sample_weight=weight,
    )
    assert_close(loss, oracle_loss(logits, targets, is_labeled, 7.0, weight))


@pytest.mark.parametrize("labeled", ["some", "all", "none"])
def test_gradient_of_the_loss_matches_differences_of_the_oracle(labeled):
    rng = np.random.default_rng(0)
    logits, targets = rng.normal(size=(4, 3)), rng.dirichlet(np.ones(3), 4)
    is_labeled = {"some": INDEX[:4] % 2 == 0, "all": INDEX[:4] >= 0}.get(
        labeled, INDEX[:4] < 0
    )
    variable = tf.constant(logits, "float32")
    with tf.GradientTape() as tape:
        tape.watch(variable)
        loss = mix_match_loss(
            variable, tf.constant(targets, "float32"), tf.constant(is_labeled), 7.0
        )
    gradient = tape.gradient(loss, variable).numpy()
    for place in np.ndindex(logits.shape):
        step = np.zeros_like(logits)
        step[place] = 1e-5
        ahead = oracle_loss(logits + step, targets, is_labeled, 7.0)
        behind = oracle_loss(logits - step, targets, is_labeled, 7.0)
        assert_close(gradient[place], (ahead - behind) / 2e-5, 1e-4)


@pytest.mark.parametrize(
    ("ramp_epochs", "epoch", "expected"),
    [(16, 10, 0.0), (16, 14, 6.25), (16, 26, 25.0), (16, 90, 25.0), (0, 10, 25.0)],
)
def test_weight_of_unlabeled_rows_ramps_up_after_warmup(ramp_epochs, epoch, expected):
    model = make(ramp_epochs=ramp_epochs)
    model.begin_epoch(epoch)
    assert float(model.current_weight()) == pytest.approx(expected)


# One step


class Fixed(DivideMixModel):
    """Mixes with a share and partners that are known."""

    share = 0.7

    def drawn_mixture(self, num_rows):
        return Mixture(self.share, tf.roll(tf.range(num_rows), 3, axis=0))


def divided(model, epoch=12):
    """The model in the midst of training, with a division that is known."""
    if model.num_examples is not None:
        model.clean_probabilities.rows.assign(TRUST)
    model.begin_epoch(epoch)
    return model


def oracle_objectives(model, x, index, unlabeled_weight, num_views=1, weight=None):
    """Both networks' losses, from forward passes in float64 of their weights."""

    def forward(network, rows):
        dense, classifier = network.backbone.layers[0], network.classifier
        kernels = [np.array(v, "float64") for v in dense.weights + classifier.weights]
        hidden = np.tanh(rows @ kernels[0] + kernels[1])
        return hidden @ kernels[2] + kernels[3]

    logits = [forward(network, x) for network in model.networks]
    predictions = [np.array([oracle_softmax(row) for row in z]) for z in logits]
    losses = []
    for own in (0, 1):
        targets, is_labeled = oracle_targets(
            Y[index], TRUST[index], predictions, own, num_views
        )
        mixed_x = 0.7 * x + 0.3 * np.roll(x, 3, axis=0)
        mixed_targets = 0.7 * targets + 0.3 * np.roll(targets, 3, axis=0)
        mixed = forward(model.networks[own], mixed_x)
        losses.append(
            oracle_loss(mixed, mixed_targets, is_labeled, unlabeled_weight, weight)
        )
    return losses, np.mean(logits, axis=0)


@pytest.mark.parametrize("num_views", [1, 2])
@pytest.mark.parametrize("weighted", [False, True])
def test_step_minimizes_the_loss_of_the_oracle(num_views, weighted):
    model = divided(make(Fixed, num_examples=24, num_views=num_views))
    index = np.repeat(INDEX[:8], num_views)
    noise = np.random.default_rng(3).normal(0, 0.1, (len(index), 5))
    x = (X[index] + noise).astype("float32")
    weight = np.linspace(0.5, 1.5, len(index)) if weighted else None
    model(x)
    # Two of the ramp's 16 epochs have passed.
    expected, mean_logits = oracle_objectives(
        model, x.astype("float64"), index, 25 * 2 / 16, num_views, weight
    )
    y = {"label": Y[index], "index": index}
    objectives, logits = model.network_objectives(x, y, weight)
    assert_close(objectives, expected)
    assert_close(logits, mean_logits)


def test_step_moves_weights_down_the_gradient_of_the_mixtures_alone():
    model = make(Fixed, num_examples=24)
    model(X)
    divided(model)
    batch = X[:8], {"label": Y[:8], "index": INDEX[:8]}
    (losses, _), start = model.network_objectives(*batch), values_of(model.weights)
    kernel = model.networks[0].classifier.kernel
    # Targets are constants: their values at the start, in the oracle's loss.
    logits = [np.array(network(X[:8])) for network in model.networks]
    predictions = [np.array([oracle_softmax(row) for row in z]) for z in logits]
    targets, is_labeled = oracle_targets(Y[:8], TRUST[:8], predictions, 0)
    mixed_targets = 0.7 * targets + 0.3 * np.roll(targets, 3, axis=0)
    mixed_x = 0.7 * X[:8] + 0.3 * np.roll(X[:8], 3, axis=0)
    hidden = np.array(model.networks[0].backbone(mixed_x), "float64")
    bias = np.array(model.networks[0].classifier.bias)

    def loss_of(values):
        logits = hidden @ values + bias
        return oracle_loss(logits, mixed_targets, is_labeled, 25 * 2 / 16)

    before = np.array(kernel, "float64")
    assert loss_of(before) == pytest.approx(float(losses[0]), abs=1e-5)
    model.train_on_batch(*batch)
    for place in np.ndindex(before.shape):
        step = np.zeros_like(before)
        step[place] = 1e-5
        slope = (loss_of(before + step) - loss_of(before - step)) / 2e-5
        assert_close(np.array(kernel)[place] - before[place], -0.1 * slope, 1e-4)
    assert any(np.any(a != b) for a, b in zip(start, model.weights, strict=True))


@pytest.mark.parametrize("trust", [0.0, 1.0])
def test_batch_without_labeled_or_unlabeled_rows_trains_finitely(trust):
    model = divided(make(num_examples=24))
    model.clean_probabilities.rows.assign(np.full((24, 2), trust))
    logs = model.train_on_batch(
        X[:1], {"label": Y[:1], "index": INDEX[:1]}, return_dict=True
    )
    assert np.isfinite(logs["loss"])
    assert all(np.all(np.isfinite(value)) for value in values_of(model.weights))


def test_consistency_joins_by_eq_4_on_the_mixed_rows():
    model = divided(make(Fixed, num_examples=24, consistency_weight=0.25))
    y = {"label": Y[:8], "index": INDEX[:8]}
    model.current_consistency_weight.assign(0.0)
    alone, _ = model.network_objectives(X[:8], y)
    model.current_consistency_weight.assign(0.25)
    joined, _ = model.network_objectives(X[:8], y)
    mixed_x = 0.7 * X[:8] + 0.3 * np.roll(X[:8], 3, axis=0)
    for network, one, both in zip(model.networks, alone, joined, strict=True):
        consistency = model.consistency_loss(*network(mixed_x, return_features=True))
        expected = 0.75 * float(one) + 0.25 * float(tf.reduce_mean(consistency))
        assert float(both) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("penalize", [False, True])
def test_warmup_is_cross_entropy_and_rewards_entropy_if_asked(penalize):
    model = make(penalize_confidence=penalize)
    model(X)
    objectives, logits = model.network_objectives(X, Y)
    assert_close(logits, model(X))
    for network, objective in zip(model.networks, objectives, strict=True):
        rows = [oracle_softmax(row) for row in np.array(network(X))]
        expected = np.mean([-np.log(p[y]) for p, y in zip(rows, Y, strict=True)])
        if penalize:
            expected += np.mean([sum(p * np.log(p)) for p in rows])
        assert float(objective) == pytest.approx(expected, abs=1e-5)


def test_inputs_of_several_parts_are_mixed_part_by_part():
    model = make(Fixed)
    parts = {"a": X[:6], "b": np.arange(6, dtype="uint8")}
    mixed, targets = model.mixed(parts, np.eye(6, dtype="float32"))
    assert_close(mixed["a"], 0.7 * X[:6] + 0.3 * np.roll(X[:6], 3, axis=0))
    assert_close(mixed["b"], 0.7 * np.arange(6) + 0.3 * np.array([3, 4, 5, 0, 1, 2]))
    assert_close(targets, 0.7 * np.eye(6) + 0.3 * np.roll(np.eye(6), 3, axis=0))


# In fit


class Phases(keras.callbacks.Callback):
    """Remembers the phase and the division of each epoch."""

    def __init__(self):
        super().__init__()
        self.phases, self.divisions = [], []

    def on_epoch_end(self, epoch, logs=None):
        self.phases.append((int(self.model.current_epoch), self.model.is_divided))
        self.divisions.append(self.model.clean_probabilities.rows.numpy())


def test_fit_on_arrays_divides_after_warmup():
    phases = Phases()
    history = make(warmup_epochs=1).fit(X, Y, 24, 3, 0, [phases]).history
    assert phases.phases == [(0, False), (1, True), (2, True)]
    assert not np.any(phases.divisions[0])
    assert np.any(phases.divisions[2] != phases.divisions[1])
    assert sorted(history) == ["accuracy", "loss"]


def test_a_resumed_run_knows_its_phase_and_a_second_one_starts_again():
    phases, model = Phases(), make(warmup_epochs=1)
    model.fit(X, Y, 24, 2, 0, [phases], initial_epoch=1)
    model.fit(X, Y, 24, 1, 0, [phases])
    assert phases.phases == [(1, True), (0, False)]


class Draws(keras.callbacks.Callback):
    """Remembers how many random numbers there have been."""

    def __init__(self):
        super().__init__()
        self.states = []

    def on_epoch_end(self, epoch, logs=None):
        self.states.append(self.model.seed_generator.state.numpy().tolist())


@pytest.mark.slow
def test_warmup_ends_in_a_compiled_step_too():
    draws = Draws()
    make(warmup_epochs=1, eager=False).fit(X, Y, 24, 3, 0, [draws])
    at_start, once, twice = draws.states
    assert at_start == make().seed_generator.state.numpy().tolist()
    assert at_start != once and once != twice


@pytest.mark.parametrize("num_views", [1, 2])
def test_fit_on_a_dataset_divides_by_the_dataset_given(num_views):
    model = make(num_examples=24, warmup_epochs=1, num_views=num_views)
    data = batches(num_views=num_views, size=12)
    history = model.fit(data, epochs=2, callbacks=CoDivide(batches()), verbose=0)
    assert np.all(np.isfinite(history.history["loss"]))
    assert np.all(np.ptp(model.clean_probabilities.rows.numpy(), axis=0) > 0)


def test_callback_list_gets_a_division_too():
    model = make(warmup_epochs=0)
    callbacks = keras.callbacks.CallbackList(
        [], model=model, add_history=True, epochs=1
    )
    model.fit(X, Y, epochs=1, callbacks=callbacks, verbose=0)
    assert model.is_divided


def test_examples_kept_for_validation_are_not_divided():
    model = make(warmup_epochs=0)
    history = model.fit(X, Y, epochs=1, validation_split=0.25, verbose=0).history
    assert model.num_examples == 18
    assert {"val_loss", "val_accuracy"} <= set(history)


def test_inputs_in_a_list_and_labels_in_a_dict_are_divided():
    class TwoInputs(keras.layers.Layer):
        def call(self, inputs):
            return keras.ops.concatenate(inputs, axis=1)

    backbones = [keras.Sequential([TwoInputs(), keras.layers.Dense(4)]) for _ in "12"]
    model = DivideMixModel(backbones, 3, warmup_epochs=0)
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss, run_eagerly=True)
    model.fit([X, X[:, :2]], {"label": np.eye(3)[Y]}, epochs=1, verbose=0)
    assert model.is_divided


def test_half_precision_step_moves_weights_as_a_whole_one_does():
    moves = []
    for policy in ("float32", "mixed_float16"):
        keras.config.set_dtype_policy(policy)
        model = make(Fixed, num_examples=24)
        model(X)
        divided(model)
        start = values_of(model.trainable_variables)
        model.train_on_batch(X[:8], {"label": Y[:8], "index": INDEX[:8]})
        ends = values_of(model.trainable_variables)
        moves.append([a - b for a, b in zip(ends, start, strict=True)])
    for whole, half in zip(*moves, strict=True):
        assert_close(half, whole, 3e-3)
    assert max(np.abs(move).max() for move in moves[0]) > 1e-2


def assert_replicas_train_as_one_device(strategy, epochs, **kwargs):
    runs = []
    # One compiled step is slow enough.
    for scope, eager in [(tf.distribute.get_strategy(), True), (strategy, False)]:
        with scope.scope():
            arguments = {"ramp_epochs": 0, "regularizer": "l2"} | kwargs
            model = make(eager=eager, num_examples=24, **arguments)
            model(X)
        # Behind two batches of 10, a rest of 4 rows.
        history = model.fit(X, Y, 10, epochs, 0, shuffle=False).history
        runs.append((history, values_of(model.weights)))
    (history, weights), (distributed_history, distributed_weights) = runs
    for name in ("loss", "accuracy"):
        assert_close(history[name], distributed_history[name], 1e-4)
    for one, other in zip(weights, distributed_weights, strict=True):
        assert_close(one, other, 1e-4)


@pytest.mark.slow
def test_two_replicas_train_as_one_device(two_replicas):
    assert_replicas_train_as_one_device(two_replicas, 1, warmup_epochs=0)


@pytest.mark.slow
def test_two_replicas_warm_up_and_join_consistency_as_one_device(two_replicas):
    assert_replicas_train_as_one_device(
        two_replicas,
        3,
        warmup_epochs=1,
        penalize_confidence=True,
        consistency_weight=0.3,
    )


# What it is for


def blobs(seed, num_examples):
    rng = np.random.default_rng(seed)
    centers = 1.5 * np.random.default_rng(9).normal(size=(4, 8))
    labels = rng.integers(0, 4, num_examples)
    return (centers[labels] + rng.normal(size=(num_examples, 8))).astype(
        "float32"
    ), labels


@pytest.mark.slow
def test_learns_from_wrong_labels_what_cross_entropy_does_not():
    (x, clean), (test_x, test_y) = blobs(0, 512), blobs(1, 512)
    rng = np.random.default_rng(2)
    is_wrong = rng.uniform(size=512) < 0.4
    labels = np.where(is_wrong, (clean + rng.integers(1, 4, 512)) % 4, clean)
    accuracies = []
    for warmup_epochs in (40, 5):  # The first does not get beyond warm-up.
        keras.utils.set_random_seed(0)
        backbones = [
            keras.Sequential([keras.layers.Dense(128, "relu") for _ in range(2)])
            for _ in range(2)
        ]
        model = DivideMixModel(
            backbones, 4, warmup_epochs=warmup_epochs, unlabeled_weight=1.0
        )
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.Adam(3e-3), loss, metrics=["accuracy"])
        model.fit(x, labels, 64, 40, 0)
        accuracies.append(model.evaluate(test_x, test_y, verbose=0)[1])
    assert accuracies[1] > accuracies[0] + 0.15
    trust = model.clean_probabilities.rows.numpy().mean(axis=1)
    assert np.mean((trust < 0.5) == is_wrong) > 0.9


# Bad input


def test_dataset_without_a_division_is_refused_with_what_to_pass():
    model = make(num_examples=24)
    with pytest.raises(ValueError, match=r"CoDivide.*evaluation_batches"):
        model.fit(batches(), verbose=0)


def test_dataset_without_numbers_or_a_count_is_refused():
    plain = tf.data.Dataset.from_tensor_slices((X, Y)).batch(8)
    with pytest.raises(ValueError, match='"index"'):
        make(num_examples=24).fit(plain, callbacks=[CoDivide(batches())])
    with pytest.raises(ValueError, match="`num_examples` must be given"):
        make().fit(batches(), callbacks=[CoDivide(batches())])
    with pytest.raises(ValueError, match="`dataset` must be .*index"):
        CoDivide(plain)


def test_arrays_cannot_be_several_views():
    with pytest.raises(ValueError, match="num_views=2.*second_view"):
        make(num_views=2).fit(X, Y)


def test_rows_that_are_no_views_are_refused():
    model = make(num_examples=24, num_views=2)
    with pytest.raises(tf.errors.InvalidArgumentError, match="2 views of each example"):
        model.fit(batches(), callbacks=[CoDivide(batches())], verbose=0)
