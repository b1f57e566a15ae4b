"""Audits: which labels of a data set are wrong, in the eyes of a trained model."""

import dataclasses

import numpy as np

from keras_ncr.audit.arguments import (
    batches_of,
    check_before_pass,
    check_names,
    check_same_classes,
    check_scores,
    length_of,
)
from keras_ncr.audit.findings import Identity, find
from keras_ncr.audit.predictions import from_probabilities, predict
from keras_ncr.checks import check_integer, check_rate
from keras_ncr.datasets import Source, from_arrays
from keras_ncr.noise import NoisyLabels
from keras_ncr.review import check_folder, write_review

# A card of the review page shows at most so many columns of a table.
_MOST_COLUMNS = 20


def audit(
    model,
    x,
    y=None,
    *,
    ids=None,
    class_names=None,
    probabilities=None,
    prepare=None,
    threshold=0.5,
    expected_precision=None,
    num_neighbors=10,
    outlier_scores=None,
    review=None,
    batch_size=256,
    verbose="auto",
):
    """Returns a table that says which labels of a data set are probably wrong.

    One pass over the data, with a progress bar, keeps of each example its features and
    its most likely classes. Each label is then judged by the model's prediction and by
    the mean prediction of the example's nearest neighbors in the whole data set, as
    `keras_ncr.audit.judgment` and `keras_ncr.audit.unseen` describe. A million examples
    of 1,000 classes take less than 4 GB.

    The model should be one that was trained on the labels without learning the wrong
    ones by heart, such as an `NCRModel`. One that did, as cross-entropy does, finds
    fewer of them: pass `probabilities` then.

    The columns, of which those of `cleanlab` have its names:

    - `id`, `given_label`, `given_class`: which example, and what it is labeled as;
    - `predicted_label`, `predicted_class`: the class that the predictions suggest;
    - `label_quality`: the estimated probability that the label is right: sort by it;
    - `is_label_issue`: whether the label is called wrong: those of lowest quality are;
    - `issue_probability`: the estimated probability that it is wrong;
    - `given_confidence`, `predicted_confidence`: what the prediction by which a label
      is judged gives both classes;
    - `neighbor_label`, `neighbor_class`, `neighbor_agreement`: the label that most of
      the nearest neighbors carry, and the share that carry the example's own, both by
      similarity;
    - `outlier_score`, `is_outlier_issue`: low for what resembles no class;
    - `near_duplicate`, `is_near_duplicate_issue`: the index of a copy that carries
      another label, or -1.

    The attribute `attrs` of the table has what is estimated of the whole:
    `"noise_rate"`, the share of wrong labels (not the mean of `issue_probability`, see
    `keras_ncr.audit.judgment`), `"expected_precision"`, the share of wrong ones among
    those called (`None` without any), both with `"..._bounds"`, between which they are
    with a chance of about 80 % (benchmarks/README.md);
    `"doubts"`, sentences on what makes these numbers doubtful and what would help;
    `"knows_classes"`, false where predictions tell hardly anything of the classes: then
    the page accepts no suggestions of many examples at once;
    `"suggestion_accuracy"`, the share of suggestions that are the true class;
    `"transition_matrix"`; `"confused_classes"`, pairs of classes that are confused in
    one direction; `"dataset_hash"`, and what else the review page needs.

    Args:
        model: `NCRModel`, `NetworkPair`, or a built Functional or Sequential Keras
            classifier, which may return logits or probabilities.
        x: `keras_ncr.datasets.Source`; or inputs, an array of n rows (a `DataFrame` of
            numbers and bools, a `Series` of texts) or a tuple or dict of such arrays;
            or a `tf.data.Dataset` of batches `(inputs, labels)` that is not shuffled.
        y: Labels of shape `(n,)`, with inputs. With a source, labels in place of its
            own. Defaults to `None`.
        ids: Optional array of shape `(n,)`: ints or strings, all different, to know
            the examples by. Defaults to those of the source, or the positions.
        class_names: Optional strings, one for each class. Defaults to those of the
            source, or the numbers.
        probabilities: Optional out-of-sample predictions, an array
            `(n, num_classes)` whose rows sum to 1: of models that have not seen the
            example, as `sklearn.model_selection.cross_val_predict` gives them. They
            take the place of the model's own and of its neighbors', which give what is
            said of features alone. Defaults to none.
        prepare: Optional callable `image -> image` for the images of a source, as in
            `keras_ncr.pipelines.evaluation_batches`. Defaults to none.
        threshold: Number above 0 and below 1: a label is called wrong if its
            `issue_probability` is larger. Defaults to 0.5.
        expected_precision: Optional number above 0 and at most 1, in place of the
            threshold: as many labels are called as keep the expected share of wrong
            ones among them at least as large. Defaults to `None`.
        num_neighbors: Int, at least 1. Defaults to 10, as in `NeighborConsistencyLoss`.
        outlier_scores: Optional floats of shape `(n,)` in [0, 1], low for outliers,
            such as those of `NCRModel.outlier_scores` on its training examples. They
            take the place of what the nearest neighbors tell. Defaults to none.
        review: Optional path of a folder for the review page, as
            `keras_ncr.review.write_review` writes it. Defaults to none.
        batch_size: Int, for a source or an array. Defaults to 256.
        verbose: `"auto"` or 1 for progress bars, 0 for none.

    Returns:
        `pandas.DataFrame` with a row per example, by its index from 0 to n - 1. Keep it
        by `frame.to_csv(path)` or `frame.to_parquet(path)`.

    Raises:
        ValueError: If labels and inputs or probabilities are not equally many, a label
            is no class of the model, rows of `probabilities` do not sum to 1, ids
            repeat, or an argument is out of its range.

    Reference:
        - [Northcutt et al., 2021](https://arxiv.org/abs/1911.00068), for the problem
          and the names of the columns.
        - [Iscen et al., 2022](https://arxiv.org/abs/2202.02200), for the neighbors.

    Example:
    >>> train, _ = keras_ncr.datasets.digits()
    >>> train = train.subset(np.arange(200))
    >>> model = keras_ncr.NCRModel(keras_ncr.backbones.mlp((8, 8, 1)), num_classes=10)
    >>> frame = keras_ncr.audit(model, train, verbose=0)
    >>> frame.shape, sorted(frame.attrs)[:3]
    ((200, 17), ['class_names', 'confused_classes', 'dataset_hash'])
    """
    check_settings(threshold, expected_precision, num_neighbors, review)
    batches = batches_of(x, y, prepare, batch_size)
    check_before_pass(model, x, y, ids, class_names, probabilities)
    predictions = predict(model, batches, length_of(x, y), verbose != 0)
    if outlier_scores is not None:
        outlier_scores = check_scores(outlier_scores, len(predictions))
    if probabilities is not None:
        out_of_sample = from_probabilities(predictions.labels, probabilities)
        check_same_classes(out_of_sample.num_classes, predictions.num_classes)
        predictions = out_of_sample.with_views_of(predictions)
    if isinstance(x, Source):
        ids = x.ids if ids is None else ids
        class_names = x.class_names if class_names is None else class_names
    name = x.name if isinstance(x, Source) else "arrays"
    identity = identity_of(predictions, name, ids, class_names)
    findings = find(
        predictions,
        identity,
        threshold,
        expected_precision,
        num_neighbors,
        verbose != 0,
        own_outlier_scores=outlier_scores,
    )
    if review is not None:
        write_page(review, findings, x, verbose)
    return findings.frame


