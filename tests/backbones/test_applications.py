"""Networks of keras.applications as backbones: the right pixels, weights and errors."""

import functools
import pathlib
import subprocess
import sys
import types

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras.src.utils import file_utils

from keras_ncr import NCRModel
from keras_ncr.backbones import application
from keras_ncr.backbones.applications import ApplicationPreprocessing, application_names

# What each network expects, from the pages of keras.io/api/applications.
MODES = {
    "caffe": "ResNet50 ResNet101 ResNet152 VGG16 VGG19",
    "tf": "ResNet50V2 ResNet101V2 ResNet152V2 InceptionV3 InceptionResNetV2 Xception "
    "MobileNet MobileNetV2 NASNetMobile NASNetLarge",
    "torch": "DenseNet121 DenseNet169 DenseNet201",
    "none": "ConvNeXtTiny ConvNeXtSmall ConvNeXtBase ConvNeXtLarge ConvNeXtXLarge "
    "EfficientNetB0 EfficientNetB1 EfficientNetB2 EfficientNetB3 EfficientNetB4 "
    "EfficientNetB5 EfficientNetB6 EfficientNetB7 EfficientNetV2B0 EfficientNetV2B1 "
    "EfficientNetV2B2 EfficientNetV2B3 EfficientNetV2S EfficientNetV2M "
    "EfficientNetV2L MobileNetV3Small MobileNetV3Large",
}
MODE_OF = {name: mode for mode, names in MODES.items() for name in names.split()}

PREPROCESS = {
    "ResNet50": keras.applications.resnet.preprocess_input,
    "MobileNetV2": keras.applications.mobilenet_v2.preprocess_input,
    "DenseNet121": keras.applications.densenet.preprocess_input,
    "EfficientNetB0": keras.applications.efficientnet.preprocess_input,
}


def images(n=4, shape=(32, 32, 3), seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (n, *shape), dtype="uint8")


def expected_pixels(pixels, mode):
    """The published formulas, in float64."""
    rgb = np.broadcast_to(pixels, (*pixels.shape[:-1], 3)).astype("float64")
    if mode == "caffe":
        return rgb[..., ::-1] - [103.939, 116.779, 123.68]
    if mode == "tf":
        return rgb / 127.5 - 1
    if mode == "torch":
        return (rgb / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    return rgb


def assert_same_weights(model, other):
    for ours, theirs in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


# One that ends in a ReLU, one in hard swish.
FAST = ["MobileNet", "MobileNetV3Small"]
SLOW = [name for name in MODE_OF if name not in FAST]
SMALLEST_SIDE = {"Xception": 71, "InceptionV3": 75, "InceptionResNetV2": 75}


@pytest.fixture(
    scope="module",
    params=[*FAST, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)],
)
def built(request):
    keras.utils.set_random_seed(0)
    side = SMALLEST_SIDE.get(request.param, 32)
    yield request.param, application(request.param, (side, side, 3))
    keras.backend.clear_session()


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """VGG16, the fastest to build, as Keras has it, and its weights in Keras' way."""
    keras.utils.set_random_seed(1)
    network = keras.applications.VGG16(
        include_top=False, weights=None, input_shape=(32, 32, 3), pooling="avg"
    )
    path = tmp_path_factory.mktemp("weights") / "vgg16_notop.h5"
    network.save(path)
    return network, path


# Names and pixels


def test_every_network_of_keras_is_known():
    assert set(MODE_OF) <= set(application_names())
    assert len(MODE_OF) == 40


@pytest.mark.parametrize("name", MODE_OF)
def test_name_leads_to_its_network_behind_its_preprocessing(name, monkeypatch):
    calls = []

    # The real networks take minutes to build; this one averages what it is given.
    @functools.wraps(getattr(keras.applications, name))
    def network(**kwargs):
        calls.append(kwargs)
        inputs = kwargs["input_tensor"]
        pooled = keras.layers.GlobalAveragePooling2D()(inputs)
        return types.SimpleNamespace(output=pooled, name="stub")

    monkeypatch.setattr(keras.applications, name, network)
    channels = 1 if name.endswith("0") else 3
    pixels = images(2, (4, 5, channels))
    features = application(name, (4, 5, channels))(pixels)
    expected = expected_pixels(pixels, MODE_OF[name]).mean(axis=(1, 2))
    np.testing.assert_allclose(features, expected, rtol=1e-5, atol=1e-4)
    del calls[0]["input_tensor"]
    assert calls == [
        {
            "include_top": False,
            "weights": None,
            "input_shape": (4, 5, 3),
            "pooling": "avg",
        }
    ]


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize("name", PREPROCESS)
def test_preprocessing_is_exactly_that_of_the_network(name, policy):
    keras.config.set_dtype_policy(policy)
    layer = ApplicationPreprocessing(name)
    pixels = images()
    expected = PREPROCESS[name](pixels.astype("float32"))
    for dtype in ("uint8", "int32", "float32"):
        scaled = layer(pixels.astype(dtype))
        assert scaled.dtype == "float32"
        np.testing.assert_array_equal(scaled, expected)
    # A compiled graph may multiply where NumPy divides.
    compiled = tf.function(layer)(pixels)
    np.testing.assert_allclose(compiled, expected, rtol=1e-5, atol=1e-6)


