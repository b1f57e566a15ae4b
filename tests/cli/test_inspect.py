"""Tests of the command inspect.py, and of what it says and draws."""

import dataclasses
import functools
import math
import pathlib
import sys

import keras
import numpy as np
import pytest
import sources
import tensorflow as tf
from absl.testing import flagsaver
from model_harness import few
from settings import config_of

from keras_ncr.cli import inspect, train
from keras_ncr.cli.command_line import parse_flags
from keras_ncr.datasets import digits, from_arrays
from keras_ncr.experiments.batches import evaluation_batches, training_batches
from keras_ncr.experiments.config import default_config
from keras_ncr.experiments.data import Sources
from keras_ncr.experiments.inspection.pictures import figures_of
from keras_ncr.experiments.inspection.report import data_rows, noise_rows, training_rows
from keras_ncr.experiments.labels import noisy
from keras_ncr.experiments.model import compiled_model
from keras_ncr.plots.style import NOISY_COLOR

REPOSITORY = pathlib.Path(__file__).parents[2]
DIGITS = f"--config={REPOSITORY / 'configs' / 'digits.py'}"
random_source = functools.partial(sources.random_source, num_classes=4)


def sources_of(source):
    """Returns a source as all the data of a run."""
    return Sources(source, source)


def shown(figure):
    """Returns the images of a figure, its titles, and which of these are in color."""
    return (
        [axes.get_images()[0].get_array() for axes in figure.axes],
        [axes.get_title() for axes in figure.axes],
        [axes.title.get_color() == NOISY_COLOR for axes in figure.axes],
    )


# The command


@pytest.fixture
def command(run_command, monkeypatch, tmp_path):
    """Runs the command in an empty folder; returns what it prints."""
    monkeypatch.chdir(tmp_path)
    return functools.partial(run_command, inspect)


def test_command_reports_and_draws(command, tmp_path):
    report = command(DIGITS, "--config.augment.padding=1", "--config.batch_size=16")
    assert [line for line in report.splitlines() if line[:1].strip()] == [
        "Data",
        "Noise",
        "Training",
        "Pictures in runs/inspect-digits",
    ]
    for words in (
        "training examples      1,437\n",
        "test examples          360\n",
        "images as stored       8 x 8, gray, pixels\n",
        "nominal rate           40.0 %\n",
        "realized rate          36.0 %, 517 wrong labels\n",
        "epochs                 50 of 90 steps, trials: 3\n",
        "weight (alpha) 0.9, neighbors (k) 10, epochs without it (e) 0\n",
        "transition_matrix.png  which class is labeled as which\n",
    ):
        assert words in report
    source = noisy(default_config(), digits()[0])
    assert f"{source.record.hash}\n" in report
    names = {path.name for path in (tmp_path / "runs" / "inspect-digits").iterdir()}
    assert names == {
        "batch.png",
        "evaluation.png",
        "same_images.png",
        "classes.png",
        "transition_matrix.png",
    }
    # Another config draws less, and leaves no picture of the first behind.
    report = command(
        f"{DIGITS}:standard,noise=none",
        "--workdir=runs/inspect-digits",
        "--config.batch_size=4",
    )
    assert "realized rate          unknown: there are no true labels\n" in report
    assert "same_images.png        not drawn: there is no augmentation\n" in report
    assert "transition_matrix.png  not drawn: true labels are unknown\n" in report
    pictures = (tmp_path / "runs" / "inspect-digits").iterdir()
    assert {path.name for path in pictures} == names - {
        "same_images.png",
        "transition_matrix.png",
    }


@pytest.mark.parametrize("name", ["batch.png", "transition_matrix.png", "notes.txt"])
def test_folder_with_files_of_the_users_is_refused_and_left_alone(
    command, tmp_path, name
):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / name).write_text("mine")
    with pytest.raises(SystemExit, match=f"`workdir` must be .*which holds '{name}'"):
        command(f"{DIGITS}:noise=none", "--workdir=mine")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == [name]
    assert (tmp_path / "mine" / name).read_text() == "mine"


