"""Tests of plots/audit.py: what the picture of a list of suspicious labels shows."""

import numpy as np
import pandas as pd
import pytest

from keras_ncr.plots import audit_figure

# The worst first: rows 2, 0, 3, 1.
FRAME = pd.DataFrame(
    {
        "label_quality": [0.2, 0.9, 0.1, 0.6],
        "is_label_issue": [True, False, True, False],
        "issue_probability": [0.8, 0.0, 1.0, 0.2],
    }
)
IS_WRONG = np.array([False, False, True, True])


def curves(axes):
    """Returns the curves of an axes by their names, as x and y."""
    return {
        line.get_label(): line.get_data()
        for line in axes.get_lines()
        if not line.get_label().startswith("_")
    }


def marks(axes):
    return [
        (line.get_xdata()[0], line.get_ydata()[0])
        for line in axes.get_lines()
        if line.get_marker() == "o"
    ]


def test_estimated_and_true_precision_are_drawn_as_more_are_called():
    axes = audit_figure(FRAME, IS_WRONG).axes[1]
    drawn = curves(axes)
    assert list(drawn) == ["estimated", "true"]
    numbers, expected = drawn["estimated"]
    np.testing.assert_array_equal(numbers, [1, 2, 3, 4])
    np.testing.assert_allclose(expected, [100, 90, 200 / 3, 50])
    np.testing.assert_allclose(drawn["true"][1], [100, 50, 200 / 3, 50])
    np.testing.assert_allclose(marks(axes), [(2, 90), (2, 50)])
    assert axes.get_title() == "2 of 4 examples called"


def test_precision_is_drawn_against_recall():
    axes = audit_figure(FRAME, IS_WRONG).axes[2]
    drawn = curves(axes)
    np.testing.assert_allclose(drawn["estimated"][0], [50, 90, 100, 100])
    np.testing.assert_allclose(
        drawn["true"], [[50, 50, 100, 100], [100, 50, 200 / 3, 50]]
    )
    np.testing.assert_allclose(marks(axes), [(90, 90), (50, 50)])


@pytest.mark.parametrize("num_called", [1, 2, 3, 4])
def test_marks_are_on_their_curves(num_called):
    is_called = FRAME["label_quality"].rank() <= num_called
    axes = audit_figure(FRAME.assign(is_label_issue=is_called), IS_WRONG).axes[1:]
    for one in axes:
        for place, drawn in zip(marks(one), curves(one).values(), strict=True):
            points = [tuple(point) for point in np.transpose(drawn)]
            assert any(np.allclose(place, point) for point in points)


def test_quality_is_divided_by_what_is_known():
    def legend(is_wrong):
        axes = audit_figure(FRAME, is_wrong).axes[0]
        return [text.get_text() for text in axes.get_legend().get_texts()]

    assert legend(IS_WRONG) == ["right labels: 2", "wrong labels: 2"]
    assert legend(None) == ["not called: 2", "called: 2"]
    assert legend(pd.Series(IS_WRONG)) == ["right labels: 2", "wrong labels: 2"]


def test_nothing_but_estimates_is_drawn_where_nothing_is_known():
    for axes in audit_figure(FRAME).axes[1:]:
        assert list(curves(axes)) == ["estimated"]


@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_list_of_none_or_of_all_is_drawn(probability, tmp_path):
    frame = FRAME.assign(is_label_issue=probability > 0, issue_probability=probability)
    figure = audit_figure(frame, np.full(4, probability > 0), "costs $5 and $6")
    figure.savefig(tmp_path / "figure.png", dpi=30)  # Warnings are errors.
    assert len(marks(figure.axes[1])) == (2 if probability else 0)


def test_a_million_examples_are_a_few_points():
    num_examples = 10**6
    quality = np.linspace(0, 1, num_examples)
    frame = pd.DataFrame(
        {
            "label_quality": quality,
            "is_label_issue": quality < 0.25,
            "issue_probability": 1 - quality,
        }
    )
    _, precision_axes, recall_axes = audit_figure(frame).axes
    for axes in (precision_axes, recall_axes):
        assert len(curves(axes)["estimated"][0]) <= 2000
    # The mean of the probabilities from 1 down to 0.75.
    assert marks(precision_axes) == [pytest.approx((250_000, 87.5), rel=1e-4)]


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (FRAME.drop(columns="label_quality"), "no \\['label_quality'\\]"),
        (FRAME[:0], "no row"),
        ([0.1, 0.2], "`frame` must have rows and the columns"),
    ],
    ids=["a column missing", "empty", "a list"],
)
def test_frame_that_is_no_audit_is_refused(frame, message):
    with pytest.raises(ValueError, match=message):
        audit_figure(frame)


def test_truth_of_other_examples_is_refused():
    with pytest.raises(ValueError, match=r"`is_wrong` .* \(4,\), .* \(3,\)"):
        audit_figure(FRAME, IS_WRONG[:3])
