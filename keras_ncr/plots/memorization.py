"""Figures of memorization: how sure models are of clean and of wrong labels."""

import numpy as np

from keras_ncr.plots.style import CLEAN_COLOR, NOISY_COLOR, new_figure, open_frame
from keras_ncr.plots.training import draw_runs


def memorization_figure(histories, confidences, is_noisy, title=""):
    """Returns a figure of the accuracy of methods and of what they memorized.

    The left panel shows test accuracy over epochs. Then each method has a histogram of
    the confidence in the annotated labels of training examples, for clean and for wrong
    labels (Figure 3 of the paper). A model that memorizes is sure of both.

    Args:
        histories: Dict from a method's name to a list of runs, each a list of test
            accuracies in [0, 1] by epoch. Thin lines are runs, a thick one their mean.
        confidences: Dict from the same names to floats of shape `(runs, n)` or `(n,)`.
        is_noisy: Bools of shape `(n,)`: whether an example's annotated label is wrong.
            `None` if not known: then there is one histogram of all labels.
        title: String above the figure. Defaults to none.

    Returns:
        `matplotlib.figure.Figure`.

    Raises:
        ValueError: If the two dicts differ in their methods, or a method does not have
            one confidence for each of `is_noisy`.

    Reference:
        - [Iscen et al., 2022](https://arxiv.org/abs/2202.02200), Figure 3.

    Example:
    >>> from keras_ncr import plots
    >>> figure = plots.memorization_figure(
    ...     {"standard": [[0.5, 0.7]]}, {"standard": [0.9, 0.8]}, [False, True]
    ... )
    >>> len(figure.axes)
    2
    """
    if list(histories) != list(confidences):
        raise ValueError(
            "`histories` and `confidences` must have the same methods. Received: "
            f"{list(histories)} and {list(confidences)}."
        )
    confidences, is_noisy = _checked(confidences, is_noisy)
    figure = new_figure(4.8 + 3.2 * len(confidences), 3.8, title)
    widths = [1.5] + [1] * len(confidences)
    accuracy_axes, *confidence_axes = figure.subplots(
        1, len(widths), width_ratios=widths
    )
    draw_runs(accuracy_axes, histories)
    accuracy_axes.set_title("Test accuracy (%)")
    for axes, (name, values) in zip(confidence_axes, confidences.items(), strict=True):
        axes.sharey(confidence_axes[0])
        _draw_confidence(axes, values, is_noisy)
        axes.set(
            title=f"Confidence: {name}", xlabel="Probability of the annotated label"
        )
    share = "all" if is_noisy is None else "clean / of wrong"
    confidence_axes[0].set_ylabel(f"Share of {share} labels (%)")
    confidence_axes[0].legend(loc="best" if is_noisy is None else "upper center")
    confidence_axes[0].get_legend().set_frame_on(False)
    return figure


def confidence_figure(settings, title=""):
    """Returns a figure of how sure methods are of clean and of wrong labels.

    As in Figure 3 of the paper, each setting, such as a share of wrong labels, has a
    column, and each method a row, with histograms of the confidence in the annotated
    labels of training examples.

    Args:
        settings: Dict from a setting's name to a pair: a dict from a method's name to
            the confidences in n examples, floats of shape `(runs, n)` or `(n,)`; and
            bools of shape `(n,)`, whether an annotated label is wrong, or `None` if not
            known. A setting may lack a method, and n may differ.
        title: String above the figure. Defaults to none.

    Returns:
        `matplotlib.figure.Figure` with an axes for each method in each setting.

    Raises:
        ValueError: If there is nothing to draw, or a method does not have one
            confidence for each example.

    Reference:
        - [Iscen et al., 2022](https://arxiv.org/abs/2202.02200), Figure 3.

    Example:
    >>> from keras_ncr import plots
    >>> confidences = {"standard": [0.9, 0.9, 0.8], "NCR": [0.9, 0.8, 0.1]}
    >>> figure = plots.confidence_figure({"40 %": (confidences, [False, False, True])})
    >>> len(figure.axes)
    2
    """
    settings = {name: _checked(*setting) for name, setting in settings.items()}
    methods = list(dict.fromkeys(m for values, _ in settings.values() for m in values))
    if not methods:
        raise ValueError(
            "`settings` must hold at least one method's confidences. Received: "
            f"{settings!r}."
        )
    figure = new_figure(1 + 2.8 * len(settings), 1.2 + 1.7 * len(methods), title)
    grid = figure.subplots(
        len(methods), len(settings), sharex=True, sharey="row", squeeze=False
    )
    for column, (name, (confidences, is_noisy)) in enumerate(settings.items()):
        grid[0, column].set_title(name)
        grid[-1, column].set_xlabel("Probability of the\nannotated label")
        for axes, method in zip(grid[:, column], methods, strict=True):
            _draw_confidence(axes, confidences.get(method, np.empty((1, 0))), is_noisy)
    for axes, method in zip(grid[:, 0], methods, strict=True):
        axes.set_ylabel(f"{method}\nShare (%)".strip())
    _add_legend(figure, grid.flat)
    return figure