def test_link_in_place_of_a_picture_is_refused(command, tmp_path):
    (tmp_path / "look").mkdir()
    (tmp_path / "mine.png").write_text("keras-ncr inspect")
    (tmp_path / "look" / "batch.png").symlink_to(tmp_path / "mine.png")
    with pytest.raises(SystemExit, match="which holds 'batch.png'"):
        command(DIGITS, "--workdir=look")


def test_folder_of_the_pictures_is_no_place_for_others(command, tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
    with pytest.raises(
        SystemExit, match="`workdir` must not be within.*one class more"
    ):
        command(f"--config={REPOSITORY / 'configs' / 'folder.py'}:.")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cat", "dog"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--config must have a value"),
        ([DIGITS, "--config.ephocs=1"], 'Did you mean "epochs" instead of "ephocs"?'),
        ([f"{DIGITS}:nrc"], "`config.method` must be one of.*Did you mean 'ncr'?"),
        ([DIGITS, "--config.epochs=0"], "`config.epochs` must be .* at least 1"),
        ([DIGITS, "--workdir=/dev/null/look"], "`workdir` must be a folder"),
    ],
)
def test_command_refuses_in_one_line_and_writes_nothing(
    command, tmp_path, arguments, message
):
    with pytest.raises(SystemExit, match=message) as error:
        command(*arguments)
    assert str(error.value).startswith("Error: ")
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


def test_training_shares_the_flags_and_insists_on_a_folder(monkeypatch):
    argv = ["train", DIGITS]
    monkeypatch.setattr(sys, "argv", argv)
    with (
        flagsaver.flagsaver(),
        pytest.raises(SystemExit, match="^Error: .*--workdir must have a value"),
    ):
        parse_flags(argv)
        train.main()


def test_folder_of_a_name_with_slashes_is_one_folder():
    name = "controlled_noisy_web_labels/mini_imagenet_red:1.*.*"
    folder = inspect.default_folder(name)
    assert folder == "runs/inspect-controlled_noisy_web_labels-mini_imagenet_red-1.-.-"


# What it says of the data


def test_empty_and_extreme_classes_are_named():
    source = from_arrays(
        np.zeros((6, 4, 4, 3), "uint8"),
        [0, 0, 0, 1, 3, 3],
        num_classes=5,
        class_names=["cat", "犬", "cow", "3", "emu"],
    )
    sources = sources_of(source)._replace(final={"held": source.subset([0])})
    assert data_rows(default_config(), sources) == [
        ("name", "digits"),
        ("training examples", "6"),
        ("test examples", "6"),
        ("held examples", "1"),
        ("classes", "5"),
        ("images as stored", "4 x 4, color, pixels"),
        ("as the network sees", "4 x 4, color"),
        ("largest class", "cat (#0): 3 labels"),
        ("smallest class", "犬 (#1): 1 labels"),
        ("imbalance", "3 to 1"),
        ("empty classes", "2: cow (#2), emu (#4)"),
    ]


def test_classes_are_counted_by_the_labels_given():
    source = random_source(4, num_classes=2).relabeled([0, 0, 0, 1])
    rows = dict(data_rows(default_config(), sources_of(source)))
    assert rows["largest class"] == "0: 3 labels"
    assert rows["imbalance"] == "3 to 1"


def test_files_of_different_sizes_are_said_to_be_such():
    source = random_source(4)
    files = tf.data.Dataset.from_tensor_slices(
        {
            "inputs": [tf.io.encode_png(image).numpy() for image in source.images],
            "label": source.labels,
            "index": np.arange(4),
        }
    )
    source = dataclasses.replace(source, dataset=files, image_shape=(None, None, 3))
    config = config_of(data__image_size=6)
    rows = dict(data_rows(config, sources_of(source)))
    assert rows["images as stored"] == "sizes differ, color, encoded files"
    assert rows["as the network sees"] == "6 x 6, color"


# What it says of the noise


