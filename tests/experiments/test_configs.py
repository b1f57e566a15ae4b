"""Tests of configs/: what each says, that each trains, and that it is the paper's."""

import ast
import contextlib
import importlib.util
import os
import pathlib
import re
import types

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from keras.src.utils import file_utils

from keras_ncr.datasets import from_arrays
from keras_ncr.experiments.batches import (
    evaluation_batches,
    steps_per_epoch,
    training_batches,
)
from keras_ncr.experiments.config_checks import check_config
from keras_ncr.experiments.data import load_sources
from keras_ncr.experiments.labels import noisy
from keras_ncr.experiments.methods import consistency_settings
from keras_ncr.experiments.model import backbone as backbone_of
from keras_ncr.experiments.model import compiled_model
from keras_ncr.experiments.schedule import learning_rate_schedule

CONFIGS = pathlib.Path(__file__).parents[2] / "configs"
FILES = sorted(path.name for path in CONFIGS.glob("*.py"))


def load_config(name):
    """Returns what `--config=configs/{name}` gives, `name` being `file.py:argument`."""
    file, _, argument = name.partition(":")
    spec = importlib.util.spec_from_file_location(file[:-3], CONFIGS / file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.get_config(argument or None)


def test_there_is_a_config_for_every_data_set():
    assert FILES == [
        "animal10n.py",
        "cifar.py",
        "cifar_features.py",
        "cifar_n.py",
        "clothing1m.py",
        "digits.py",
        "fashion_mnist.py",
        "features.py",
        "folder.py",
        "food101n.py",
        "mini_imagenet.py",
        "table.py",
        "tabular.py",
        "text.py",
        "tfds.py",
        "webvision.py",
    ]


@pytest.mark.parametrize("file", FILES)
def test_commands_of_the_docstring_are_valid(file):
    source = (CONFIGS / file).read_text(encoding="utf-8")
    names = re.findall(r"--config=configs/(\S+)", source)
    assert len(names) >= 2
    for name in names:
        assert name.startswith(file)
        check_config(load_config(name))


@pytest.mark.parametrize("file", FILES)
def test_docstring_says_what_a_config_must_say(file):
    source = (CONFIGS / file).read_text(encoding="utf-8")
    for word in ("Reference: https://", "Arguments: "):
        assert word in source
    for word in ("hardware", "time", "result"):
        assert word in source.lower()


@pytest.mark.parametrize("file", FILES)
def test_docstring_lists_the_arguments_that_are_taken(file):
    source = (CONFIGS / file).read_text(encoding="utf-8")
    listed = re.search(r"^Arguments: (.*?)Commands:", source, re.S | re.M).group(1)
    (call,) = (
        node
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call)
        and getattr(node.func, "id", "") == "string_arguments"
    )
    assert call.keywords
    for keyword in call.keywords:
        assert re.search(rf"\b{keyword.arg}\b", listed), keyword.arg


# Two steps and an evaluation of each


@contextlib.contextmanager
def made_data(config, folder):
    """Stands for the data that a config asks for: made ones, of the real features."""
    if config.data.name in ("folder", "table"):
        write_pictures(folder)
        is_table = config.data.name == "table"
        config.data.path = str(folder / "labels.csv" if is_table else folder)
        yield
        return
    if config.data.name in ("features", "text", "tabular"):
        config.data.path = str(write_rows(folder, config.data.name))
        yield
        return
    with tfds.testing.mock_data(num_examples=6):
        yield


def write_pictures(folder):
    """Twelve pictures in two class folders, and a table of them."""
    rng = np.random.default_rng(0)
    rows = ["path,label"]
    for number in range(12):
        name = f"{'cat' if number % 2 else 'dog'}/{number}.png"
        (folder / name).parent.mkdir(exist_ok=True)
        pixels = rng.integers(0, 256, (8 + number, 20 - number, 3), "uint8")
        (folder / name).write_bytes(tf.io.encode_png(pixels).numpy())
        rows.append(f"{name},{name[:3]}")
    (folder / "labels.csv").write_text("\n".join(rows))


def write_rows(folder, kind):
    """Twelve rows of two classes: features, or a table of texts and numbers."""
    labels = ["cat", "dog"] * 6
    if kind == "features":
        features = np.random.default_rng(0).normal(size=(12, 4))
        np.savez(folder / "features.npz", features=features, labels=labels)
        return folder / "features.npz"
    rows = [f"a {label} {n},{n},{label}" for n, label in enumerate(labels)]
    (folder / "rows.csv").write_text("\n".join(["text,size,label", *rows]))
    return folder / "rows.csv"


def small(config):
    """Shrinks what the data do not depend on: batches, and files to download."""
    config.batch_size = 2
    config.steps_per_epoch = 2 if config.steps_per_epoch else 0
    if config.data.limit:
        config.data.limit = 4
    if config.model.weights == "imagenet":
        config.model.weights = ""
    return config


