"""Figures that compare many trainings: methods, noises and settings."""

import itertools

import numpy as np

from keras_ncr.checks import check_known
from keras_ncr.plots.style import (
    CLEAN_COLOR,
    METHOD_COLORS,
    NOISY_COLOR,
    new_figure,
    open_frame,
)

_COLORS = (CLEAN_COLOR, NOISY_COLOR, *METHOD_COLORS[1:])
# One less than colors, so that a repeated color has another mark.
_MARKERS = ("o", "s", "^", "D", "v")
_COLUMNS = ("setting", "value", "noise", "accuracy")


def comparison_figure(accuracies, title=""):
    """Returns a figure of the test accuracy of methods under several noises.

    Each noise has a panel, and each method a row in it: a full mark for the last epoch,
    with a bar of one standard deviation to each side, and a hollow mark for the best
    epoch.

    Args:
        accuracies: Dict from a method to a dict from a noise's name to a pair of lists:
            the accuracies in [0, 1] of the last and of the best epoch, by trial. Empty
            lists leave a gap.
        title: String above the figure. Defaults to none.

    Returns:
        `matplotlib.figure.Figure`.

    Example:
    >>> from keras_ncr import plots
    >>> figure = plots.comparison_figure(
    ...     {"standard": {"20 %": ([0.5], [0.7])}, "ncr": {"20 %": ([0.8], [0.8])}}
    ... )
    >>> [axes.get_title() for axes in figure.axes]
    ['20 %']
    """
    noises = list(dict.fromkeys(itertools.chain(*accuracies.values())))
    figure = new_figure(1.8 + 2.4 * len(noises), 1.8 + 0.22 * len(accuracies), title)
    panels = figure.subplots(1, len(noises), sharey=True, squeeze=False)[0]
    for axes, noise in zip(panels, noises, strict=True):
        _draw_noise(axes, [by_noise[noise] for by_noise in accuracies.values()])
        axes.set(title=noise, xlabel="Test accuracy (%)")
        open_frame(axes, "both")
    panels[0].set_yticks(range(len(accuracies)), list(accuracies))
    panels[0].set_ylim(len(accuracies) - 0.5, -0.5)  # The first on top.
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower right", ncols=2, frameon=False)
    return figure


def _draw_noise(axes, pairs):
    """Draws the marks of all methods under one noise."""
    rows = range(len(pairs))
    best, _ = _statistics([best for _, best in pairs])
    last, deviations = _statistics([last for last, _ in pairs])
    axes.plot(best, rows, "o", color=NOISY_COLOR, mfc="none", label="best epoch")
    axes.errorbar(
        last,
        rows,
        xerr=deviations,
        fmt="o",
        color=CLEAN_COLOR,
        capsize=2,
        label="last epoch",
    )


def sweep_figure(stages, title="", ylabel="Accuracy on held-out noisy labels (%)"):
    """Returns a figure of the accuracies by which settings were chosen.

    Each setting has a panel, in the order in which they were tried, with a line for
    each noise and the mean over noises in black. A vertical line marks the chosen value
    (Figure 2 of the paper).

    Args:
        stages: `pandas.DataFrame` with a row for each run and the columns `setting`,
            `value`, `noise` and `accuracy`. Or a dict from a setting's name to a pair:
            the chosen value, and a dict from each value tried to a dict from a noise's
            name to the accuracies in [0, 1], by trial. If no value was chosen, that
            dict alone.
        title: String above the figure. Defaults to none.
        ylabel: String: the kind of accuracy. Defaults to that of `keras-ncr sweep`.

    Returns:
        `matplotlib.figure.Figure`.

    Raises:
        ValueError: If there is no setting, a chosen value was not tried, or a DataFrame
            lacks a column.

    Reference:
        - [Iscen et al., 2022](https://arxiv.org/abs/2202.02200), Figure 2.

    Example:
    >>> from keras_ncr import plots
    >>> tried = {0.1: {"20 %": [0.8, 0.9]}, 0.5: {"20 %": [0.9, 0.9]}}
    >>> figure = plots.sweep_figure({"ncr.consistency_weight": (0.5, tried)})
    >>> figure.axes[0].get_xlabel()
    'ncr.consistency_weight'
    """
    stages = _checked_stages(stages)
    figure = new_figure(0.8 + 3 * len(stages), 3.6, title)
    panels = figure.subplots(1, len(stages), sharey=True, squeeze=False)[0]
    for axes, (key, (chosen, tried)) in zip(panels, stages.items(), strict=True):
        _draw_stage(axes, tried)
        if chosen is not None:
            axes.axvline(list(tried).index(chosen), color="#BBBBBB", zorder=0)
        # At equal distances: on a scale of numbers, 1, 5, 10, 50 would crowd.
        axes.set_xticks(range(len(tried)), map(_text_of, tried))
        axes.set(xlabel=key)
        open_frame(axes, "y")
    panels[0].set_ylabel(ylabel)
    panels[0].legend(frameon=False, fontsize=9)
    return figure


def _text_of(value):
    """Returns a value as text; a column of fractions turns 10 into 10.0."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def _checked_stages(stages):
    """Returns a dict from settings to pairs: the chosen value or None, and a dict."""
    if hasattr(stages, "columns"):
        stages = _stages_of_table(stages)
    stages = {
        key: (None, stage) if isinstance(stage, dict) else stage
        for key, stage in stages.items()
    }
    if not stages:
        raise ValueError("`stages` must hold at least one setting. Received: none.")
    for key, (chosen, tried) in stages.items():
        if chosen is not None:
            check_known(chosen, tried, f"the value chosen of {key}")
    return stages


def _stages_of_table(frame):
    """Returns a dict from settings to values, to noises, to accuracies."""
    missing = [name for name in _COLUMNS if name not in frame.columns]
    if missing:
        raise ValueError(
            f"`stages` must have the columns {list(_COLUMNS)}, with a row for each "
            f"run. Received: a table without {missing}."
        )
    stages = {}
    for setting, value, noise, accuracy in zip(
        *(frame[name] for name in _COLUMNS), strict=True
    ):
        by_noise = stages.setdefault(setting, {}).setdefault(value, {})
        by_noise.setdefault(str(noise), []).append(accuracy)
    return stages


def _draw_stage(axes, tried):
    """Draws the accuracies of the values of one setting."""
    noises = list(dict.fromkeys(itertools.chain(*tried.values())))
    means = []
    for place, noise in enumerate(noises):
        mean, deviations = _statistics(
            [by_noise.get(noise, []) for by_noise in tried.values()]
        )
        means.append(mean)
        axes.errorbar(
            range(len(tried)),
            mean,
            deviations,
            fmt=f"{_MARKERS[place % len(_MARKERS)]}-",
            color=_COLORS[place % len(_COLORS)],
            markersize=5,
            capsize=2,
            label=noise,
        )
    if len(noises) > 1:
        mean = np.mean(means, axis=0)
        axes.plot(range(len(tried)), mean, color="black", linewidth=2, label="mean")


def _statistics(runs):
    """Returns means and standard deviations in percent: NaN of none, 0 of one run."""
    means = [100 * np.mean(run) if np.size(run) else np.nan for run in runs]
    deviations = [100 * np.std(run, ddof=1) if np.size(run) > 1 else 0 for run in runs]
    return means, deviations
