"""How far an audit's numbers hold: their bounds, and what makes them doubtful.

The account by class takes what the model mixes up for the model's errors, the account
by margin takes it for wrong labels (`keras_ncr.audit.judgment`). The truth is mostly
between the two, less what the model errs by its own estimate, and chance.

Where fewer labels differ the surer the model is, all that differ beyond the plateau
(`keras_ncr.audit.plateau`) may be its own errors. The lower bound is then the plateau,
or the share of wrong labels less that of the model's own errors, if this is more. With
e the plateau, the model knows the class of at most (share of labels that agree) /
(1 - e) of the examples. Where the account by class explains hardly anything, labels
differ on hard examples alone, and nothing bounds the number of wrong ones from below.

A model that has seen the labels may have learned wrong ones by heart, and is then sure
of them. This can be so if there are few labels, if the model agrees with nearly all, or
if it is sure of nearly all its disagreements. Training does not change inputs, so the
labels of the nearest inputs are out-of-sample predictions, though poor ones: the bounds
then include theirs, and the lower bound is theirs alone if they know four fifths of the
classes. Where no inputs are known and the model agrees with nearly all labels, nothing
bounds the number of wrong ones from above.
"""

from typing import NamedTuple

import numpy as np

from keras_ncr.review.page_data import WIDE

# Normal quantile of bounds that hold with a chance of 90 %.
_QUANTILE = 1.64
# Below this accuracy a model's own errors count for too much.
_WEAK = 0.8
# A model may have learned the labels that it has seen if they are fewer than this, if
# it agrees with more of them, or if it is unsure of a smaller part of those it rejects.
_FEW_SEEN = 3000
_LEARNED = 0.98
_WAVERING = 0.05
# Where the account by class explains less of what the margins say than this, all that
# differ may be right labels of hard examples.
_HARD = 0.25
# Where predictions are as sure as that, they say nothing of how sure they are.
_CERTAIN = 1 - 1e-6
# So many labels called can be of one class by chance.
_FEW = 10
# More classes are not named.
_MOST_NAMES = 3
_HELP = (
    "a look at the first 50 of the list, better features, such as those of a "
    "pretrained network"
)
_IF_SEEN = "if the model was trained on these labels, "
_FOLDS = "predictions out of sample (the command's --folds=5, or `probabilities`)"


class Estimates(NamedTuple):
    """What is stated of a whole list.

    Attributes:
        noise_rate: Float: the estimated share of wrong labels.
        noise_rate_bounds: Tuple of two floats.
        precision: Float: the estimated share of wrong labels among those called, or
            `None` if none is called.
        precision_bounds: Tuple of two floats, or `None`.
        accuracy: Float: the estimated share of suggestions that are the true class.
        least_accuracy: Float: the same by the least favorable account.
        by_inputs: Tuple of two floats: bounds of the share of wrong labels by those of
            the nearest inputs, or `None` where these were not needed.
    """

    noise_rate: float
    noise_rate_bounds: tuple
    precision: float | None
    precision_bounds: tuple | None
    accuracy: float
    least_accuracy: float
    by_inputs: tuple | None = None


def estimate(judgment, labels, is_called, is_out_of_sample, by_inputs=None):
    """Returns the `Estimates` of a list, with bounds.

    Args:
        judgment: `Judgment` of n examples.
        labels: Int array of shape `(n,)`: the labels as given.
        is_called: Bool array of shape `(n,)`, from `called_issues`.
        is_out_of_sample: Bool: whether the model had not seen the labels. One that has
            may have learned wrong ones by heart.
        by_inputs: Optional `Judgment` of the same labels by those of the nearest
            inputs, for a model that `may_have_learned` them. Defaults to `None`.

    Returns:
        `Estimates`.

    Example:
    >>> from keras_ncr.audit.doubts import estimate
    >>> from keras_ncr.audit.judgment import called_issues, judge
    >>> from keras_ncr.audit.predictions import from_probabilities
    >>> labels = np.array([0] * 8 + [1] * 2)
    >>> judgment = judge(from_probabilities(labels, [[0.9, 0.1]] * 10))
    >>> is_called = called_issues(judgment, labels)
    >>> round(estimate(judgment, labels, is_called, True).noise_rate, 1)
    0.2
    """
    found = _estimate(judgment, labels, is_called, is_out_of_sample)
    if is_out_of_sample or not may_have_learned(judgment, labels):
        return found
    if by_inputs is None:
        if judgment.agreement <= _LEARNED:
            return found
        return found._replace(noise_rate_bounds=(found.noise_rate_bounds[0], 1.0))
    others = _estimate(by_inputs, labels, is_called, True)
    know = others.least_accuracy >= _WEAK
    return found._replace(
        noise_rate_bounds=_span(
            found.noise_rate_bounds, others.noise_rate_bounds, know
        ),
        precision_bounds=_span(found.precision_bounds, others.precision_bounds, know),
        by_inputs=others.noise_rate_bounds,
    )