def smaller(config):
    """Shrinks images and network too."""
    config = small(config)
    if config.data.name in ("features", "text", "tabular"):
        return config
    if config.data.image_size > 32:
        config.data.short_side = 36 if config.data.short_side else 0
        config.data.image_size = 32
    config.model.backbone, config.model.stem = "small_cnn", "cifar"
    return config


def train_and_evaluate(config):
    """Trains two steps, evaluates one batch of every test split; returns the logs."""
    check_config(config)
    sources = load_sources(config.data)
    train = noisy(config, sources.train)
    model = compiled_model(config, train)
    model.run_eagerly = True
    before = [variable.numpy() for variable in model.trainable_variables]
    batches = training_batches(config, train, seed=0)
    history = model.fit(batches, steps_per_epoch=2, shuffle=False, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    assert ("neighbor_consistency_loss" in history) == (config.method == "ncr")
    # The first step of a warm-up has a learning rate of 0, the second has not.
    assert any(
        np.any(variable.numpy() != value)
        for variable, value in zip(model.trainable_variables, before, strict=True)
    )
    for source in (sources.test, *sources.final.values()):
        batches = evaluation_batches(config, source).take(1)
        logs = model.evaluate(batches, verbose=0, return_dict=True)
        assert np.isfinite(logs["loss"])
        assert ("top_5_accuracy" in logs) == config.top_5
    return sources


# One of each kind of data, and two of the largest. The others differ by their source.
NAMES = [
    "clothing1m.py:ncr,balanced=true",
    "folder.py",
    "tabular.py",
    "text.py:texts.csv,method=standard",
]
VARIANTS = [
    "webvision.py",
    "digits.py:standard",
    "features.py",
    "fashion_mnist.py:standard,noise=instance,rate=0.8",
    "tfds.py:mnist",
    "animal10n.py",
    "cifar.py:standard,noise=asymmetric,classes=100",
    "cifar_n.py",
    "food101n.py:standard",
    "mini_imagenet.py:standard,color=blue,rate=80,size=32",
    "table.py:labels.csv,method=standard,size=32",
    "cifar.py",
    "cifar_n.py:standard,labels=fine",
    "clothing1m.py:standard",
    "digits.py",
    "digits.py:ncr,noise=pair_flip,rate=0.45",
    "digits.py:standard,noise=instance,rate=0.2",
    "digits.py:ncr,noise=none",
    "fashion_mnist.py",
    "folder.py:pictures,size=224,backbone=MobileNetV2",
    "mini_imagenet.py",
    "mini_imagenet.py:ncr,rate=0,size=84",
    "tfds.py:oxford_flowers102,noise=symmetric,size=32,backbone=MobileNet",
    "webvision.py:standard,subset=full",
]


@pytest.mark.parametrize(
    "name", NAMES + [pytest.param(name, marks=pytest.mark.slow) for name in VARIANTS]
)
def test_config_trains_and_evaluates(name, tmp_path):
    config = smaller(load_config(name))
    with made_data(config, tmp_path):
        train_and_evaluate(config)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES + VARIANTS)
def test_config_trains_and_evaluates_at_its_own_size_with_its_own_network(
    name, tmp_path
):
    config = small(load_config(name))
    with made_data(config, tmp_path):
        train_and_evaluate(config)


# What the paper says


def learning_rates(config, num_examples, epochs):
    """Returns the learning rate at the given epochs."""
    source = types.SimpleNamespace(num_examples=num_examples)
    steps = steps_per_epoch(config, source)
    schedule = learning_rate_schedule(config, steps)
    return [float(schedule(round(epoch * steps))) for epoch in epochs]


# Config: training examples; and from the paper's Table 4 network, batch size, peak of
# the learning rate, epochs, weight decay.
TABLE_4 = {
    "cifar.py": (50_000, "resnet18", 256, 0.1, 250, 5e-4),
    "mini_imagenet.py:ncr,color=red": (50_000, "resnet18", 128, 0.1, 130, 5e-4),
    "mini_imagenet.py:ncr,color=blue": (60_000, "resnet18", 128, 0.1, 130, 5e-4),
    "webvision.py": (65_944, "resnet50", 256, 0.1, 130, 1e-3),
    "webvision.py:ncr,subset=full": (2_400_000, "resnet50", 1024, 0.1, 130, 1e-3),
    "clothing1m.py": (1_000_000, "ResNet50", 128, 0.002, 80, 1e-3),
}