def confidence_comparison_figure(confidences, is_noisy, title=""):
    """Returns a figure of one method's confidence against another's, by example.

    Clean and wrong labels have a panel each. Darker cells have more examples with these
    two confidences in their annotated label, on a logarithmic scale. Wrong labels in
    the lower right corner were memorized by the first method alone.

    Args:
        confidences: Dict from the names of two methods to floats of shape `(runs, n)`
            or `(n,)`. Runs are averaged.
        is_noisy: As in `memorization_figure`.
        title: String above the figure. Defaults to none.

    Returns:
        `matplotlib.figure.Figure`.

    Raises:
        ValueError: If there are not two methods, or one does not have a confidence for
            each of `is_noisy`.

    Example:
    >>> from keras_ncr import plots
    >>> confidences = {"standard": [0.9, 0.9, 0.8], "NCR": [0.9, 0.8, 0.1]}
    >>> figure = plots.confidence_comparison_figure(confidences, [False, False, True])
    >>> [axes.get_title() for axes in figure.axes[:2]]
    ['clean labels', 'wrong labels']
    """
    from matplotlib.colors import LogNorm

    if len(confidences) != 2:
        raise ValueError(
            "`confidences` must have two methods, one for each axis. Received: "
            f"{list(confidences)}."
        )
    checked, is_noisy = _checked(confidences, is_noisy)
    first, second = (values.mean(axis=0) for values in checked.values())
    parts = _parts(is_noisy)
    counts = [
        np.histogram2d(first[chosen], second[chosen], bins=25, range=[[0, 1], [0, 1]])
        for _, chosen, _ in parts
    ]
    most = max(count.max() for count, _, _ in counts)
    figure = new_figure(0.6 + 4.2 * len(parts), 4.2, title, layout="compressed")
    panels = figure.subplots(1, len(parts), sharey=True, squeeze=False)[0]
    for axes, (name, _, color), (count, *edges) in zip(
        panels, parts, counts, strict=True
    ):
        picture = axes.pcolormesh(
            *edges,
            np.ma.masked_equal(count.T, 0),
            cmap=_shades(color),
            norm=LogNorm(1, max(most, 2)),
        )
        axes.plot([0, 1], [0, 1], color="gray", linewidth=0.8, linestyle="--")
        axes.set(title=name, xlabel=f"Confidence: {list(checked)[0]}", aspect="equal")
        figure.colorbar(picture, ax=axes, label="Examples", shrink=0.8)
    panels[0].set_ylabel(f"Confidence: {list(checked)[1]}")
    return figure


def _checked(confidences, is_noisy):
    """Returns confidences of shape `(runs, n)` and bools, or raises if n differs."""
    confidences = {name: np.atleast_2d(values) for name, values in confidences.items()}
    lengths = {name: values.shape[-1] for name, values in confidences.items()}
    if is_noisy is not None:
        is_noisy = np.asarray(is_noisy, bool)
        lengths["is_noisy"] = len(is_noisy)
    if len(set(lengths.values())) > 1:
        raise ValueError(
            "`confidences` and `is_noisy` must have the same number of examples. "
            f"Received: {lengths}."
        )
    return confidences, is_noisy


def _parts(is_noisy):
    """Returns the name, the rows and the color of clean and wrong labels, or of all."""
    if is_noisy is None:
        return [("all labels", slice(None), CLEAN_COLOR)]
    return [
        ("clean labels", ~is_noisy, CLEAN_COLOR),
        ("wrong labels", is_noisy, NOISY_COLOR),
    ]


def _draw_confidence(axes, confidence, is_noisy):
    """Draws the histograms of clean and of wrong labels, each with sum 100."""
    if confidence.size:
        for name, chosen, color in _parts(is_noisy):
            draw_shares(axes, confidence[:, chosen].ravel(), name, color)
    axes.set_xlim(0, 1)
    open_frame(axes)


def draw_shares(axes, values, name, color):
    """Draws a histogram of values in [0, 1], if any, whose bars sum to 100."""
    if values.size:
        axes.hist(
            values,
            bins=20,
            range=(0, 1),
            weights=np.full(values.size, 100 / values.size),
            color=color,
            alpha=0.6,
            label=name,
        )


def _add_legend(figure, panels):
    """Adds one legend below all panels, with whatever any of them shows."""
    entries = {}
    for axes in panels:
        for handle, name in zip(*axes.get_legend_handles_labels(), strict=True):
            entries.setdefault(name, handle)
    figure.legend(
        entries.values(),
        entries.keys(),
        loc="outside lower center",
        ncols=3,
        frameon=False,
    )


def _shades(color):
    """Returns a color map from nearly white to darker than a color."""
    from matplotlib.colors import LinearSegmentedColormap, to_rgb

    color = np.array(to_rgb(color))
    return LinearSegmentedColormap.from_list(
        "shades", [0.15 * color + 0.85, color, 0.4 * color]
    )