def may_have_learned(judgment, labels):
    """Returns whether a model may have learned the labels that it has seen by heart.

    Args:
        judgment: `Judgment` of n examples.
        labels: Int array of shape `(n,)`: the labels as given.

    Returns:
        Bool.

    Example:
    >>> from keras_ncr.audit.doubts import may_have_learned
    >>> from keras_ncr.audit.judgment import judge
    >>> from keras_ncr.audit.predictions import from_probabilities
    >>> labels = np.array([0, 1])
    >>> may_have_learned(judge(from_probabilities(labels, np.eye(2))), labels)
    True
    """
    differing = np.mean(judgment.suggested != labels)
    by_margin = np.mean(1 - judgment.right_by_margin, dtype="float64")
    return bool(
        len(labels) < _FEW_SEEN
        or judgment.agreement > _LEARNED
        or by_margin > (1 - _WAVERING) * differing
    )


def _estimate(judgment, labels, is_called, is_out_of_sample):
    """Returns the `Estimates` by one judgment."""
    is_preferred = labels == judgment.suggested
    accounts = np.stack([judgment.right_by_class, judgment.right_by_margin])
    accuracies = np.where(is_preferred, accounts, 1 - accounts).mean(axis=1)
    least = float(accuracies.min())
    differing = np.mean(~is_preferred)
    rates = np.append(1 - accounts.mean(axis=1), judgment.noise_rate)
    unseen = 1 - accuracies.max()
    if is_out_of_sample:
        unseen /= 2  # It has not learned the wrong labels that it does not tell.
    knows = knows_classes(judgment) and not _sees_hard_alone(judgment)
    errors = 1 - min(least, float((1 - differing) / (1 - judgment.plateau)))
    told = _told(judgment, rates.min() * least, errors) if knows else 0.0
    lowest = told * rates.min() * least
    most = rates.max() if is_out_of_sample else max(rates.max(), differing)
    bounds = _widened(lowest, most + unseen, len(labels))
    precision, precision_bounds = None, None
    if is_called.any():
        precision = float(1 - judgment.quality[is_called].mean(dtype="float64"))
        shares = 1 - accounts[:, is_called].mean(axis=1, dtype="float64")
        most = (1 + shares.max()) / 2 if is_out_of_sample else 1.0
        low = told * shares.min() * least
        precision_bounds = _widened(low, most, int(is_called.sum()))
    return Estimates(
        judgment.noise_rate,
        bounds,
        precision,
        precision_bounds,
        float(np.where(is_preferred, judgment.quality, 1 - judgment.quality).mean()),
        1 - errors,
    )


def _span(bounds, others, know):
    """Returns bounds that hold those by the nearest inputs, from below if they know."""
    if bounds is None:
        return None
    low = others[0] if know else min(bounds[0], others[0])
    return low, max(bounds[1], others[1])


def _told(judgment, lowest, errors):
    """Returns the part of a share of wrong labels that no own errors can explain."""
    # The plateau, or what is left if all the model's errors are among them.
    return float(
        np.clip(max(judgment.plateau, lowest - errors) / max(lowest, 1e-9), 0, 1)
    )


def knows_classes(judgment):
    """Returns whether predictions tell anything of which class an example is of.

    Args:
        judgment: `Judgment` of n examples.

    Returns:
        Bool. `False` where most labels are wrong by class, of the examples that the
        model is surest about or of all, or where all predictions are certain.

    Example:
    >>> from keras_ncr.audit.doubts import knows_classes
    >>> from keras_ncr.audit.judgment import judge
    >>> from keras_ncr.audit.predictions import from_probabilities
    >>> knows_classes(judge(from_probabilities([0, 1], [[0.9, 0.1], [0.2, 0.8]])))
    True
    """
    is_certain = judgment.suggested_confidence.min() >= _CERTAIN
    return bool(not judgment.is_hopeless and not is_certain)


def _sees_hard_alone(judgment):
    """Returns whether labels differ nearly only where the model wavers."""
    accounts = judgment.right_by_class, judgment.right_by_margin
    by_class, by_margin = (np.mean(1 - right, dtype="float64") for right in accounts)
    return by_class < _HARD * by_margin


def _widened(low, high, count):
    """Returns bounds of a share, further apart by the chance of `count` draws."""
    spread = [_QUANTILE * np.sqrt(p * (1 - p) / count) for p in (low, min(high, 1))]
    return float(max(low - spread[0], 0)), float(min(high + spread[1], 1))


def doubts(judgment, predictions, is_called, estimates, class_names, is_out_of_sample):
    """Returns why the numbers are doubtful, as sentences, the gravest first.

    Args:
        judgment: `Judgment` of n examples.
        predictions: `Predictions` of the same.
        is_called: Bool array of shape `(n,)`.
        estimates: `Estimates` of the list.
        class_names: List of strings.
        is_out_of_sample: As in `estimate`.

    Returns:
        List of strings, empty where the numbers can be relied on.

    Example:
    >>> from keras_ncr.audit.doubts import doubts, estimate
    >>> from keras_ncr.audit.judgment import judge
    >>> from keras_ncr.audit.predictions import from_probabilities
    >>> predictions = from_probabilities([0, 1], [[0.5, 0.5]] * 2)
    >>> judgment, none = judge(predictions), np.zeros(2, bool)
    >>> estimates = estimate(judgment, predictions.labels, none, True)
    >>> doubts(judgment, predictions, none, estimates, ["a", "b"], True)[0]
    'All classes are equally probable in all predictions: they say nothing of labels.'
    """
    found = _of_predictions(predictions)
    if not found:  # Else the probabilities tell nothing more.
        found = _of_model(judgment, estimates)
        found += _of_bounds(judgment, estimates, bool(found), is_out_of_sample)
    if not is_out_of_sample:
        found += _of_learned(judgment, predictions.labels, estimates)
    return found + _of_classes(predictions.labels, is_called, class_names)


