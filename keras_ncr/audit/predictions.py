"""A classifier's predictions of all examples, in no more memory than an audit needs."""

import dataclasses

import keras
import numpy as np
import tensorflow as tf

from keras_ncr.audit.near_duplicates import duplicate_descriptors
from keras_ncr.checks import check_integer, check_labels, refuse_sparse
from keras_ncr.distribution.targets import label_of
from keras_ncr.features.extraction import are_probabilities, features_and_logits_model
from keras_ncr.models import NetworkPair
from keras_ncr.models.ncr import NCRModel
from keras_ncr.models.nearest import check_finite, unit_rows

# All probabilities of a million examples and 1,000 classes would take 4 GB. Beyond the
# 20 most likely classes hardly any probability is left.
NUM_KEPT = 20
# How far a sum of probabilities may be from 1, as those in half precision are.
_SUM_TOLERANCE = 0.01


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Predictions:
    """Labels, the most likely classes and the features of n examples, by index."""

    labels: np.ndarray
    classes: np.ndarray
    probabilities: np.ndarray
    given_probabilities: np.ndarray
    num_classes: int
    features: np.ndarray | None = None
    descriptors: np.ndarray | None = None
    is_out_of_sample: bool = False

    def __len__(self):
        return len(self.labels)

    def with_views_of(self, others):
        """Returns out-of-sample predictions with the features of one model for all."""
        return dataclasses.replace(
            self,
            features=others.features,
            descriptors=others.descriptors,
            is_out_of_sample=True,
        )

    def with_probabilities_of(self, examples, probabilities):
        """Returns these predictions with other probabilities of some examples."""
        kept = _kept(self.labels[examples], probabilities.astype("float32"))
        changed = {}
        for name in ("classes", "probabilities", "given_probabilities"):
            changed[name] = getattr(self, name).copy()
            changed[name][examples] = kept[name]
        return dataclasses.replace(self, **changed)

    def as_sparse(self):
        """Returns the kept probabilities as a sparse float32 `(n, num_classes)`."""
        from scipy.sparse import csr_matrix

        shape = len(self), self.num_classes
        starts = np.arange(len(self) + 1) * self.classes.shape[1]
        kept = csr_matrix(
            (self.probabilities.ravel(), self.classes.ravel(), starts), shape
        )
        is_missing = ~(self.classes == self.labels[:, None]).any(axis=1)
        starts = np.append(0, np.cumsum(is_missing))
        return kept + csr_matrix(
            (self.given_probabilities[is_missing], self.labels[is_missing], starts),
            shape,
        )


def from_probabilities(labels, probabilities, features=None):
    """Returns the `Predictions` of arrays, after checking that they fit together."""
    probabilities = _of_classes(probabilities)
    num_classes = probabilities.shape[1]
    labels = check_labels(labels, num_classes)
    _check_length(labels, probabilities, "probabilities")
    _check_probabilities(probabilities)
    if features is not None:
        refuse_sparse(features, "features")
        features = np.asarray(features)
        if features.ndim != 2:
            raise ValueError(
                f"`features` must have shape (n, dim). Received: shape "
                f"{features.shape}. Flatten them with `features.reshape(n, -1)`."
            )
        _check_length(labels, features, "features")
        check_finite(features)
        features = unit_rows(features).astype("float16")
    return Predictions(
        **_kept(labels, probabilities), num_classes=num_classes, features=features
    )


def predict(model, batches, num_examples=None, verbose=0):
    """Returns the `Predictions` of one pass over batches."""
    both = features_and_logits_model(model)
    step = tf.function(lambda x: both(x, training=False), reduce_retracing=True)
    progress = keras.utils.Progbar(num_examples, verbose=verbose, unit_name="example")
    parts, returns_logits = [], isinstance(model, NCRModel | NetworkPair)
    for number, (inputs, targets, *_) in enumerate(batches):
        features, outputs = (np.asarray(part, "float32") for part in step(inputs))
        _check_outputs(outputs)
        check_finite(features)
        if number == 0:  # One batch decides for all.
            returns_logits = returns_logits or not are_probabilities(outputs)
        labels = _class_numbers(label_of(targets), outputs, number)
        probabilities = tf.nn.softmax(outputs).numpy() if returns_logits else outputs
        part = {
            **_kept(labels, probabilities),
            "features": unit_rows(features).astype("float16"),
            "descriptors": _descriptors(inputs),
            "order": _index_of(targets),
        }
        parts.append({name: rows for name, rows in part.items() if rows is not None})
        progress.add(len(labels))
    if not parts:
        raise ValueError("`x` must hold examples. Received: none.")
    # Popped, so that no more than one column is held twice.
    columns = {
        name: np.concatenate([part.pop(name) for part in parts])
        for name in list(parts[0])
    }
    order = columns.pop("order", None)
    predictions = Predictions(**columns, num_classes=outputs.shape[1])
    return predictions if order is None else _in_order(predictions, order)


def _index_of(targets):
    """Returns the indices that a batch carries, or None."""
    if isinstance(targets, dict) and "index" in targets:
        return np.asarray(targets["index"])
    return None


