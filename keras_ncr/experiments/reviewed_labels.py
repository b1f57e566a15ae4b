"""The labels of a run that are reviewed, and what corrections make of them."""

import numpy as np

from keras_ncr.experiments.data import naming
from keras_ncr.noise import NoisyLabels
from keras_ncr.review.corrections import dataset_hash, read_corrections


def audited(config, sources, labels):
    """Returns the `Source` and the `NoisyLabels` that an audit looks at.

    That is what is trained on; and where a part of the user's own pictures is held out,
    all of them: its labels are as noisy as the rest. They are as given, before
    corrections. The arguments are what `load_sources` and `noisy_labels` return.
    """
    whole = sources.whole
    if whole is None:
        return sources.train, labels
    trained_on = set(labels.ids.tolist())
    is_trained_on = np.array([text in trained_on for text in whole.ids.tolist()])
    given = whole.labels.copy()
    given[is_trained_on] = labels.noisy_labels  # Both are in the order of the whole.
    clean_labels = whole.clean_labels
    if clean_labels is None and labels.clean_labels is not None:
        clean_labels = whole.labels  # Noise was added to them.
    return whole, NoisyLabels(clean_labels, given, whole.ids)


def corrected(config, sources, labels):
    """Returns `Sources`, `NoisyLabels` and what was changed, after the corrections.

    The split into both parts stays that of the labels as given. What was changed is
    `Corrections.counts`, or None where the config names no corrections.
    """
    if not config.data.corrections:
        return sources, labels, None
    with naming("corrections"):
        corrections = read_corrections(config.data.corrections)
        _check(corrections, config, sources, labels)
        train, labels = _corrected_part(corrections, sources.train, labels)
        sources = sources._replace(train=train)
        if sources.whole is not None:
            sources = sources._replace(test=_corrected_test(corrections, sources))
    return sources, labels, corrections.counts


def all_corrected(config, sources, labels, corrections):
    """Returns the `Source` of what was audited, with the labels after `Corrections`."""
    _check(corrections, config, sources, labels)
    source, labels = _corrected_part(corrections, *audited(config, sources, labels))
    return source.relabeled(labels.noisy_labels, source.clean_labels)


def _check(corrections, config, sources, labels):
    """Raises if corrections are neither of all pictures nor of the training part."""
    candidates = [audited(config, sources, labels), (sources.train, labels)]
    source, reviewed = next(
        (
            (source, given)
            for source, given in candidates
            if dataset_hash(given.noisy_labels, given.ids) == corrections.dataset_hash
        ),
        candidates[0],
    )
    corrections.check(source, reviewed.noisy_labels)


def _corrected_part(corrections, source, labels):
    """Returns a source without what was dropped, and its labels as corrected.

    The source keeps the labels it has: with noise, they are the clean ones.
    """
    noisy_labels, kept = corrections.decide(source, labels.noisy_labels)
    labels = NoisyLabels(labels.clean_labels, noisy_labels, labels.ids)
    if len(kept) == source.num_examples:
        return source, labels
    return source.subset(kept), labels.subset(kept)


def _corrected_test(corrections, sources):
    """Returns the held-out part without what was dropped, its labels as corrected."""
    test = sources.test
    labels, kept = corrections.decide(test)
    # What is known to be true needs no correction.
    if test.clean_labels is None or np.all(test.clean_labels < 0):
        test = test.relabeled(labels, test.clean_labels)
    return test if len(kept) == test.num_examples else test.subset(kept)
