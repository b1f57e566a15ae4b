"""Tests of experiments/: what a config becomes."""

import keras
import numpy as np
import pytest
import tensorflow_datasets as tfds
from settings import config_of
from sources import annotated_source, random_source

from keras_ncr import datasets, pipelines
from keras_ncr.datasets import digits
from keras_ncr.experiments.batches import (
    augmentation,
    evaluation_batches,
    input_shape,
    preparation,
    steps_per_epoch,
    training_batches,
)
from keras_ncr.experiments.config import default_config
from keras_ncr.experiments.config_checks import check_config
from keras_ncr.experiments.data import Sources, load_sources
from keras_ncr.experiments.model import backbone, compiled_model
from keras_ncr.experiments.own_pictures import picture_folder
from keras_ncr.experiments.schedule import learning_rate_schedule
from keras_ncr.experiments.schedule import optimizer as optimizer_of
from keras_ncr.pipelines import augmentation as augment

# Settings


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("method", "nrc", r"\['standard', 'ncr', .*Received: 'nrc'. .*mean 'ncr'"),
        ("noise.kind", "symetric", "`config.noise.kind`.*mean 'symmetric'"),
        ("model.backbone", "resnet-18", "`config.model.backbone`.*mean 'resnet18'"),
        ("epochs", 0, "`config.epochs` must be an integer of at least 1.*=0"),
        ("trials", 0, "`config.trials` must be"),
        ("batch_size", -256, "`config.batch_size` must be"),
        ("seed", -1, "`config.seed` must be an integer of at least 0"),
        ("optimizer.learning_rate", 0.0, "learning_rate` must be above 0"),
        ("optimizer.learning_rate", float("nan"), "learning_rate` must be above 0"),
        ("optimizer.momentum", 1.0, "momentum` must be at least 0 and below 1"),
        ("checkpoint_seconds", -1.0, "checkpoint_seconds` must be at least 0, which"),
        ("optimizer.weight_decay", -1e-4, "weight_decay` must be at least 0"),
        ("optimizer.warmup_epochs", -1.0, "warmup_epochs` must be at least 0"),
        ("steps_per_epoch", -1, "`config.steps_per_epoch` must be an integer"),
        ("augment.crop", "inception", "`config.augment.crop` must be one of"),
        ("augment.crop", "resized", "`config.data.image_size` must be above 0"),
        ("data.short_side", 256, "`config.data.image_size` must be above 0"),
        ("data.image_size", -8, "`config.data.image_size` must be an integer"),
        ("data.balanced", True, "`config.data.balanced` needs .*steps_per_epoch"),
        ("optimizer.warmup_epochs", 7.0, "below config.epochs=7. Received: 7.0"),
    ],
)
def test_setting_that_makes_no_run_is_refused(key, value, message):
    config = config_of(**{"epochs": 7, key: value})
    with pytest.raises(ValueError, match=message):
        check_config(config)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("limit", 100),
        ("dir", "data"),
        ("train_split", "train[:9]"),
        ("path", "pictures"),
        ("label_key", "label"),
        ("final_splits", "validation"),
    ],
)
def test_setting_without_effect_on_digits_is_refused(key, value):
    data = default_config().data
    data[key] = value
    with pytest.raises(ValueError, match=f"`config.data.{key}`.*no effect on 'digits'"):
        load_sources(data)


def test_limit_is_one_on_training_examples():
    data = default_config().data
    data.name, data.limit = "cifar10", 6
    with tfds.testing.mock_data(num_examples=8):
        train, test, *_ = load_sources(data)
    assert (train.num_examples, test.num_examples) == (6, 8)


