"""Mean and standard deviation of what trials measure, as numbers and as text."""

import statistics
from collections.abc import Sequence


def mean_and_deviation(values: Sequence[float | None]) -> dict:
    """Returns mean and standard deviation of a sample.

    Args:
        values: A value for each trial; `None` where it is not known.

    Returns:
        Dict with `"mean"` and `"sd"`. Both are `None` if a value is not known or there
        is none, and `"sd"` is `None` for one value.

    Example:
    >>> from keras_ncr.experiments.measures import mean_and_deviation
    >>> mean_and_deviation([0.5, 0.75])["mean"], mean_and_deviation([0.5])["sd"]
    (0.625, None)
    """
    is_known = len(values) > 0 and None not in values
    return {
        "mean": statistics.mean(values) if is_known else None,
        "sd": statistics.stdev(values) if is_known and len(values) > 1 else None,
    }


def spread(measure: dict) -> str:
    """Returns mean and standard deviation in percent, as text.

    Args:
        measure: Dict, as `mean_and_deviation` returns it.

    Example:
    >>> from keras_ncr.experiments.measures import spread
    >>> spread({"mean": 0.957, "sd": 0.004}), spread({"mean": None, "sd": None})
    ('95.7 ± 0.4 %', 'unknown')
    """
    mean, deviation = measure["mean"], measure["sd"]
    if mean is None:
        return "unknown"
    if deviation is None:
        return f"{100 * mean:.1f} %"
    return f"{100 * mean:.1f} ± {100 * deviation:.1f} %"
