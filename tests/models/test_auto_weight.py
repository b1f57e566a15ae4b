"""Alpha that sets itself: against an oracle, in training, and what it refuses."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from model_harness import cross_entropy, dense, few

import keras_ncr
from keras_ncr.losses.consistency import Settings, neighbor_predictions
from keras_ncr.models import AutoWeight, ELRModel, NCRModel, SOPModel
from keras_ncr.models.auto_weight import (
    FEWEST_HELD_OUT,
    FIRST,
    GAIN,
    GAIN_PER_EPOCH,
    HELD_OUT_SHARE,
    LARGEST,
    TOLERANCE,
    WINDOW,
    excess_of,
    window_of,
)

NUM_EXAMPLES, NUM_CLASSES = 200, 3


def batch(seed, size=40):
    random = np.random.default_rng(seed)
    logits = random.normal(size=(size, NUM_CLASSES)).astype("float32")
    labels = random.integers(0, NUM_CLASSES, size)
    labels[: size // 2] = logits[: size // 2].argmax(1)
    labels[::7] = -1
    features = random.uniform(size=(size, 4)).astype("float32")
    return features, logits, labels, random.permutation(NUM_EXAMPLES)[:size]


def mean_of_neighbors(features, logits, num_neighbors):
    """The neighbors' mean prediction, one example after the other."""
    vectors = features / np.linalg.norm(features, axis=1, keepdims=True)
    predictions = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    means = []
    for row in range(len(features)):
        cosines = vectors @ vectors[row]
        others = np.delete(np.arange(len(features)), row)
        nearest = others[np.argsort(-cosines[others])[:num_neighbors]]
        means.append(np.average(predictions[nearest], axis=0, weights=cosines[nearest]))
    return np.array(means)


def test_neighbor_predictions_are_those_of_an_oracle():
    features, logits, *_ = batch(0)
    found = neighbor_predictions(features, tf.constant(logits), Settings(3))
    np.testing.assert_allclose(found, mean_of_neighbors(features, logits, 3), rtol=1e-4)
    blocks = Settings(3, rows_per_block=16)
    np.testing.assert_allclose(
        neighbor_predictions(features, tf.constant(logits), blocks), found, rtol=1e-5
    )


def excess_by_hand(sums, num_examples):
    own_hits, near_hits, trained, unseen_hits, unseen_near_hits, held_out = sums
    if not own_hits:
        return 0
    own, near, unseen, unseen_near = own_hits / trained, near_hits / trained, 0, 0
    if held_out:
        unseen, unseen_near = unseen_hits / held_out, unseen_near_hits / held_out
    error = np.sqrt(unseen * (1 - unseen) / (HELD_OUT_SHARE * num_examples))
    by_unseen = (own - unseen - error) / own - TOLERANCE
    by_neighbors = (own - near - max(unseen - unseen_near, 0)) / own - TOLERANCE
    fall = (unseen - unseen_near - error) / own - TOLERANCE
    return max(by_unseen, by_neighbors, 0) - max(fall, 0)


def test_weight_is_that_of_an_oracle_over_some_batches():
    layer = AutoWeight(NUM_EXAMPLES, Settings(3))
    is_held_out = layer.draws.rows.numpy()[:, 0] < HELD_OUT_SHARE
    assert 0 < is_held_out.sum() < 0.2 * NUM_EXAMPLES
    sums, lasting, weights = np.zeros(6), FIRST, []
    for seed in range(8):  # Of 40 examples each, 5 are an epoch.
        features, logits, labels, index = batch(seed)
        found = layer(features, logits, {"label": labels, "index": index})
        near = mean_of_neighbors(features, logits, 3)
        counts = np.zeros(6)
        for row, label in enumerate(labels):
            hit, near_hit = logits[row].argmax() == label, near[row].argmax() == label
            if label >= 0 and is_held_out[index[row]]:
                counts += [0, 0, 0, hit, near_hit, 1]
            elif label >= 0:
                counts += [hit, near_hit, 1, 0, 0, 0]
        window = FEWEST_HELD_OUT / (HELD_OUT_SHARE * NUM_EXAMPLES)
        decay = np.exp(-len(labels) / (window * NUM_EXAMPLES))
        sums = decay * sums + (1 - decay) * counts
        excess = excess_by_hand(sums, NUM_EXAMPLES) if seed >= 4 else 0
        lasting += GAIN_PER_EPOCH * len(labels) / NUM_EXAMPLES * excess
        lasting = min(max(lasting, 0), LARGEST)
        expected = min(max(lasting + GAIN * excess, 0), LARGEST)
        np.testing.assert_allclose(layer.sums, sums, rtol=1e-5)
        np.testing.assert_allclose(found, expected, atol=1e-5)
        weights.append(expected)
    assert weights[:4] == [FIRST] * 4 and weights[4] != FIRST


