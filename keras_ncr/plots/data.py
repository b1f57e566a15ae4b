"""Figures of the data that training sees: images, augmentation, class counts."""

import math

import numpy as np

from keras_ncr.plots.drawable_names import drawable, shortened
from keras_ncr.plots.style import CLEAN_COLOR, NOISY_COLOR, new_figure, open_frame

_MOST_BARS = 100  # More classes have no room for a bar each.
_UNKNOWN_COLOR = "#666666"


def contact_sheet(images, labels, class_names, clean_labels=None, title=""):
    """Returns a figure of images, each with its label.

    Wrong labels are in color, followed by the true one: "cat (dog)".

    Args:
        images: Array of shape `(n, height, width, channels)`, or n arrays of shape
            `(height, width, channels)`; pixels in 0 to 255, 1 or 3 channels.
        labels: Integers of shape `(n,)`: the labels that training sees.
        class_names: Strings, one for each class.
        clean_labels: Optional integers of shape `(n,)`: the true labels, -1 where the
            label is wrong and the true one unknown. Defaults to `None`: not known.
        title: String above the figure. Defaults to none.

    Returns:
        `matplotlib.figure.Figure` with one axes for each image.

    Example:
    >>> from keras_ncr import plots
    >>> images = np.zeros((2, 8, 8, 1), "uint8")
    >>> figure = plots.contact_sheet(images, [0, 0], ["cat", "dog"], [0, 1])
    >>> [axes.get_title() for axes in figure.axes]
    ['cat', 'cat (dog)']
    """
    names, fonts = drawable(class_names)
    columns = math.ceil(math.sqrt(len(images)))
    rows = math.ceil(len(images) / columns)
    figure = new_figure(max(1.5 * columns, 3), 1.7 * rows + 0.4, title)
    for position, (image, label) in enumerate(zip(images, labels, strict=True)):
        axes = figure.add_subplot(rows, columns, position + 1)
        _draw_image(axes, image)
        clean_label = label if clean_labels is None else clean_labels[position]
        axes.set_title(
            _caption(names, label, clean_label),
            color="black" if label == clean_label else NOISY_COLOR,
            fontsize=8,
            fontfamily=fonts,
            parse_math=False,
        )
    return figure


def augmentation_figure(originals, augmented, title=""):
    """Returns a figure of images, each beside its augmented versions.

    Args:
        originals: n arrays of shape `(height, width, channels)`: the stored images, of
            any sizes.
        augmented: n lists of arrays: the versions of each image, equally many.
        title: String above the figure. Defaults to none.

    Returns:
        `matplotlib.figure.Figure` with a row of axes for each image.

    Example:
    >>> from keras_ncr import plots
    >>> image = np.zeros((8, 8, 1), "uint8")
    >>> figure = plots.augmentation_figure([image], [[image, image]])
    >>> [axes.get_title() for axes in figure.axes]
    ['as stored', 'draw 1', 'draw 2']
    """
    columns = 1 + len(augmented[0])
    figure = new_figure(1.5 * columns, 1.5 * len(originals) + 0.7, title)
    grid = figure.subplots(len(originals), columns, squeeze=False)
    for row, original, versions in zip(grid, originals, augmented, strict=True):
        for axes, image in zip(row, [original, *versions], strict=True):
            _draw_image(axes, image)
    grid[0, 0].set_title("as stored", fontsize=9)
    for draw, axes in enumerate(grid[0, 1:], start=1):
        axes.set_title(f"draw {draw}", fontsize=9)
    return figure


def class_count_figure(labels, class_names, clean_labels=None, title=""):
    """Returns a figure of the number of examples of each class.

    Up to 100 classes have a bar each, from top to bottom. More classes become a curve
    from the largest to the smallest, with the names at both ends.

    Args:
        labels: Integers of shape `(n,)`: the labels that training sees.
        class_names: Strings, one for each class.
        clean_labels: As in `contact_sheet`. If given, bars are divided into right and
            wrong labels, and a mark shows the true number.
        title: String above the figure. Defaults to none.

    Returns:
        `matplotlib.figure.Figure`.

    Example:
    >>> from keras_ncr import plots
    >>> figure = plots.class_count_figure([0, 0, 1], ["cat", "dog"])
    >>> [float(bar.get_width()) for bar in figure.axes[0].patches]
    [2.0, 1.0]
    """
    num_classes = len(class_names)
    has_bars = num_classes <= _MOST_BARS
    height = 1.6 + (num_classes * (0.26 if num_classes <= 40 else 0.17))
    figure = new_figure(7, height if has_bars else 4.5)
    axes = figure.subplots()
    draw = _draw_count_bars if has_bars else _draw_count_curve
    draw(axes, _Counts(labels, num_classes, clean_labels), class_names)
    axes.set_title(title, parse_math=False)
    open_frame(axes)
    if clean_labels is not None:
        figure.legend(
            loc="outside lower center", ncols=3, frameon=False, markerscale=1.5
        )
    return figure


