"""Which labels are wrong: `keras_ncr.find_wrong_labels(x, y)`, in one line."""

import os
import pathlib
import tempfile
import time

import keras
import numpy as np
import tensorflow as tf

from keras_ncr.audit.auditing import audit_predictions, check_settings
from keras_ncr.checks import check_integer
from keras_ncr.datasets import Source, from_features
from keras_ncr.datasets.image_files import source_of_files
from keras_ncr.datasets.split import stratified_folds
from keras_ncr.features.feature_cache import extract
from keras_ncr.files import replacing
from keras_ncr.models.head import HeadSettings, HeadTraining

# Rows that are looked at together.
_ROWS_AT_ONCE = 4096
# Fewer examples are split into folds so many times, for a linear classifier.
_FEW, _DRAWS = 5_000, 3
# Trainings are watched for so long before it is told how long they take.
_TIMED_SECONDS = 1.0


def find_wrong_labels(
    x,
    y=None,
    *,
    model=None,
    ids=None,
    class_names=None,
    pictures=None,
    num_folds=5,
    num_draws=None,
    threshold=0.5,
    expected_precision=None,
    num_neighbors=10,
    review=None,
    cache=None,
    settings=None,
    verbose="auto",
):
    """Returns a table that says which labels are probably wrong, from features alone.

    A classifier on the features is trained by NCR with ELR several times, each time
    without a part of the examples, which it then judges (`keras_ncr.NCRClassifier`).
    `keras_ncr.audit_predictions` makes the table of these predictions and of each
    example's nearest neighbors.

    Args:
        x: Features, floats of shape `(n, dim)`; or inputs of `model`; or a
            `keras_ncr.datasets.Source`, with `model`.
        y: Labels of shape `(n,)`: class numbers from 0, or names. With a source, class
            numbers in place of its own. Defaults to `None`.
        model: Optional Keras model from inputs to features, such as
            `keras_ncr.backbones.pretrained(...)`. Defaults to `None`: `x` holds
            features.
        ids: As in `keras_ncr.audit`.
        class_names: As in `keras_ncr.audit`. Labels that are names must be among them.
            Defaults to the names in `y`, sorted.
        pictures: Optional paths of n image files, which the page shows.
        num_folds: Int, at least 2. Defaults to 5, as in cleanlab's `CleanLearning`.
        num_draws: Optional int, at least 1: how often the examples are split into
            folds; predictions are the mean. Defaults to `None`: 3 for a linear
            classifier on fewer than 5,000 examples, where it costs little, else 1.
        threshold: As in `keras_ncr.audit`.
        expected_precision: As in `keras_ncr.audit`.
        num_neighbors: As in `keras_ncr.audit`.
        review: As in `keras_ncr.audit`.
        cache: Optional folder in which the features of a source are kept, as
            `keras_ncr.features.extract` does. Defaults to none.
        settings: `keras_ncr.models.head.HeadSettings`: how the classifier is built and
            trained, and the seed. Defaults to `HeadSettings()`.
        verbose: As in `keras_ncr.audit`.

    Returns:
        `pandas.DataFrame` as `keras_ncr.audit` returns it.

    Raises:
        ValueError: If features, labels, ids or pictures are not equally many, a feature
            is not finite, labels are neither class numbers nor names, a source comes
            without `model`, or an argument is out of its range.

    Example:
    >>> train, _ = keras_ncr.datasets.digits()
    >>> features, names = train.images.reshape(-1, 64), train.labels.astype(str)
    >>> frame = keras_ncr.find_wrong_labels(
    ...     features, names, num_folds=2, num_draws=1, verbose=0
    ... )
    >>> frame[["id", "given_class", "label_quality"]].shape
    (1437, 3)
    """
    check_settings(threshold, expected_precision, num_neighbors, review)
    if isinstance(x, Source):
        source = x if y is None else x.relabeled(y)
        shown = x if x.kind == "images" else None
    else:
        features = x if model is None else _outputs(model, x, verbose)
        source = from_features(features, y, class_names, ids)
        shown, model = None if model is None else x, None
    if pictures is not None:
        shown = _picture_source(source, pictures)
    features = features_of_source(source, model, cache, verbose)
    probabilities = out_of_sample_probabilities(
        features,
        source.labels,
        source.num_classes,
        num_folds,
        num_draws=num_draws,
        settings=settings,
        verbose=verbose,
    )
    return audit_predictions(
        source.labels,
        probabilities,
        features,
        ids=source.ids if ids is None else ids,
        class_names=source.class_names if class_names is None else class_names,
        threshold=threshold,
        expected_precision=expected_precision,
        num_neighbors=num_neighbors,
        review=review,
        shown=shown,
        out_of_sample=True,
        verbose=verbose,
    )