def audit_predictions(
    labels,
    probabilities,
    features=None,
    *,
    ids=None,
    class_names=None,
    threshold=0.5,
    expected_precision=None,
    num_neighbors=10,
    review=None,
    shown=None,
    out_of_sample=None,
    verbose="auto",
):
    """Returns the table of `audit` for predictions that are already there.

    For models of other libraries, and for data of any kind.

    Args:
        labels: Ints of shape `(n,)`: the labels as given.
        probabilities: Array of shape `(n, num_classes)` whose rows sum to 1.
        features: Optional array of shape `(n, dim)`. Without it the columns of
            neighbors, outliers and near-duplicates are missing, and `probabilities`
            should be out of sample. Defaults to `None`.
        ids: As in `audit`.
        class_names: As in `audit`.
        threshold: As in `audit`.
        expected_precision: As in `audit`.
        num_neighbors: As in `audit`.
        review: As in `audit`.
        shown: What the page shows of the examples, as `x` in `audit`: a `Source`,
            uint8 images, or a table. Defaults to `None`: their ids alone.
        out_of_sample: Optional bool: whether no example was seen by the model that
            judges it, which bounds the share of wrong labels. Defaults to `None`: taken
            to be so without features, and not so with them.
        verbose: As in `audit`.

    Returns:
        `pandas.DataFrame`, as `audit` returns it.

    Raises:
        ValueError: As `audit`.

    Example:
    >>> frame = keras_ncr.audit_predictions(
    ...     [0, 0, 0, 1, 1, 1], [[0.9, 0.1]] * 4 + [[0.2, 0.8]] * 2, verbose=0
    ... )
    >>> int(frame["label_quality"].argmin())
    3
    """
    check_settings(threshold, expected_precision, num_neighbors, review)
    predictions = from_probabilities(labels, probabilities, features)
    name = shown.name if isinstance(shown, Source) else "predictions"
    identity = identity_of(predictions, name, ids, class_names)
    findings = find(
        predictions,
        identity,
        threshold,
        expected_precision,
        num_neighbors,
        verbose != 0,
        out_of_sample,
    )
    if review is not None:
        write_page(review, findings, shown, verbose)
    return findings.frame


