"""What an audit found, in words for the terminal."""

# If more labels than this seem wrong, the model is to be doubted first.
_MOST_WRONG = 0.5
# Below this accuracy, a model's own errors distort the estimates.
_WEAK = 0.8
# Nobody reads more lines.
_MOST_PAIRS = 5


def report(frame, is_wrong, folder, review):
    """Returns several lines on an audit's frame, and the command to go on with.

    `is_wrong` has bools, or is `None` if it is not known which labels are wrong.
    """
    summary = frame.attrs
    lines = [
        f"{summary['name']}: {len(frame):,} labels, an estimated "
        f"{100 * summary['noise_rate']:.1f} % of them wrong.",
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
    """Returns how many labels are called wrong."""
    count = int(frame["is_label_issue"].sum())
    return [
        f"Called wrong: {count:,} labels, of which {100 * expected_precision:.0f} % "
        "are expected to be wrong."
    ]


def _uncalled(frame, noise_rate):
    """Returns what to do if most of the wrong labels are not called."""
    expected = noise_rate * len(frame)
    if frame["is_label_issue"].sum() > expected / 2 or expected < 1:
        return []
    return [
        f"About {expected:,.0f} are expected to be wrong in all. More are called with "
        "--folds=5, which takes five trainings, or a smaller --expected_precision."
    ]


def _known(frame, is_wrong):
    """Returns how good the list is, if it is known which labels are wrong."""
    is_issue = frame["is_label_issue"].to_numpy()
    if is_wrong is None or not is_issue.any() or not is_wrong.any():
        return []
    return [
        f"Known to be wrong: {100 * is_wrong[is_issue].mean():.1f} % of those called; "
        f"{100 * is_issue[is_wrong].mean():.1f} % of all wrong labels are called, and "
        f"{100 * is_wrong.mean():.1f} % of all labels are wrong."
    ]


def _others(frame):
    """Returns how many outliers and near-duplicates there are."""
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
    """Returns the classes that are confused in one direction."""
    return [
        f"Labeled {pair['given']}, should be {pair['suggested']}: {pair['count']:,} "
        f"(the other way round: {pair['reverse_count']:,})"
        for pair in pairs[:_MOST_PAIRS]
    ]


def _doubts(noise_rate, accuracy):
    """Returns a warning if the estimates are not to be trusted."""
    if noise_rate <= _MOST_WRONG and accuracy >= _WEAK:
        return []
    return [
        f"By its own estimate the model knows the class of {100 * accuracy:.0f} % of "
        "the examples. One so weak takes its own errors for wrong labels: expect fewer "
        "wrong labels among those called. Their order is still useful."
    ]