def out_of_sample_probabilities(
    features,
    labels,
    num_classes: int,
    num_folds: int = 5,
    *,
    num_draws: int | None = None,
    settings: HeadSettings | None = None,
    folder: str | os.PathLike | None = None,
    verbose="auto",
    on_estimate=None,
) -> np.ndarray:
    """Returns each example's probabilities by a classifier that has not seen it."""
    # With hidden layers they are means over the epochs of training, which list wrong
    # labels better than the last epoch (`benchmarks/README.md`). In `folder`, of these
    # features, labels and settings, finished folds are not trained again. `on_estimate`
    # is told once how many seconds are left.
    settings = settings or HeadSettings()
    # Other draws have folds of the same sizes.
    folds = stratified_folds(labels, num_folds, settings.seed)
    num_rows = min(len(kept) for kept, _ in folds)
    settings = settings.completed(num_rows, features.shape[1])
    num_draws = draws_of(settings, len(labels), num_draws)
    # For each fold of each draw: a file, a seed, what to train on, what to judge.
    parts = [
        (f"fold-{draw}-{number}.npy", seed, *fold)
        for draw, seed in enumerate(range(settings.seed, settings.seed + num_draws))
        for number, fold in enumerate(stratified_folds(labels, num_folds, seed))
    ]
    training = HeadTraining(features, labels, num_classes, num_rows, settings)
    progress = _Progress(len(parts) * settings.epochs, verbose, on_estimate)
    total = np.zeros((len(labels), num_classes), "float32")
    for name, seed, kept, held_out in parts:
        path = pathlib.Path(folder, name) if folder else None
        if path is not None and path.exists():
            found = np.load(path)
            progress.skip(settings.epochs)
        else:
            unseen = _Unseen(features, held_out, settings)
            training.train(kept, seed, callbacks=[progress, unseen])
            found = unseen.mean()
            if path is not None:
                with replacing(path) as temporary:
                    np.save(temporary, found)
        total[held_out] += found
    return total / num_draws


def draws_of(settings, num_examples, num_draws=None):
    """Returns how often examples are split into folds for a classifier."""
    if num_draws is not None:
        return check_integer(num_draws, "num_draws", minimum=1)
    is_cheap = settings.num_layers == 0 and num_examples < _FEW
    return _DRAWS if is_cheap else 1


class _Unseen(keras.callbacks.Callback):
    """Keeps the mean of a classifier's probabilities of some rows over epochs."""

    def __init__(self, features, rows, settings):
        super().__init__()
        self.features, self.rows = features, rows
        self.has_layers = settings.num_layers > 0
        self.sum, self.num_epochs = 0.0, 0

    def on_epoch_end(self, epoch, logs=None):
        # The early epochs of a linear head have nothing of their own to say.
        if self.has_layers or epoch == self.params["epochs"] - 1:
            self.sum += _predicted(self.model, self.features, self.rows)
            self.num_epochs += 1

    def mean(self):
        return self.sum / self.num_epochs


class _Progress(keras.callbacks.Callback):
    """Shows how far several trainings are, and tells once how long is left."""

    def __init__(self, num_epochs, verbose, tell):
        super().__init__()
        self.bar = keras.utils.Progbar(
            num_epochs, verbose=int(verbose != 0), unit_name="epoch"
        )
        self.num_left, self.tell, self.start = num_epochs, tell, None

    def skip(self, num_epochs):
        self.num_left -= num_epochs
        self.bar.add(num_epochs)

    def on_epoch_end(self, epoch, logs=None):
        self.skip(1)
        if self.start is None:  # The first epoch is compiled.
            self.start, self.num_first = time.monotonic(), self.num_left
            return
        seconds = time.monotonic() - self.start
        if self.tell is not None and seconds >= _TIMED_SECONDS:
            self.tell(self.num_left * seconds / (self.num_first - self.num_left))
            self.tell = None


def _predicted(head, features, rows):
    """Returns a classifier's probabilities of some rows, a few at a time."""
    parts = [
        tf.nn.softmax(head(np.asarray(features[part], "float32"), training=False))
        for part in np.array_split(rows, max(len(rows) // _ROWS_AT_ONCE, 1))
    ]
    return np.concatenate(parts)


def features_of_source(source, model, cache, verbose):
    """Returns the features of a source: its inputs, or what a network makes of them."""
    if source.kind == "features" and model is None:
        features = np.asarray(source.stored_inputs)
        return features.reshape(len(features), -1)
    if model is None:
        raise ValueError(
            "`model` must be given with a source: a Keras model from its inputs to "
            f"features. Received: model=None, and {source.kind}. "
            "`keras_ncr.backbones.pretrained(...)` is one."
        )
    if cache is not None:
        return extract(model, source, cache, verbose=verbose)
    with tempfile.TemporaryDirectory() as folder:
        return np.array(extract(model, source, folder, verbose=verbose))


def _outputs(model, x, verbose):
    """Returns the features that a model makes of inputs; maps are averaged."""
    features = np.asarray(model.predict(x, verbose=verbose))
    return features.mean(axis=(1, 2)) if features.ndim == 4 else features


def _picture_source(source, pictures):
    """Returns the pictures of the examples, for the page."""
    paths = [os.fspath(path) for path in pictures]
    if len(paths) != source.num_examples:
        raise ValueError(
            "`pictures` must have one path for each label. Received: "
            f"{len(paths)} paths and {source.num_examples} labels."
        )
    missing = [path for path in paths if not os.path.isfile(path)]
    if missing:
        raise ValueError(
            f"`pictures` must be files. Received: {len(missing)} that are not there, "
            f"{missing[0]!r} for one."
        )
    ids = map(str, source.ids.tolist())
    return source_of_files("pictures", paths, source.labels, ids, source.class_names)
