"""Examples of no class: found in training, left out, and told to the audit."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from model_harness import cross_entropy, dense
from scipy.special import logsumexp

import keras_ncr
from keras_ncr.models import ELRModel, NCRModel, OutlierRejection, SOPModel
from keras_ncr.models.outlier_rejection import (
    LARGEST_SHARE,
    MOMENTUM,
    THRESHOLD_MOMENTUM,
)


def test_averages_threshold_and_labels_are_those_of_an_oracle():
    layer = OutlierRejection(0.25, num_examples=12)
    averages, weights, threshold = np.zeros(12), np.zeros(12), 0.0
    for step in range(6):  # Two are an epoch.
        random = np.random.default_rng(step)
        index, labels = random.permutation(12)[:6], random.integers(0, 3, 6)
        logits = random.normal(size=(6, 3)).astype("float32")
        y = {"label": labels, "index": index}
        kept = layer(logits, y)["label"]
        averages[index] = MOMENTUM * averages[index]
        averages[index] += (1 - MOMENTUM) * logsumexp(logits, axis=1)
        weights[index] = MOMENTUM * weights[index] + 1 - MOMENTUM
        energies = averages[index] / weights[index]
        is_outlier = (energies < threshold) & (step >= 2)
        np.testing.assert_array_equal(kept, np.where(is_outlier, -1, labels))
        layer.update(logits, y)
        quantile = np.sort(energies)[int(0.25 * 5)]
        momentum = THRESHOLD_MOMENTUM if step else 0.0
        threshold = momentum * threshold + (1 - momentum) * quantile
        np.testing.assert_allclose(layer.threshold, threshold, rtol=1e-5)
    found = layer.energies.rows.numpy()
    np.testing.assert_allclose(found, np.stack([averages, weights], 1), rtol=1e-5)
    energies = averages / np.maximum(weights, 1e-9)
    seen = weights > 0
    scores = layer.scores()
    assert np.array_equal(np.argsort(scores[seen]), np.argsort(energies[seen]))
    assert scores.max() == 1 and np.median(scores[seen]) == pytest.approx(0.5, abs=0.2)


def between_classes(logits):
    """Energies halfway between rows and the one before, of other classes, sorted."""
    return sorted(
        logsumexp((one + other) / 2)
        for one, other in zip(logits, np.roll(logits, 1, axis=0), strict=True)
        if one.argmax() != other.argmax()
    )


@pytest.mark.parametrize("step_of_low", [6, 2])
def test_automatic_threshold_lies_halfway_between_classes(step_of_low):
    layer = OutlierRejection("auto", num_examples=12)
    averages, weights = np.zeros(12), np.zeros(12)
    sums, total = np.zeros(2), 0.0
    for step in range(6):  # Two are an epoch.
        random = np.random.default_rng(step)
        logits = random.normal(size=(6, 3)).astype("float32")
        logits[np.arange(6), np.arange(6) % 3] += 9
        logits[::step_of_low] /= 99
        if (step, step_of_low) == (2, 2):  # One class: there is nothing between.
            logits[:, 0] = logits.max(axis=1) + 1
        index = np.arange(6) + 6 * (step % 2)
        y = {"label": np.arange(6) % 3, "index": index}
        averages[index] = MOMENTUM * averages[index]
        averages[index] += (1 - MOMENTUM) * logsumexp(logits, axis=1)
        weights[index] = MOMENTUM * weights[index] + 1 - MOMENTUM
        layer.update(logits, y)
        between, decay = between_classes(logits), MOMENTUM**0.5
        last = len(between) - 1
        total = decay * total + 1 - decay
        low = between[last // 4] if between else layer.threshold.numpy()
        sums[0] = decay * sums[0] + (1 - decay) * low
        below = 1.0
        if between:
            below = np.mean(logsumexp(logits, axis=1) < between[last // 2])
        sums[1] = decay * sums[1] + (1 - decay) * below
        received = layer.threshold, layer.share_below
        np.testing.assert_allclose(received, sums / total, rtol=1e-5)
    averages = MOMENTUM * averages[index] + (1 - MOMENTUM) * logsumexp(logits, axis=1)
    weights = MOMENTUM * weights[index] + 1 - MOMENTUM
    is_outlier = averages / weights < sums[0] / total
    labels = layer(logits, y)["label"].numpy()
    is_few = step_of_low == 6
    assert np.any(is_outlier) and (sums[1] / total <= LARGEST_SHARE) == is_few
    np.testing.assert_array_equal(labels == -1, is_outlier & is_few)


def with_outliers(num_examples=400, share=0.1):
    """Four blobs, and examples from between them with labels at random."""
    random = np.random.default_rng(0)
    centers = 3 * np.eye(4, 8)
    labels = np.arange(num_examples) % 4
    x = centers[labels] + 0.5 * random.normal(size=(num_examples, 8))
    is_outlier = np.arange(num_examples) < share * num_examples
    x[is_outlier] = 0.5 * random.normal(size=(is_outlier.sum(), 8))
    labels[is_outlier] = random.integers(0, 4, is_outlier.sum())
    order = random.permutation(num_examples)
    return x[order].astype("float32"), labels[order], is_outlier[order]


def trained(cls, epochs, **kwargs):
    x, labels, is_outlier = with_outliers()
    backbone = keras.Sequential([dense(16, 1, activation="relu")])
    model = cls(backbone, 4, classifier=dense(4, 2), **kwargs)
    model.compile(keras.optimizers.Adam(2e-2), cross_entropy())
    model.fit(x, labels, batch_size=50, epochs=epochs, shuffle=False, verbose=0)
    return model, x, labels, is_outlier


def area(scores, is_outlier):
    """The chance that an outlier scores below another example."""
    return np.mean(scores[is_outlier][:, None] < scores[~is_outlier][None])


@pytest.mark.parametrize(
    ("cls", "share"),
    [
        (NCRModel, 0.1),
        pytest.param(ELRModel, 0.1, marks=pytest.mark.slow),
        (ELRModel, "auto"),
    ],
)
def test_outliers_are_found_left_out_and_told_to_the_audit(cls, share):
    model, x, labels, is_outlier = trained(
        cls, 12, reject_outliers=share, consistency_weight=0.3
    )
    scores = model.outlier_scores()
    assert area(scores, is_outlier) > 0.9
    y = {"label": tf.constant(labels), "index": np.arange(len(labels))}
    left_out = model.outlier_rejection(model(x), y)["label"].numpy() == -1
    assert np.mean(is_outlier[left_out]) > 0.5 and np.mean(left_out) > 0.04
    frame = keras_ncr.audit(model, x, labels, outlier_scores=scores, verbose=0)
    np.testing.assert_array_equal(frame["outlier_score"], scores)


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.4, "auto"])
def test_two_replicas_train_as_one_device(share, two_replicas):
    x, labels, _ = with_outliers(31)
    models = []
    for strategy in (tf.distribute.get_strategy(), two_replicas):
        with strategy.scope():
            backbone = keras.Sequential([dense(16, 1, activation="relu")])
            model = NCRModel(
                backbone,
                4,
                classifier=dense(4, 2),
                consistency_weight=0.3,
                reject_outliers=share,
            )
            optimizer = keras.optimizers.SGD(0.1)
            model.compile(optimizer, cross_entropy(), run_eagerly=True)
        # The last batch of an epoch has six examples for one replica, five for another.
        model.fit(x, labels, batch_size=20, epochs=2, shuffle=False, verbose=0)
        models.append(model)
    for one, two in zip(*[model.weights for model in models], strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-5)
    energies, weights = models[0].outlier_rejection.energies.rows.numpy().T
    is_left_out = energies / weights < models[0].outlier_rejection.threshold
    assert 0 < is_left_out.sum() < 31


@pytest.mark.parametrize("share", [pytest.param(0.1, marks=pytest.mark.slow), "auto"])
def test_saved_model_goes_on_as_if_never_saved(share, tmp_path):
    model, x, labels, _ = trained(NCRModel, 2, reject_outliers=share)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    for one in (model, loaded):
        one.fit(x, labels, batch_size=50, shuffle=False, verbose=0)
    for left, right in zip(model.weights, loaded.weights, strict=True):
        np.testing.assert_array_equal(left, right)


@pytest.mark.parametrize(
    ("cls", "share", "message"),
    [
        (NCRModel, 1.0, "at least 0 and below 1.*Received: 1.0"),
        (NCRModel, -0.1, "`reject_outliers` must be"),
        (NCRModel, "automatic", "one of \\['auto'\\] or a share.*'automatic'.*Did you"),
        (SOPModel, 0.1, "0 for models other than.*0.1 for SOPModel"),
        (SOPModel, "auto", "0 for models other than.*'auto' for SOPModel"),
    ],
)
def test_shares_that_cannot_be_are_refused(cls, share, message):
    with pytest.raises(ValueError, match=message):
        cls(keras.layers.Dense(3), 3, reject_outliers=share)


def test_a_head_without_energies_is_refused_and_says_which_have_them():
    with pytest.raises(ValueError, match='"heteroscedastic".*Take "linear" or "cosine'):
        NCRModel(
            keras.layers.Dense(3), 3, classifier="heteroscedastic", reject_outliers=0.1
        )


def test_scores_without_rejection_say_what_to_do():
    with pytest.raises(ValueError, match="`reject_outliers` above 0.*=0.0"):
        NCRModel(keras.layers.Dense(3), 3).outlier_scores()


def test_audit_refuses_scores_of_other_examples():
    train, _ = keras_ncr.datasets.digits()
    model = keras_ncr.NCRModel(keras_ncr.backbones.mlp((8, 8, 1), (4,)), 10)
    part = train.subset(np.arange(20))
    with pytest.raises(ValueError, match="each of the 20 examples.*shape \\(3,\\)"):
        keras_ncr.audit(model, part, outlier_scores=np.ones(3), verbose=0)
