"""Figures of transition matrices: which classes are labeled as which."""

import math

import numpy as np

from keras_ncr.plots.drawable_names import drawable, shortened
from keras_ncr.plots.style import new_figure

# More classes have no room for their names, or for numbers in the cells.
_MOST_NAMES, _MOST_CELLS = 25, 12
_MOST_PIXELS = 250  # On each side of a matrix.


def transition_matrix_figure(matrix, class_names, title=""):
    """Returns a figure of which classes are labeled as which.

    Colors are on a scale of square roots, which makes small shares visible. With more
    than 250 classes, neighboring ones share a cell, which shows the largest share.

    Args:
        matrix: Floats of shape `(num_classes, num_classes)`: the share of examples of
            the row's class that carry the column's label, such as
            `NoisyLabels.transition_matrix` returns. A row of zeros, for a class without
            examples, stays blank.
        class_names: Strings, one for each class.
        title: String above the figure. Defaults to none.

    Returns:
        `matplotlib.figure.Figure` with the matrix and a bar of its colors.

    Raises:
        ValueError: If the matrix does not have a row and a column for each class.

    Example:
    >>> from keras_ncr import plots
    >>> figure = plots.transition_matrix_figure(np.eye(2), ["cat", "dog"])
    >>> [text.get_text() for text in figure.axes[0].texts]
    ['100', '0', '0', '100']
    """
    matrix = _shares(matrix, class_names, "matrix")
    side = min(4 + 0.3 * len(class_names), 9)
    figure = new_figure(side + 1, side)
    axes = figure.subplots()
    picture = _draw_shares(axes, matrix, class_names)
    axes.set(xlabel="Label given", ylabel="True class")
    axes.set_title(title, parse_math=False)
    _add_bar_of_shares(figure, picture, axes, len(class_names), shrink=0.8)
    return figure


def transition_matrices_figure(estimated, true, class_names, title=""):
    """Returns a figure of an estimated transition matrix beside the true one.

    Both have one scale of colors, as in `transition_matrix_figure`. The right panel
    shows where the estimate is too large (purple) or too small (green), in percentage
    points of the true class.

    Args:
        estimated: Floats of shape `(num_classes, num_classes)`: an estimate without the
            true labels, such as `attrs["transition_matrix"]` of an audit.
        true: Floats of the same shape, such as `NoisyLabels.transition_matrix` returns.
        class_names: Strings, one for each class.
        title: String above the figure. Defaults to none.

    Returns:
        `matplotlib.figure.Figure` with three matrices and two bars of colors.

    Raises:
        ValueError: If a matrix does not have a row and a column for each class.

    Example:
    >>> from keras_ncr import plots
    >>> estimated, true = [[0.8, 0.2], [0.0, 1.0]], [[0.7, 0.3], [0.0, 1.0]]
    >>> figure = plots.transition_matrices_figure(estimated, true, ["cat", "dog"])
    >>> [text.get_text() for text in figure.axes[2].texts]
    ['+10', '-10', '0', '0']
    """
    estimated = _shares(estimated, class_names, "estimated")
    true = _shares(true, class_names, "true")
    side = min(3.2 + 0.2 * len(class_names), 5.5)
    # "compressed" brings panels of a fixed shape together.
    figure = new_figure(3 * side + 2.4, side + 0.9, title, layout="compressed")
    panels = figure.subplots(1, 3)
    for axes, matrix in zip(panels, (estimated, true), strict=False):
        picture = _draw_shares(axes, matrix, class_names)
    differences = _draw_differences(panels[2], estimated - true, class_names)
    for axes, name in zip(panels, ("Estimated", "True", "Difference"), strict=True):
        axes.set(title=name, xlabel="Label given")
    panels[0].set_ylabel("True class")
    for axes in panels[1:]:
        axes.set_yticklabels([])  # The names are on the left of all three.
    _add_bar_of_shares(figure, picture, panels[:2], len(class_names), shrink=0.9)
    figure.colorbar(
        differences, label="Estimated minus true (points)", ax=panels[2], shrink=0.9
    )
    return figure


