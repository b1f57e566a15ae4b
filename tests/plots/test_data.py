"""Tests of plots/data.py and drawable_names.py: what the pictures show."""

import matplotlib
import numpy as np
import pytest

from keras_ncr import plots
from keras_ncr.plots.drawable_names import drawable, shortened
from keras_ncr.plots.style import CLEAN_COLOR, NOISY_COLOR

ANIMALS = ["cat", "dog", "cow"]


def random_images(*shape):
    return np.random.default_rng(0).integers(0, 256, shape, dtype="uint8")


def texts(artists):
    return [artist.get_text() for artist in artists]


def bars(axes):
    """Returns left end and length of the bars, a list for each kind of label."""
    return [
        [(bar.get_x(), bar.get_width()) for bar in container]
        for container in axes.containers
    ]


# The contact sheet


def test_wrong_labels_are_in_color_with_the_true_one_after_them():
    images = random_images(4, 5, 7, 3)
    figure = plots.contact_sheet(images, [0, 0, 2, 1], ANIMALS, [0, 1, -1, 1])
    titles = [axes.title for axes in figure.axes]
    assert texts(titles) == ["cat", "cat (dog)", "cow (wrong)", "dog"]
    assert [title.get_color() for title in titles] == [
        "black",
        NOISY_COLOR,
        NOISY_COLOR,
        "black",
    ]


@pytest.mark.parametrize("channels", [1, 3])
def test_each_image_is_shown_as_it_is(channels):
    images = random_images(5, 6, 4, channels)
    figure = plots.contact_sheet(images, [0] * 5, ANIMALS)
    assert len(figure.axes) == 5
    for axes, image in zip(figure.axes, images, strict=True):
        (shown,) = axes.get_images()
        np.testing.assert_array_equal(shown.get_array(), np.squeeze(image))
        assert shown.get_clim() == (0, 255)
        assert shown.get_cmap().name == "gray"


def test_nothing_is_called_wrong_where_nothing_is_known():
    figure = plots.contact_sheet(random_images(2, 4, 4, 1), [0, 1], ANIMALS)
    assert texts(axes.title for axes in figure.axes) == ["cat", "dog"]
    assert {axes.title.get_color() for axes in figure.axes} == {"black"}


def test_long_names_take_two_lines():
    names = ["a very long name of a class, with a comma", "b" * 40]
    figure = plots.contact_sheet(random_images(1, 4, 4, 1), [0], names, [1])
    assert figure.axes[0].get_title() == f"a very long name of a…\n({'b' * 19}…)"


# Augmentation


def test_augmented_images_stand_beside_their_original():
    originals = [random_images(5, 9, 3), random_images(8, 4, 3)]
    augmented = random_images(2, 6, 4, 4, 3)
    figure = plots.augmentation_figure(originals, augmented)
    shown = [axes.get_images()[0].get_array() for axes in figure.axes]
    assert len(shown) == 14
    np.testing.assert_array_equal(shown[0], originals[0])
    np.testing.assert_array_equal(shown[1:7], augmented[0])
    np.testing.assert_array_equal(shown[7], originals[1])
    np.testing.assert_array_equal(shown[8:], augmented[1])


# Class counts


def test_bars_are_divided_into_right_and_wrong_labels():
    labels, clean_labels = [0, 0, 0, 1, 0], [0, 1, -1, 1, 0]
    (axes,) = plots.class_count_figure(labels, ANIMALS, clean_labels).axes
    assert bars(axes) == [[(0, 2), (0, 1), (0, 0)], [(2, 2), (1, 0), (0, 0)]]
    right, wrong = axes.containers
    assert matplotlib.colors.to_hex(right[0].get_facecolor()).upper() == CLEAN_COLOR
    assert matplotlib.colors.to_hex(wrong[0].get_facecolor()).upper() == NOISY_COLOR
    (true,) = axes.get_lines()
    np.testing.assert_array_equal(true.get_xydata(), [[2, 0], [2, 1], [0, 2]])
    assert texts(axes.get_yticklabels()) == ANIMALS
    assert texts(axes.texts) == ["no label"]
    assert axes.texts[0].xy == (0, 2)


