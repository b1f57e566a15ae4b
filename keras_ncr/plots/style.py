"""What all figures have in common: their colors, their title, their frame."""

# Blue and orange that stay apart for the color-blind (Okabe and Ito, 2008).
CLEAN_COLOR, NOISY_COLOR = "#0072B2", "#D55E00"
METHOD_COLORS = ("#666666", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")


def new_figure(width, height, title="", layout="constrained"):
    """Returns an empty figure of a size in inches, with a title above it if any."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout=layout)
    if title:
        figure.suptitle(title, parse_math=False)
    return figure


def open_frame(axes, grid=None):
    """Removes the upper and the right edge of axes, and draws a grid if asked to."""
    axes.spines[["top", "right"]].set_visible(False)
    if grid is not None:
        axes.grid(axis=grid, alpha=0.3)
