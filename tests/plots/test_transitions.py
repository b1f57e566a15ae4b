"""Tests of plots/transitions.py: which class is labeled as which."""

import numpy as np
import pytest

from keras_ncr import plots

ANIMALS = ["cat", "dog", "cow"]


def texts(artists):
    return [artist.get_text() for artist in artists]


def test_matrix_is_drawn_with_names_and_numbers():
    matrix = np.array([[0.75, 0.249, 0.001], [0, 0, 0], [0, 0.3, 0.7]])
    axes, bar = plots.transition_matrix_figure(matrix, ANIMALS).axes
    (picture,) = axes.get_images()
    shown = picture.get_array()
    np.testing.assert_array_equal(shown.mask.all(axis=1), [False, True, False])
    np.testing.assert_allclose(shown[[0, 2]], matrix[[0, 2]])
    # No numbers for the class without examples.
    assert texts(axes.texts) == ["75", "25", "<1", "0", "30", "70"]
    assert [text.get_position() for text in axes.texts][1] == (1, 0)
    assert texts(axes.get_yticklabels()) == ANIMALS == texts(axes.get_xticklabels())
    assert (picture.norm.vmin, picture.norm.vmax) == (0, 1)
    assert bar.get_ylabel() == "Share of the true class"


@pytest.mark.parametrize(
    ("num_classes", "has_names", "has_numbers"),
    [(2, True, True), (12, True, True), (13, True, False), (26, False, False)],
)
def test_names_and_numbers_are_drawn_where_there_is_room(
    num_classes, has_names, has_numbers
):
    names = [f"class {label}" for label in range(num_classes)]
    axes = plots.transition_matrix_figure(np.eye(num_classes), names).axes[0]
    assert ("class 0" in texts(axes.get_yticklabels())) == has_names
    assert len(axes.texts) == (num_classes**2 if has_numbers else 0)


def test_single_entry_of_a_thousand_classes_is_seen():
    matrix = np.eye(1000)
    matrix[999, 5] = 0.25
    axes, bar = plots.transition_matrix_figure(matrix, range(1000)).axes
    (picture,) = axes.get_images()
    expected = np.eye(250)
    expected[249, 1] = 0.25  # Classes 996 to 999, and 4 to 7.
    np.testing.assert_array_equal(picture.get_array(), expected)
    assert picture.get_extent() == [-0.5, 999.5, 999.5, -0.5]
    assert bar.get_ylabel().endswith("the largest in 4 x 4")


def test_blocks_may_not_divide_the_number_of_classes():
    axes = plots.transition_matrix_figure(np.eye(251), range(251)).axes[0]
    (picture,) = axes.get_images()
    np.testing.assert_array_equal(picture.get_array(), np.eye(126))
    assert picture.get_extent() == [-0.5, 251.5, 251.5, -0.5]


# Estimated and true


ESTIMATED = np.array([[0.8, 0.2, 0], [0, 0, 0], [0, 0.304, 0.696]])
TRUE = np.array([[0.7, 0.3, 0], [0, 1, 0], [0, 0.3, 0.7]])


def test_estimated_and_true_matrix_have_one_scale_and_a_difference():
    figure = plots.transition_matrices_figure(ESTIMATED, TRUE, ANIMALS, "Digits")
    assert figure.get_suptitle() == "Digits"
    panels = figure.axes[:3]
    assert [axes.get_title() for axes in panels] == ["Estimated", "True", "Difference"]
    first, second, difference = (axes.get_images()[0] for axes in panels)
    np.testing.assert_array_equal(first.get_array()[[0, 2]], ESTIMATED[[0, 2]])
    np.testing.assert_array_equal(second.get_array(), TRUE)
    for picture in (first, second):
        assert (picture.norm.vmin, picture.norm.vmax) == (0, 1)
    points = [[10, -10, 0], [0.4, -0.4]]
    np.testing.assert_allclose(difference.get_array()[0], points[0], atol=1e-12)
    np.testing.assert_allclose(difference.get_array()[2, 1:], points[1])
    assert difference.get_clim() == pytest.approx((-10, 10))
    assert texts(panels[2].texts) == ["+10", "-10", "0", "0", "0", "0"]


def test_class_without_examples_in_one_matrix_has_no_difference():
    panels = plots.transition_matrices_figure(ESTIMATED, TRUE, ANIMALS).axes[:3]
    is_blank = [
        np.ma.getmaskarray(axes.get_images()[0].get_array()).all(axis=1).tolist()
        for axes in panels
    ]
    assert is_blank == [
        [False, True, False],
        [False, False, False],
        [False, True, False],
    ]


def test_small_differences_are_not_made_to_look_large():
    axes = plots.transition_matrices_figure(TRUE + 1e-4, TRUE, ANIMALS).axes[2]
    assert axes.get_images()[0].get_clim() == (-1, 1)
    assert set(texts(axes.texts)) == {"0"}


def test_too_little_in_a_block_is_seen_as_too_much_is():
    estimated, true = np.eye(500), np.eye(500)
    estimated[0, 4], true[2, 3] = 0.25, 0.5
    axes = plots.transition_matrices_figure(estimated, true, range(500)).axes[2]
    expected = np.zeros((250, 250))
    expected[0, 2], expected[1, 1] = 25, -50
    np.testing.assert_array_equal(axes.get_images()[0].get_array(), expected)


@pytest.mark.parametrize("num_classes", [2, 20, 100])
def test_matrices_are_written_without_a_warning(num_classes, tmp_path):
    names = [f"a class with a long name {label}" for label in range(num_classes)]
    figure = plots.transition_matrices_figure(
        np.eye(num_classes), np.zeros((num_classes, num_classes)), names, "$ title"
    )
    figure.savefig(tmp_path / "figure.png", dpi=30)
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")


def test_matrix_of_another_number_of_classes_is_refused():
    with pytest.raises(ValueError, match=r"`true` .* 3 `class_names`. .*\(2, 2\)"):
        plots.transition_matrices_figure(ESTIMATED, np.eye(2), ANIMALS)
    with pytest.raises(ValueError, match=r"`matrix` .*\(2, 3\)"):
        plots.transition_matrix_figure(TRUE[:2], ANIMALS)
