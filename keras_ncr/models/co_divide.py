"""Divides examples by their losses: into labels that are right, and others."""

import math
import warnings

import keras
import numpy as np
import tensorflow as tf

from keras_ncr.distribution.targets import label_of
from keras_ncr.models.example_memory import index_of
from keras_ncr.models.fitting import check_carries


def normalized(losses, is_known=None):
    """Returns losses scaled to [0, 1], zeros where all are the same, or raises.

    Those that are not known stay as they are.
    """
    losses = np.array(losses, "float64")
    if not np.all(np.isfinite(losses)):
        position = int(np.argmin(np.isfinite(losses)))
        raise ValueError(
            f"`losses` must be finite. Received: {losses[position]} at position "
            f"{position}. Training has diverged; lower the learning rate."
        )
    is_known = np.full(losses.shape, True) if is_known is None else is_known
    known = losses[is_known]
    losses[is_known] = (known - known.min()) / (np.ptp(known) or 1.0)
    return losses


def clean_probabilities(losses, seed=0):
    """Returns the probability of each label to be right, by its loss: `(n,)`, float64.

    A mixture of two Gaussians is fitted to the losses. Networks fit right labels first,
    so the component with the lower mean is taken for that of right labels. Equal losses
    leave all labels trusted.
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

    def __init__(self, dataset: tf.data.Dataset):
        super().__init__()
        check_carries(dataset, "index")
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


def with_co_divide(arguments):
    """Returns the arguments of `fit`, with a `CoDivide` among callbacks, or raises."""
    callbacks = arguments["callbacks"]
    is_list = isinstance(callbacks, keras.callbacks.CallbackList)
    given = callbacks.callbacks if is_list else callbacks
    if any(isinstance(callback, CoDivide) for callback in given):
        return arguments
    if arguments["y"] is None:
        raise ValueError(
            "`callbacks` must have a `CoDivide` where training data are not arrays: it "
            "needs all training examples as in evaluation. Received: "
            f"callbacks={callbacks!r}. Pass `keras_ncr.models.CoDivide(dataset)`; "
            "`keras_ncr.pipelines.evaluation_batches(source, 256, "
            'carry=["index"])` makes the dataset.'
        )
    co_divide = CoDivide(evaluation_data(arguments))
    if is_list:
        co_divide.set_model(callbacks.model)
        callbacks.callbacks.insert(0, co_divide)
        return arguments
    return {**arguments, "callbacks": [co_divide, *given]}


def evaluation_data(arguments):
    """Returns the batches of arrays that `CoDivide` wants, each example once."""
    x, y = arguments["x"], arguments["y"]
    # TensorFlow takes a list for one array, where Keras takes it for several inputs.
    x = tuple(x) if isinstance(x, list) else x
    y = {"label": y["label"], "index": y["index"]}
    arrays = training_part((x, y), arguments["validation_split"])
    dataset = tf.data.Dataset.from_tensor_slices(arrays)
    return dataset.batch(arguments["batch_size"] or 32)


def training_part(arrays, validation_split):
    """Returns arrays, nested in any way, without what `fit` keeps for validation."""

    def first_rows(array):
        return array[: math.floor(len(array) * (1.0 - validation_split))]

    return keras.tree.map_structure(first_rows, arrays) if validation_split else arrays
