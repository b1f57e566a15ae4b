"""Pictures in TensorBoard of what a model learns by heart, while it trains."""

import os

import keras
import numpy as np
import tensorflow as tf

from keras_ncr import plots
from keras_ncr.checks import check_integer, check_labels
from keras_ncr.distribution.targets import label_of
from keras_ncr.features.extraction import check_ends, features_and_logits_model
from keras_ncr.noise import NoisyLabels


class FigureLogger(keras.callbacks.Callback):
    """Draws what a model makes of labeled examples, for TensorBoard, during `fit`.

    In the first epoch, every so many epochs and at the end of training there are three
    pictures, which TensorBoard shows under "Images", with a slider for the epoch:

    - `confidence`: of clean and of wrong labels (Figure 3 of the paper),
    - `similarity`: of the features of pairs of examples (Figure 4),
    - `transitions`: the labels by the class that the model predicts, its estimate of
      the transition matrix; the true one beside it.

    Each look costs one pass over the dataset, as in evaluation, and about a second
    to draw. Training goes on as it would have without. Where the outputs of the model
    are not finite, the pictures of that epoch are left out.

    Args:
        dataset: `tf.data.Dataset` of batches `(inputs, {"label": ..., "clean_label":
            ...})`, the annotated and the true labels, ints of shape `(batch,)`, such as
            `keras_ncr.pipelines.evaluation_batches` makes. A clean label of -1 is wrong
            and not known. Where nothing is known, `(inputs, labels)`. The features of
            all its examples are held in memory: some thousands are enough.
        log_dir: String or path: the folder that TensorBoard reads, such as that of
            `keras.callbacks.TensorBoard`. The pictures go into `figures` in there.
        every: Int. Epochs between two looks. Defaults to 5.
        class_names: Strings, one for each class. Defaults to `None`: the numbers.

    Raises:
        ValueError: If `dataset` is of another form, or `every` is below 1. By `fit`, if
            the model has no features (see `keras_ncr.features.features_of`), or labels
            or names do not fit its classes.

    Reference:
        - [Iscen et al., 2022](https://arxiv.org/abs/2202.02200), Figures 3 and 4.

    Example:
    >>> import tempfile
    >>> from keras_ncr.features.figure_logger import FigureLogger
    >>> images = np.zeros((4, 2), "float32")
    >>> labels = {"label": np.array([0, 1, 0, 1]), "clean_label": np.zeros(4, int)}
    >>> dataset = tf.data.Dataset.from_tensor_slices((images, labels)).batch(2)
    >>> logger = FigureLogger(dataset, tempfile.mkdtemp(), class_names=["cat", "dog"])
    """

    def __init__(self, dataset, log_dir, every=5, class_names=None):
        super().__init__()
        _check_carries_labels(dataset)
        check_ends(dataset)
        self.dataset = dataset
        self.log_dir = os.path.join(log_dir, "figures")
        self.every = check_integer(every, "every", minimum=1)
        self.class_names = None if class_names is None else list(class_names)

    def on_train_begin(self, logs=None):
        both = features_and_logits_model(self.model)
        # The model itself is called, not its step of prediction: under a strategy that
        # is not replicated, and nothing of the training is retraced.
        self.outputs = tf.function(
            lambda inputs: both(inputs, training=False), reduce_retracing=True
        )
        self.check_first_batch()
        self.writer = tf.summary.create_file_writer(self.log_dir)
        self.epoch = self.last_look = None

    def on_epoch_end(self, epoch, logs=None):
        self.epoch = epoch
        if epoch % self.every == 0:
            self.look()

    def on_train_end(self, logs=None):
        # However training ends: by number, by another callback, or before an epoch has.
        if self.epoch is not None and self.last_look != self.epoch:
            self.look()
        self.writer.close()

    def check_first_batch(self):
        """Raises before the first epoch for what would fail after it."""
        batches = list(self.dataset.take(1))
        if not batches:
            raise ValueError("`dataset` must hold examples. Received: none.")
        inputs, targets = batches[0]
        num_classes = self.outputs(inputs)[1].shape[1]
        check_labels(label_of(targets), num_classes)
        if self.class_names is not None and len(self.class_names) != num_classes:
            raise ValueError(
                f"`class_names` must have a name for each of the {num_classes} classes "
                f"of the model. Received: {len(self.class_names)} names."
            )

    def look(self):
        """Draws all pictures anew, and writes them as those of the present epoch."""
        self.last_look = self.epoch
        features, logits, labels, clean_labels = self.pass_over_dataset()
        if not (np.isfinite(features).all() and np.isfinite(logits).all()):
            return
        labels = check_labels(labels, logits.shape[1])
        names = self.class_names or range(logits.shape[1])
        figures = {
            "confidence": _confidence_figure(logits, labels, clean_labels),
            "similarity": plots.similarity_figure(features, clean_labels, labels),
            "transitions": _transitions_figure(logits, labels, clean_labels, names),
        }
        # The steps at which `keras.callbacks.TensorBoard` writes are its own matter.
        with self.writer.as_default(), tf.summary.record_if(True):
            for name, figure in figures.items():
                tf.summary.image(name, _pixels(figure)[None], step=self.epoch)
        self.writer.flush()

    def pass_over_dataset(self):
        """Returns arrays of features, logits, labels and clean labels, or None."""
        parts = []
        for inputs, targets in self.dataset:
            targets = targets if isinstance(targets, dict) else {"label": targets}
            known = [targets[name] for name in _LABELS if name in targets]
            parts.append([*self.outputs(inputs), *known])
        columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
        features, logits, labels, *clean_labels = columns
        return (
            features.astype("float32"),
            logits.astype("float32"),
            labels,
            clean_labels[0] if clean_labels else None,
        )