class _Counts:
    """Numbers of examples by class: given, right, wrong, true; None if not known."""

    def __init__(self, labels, num_classes, clean_labels):
        labels = np.asarray(labels)
        self.given = np.bincount(labels, minlength=num_classes)
        self.right = self.wrong = self.true = None
        if clean_labels is not None:
            clean_labels = np.asarray(clean_labels)
            right = labels[labels == clean_labels]
            self.right = np.bincount(right, minlength=num_classes)
            self.wrong = self.given - self.right
            known = clean_labels[clean_labels >= 0]
            self.true = np.bincount(known, minlength=num_classes)


def _draw_count_bars(axes, counts, class_names):
    """Draws a bar for each class, with its name."""
    names, fonts = drawable(class_names)
    classes = np.arange(len(names))
    if counts.true is None:
        axes.barh(classes, counts.given, color=_UNKNOWN_COLOR)
    else:
        axes.barh(classes, counts.right, color=CLEAN_COLOR, label="right labels")
        axes.barh(
            classes,
            counts.wrong,
            left=counts.right,
            color=NOISY_COLOR,
            label="wrong labels",
        )
        axes.plot(counts.true, classes, "k|", ms=8, mew=2, label="true number")
    for label, given in enumerate(counts.given):
        if given == 0:
            axes.annotate(
                "no label",
                (0, label),
                xytext=(6, 0),
                textcoords="offset points",
                va="center",
                fontsize=7,
            )
    axes.set_yticks(
        classes,
        [shortened(name, 30) for name in names],
        fontfamily=fonts,
        fontsize=9 if len(names) <= 40 else 7,
        parse_math=False,
    )
    axes.set(xlabel="Examples", xlim=(0, None), ylim=(len(names) - 0.4, -0.6))
    axes.xaxis.get_major_locator().set_params(integer=True)


def _draw_count_curve(axes, counts, class_names):
    """Draws counts from the largest to the smallest class, with names at both ends."""
    order = np.argsort(-counts.given, kind="stable")
    ranks = np.arange(1, len(order) + 1)
    highest = counts.given.max()
    if counts.true is not None:
        highest = max(highest, counts.true.max())
        for values, color, label in (
            (counts.true, CLEAN_COLOR, "true number"),
            (counts.wrong, NOISY_COLOR, "wrong labels"),
        ):
            axes.plot(ranks, values[order], ".", ms=2.5, color=color, label=label)
    axes.plot(ranks, counts.given[order], color=_UNKNOWN_COLOR, lw=2, label="labels")
    axes.set(
        xlabel=f"{len(order):,} classes, by size",
        ylabel="Examples",
        xlim=(0, len(order) + 1),
        # Room for the names above.
        ylim=(0, 1.6 * highest),
    )
    for position, words, ends in (
        (0.02, "Largest", order[:5]),
        (0.98, "Smallest", order[::-1][:5]),
    ):
        names, fonts = drawable([class_names[label] for label in ends], ends)
        lines = [
            f"{shortened(name, 30)}: {counts.given[label]:,}"
            for name, label in zip(names, ends, strict=True)
        ]
        axes.text(
            position,
            0.97,
            "\n".join([words, *lines]),
            transform=axes.transAxes,
            ha="left" if position < 0.5 else "right",
            va="top",
            fontsize=8,
            fontfamily=fonts,
            parse_math=False,
        )


def _draw_image(axes, image):
    """Draws an image, gray if it has one channel."""
    image = np.asarray(image)
    axes.imshow(
        image[..., 0] if image.shape[-1] == 1 else image, cmap="gray", vmin=0, vmax=255
    )
    axes.axis("off")


def _caption(names, label, clean_label):
    """Returns a label, and the true one after or below it if it is wrong."""
    if label == clean_label:
        return shortened(names[label], 22)
    true = names[clean_label] if clean_label >= 0 else "wrong"
    if len(names[label]) + len(true) <= 19:
        return f"{names[label]} ({true})"
    return f"{shortened(names[label], 22)}\n({shortened(true, 20)})"
