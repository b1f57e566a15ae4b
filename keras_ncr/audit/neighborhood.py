"""What the nearest neighbors of examples predict, and which labels they carry."""

from typing import NamedTuple

import numpy as np

from keras_ncr.models.nearest import blocks

# Examples whose probabilities of all classes are held at a time.
_BLOCK = 4096


class Neighborhood(NamedTuple):
    """Indices and cosines of each example's neighbors, `(n, k)`, the nearest first."""

    indices: np.ndarray
    similarities: np.ndarray

    def weights(self):
        """Returns a sparse `(n, n)` matrix of similarities whose rows sum to 1 or 0."""
        # As in the consistency loss, negative cosines count as zero.
        from scipy.sparse import csr_matrix

        similarities = np.maximum(self.similarities, 0).astype("float32")
        sums = similarities.sum(axis=1, keepdims=True)
        shares = similarities / np.where(sums > 0, sums, 1)
        count, num_neighbors = self.indices.shape
        starts = np.arange(count + 1) * num_neighbors
        return csr_matrix(
            (shares.ravel(), self.indices.ravel(), starts), (count, count)
        )


class NeighborLabels(NamedTuple):
    """The given labels of each example's neighbors.

    Attributes:
        labels: Int64 array of shape `(n,)`: the most common one, weighted by
            similarity; -1 without similar neighbors.
        agreement: Float32 array of shape `(n,)`: the share of neighbors that carry the
            example's own label, weighted by similarity.
    """

    labels: np.ndarray
    agreement: np.ndarray


def neighbor_labels(neighborhood, labels, num_classes):
    """Returns the `NeighborLabels` of all examples."""
    from scipy.sparse import csr_matrix

    count = len(labels)
    one_hot = csr_matrix(
        (np.ones(count, "float32"), (np.arange(count), labels)),
        shape=(count, num_classes),
    )
    weights = neighborhood.weights()
    most, agreement = np.full(count, -1), np.zeros(count, "float32")
    for rows in blocks(count, _BLOCK):
        shares = (weights[rows] @ one_hot).toarray()
        has_any = shares.any(axis=1)
        most[rows] = np.where(has_any, shares.argmax(axis=1), -1)
        own = np.take_along_axis(shares, labels[rows, None], axis=1)
        agreement[rows] = own[:, 0]
    # By rounding, shares can sum to more than 1.
    return NeighborLabels(most, np.minimum(agreement, 1))


def neighbor_predictions(predictions, neighborhood=None, examples=None):
    """Yields blocks of examples, their own predictions, and their neighbors' means."""
    # The mean over neighbors is the target of the consistency loss (eq. 3), over the
    # whole data set. An example without similar neighbors keeps its own prediction.
    probabilities = predictions.as_sparse()
    weights = None if neighborhood is None else neighborhood.weights()
    examples = np.arange(len(predictions)) if examples is None else examples
    for block in blocks(len(examples), _BLOCK):
        rows = examples[block]
        own = probabilities[rows].toarray()
        if weights is None:
            yield rows, own, own
            continue
        means = (weights[rows] @ probabilities).toarray()
        is_alone = ~means.any(axis=1)
        means[is_alone] = own[is_alone]
        yield rows, own, means
