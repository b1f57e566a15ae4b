"""Figures of training: test accuracy and memorization over epochs."""

import itertools

import numpy as np

from keras_ncr.plots.style import METHOD_COLORS, new_figure, open_frame

_ACCURACY, _MEMORIZED = "val_accuracy", "memorization_rate"


def training_figure(histories, title=""):
    """Returns a figure of test accuracy and of memorization over epochs.

    The left panel shows the accuracy on the validation data of `fit`. The right one
    shows the share of wrong labels that the model predicts as annotated, if
    `keras_ncr.models.MemorizationMonitor` measured it.

    Args:
        histories: Dict from a method's name to a run, or a list of runs. A run is what
            `fit` returns, its `history`, a DataFrame with a row for each epoch, or a
            list of dicts such as the rows of `history.csv`. It has the key
            `"val_accuracy"` and optionally `"memorization_rate"`, both in [0, 1]. Thin
            lines are runs, a thick one their mean.
        title: String above the figure. Defaults to none.

    Returns:
        `matplotlib.figure.Figure` with one axes, or two if memorization was measured.

    Raises:
        ValueError: If there is no run, or one has no epoch or no `"val_accuracy"`.

    Example:
    >>> from keras_ncr import plots
    >>> run = {"val_accuracy": [0.5, 0.7], "memorization_rate": [0.1, 0.4]}
    >>> figure = plots.training_figure({"standard": run})
    >>> [axes.get_title() for axes in figure.axes]
    ['Test accuracy (%)', 'Wrong labels memorized (%)']
    """
    columns = {
        name: [_columns_of(run, name) for run in _as_runs(runs)]
        for name, runs in histories.items()
    }
    if not any(columns.values()):
        raise ValueError(
            f"`histories` must hold at least one run. Received: {histories!r}."
        )
    accuracies = {
        name: [run[_ACCURACY] for run in runs] for name, runs in columns.items()
    }
    memorized = {
        name: [run[_MEMORIZED] for run in runs if _MEMORIZED in run]
        for name, runs in columns.items()
    }
    num_panels = 2 if any(memorized.values()) else 1
    figure = new_figure(5.2 * num_panels, 3.8, title)
    panels = figure.subplots(1, num_panels, squeeze=False)[0]
    draw_runs(panels[0], accuracies)
    panels[0].set_title("Test accuracy (%)")
    if num_panels == 2:
        draw_runs(panels[1], memorized)
        panels[1].set(title="Wrong labels memorized (%)", ylim=(0, None))
    return figure


def draw_runs(axes, histories):
    """Draws runs by method over epochs, in percent; the legend has their last mean."""
    for color, (name, runs) in zip(
        itertools.cycle(METHOD_COLORS), histories.items(), strict=False
    ):
        if len(runs):  # A method without runs keeps its color.
            _draw_method(axes, name, [100 * np.asarray(run) for run in runs], color)
    axes.set(xlabel="Epoch", ylim=(None, 101))
    axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    axes.legend(loc="best", frameon=False)
    open_frame(axes, "both")


def _draw_method(axes, name, runs, color):
    """Draws the runs of one method, and their mean as far as the shortest goes."""
    num_epochs = min(map(len, runs))
    mean = np.mean([run[:num_epochs] for run in runs], axis=0)
    for run in runs:
        epochs = np.arange(1, len(run) + 1)
        axes.plot(epochs, run, color=color, linewidth=0.7, alpha=0.5)
    axes.plot(
        np.arange(1, num_epochs + 1),
        mean,
        color=color,
        linewidth=2.2,
        # One epoch is a point, not a line.
        marker="o" if num_epochs == 1 else None,
        label=f"{name}: {mean[-1]:.1f} in the last epoch",
    )


def _as_runs(runs):
    """Returns a list of runs; a list of dicts of numbers is one run."""
    is_list = isinstance(runs, list | tuple)
    is_rows = is_list and all(
        isinstance(row, dict) and np.ndim(row.get(_ACCURACY, 0)) == 0 for row in runs
    )
    return [runs] if not is_list or (is_rows and runs) else runs


def _columns_of(run, name):
    """Returns the values of the measures that a run has, by name."""
    run = getattr(run, "history", run)  # What `fit` returns.
    if isinstance(run, list | tuple):
        run = {
            key: [row[key] for row in run]
            for key in (_ACCURACY, _MEMORIZED)
            if all(key in row for row in run)
        }
    columns = {
        key: np.asarray(run[key], np.float64)
        for key in (_ACCURACY, _MEMORIZED)
        if key in run
    }
    if not columns.get(_ACCURACY, np.array([])).size:
        raise ValueError(
            f'`histories` must have "{_ACCURACY}" for each epoch. Received: a run of '
            f"{name!r} with {list(run)}. Compile with metrics=['accuracy'], and pass "
            "validation_data to `fit`."
        )
    return columns
