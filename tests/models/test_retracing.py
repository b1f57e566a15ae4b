"""Training compiles its functions once: not again every epoch, nor for each batch."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_ncr
from keras_ncr import datasets, pipelines
from keras_ncr.models import training_labels
from keras_ncr.pipelines import augmentation as augment

# 20 examples in batches of 8: the last batch of an epoch is smaller.
NUM_EXAMPLES, BATCH, NUM_CLASSES = 20, 8, 3


class Counted:
    """Mixin that counts how often Python runs a step: once each time it is traced."""

    train_traces = test_traces = 0

    def train_step(self, data):
        self.train_traces += 1
        return super().train_step(data)

    def test_step(self, data):
        self.test_traces += 1
        return super().test_step(data)

    def traces(self):
        return self.train_traces, self.test_traces


class CountedNCR(Counted, keras_ncr.NCRModel):
    pass


class CountedPlain(Counted, keras.Sequential):
    pass


def backbone():
    return keras.Sequential([keras.layers.Dense(4, activation="relu")])


def batches():
    generator = np.random.default_rng(0)
    features = generator.normal(size=(NUM_EXAMPLES, 5)).astype("float32")
    labels = np.arange(NUM_EXAMPLES) % NUM_CLASSES
    return tf.data.Dataset.from_tensor_slices((features, labels)).batch(BATCH)


@pytest.fixture(scope="module")
def traces():
    """Traces so far after three epochs, and after a second `fit`, of both models."""
    counts = {}
    for name, model in {
        "plain": CountedPlain([backbone(), keras.layers.Dense(NUM_CLASSES)]),
        "NCR": CountedNCR(backbone(), NUM_CLASSES, warmup_epochs=1),
    }.items():
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile("sgd", loss, metrics=["accuracy"])
        counts[name] = []
        for _ in range(2):
            model.fit(batches(), validation_data=batches(), epochs=3, verbose=0)
            counts[name].append(model.traces())
    return counts


def test_two_batch_shapes_are_traced_at_most_twice(traces):
    train, test = traces["NCR"][0]
    assert 1 <= train <= 2
    assert 1 <= test <= 2


def test_training_is_traced_as_often_as_plain_keras(traces):
    assert traces["NCR"] == traces["plain"]


def test_second_fit_traces_nothing(traces):
    after_first, after_second = traces["NCR"]
    assert after_second == after_first


def test_labels_are_checked_by_one_trace_in_all_epochs(monkeypatch):
    calls = []

    def counted(y):
        calls.append(y)
        return y

    monkeypatch.setattr(training_labels, "label_of", counted)
    model = keras_ncr.NCRModel(backbone(), NUM_CLASSES)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss, run_eagerly=True)
    counts = []
    for epochs in (1, 3):
        calls.clear()
        model.fit(batches(), epochs=epochs, verbose=0)
        counts.append(len(calls))
    assert counts[0] == counts[1] > 0


@pytest.mark.parametrize("cache", [True, False])
def test_augmentation_is_traced_when_the_pipeline_is_made_and_never_again(cache):
    crop, traced = augment.crop_and_flip(1), []

    def counted(image, seed):
        traced.append(seed)
        return crop(image, seed)

    images = np.zeros((NUM_EXAMPLES, 4, 4, 1), "uint8")
    source = datasets.from_arrays(images, np.arange(NUM_EXAMPLES) % NUM_CLASSES)
    dataset = pipelines.training_batches(
        source, BATCH, augment=counted, num_epochs=3, cache=cache
    )
    before = len(traced)
    assert before >= 1
    assert len(list(dataset)) == 9
    assert len(list(dataset)) == 9
    assert len(traced) == before
