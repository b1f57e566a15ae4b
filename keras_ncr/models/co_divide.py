"""Divides examples by their losses: into labels that are right, and others."""

import warnings

import numpy as np

from keras_ncr.models.whole_set import WholeSet


def normalized(losses, is_known=None):
    """Returns losses scaled to [0, 1], zeros where all are the same, or raises."""
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
    """Returns how probable each label is to be right, by its loss: `(n,)`, float64."""
    # Networks fit right labels first, so the component of the mixture with the lower
    # mean is that of right labels. Equal losses leave all labels trusted.
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


class CoDivide(WholeSet):
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

    def seen(self, inputs, labels):
        """Returns both networks' losses on a batch, `(batch, 2)`."""
        return self.model.losses_of_networks(inputs, labels)

    def on_epoch_begin(self, epoch, logs=None):
        num_epochs = (self.params or {}).get("epochs")
        num_divisions = self.model.begin_epoch(epoch, num_epochs)
        if num_divisions is not None:
            self.model.divide(self.look(), is_first=num_divisions == 0)
