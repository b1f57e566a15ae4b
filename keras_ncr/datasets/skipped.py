"""Examples that are left out, because they cannot be read: named, never forgotten."""

import dataclasses
import typing

import numpy as np

from keras_ncr.checks import check_known

# What can be done about examples that cannot be read.
ON_ERROR = ("raise", "skip")


class Skipped(typing.NamedTuple):
    """An example that was left out of a `Source`.

    Args:
        id: String that the data set knows it by: a path, an id, a row.
        reason: String, a sentence.

    Example:
    >>> keras_ncr.datasets.Skipped("cat/1.jpg", "The file is empty.").reason
    'The file is empty.'
    """

    id: str
    reason: str


def check_on_error(on_error):
    """Returns whether faulty examples are to be skipped, or raises.

    Args:
        on_error: `"raise"` or `"skip"`.

    Returns:
        Bool.

    Raises:
        ValueError: If it is neither.

    Example:
    >>> from keras_ncr.datasets.skipped import check_on_error
    >>> check_on_error("skip")
    True
    """
    return check_known(on_error, ON_ERROR, "on_error") == "skip"


def without(source, reasons):
    """Returns a source without some examples, which its `skipped` then lists.

    Args:
        source: `keras_ncr.datasets.Source`.
        reasons: Dict from int, the index, to string, the reason.

    Returns:
        `Source`, the same one if there are no reasons.

    Raises:
        ValueError: If nothing would be left.

    Example:
    >>> from keras_ncr.datasets.skipped import without
    >>> train, _ = keras_ncr.datasets.digits()
    >>> rest = without(train, {3: "It is smudged."})
    >>> rest.num_examples, rest.skipped
    (1436, (Skipped(id='385', reason='It is smudged.'),))
    """
    if not reasons:
        return source
    left_out = tuple(
        Skipped(str(source.ids[index]), reason) for index, reason in reasons.items()
    )
    kept = np.setdiff1d(np.arange(source.num_examples), list(reasons))
    check_left(len(kept), left_out, source.name)
    # The part first: a source that is replaced forgets the images it holds in memory.
    part = source.subset(kept)
    return dataclasses.replace(part, skipped=(*source.skipped, *left_out))


def check_left(num_examples, skipped, name):
    """Raises if all examples would be skipped.

    Args:
        num_examples: Int: how many are left.
        skipped: Sequence of `Skipped`.
        name: String. What the message calls the data set.

    Raises:
        ValueError: If none is left. It names the first three that were skipped.

    Example:
    >>> from keras_ncr.datasets.skipped import check_left
    >>> check_left(1, [], "pets")
    """
    if not num_examples:
        raise ValueError(
            f"At least one example of {name!r} must be readable. Received: "
            f"{len(skipped):,} that are not: {first_ones(skipped)}."
        )


def first_ones(skipped):
    """Returns the first three of what was skipped as text, with the reasons.

    Args:
        skipped: Sequence of `Skipped`.

    Returns:
        String.

    Example:
    >>> from keras_ncr.datasets.skipped import first_ones
    >>> first_ones([keras_ncr.datasets.Skipped("1.jpg", "The file is empty.")])
    '1.jpg (The file is empty)'
    """
    words = [f"{id_} ({reason.rstrip('.')})" for id_, reason in skipped[:3]]
    return ", ".join(words) + (", ..." if len(skipped) > 3 else "")