@pytest.mark.parametrize("num_classes", [2, 10, 100])
def test_each_class_has_a_bar_and_its_name(num_classes):
    names = [f"class {label}" for label in range(num_classes)]
    labels = np.repeat(np.arange(num_classes), 3)
    (axes,) = plots.class_count_figure(labels, names).axes
    assert bars(axes) == [[(0, 3)] * num_classes]
    assert texts(axes.get_yticklabels()) == names
    assert not axes.get_lines()


def test_many_classes_are_a_curve_with_the_names_of_its_ends():
    names = [f"class {label}" for label in range(1000)]
    labels = np.repeat(np.arange(1000), np.arange(1000) % 500)
    (axes,) = plots.class_count_figure(labels, names).axes
    assert not axes.containers
    (curve,) = axes.get_lines()
    expected = np.repeat(np.arange(500)[::-1], 2)
    np.testing.assert_array_equal(curve.get_ydata(), expected)
    largest, smallest = texts(axes.texts)
    assert largest.split("\n")[:3] == ["Largest", "class 499: 499", "class 999: 499"]
    assert smallest.split("\n")[:3] == ["Smallest", "class 500: 0", "class 0: 0"]
    assert axes.get_ylim()[1] > 499


def test_curve_of_many_classes_has_the_true_numbers_beside():
    labels, clean_labels = np.arange(200), np.zeros(200, int)
    (axes,) = plots.class_count_figure(labels, labels, clean_labels).axes
    true, wrong, given = (line.get_ydata() for line in axes.get_lines())
    np.testing.assert_array_equal(true, [200] + [0] * 199)
    np.testing.assert_array_equal(wrong, [0] + [1] * 199)
    np.testing.assert_array_equal(given, [1] * 200)
    assert axes.get_ylim()[1] > 200


# Names


@pytest.mark.parametrize(
    ("name", "drawn"),
    [
        ("Größe", "Größe"),
        ("собака", "собака"),
        ("two\n lines", "two lines"),
        ("", "#1"),
        ("\U0010fffd", "#1"),  # A character that no font has.
        ("\x07", "#1"),
        ("$price$", "$price$"),
        (7, "7"),
    ],
)
def test_name_is_drawn_without_a_warning(name, drawn, tmp_path):
    names = ["cat", name]
    assert drawable(names)[0] == ["cat", drawn]
    figure = plots.contact_sheet(random_images(1, 4, 4, 1), [1], names)
    assert figure.axes[0].get_title() == drawn
    figure.savefig(tmp_path / "figure.png", dpi=30)  # Warnings are errors.


def test_every_figure_is_written_with_names_in_any_script(tmp_path):
    names = ["猫", "$", "a_b^c", "\U0010fffd" * 30]
    labels, clean_labels = np.array([0, 1, 2, 3]), np.array([1, 1, 2, 3])
    images = random_images(4, 4, 4, 1)
    many = names * 30
    for figure in (
        plots.contact_sheet(images, labels, names, clean_labels, "$ title"),
        plots.class_count_figure(labels, names, clean_labels, "$ title"),
        plots.class_count_figure(labels, many, clean_labels, "$ title"),
        plots.transition_matrix_figure(np.eye(4), names, "$ title"),
    ):
        figure.savefig(tmp_path / "figure.png", dpi=30)
        assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")


def test_other_fonts_are_asked_for_what_the_usual_one_lacks():
    with matplotlib.rc_context({"font.family": ["cmr10"]}):  # It has no Cyrillic.
        names, families = drawable(["собака"])
    assert names == ["собака"]
    assert families[0] == "cmr10"
    assert len(families) > 1


@pytest.mark.parametrize(
    ("name", "expected"), [("abcde", "abcde"), ("abcdef", "abcd…"), ("abc ef", "abc…")]
)
def test_names_are_shortened_to_a_length(name, expected):
    assert shortened(name, 5) == expected
