"""Warm-up in every way that `fit` can be used, and the watch on memorization."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_ncr import NCRModel
from keras_ncr.models import ConsistencyWarmup, MemorizationMonitor

X = np.random.default_rng(0).normal(size=(40, 5)).astype("float32")
Y = np.random.default_rng(1).integers(0, 3, 40)


class WeightLog(keras.callbacks.Callback):
    """Remembers the weight of each epoch, and the model's own at its end."""

    def __init__(self):
        super().__init__()
        self.alphas = []
        self.kernels = []

    def on_epoch_end(self, epoch, logs=None):
        self.alphas.append(float(self.model.current_consistency_weight.numpy()))
        self.kernels.append(self.model.classifier.kernel.numpy())


def make(cls=NCRModel, **kwargs):
    keras.utils.set_random_seed(1)
    backbone = keras.Sequential([keras.layers.Dense(8, activation="relu")])
    model = cls(backbone, 3, **kwargs)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.1), loss, run_eagerly=True)
    return model


def fit(model, epochs=4, callbacks=(), **kwargs):
    log = WeightLog()
    callbacks = [*callbacks, log]
    # One step an epoch: warm-up is a matter of epochs.
    model.fit(X, Y, 40, epochs, 0, callbacks, shuffle=False, **kwargs)
    return log


def close(values):
    return pytest.approx(values, abs=1e-6)


def test_warmup_is_training_without_consistency_and_then_with_it():
    warm, plain = fit(make(warmup_epochs=2)), fit(make(consistency_weight=0.0))
    for epoch in (0, 1):
        np.testing.assert_array_equal(warm.kernels[epoch], plain.kernels[epoch])
    assert np.abs(warm.kernels[2] - plain.kernels[2]).max() > 1e-3
    assert warm.alphas == close([0, 0, 0.9, 0.9])


def test_warmup_acts_in_a_compiled_step():
    model = make(warmup_epochs=1)
    model.run_eagerly = False
    history = model.fit(X, Y, epochs=2, verbose=0).history
    assert history["loss"][0] == close(history["classification_loss"][0])
    assert history["loss"][1] < 0.5 * history["classification_loss"][1]


def test_a_resumed_run_warms_up_no_more():
    assert fit(make(warmup_epochs=2), initial_epoch=1).alphas == close([0, 0.9, 0.9])
    assert fit(make(warmup_epochs=2), initial_epoch=2).alphas == close([0.9, 0.9])


def test_a_second_fit_starts_again():
    model = make(warmup_epochs=1)
    assert fit(model, epochs=2).alphas == close([0, 0.9])
    assert fit(model, epochs=2).alphas == close([0, 0.9])