_LABELS = ("label", "clean_label")


def _check_carries_labels(dataset):
    """Raises unless a dataset has batches of inputs and labels, one for each input."""
    spec = getattr(dataset, "element_spec", None)
    try:
        inputs, targets = spec
        is_fit = label_of(targets).shape.rank == 1
    except (AttributeError, TypeError, ValueError):
        is_fit = False
    if not is_fit:
        raise ValueError(
            "`dataset` must be a tf.data.Dataset of batches (inputs, labels) or "
            '(inputs, {"label": ..., "clean_label": ...}), labels of shape (batch,). '
            f"Received: {dataset!r}. `keras_ncr.pipelines.evaluation_batches` makes "
            'one, with carry=["clean_label"].'
        )


def _confidence_figure(logits, labels, clean_labels):
    """Returns the picture of the probability of each annotated label."""
    probabilities = _as_probabilities(logits)
    confidence = np.take_along_axis(probabilities, labels[:, None], axis=1)[:, 0]
    is_noisy = None if clean_labels is None else clean_labels != labels
    return plots.confidence_figure({"": ({"": confidence}, is_noisy)})


def _as_probabilities(outputs):
    """Returns what a model returns as probabilities, if it does not return these."""
    sums = outputs.sum(axis=1)
    # Those of half precision sum to 1 roughly.
    if outputs.min() >= 0 and np.allclose(sums, 1, atol=0.01):
        return outputs
    return tf.nn.softmax(outputs).numpy()


def _transitions_figure(logits, labels, clean_labels, class_names):
    """Returns the picture of the labels by predicted class, and by true class."""
    predicted = np.argmax(logits, axis=1)
    estimated = NoisyLabels(predicted, labels).transition_matrix(len(class_names))
    if clean_labels is None:
        return plots.transition_matrix_figure(
            estimated, class_names, "By predicted class"
        )
    true = NoisyLabels(clean_labels, labels).transition_matrix(len(class_names))
    return plots.transition_matrices_figure(
        estimated, true, class_names, "Estimated: by predicted class"
    )


def _pixels(figure):
    """Returns a figure as an array `(height, width, 3)` of pixels 0 to 255."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3]
