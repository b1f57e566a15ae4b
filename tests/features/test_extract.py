"""Tests of feature_cache.py: each example once, kept on disk, never silently wrong."""

import os
import signal
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_ncr.backbones import mlp
from keras_ncr.datasets import from_arrays, from_dataset, from_folder
from keras_ncr.features import extract
from keras_ncr.features.feature_cache import content_hash, network_hash

pytestmark = pytest.mark.usefixtures("eager_functions")
IMAGES = np.random.default_rng(0).integers(0, 256, (23, 4, 4, 3)).astype("uint8")


@pytest.fixture(scope="module")
def backbone():
    return mlp((4, 4, 3))


@pytest.fixture
def computed(monkeypatch):
    """Counts the rows of each batch that goes through a network."""
    batches, predict = [], keras.Model.predict_on_batch

    def counted(model, images):
        batches.append(len(images))
        return predict(model, images)

    monkeypatch.setattr(keras.Model, "predict_on_batch", counted)
    return batches


def in_memory(images=IMAGES):
    return from_arrays(images, np.arange(len(images)) % 2)


def in_files(folder):
    for number, image in enumerate(IMAGES):
        path = folder / f"pictures/{'cd'[number % 2]}/{number:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(tf.io.encode_png(image).numpy())
    return from_folder(folder / "pictures")


def streamed(images=IMAGES):
    labels = np.arange(len(images)) % 2
    return from_dataset(tf.data.Dataset.from_tensor_slices((images, labels)))


def file_of(folder):
    """Returns the only file of features in a folder."""
    (path,) = {*folder.glob("*.npy")} - {*folder.glob("*.checksums.npy")}
    return path


@pytest.mark.parametrize("kind", ["memory", "stream"])
def test_features_are_those_of_predict_in_the_order_of_the_index(
    backbone, tmp_path, kind
):
    source = in_memory() if kind == "memory" else streamed()
    features = extract(backbone, source, tmp_path, batch_size=5, verbose=0)
    assert isinstance(features, np.memmap)
    assert features.dtype == "float32"
    np.testing.assert_allclose(
        features, backbone.predict(IMAGES, verbose=0), rtol=1e-5, atol=1e-5
    )


def test_files_are_brought_to_the_size_of_the_network(backbone, tmp_path):
    source = in_files(tmp_path)
    features = extract(backbone, source, tmp_path / "cache", verbose=0)
    order = [int(name[2:4]) for name in source.ids]
    expected = backbone.predict(IMAGES[order], verbose=0)
    np.testing.assert_allclose(features, expected, rtol=1e-5, atol=1e-5)


def test_feature_maps_are_averaged(tmp_path):
    network = keras.Sequential([keras.Input((4, 4, 3)), keras.layers.Identity()])
    features = extract(network, in_memory(), tmp_path, verbose=0)
    np.testing.assert_allclose(features, IMAGES.mean(axis=(1, 2)), rtol=1e-5)


def test_second_call_computes_nothing(backbone, tmp_path, computed):
    first = extract(backbone, in_memory(), tmp_path, batch_size=8, verbose=0)
    assert computed == [8, 8, 8]  # The last one is filled up.
    second = extract(backbone, in_memory(), tmp_path, batch_size=8, verbose=0)
    assert len(computed) == 3
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("kind", ["memory", "stream"])
def test_interrupted_call_goes_on_where_it_was(
    backbone, tmp_path, computed, monkeypatch, kind
):
    make = in_memory if kind == "memory" else streamed
    counted = keras.Model.predict_on_batch

    def interrupted(model, images):
        if len(computed) == 2:
            raise KeyboardInterrupt
        return counted(model, images)

    with monkeypatch.context() as patch:
        patch.setattr(keras.Model, "predict_on_batch", interrupted)
        with pytest.raises(KeyboardInterrupt):
            extract(backbone, make(), tmp_path, batch_size=8, verbose=0)
    features = extract(backbone, make(), tmp_path, batch_size=8, verbose=0)
    assert computed == [8, 8, 8]
    np.testing.assert_allclose(
        features, backbone.predict(IMAGES, verbose=0), rtol=1e-5, atol=1e-5
    )


def test_damaged_row_is_computed_anew(backbone, tmp_path, computed):
    first = np.array(extract(backbone, in_memory(), tmp_path, verbose=0))
    damaged = np.load(file_of(tmp_path), mmap_mode="r+")
    damaged[7, 3] += 1
    damaged.flush()
    again = extract(backbone, in_memory(), tmp_path, batch_size=1, verbose=0)
    assert computed[1:] == [1]
    np.testing.assert_allclose(again, first, rtol=1e-5, atol=1e-5)


def test_torn_file_is_made_anew(backbone, tmp_path, computed):
    first = np.array(extract(backbone, in_memory(), tmp_path, verbose=0))
    path = file_of(tmp_path)
    path.write_bytes(path.read_bytes()[:-100])
    np.testing.assert_array_equal(
        extract(backbone, in_memory(), tmp_path, verbose=0), first
    )
    assert len(computed) == 2