def _shares(matrix, class_names, name):
    """Returns a matrix whose rows of zeros are masked, or raises for its shape."""
    matrix = np.asarray(matrix, np.float64)
    num_classes = len(class_names)
    if matrix.shape != (num_classes, num_classes):
        raise ValueError(
            f"`{name}` must have a row and a column for each of the {num_classes} "
            f"`class_names`. Received: shape {matrix.shape}."
        )
    is_empty = np.broadcast_to(~matrix.any(axis=1, keepdims=True), matrix.shape)
    return np.ma.masked_array(matrix, is_empty)


def _draw_shares(axes, matrix, class_names):
    """Draws a matrix of shares, with names and percentages where there is room."""
    from matplotlib.colors import PowerNorm

    picture = _draw_cells(
        axes, matrix, class_names, cmap="Blues", norm=PowerNorm(0.5, 0, 1)
    )
    if len(class_names) <= _MOST_CELLS:
        # White on dark cells.
        _number_cells(axes, matrix, _percentage, lambda share: share > 0.3)
    return picture


def _draw_differences(axes, differences, class_names):
    """Draws a matrix of differences of shares, in percentage points."""
    points = 100 * differences
    # The scale has at least one point to each side, so that nothing looks large.
    limit = max(1, np.ma.filled(np.abs(points), 0).max())
    picture = _draw_cells(
        axes, points, class_names, cmap="PRGn_r", vmin=-limit, vmax=limit
    )
    if len(class_names) <= _MOST_CELLS:
        _number_cells(
            axes, points, _signed, lambda difference: abs(difference) > 0.7 * limit
        )
    return picture


def _draw_cells(axes, matrix, class_names, **colors):
    """Draws a matrix, with masked rows in gray, and names its classes."""
    block = _block(len(class_names))
    cells = _largest_of_blocks(matrix, block)
    axes.set_facecolor("lightgray")
    edge = block * len(cells) - 0.5
    picture = axes.imshow(cells, extent=(-0.5, edge, edge, -0.5), **colors)
    if len(class_names) <= _MOST_NAMES:
        _name_ticks(axes, class_names)
    return picture


def _block(num_classes):
    """Returns the number of classes that share a cell, on each side."""
    return math.ceil(num_classes / _MOST_PIXELS)


def _add_bar_of_shares(figure, picture, axes, num_classes, shrink):
    """Adds the color bar of shares."""
    from matplotlib.ticker import PercentFormatter

    block = _block(num_classes)
    bar = figure.colorbar(
        picture,
        label="Share of the true class"
        + (f", the largest in {block} x {block}" if block > 1 else ""),
        ticks=[0, 0.01, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1],
        format=PercentFormatter(xmax=1, decimals=0, symbol=" %"),
        ax=axes,
        shrink=shrink,
    )
    bar.ax.minorticks_off()


def _largest_of_blocks(matrix, size):
    """Returns the entry furthest from 0 of each square block of a masked matrix."""
    num_blocks = math.ceil(len(matrix) / size)
    padded = np.ma.masked_all((num_blocks * size, num_blocks * size))
    padded[: len(matrix), : len(matrix)] = matrix
    blocks = padded.reshape(num_blocks, size, num_blocks, size)
    high, low = blocks.max(axis=(1, 3)), blocks.min(axis=(1, 3))
    return np.ma.where(high >= -low, high, low)


def _name_ticks(axes, class_names):
    """Writes the names of the classes on both sides of a matrix."""
    names, fonts = drawable(class_names)
    names = [shortened(name, 20) for name in names]
    style = {"fontfamily": fonts, "fontsize": 9, "parse_math": False}
    axes.set_yticks(range(len(names)), names, **style)
    is_short = max(map(len, names)) * len(names) <= 50
    axes.set_xticks(range(len(names)), names, rotation=0 if is_short else 90, **style)


def _number_cells(axes, matrix, text_of, is_dark):
    """Writes numbers into the cells of a matrix that are not masked."""
    for (row, column), value in np.ndenumerate(np.ma.filled(matrix, np.nan)):
        if not np.isnan(value):
            axes.text(
                column,
                row,
                text_of(value),
                ha="center",
                va="center",
                fontsize=8,
                color="white" if is_dark(value) else "black",
            )


def _percentage(share):
    """Returns a share in percent as text; a small one is not 0."""
    return f"{100 * share:.0f}" if share == 0 or share >= 0.005 else "<1"


def _signed(points):
    """Returns a difference as a whole number with its sign, or 0."""
    return f"{points:+.0f}" if abs(points) >= 0.5 else "0"