def test_preprocessing_repeats_gray_to_three_channels():
    gray = images(2, (4, 4, 1))
    layer = ApplicationPreprocessing("ResNet50")
    colored = np.repeat(gray, 3, axis=-1)
    np.testing.assert_array_equal(layer(gray), layer(colored))
    assert layer.compute_output_shape((None, 4, None, 1)) == (None, 4, None, 3)


def test_preprocessing_is_rebuilt_from_its_config():
    layer = ApplicationPreprocessing("DenseNet121", name="preprocess")
    copy = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(layer)
    )
    assert copy.application == "DenseNet121"
    np.testing.assert_array_equal(copy(images()), layer(images()))


# Built networks


def test_network_gives_what_keras_gives_on_preprocessed_pixels(built):
    name, model = built
    shape = model.input_shape[1:]
    network = getattr(keras.applications, name)(
        include_top=False, weights=None, input_shape=shape, pooling="avg"
    )
    network.set_weights(model.get_weights())
    pixels = images(2, shape)
    expected = network(expected_pixels(pixels, MODE_OF[name]).astype("float32"))
    assert model.output_shape == (None, expected.shape[1])
    np.testing.assert_allclose(model(pixels), expected, rtol=1e-3, atol=1e-5)
    np.testing.assert_array_equal(model(pixels.astype("float32")), model(pixels))


def test_features_are_negative_only_without_a_last_relu(built):
    name, model = built
    families = ("ConvNeXt", "EfficientNet", "MobileNetV3")
    smallest = np.min(model(images(2, model.input_shape[1:])))
    assert (smallest < 0) == name.startswith(families)


def test_saved_network_gives_the_same_features(built, tmp_path):
    _, model = built
    pixels = images(2, model.input_shape[1:])
    model.save(tmp_path / "net.keras")
    loaded = keras.models.load_model(tmp_path / "net.keras", safe_mode=True)
    np.testing.assert_array_equal(loaded(pixels), model(pixels))


def test_network_takes_gray_images_of_any_size():
    model = application("VGG16", (None, None, 1))
    for side in (32, 40):
        assert model(images(1, (side, side + 3, 1))).shape == (1, 512)


@pytest.mark.slow
def test_network_trains_a_step_under_mixed_precision():
    keras.config.set_dtype_policy("mixed_float16")
    backbone = application("MobileNet", (32, 32, 3))
    assert {w.dtype for w in backbone.weights} == {"float32"}
    model = NCRModel(backbone, 3)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    optimizer = keras.mixed_precision.LossScaleOptimizer(
        keras.optimizers.SGD(0.1), initial_scale=8.0
    )
    model.compile(optimizer, loss, run_eagerly=True)
    kernel = backbone.get_layer("conv1").kernel
    before = kernel.numpy()
    assert np.all(np.isfinite(model.train_on_batch(images(), np.array([0, 1, 2, 0]))))
    assert np.any(kernel.numpy() != before)


# Weights


def test_saved_weights_are_loaded(tmp_path):
    path = tmp_path / "backbone.weights.h5"
    model = application("VGG16", (32, 32, 3))
    model.save_weights(path)
    assert_same_weights(application("VGG16", (40, 40, 1), path), model)


def test_weights_as_keras_publishes_them_are_loaded(published):
    network, path = published
    assert_same_weights(application("VGG16", (32, 32, 3), str(path)), network)


def test_imagenet_weights_are_what_keras_downloads(published, monkeypatch):
    network, path = published
    monkeypatch.setattr(file_utils, "get_file", lambda *args, **kwargs: str(path))
    model = application("VGG16", (128, 128, 1), weights="imagenet")
    assert_same_weights(model, network)


@pytest.mark.parametrize(
    ("reason", "messages"),
    [
        (
            # As get_file words it.
            Exception("URL fetch failure on {}: None -- [Errno -2] Name not known"),
            ["Name not known. Download {} by hand and pass"],
        ),
        (TimeoutError("timed out"), ["timed out. Download the file that Keras names"]),
        (
            ValueError("Incomplete or corrupted file. The md5 file hash does not"),
            ["Incomplete or corrupted", "Download the file"],
        ),
    ],
    ids=["no network", "timeout", "damaged"],
)
def test_failed_download_is_explained(reason, messages, monkeypatch):
    origins = []

    def get_file(fname, origin, **kwargs):
        origins.append(origin)
        raise type(reason)(str(reason).format(origin))

    monkeypatch.setattr(file_utils, "get_file", get_file)
    with pytest.raises(ValueError, match="ImageNet weights of VGG16 could") as error:
        application("VGG16", (32, 32, 3), weights="imagenet")
    assert origins[0].startswith("https://")
    assert origins[0].endswith("/vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5")
    remedies = ["as `weights`", "~/.keras", "KERAS_HOME", "`weights=None`"]
    for message in messages + remedies:
        assert message.format(origins[0]) in str(error.value)


