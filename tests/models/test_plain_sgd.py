"""PlainSGD: the steps of PyTorch's SGD, saved, excluded weights, on replicas."""

import keras
import numpy as np
import pytest
from model_harness import X, Y, assert_close, cross_entropy, dense

from keras_ncr.models import PlainSGD


def trained(**kwargs):
    """Returns a small classifier after two epochs of two steps."""
    model = keras.Sequential([keras.Input((5,)), dense(8, 1), dense(3, 2)])
    model.compile(
        PlainSGD(0.1, momentum=0.9, weight_decay=0.01, **kwargs), cross_entropy()
    )
    model.fit(X, Y, batch_size=12, epochs=2, shuffle=False, verbose=0)
    return model


def test_weights_that_are_excluded_do_not_decay():
    bias, kernel = [keras.Variable([1.0], name=name) for name in ("bias", "kernel")]
    optimizer = PlainSGD(0.5, weight_decay=0.1)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    optimizer.apply([np.zeros(1, "float32")] * 2, [bias, kernel])
    assert_close([float(bias[0]), float(kernel[0])], [1.0, 0.95])


def test_a_model_is_saved_with_it_and_goes_on(tmp_path):
    model = trained(nesterov=True)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert isinstance(loaded.optimizer, PlainSGD) and loaded.optimizer.nesterov
    for one in (model, loaded):
        one.fit(X, Y, batch_size=12, shuffle=False, verbose=0)
    for ours, theirs in zip(model.weights, loaded.weights, strict=True):
        assert_close(ours, theirs)


@pytest.mark.slow
def test_two_replicas_train_as_one_device(two_replicas):
    with two_replicas.scope():
        distributed = trained()
    for ours, theirs in zip(distributed.weights, trained().weights, strict=True):
        assert_close(ours, theirs)
