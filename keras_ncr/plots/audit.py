"""A figure of an audit: how good its list of suspicious labels is."""

import numpy as np

from keras_ncr.plots.memorization import draw_shares
from keras_ncr.plots.style import CLEAN_COLOR, NOISY_COLOR, new_figure, open_frame

_COLUMNS = ("label_quality", "is_label_issue", "issue_probability")
_MOST_POINTS = 2000  # Points of a curve: more cannot be seen, and draw slowly.


def audit_figure(frame, is_wrong=None, title=""):
    """Returns a figure of how good a list of suspicious labels is.

    The left panel has histograms of the label quality: of right and of wrong labels if
    `is_wrong` is given, else of labels called wrong and not called. The middle panel
    shows which share of the called examples has a wrong label (the precision), as more
    examples are called; the right panel shows it against the share of all wrong labels
    that are called (the recall). Solid lines are what the audit estimates, dashed lines
    what is true; a mark on each is at the audit's own list.

    Args:
        frame: `pandas.DataFrame` from `keras_ncr.audit`, with a row for each example
            and the columns `label_quality` and `issue_probability`, in [0, 1], and
            `is_label_issue`.
        is_wrong: Optional bools of shape `(n,)`: whether the given label is wrong.
            Defaults to `None`: not known.
        title: String above the figure. Defaults to none.

    Returns:
        `matplotlib.figure.Figure` with three axes.

    Raises:
        ValueError: If the frame lacks a column or has no row, or `is_wrong` has another
            length.

    Example:
    >>> import pandas as pd
    >>> from keras_ncr import plots
    >>> frame = pd.DataFrame(
    ...     {
    ...         "label_quality": [0.1, 0.9, 0.2, 0.8],
    ...         "is_label_issue": [True, False, True, False],
    ...         "issue_probability": [0.9, 0.1, 0.7, 0.3],
    ...     }
    ... )
    >>> figure = plots.audit_figure(frame, is_wrong=[True, False, False, False])
    >>> figure.axes[1].get_title()
    '2 of 4 examples called'
    """
    is_wrong = _checked(frame, is_wrong)
    order = np.argsort(frame["label_quality"].to_numpy(), kind="stable")
    num_called = int(frame["is_label_issue"].sum())
    probabilities = frame["issue_probability"].to_numpy(np.float64)[order]
    curves = [_Curve("estimated", probabilities, "-")]
    if is_wrong is not None:
        curves.append(_Curve("true", is_wrong[order], "--"))
    figure = new_figure(13, 4, title)
    histogram_axes, precision_axes, recall_axes = figure.subplots(1, 3)
    _draw_quality(histogram_axes, frame, is_wrong)
    most = max(2 * num_called, *(int(2 * curve.total) for curve in curves), 20)
    _draw_precision(precision_axes, curves, num_called, min(most, len(order)))
    precision_axes.set_title(f"{num_called:,} of {len(order):,} examples called")
    _draw_recall(recall_axes, curves, num_called)
    for axes in (precision_axes, recall_axes):
        axes.set(ylabel="True errors among those called (%)", ylim=(0, 103))
        axes.legend(loc="lower left", frameon=False)
        open_frame(axes, "both")
    return figure


class _Curve:
    """The precision and recall of the first examples, expected or true."""

    def __init__(self, name, shares, style):
        self.name, self.style = name, style
        found = np.cumsum(shares)
        self.total = found[-1]
        self.precision = 100 * found / np.arange(1, len(found) + 1)
        # Without any errors, the recall is 1.
        is_none = self.total == 0
        self.recall = 100 * (found + is_none) / (self.total + is_none)


def _checked(frame, is_wrong):
    """Returns `is_wrong` as bools or None, or raises for it or the frame."""
    missing = [name for name in _COLUMNS if name not in getattr(frame, "columns", [])]
    if missing or len(frame) == 0:
        raise ValueError(
            f"`frame` must have rows and the columns {list(_COLUMNS)}, as "
            f"`keras_ncr.audit` returns it. Received: no {missing or 'row'}."
        )
    if is_wrong is None:
        return None
    is_wrong = np.asarray(is_wrong, bool)
    if is_wrong.shape != (len(frame),):
        raise ValueError(
            f"`is_wrong` must have shape ({len(frame)},), one for each row of `frame`. "
            f"Received: shape {is_wrong.shape}."
        )
    return is_wrong


def _draw_quality(axes, frame, is_wrong):
    """Draws histograms of the label quality, each with sum 100."""
    names = ("right labels", "wrong labels")
    if is_wrong is None:
        names = ("not called", "called")
        is_wrong = frame["is_label_issue"].to_numpy(bool)
    quality = frame["label_quality"].to_numpy()
    for name, chosen, color in zip(
        names, (~is_wrong, is_wrong), (CLEAN_COLOR, NOISY_COLOR), strict=True
    ):
        draw_shares(axes, quality[chosen], f"{name}: {chosen.sum():,}", color)
    axes.set(title="Label quality", xlabel="Low is suspicious", xlim=(0, 1))
    axes.set_ylabel("Share of each (%)")
    axes.legend(loc="upper center", frameon=False)
    open_frame(axes)


def _draw_precision(axes, curves, num_called, most):
    """Draws the precision against the number of examples called."""
    numbers = np.unique(np.linspace(1, most, _MOST_POINTS).astype(int))
    for curve in curves:
        _draw_curve(axes, curve, numbers, curve.precision[numbers - 1])
        if num_called:
            _mark(axes, curve, num_called, curve.precision[num_called - 1])
    axes.axvline(num_called, color="gray", linewidth=0.8, ls=":")
    axes.set(xlabel="Examples called, the most suspicious first", xlim=(0, most * 1.02))


def _draw_recall(axes, curves, num_called):
    """Draws the precision against the recall."""
    num_examples = len(curves[0].recall)
    places = np.unique(np.linspace(0, num_examples - 1, _MOST_POINTS).astype(int))
    for curve in curves:
        _draw_curve(axes, curve, curve.recall[places], curve.precision[places])
        if num_called:
            place = num_called - 1
            _mark(axes, curve, curve.recall[place], curve.precision[place])
    axes.set(title="Precision and recall", xlabel="Errors found (%)", xlim=(0, 103))


def _draw_curve(axes, curve, x, y):
    """Draws a line in the color and style of a curve."""
    axes.plot(x, y, color=_color(curve), ls=curve.style, lw=1.8, label=curve.name)


def _mark(axes, curve, x, y):
    """Draws the mark of the audit's own list."""
    axes.plot([x], [y], "o", color=_color(curve), markersize=7)


def _color(curve):
    return CLEAN_COLOR if curve.name == "estimated" else NOISY_COLOR
