"""Which labels neighbors in the whole training set confirm, in two passes (MOIT)."""

import numpy as np
import tensorflow as tf

from keras_ncr.losses.neighbors import unit_vectors
from keras_ncr.models.nearest import vote_shares
from keras_ncr.models.whole_set import WholeSet, classes_of


class CleanSetDetection(WholeSet):
    """Tells a `MOITModel` as an epoch begins its stage, and which labels to trust.

    From the second stage on it runs the network over all training examples, as in
    evaluation, and has the model decide by their projections. `MOITModel.fit` on arrays
    adds one by itself. Epochs count from `initial_epoch` 0.

    Args:
        dataset: As in `CoDivide`.

    Raises:
        ValueError: If the dataset has no numbers, or, in `fit`, not all examples.

    Reference:
        - [Ortego et al., 2021](https://arxiv.org/abs/2012.04462), Section 3.2.

    Example:
    >>> images = np.zeros((4, 2), "float32")
    >>> targets = {"label": np.zeros(4), "index": np.arange(4)}
    >>> dataset = tf.data.Dataset.from_tensor_slices((images, targets)).batch(2)
    >>> detection = keras_ncr.models.CleanSetDetection(dataset)
    """

    def seen(self, inputs, labels):
        """Returns given labels and projections, side by side."""
        features, logits = self.model(inputs, training=False, return_features=True)
        vectors = unit_vectors(tf.cast(self.model.projection(features), "float32"))
        return tf.concat([classes_of(labels, logits), vectors], axis=1)

    def on_epoch_begin(self, epoch, logs=None):
        if self.model.begin_epoch(epoch, self.params["epochs"]):
            rows = self.look()
            self.model.detect(rows[:, 0].astype(int), rows[:, 1:])


def clean_labels(labels, neighbors, num_classes):
    """Returns which labels are taken for right, `(n,)`, by numbers of neighbors."""
    # A first pass corrects labels by the votes of their neighbors, a second takes the
    # votes of corrected labels. Each class gives the labels with most of these votes,
    # as many as the classes' median of how many agree with the votes.
    first = vote_shares(neighbors, labels, num_classes)
    second = vote_shares(neighbors, np.argmax(first, axis=1), num_classes)
    agree = np.bincount(
        labels[np.argmax(second, axis=1) == labels], minlength=num_classes
    )
    # The lower one of two in the middle.
    num_taken = np.sort(agree)[(num_classes - 1) // 2]
    # Ties, many where shares are clipped, go by the first pass, and then by number.
    order = np.lexsort((discrepancy(first, labels), discrepancy(second, labels)))
    is_clean = np.zeros(len(labels), bool)
    for label in range(num_classes):
        is_clean[order[labels[order] == label][:num_taken]] = True
    return is_clean


def discrepancy(shares, labels):
    """Returns how little of the votes each label has: `-log` of its clipped share."""
    own = np.take_along_axis(shares, labels[:, None], axis=1)[:, 0]
    return -np.log(np.clip(own, 0.01, 0.99))
