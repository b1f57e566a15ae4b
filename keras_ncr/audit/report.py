"""What an audit found, in words."""

# Where at most this share of the labels would be right, doubt the model first.
_FEW_RIGHT = 0.5
# Below this accuracy a model's own errors count for too much.
_WEAK = 0.8
# More lines are not read.
_MOST_PAIRS = 5


def report(frame, is_wrong, folder, review):
    """Returns what was found, and the command to go on with.

    Args:
        frame: `pandas.DataFrame`, as `keras_ncr.audit` returns it.
        is_wrong: Bool array of shape `(n,)`, or `None` where it is not known.
        folder: String or path: the workdir.
        review: String or path of the review page, or `None`.

    Returns:
        String of several lines.
    """
    summary = frame.attrs
    lines = [
        f"{summary['name']}: {len(frame):,} labels, of which "
        f"{100 * summary['noise_rate']:.1f} % are estimated to be wrong.",
        *_called(frame, summary["expected_precision"]),
        *_uncalled(frame, summary["noise_rate"]),
        *_known(frame, is_wrong),
        *_others(frame),
        *_confusions(summary["confused_classes"]),
        *_doubts(summary["noise_rate"], summary["suggestion_accuracy"]),
        f"List and pictures: {folder}/audit",
    ]
    if review is None:
        return "\n".join([*lines, "To look at them: the same with --review=FOLDER"])
    return "\n".join([*lines, f"Open in a browser: {review}/index.html"])


def _called(frame, expected_precision):
    """Says how many labels are called wrong."""
    count = int(frame["is_label_issue"].sum())
    return [
        f"Called wrong: {count:,} labels, of which {100 * expected_precision:.0f} % "
        "are expected to be."
    ]


def _uncalled(frame, noise_rate):
    """Says what to do where most of the wrong labels are not called."""
    expected = noise_rate * len(frame)
    if frame["is_label_issue"].sum() > expected / 2 or expected < 1:
        return []
    return [
        f"About {expected:,.0f} are expected to be wrong in all. More are called with "
        "--folds=5, which takes five trainings, or a smaller --expected_precision."
    ]


def _known(frame, is_wrong):
    """Says how good the list is, where it is known which labels are wrong."""
    is_issue = frame["is_label_issue"].to_numpy()
    if is_wrong is None or not is_issue.any() or not is_wrong.any():
        return []
    return [
        f"Known to be wrong: {100 * is_wrong[is_issue].mean():.1f} % of those called; "
        f"{100 * is_issue[is_wrong].mean():.1f} % of all wrong labels are called, and "
        f"{100 * is_wrong.mean():.1f} % of all labels are wrong."
    ]


def _others(frame):
    """Says what else is suspicious."""
    kinds = {
        "is_near_duplicate_issue": "with a copy that carries another label",
        "is_outlier_issue": "that resemble no class",
    }
    return [
        f"Examples {words}: {int(frame[column].sum()):,}"
        for column, words in kinds.items()
        if column in frame
    ]


def _confusions(pairs):
    """Names the classes that are confused in one direction."""
    return [
        f"Labeled {pair['given']}, should be {pair['suggested']}: {pair['count']:,} "
        f"(the other way round: {pair['reverse_count']:,})"
        for pair in pairs[:_MOST_PAIRS]
    ]


def _doubts(noise_rate, accuracy):
    """Says when the estimates are not to be trusted."""
    if noise_rate <= _FEW_RIGHT and accuracy >= _WEAK:
        return []
    return [
        f"By its own estimate the model knows the class of {100 * accuracy:.0f} % of "
        "the examples. One so weak takes its own errors for wrong labels: fewer of "
        "those called are wrong than expected. Their order is still of use."
    ]
