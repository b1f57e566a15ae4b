"""Pictures of what training on wrong labels did. Each function returns a Figure."""

import itertools

import numpy as np

# Blue and orange that stay apart for the color-blind (Okabe and Ito, 2008).
CLEAN_COLOR, NOISY_COLOR = "#0072B2", "#D55E00"
METHOD_COLORS = ("#666666", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")


def memorization_figure(histories, confidences, is_noisy, title=""):
    """Returns a figure of what methods learned and what they learned by heart.

    On the left, test accuracy over epochs. Then, for each method, the histogram of the
    confidence that the model gives to the annotated label of a training example, for
    clean and for wrong labels (Figure 3 of the paper): who memorizes is sure of both.

    Args:
        histories: Dict from a method's name to a list of runs, each a list of test
            accuracies in [0, 1] by epoch. Runs are drawn thin and their mean thick.
        confidences: Dict from the same names to floats of shape `(runs, n)` or `(n,)`.
        is_noisy: Bools of shape `(n,)`: whether an example's annotated label is wrong.
            `None` if that is not known; there is then one histogram of all labels.
        title: String above the figure. Defaults to none.

    Returns:
        `matplotlib.figure.Figure`.

    Raises:
        ValueError: If the two dicts differ in their methods.

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
    from matplotlib.figure import Figure

    if list(histories) != list(confidences):
        raise ValueError(
            "`histories` and `confidences` must have the same methods. Received: "
            f"{list(histories)} and {list(confidences)}."
        )
    figure = Figure(figsize=(4.8 + 3.2 * len(confidences), 3.8), layout="constrained")
    figure.suptitle(title)
    widths = [1.5] + [1] * len(confidences)
    accuracy_axes, *confidence_axes = figure.subplots(
        1, len(widths), width_ratios=widths
    )
    _draw_accuracy(accuracy_axes, histories)
    for axes, (name, values) in zip(confidence_axes, confidences.items(), strict=True):
        axes.sharey(confidence_axes[0])
        _draw_confidence(axes, np.atleast_2d(values), is_noisy)
        axes.set_title(f"Confidence: {name}")
    share = "all" if is_noisy is None else "clean / of wrong"
    confidence_axes[0].set_ylabel(f"Share of {share} labels (%)")
    confidence_axes[0].legend(loc="best" if is_noisy is None else "upper center")
    confidence_axes[0].get_legend().set_frame_on(False)
    return figure


def _draw_accuracy(axes, histories):
    """Draws each method's runs over the epochs, and says where its mean ends."""
    for color, (name, runs) in zip(
        itertools.cycle(METHOD_COLORS), histories.items(), strict=False
    ):
        runs = 100 * np.atleast_2d(runs)
        epochs = np.arange(1, runs.shape[1] + 1)
        mean = runs.mean(axis=0)
        # A run of one epoch has no line, but a point.
        marker = "o" if len(epochs) == 1 else None
        axes.plot(epochs, runs.T, color=color, linewidth=0.7, alpha=0.5)
        label = f"{name}: {mean[-1]:.1f} in the last epoch"
        axes.plot(epochs, mean, color=color, linewidth=2.2, marker=marker, label=label)
    axes.set(title="Test accuracy (%)", xlabel="Epoch", ylim=(None, 101))
    axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    axes.legend(loc="best", frameon=False)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)


def _draw_confidence(axes, confidence, is_noisy):
    """Draws the histograms for clean and for wrong labels, each with a sum of 100."""
    if is_noisy is None:
        parts = [("all labels", slice(None), CLEAN_COLOR)]
    else:
        is_noisy = np.asarray(is_noisy)
        parts = [
            ("clean labels", ~is_noisy, CLEAN_COLOR),
            ("wrong labels", is_noisy, NOISY_COLOR),
        ]
    for name, chosen, color in parts:
        values = confidence[:, chosen].ravel()
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
    axes.set(xlabel="Probability of the annotated label", xlim=(0, 1))
    axes.spines[["top", "right"]].set_visible(False)
