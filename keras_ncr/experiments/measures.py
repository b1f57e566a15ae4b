"""What trials measure, as numbers and as text: means, deviations, and times."""

import statistics
from collections.abc import Sequence


def mean_and_deviation(values: Sequence[float | None]) -> dict:
    """Returns mean and standard deviation of a sample."""
    is_known = len(values) > 0 and None not in values
    return {
        "mean": statistics.mean(values) if is_known else None,
        "sd": statistics.stdev(values) if is_known and len(values) > 1 else None,
    }


def spread(measure: dict) -> str:
    """Returns mean and standard deviation in percent, as text."""
    mean, deviation = measure["mean"], measure["sd"]
    if mean is None:
        return "unknown"
    if deviation is None:
        return f"{100 * mean:.1f} %"
    return f"{100 * mean:.1f} ± {100 * deviation:.1f} %"


def duration(seconds: float) -> str:
    """Returns a time in words: `42 s`, `3 min`, `2 h 30 min`."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{max(round(seconds), 1)} s"
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