@pytest.mark.parametrize(
    ("name", "path", "splits", "expected"),
    [
        ("digits", "", (), None),
        ("folder", "pets", (), "pets"),
        ("folder", "pets", ("train",), "pets"),
        ("folder", "pets", ("train", "test"), "pets/train"),
        ("table", "pets/labels.csv", (), "pets"),
    ],
)
def test_ids_of_pictures_start_from_a_folder(tmp_path, name, path, splits, expected):
    for split in splits:
        (tmp_path / path / split).mkdir(parents=True)
    data = default_config().data
    data.name, data.path = name, str(tmp_path / path)
    expected = None if expected is None else tmp_path / expected
    assert picture_folder(data) == expected


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
    model = compiled_model(config, random_source(20))
    assert (model.consistency_weight, model.warmup_epochs) == (0.5, 3)
    assert type(model.classifier).__name__ == "CosineClassifier"
    loss = model.consistency_loss.get_config()
    assert loss["num_neighbors"] == 7
    assert loss["temperature"] == 4
    assert loss["similarity_power"] == 2
    assert loss["direction"] == "neighbors_to_self"
    assert loss["temperature_squared"] is True


def test_zero_neighbors_stand_for_all():
    config = config_of(ncr__num_neighbors=0)
    model = compiled_model(config, random_source(20))
    assert model.consistency_loss.get_config()["num_neighbors"] is None


@pytest.mark.parametrize("classifier", ["linear", "cosine"])
def test_methods_have_the_same_weights(classifier):
    shapes = {}
    for method in ("standard", "ncr"):
        config = config_of(method=method, model__classifier=classifier)
        model = compiled_model(config, random_source(20))
        shapes[method] = [weight.shape for weight in model.weights]
    assert shapes["standard"] == shapes["ncr"]


# Optimizer


def test_learning_rate_without_warmup_starts_at_its_peak():
    config = config_of(epochs=100, optimizer__learning_rate=0.2)
    schedule = learning_rate_schedule(config, steps_per_epoch=6)
    rates = [float(schedule(6 * epoch)) for epoch in (0, 50, 100)]
    np.testing.assert_allclose(rates, [0.2, 0.1, 0], atol=1e-7)


@pytest.mark.parametrize(("batch_size", "steps"), [(256, 6), (128, 12), (4096, 1)])
def test_steps_follow_the_batch_size(batch_size, steps):
    config = config_of(batch_size=batch_size, epochs=20, optimizer__warmup_epochs=5)
    model = compiled_model(config, digits()[0])
    schedule = model.optimizer.get_config()["learning_rate"]["config"]
    assert schedule["warmup_steps"] == 5 * steps
    assert schedule["decay_steps"] == 15 * steps


def test_augmentation_is_made_only_if_asked_for():
    config, source = default_config(), random_source(4)
    assert augmentation(config, source) is None
    assert preparation(config, source) is None
    config.augment.padding = 1
    shifted = augmentation(config, source)(source.images[0], [0, 1])
    assert shifted.shape == (4, 4, 1)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, augment.crop_and_flip(0, False, 6)),
        (
            {"augment.padding": 2, "augment.flip": True},
            augment.crop_and_flip(2, True, 6),
        ),
        (
            {"augment.crop": "random", "data.short_side": 9},
            augment.random_crop(6, 9, flip=False),
        ),
        ({"augment.crop": "random"}, augment.random_crop(6, 6, flip=False)),
        (
            {"augment.crop": "resized", "augment.min_area": 0.7},
            augment.random_resized_crop(6, 0.7, flip=False),
        ),
    ],
)
def test_augmentation_is_the_one_asked_for(settings, expected):
    config = config_of(data__image_size=6, **settings)
    check_config(config)
    source = random_source(2, (12, 20, 3))
    change = augmentation(config, source)
    for number in range(5):
        image = change(source.images[0], [0, number])
        assert image.shape == input_shape(config, source) == (6, 6, 3)
        np.testing.assert_array_equal(image, expected(source.images[0], [0, number]))


@pytest.mark.parametrize("short_side", [0, 9])
def test_tests_see_the_middle_of_the_image(short_side):
    config = config_of(augment__crop="random")
    config.data.image_size, config.data.short_side = 6, short_side
    source = random_source(2, (12, 20, 3))
    expected = augment.central_crop(6, short_side or None)(source.images[0])
    prepared = preparation(config, source)(source.images[0])
    np.testing.assert_array_equal(prepared, expected)