@pytest.mark.parametrize(
    ("own", "near", "unseen", "unseen_near", "expected"),
    [
        (0, 0, 0, 0, 0.0),
        (100, 100, 60, 60, 0.4 - TOLERANCE),  # Learned by heart, by neighbors too.
        (100, 60, 100, 100, 0.4 - TOLERANCE),  # By itself alone.
        (80, 80, 80, 80, 0.0),
        (60, 60, 90, 90, 0.0),
        (80, 40, 80, 40, TOLERANCE - 0.5),  # Neighbors know less.
        (80, 78, 78, 76, 0.0),  # Within the margin.
    ],
)
def test_excess_is_what_is_learned_by_heart_less_what_neighbors_lack(
    own, near, unseen, unseen_near, expected
):
    sums = [own, near, 100, unseen / 10, unseen_near / 10, 10]
    num_examples = 1e12  # No error.
    found = excess_of(tf.constant(sums, "float32"), num_examples)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_excess_is_beyond_the_error_of_few_examples():
    sums = np.array([80, 80, 100, 5, 5, 10], "float32")
    few, many = (excess_of(tf.constant(sums), number) for number in (400, 40_000))
    np.testing.assert_allclose(few, excess_by_hand(sums, 400), atol=1e-6)
    assert float(few) < float(many) - 0.1


@pytest.mark.parametrize(
    ("num_examples", "expected"), [(300, 10.0), (6_000, WINDOW), (50_000, WINDOW)]
)
def test_window_holds_enough_examples(num_examples, expected):
    assert window_of(num_examples) == pytest.approx(expected)


@pytest.mark.parametrize("form", ["numbers", "unsigned", "column", "one-hot"])
def test_labels_of_a_few_are_left_out(form):
    layer = AutoWeight(NUM_EXAMPLES)
    labels = np.arange(NUM_EXAMPLES) % NUM_CLASSES
    given = {
        "numbers": labels,
        "unsigned": labels.astype("uint8"),
        "column": labels[:, None],
        "one-hot": np.eye(NUM_CLASSES, dtype="float32")[labels],
    }[form]
    kept = layer.trained({"label": given, "index": np.arange(NUM_EXAMPLES)})["label"]
    is_held_out = layer.draws.rows.numpy()[:, 0] < HELD_OUT_SHARE
    np.testing.assert_array_equal(kept[~is_held_out], given[~is_held_out])
    assert np.all(kept[is_held_out] == -1)


def model_of(cls, **kwargs):
    backbone = keras.Sequential([dense(16, 1, activation="relu")])
    model = cls(backbone, NUM_CLASSES, classifier=dense(NUM_CLASSES, 2), **kwargs)
    model.compile(keras.optimizers.SGD(0.1), cross_entropy(), run_eagerly=True)
    return model


def data(num_examples=NUM_EXAMPLES):
    random = np.random.default_rng(0)
    x = random.normal(size=(num_examples, 5)).astype("float32")
    return x, random.integers(0, NUM_CLASSES, num_examples)


@pytest.mark.parametrize("cls", [NCRModel, ELRModel])
def test_labels_held_out_train_nothing(cls):
    x, labels = data()
    trained = []
    for shift in (0, 1):
        model = model_of(cls, consistency_weight="auto", num_examples=NUM_EXAMPLES)
        is_held_out = model.auto_weight.draws.rows.numpy()[:, 0] < HELD_OUT_SHARE
        y = np.where(is_held_out, (labels + shift) % NUM_CLASSES, labels)
        # One batch: alpha, which may look at these labels, comes after it.
        model.current_consistency_weight.assign(0.0)
        model.train_on_batch(x, {"label": y, "index": np.arange(NUM_EXAMPLES)})
        trained.append(model.classifier.kernel.numpy())
    assert is_held_out.any()
    np.testing.assert_array_equal(*trained)


