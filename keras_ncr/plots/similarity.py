"""A figure of how similar the features of pairs of examples are."""

import keras
import numpy as np

from keras_ncr.checks import (
    check_clean_labels,
    check_integer,
    check_labels,
    refuse_first,
)
from keras_ncr.plots.style import CLEAN_COLOR, NOISY_COLOR, new_figure, open_frame

_PAIRS_AT_ONCE = 8192  # 64 MB for features of 1,024 numbers.


def similarity_figure(
    features, clean_labels, noisy_labels, num_pairs=100_000, seed=0, title=""
):
    """Returns a figure of the cosine similarities of pairs of examples.

    It has four distributions (Figure 4 of the paper): of pairs of the same true class
    and of different ones, each for pairs with two right labels and for pairs with a
    wrong one. With good features, same and different do not overlap; with features that
    did not follow wrong labels, these make no difference to either.

    Args:
        features: Dict from a method's name to floats of shape `(n, dim)`, such as
            `keras_ncr.features.features_of` returns; or one such array. Each method has
            a panel. The lengths of the rows do not matter.
        clean_labels: Integers of shape `(n,)`: the true labels, -1 where the label is
            wrong and the true one unknown; such pairs count if they are sure to be of
            different classes. `None` if nothing is known: then there are two
            distributions, by the annotated labels.
        noisy_labels: Integers of shape `(n,)`: the labels as annotated.
        num_pairs: Int. How many random pairs to draw, and as many again of the same
            class, unless there are fewer. Defaults to 100,000: about a second.
        seed: Int that fixes which pairs are drawn. Defaults to 0.
        title: String above the figure. Defaults to none.

    Returns:
        `matplotlib.figure.Figure` with an axes for each method.

    Raises:
        ValueError: If the lengths differ, there are less than two examples, a feature
            is not finite, or a label is no class number.

    Reference:
        - [Iscen et al., 2022](https://arxiv.org/abs/2202.02200), Figure 4.

    Example:
    >>> from keras_ncr import plots
    >>> features = {"NCR": [[1.0, 0.1], [0.9, 0.2], [0.0, 1.0], [1.0, 0.0]]}
    >>> figure = plots.similarity_figure(features, [0, 0, 1, 0], [0, 0, 1, 1])
    >>> [text.get_text() for text in figure.legends[0].get_texts()]
    ['same class, right labels', 'different class, right labels',
     'same class, a wrong label', 'different class, a wrong label']
    """
    labels = check_labels(noisy_labels, name="noisy_labels")
    clean = None if clean_labels is None else check_clean_labels(clean_labels)
    methods = features if isinstance(features, dict) else {"": features}
    methods = {name: _checked(rows, labels) for name, rows in methods.items()}
    if (
        not methods
        or len(labels) < 2
        or (clean is not None and len(clean) != len(labels))
    ):
        raise ValueError(
            "`features`, `clean_labels` and `noisy_labels` must be of the same two "
            f"examples or more. Received: {len(methods)} sets of features, "
            f"{'no' if clean is None else len(clean)} clean and {len(labels)} noisy "
            "labels."
        )
    pairs = _draw_pairs(labels if clean is None else clean, num_pairs, seed)
    kinds = _kinds_of(pairs, clean, labels)
    figure = new_figure(1 + 4.2 * len(methods), 4, title)
    (panels,) = figure.subplots(
        1, len(methods), sharex=True, sharey=True, squeeze=False
    )
    similarities = {name: _similarities(rows, pairs) for name, rows in methods.items()}
    # ReLU features, for example, have no negative similarity.
    lowest = min(values.min(initial=0) for values in similarities.values())
    for axes, (name, values) in zip(panels, similarities.items(), strict=True):
        _draw_kinds(axes, values, kinds, -1 if lowest < -0.05 else 0)
        axes.set(title=name, xlabel="Cosine similarity of features")
    panels[0].set_ylabel("Share of such pairs (%)")
    handles, names = panels[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=2, frameon=False)
    return figure


def _checked(rows, labels):
    """Returns one method's features as an array, or raises."""
    rows = np.asarray(rows)
    if rows.ndim != 2 or len(rows) != len(labels):
        raise ValueError(
            f"`features` must have shape ({len(labels)}, dim), a row for each label. "
            f"Received: shape {rows.shape}."
        )
    refuse_first(rows, ~np.isfinite(rows).all(axis=1), "features", "be finite")
    return rows