def test_settings_of_reading_reach_the_pipelines(monkeypatch):
    passed = {}
    for name in ("training_batches", "evaluation_batches"):
        monkeypatch.setattr(
            pipelines,
            name,
            lambda *args, name=name, **options: passed.update({name: options}),
        )
    config, source = default_config(), random_source(40)
    config.data.cache, config.data.shuffle_buffer = False, 7
    config.steps_per_epoch, config.batch_size, config.data.balanced = 2, 8, True
    training_batches(config, source, seed=3, first_epoch=4)
    evaluation_batches(config, source, carry=["index"])
    training, evaluation = passed["training_batches"], passed["evaluation_batches"]
    assert training["cache"] is False and training["shuffle_buffer"] == 7
    assert training["examples_per_epoch"] == 16 and training["balanced"] is True
    assert (training["seed"], training["first_epoch"]) == (3, 4)
    assert training["num_epochs"] == config.epochs
    assert evaluation["cache"] is False and evaluation["carry"] == ["index"]


def test_another_label_is_another_label_in_testing_too():
    data = default_config().data
    data.name, data.label_key = "smallnorb", "label_elevation"
    with tfds.testing.mock_data(num_examples=4):
        train, test, *_ = load_sources(data)
    assert train.num_classes == test.num_classes == 9


def test_tests_of_other_classes_are_refused(monkeypatch):
    sources = Sources(random_source(10), random_source(9, num_classes=9))
    monkeypatch.setattr(datasets, "digits", lambda: sources[:2])
    with pytest.raises(
        ValueError, match="must have the classes of .* 9 and 10 classes"
    ):
        load_sources(default_config().data)


def test_tests_count_what_is_known_to_be_true(monkeypatch):
    sources = random_source(10), annotated_source()
    monkeypatch.setattr(datasets, "digits", lambda: sources)
    _, test, *_ = load_sources(default_config().data)
    kept = np.setdiff1d(np.arange(60), [30])  # The one that is of no class.
    given, true = annotated_source().labels, annotated_source().clean_labels
    assert np.array_equal(test.labels, true[kept])
    assert np.any(test.labels != given[kept])
    batches = evaluation_batches(default_config(), test)
    labels = np.concatenate([labels for _, labels in batches.as_numpy_iterator()])
    assert np.array_equal(labels, true[kept])


def test_an_epoch_may_have_fewer_steps_than_the_data():
    config, source = default_config(), random_source(100)
    config.batch_size, config.epochs = 8, 2
    assert steps_per_epoch(config, source) == 13
    config.steps_per_epoch, config.data.balanced = 3, True
    assert steps_per_epoch(config, source) == 3
    batches = training_batches(config, source, seed=0)
    labels = np.concatenate([labels for _, labels in batches.as_numpy_iterator()])
    assert len(labels) == 2 * 24
    assert np.ptp(np.bincount(labels[:24], minlength=10)) <= 1
    assert float(compiled_model(config, source).optimizer.learning_rate) > 0


def test_backbones_of_keras_applications_are_known_by_name():
    settings = default_config().model
    settings.backbone = "MobileNet"
    network = backbone(settings, random_source(8, (32, 32, 3)), (32, 32, 3))
    assert network.output_shape == (None, 1024)


def test_large_images_have_a_stem_of_their_own():
    settings = default_config().model
    settings.backbone, settings.stem = "resnet18", "imagenet"
    network = backbone(settings, random_source(8, (64, 64, 3)), (64, 64, 3))
    first = next(
        layer for layer in network.layers if isinstance(layer, keras.layers.Conv2D)
    )
    assert first.kernel_size == (7, 7)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("stem", "imagenet", "`config.model.stem` has no effect on 'small_cnn'"),
        ("weights", "imagenet", "`config.model.weights` has no effect on 'small_cnn'"),
    ],
)
def test_setting_without_effect_on_the_network_is_refused(key, value, message):
    settings = default_config().model
    settings[key] = value
    with pytest.raises(ValueError, match=message):
        backbone(settings, random_source(8, (32, 32, 3)), (32, 32, 3))


