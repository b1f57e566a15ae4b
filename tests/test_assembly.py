"""Tests of assembly.py, and of every config through it."""

import importlib.util
import pathlib
import re

import keras
import numpy as np
import pytest
import tensorflow_datasets as tfds

from keras_ncr import assembly, noise, pipelines
from keras_ncr.config import default_config
from keras_ncr.datasets import digits, from_arrays

CONFIGS = pathlib.Path(__file__).parents[1] / "configs"


def load_config(name):
    """Returns what `--config=configs/{name}` gives, `name` being `file.py:argument`."""
    file, _, argument = name.partition(":")
    spec = importlib.util.spec_from_file_location(file[:-3], CONFIGS / file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.get_config(argument or None)


def random_source(num_examples, image_shape=(4, 4, 1), num_classes=10):
    """Returns a `Source` of noise images."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (num_examples, *image_shape), dtype="uint8")
    labels = np.arange(num_examples) % num_classes
    return from_arrays(images, labels, num_classes)


def learning_rates(config, num_examples, epochs):
    """Returns the learning rate at the given epochs."""
    steps = pipelines.steps_per_epoch(num_examples, config.batch_size)
    schedule = assembly.learning_rate_schedule(config, steps)
    return [float(schedule(round(epoch * steps))) for epoch in epochs]


# Every config


@pytest.mark.parametrize("file", sorted(path.name for path in CONFIGS.glob("*.py")))
def test_commands_of_the_docstring_are_valid(file):
    source = (CONFIGS / file).read_text(encoding="utf-8")
    names = re.findall(r"--config=configs/(\S+)", source)
    assert len(names) >= 2
    for name in names:
        assert name.startswith(file)
        assembly.check_config(load_config(name))


@pytest.mark.parametrize("file", sorted(path.name for path in CONFIGS.glob("*.py")))
def test_docstring_says_what_a_config_must_say(file):
    source = (CONFIGS / file).read_text(encoding="utf-8")
    for word in ("Reference: https://", "Arguments: "):
        assert word in source
    for word in ("hardware", "time", "result"):
        assert word in source.lower()


@pytest.mark.parametrize(
    "name",
    [
        "digits.py",
        "digits.py:standard",
        "digits.py:ncr,noise=pair_flip,rate=0.45",
        "digits.py:standard,noise=instance,rate=0.2",
        "digits.py:ncr,noise=none",
        "fashion_mnist.py",
        "fashion_mnist.py:standard,noise=instance,rate=0.8",
        "cifar.py",
        "cifar.py:standard,noise=asymmetric,classes=100",
    ],
)
def test_config_trains_and_evaluates(name):
    config = load_config(name)
    assembly.check_config(config)
    config.batch_size = 2
    if config.data.limit:
        config.data.limit = 4
    with tfds.testing.mock_data(num_examples=5):
        train, test = assembly.load_sources(config.data)
    labels = assembly.noisy_labels(config, train).noisy_labels
    model = assembly.compiled_model(config, train)
    model.run_eagerly = True
    before = [variable.numpy() for variable in model.trainable_variables]
    batches = pipelines.training_batches(
        train, 2, labels=labels, augment=assembly.augmentation(config.augment)
    )
    history = model.fit(batches, steps_per_epoch=2, shuffle=False, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    assert ("neighbor_consistency_loss" in history) == (config.method == "ncr")
    # The first step of a warm-up has a learning rate of 0, the second has not.
    assert any(
        np.any(variable.numpy() != value)
        for variable, value in zip(model.trainable_variables, before, strict=True)
    )
    evaluation = model.evaluate(
        pipelines.evaluation_batches(test, 2).take(1), verbose=0, return_dict=True
    )
    assert np.isfinite(evaluation["loss"])


def test_cifar_is_the_papers_table_4():
    config = load_config("cifar.py")
    assert (config.epochs, config.batch_size, config.trials) == (250, 256, 5)
    assert config.optimizer.momentum == 0.9
    assert config.optimizer.weight_decay == 5e-4
    assert config.model.backbone == "resnet18"
    # Warm-up from 0 to 0.1 in 5 epochs; then half a cosine, its middle at 127.5.
    rates = learning_rates(config, 50_000, [0, 2.5, 5, 127.5, 250])
    np.testing.assert_allclose(rates, [0, 0.05, 0.1, 0.05, 0], atol=1e-6)


@pytest.mark.parametrize("classes", [10, 100])
def test_cifar_has_the_classes_asked_for(classes):
    config = load_config(f"cifar.py:ncr,classes={classes}")
    with tfds.testing.mock_data(num_examples=4):
        train, _ = assembly.load_sources(config.data)
    assert train.num_classes == classes
    assert train.image_shape == (32, 32, 3)


def test_cifar_refuses_other_numbers_of_classes():
    with pytest.raises(ValueError, match="must be 10 or 100. Received: 20"):
        load_config("cifar.py:ncr,classes=20")


# Settings


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("method", "nrc", r"\['standard', 'ncr'\]. Received: 'nrc'. .*mean 'ncr'"),
        ("noise.kind", "symetric", "`config.noise.kind`.*mean 'symmetric'"),
        ("model.backbone", "resnet-18", "`config.model.backbone`.*mean 'resnet18'"),
        ("epochs", 0, "`config.epochs` must be an integer of at least 1.*=0"),
        ("trials", 0, "`config.trials` must be"),
        ("batch_size", -256, "`config.batch_size` must be"),
        ("seed", -1, "`config.seed` must be an integer of at least 0"),
        ("optimizer.learning_rate", 0.0, "learning_rate` must be above 0"),
        ("optimizer.learning_rate", float("nan"), "learning_rate` must be above 0"),
        ("optimizer.momentum", 1.0, "momentum` must be at least 0 and below 1"),
        ("optimizer.weight_decay", -1e-4, "weight_decay` must be at least 0"),
        ("optimizer.warmup_epochs", -1.0, "warmup_epochs` must be at least 0"),
        ("optimizer.warmup_epochs", 7.0, "below config.epochs=7. Received: 7.0"),
    ],
)
def test_setting_that_makes_no_run_is_refused(key, value, message):
    config = default_config()
    config.epochs = 7
    config.update_from_flattened_dict({key: value})
    with pytest.raises(ValueError, match=message):
        assembly.check_config(config)


@pytest.mark.parametrize(
    ("key", "value"),
    [("limit", 100), ("dir", "data"), ("train_split", "train[:9]")],
)
def test_setting_without_effect_on_digits_is_refused(key, value):
    data = default_config().data
    data[key] = value
    with pytest.raises(ValueError, match=f"`config.data.{key}`.*no effect on 'digits'"):
        assembly.load_sources(data)


def test_limit_is_one_on_training_examples():
    data = default_config().data
    data.name, data.limit = "cifar10", 6
    with tfds.testing.mock_data(num_examples=8):
        train, test = assembly.load_sources(data)
    assert (train.num_examples, test.num_examples) == (6, 8)


# Noise


@pytest.mark.parametrize(
    ("kind", "matrix"),
    [
        ("symmetric", noise.symmetric(10, 0.3, include_true=True)),
        ("pair_flip", noise.pair_flip(10, 0.3)),
    ],
)
def test_noise_is_that_of_the_matrix_and_seed(kind, matrix):
    train, _ = digits()
    config = default_config()
    config.noise.kind, config.noise.rate, config.noise.seed = kind, 0.3, 5
    labels = assembly.noisy_labels(config, train)
    expected = noise.LabelNoise(matrix, seed=5, exact=True).corrupt(train.labels)
    np.testing.assert_array_equal(labels.noisy_labels, expected)
    np.testing.assert_array_equal(labels.clean_labels, train.labels)
    np.testing.assert_array_equal(labels.ids, train.ids)


def test_without_the_true_class_the_rate_is_the_share_of_wrong_labels():
    config = default_config()
    config.noise.include_true, config.noise.exact = False, True
    labels = assembly.noisy_labels(config, digits()[0])
    assert labels.realized_rate == pytest.approx(0.4, abs=10 / 1437)


def test_noise_is_the_same_in_every_trial():
    train, _ = digits()
    first, second = default_config(), default_config()
    second.seed = first.seed + 1
    hashes = [assembly.noisy_labels(config, train).hash for config in (first, second)]
    assert hashes[0] == hashes[1]


def test_no_noise_leaves_the_labels():
    config = default_config()
    config.noise.kind = "none"
    assert assembly.noisy_labels(config, digits()[0]).realized_rate == 0


@pytest.mark.parametrize("name", ["cifar10", "cifar10:3.*.*"])
def test_asymmetric_noise_knows_a_data_set_by_its_name(name):
    config = default_config()
    config.data.name, config.noise.kind = name, "asymmetric"
    labels = assembly.noisy_labels(config, random_source(200))
    wrong = labels.is_noisy
    # Truck to automobile, bird to airplane, deer to horse, cat and dog to each other.
    pairs = set(
        zip(labels.clean_labels[wrong], labels.noisy_labels[wrong], strict=True)
    )
    assert pairs == {(9, 1), (2, 0), (4, 7), (3, 5), (5, 3)}


def test_asymmetric_noise_of_another_data_set_is_refused():
    config = default_config()
    config.noise.kind = "asymmetric"
    with pytest.raises(ValueError, match="digits"):
        assembly.noisy_labels(config, digits()[0])


# Model


def test_ncr_settings_reach_the_model():
    config = default_config()
    config.ncr.update(
        {
            "consistency_weight": 0.5,
            "warmup_epochs": 3,
            "num_neighbors": 7,
            "temperature": 4.0,
            "similarity_power": 2.0,
            "direction": "neighbors_to_self",
            "temperature_squared": True,
        }
    )
    config.model.classifier = "cosine"
    model = assembly.compiled_model(config, random_source(20))
    assert (model.consistency_weight, model.warmup_epochs) == (0.5, 3)
    assert type(model.classifier).__name__ == "CosineClassifier"
    loss = model.consistency_loss.get_config()
    assert loss["num_neighbors"] == 7
    assert loss["temperature"] == 4
    assert loss["similarity_power"] == 2
    assert loss["direction"] == "neighbors_to_self"
    assert loss["temperature_squared"] is True


def test_zero_neighbors_stand_for_all():
    config = default_config()
    config.ncr.num_neighbors = 0
    model = assembly.compiled_model(config, random_source(20))
    assert model.consistency_loss.get_config()["num_neighbors"] is None


@pytest.mark.parametrize("classifier", ["linear", "cosine"])
def test_methods_have_the_same_weights(classifier):
    shapes = {}
    for method in ("standard", "ncr"):
        config = default_config()
        config.method, config.model.classifier = method, classifier
        model = assembly.compiled_model(config, random_source(20))
        shapes[method] = [weight.shape for weight in model.weights]
    assert shapes["standard"] == shapes["ncr"]


# Optimizer


def test_learning_rate_without_warmup_starts_at_its_peak():
    config = default_config()
    config.epochs, config.optimizer.learning_rate = 100, 0.2
    rates = learning_rates(config, 1437, [0, 50, 100])
    np.testing.assert_allclose(rates, [0.2, 0.1, 0], atol=1e-7)


@pytest.mark.parametrize(("batch_size", "steps"), [(256, 6), (128, 12), (4096, 1)])
def test_steps_follow_the_batch_size(batch_size, steps):
    config = default_config()
    config.batch_size, config.epochs, config.optimizer.warmup_epochs = batch_size, 20, 5
    model = assembly.compiled_model(config, digits()[0])
    schedule = model.optimizer.get_config()["learning_rate"]["config"]
    assert schedule["warmup_steps"] == 5 * steps
    assert schedule["decay_steps"] == 15 * steps


def test_augmentation_is_made_only_if_asked_for():
    settings = default_config().augment
    assert assembly.augmentation(settings) is None
    settings.padding = 2
    image = np.zeros((4, 4, 1), "uint8")
    assert assembly.augmentation(settings)(image, seed=[0, 1]).shape == (4, 4, 1)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_weight_decay_shrinks_as_the_papers_does(momentum):
    """Keras decays past the momentum, papers through it: the long run is the same."""
    config = default_config()
    config.epochs, config.optimizer.learning_rate = 5000, 0.1
    config.optimizer.momentum, config.optimizer.weight_decay = momentum, 5e-4
    rates = 0.05 * (1 + np.cos(np.pi * np.arange(5000) / 5000))
    ours = np.cumprod(1 - rates * 5e-4 / (1 - momentum))

    variable = keras.Variable([1.0])
    optimizer = assembly.optimizer(config, steps_per_epoch=1)
    for _ in range(10):
        optimizer.apply([np.zeros(1, "float32")], [variable])
    assert float(variable[0]) == pytest.approx(ours[9], rel=1e-6)

    weight, velocity = 1.0, 0.0
    for rate in rates:  # As in PyTorch and the papers: decay enters the gradient.
        velocity = momentum * velocity - rate * 5e-4 * weight
        weight += velocity
    assert np.log(ours[-1]) == pytest.approx(np.log(weight), rel=0.01)


def decayed(config):
    """Returns the names of the weights that shrink when there is no gradient."""
    model = assembly.compiled_model(config, random_source(20, (8, 8, 1)))
    variables = model.trainable_variables
    for variable in variables:
        variable.assign(np.ones(variable.shape))  # Biases start at 0, where none shows.
    model.optimizer.apply([np.zeros(v.shape, "float32") for v in variables], variables)
    return {v.name for v in variables if np.all(v.numpy() < 1)}


@pytest.mark.parametrize(
    ("weight_decay", "kernels_only", "expected"),
    [
        (0.0, False, set()),
        (0.0, True, set()),
        (5e-4, True, {"kernel"}),
        (5e-4, False, {"kernel", "bias", "gamma", "beta"}),
    ],
)
def test_weights_that_decay_are_those_asked_for(weight_decay, kernels_only, expected):
    config = default_config()
    config.optimizer.weight_decay = weight_decay
    config.optimizer.decay_kernels_only = kernels_only
    assert decayed(config) == expected


def test_scale_of_the_cosine_classifier_does_not_decay():
    config = default_config()
    config.optimizer.weight_decay = 5e-4
    config.optimizer.decay_kernels_only = True
    config.model.classifier = "cosine"
    assert decayed(config) == {"kernel"}


def test_asymmetric_noise_is_refused_where_no_look_alikes_are_known():
    config = default_config()
    config.noise.kind = "asymmetric"
    with pytest.raises(ValueError, match="config.noise.kind.*='digits'.*pair_flip"):
        assembly.noisy_labels(config, digits()[0])