def _draw_pairs(classes, num_pairs, seed):
    """Returns ints `(m, 2)`: pairs, as many of the same class as of others."""
    # Pairs drawn from all would hold next to none of the same class out of 1,000.
    num_pairs = check_integer(num_pairs, "num_pairs", minimum=1)
    num_examples = len(classes)
    if num_examples * (num_examples - 1) // 2 <= 2 * num_pairs:
        return np.stack(np.triu_indices(num_examples, k=1), axis=1)
    rng = np.random.default_rng(seed)
    first = rng.integers(num_examples, size=num_pairs)
    # Any other example: the one some places later, in a circle.
    others = first + rng.integers(1, num_examples, size=num_pairs)
    mixed = np.stack([first, others % num_examples], axis=1)
    return np.concatenate([mixed, _pairs_of_one_class(classes, num_pairs, rng)])


def _pairs_of_one_class(classes, num_pairs, rng):
    """Returns pairs of one class, more from classes that have more pairs."""
    known = np.flatnonzero(classes >= 0)
    order = known[np.argsort(classes[known], kind="stable")]
    _, starts, sizes = np.unique(classes[order], return_index=True, return_counts=True)
    weights = sizes * (sizes - 1.0)
    if not weights.any():
        return np.zeros((0, 2), int)
    chosen = rng.choice(len(sizes), size=num_pairs, p=weights / weights.sum())
    first = rng.integers(sizes[chosen])
    second = (first + rng.integers(1, sizes[chosen])) % sizes[chosen]
    return order[np.stack([first, second], axis=1) + starts[chosen, None]]


def _kinds_of(pairs, clean_labels, labels):
    """Returns the kinds of pairs: name, bools by pair, color and style."""
    if clean_labels is None:
        is_same = labels[pairs[:, 0]] == labels[pairs[:, 1]]
        return [
            ("same label", is_same, CLEAN_COLOR, "-"),
            ("different label", ~is_same, CLEAN_COLOR, "--"),
        ]
    first, second = clean_labels[pairs].T
    is_known = (first >= 0) & (second >= 0)
    is_same = is_known & (first == second)
    is_different = (is_known & (first != second)) | _is_surely_different(
        pairs, clean_labels, labels
    )
    is_wrong = (clean_labels != labels)[pairs].any(axis=1)
    return [
        ("same class, right labels", is_same & ~is_wrong, CLEAN_COLOR, "-"),
        ("different class, right labels", is_different & ~is_wrong, CLEAN_COLOR, "--"),
        ("same class, a wrong label", is_same & is_wrong, NOISY_COLOR, "-"),
        ("different class, a wrong label", is_different & is_wrong, NOISY_COLOR, "--"),
    ]


def _is_surely_different(pairs, clean_labels, labels):
    """Returns whether one is of unknown class, but not of the other's."""
    first, second = pairs.T
    return sum(
        (clean_labels[one] == -1) & (labels[one] == clean_labels[other])
        for one, other in ((first, second), (second, first))
    ).astype(bool)


def _similarities(rows, pairs):
    """Returns the cosine of each pair, in blocks to save memory."""
    similarities = np.empty(len(pairs), "float32")
    for start in range(0, len(pairs), _PAIRS_AT_ONCE):
        part = slice(start, start + _PAIRS_AT_ONCE)
        first, second = (
            keras.utils.normalize(rows[side].astype("float32"))
            for side in pairs[part].T
        )
        similarities[part] = np.einsum("ij,ij->i", first, second)
    # Rounding takes copies a little beyond 1.
    return np.clip(similarities, -1, 1)


def _draw_kinds(axes, similarities, kinds, lowest):
    """Draws the distribution of each kind of pair, with sum 100."""
    for name, chosen, color, style in kinds:
        values = similarities[chosen]
        axes.hist(
            values,
            bins=50,
            range=(lowest, 1),
            weights=np.full(values.size, 100 / max(values.size, 1)),
            histtype="step",
            color=color,
            linestyle=style,
            linewidth=1.6,
            label=name if values.size else f"{name} (none)",
        )
    axes.set_xlim(lowest, 1)
    open_frame(axes, "both")