def test_most_frequent_confusions_have_shares_of_the_true_class():
    source = random_source(10, num_classes=3)
    clean_labels = [0, 0, 0, 0, 1, 1, 2, 2, 2, -1]
    source = source.relabeled([0, 0, 2, 2, 0, 1, 2, 2, 2, 1], clean_labels)
    assert noise_rows(config_of(noise__kind="none"), source) == [
        ("kind", "none added"),
        ("realized rate", "40.0 %, 4 wrong labels"),
        ("hash of the labels", source.record.hash),
        ("without true class", "1 of the wrong labels"),
        ("most frequent", "0 labeled 2: 2, 50.0 % of the class"),
        ("", "1 labeled 0: 1, 50.0 % of the class"),
    ]


def test_of_many_confusions_the_first_five_are_named():
    source = random_source(100, num_classes=10)
    source = source.relabeled((source.labels + 1) % 10, source.labels)
    names = [name for name, _ in noise_rows(default_config(), source)]
    assert names[4:] == ["most frequent", "", "", "", ""]


def test_oracle_says_how_many_examples_remain():
    source = random_source(4)
    source = source.relabeled([0, 1, 2, 0], source.labels)
    rows = dict(noise_rows(config_of(method="oracle"), source))
    assert rows["oracle"] == "wrong labels are left out, 3 examples remain"


# What it says of the training


def test_learning_rate_is_told_at_its_turning_points():
    config = config_of(epochs=20, batch_size=4, optimizer__warmup_epochs=4.0)
    source = random_source(40)
    model = compiled_model(config, source)
    rows = dict(training_rows(config, source, model))
    assert rows["epochs"] == "20 of 10 steps, trials: 1"
    # Half a cosine from step 40 to step 200.
    half, last = (0.05 * (1 + math.cos(math.pi * step / 160)) for step in (60, 159))
    assert rows["learning rate"] == (
        "0 at the start, 0.1 after 4 epochs of warm-up, "
        f"{half:.3g} after 10 epochs, {last:.3g} in the last step"
    )


@pytest.mark.parametrize("kernels_only", [False, True])
def test_weight_decay_is_said_to_act_where_it_does(kernels_only):
    config = config_of(
        optimizer__weight_decay=0.01, optimizer__decay_kernels_only=kernels_only
    )
    source = random_source(8)
    model = compiled_model(config, source)
    words = dict(training_rows(config, source, model))["weight decay"]
    for variable in model.trainable_variables:
        variable.assign(tf.ones_like(variable))
    gradients = [tf.zeros_like(variable) for variable in model.trainable_variables]
    model.optimizer.apply(gradients, model.trainable_variables)
    values = [keras.ops.convert_to_numpy(v) for v in model.trainable_variables]
    shrunk = [value.size for value in values if value.max() < 1]
    total = sum(value.size for value in values)
    assert words.startswith(
        f"0.01 on {len(shrunk)} of {len(values)} trained variables, "
        f"{sum(shrunk):,} of {total:,} parameters"
    )
    assert words.endswith("; not on beta, bias, gamma") == kernels_only
    assert (len(shrunk) < len(values)) == kernels_only


def test_no_weight_decay_is_said():
    config = config_of(optimizer__weight_decay=0.0)
    source = random_source(8)
    model = compiled_model(config, source)
    rows = dict(training_rows(config, source, model))
    assert rows["weight decay"] == "none"
    assert rows["network"] == (
        f"small_cnn, linear classifier, {model.count_params():,} parameters"
    )


@pytest.mark.parametrize(
    ("settings", "has_note"),
    [
        ({"batch_size": 3}, True),
        ({"batch_size": 4}, False),
        ({"batch_size": 3, "method": "standard"}, False),
    ],
)
def test_note_tells_of_a_batch_below_the_number_of_classes(settings, has_note):
    config = config_of(**settings)
    source = random_source(8, num_classes=4)
    model = compiled_model(config, source)
    rows = dict(training_rows(config, source, model))
    assert ("note" in rows) == has_note
    assert ("consistency" in rows) == (config.method == "ncr")


@pytest.mark.parametrize(
    ("method", "weight"), [("ncr", 0.8), ("ncr+mixup", 0.8), ("ncr+elr", 0.2)]
)
def test_consistency_is_that_of_the_method(method, weight):
    config = config_of(
        method=method, ncr__consistency_weight=0.8, elr__consistency_weight=0.2
    )
    source = random_source(8, num_classes=4)
    rows = dict(training_rows(config, source, compiled_model(config, source)))
    assert rows["consistency"].startswith(f"weight (alpha) {weight}, neighbors (k) 10")


