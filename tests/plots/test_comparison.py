"""Tests of plots/comparison.py on one's own results; test_sweep.py has the rest."""

import numpy as np
import pandas as pd
import pytest

from keras_ncr.plots import sweep_figure

TABLE = pd.DataFrame(
    [
        ("alpha", 0.1, "20 %", 0.7),
        ("alpha", 0.1, "20 %", 0.9),
        ("alpha", 0.9, "20 %", 0.9),
        ("alpha", 0.9, "40 %", 0.6),
        ("k", 10, "20 %", 0.5),
    ],
    columns=["setting", "value", "noise", "accuracy"],
)


def drawn(axes):
    return {c.get_label(): c[0].get_ydata(orig=False) for c in axes.containers}


def texts(labels):
    return [label.get_text() for label in labels]


def test_table_of_runs_has_a_panel_for_each_setting(tmp_path):
    figure = sweep_figure(TABLE, ylabel="Test accuracy (%)")
    first, second = figure.axes
    assert [axes.get_xlabel() for axes in (first, second)] == ["alpha", "k"]
    assert first.get_ylabel() == "Test accuracy (%)"
    assert texts(first.get_xticklabels()) == ["0.1", "0.9"]
    assert texts(second.get_xticklabels()) == ["10"]  # pandas makes it 10.0.
    np.testing.assert_allclose(drawn(first)["20 %"], [80, 90])
    np.testing.assert_allclose(drawn(first)["40 %"], [np.nan, 60])
    figure.savefig(tmp_path / "figure.png", dpi=30)


def test_dict_without_a_choice_has_no_line_at_it():
    tried = {1: {"20 %": [0.8]}, 5: {"20 %": 0.9}}
    (axes,) = sweep_figure({"k": tried}).axes
    np.testing.assert_allclose(drawn(axes)["20 %"], [80, 90])
    with_choice = sweep_figure({"k": (5, tried)}).axes[0]
    assert len(with_choice.get_lines()) == len(axes.get_lines()) + 1


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ({}, "at least one setting"),
        ({"k": (7, {1: {"20 %": [0.8]}})}, "chosen of k` must be one of .*7"),
        (TABLE.drop(columns="noise"), "without \\['noise'\\]"),
    ],
    ids=["none", "a choice not tried", "a column missing"],
)
def test_what_cannot_be_drawn_is_refused(stages, message):
    with pytest.raises(ValueError, match=message):
        sweep_figure(stages)