class Interrupt(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 2:
            raise KeyboardInterrupt


def test_backup_and_restore_resumes_where_it_stopped(tmp_path):
    def run(*others):
        model = make(warmup_epochs=1)
        model.build((None, 5))
        backup = keras.callbacks.BackupAndRestore(tmp_path / "backup")
        return fit(model, callbacks=[backup, *others])

    uninterrupted = fit(make(warmup_epochs=1))
    with pytest.raises(KeyboardInterrupt):
        run(Interrupt())
    resumed = run()
    assert resumed.alphas == close([0.9, 0.9])
    np.testing.assert_array_equal(resumed.kernels[-1], uninterrupted.kernels[-1])


class LinearRamp(ConsistencyWarmup):
    def weight_at(self, epoch):
        return self.model.consistency_weight * min(1.0, (epoch + 1) / 3)


def test_a_warmup_of_ones_own_replaces_the_default():
    log = fit(make(), callbacks=[LinearRamp()])
    assert log.alphas == close([0.3, 0.6, 0.9, 0.9])


@pytest.mark.parametrize(
    "warmup, expected", [([], [0, 0.9]), ([LinearRamp()], [0.3, 0.6])]
)
def test_a_callback_list_is_served_too(warmup, expected):
    model, log = make(warmup_epochs=1), WeightLog()
    callbacks = keras.callbacks.CallbackList(
        [*warmup, log], add_history=True, model=model
    )
    for _ in range(2):
        model.fit(X, Y, 40, epochs=2, verbose=0, callbacks=callbacks)
        assert log.alphas[-2:] == close(expected)
    own = [one for one in callbacks.callbacks if isinstance(one, ConsistencyWarmup)]
    assert len(own) == 1


def test_a_single_callback_needs_no_list():
    log = WeightLog()
    make(warmup_epochs=1).fit(X, Y, 40, epochs=2, verbose=0, callbacks=log)
    assert log.alphas == close([0, 0.9])


def test_the_list_of_the_caller_is_left_alone():
    callbacks = [WeightLog()]
    make().fit(X, Y, 40, verbose=0, callbacks=callbacks)
    assert len(callbacks) == 1


def test_loops_without_fit_start_in_warmup_and_can_end_it():
    model = make(warmup_epochs=1)
    logs = model.train_on_batch(X, Y, return_dict=True)
    assert logs["loss"] == close(logs["classification_loss"])
    model.current_consistency_weight.assign(1.0)
    logs = model.train_on_batch(X, Y, return_dict=True)
    assert logs["loss"] == close(logs["neighbor_consistency_loss"])


def test_loops_without_fit_and_warmup_have_the_full_weight():
    logs = make(consistency_weight=1.0).train_on_batch(X, Y, return_dict=True)
    assert logs["loss"] == close(logs["neighbor_consistency_loss"])


def test_the_current_weight_is_no_weight_of_the_model():
    model = make()
    model.build((None, 5))
    assert len(model.weights) == 4
    assert model.count_params() == 75


@pytest.mark.parametrize("weight", [1.5, -0.1, float("nan")])
def test_a_warmup_out_of_range_is_refused(weight):
    class Wrong(ConsistencyWarmup):
        def weight_at(self, epoch):
            return weight

    with pytest.raises(ValueError, match=r"`weight_at\(epoch\)` .* 0 to 1. Received"):
        fit(make(), callbacks=[Wrong()])


def test_a_ramp_of_a_model_without_consistency_is_refused():
    class Ramp(ConsistencyWarmup):
        def weight_at(self, epoch):
            return 0.1 * epoch

    with pytest.raises(ValueError, match=r"consistency_weight=0.* weight_at\(1\)=0.1"):
        fit(make(consistency_weight=0), callbacks=[Ramp()])


# MemorizationMonitor


class Table(NCRModel):
    """Predicts the class that the first feature names."""

    def features_and_logits(self, inputs, training=None):
        features, logits = super().features_and_logits(inputs, training)
        return features, 0 * logits + 9 * tf.one_hot(tf.cast(inputs[:, 0], "int32"), 3)


def labeled_batches(labels, batch_size=3):
    clean = np.zeros_like(labels)
    # The first two predictions follow the label, all others the true class 0.
    x = np.zeros((len(labels), 5), "float32")
    x[:2, 0] = labels[:2]
    targets = {"label": labels, "clean_label": clean}
    return tf.data.Dataset.from_tensor_slices((x, targets)).batch(batch_size)


def monitored(dataset, epochs=1, **kwargs):
    model = make(Table)
    log = keras.callbacks.CSVLogger(kwargs.pop("path")) if "path" in kwargs else None
    monitor = MemorizationMonitor(dataset, **kwargs)
    callbacks = [monitor, log] if log else [monitor]
    history = model.fit(X, Y, epochs=epochs, verbose=0, callbacks=callbacks)
    return history.history["memorization_rate"]


def test_the_monitor_reports_the_share_of_memorized_labels(tmp_path):
    labels = np.array([1, 2, 1, 2, 1, 0, 0])
    path = tmp_path / "log.csv"
    assert monitored(labeled_batches(labels), path=path) == close([2 / 5])
    assert "memorization_rate" in path.read_text().split("\n")[0]


def test_the_monitor_looks_every_so_often_and_at_the_ends(monkeypatch):
    looks = []
    look = MemorizationMonitor.look

    def counted(self):
        looks.append(self.model.optimizer.iterations.numpy())
        look(self)

    monkeypatch.setattr(MemorizationMonitor, "look", counted)
    rates = monitored(labeled_batches(np.array([1, 2, 1])), epochs=6, every=3)
    # Two steps an epoch: epochs 0 and 3, and the last.
    assert looks == [2, 8, 12]
    assert rates == close([2 / 3] * 6)


def test_the_monitor_looks_at_once_when_a_run_resumes():
    monitor = MemorizationMonitor(labeled_batches(np.array([1, 2, 1])), every=5)
    history = make(Table).fit(
        X, Y, epochs=4, initial_epoch=2, verbose=0, callbacks=[monitor]
    )
    assert history.history["memorization_rate"] == close([2 / 3, 2 / 3])


@pytest.mark.parametrize("every", [0, -1, 1.5])
def test_a_wrong_interval_is_refused(every):
    with pytest.raises(ValueError, match="`every` must be an integer of at least 1"):
        MemorizationMonitor(labeled_batches(np.array([1])), every=every)


@pytest.mark.parametrize(
    "dataset",
    [None, (X, Y), tf.data.Dataset.from_tensors((X, Y))],
    ids=["none", "arrays", "labels"],
)
def test_a_dataset_without_clean_labels_is_refused(dataset):
    with pytest.raises(ValueError, match='(?s)"clean_label": .*evaluation_batches'):
        MemorizationMonitor(dataset)
