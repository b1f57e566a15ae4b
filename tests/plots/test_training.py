"""Tests of plots/training.py: the course of training, from any record of it."""

import keras
import numpy as np
import pandas as pd
import pytest

from keras_ncr.plots import training_figure

RUN = {"loss": [1, 1], "val_accuracy": [0.5, 0.75], "memorization_rate": [0.1, 0.4]}
ROWS = [
    dict(zip(RUN, values, strict=True)) for values in zip(*RUN.values(), strict=True)
]


def fitted(run):
    """Returns what `fit` returns."""
    history = keras.callbacks.History()
    history.history = run
    return history


def lines(axes):
    return [list(line.get_ydata()) for line in axes.get_lines()]


def legend(axes):
    return [text.get_text() for text in axes.get_legend().get_texts()]


@pytest.mark.parametrize(
    "run",
    [RUN, ROWS, pd.DataFrame(RUN), fitted(RUN), [RUN], [ROWS], [fitted(RUN)]],
    ids=["dict", "rows", "table", "fit", "dicts", "lists of rows", "fits"],
)
def test_each_form_of_a_run_shows_accuracy_and_what_is_memorized(run):
    accuracy_axes, memorized_axes = training_figure({"NCR": run}, "Digits").axes
    # The run, and the mean of runs.
    np.testing.assert_allclose(lines(accuracy_axes), [[50, 75]] * 2)
    np.testing.assert_allclose(lines(memorized_axes), [[10, 40]] * 2)
    assert legend(accuracy_axes) == ["NCR: 75.0 in the last epoch"]
    assert legend(memorized_axes) == ["NCR: 40.0 in the last epoch"]


def test_runs_are_drawn_with_their_mean_as_far_as_all_go():
    runs = [{"val_accuracy": [0.2, 0.4, 0.6]}, {"val_accuracy": [0.4, 0.6]}]
    (axes,) = training_figure({"NCR": runs}).axes
    for drawn, expected in zip(
        lines(axes), [[20, 40, 60], [40, 60], [30, 50]], strict=True
    ):
        np.testing.assert_allclose(drawn, expected)


def test_methods_of_which_nothing_is_known_keep_their_color(tmp_path):
    figure = training_figure(
        {"standard": {"val_accuracy": [0.5]}, "NCR": RUN}, "costs $5 and $6"
    )
    accuracy_axes, memorized_axes = figure.axes
    assert len(legend(accuracy_axes)) == 2
    assert legend(memorized_axes) == ["NCR: 40.0 in the last epoch"]
    colors = [axes.get_lines()[-1].get_color() for axes in figure.axes]
    assert colors[0] == colors[1]
    figure.savefig(tmp_path / "figure.png", dpi=30)  # Warnings are errors.


@pytest.mark.parametrize("histories", [{}, {"NCR": []}])
def test_no_run_is_refused(histories):
    with pytest.raises(ValueError, match="`histories` must hold at least one run"):
        training_figure(histories)


@pytest.mark.parametrize("run", [{"loss": [1.0]}, {"val_accuracy": []}, [{"loss": 1}]])
def test_run_without_test_accuracy_is_refused(run):
    with pytest.raises(ValueError, match="'NCR' .*metrics=\\['accuracy'\\]"):
        training_figure({"NCR": run})