@pytest.mark.parametrize("name", TABLE_4)
def test_training_is_that_of_table_4(name):
    num_examples, backbone, batch_size, peak, epochs, weight_decay = TABLE_4[name]
    config = load_config(name)
    assert config.model.backbone == backbone
    assert (config.batch_size, config.epochs, config.trials) == (batch_size, epochs, 5)
    assert config.optimizer.momentum == 0.9 and not config.optimizer.nesterov
    assert config.optimizer.plain_velocity
    assert config.optimizer.weight_decay == weight_decay
    assert not config.optimizer.decay_kernels_only
    # Five epochs of warm-up from 0; then half a cosine, its middle halfway to the end.
    middle = (5 + epochs) / 2
    rates = learning_rates(config, num_examples, [0, 2.5, 5, middle, epochs])
    expected = peak * np.array([0, 0.5, 1, 0.5, 0])
    np.testing.assert_allclose(rates, expected, atol=1e-3 * peak)


@pytest.mark.parametrize(
    ("name", "num_examples", "steps"),
    [
        ("cifar.py", 50_000, 196),
        ("mini_imagenet.py:ncr,color=red", 50_000, 391),
        ("mini_imagenet.py:ncr,color=blue", 60_000, 469),
        ("webvision.py", 65_944, 258),
        ("clothing1m.py", 1_000_000, 1000),
    ],
)
def test_epochs_have_all_images_or_the_papers_1000_batches(name, num_examples, steps):
    source = types.SimpleNamespace(num_examples=num_examples)
    assert steps_per_epoch(load_config(name), source) == steps


# Of ELR+: steps of both ramps, and labels by targets (ELR_plus/config_cifar*.json of
# the released code); of DivideMix: epochs of warm-up, lambda_u, and the penalty
# (Train_CIFAR.py, and the paper's table of lambda_u).
@pytest.mark.parametrize(
    ("argument", "elr_plus", "divide_mix"),
    [
        ("rate=0.2", (0, 40_000, False), (10, 0.0, False)),
        ("rate=0.8", (0, 40_000, False), (10, 25.0, False)),
        ("noise=asymmetric", (0, 40_000, False), (10, 0.0, True)),
        ("classes=100,rate=0.2", (40_000, 40_000, True), (30, 25.0, False)),
        ("classes=100,rate=0.5", (40_000, 40_000, True), (30, 150.0, False)),
        ("classes=100,noise=asymmetric_blocks", (40_000,) * 2 + (True,), (30, 150, 1)),
    ],
)
def test_peers_have_on_cifar_what_their_code_has(argument, elr_plus, divide_mix):
    config = load_config(f"cifar.py:elr_plus,{argument}")
    ours = config.elr_plus
    assert (
        ours.ramp_steps,
        ours.average_ramp_steps,
        ours.labels_by_targets,
    ) == elr_plus
    ours = config.divide_mix
    assert (
        ours.warmup_epochs,
        ours.unlabeled_weight,
        ours.penalize_confidence,
    ) == divide_mix


# alpha, k, e of the paper's Table 5; CIFAR's there are for NCR with ELR.
TABLE_5 = {
    "mini_imagenet.py:ncr,rate=0": (0.9, 50, 50),
    "mini_imagenet.py:ncr,rate=20": (0.9, 10, 50),
    "mini_imagenet.py:ncr,rate=40": (0.7, 5, 50),
    "mini_imagenet.py:ncr,rate=80": (0.9, 100, 50),
    "mini_imagenet.py:ncr,color=blue,rate=80": (0.9, 100, 50),
    "mini_imagenet.py:ncr,rate=30": (0.9, 10, 50),  # Not in the paper: as 20.
    "webvision.py": (0.5, 10, 0),
    "webvision.py:ncr,subset=full": (0.5, 10, 0),
    "clothing1m.py": (0.9, 1, 40),
}


@pytest.mark.parametrize("name", TABLE_5)
def test_consistency_is_that_of_table_5(name):
    ncr = load_config(name).ncr
    assert (ncr.consistency_weight, ncr.num_neighbors, ncr.warmup_epochs) == TABLE_5[
        name
    ]
    # Equation 3 as it is printed.
    assert (ncr.temperature, ncr.similarity_power) == (2, 1)
    assert ncr.direction == "self_to_neighbors" and not ncr.temperature_squared


# What was tuned for a data set stands in its config alone; the rest are defaults.
# Alpha, power, T squared.
TUNED = {
    "digits.py": (0.9, 1, False),
    "digits.py:ncr+elr": ("auto", 6, True),
    "digits.py:ncr+elr_plus": (0.3, 1, True),
    "digits.py:ncr+gjs": (0.9, 1, False),
    "fashion_mnist.py": (0.95, 3, False),
    "fashion_mnist.py:ncr+elr": ("auto", 6, True),
    "fashion_mnist.py:ncr+elr_plus": (0.3, 3, True),
    "cifar.py": (0.9, 1, False),
    "cifar.py:ncr+elr": (0.1, 1, False),
    "cifar.py:ncr+elr_plus,rate=0.8": (0.1, 1, False),
}


