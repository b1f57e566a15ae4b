"""Figures of memorization in TensorBoard, drawn during training."""

import os

import keras
import numpy as np
import tensorflow as tf

from keras_ncr import plots
from keras_ncr.checks import check_integer, check_labels
from keras_ncr.distribution.targets import label_of
from keras_ncr.features.extraction import (
    are_probabilities,
    check_ends,
    features_and_logits_model,
)
from keras_ncr.noise import NoisyLabels


class FigureLogger(keras.callbacks.Callback):
    """Callback that draws how a model treats clean and wrong labels, for TensorBoard.

    It draws three figures after the first epoch, after every `every` epochs, and at the
    end of training. TensorBoard shows them under "Images", with a slider for the epoch:

    - `confidence`: the probabilities of clean and of wrong labels (Figure 3 of the
      paper),
    - `similarity`: cosines of the features of pairs of examples (Figure 4),
    - `transitions`: the transition matrix estimated from the predicted classes, beside
      the true one.

    Each time costs one pass over the dataset, as in evaluation, and about a second to
    draw. Training itself does not change. If the model's outputs are not finite, the
    epoch has no figures.

    Args:
        dataset: `tf.data.Dataset` of batches `(inputs, {"label": ..., "clean_label":
            ...})`: the annotated and the true labels, ints of shape `(batch,)`, as
            `keras_ncr.pipelines.evaluation_batches` makes them. A clean label of -1
            means that the label is wrong and the true one unknown. If nothing is known
            about the labels, `(inputs, labels)`. The features of all examples are held
            in memory: a few thousand are enough.
        log_dir: String or path: the folder that TensorBoard reads. The figures go into
            its subfolder `figures`.
        every: Int, at least 1. Epochs from one set of figures to the next. Defaults to
            5.
        class_names: Optional strings, one for each class. Defaults to `None`: the class
            numbers.

    Raises:
        ValueError: If `dataset` has another form or repeats for ever, or `every` is
            below 1. `fit` raises it if the model has no features (see
            `keras_ncr.features.features_of`), or labels or names do not fit its
            classes.

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

    def __init__(
        self, dataset: tf.data.Dataset, log_dir, every: int = 5, class_names=None
    ):
        super().__init__()
        _check_carries_labels(dataset)
        check_ends(dataset)
        self.dataset = dataset
        self.log_dir = os.path.join(log_dir, "figures")
        self.every = check_integer(every, "every", minimum=1)
        self.class_names = None if class_names is None else list(class_names)

    def on_train_begin(self, logs=None):
        both = features_and_logits_model(self.model)
        # The model is called directly: `predict` would be replicated under a strategy,
        # and would trace the training's functions again.
        self.outputs = tf.function(
            lambda inputs: both(inputs, training=False), reduce_retracing=True
        )
        self.check_first_batch()
        self.writer = tf.summary.create_file_writer(self.log_dir)
        self.epoch = self.last_drawn = None

    def on_epoch_end(self, epoch, logs=None):
        self.epoch = epoch
        if epoch % self.every == 0:
            self.draw()

    def on_train_end(self, logs=None):
        # Another callback may have stopped the training, even before an epoch ended.
        if self.epoch is not None and self.last_drawn != self.epoch:
            self.draw()
        self.writer.close()

    def check_first_batch(self):
        """Raises before the first epoch what would otherwise fail after it."""
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

    def draw(self):
        """Draws all figures and writes them for the present epoch."""
        self.last_drawn = self.epoch
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
        # `keras.callbacks.TensorBoard` may have switched recording off for this step.
        with self.writer.as_default(), tf.summary.record_if(True):
            for name, figure in figures.items():
                tf.summary.image(name, _pixels(figure)[None], step=self.epoch)
        self.writer.flush()

    def pass_over_dataset(self):
        """Returns features, logits, labels, and clean labels or None."""
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
    """Raises unless a dataset has batches of inputs with one label each."""
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
    """Returns the figure of the probabilities of the annotated labels."""
    is_done = are_probabilities(logits)
    probabilities = logits if is_done else tf.nn.softmax(logits).numpy()
    confidence = np.take_along_axis(probabilities, labels[:, None], axis=1)[:, 0]
    is_noisy = None if clean_labels is None else clean_labels != labels
    return plots.confidence_figure({"": ({"": confidence}, is_noisy)})


def _transitions_figure(logits, labels, clean_labels, class_names):
    """Returns the figure of the labels by predicted class, and by true class."""
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
