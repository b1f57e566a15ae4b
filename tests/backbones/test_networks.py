"""The backbones against published parameter counts, and the choices they share."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
from model_harness import few

from keras_ncr import backbones

# Small images: each net in its cheapest form (ResNet-34 is ResNet-18 with more blocks).
NETS = {
    "small_cnn": {},
    "small_resnet": {"filters": (8, 16)},
    "mlp": {"hidden": (32, 16)},
    "resnet18": {},
    "resnet50": {"stem": "cifar"},
    "preact_resnet18": {},
}
DIMS = {
    "small_cnn": 128,
    "small_resnet": 16,
    "mlp": 16,
    "resnet50": 2048,
}  # others: 512


@pytest.fixture(scope="module")
def build():
    """Builds each net once; a test that trains it puts its weights back."""

    @functools.cache
    def build_once(name, input_shape, **options):
        keras.utils.set_random_seed(0)
        return getattr(backbones, name)(input_shape, **options)

    return build_once


@pytest.fixture(params=NETS)
def net(request, build):
    return build(request.param, (8, 8, 3), **NETS[request.param])


@pytest.fixture
def policy(request):
    keras.config.set_dtype_policy(request.param)
    yield request.param
    keras.config.set_dtype_policy("float32")


def images(n=4, shape=(8, 8, 3), seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (n, *shape), dtype="uint8")


def num_trainable(model):
    return sum(int(np.prod(w.shape)) for w in model.trainable_weights)


# torchvision's published totals less their 1000-way classifier: 11,689,512 - 513,000,
# 21,797,672 - 513,000 and 25,557,032 - 2,049,000. The CIFAR stem has 3 * 3 * 3 * 64
# weights in place of 7 * 7 * 3 * 64. The pre-activation net is that of DivideMix:
# 11,171,274 with a 10-way classifier of 5,130.
@pytest.mark.parametrize(
    ("name", "input_shape", "options", "expected"),
    [
        ("resnet18", (224, 224, 3), {"stem": "imagenet"}, 11_176_512),
        ("resnet18", (32, 32, 3), {"stem": "cifar"}, 11_168_832),
        pytest.param(
            *("resnet34", (224, 224, 3), {"stem": "imagenet"}, 21_284_672),
            marks=pytest.mark.slow,
        ),
        pytest.param(
            *("resnet50", (224, 224, 3), {}, 23_508_032), marks=pytest.mark.slow
        ),
        ("preact_resnet18", (8, 8, 3), {}, 11_171_274 - 5_130),
        ("mlp", (28, 28, 1), {}, 784 * 512 + 512 * 512 + 4 * 512),
        ("small_resnet", (32, 32, 3), {}, 928 + 18_560 + 57_728 + 230_144 + 919_040),
        ("small_cnn", (8, 8, 1), {}, 288 + 64 + 18_432 + 128 + 33_024),
    ],
)
def test_parameter_counts_are_the_known_ones(
    name, input_shape, options, expected, build
):
    assert num_trainable(build(name, input_shape, **options)) == expected


def test_small_cnn_has_the_size_its_docstring_states():
    assert backbones.small_cnn((8, 8, 1)).count_params() == 52_384
    assert backbones.small_cnn((28, 28, 1)).count_params() == 421_024


@pytest.mark.parametrize(
    ("stem", "side", "after_stem", "last"),
    [("cifar", 32, 32, 4), ("imagenet", 224, 56, 7), ("imagenet", 64, 16, 2)],
)
def test_stem_divides_the_image_as_published(stem, side, after_stem, last, build):
    model = build("resnet18", (side, side, 3), stem=stem)
    first_block = model.get_layer("stage1_1_relu").output
    last_block = model.get_layer("stage4_2_relu").output
    assert first_block.shape == (None, after_stem, after_stem, 64)
    assert last_block.shape == (None, last, last, 512)


def test_shortcuts_project_only_where_the_shape_changes(net):
    projections = [layer for layer in net.layers if "shortcut_conv" in layer.name]
    expected = {"small_cnn": 0, "mlp": 0, "small_resnet": 1, "resnet50": 4}.get(
        net.name, 3
    )
    assert len(projections) == expected
    assert all(layer.kernel_size == (1, 1) for layer in projections)


def test_features_have_the_stated_shape_and_sign(net):
    features = net(images())
    assert features.shape == (4, DIMS.get(net.name, 512))
    assert features.dtype == "float32"
    assert (np.min(features) < 0) == (net.name == "preact_resnet18")
    assert np.max(features) > 0


@pytest.mark.parametrize("name", ["small_cnn", "resnet18"])
def test_uint8_and_float_pixels_give_the_same_features(name, build):
    model = build(name, (8, 8, 3))
    pixels = images()
    expected = model(pixels)
    for dtype in ("float32", "float64", "int32"):
        np.testing.assert_array_equal(model(pixels.astype(dtype)), expected)


def test_pixels_are_scaled_to_plus_minus_one(net):
    scale = net.get_layer("rescale")
    assert scale.input is net.input
    np.testing.assert_allclose(scale([0, 51, 255]), [-1.0, -0.6, 1.0], atol=1e-6)


def test_every_choice_of_normalization_is_shared(net):
    normalizations = [
        layer
        for layer in net.layers
        if isinstance(layer, keras.layers.BatchNormalization)
    ]
    assert normalizations
    assert {(layer.momentum, layer.epsilon) for layer in normalizations} == {
        (0.9, 1e-5)
    }


def test_nets_hold_no_regularizer(net):
    assert net.losses == []


def test_every_weight_gets_a_gradient(build):
    model = build("resnet18", (8, 8, 3), zero_init_residual=False)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(model(images(8), training=True) ** 2)
    gradients = tape.gradient(loss, [w.value for w in model.trainable_weights])
    assert all(np.any(gradient) for gradient in gradients)
    assert all(np.all(np.isfinite(gradient)) for gradient in gradients)


@pytest.mark.parametrize(
    "net", few(*NETS.keys() - {"resnet50"}, of=NETS), indirect=True
)
def test_each_net_trains_a_step(net):
    weights = net.get_weights()
    before = [w.numpy() for w in net.trainable_weights]
    model = keras.Sequential([net, keras.layers.Dense(3)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.1), loss, run_eagerly=True)
    value = model.train_on_batch(images(), np.array([0, 1, 2, 0]))
    moved = [
        np.any(old != new.numpy())
        for old, new in zip(before, net.trainable_weights, strict=True)
    ]
    net.set_weights(weights)
    assert np.isfinite(value)
    # Behind a scale of zero, the weights of a residual branch wait for their turn.
    assert sum(moved) >= len(moved) / 4


def test_zero_init_makes_each_block_start_as_its_shortcut(build):
    model = build("resnet18", (8, 8, 3))
    names = ["stem_relu", "stage1_1_relu", "stage1_2_relu"]
    outputs = keras.Model(model.input, [model.get_layer(n).output for n in names])
    stem, first, second = outputs(images())
    np.testing.assert_array_equal(first, stem)
    np.testing.assert_array_equal(second, stem)


def test_zero_init_can_be_left_off(build):
    model = build("resnet18", (8, 8, 3), zero_init_residual=False)
    gammas = [w for w in model.trainable_weights if w.name == "gamma"]
    assert gammas
    assert all(np.all(gamma.numpy() == 1.0) for gamma in gammas)


# The networks as others have them, in NumPy and float64


class NumPyNet:
    """The forward pass of a net, by the names of its layers, as PyTorch computes it."""

    def __init__(self, net):
        self.net = net

    def weights(self, name):
        return [w.numpy().astype(float) for w in self.net.get_layer(name).weights]

    def convolution(self, x, name, strides=1):
        (kernel,) = self.weights(name)
        size = len(kernel)
        x = np.pad(x, [(0, 0), *[(size // 2, size // 2)] * 2, (0, 0)])
        windows = np.lib.stride_tricks.sliding_window_view(x, (size, size), (1, 2))
        windows = windows[:, ::strides, ::strides]
        return np.einsum("bijcuv,uvcd->bijd", windows, kernel, optimize=True)

    def normalized(self, x, name):
        gamma, beta, mean, variance = self.weights(f"{name}_bn")
        return gamma * (x - mean) / np.sqrt(variance + 1e-5) + beta

    def activated(self, x, name):
        return np.maximum(self.normalized(x, name), 0)

    def stem(self, pixels, is_imagenet=False):
        x = self.convolution(pixels / 127.5 - 1, "stem_conv", 1 + is_imagenet)
        x = self.activated(x, "stem")
        if is_imagenet:
            x = np.pad(x, [(0, 0), (1, 1), (1, 1), (0, 0)], constant_values=-np.inf)
            windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), (1, 2))
            x = windows[:, ::2, ::2].max(axis=(-2, -1))
        return x

    def shortcut(self, x, name, strides, is_normalized):
        if f"{name}_shortcut_conv" in {layer.name for layer in self.net.layers}:
            x = self.convolution(x, f"{name}_shortcut_conv", strides)
            x = self.normalized(x, f"{name}_shortcut") if is_normalized else x
        return x

    def basic(self, x, name, strides):
        out = self.activated(self.convolution(x, f"{name}_conv1", strides), f"{name}_1")
        out = self.normalized(self.convolution(out, f"{name}_conv2"), f"{name}_2")
        return np.maximum(out + self.shortcut(x, name, strides, True), 0)

    def bottleneck(self, x, name, strides):
        out = self.activated(self.convolution(x, f"{name}_conv1"), f"{name}_1")
        out = self.convolution(out, f"{name}_conv2", strides)
        out = self.convolution(self.activated(out, f"{name}_2"), f"{name}_conv3")
        out = self.normalized(out, f"{name}_3")
        return np.maximum(out + self.shortcut(x, name, strides, True), 0)

    def preact(self, x, name, strides):
        x = self.activated(x, f"{name}_1")
        out = self.convolution(x, f"{name}_conv1", strides)
        out = self.convolution(self.activated(out, f"{name}_2"), f"{name}_conv2")
        return out + self.shortcut(x, name, strides, False)

    def features(self, x, block, num_blocks):
        for stage, blocks in enumerate(num_blocks, start=1):
            for number in range(1, blocks + 1):
                strides = 2 if stage > 1 and number == 1 else 1
                x = block(x, f"stage{stage}_{number}", strides)
        return x.mean(axis=(1, 2))


@pytest.mark.parametrize(
    ("name", "side", "stem", "block", "num_blocks"),
    [
        ("resnet18", 64, "imagenet", NumPyNet.basic, (2, 2, 2, 2)),
        ("resnet50", 8, "cifar", NumPyNet.bottleneck, (3, 4, 6, 3)),
        ("preact_resnet18", 8, None, NumPyNet.preact, (2, 2, 2, 2)),
    ],
)
def test_nets_with_given_weights_equal_those_of_pytorch(
    name, side, stem, block, num_blocks, build
):
    net = build(name, (side, side, 3), **({"stem": stem} if stem else {}))
    before, rng = net.get_weights(), np.random.default_rng(0)
    net.set_weights(
        [
            w + rng.normal(0, 0.01, w.shape)
            if w.ndim > 1
            else rng.uniform(0.5, 1, w.shape)
            for w in before
        ]
    )
    pixels = images(2, (side, side, 3))
    actual = net(pixels).numpy()
    oracle = NumPyNet(net)
    x = oracle.stem(pixels.astype(float), stem == "imagenet")
    expected = oracle.features(x, block.__get__(oracle), num_blocks)
    net.set_weights(before)
    np.testing.assert_allclose(
        actual, expected, rtol=2e-4, atol=1e-4 * np.abs(expected).max()
    )


def test_seed_determines_the_weights():
    def weights(seed):
        keras.utils.set_random_seed(seed)
        return backbones.small_cnn((8, 8, 1)).get_weights()

    for first, again in zip(weights(1), weights(1), strict=True):
        np.testing.assert_array_equal(first, again)
    assert np.any(weights(1)[0] != weights(2)[0])


def test_resnets_take_images_of_any_size():
    model = backbones.resnet18((None, None, 3))
    for side in (8, 17):
        assert model(images(1, (side, side + 3, 3))).shape == (1, 512)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"], indirect=True)
def test_mixed_precision_keeps_weights_in_float32(policy):
    model = backbones.small_cnn((8, 8, 3))
    features = model(images())
    assert features.dtype == policy.removeprefix("mixed_")
    assert np.all(np.isfinite(tf.cast(features, "float32")))
    assert {w.dtype for w in model.weights} == {"float32"}


@pytest.mark.parametrize("policy", ["mixed_bfloat16"], indirect=True)
def test_bfloat16_keeps_all_gray_levels_apart(policy):
    model = backbones.mlp((256, 1, 1), hidden=(2,))
    scaled = keras.Model(model.input, model.get_layer("rescale").output)
    levels = scaled(np.arange(256, dtype="uint8").reshape(1, 256, 1, 1))
    assert len(np.unique(tf.cast(tf.cast(levels, policy[6:]), "float32"))) == 256


@pytest.mark.parametrize("name", ["small_cnn", "mlp"])
def test_saved_net_gives_the_same_features(name, tmp_path):
    model = getattr(backbones, name)((8, 8, 3))
    model(images(16), training=True)  # moves the averages off their initial values
    model.save(tmp_path / "net.keras")
    loaded = keras.models.load_model(tmp_path / "net.keras")
    np.testing.assert_array_equal(loaded(images()), model(images()))


def test_net_rebuilt_from_its_config_gives_the_same_features(build):
    model = build("resnet18", (8, 8, 3))
    rebuilt = keras.models.model_from_json(model.to_json())
    rebuilt.set_weights(model.get_weights())
    np.testing.assert_array_equal(rebuilt(images()), model(images()))


@pytest.mark.slow
def test_small_cnn_memorizes_random_labels():
    keras.utils.set_random_seed(0)
    model = keras.Sequential([backbones.small_cnn((8, 8, 1)), keras.layers.Dense(10)])
    x = images(128, (8, 8, 1))
    y = np.random.default_rng(1).integers(0, 10, 128)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    optimizer = keras.optimizers.SGD(0.1, momentum=0.9)
    model.compile(optimizer, loss, metrics=["accuracy"], run_eagerly=True)
    history = model.fit(x, y, batch_size=128, epochs=20, verbose=0).history
    assert history["accuracy"][-1] > 0.95


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: backbones.mlp((28, 28)), r"\(height, width, channels\).*\(28, 28\)"),
        (lambda: backbones.small_cnn(28), "Received: input_shape=28"),
        (lambda: backbones.resnet18((1, 32, 32, 3)), "without the batch"),
        (lambda: backbones.resnet18((32, 32, None)), r"input_shape\[2\]=None"),
        (lambda: backbones.mlp((None, 28, 1)), r"input_shape\[0\]=None"),
        (lambda: backbones.mlp((28, 28, 0)), r"input_shape\[2\]=0"),
        (lambda: backbones.mlp((28, 28, 1), hidden=()), "`hidden`.*at least one"),
        (lambda: backbones.mlp((28, 28, 1), hidden=512), "Received: hidden=512"),
        (lambda: backbones.mlp((28, 28, 1), hidden=(8, 0)), "hidden=0"),
        (lambda: backbones.small_cnn((8, 8, 1), dim=0), "dim=0"),
        (lambda: backbones.small_cnn((3, 8, 1)), "at least 4 pixels"),
        (lambda: backbones.small_resnet((15, 16, 3)), "4 stages.*at least 16 pixels"),
        (lambda: backbones.resnet18((32, 32, 3), stem="Cifar10"), "mean 'cifar'"),
        (lambda: backbones.resnet18((32, 32, 3), stem=3), r"'imagenet'\].*=3\."),
        (lambda: backbones.resnet18((32, 32, 3), stem="imagenet"), 'stem="cifar"'),
        (lambda: backbones.resnet50((224, 63, 3)), "at least 64 pixels"),
        (lambda: backbones.resnet34((7, 7, 3)), "small_cnn"),
        (lambda: backbones.preact_resnet18((7, 7, 3)), "at least 8 pixels"),
    ],
)
def test_bad_arguments_are_refused_with_a_remedy(build, message):
    with pytest.raises(ValueError, match=message):
        build()