@pytest.mark.parametrize("name", TUNED)
def test_consistency_is_as_it_was_tuned(name):
    settings = consistency_settings(load_config(name))
    keys = ("consistency_weight", "similarity_power", "temperature_squared")
    assert tuple(settings[key] for key in keys) == TUNED[name]


@pytest.mark.parametrize(
    ("name", "size", "short_side", "crop", "flip"),
    [
        ("cifar.py", 0, 0, "padded", True),
        ("mini_imagenet.py", 224, 256, "resized", True),
        ("mini_imagenet.py:ncr,size=84", 84, 0, "resized", True),
        ("mini_imagenet.py:ncr,size=32", 32, 0, "padded", True),
        ("webvision.py", 224, 256, "resized", True),
        ("clothing1m.py", 224, 256, "random", True),
        ("tfds.py:mnist", 0, 0, "padded", False),
    ],
)
def test_images_are_cut_as_they_should_be(name, size, short_side, crop, flip):
    config = load_config(name)
    assert (config.data.image_size, config.data.short_side) == (size, short_side)
    assert (config.augment.crop, config.augment.flip) == (crop, flip)
    assert config.augment.padding == (4 if crop == "padded" else 0)


@pytest.mark.parametrize("kind", ["folder", "table", "tfds"])
def test_consistency_waits_for_features(kind):
    config = load_config(f"{kind}.py:x,epochs=31")
    assert (config.epochs, config.ncr.warmup_epochs) == (31, 10)


@pytest.mark.parametrize("subset", ["mini", "full"])
def test_webvision_has_a_cosine_classifier_and_two_tests(subset):
    config = load_config(f"webvision.py:ncr,subset={subset}")
    assert config.model.classifier == "cosine" and config.top_5
    assert config.data.test_split == "validation"
    assert config.data.final_splits == "imagenet"


def test_clothing1m_starts_from_imagenet_weights_or_says_why_not(monkeypatch):
    def get_file(*args, **kwargs):
        raise OSError("Network is unreachable")

    monkeypatch.setattr(file_utils, "get_file", get_file)
    config = load_config("clothing1m.py")
    with pytest.raises(ValueError, match="(?s)ResNet50.*Network is unreachable"):
        photographs = types.SimpleNamespace(name="photographs", kind="images")
        backbone_of(config.model, photographs, (224, 224, 3))


def test_decay_is_on_all_variables_of_a_pretrained_network():
    config = load_config("clothing1m.py:ncr,weights=")
    config.model.backbone = "MobileNet"
    source = from_arrays(np.zeros((4, 32, 32, 3), "uint8"), [0, 1, 2, 3])
    config.data.image_size = config.data.short_side = 32
    model = compiled_model(config, source)
    decays = model.optimizer._use_weight_decay
    assert all(decays(variable) for variable in model.trainable_variables)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("cifar.py:ncr,classes=20", "must be 10 or 100. Received: 20"),
        ("mini_imagenet.py:ncr,color=green", "`color` must be one of"),
        ("mini_imagenet.py:ncr,rate=25", "`rate` must be one of .*Received: rate=25"),
        ("mini_imagenet.py:ncr,size=96", "`size` must be one of .*Received: size=96"),
        ("webvision.py:ncr,subset=min", "`subset` must be .*Did you mean 'mini'"),
        ("clothing1m.py:ncr,balanced=1", "`balanced` .* of type bool. Received: '1'"),
    ],
)
def test_argument_that_there_is_not_is_refused(name, message):
    with pytest.raises(ValueError, match=message):
        load_config(name)


@pytest.mark.parametrize("kind", ["folder", "table"])
def test_own_pictures_need_a_path(kind):
    config = load_config(f"{kind}.py")
    message = f"`config.data.path` must say where the {kind} is.*{kind}.py:PATH"
    with pytest.raises(ValueError, match=message):
        load_sources(config.data)


if "KERAS_NCR_DATA_DIR" in os.environ:  # real data, which not every machine has

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("name", "num_train"),
        [
            ("cifar.py", 50_000),
            ("cifar.py:standard,noise=asymmetric", 50_000),
            ("fashion_mnist.py", 10_000),
            ("tfds.py:fashion_mnist,size=32,backbone=small_cnn", 60_000),
        ],
    )
    def test_config_trains_and_evaluates_on_real_data(name, num_train):
        config = load_config(name)
        config.data.dir = os.environ["KERAS_NCR_DATA_DIR"]
        config.batch_size = 16
        sources = train_and_evaluate(config)
        assert sources.train.num_examples == num_train
        assert sources.test.num_examples == 10_000