def test_objective_and_logs_have_the_weight():
    x, labels = data()
    model = model_of(NCRModel, consistency_weight="auto")
    history = model.fit(x, labels, batch_size=NUM_EXAMPLES, epochs=2, verbose=0)
    (_, last) = history.history["consistency_weight"]
    assert last == pytest.approx(float(model.auto_weight.alpha), abs=1e-6)
    model.auto_weight.alpha.assign(0.25)
    logs = model.evaluate(x, labels, verbose=0, return_dict=True)
    parts = logs["classification_loss"], logs["neighbor_consistency_loss"]
    assert logs["loss"] == pytest.approx(0.75 * parts[0] + 0.25 * parts[1], rel=1e-4)
    assert logs["consistency_weight"] == 0.25
    # Lists of results are as of any Keras classifier.
    assert model.evaluate(x, labels, verbose=0) == pytest.approx(logs["loss"])


def test_weight_stays_zero_in_the_epochs_of_warm_up():
    x, labels = data()
    model = model_of(NCRModel, consistency_weight="auto", warmup_epochs=1)
    model.fit(x, labels, verbose=0)
    model.auto_weight.alpha.assign(0.5)
    assert float(model.alpha()) == 0.0
    model.current_consistency_weight.assign(model.largest_consistency_weight)
    assert float(model.alpha()) == 0.5


@pytest.mark.parametrize("cls", few(NCRModel, of=[NCRModel, ELRModel]))
def test_saved_model_goes_on_as_if_never_saved(cls, tmp_path):
    x, labels = data()
    model = model_of(cls, consistency_weight="auto")
    model.fit(x, labels, batch_size=50, shuffle=False, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    loaded.run_eagerly = True
    for one in (model, loaded):
        one.fit(x, labels, batch_size=50, shuffle=False, verbose=0)
    for left, right in zip(model.weights, loaded.weights, strict=True):
        np.testing.assert_array_equal(left, right)
    assert float(model.auto_weight.alpha) > 0


def test_unknown_word_names_the_one_there_is():
    with pytest.raises(ValueError, match=r"\['auto'\] or a number.*'automatic'.*Did"):
        NCRModel(keras.layers.Dense(3), 3, consistency_weight="automatic")


@pytest.mark.parametrize("cls", [SOPModel, keras_ncr.models.GJSModel])
def test_other_models_say_which_ones_take_it(cls):
    with pytest.raises(ValueError, match="NCRModel and keras_ncr.ELRModel take"):
        cls(keras.layers.Dense(3), 3, consistency_weight="auto")


def test_dataset_without_numbers_is_refused():
    x, labels = data(8)
    dataset = tf.data.Dataset.from_tensor_slices((x, labels)).batch(4)
    model = model_of(NCRModel, consistency_weight="auto", num_examples=8)
    with pytest.raises(ValueError, match='"label" and "index"'):
        model.fit(dataset, verbose=0)


def blobs(num_examples, rate):
    random = np.random.default_rng(0)
    centers = random.normal(size=(4, 8)) * 1.5
    labels = np.arange(num_examples) % 4
    x = centers[labels] + random.normal(size=(num_examples, 8))
    is_drawn = random.random(num_examples) < rate
    given = np.where(is_drawn, random.integers(0, 4, num_examples), labels)
    return x.astype("float32"), given, labels


@pytest.mark.slow
@pytest.mark.parametrize(
    ("cls", "weight", "least"), [(NCRModel, LARGEST, 0.7), (ELRModel, FIRST, 0.95)]
)
def test_what_is_learned_by_heart_raises_the_weight_and_else_it_stays(
    cls, weight, least
):
    ends = {}
    for rate in (0.0, 0.5):
        keras.utils.set_random_seed(0)
        x, given, labels = blobs(1024, rate)
        layers = [keras.layers.Dense(128, activation="relu") for _ in range(2)]
        model = cls(keras.Sequential(layers), 4, consistency_weight="auto")
        model.compile(
            keras.optimizers.Adam(1e-2), cross_entropy(), metrics=["accuracy"]
        )
        model.fit(x, given, batch_size=128, epochs=40, verbose=0)
        accuracy = model.evaluate(x, labels, verbose=0, return_dict=True)["accuracy"]
        ends[rate] = float(model.auto_weight.alpha), accuracy
    assert ends[0.0][0] == pytest.approx(FIRST) and ends[0.0][1] > 0.95
    # ELR learns none of these labels by heart; NCR alone does.
    assert ends[0.5][0] == pytest.approx(weight) and ends[0.5][1] > least