def _of_predictions(predictions):
    """Says what predictions cannot tell for being all alike, or all certain."""
    largest = predictions.probabilities[:, 0]
    if np.allclose(largest, 1 / predictions.num_classes, atol=1e-6):
        return [
            "All classes are equally probable in all predictions: they say nothing of "
            "labels."
        ]
    if np.all(largest >= _CERTAIN):
        return [
            "All predictions are certain, zeros and ones: the labels that are called "
            "come in no order, and nothing says how many of them are wrong. Pass "
            "probabilities, not predicted classes."
        ]
    return []


def _of_model(judgment, estimates):
    """Says when a model is too weak to tell its own errors from wrong labels."""
    if judgment.is_hopeless:
        return [
            f"{_why_hopeless(judgment)} Either most labels are wrong, or it does not "
            "know the classes: do not rely on any of these numbers. "
            f"What helps: {_HELP}."
        ]
    accuracy = estimates.least_accuracy
    if accuracy >= _WEAK:
        return []
    return [
        f"By its own estimate the model may know the class of only "
        f"{100 * accuracy:.0f} % of the examples. One so weak takes its own errors for "
        f"wrong labels. Their order is still of use. What helps: {_HELP}."
    ]


def _why_hopeless(judgment):
    """Says of which labels most would be wrong: the surest ones, or all."""
    of_all = np.mean(1 - judgment.right_by_class, dtype="float64")
    if judgment.share_of_sure >= of_all:
        return (
            f"The model disagrees with {100 * judgment.share_of_sure:.0f} % even of "
            "the labels that it is surest about."
        )
    return (
        f"By the labels of what the model is surest about, {100 * of_all:.0f} % of all "
        "would be wrong."
    )


def _of_learned(judgment, labels, estimates):
    """Says when a model may have learned labels, wrong ones too, by heart."""
    if judgment.agreement > _LEARNED:
        return [
            f"The model agrees with {100 * judgment.agreement:.0f} % of the labels. If "
            "it was trained on them, it may have learned the wrong ones by heart: then "
            f"most of these are not called. What tells: {_FOLDS}."
        ]
    if not may_have_learned(judgment, labels):
        return []
    if estimates.by_inputs is None:
        return [
            f"{_IF_SEEN.capitalize()}it may have learned wrong ones by heart: then "
            f"more are wrong than is said here. What tells: {_FOLDS}."
        ]
    low, high = (100 * share for share in estimates.by_inputs)
    return [
        "The model may have learned wrong labels by heart. By those of the nearest "
        f"inputs between {low:.0f} and {high:.0f} % of all labels are wrong. What "
        f"tells: {_FOLDS}."
    ]


def _of_bounds(judgment, estimates, is_helped, is_out_of_sample):
    """Says when the precision of the list cannot be told."""
    if estimates.precision is None:
        return []
    low, high = estimates.precision_bounds
    if high - low <= WIDE:
        return []
    remedies = [] if is_helped else [_HELP]
    if not is_out_of_sample:
        remedies.append(_IF_SEEN + _FOLDS)
    remedy = f" What helps: {', or '.join(remedies)}." if remedies else ""
    if _sees_hard_alone(judgment):
        return [
            "Nearly all labels that differ are of examples that the model is not sure "
            "about: wrong ones, or right ones of examples that are hard. The data "
            f"cannot say which.{remedy}"
        ]
    why = (
        " Labels differ where the model wavers, as they do where people err, and where "
        "it errs itself."
    )
    return [
        f"The data cannot say how many of those called are wrong: between "
        f"{100 * low:.0f} and {100 * high:.0f} %."
        f"{'' if judgment.is_hopeless else why}{remedy}"
    ]


def _of_classes(labels, is_called, class_names):
    """Names classes without labels, and one that alone is called."""
    found = []
    absent = np.flatnonzero(np.bincount(labels, minlength=len(class_names)) == 0)
    if len(absent):
        names = ", ".join(class_names[label] for label in absent[:_MOST_NAMES])
        more = f" and {len(absent) - _MOST_NAMES} more" * (len(absent) > _MOST_NAMES)
        found.append(f"No example is labeled {names}{more}: nothing is known of it.")
    given = np.unique(labels[is_called])
    if is_called.sum() >= _FEW and len(given) == 1 < len(np.unique(labels)):
        found.append(
            f"All labels that are called are {class_names[given[0]]}: wrong ones may "
            "be missed in other classes, or this one is not known to the model."
        )
    return found
