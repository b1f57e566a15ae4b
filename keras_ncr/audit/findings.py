"""What an audit finds: a table with a row per example, and what holds for all."""

from typing import NamedTuple

import numpy as np

from keras_ncr.audit.doubts import (
    doubts,
    estimate,
    knows_classes,
    may_have_learned,
)
from keras_ncr.audit.judgment import called_issues, judge
from keras_ncr.audit.near_duplicates import (
    conflicting_duplicates,
    nearest_inputs,
)
from keras_ncr.audit.neighborhood import Neighborhood, neighbor_labels
from keras_ncr.audit.outliers import is_outlier, outlier_scores
from keras_ncr.audit.predictions import from_probabilities
from keras_ncr.models.nearest import blocks, nearest_neighbors, vote_shares
from keras_ncr.review.corrections import dataset_hash

# A pair of classes is confused in one direction if chance alone would rarely make
# that many of its issues go one way.
_CHANCE = 0.01
# So many examples take a while to search for neighbors, and are a block of rows.
_LONG = 20_000
# The shares of labels that neighbors carry take 400 MB at most.
_MOST_SHARES = 100_000_000


class Identity(NamedTuple):
    """What a data set calls itself, its classes and its examples."""

    name: str
    ids: np.ndarray
    class_names: list


class Findings(NamedTuple):
    """The table of `keras_ncr.audit`, and neighbors where there are features."""

    frame: object
    neighborhood: Neighborhood | None


def find(
    predictions,
    identity,
    threshold,
    expected_precision,
    num_neighbors,
    verbose=0,
    is_unseen=None,
    own_outlier_scores=None,
):
    """Returns the `Findings` that predictions give; arguments are as in `audit`."""
    # What takes less than some seconds needs no bar of its own.
    verbose = verbose and len(predictions) > _LONG
    neighborhood = None
    if predictions.features is not None and len(predictions) > 1:
        neighborhood = Neighborhood(
            *nearest_neighbors(predictions.features, num_neighbors, verbose=verbose)
        )
    is_alone = predictions.is_out_of_sample or neighborhood is None
    judgment = judge(predictions, None if is_alone else neighborhood)
    is_issue = called_issues(
        judgment, predictions.labels, threshold, expected_precision
    )
    columns = _columns(predictions, identity, judgment, is_issue)
    if neighborhood is not None:
        columns |= _columns_of_features(
            predictions, identity, neighborhood, own_outlier_scores
        )
    by_inputs, is_unseen = None, is_alone if is_unseen is None else is_unseen
    if predictions.descriptors is not None:
        nearest = nearest_inputs(predictions.descriptors, verbose)
        columns |= _columns_of_inputs(nearest, predictions.labels)
        if not is_unseen and may_have_learned(judgment, predictions.labels):
            by_inputs = _judged_by_inputs(nearest.indices, predictions)
    frame = _frame(columns)
    frame.attrs = _summary(frame, predictions, identity, judgment, is_unseen, by_inputs)
    return Findings(frame, neighborhood)


def _columns(predictions, identity, judgment, is_issue):
    """Returns what is known of every audit: labels, classes and their scores."""
    labels, suggested = predictions.labels, judgment.suggested
    return {
        "id": identity.ids,
        "given_label": labels,
        "given_class": _names(identity.class_names, labels),
        "predicted_label": suggested,
        "predicted_class": _names(identity.class_names, suggested),
        "label_quality": judgment.quality,
        "is_label_issue": is_issue,
        "issue_probability": 1 - judgment.quality,
        "given_confidence": judgment.given_confidence,
        "predicted_confidence": judgment.suggested_confidence,
    }


def _columns_of_features(predictions, identity, neighborhood, scores):
    """Returns what the neighbors in feature space say."""
    found = neighbor_labels(neighborhood, predictions.labels, predictions.num_classes)
    if scores is None:
        scores = outlier_scores(neighborhood.similarities)
    return {
        "neighbor_label": found.labels,
        "neighbor_class": _names(identity.class_names, found.labels),
        "neighbor_agreement": found.agreement,
        "outlier_score": scores,
        "is_outlier_issue": is_outlier(scores),
    }


