"""Tests of plots/memorization.py. Its looks are for the eye; here is what it shows."""

import numpy as np
import pytest

from keras_ncr.plots import (
    confidence_comparison_figure,
    confidence_figure,
    memorization_figure,
)

HISTORIES = {"cross-entropy": [[0.5, 0.7], [0.5, 0.5]], "NCR": [[0.6, 0.8], [0.6, 1]]}
IS_NOISY = np.array([False, False, False, True])
CONFIDENCES = {
    "cross-entropy": [[0.92, 0.92, 0.92, 0.92]] * 2,
    "NCR": [[0.92, 0.92, 0.32, 0.12]] * 2,
}


def heights(patches, bins=20):
    """Returns the bars of each histogram of an axes."""
    values = [patch.get_height() for patch in patches]
    return [np.array(values[i : i + bins]) for i in range(0, len(values), bins)]


def test_accuracy_is_drawn_for_each_run_and_for_the_mean():
    axes = memorization_figure(HISTORIES, CONFIDENCES, IS_NOISY).axes[0]
    drawn = [list(line.get_ydata()) for line in axes.get_lines()]
    expected = [
        [50, 70],
        [50, 50],
        [50, 60],  # The mean.
        [60, 80],
        [60, 100],
        [60, 90],
    ]
    np.testing.assert_allclose(drawn, expected)
    assert all(list(line.get_xdata()) == [1, 2] for line in axes.get_lines())
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [
        "cross-entropy: 60.0 in the last epoch",
        "NCR: 90.0 in the last epoch",
    ]


def test_each_histogram_has_the_shares_of_its_kind_of_label():
    figure = memorization_figure(HISTORIES, CONFIDENCES, IS_NOISY)
    clean, wrong = heights(figure.axes[2].patches)
    assert (clean[18], clean[6]) == pytest.approx((200 / 3, 100 / 3))  # 0.92 and 0.32
    assert wrong[2] == pytest.approx(100)  # 0.12
    assert clean.sum() == pytest.approx(100) == wrong.sum()


def test_panels_are_named_after_their_methods():
    figure = memorization_figure(HISTORIES, CONFIDENCES, IS_NOISY, title="Digits")
    assert figure.get_suptitle() == "Digits"
    assert [axes.get_title() for axes in figure.axes] == [
        "Test accuracy (%)",
        "Confidence: cross-entropy",
        "Confidence: NCR",
    ]


def test_figure_is_written_as_a_picture(tmp_path):
    figure = memorization_figure(HISTORIES, CONFIDENCES, IS_NOISY)
    figure.savefig(tmp_path / "figure.png")
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")


def test_one_run_of_one_epoch_without_wrong_labels_is_drawn(tmp_path):
    figure = memorization_figure(
        {"NCR": [[0.5]]}, {"NCR": [0.9, 0.8]}, np.zeros(2, bool)
    )
    figure.savefig(tmp_path / "figure.png")
    assert len(heights(figure.axes[1].patches)) == 1


def test_more_methods_than_colors_are_all_drawn():
    names = [f"method {number}" for number in range(7)]
    figure = memorization_figure(
        {name: [[0.5, 0.6]] for name in names},
        {name: [0.1, 0.2, 0.3, 0.4] for name in names},
        IS_NOISY,
    )
    assert len(figure.axes[0].get_legend().get_texts()) == 7
    assert len(figure.axes) == 8


def test_different_methods_are_refused():
    with pytest.raises(ValueError, match="same methods. Received: .*'NCR'.* and"):
        memorization_figure(HISTORIES, {"NCR": [0.5]}, [True])


def test_confidences_of_other_examples_are_refused():
    with pytest.raises(ValueError, match="'NCR': 4, 'is_noisy': 3"):
        memorization_figure(HISTORIES, CONFIDENCES, IS_NOISY[:3])


# Methods under several noises


def test_each_method_has_a_row_and_each_noise_a_column(tmp_path):
    settings = {"40 %": (CONFIDENCES, IS_NOISY), "unknown": ({"NCR": [0.5, 0.6]}, None)}
    figure = confidence_figure(settings, "Digits")
    grid = np.reshape(figure.axes, (2, 2))
    assert [axes.get_title() for axes in grid[0]] == ["40 %", "unknown"]
    rows = [axes.get_ylabel().split("\n")[0] for axes in grid[:, 0]]
    assert rows == ["cross-entropy", "NCR"]
    clean, wrong = heights(grid[1, 0].patches)
    assert (clean[18], clean[6]) == pytest.approx((200 / 3, 100 / 3))
    assert wrong[2] == pytest.approx(100)
    (every,) = heights(grid[1, 1].patches)
    assert every.sum() == pytest.approx(100)
    assert not grid[0, 1].patches  # Not run.
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["clean labels", "wrong labels", "all labels"]
    figure.savefig(tmp_path / "figure.png", dpi=30)


@pytest.mark.parametrize("settings", [{}, {"40 %": ({}, None)}])
def test_no_confidences_are_refused(settings):
    with pytest.raises(ValueError, match="`settings` must hold at least one method"):
        confidence_figure(settings)


# Method against method


def test_each_example_is_where_both_confidences_are(tmp_path):
    figure = confidence_comparison_figure(CONFIDENCES, IS_NOISY, "Digits")
    clean, wrong = figure.axes[:2]
    assert (clean.get_xlabel(), clean.get_ylabel()) == (
        "Confidence: cross-entropy",
        "Confidence: NCR",
    )
    expected = np.zeros((2, 25, 25))  # Rows are NCR, columns cross-entropy.
    expected[0, 23, 23], expected[0, 8, 23], expected[1, 3, 23] = 2, 1, 1
    for axes, counts in zip((clean, wrong), expected, strict=True):
        (picture,) = axes.collections
        np.testing.assert_array_equal(np.ma.filled(picture.get_array(), 0), counts)
    figure.savefig(tmp_path / "figure.png", dpi=30)


def test_without_truth_there_is_one_panel():
    figure = confidence_comparison_figure(CONFIDENCES, None)
    assert [axes.get_title() for axes in figure.axes] == ["all labels", ""]


def test_more_or_less_than_two_methods_are_refused():
    with pytest.raises(ValueError, match="two methods.* Received: \\['NCR'\\]"):
        confidence_comparison_figure({"NCR": [0.5]}, [True])
