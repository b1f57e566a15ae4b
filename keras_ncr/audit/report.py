"""What an audit found, in words for the terminal."""

from keras_ncr.review.page_data import WIDE

# Nobody reads more lines.
_MOST_PAIRS = 5


def report(frame, is_wrong, folder, review):
    """Returns an audit's frame in lines; `is_wrong`: which labels are, if known."""
    summary = frame.attrs
    rate = _share(summary["noise_rate"], summary["noise_rate_bounds"], "wrong", 1)
    lines = [
        f"{summary['name']}: {len(frame):,} labels, {rate}.",
        _called(frame),
        *(f"Doubtful: {doubt}" for doubt in summary["doubts"]),
        *_known(frame, is_wrong),
        *_others(frame),
        *_confusions(summary),
        f"List and pictures: {folder}/audit",
    ]
    if review is None:
        return "\n".join([*lines, "To look at them: the same with --review=FOLDER"])
    return "\n".join([*lines, f"Open in a browser: {review}/index.html"])


def _called(frame):
    """Returns how many labels are called wrong, and how many of these are."""
    count = int(frame["is_label_issue"].sum())
    if not count:
        return "Called wrong: no label."
    stated = frame.attrs["expected_precision"], frame.attrs["expected_precision_bounds"]
    return f"Called wrong: {count:,} labels, {_share(*stated, 'rightly', 0)}."


def _share(value, bounds, word, digits):
    """Returns a share with its bounds, or these alone if they are wide."""
    low, high = bounds
    between = f"between {100 * low:.0f} and {100 * high:.0f} %"
    if high - low > WIDE:
        return f"{between} of them {word}"
    return f"an estimated {100 * value:.{digits}f} % of them {word} ({between})"


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


def _confusions(summary):
    """Returns the classes that are confused in one direction."""
    low, high = summary["expected_precision_bounds"] or (0, 1)
    # What may as well be the model's own error is no more than a guess.
    words = "perhaps" if high - low > WIDE else "should be"
    return [
        f"Labeled {pair['given']}, {words} {pair['suggested']}: {pair['count']:,} "
        f"(the other way round: {pair['reverse_count']:,})"
        for pair in summary["confused_classes"][:_MOST_PAIRS]
    ]