def normalize_and_pool(input_tensor, **_):
    """What matters of EfficientNet here: a normalization among its weights."""
    inputs = keras.utils.get_source_inputs(input_tensor)
    x = keras.layers.Normalization()(input_tensor)
    return keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(x))


@pytest.mark.parametrize(
    "network",
    [
        normalize_and_pool,
        pytest.param(keras.applications.EfficientNetB0, marks=pytest.mark.slow),
    ],
)
def test_imagenet_file_of_efficientnet_is_refused_by_path(
    network, tmp_path, monkeypatch
):
    wrapped = functools.wraps(keras.applications.EfficientNetB0)(network)
    monkeypatch.setattr(keras.applications, "EfficientNetB0", wrapped)
    path = tmp_path / "net.weights.h5"
    model = application("EfficientNetB0", (32, 32, 3))
    model.save_weights(path)
    assert_same_weights(application("EfficientNetB0", (32, 32, 3), path), model)
    normalization = next(
        layer for layer in model.layers if isinstance(layer, keras.layers.Normalization)
    )
    # The mean that Keras' file holds where random weights have zeros.
    mean, *others = normalization.get_weights()
    normalization.set_weights([mean + [0.485, 0.456, 0.406], *others])
    model.save_weights(path)
    with pytest.raises(ValueError, match="come from ImageNet's.*KERAS_HOME"):
        application("EfficientNetB0", (32, 32, 3), path)


def test_file_that_is_no_weights_file_is_refused(tmp_path):
    path = tmp_path / "net.weights.h5"
    path.write_text("<html>404</html>")
    with pytest.raises(ValueError, match="net.weights.h5.*could not be loaded"):
        application("VGG16", (32, 32, 3), path)


@pytest.mark.filterwarnings("ignore:Skipping nested container:UserWarning")
def test_weights_of_another_network_are_refused_in_few_words(tmp_path):
    path = tmp_path / "net.weights.h5"
    keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]).save_weights(path)
    message = "weights file of VGG16 without classifier.*objects could not be load"
    with pytest.raises(ValueError, match=message) as error:
        application("VGG16", (32, 32, 3), path)
    assert len(str(error.value)) < 1000


# Arguments


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("resnet50", (32, 32, 3)),
            "Received: name='resnet50'. Did you mean 'ResNet50'",
        ),
        (("MobileNetV4", (32, 32, 3)), "'Xception'.*Did you mean 'MobileNetV2'"),
        ((3, (32, 32, 3)), "`name` must be one of.*Received: name=3"),
        (("MobileNet", (32, 31, 3)), "must suit MobileNet. .* 32x32.*`resnet18`"),
        (("MobileNetV3Small", (31, 32, 1)), "at least 32x32"),
        (("Xception", (70, 71, 3)), "at least 71x71"),
        (("InceptionV3", (74, 74, 3)), "at least 75x75"),
        (("NASNetMobile", (None, 64, 3), "imagenet"), "static .no None.*of one size"),
        (("MobileNet", (32, 32)), r"\(height, width, 3\).*input_shape=\(32, 32\)"),
        (("MobileNet", (32, 32, 4)), "gray images.*a network of your own"),
        (("MobileNet", (None, 0, 3)), r"input_shape\[1\]=0"),
        (("MobileNet", 32), "Received: input_shape=32"),
        (("MobileNet", (32, 32, 3), "Imagenet"), '"imagenet" or.*no such file'),
        (("MobileNet", (32, 32, 3), "/no/file.h5"), "weights='/no/file.h5'"),
        (("MobileNet", (32, 32, 3), True), "Received: weights=True"),
    ],
)
def test_bad_arguments_are_refused_with_a_remedy(arguments, message):
    with pytest.raises(ValueError, match=message):
        application(*arguments)


def test_preprocessing_refuses_an_unknown_network():
    with pytest.raises(ValueError, match="`application`.*mean 'VGG16'"):
        ApplicationPreprocessing("vgg-16")


# Another process


LOAD = """
import sys
import keras
import keras_ncr
import numpy as np
folder = sys.argv[1]
model = keras.models.load_model(f"{folder}/net.keras", safe_mode=True)
logits = model.predict(np.load(f"{folder}/pixels.npy"), verbose=0)
np.save(f"{folder}/logits.npy", logits)
"""


@pytest.mark.slow
def test_another_process_loads_the_same_classifier(tmp_path):
    model = NCRModel(application("ResNet50", (32, 32, 3)), 3)
    logits = model.predict(images(), verbose=0)
    model.save(tmp_path / "net.keras")
    np.save(tmp_path / "pixels.npy", images())
    subprocess.run(
        [sys.executable, "-c", LOAD, str(tmp_path)],
        check=True,
        cwd=pathlib.Path(__file__).parents[2],
    )
    np.testing.assert_array_equal(np.load(tmp_path / "logits.npy"), logits)