def _columns_of_inputs(nearest, labels):
    """Returns which examples have a copy that carries another label."""
    copies = conflicting_duplicates(nearest, labels)
    return {"near_duplicate": copies, "is_near_duplicate_issue": copies >= 0}


def _judged_by_inputs(indices, predictions):
    """Returns the `Judgment` by the labels of the nearest inputs, or `None`."""
    labels, num_classes = predictions.labels, predictions.num_classes
    if len(labels) * num_classes > _MOST_SHARES:
        return None
    # Each class's share of these labels, and of one more that may be of any.
    k, shares = indices.shape[1], np.empty((len(labels), num_classes), "float32")
    for rows in blocks(len(labels), _LONG):
        votes = k * vote_shares(indices[rows], labels, num_classes)
        shares[rows] = (votes + 1 / num_classes) / (k + 1)
    return judge(from_probabilities(labels, shares))


def _names(class_names, labels):
    """Returns class names as a categorical, which holds each once; none for -1."""
    import pandas as pd

    return pd.Categorical.from_codes(labels, class_names)


def _frame(columns):
    """Returns the columns as a table by the index of the examples."""
    import pandas as pd

    frame = pd.DataFrame(columns)
    return frame.rename_axis("index")


class _Constant(list):
    """Numbers left alone by deep copies, which pandas makes of `attrs` all the time."""

    def __deepcopy__(self, memo):
        return self


def _summary(frame, predictions, identity, judgment, is_unseen, by_inputs):
    """Returns what holds for the whole data set, in terms of JSON."""
    is_called = frame["is_label_issue"].to_numpy()
    estimates = estimate(judgment, predictions.labels, is_called, is_unseen, by_inputs)
    class_names = list(identity.class_names)
    bounds = estimates.precision_bounds
    # What predictions suggest that tell no class is no confusion of labels.
    knows = knows_classes(judgment)
    pairs = _confused_classes(frame, class_names) if knows else []
    return {
        "name": identity.name,
        "dataset_hash": dataset_hash(predictions.labels, identity.ids),
        "class_names": class_names,
        "noise_rate": estimates.noise_rate,
        "noise_rate_bounds": list(estimates.noise_rate_bounds),
        "expected_precision": estimates.precision,
        "expected_precision_bounds": None if bounds is None else list(bounds),
        "suggestion_accuracy": estimates.accuracy,
        "knows_classes": knows,
        "doubts": doubts(
            judgment, predictions, is_called, estimates, class_names, is_unseen
        ),
        # All digits of the matrix of 1,000 classes would be a file of 100 MB.
        "transition_matrix": _Constant(judgment.transition_matrix.round(6).tolist()),
        "confused_classes": pairs,
    }


def _confused_classes(frame, class_names):
    """Returns the pairs of classes of which issues go in one direction, as dicts."""
    # The most frequent come first. A pair counts if so many of its issues go one way
    # that it would happen in less than 1 % of pairs that are confused evenly.
    from scipy.stats import binom

    issues = frame[frame["is_label_issue"]]
    pairs = issues.groupby(["given_label", "predicted_label"]).size()
    pairs = pairs.sort_values(ascending=False, kind="stable")
    reverse = pairs.reindex([pair[::-1] for pair in pairs.index], fill_value=0)
    chances = binom.sf(pairs.to_numpy() - 1, pairs.to_numpy() + reverse.to_numpy(), 0.5)
    return [
        {
            "given": class_names[given],
            "suggested": class_names[suggested],
            "count": int(count),
            "reverse_count": int(reverse_count),
        }
        for (given, suggested), count, reverse_count, chance in zip(
            pairs.index, pairs, reverse, chances, strict=True
        )
        if chance < _CHANCE
    ]
