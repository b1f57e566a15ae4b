"""Tests of pretrained.py: weights from elsewhere, or an error that says what to do."""

import keras
import numpy as np
import pytest

from keras_ncr import NCRModel
from keras_ncr.backbones import application, mlp, pretrained

PIXELS = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)).astype("uint8")


def test_file_of_a_network_gives_its_features(tmp_path):
    network = mlp((32, 32, 3))
    network.save(tmp_path / "network.keras")
    loaded = pretrained(str(tmp_path / "network.keras"), (32, 32, 3))
    np.testing.assert_allclose(loaded(PIXELS), network(PIXELS), rtol=1e-6)


def test_file_of_a_classifier_of_this_package_gives_its_backbone(tmp_path):
    model = NCRModel(mlp((32, 32, 3)), num_classes=3)
    model(PIXELS)
    model.save(tmp_path / "model.keras")
    loaded = pretrained(str(tmp_path / "model.keras"), (32, 32, 3))
    np.testing.assert_allclose(loaded(PIXELS), model.backbone(PIXELS), rtol=1e-6)


def test_name_of_an_application_asks_for_imagenet_weights(monkeypatch, tmp_path):
    made = application("MobileNet", (32, 32, 3))
    made.save_weights(tmp_path / "made.weights.h5")
    asked, construct = [], keras.applications.MobileNet

    def with_made_weights(weights, **arguments):
        asked.append(weights)
        network = construct(weights=None, **arguments)
        return network

    monkeypatch.setattr(keras.applications, "MobileNet", with_made_weights)
    monkeypatch.setattr(
        "keras_ncr.backbones.applications.application_names", lambda: ["MobileNet"]
    )
    monkeypatch.setattr(
        "keras_ncr.backbones.applications._modules",
        lambda: {"MobileNet": keras.applications.mobilenet},
    )
    assert pretrained("MobileNet", (32, 32, 3))(PIXELS).shape == (2, 1024)
    assert asked == ["imagenet"]


def test_scratch_is_a_network_for_the_size():
    small, large = pretrained("scratch", (8, 8, 3)), pretrained("scratch", (96, 96, 3))
    assert small.output_shape == large.output_shape == (None, 512)
    # The stem for large images divides the sides by four more.
    assert len(large.layers) > len(small.layers)


def test_preset_of_keras_hub_is_scaled_as_it_expects(tmp_path):
    keras_hub = pytest.importorskip("keras_hub")
    encoder = keras_hub.models.ResNetBackbone(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[3],
        stackwise_num_filters=[64],
        stackwise_num_blocks=[1],
        stackwise_num_strides=[1],
        block_type="basic_block",
        image_shape=(None, None, 3),
    )
    encoder.save_to_preset(str(tmp_path / "preset"))
    converter = keras_hub.layers.ResNetImageConverter(
        image_size=(32, 32), scale=[1 / 50, 1 / 60, 1 / 70], offset=[-1.0, -2.0, -3.0]
    )
    converter.save_to_preset(str(tmp_path / "preset"))
    network = pretrained(f"hub:{tmp_path / 'preset'}", (32, 32, 3))
    scaled = PIXELS / np.array([50, 60, 70]) - np.array([1, 2, 3])
    np.testing.assert_allclose(
        network(PIXELS), encoder(scaled.astype("float32")), rtol=1e-3, atol=1e-4
    )


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ResNet5", "Did you mean 'ResNet50'"),
        ("gone.keras", "file that exists"),
        ("text.keras", "could not be loaded"),
        ("vector.keras", r"images of shape \(32, 32, 3\).*'vector.keras'"),
        ("hub:./gone", "preset './gone' could not be had.*FILE.keras.*hub:FOLDER"),
    ],
)
def test_what_is_no_network_for_images_is_named(tmp_path, monkeypatch, name, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.keras").write_text("no model")
    keras.Sequential([keras.Input((7,)), keras.layers.Dense(2)]).save("vector.keras")
    with pytest.raises(ValueError, match=message):
        pretrained(name, (32, 32, 3))