def identity_of(predictions, name, ids=None, class_names=None):
    """Returns the `Identity` of examples, with positions and numbers where none is."""
    if class_names is None:
        class_names = [str(number) for number in range(predictions.num_classes)]
    class_names = check_names(class_names, predictions.num_classes)
    ids = np.arange(len(predictions)) if ids is None else ids
    # The record checks that they are as many as the labels, and all different.
    record = NoisyLabels(None, predictions.labels, ids)
    return Identity(name, record.ids, class_names)


def check_settings(threshold, expected_precision=None, num_neighbors=1, review=None):
    """Raises unless the settings of an audit are in their ranges, and a page may be."""
    if check_rate(threshold, "threshold") in (0, 1):
        raise ValueError(
            f"`threshold` must be above 0 and below 1. Received: {threshold}."
        )
    is_given = expected_precision is not None
    if is_given and check_rate(expected_precision, "expected_precision") == 0:
        raise ValueError("`expected_precision` must be above 0. Received: 0.")
    check_integer(num_neighbors, "num_neighbors", minimum=1)
    if review is not None:
        check_folder(review)  # Rather now than after the pass over the data.


def write_page(folder, findings, x, verbose):
    """Writes the review page, with pictures or columns where there are any."""
    frame, neighborhood = findings
    source, details = _shown(x, frame)
    write_review(
        folder,
        frame,
        None if neighborhood is None else neighborhood.indices,
        source=source,
        details=details,
        verbose=verbose != 0,
    )


def _shown(x, frame):
    """Returns what a page can show of inputs: a source with pictures, or a table."""
    ids = frame["id"].to_numpy()  # Those of the call, if there were any.
    if isinstance(x, Source):
        return dataclasses.replace(x, ids=ids), None
    if isinstance(x, np.ndarray) and x.ndim == 4 and x.dtype == np.uint8:
        num_classes = len(frame.attrs["class_names"])
        return from_arrays(x, frame["given_label"], num_classes, ids=ids), None
    if getattr(x, "ndim", 0) in (1, 2):
        import pandas as pd

        # What is a table already has names for its columns.
        table = x if isinstance(x, pd.DataFrame) else pd.DataFrame(np.asarray(x))
        return None, table.iloc[:, :_MOST_COLUMNS]
    return None, None