# The pictures


@pytest.mark.parametrize("batch_size", few(40, of=[8, 40]))
def test_batch_is_the_first_that_training_sees(batch_size):
    config = config_of(batch_size=batch_size, augment__padding=1, augment__flip=True)
    source = noisy(config, random_source(150))
    figures, _ = figures_of(config, sources_of(source))
    images, titles, in_color = shown(figures["batch.png"])
    batches = training_batches(config, source, config.seed)
    expected_images, expected_labels = next(iter(batches))
    count = min(batch_size, 36)
    np.testing.assert_array_equal(images, expected_images[:count, ..., 0])
    assert [title[0] for title in titles] == list(
        map(str, expected_labels.numpy()[:count])
    )
    assert in_color == ["(" in title for title in titles]
    assert any(in_color)
    assert not all(in_color)


def test_balanced_batch_is_the_first_that_training_sees():
    config = config_of(
        batch_size=8, steps_per_epoch=10, data__balanced=True, noise__kind="none"
    )
    source = random_source(150)
    figures, _ = figures_of(config, sources_of(source))
    images, _, in_color = shown(figures["batch.png"])
    batches = training_batches(config, source, config.seed)
    expected_images, _ = next(iter(batches))
    np.testing.assert_array_equal(images, expected_images[..., 0])
    assert not any(in_color)


def test_test_images_are_shown_as_prepared():
    config = config_of(batch_size=8, data__image_size=3, noise__kind="none")
    source = random_source(150)
    figures, not_drawn = figures_of(config, sources_of(source))
    images, titles, _ = shown(figures["evaluation.png"])
    expected, _ = next(iter(evaluation_batches(config, source)))
    np.testing.assert_array_equal(images, expected[..., 0])
    assert titles == ["0", "1", "2", "3"] * 2
    assert not_drawn == {"transition_matrix.png": "true labels are unknown"}


def test_augmentation_is_seen_beside_the_image_as_stored():
    config = config_of(batch_size=4, augment__padding=2)
    source = random_source(150, image_shape=(8, 8, 3))
    figures, _ = figures_of(config, sources_of(source))
    images, titles, _ = shown(figures["same_images.png"])
    assert titles[:7] == ["as stored", *(f"draw {draw}" for draw in range(1, 7))]
    rows = np.reshape(images, (4, 7, 8, 8, 3))
    for row, original in zip(rows, source.images[:4], strict=True):
        np.testing.assert_array_equal(row[0], original)
        assert len({image.tobytes() for image in row}) >= 5
        for image in row[1:]:  # A shift: the pixels are the original's, or black.
            pixels = {*map(tuple, original.reshape(-1, 3).tolist()), (0, 0, 0)}
            assert {*map(tuple, image.reshape(-1, 3).tolist())} <= pixels


def test_only_images_near_those_in_the_pictures_are_read():
    source = random_source(5000)
    images, was_read = source.images, np.zeros(5000, bool)

    def note(index):
        was_read[index] = True
        return images[index]

    def read_image(index):
        image = tf.numpy_function(note, [index], tf.uint8)
        return tf.ensure_shape(image, (4, 4, 1))

    config = config_of(batch_size=4, augment__padding=1)
    source = noisy(config, dataclasses.replace(source, read_image=read_image))
    figures, _ = figures_of(config, sources_of(source))
    assert len(figures) == 5
    assert 0 < was_read.sum() < 2500


@pytest.mark.parametrize(
    ("num_classes", "clean_label", "reason"),
    [(4, -1, "no true label is one of the classes"), (2001, 0, "too many classes")],
)
def test_matrix_that_would_show_nothing_is_not_drawn(num_classes, clean_label, reason):
    source = random_source(8, num_classes=num_classes)
    source = source.relabeled(source.labels, np.full(8, clean_label))
    _, not_drawn = figures_of(config_of(batch_size=4), sources_of(source))
    assert reason in not_drawn["transition_matrix.png"]