def test_top_5_accuracy_is_measured_if_asked_for():
    config, source = default_config(), random_source(8, (8, 8, 1))
    config.top_5 = True
    model = compiled_model(config, source)
    batches = evaluation_batches(config, source)
    results = model.evaluate(batches, verbose=0, return_dict=True)
    logits = model.predict(source.images, verbose=0)
    best = np.argsort(-logits, axis=1)[:, :5]
    expected = np.mean(
        [label in row for label, row in zip(source.labels, best, strict=True)]
    )
    assert results["top_5_accuracy"] == pytest.approx(expected)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_weight_decay_shrinks_as_the_papers_does(momentum):
    """Keras decays past the momentum, papers through it: the long run is the same."""
    config = config_of(epochs=5000, optimizer__learning_rate=0.1)
    config.optimizer.momentum, config.optimizer.weight_decay = momentum, 5e-4
    rates = 0.05 * (1 + np.cos(np.pi * np.arange(5000) / 5000))
    ours = np.cumprod(1 - rates * 5e-4 / (1 - momentum))

    variable = keras.Variable([1.0])
    optimizer = optimizer_of(config, steps_per_epoch=1)
    for _ in range(10):
        optimizer.apply([np.zeros(1, "float32")], [variable])
    assert float(variable[0]) == pytest.approx(ours[9], rel=1e-6)

    weight, velocity = 1.0, 0.0
    for rate in rates:  # As in PyTorch and the papers: decay enters the gradient.
        velocity = momentum * velocity - rate * 5e-4 * weight
        weight += velocity
    assert np.log(ours[-1]) == pytest.approx(np.log(weight), rel=0.01)


def by_pytorchs_sgd(rates, gradients, momentum, weight_decay, nesterov):
    """Returns the weight after all steps, as documented for torch.optim.SGD."""
    weight, velocity = 1.0, 0.0
    for rate, gradient in zip(rates, gradients, strict=True):
        gradient = gradient + weight_decay * weight
        velocity = momentum * velocity + gradient
        step = gradient + momentum * velocity if nesterov else velocity
        weight -= rate * step
    return weight


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_a_plain_velocity_takes_the_steps_of_the_authors_optimizer(momentum, nesterov):
    config = config_of(epochs=20, optimizer__warmup_epochs=10.0)
    settings = {"momentum": momentum, "nesterov": nesterov, "weight_decay": 0.05}
    gradients = np.random.default_rng(0).normal(0.5, 1.0, 20).astype("float32")
    weights = []
    for is_plain in (True, False):
        config.optimizer.update({"plain_velocity": is_plain, **settings})
        sgd = optimizer_of(config, steps_per_epoch=1)
        rates = [float(sgd._learning_rate(step)) for step in range(20)]
        variable = keras.Variable([1.0])
        for gradient in gradients:
            sgd.apply([np.array([gradient])], [variable])
        weights.append(float(variable[0]))
    expected = by_pytorchs_sgd(rates, gradients, **settings)
    assert weights[0] == pytest.approx(expected, rel=1e-5)
    if momentum:
        assert abs(weights[1] - expected) > 1e-2


def decayed(config):
    """Returns the names of the weights that shrink when there is no gradient."""
    model = compiled_model(config, random_source(20, (8, 8, 1)))
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
@pytest.mark.parametrize("is_plain", [False, True])
def test_weights_that_decay_are_those_asked_for(
    is_plain, weight_decay, kernels_only, expected
):
    config = config_of(optimizer__plain_velocity=is_plain)
    config.optimizer.weight_decay = weight_decay
    config.optimizer.decay_kernels_only = kernels_only
    assert decayed(config) == expected


def test_scale_of_the_cosine_classifier_does_not_decay():
    config = config_of(optimizer__weight_decay=5e-4, optimizer__decay_kernels_only=True)
    config.model.classifier = "cosine"
    assert decayed(config) == {"kernel"}