@pytest.mark.parametrize("change", ["network", "images", "order", "dtype"])
def test_another_network_or_other_images_get_another_file(
    backbone, tmp_path, computed, change
):
    extract(backbone, in_memory(), tmp_path, verbose=0)
    images, dtype = IMAGES.copy(), "float32"
    if change == "network":
        other = keras.models.clone_model(backbone)
        weights = backbone.get_weights()
        other.set_weights([*weights[:-1], weights[-1] + 1e-6])
        backbone = other
    elif change == "images":
        images[-1, 0, 0, 0] ^= 1
    elif change == "order":
        images[:2] = images[1::-1]
    else:
        dtype = "float16"
    features = extract(backbone, in_memory(images), tmp_path, dtype=dtype, verbose=0)
    assert len(computed) == 2
    expected = backbone.predict(images, verbose=0)
    np.testing.assert_allclose(features, expected, rtol=1e-3, atol=1e-2)


def test_hash_of_a_network_is_the_same_for_a_copy_with_other_names(backbone, tmp_path):
    backbone.save(tmp_path / "network.keras")
    keras.utils.clear_session()
    copy = mlp((4, 4, 3))
    copy.set_weights(backbone.get_weights())
    assert network_hash(copy) == network_hash(backbone)
    loaded = keras.models.load_model(tmp_path / "network.keras")
    assert network_hash(loaded) == network_hash(backbone)


def test_hash_of_images_knows_nothing_of_labels_and_names():
    source = in_memory()
    other = from_arrays(IMAGES, 1 - source.labels, ids=source.ids + 5)
    assert content_hash(other) == content_hash(source)


def test_estimate_is_told_once_with_what_is_left(backbone, tmp_path):
    told = []

    def tell(num_examples, seconds):
        told.append((num_examples, seconds))

    extract(backbone, in_memory(), tmp_path, 5, verbose=0, on_estimate=tell)
    ((num_examples, seconds),) = told
    assert num_examples == 13
    assert seconds > 0


def test_features_beyond_half_precision_are_refused(tmp_path):
    network = keras.Sequential(
        [keras.Input((4, 4, 3)), keras.layers.Rescaling(1e6), keras.layers.Flatten()]
    )
    with pytest.raises(ValueError, match="finite.*float16.*Take dtype='float32'"):
        extract(network, in_memory(), tmp_path, dtype="float16", verbose=0)


def test_network_for_another_input_is_refused_before_anything_is_read(tmp_path):
    network = keras.Sequential([keras.Input((7,)), keras.layers.Dense(3)])
    with pytest.raises(ValueError, match=r"images of shape \(4, 4, 3\)"):
        extract(network, in_memory(), tmp_path / "cache", verbose=0)
    assert not (tmp_path / "cache").exists()


def test_pictures_that_differ_in_size_need_a_size(tmp_path):
    network = keras.Sequential(
        [keras.Input((None, None, 3)), keras.layers.GlobalAveragePooling2D()]
    )
    source = in_files(tmp_path)
    with pytest.raises(ValueError, match="differ in size.*Pass `image_size`"):
        extract(network, source, tmp_path / "cache", verbose=0)
    features = extract(network, source, tmp_path / "cache", image_size=2, verbose=0)
    assert features.shape == (23, 3)


def test_broken_picture_is_named(backbone, tmp_path):
    source = in_files(tmp_path)
    (tmp_path / "pictures/d/05.png").write_bytes(b"<html>")
    with pytest.raises(ValueError, match="d/05.png"):
        extract(backbone, source, tmp_path / "cache", verbose=0)


KILLED = """
import os, signal, sys
import keras, numpy as np
import keras_ncr
from keras_ncr.features import feature_cache
write = feature_cache._FeatureFile.write
def dying(file, index, rows):
    write(file, index, rows)
    if 8 in index:
        os.kill(os.getpid(), signal.SIGKILL)
feature_cache._FeatureFile.write = dying
images = np.load(sys.argv[1])
source = keras_ncr.datasets.from_arrays(images, np.arange(len(images)) % 2)
backbone = keras.models.load_model(sys.argv[2])
keras_ncr.features.extract(backbone, source, sys.argv[3], 5, verbose=0)
"""


@pytest.mark.slow
def test_call_that_was_killed_goes_on_where_it_was(backbone, tmp_path, computed):
    np.save(tmp_path / "images.npy", IMAGES)
    backbone.save(tmp_path / "network.keras")
    paths = [tmp_path / name for name in ("images.npy", "network.keras", "cache")]
    process = subprocess.run([sys.executable, "-c", KILLED, *paths], env=os.environ)
    assert process.returncode == -signal.SIGKILL
    features = extract(backbone, in_memory(), tmp_path / "cache", 5, verbose=0)
    assert computed == [5, 5, 5]
    np.testing.assert_allclose(
        features, backbone.predict(IMAGES, verbose=0), rtol=1e-5, atol=1e-5
    )