def _descriptors(inputs):
    """Returns `duplicate_descriptors`, or None for several inputs and for text."""
    if not isinstance(inputs, tf.Tensor) or inputs.dtype == tf.string:
        return None
    return duplicate_descriptors(inputs)


def joined(parts, indices, num_examples):
    """Returns the predictions of all examples from those of folds, without features."""
    num_examples = check_integer(num_examples, "num_examples", minimum=1)
    fields = ("labels", "classes", "probabilities", "given_probabilities")
    whole = Predictions(
        *(np.concatenate([getattr(part, name) for part in parts]) for name in fields),
        parts[0].num_classes,
    )
    order = np.concatenate(indices)
    if len(order) != num_examples:
        raise ValueError(
            f"`parts` must hold {num_examples} examples. Received: {len(order)}."
        )
    return _in_order(whole, order)


def _in_order(predictions, order):
    """Returns the predictions sorted by the index of each."""
    places = np.argsort(order, kind="stable")
    if not np.array_equal(order[places], np.arange(len(order))):
        raise ValueError(
            f"The index of the examples must run from 0 to {len(order) - 1}, each "
            f"number once. Received: {len(np.unique(order))} different, "
            f"{order.min()} to {order.max()}."
        )
    if np.array_equal(order, np.arange(len(order))):
        return predictions  # Without a copy of it all.
    changed = {
        field.name: value[places]
        for field in dataclasses.fields(predictions)
        if isinstance(value := getattr(predictions, field.name), np.ndarray)
    }
    return dataclasses.replace(predictions, **changed)


def _class_numbers(labels, outputs, batch):
    """Returns the labels of a batch as class numbers, from one-hot rows too."""
    labels = np.asarray(labels)
    if labels.ndim == 2 and labels.shape[1] == outputs.shape[1]:
        labels = labels.argmax(axis=1)
    elif labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    # The position alone would not find an example among a million.
    labels = check_labels(labels, outputs.shape[1], f"labels of batch {batch}")
    _check_length(labels, outputs, "the model's output")
    return labels


def _check_outputs(outputs):
    """Raises unless a model returned a row of finite numbers for each example."""
    if outputs.ndim != 2 or outputs.shape[1] < 2:
        raise ValueError(
            "`model` must return logits or probabilities of shape (batch, "
            "num_classes), with at least two classes. Received: shape "
            f"{outputs.shape}."
        )
    if not np.isfinite(outputs).all():
        value = outputs[~np.isfinite(outputs)][0]
        raise ValueError(
            f"`model` must return finite logits. Received: {value}. Look for what made "
            "it diverge."
        )


def _kept(labels, probabilities):
    """Returns the fields of `Predictions` that probabilities give."""
    num_kept = min(NUM_KEPT, probabilities.shape[1])
    values, classes = tf.math.top_k(probabilities, num_kept)
    given = np.take_along_axis(probabilities, labels[:, None], axis=1)[:, 0]
    return {
        "labels": labels,
        "classes": np.asarray(classes, "int32"),
        "probabilities": np.asarray(values),
        "given_probabilities": given,
    }


def _check_length(labels, others, name):
    """Raises unless there is a row for each label."""
    if len(others) != len(labels):
        raise ValueError(
            f"`labels` and {name} must be equally many. Received: {len(labels)} labels "
            f"and {len(others)} rows."
        )


def check_probabilities(probabilities):
    """Returns probabilities as float32 `(n, num_classes)`, or raises."""
    probabilities = _of_classes(probabilities)
    _check_probabilities(probabilities)
    return probabilities


def _of_classes(probabilities):
    """Returns an array with a column for each class, or raises."""
    refuse_sparse(probabilities, "probabilities")
    probabilities = np.asarray(probabilities, "float32")
    if probabilities.ndim != 2 or probabilities.shape[1] < 2:
        raise ValueError(
            "`probabilities` must have shape (n, num_classes), with at least two "
            f"classes. Received: shape {probabilities.shape}."
        )
    return probabilities


def _check_probabilities(probabilities):
    """Raises unless each row is a distribution."""
    is_finite = np.isfinite(probabilities).all(axis=1)
    if not is_finite.all():
        row = int(np.argmin(is_finite))
        value = probabilities[row][~np.isfinite(probabilities[row])][0]
        raise ValueError(
            f"`probabilities` must be finite. Received: {value} in row {row}. Leave "
            "such examples out, or look for what makes the model diverge."
        )
    sums = probabilities.sum(axis=1)
    is_wrong = ~(np.abs(sums - 1) < _SUM_TOLERANCE) | (probabilities.min(axis=1) < 0)
    if is_wrong.any():
        row = int(np.argmax(is_wrong))
        raise ValueError(
            "`probabilities` must be at least 0 and each row must sum to 1. Received: "
            f"row {row}, which sums to {sums[row]:.4g} and has "
            f"{probabilities[row].min():.4g} as its smallest. For logits take "
            "`tf.nn.softmax(logits)`."
        )
