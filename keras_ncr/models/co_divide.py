"""Co-divide: which labels each of two networks takes for right, by their losses."""

import math
import warnings

import keras
import numpy as np
import tensorflow as tf

from keras_ncr.distribution.targets import label_of
from keras_ncr.models.numbering import index_of


def normalized(losses):
    """Returns losses moved and scaled to [0, 1]; zeros where all are the same.

    Args:
        losses: Array of shape `(n,)`.

    Returns:
        NumPy float64 array of shape `(n,)`.

    Raises:
        ValueError: If a loss is not finite.

    Example:
    >>> from keras_ncr.models.co_divide import normalized
    >>> normalized([1.0, 3.0, 2.0])
    array([0. , 1. , 0.5])
    """
    losses = np.asarray(losses, "float64")
    if not np.all(np.isfinite(losses)):
        position = int(np.argmin(np.isfinite(losses)))
        raise ValueError(
            f"`losses` must be finite. Received: {losses[position]} at position "
            f"{position}. Training has diverged; lower the learning rate."
        )
    width = np.ptp(losses)
    return (losses - losses.min()) / width if width > 0 else np.zeros_like(losses)


def clean_probabilities(losses, seed=0):
    """Returns how probable it is of each label that it is right, by its loss.

    A mixture of two Gaussians is fitted to the losses. Networks fit right labels first,
    so the component with the lower mean is taken for that of right labels.

    Args:
        losses: Array of shape `(n,)`: finite, as `normalized` returns them.
        seed: Int that the fit starts from. Defaults to 0.

    Returns:
        NumPy float64 array of shape `(n,)`, in [0, 1]: the posterior probability of the
        component with the lower mean. All 1 where all losses are the same.

    Reference:
        - [Li et al., 2020](https://arxiv.org/abs/2002.07394), Section 3.1. The fit's
          settings are the released code's: 10 iterations at most, a tolerance of 0.01,
          and 5e-4 added to the variances.

    Example:
    >>> from keras_ncr.models.co_divide import clean_probabilities
    >>> clean_probabilities([0.0, 0.05, 0.1, 0.1, 0.9, 1.0]).round(2)
    array([1., 1., 1., 1., 0., 0.])
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    losses = np.asarray(losses, "float64").reshape(-1, 1)
    if np.ptp(losses) == 0:
        return np.ones(len(losses))
    mixture = GaussianMixture(
        2, max_iter=10, tol=1e-2, reg_covar=5e-4, random_state=seed
    )
    with warnings.catch_warnings():
        # Ten iterations are what the method has, converged or not.
        warnings.simplefilter("ignore", ConvergenceWarning)
        mixture.fit(losses)
    return mixture.predict_proba(losses)[:, np.argmin(mixture.means_[:, 0])]


class CoDivide(keras.callbacks.Callback):
    """Divides the training examples anew, for a `DivideMixModel`, as an epoch begins.

    From the epoch on that follows warm-up, it runs both networks over all training
    examples, as in evaluation, and tells the model how probable it is by each network's
    losses that a label is right. That costs one forward pass of both networks per
    epoch. `DivideMixModel.fit` on arrays adds one by itself.

    Args:
        dataset: `tf.data.Dataset` of batches `(inputs, {"label": ..., "index": ...})`,
            each training example once and as in evaluation. Labels are ints or one-hot;
            they are the ones trained on.

    Raises:
        ValueError: If the dataset has no numbers, or, in `fit`, not all examples.

    Reference:
        - [Li et al., 2020](https://arxiv.org/abs/2002.07394), Section 3.1.

    Example:
    >>> images = np.zeros((4, 2), "float32")
    >>> targets = {"label": np.zeros(4), "index": np.arange(4)}
    >>> dataset = tf.data.Dataset.from_tensor_slices((images, targets)).batch(2)
    >>> co_divide = keras_ncr.models.CoDivide(dataset)

    With `keras_ncr.pipelines`: `evaluation_batches(source, 256, carry=["index"])`.
    """

    def __init__(self, dataset):
        super().__init__()
        check_carries_index(dataset)
        self.dataset = dataset

    def on_train_begin(self, logs=None):
        losses_of = self.model.losses_of_networks
        # Traced once, not once a shape: the last batch is smaller.
        self.losses_of = (
            losses_of
            if self.model.run_eagerly
            else tf.function(losses_of, reduce_retracing=True)
        )

    def on_epoch_begin(self, epoch, logs=None):
        self.model.begin_epoch(epoch)
        if epoch >= self.model.warmup_epochs:
            self.model.divide(self.look(), is_first=epoch == self.model.warmup_epochs)

    def look(self):
        """Returns both networks' losses on all examples: an array `(n, 2)`."""
        num_examples = self.model.num_examples
        losses = np.zeros((num_examples, 2))
        num_looks = np.zeros(num_examples, int)
        for inputs, targets in self.dataset:
            index = np.asarray(index_of(targets))
            if index.size and not 0 <= index.min() <= index.max() < num_examples:
                raise ValueError(
                    f"`dataset` must have an index in 0..{num_examples - 1}. Received: "
                    f"indices from {index.min()} to {index.max()}. Pass the examples "
                    "that the model is trained on, numbered as there."
                )
            losses[index] = self.losses_of(inputs, label_of(targets))
            np.add.at(num_looks, index, 1)
        if not np.all(num_looks == 1):
            position = int(np.argmax(num_looks != 1))
            raise ValueError(
                f"`dataset` must hold each of the {num_examples} training examples "
                f"once. Received: the one with index {position} "
                f"{num_looks[position]} times. Neither repeat it nor leave out a rest."
            )
        return losses


def check_carries_index(dataset):
    """Raises unless the batches of a dataset tell the examples' labels and numbers."""
    spec = getattr(dataset, "element_spec", None)
    targets = spec[1] if isinstance(spec, tuple) and len(spec) == 2 else None
    if not isinstance(targets, dict) or not {"label", "index"} <= targets.keys():
        raise ValueError(
            "`dataset` must be a tf.data.Dataset of batches "
            f'(inputs, {{"label": ..., "index": ...}}). Received: {dataset!r}. '
            "`keras_ncr.pipelines.evaluation_batches` makes one, with "
            'carry=["index"].'
        )


def with_co_divide(callbacks, x, y, batch_size=None, validation_split=0.0):
    """Returns the callbacks of `fit`, with a `CoDivide` among them.

    Args:
        callbacks: As `fit` was given them.
        x: As `fit` was given it.
        y: Dict of arrays with the keys `"label"` and `"index"`; `None` if `x` brings
            the targets.
        batch_size: As in `fit`.
        validation_split: As in `fit`.

    Returns:
        A list of callbacks, or the `keras.callbacks.CallbackList` given.

    Raises:
        ValueError: If there is none, and none can be made.

    Example:
    >>> from keras_ncr.models.co_divide import with_co_divide
    >>> y = {"label": np.zeros(5), "index": np.arange(5)}
    >>> co_divide, = with_co_divide(None, np.zeros((5, 2)), y, batch_size=2)
    >>> len(co_divide.dataset)
    3
    """
    is_list = isinstance(callbacks, keras.callbacks.CallbackList)
    known = callbacks.callbacks if is_list else keras.tree.flatten(callbacks or [])
    if any(isinstance(callback, CoDivide) for callback in known):
        return callbacks if is_list else known
    if y is None:
        raise ValueError(
            "`callbacks` must have a `CoDivide` where training data are not arrays: it "
            "needs all training examples as in evaluation. Received: "
            f"callbacks={callbacks!r}. Pass `keras_ncr.models.CoDivide(dataset)`; "
            "`keras_ncr.pipelines.evaluation_batches(source, 256, "
            'carry=["index"])` makes the dataset.'
        )
    co_divide = CoDivide(evaluation_data(x, y, batch_size, validation_split))
    if is_list:
        co_divide.set_model(callbacks.model)
        callbacks.callbacks.insert(0, co_divide)
        return callbacks
    return [co_divide, *known]


def evaluation_data(x, y, batch_size=None, validation_split=0.0):
    """Returns the batches of arrays that `CoDivide` wants, each example once.

    Args:
        x: As in `with_co_divide`.
        y: Dict of arrays with the keys `"label"` and `"index"`.
        batch_size: As in `with_co_divide`.
        validation_split: As in `with_co_divide`.

    Returns:
        `tf.data.Dataset` of batches.

    Example:
    >>> from keras_ncr.models.co_divide import evaluation_data
    >>> y = {"label": np.zeros(5), "index": np.arange(5)}
    >>> len(evaluation_data(np.zeros((5, 2)), y, batch_size=2))
    3
    """
    # TensorFlow takes a list for one array, where Keras takes it for several inputs.
    x = tuple(x) if isinstance(x, list) else x
    y = {"label": y["label"], "index": y["index"]}
    x, y = training_part((x, y), validation_split)
    return tf.data.Dataset.from_tensor_slices((x, y)).batch(batch_size or 32)


def training_part(arrays, validation_split):
    """Returns arrays without their end, which `fit` keeps for validation.

    Args:
        arrays: Arrays of `n` rows each, nested in any way.
        validation_split: As in `keras.Model.fit`.

    Returns:
        The same with fewer rows.

    Example:
    >>> from keras_ncr.models.co_divide import training_part
    >>> training_part(np.arange(5), validation_split=0.2)
    array([0, 1, 2, 3])
    """

    def first_rows(array):
        return array[: math.floor(len(array) * (1.0 - validation_split))]

    return keras.tree.map_structure(first_rows, arrays) if validation_split else arrays
