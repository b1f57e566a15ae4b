"""The loss of the paper: neighbor consistency, as a function and as a Keras layer."""

import keras
import tensorflow as tf

from keras_ncr.checks import check_bool, check_integer, check_known, check_positive
from keras_ncr.losses import neighbors
from keras_ncr.losses.candidates import everyone
from keras_ncr.losses.divergences import DIVERGENCES
from keras_ncr.losses.mixture import Search, neighbor_mixture
from keras_ncr.losses.recent_examples import RecentExamples

__all__ = ["NeighborConsistencyLoss", "neighbor_consistency"]

# Added to every probability, so that the ratio of two of them is finite. It caps the
# divergence of one example at 46 nats.
PROBABILITY_FLOOR = 1e-20


@keras.saving.register_keras_serializable(package="keras_ncr")
class NeighborConsistencyLoss(keras.layers.Layer):
    """Layer that returns how far each prediction is from that of its neighbors.

    The neighbors are the `num_neighbors` other examples of the batch whose features
    have the largest positive cosine with the example's own, and all that tie with the
    last of them. Their softened predictions are averaged with the similarities as
    weights (eq. 3 of the paper):

        p_i = softmax(logits_i / T)
        q_i = sum_j s_ij * p_j / sum_j s_ij,   s_ij = cos(features_i, features_j)
        loss_i = KL(p_i || q_i)

    Gradients flow through the example's own logits, its neighbors' logits and the
    similarities. An example without neighbors (a feature of zeros, a batch of one, only
    opposite features) has loss and gradient 0. Under a `tf.distribute` strategy the
    neighbors are sought in the global batch, and value and gradients are those of one
    device.

    The computation is in float32 whatever the dtype policy. Memory grows as
    `batch**2 + batch * num_classes`, time as `batch**2 * (dim + num_classes)`; from 300
    candidates for each of the `num_neighbors` on, only as `batch**2 * dim`, if the size
    of the batch is known before the run (`drop_remainder=True`) or `rows_per_block` is
    given.

    Accuracy falls where a batch has fewer examples than there are classes (Table 6 of
    the paper): neighbors are then of other classes. With `queue_size` the most recent
    training examples are candidates too, as in cross-batch memory. They are as the
    weights were that saw them, get no gradient, and are used only once there are
    `queue_size` of them. Where one epoch follows the other, an example may meet what it
    was itself a few steps ago.

    Args:
        num_neighbors: Int, at least 1 (the paper's k): neighbors per example, itself
            not counted; more than the batch has are all of them. `None` means all.
            Defaults to 10, the paper's choice for CIFAR and WebVision.
        temperature: Positive float (the paper's T). Softens both distributions.
            Defaults to 2.0, the paper's choice throughout.
        similarity_power: Positive float. Exponent on the similarities; above 1 favors
            the closest neighbors. Defaults to 1.0, as in the paper.
        direction: `"self_to_neighbors"`, KL(own || neighbors), as printed in the paper,
            or `"neighbors_to_self"`, KL(neighbors || own), as in the authors' released
            code. Defaults to the paper's.
        temperature_squared: Bool. Whether to multiply by the square of `temperature`,
            as the released code does. Defaults to `False`, as in the paper.
        cross_replica: Bool. Whether neighbors are sought in the global batch, and not
            in this replica's part of it alone. Without, nothing is gathered, and there
            are fewer to choose from. Defaults to `True`.
        queue_size: Int: how many past training examples are candidates beside the
            batch. Defaults to 0, as in the paper.
        rows_per_block: Int, or `None`: how many rows are compared at once. Then memory
            grows as `rows_per_block * batch` instead of `batch**2`; where neighbors are
            many, at the cost of two more products of the features. 1,024 suits a batch
            of 16,384. Defaults to `None`, all rows at once, the fastest for usual
            batches.
        **kwargs: As in `keras.layers.Layer`.

    Call arguments:
        features: Tensor of shape `(batch, dim)`; the lengths of its rows do not matter.
        logits: Tensor of shape `(batch, num_classes)`, before softmax.
        training: Bool. Whether the queue is used, and then filled with this batch.
            Defaults to that of the model that calls the layer, else to `False`.

    Returns:
        Float32 tensor of shape `(batch,)`: one value per example, in nats, at least 0.

    Raises:
        ValueError: If an argument is out of its range, or `features` and `logits` are
            not two matrices of as many rows.

    Reference:
        - [Iscen et al., 2022](https://arxiv.org/abs/2202.02200), Section 4.1.
        - [Wang et al., 2020](https://arxiv.org/abs/1912.06798), cross-batch memory.

    Example:
    Two pairs of twins that agree cost nothing; break one pair and both members pay.

    >>> loss = keras_ncr.NeighborConsistencyLoss(num_neighbors=1)
    >>> features = np.array([[1., 0.], [1., 0.], [0., 1.], [0., 1.]])
    >>> logits = np.array([[4., 0.], [4., 0.], [0., 4.], [0., 4.]])
    >>> loss(features, logits).numpy().round(2)
    array([0., 0., 0., 0.], dtype=float32)
    >>> logits[1] = [0., 4.]
    >>> loss(features, logits).numpy().round(2)
    array([1.52, 1.52, 0.  , 0.  ], dtype=float32)

    In a functional model it is one more output, which a loss passes on:

    >>> inputs = keras.Input((5,))
    >>> features = keras.layers.Dense(8, activation="relu")(inputs)
    >>> logits = keras.layers.Dense(3)(features)
    >>> consistency = keras_ncr.NeighborConsistencyLoss()(features, logits)
    >>> model = keras.Model(inputs, [logits, consistency])
    >>> model.compile(
    ...     loss=[
    ...         keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    ...         lambda unused, consistency: consistency,
    ...     ],
    ...     loss_weights=[0.1, 0.9],
    ... )
    """

    def __init__(
        self,
        num_neighbors=10,
        temperature=2.0,
        similarity_power=1.0,
        direction="self_to_neighbors",
        temperature_squared=False,
        cross_replica=True,
        queue_size=0,
        rows_per_block=None,
        **kwargs,
    ):
        # Half precision would lose the ties and the small probabilities: the inputs are
        # taken as they come, and cast in `call`.
        super().__init__(autocast=False, **kwargs)
        self.num_neighbors = check_optional(num_neighbors, "num_neighbors", "others")
        self.temperature = check_positive(temperature, "temperature")
        self.similarity_power = check_positive(similarity_power, "similarity_power")
        self.direction = check_known(direction, DIVERGENCES, "direction")
        self.temperature_squared = check_bool(
            temperature_squared, "temperature_squared"
        )
        self.cross_replica = check_bool(cross_replica, "cross_replica")
        self.queue_size = check_integer(queue_size, "queue_size", minimum=0)
        self.rows_per_block = check_optional(rows_per_block, "rows_per_block", "rows")
        if self.queue_size and not self.cross_replica:
            raise ValueError(
                "`queue_size` must be 0 with cross_replica=False: a queue holds the "
                f"examples of all replicas. Received: queue_size={queue_size}. Leave "
                "one of them out."
            )
        self.queue = RecentExamples(self.queue_size) if self.queue_size else None

    def build(self, features_shape, logits_shape):
        if self.queue is not None:
            self.queue.build(features_shape, logits_shape)

    def call(self, features, logits, training=None):
        features, logits = tf.cast(features, "float32"), tf.cast(logits, "float32")
        if self.queue is None or not training:
            return neighbor_consistency(features, logits, **self.arguments())
        vectors, own = vectors_and_predictions(features, logits, self.temperature)
        batch = everyone(vectors, own)
        arguments = self.arguments()
        arguments.pop("cross_replica")  # A queue is of the global batch.
        candidates = batch.with_past(*self.queue.content())
        loss = divergence_from_neighbors(vectors, own, candidates, **arguments)
        self.queue.add(batch.vectors, batch.predictions)
        return loss

    def get_config(self):
        return {
            **super().get_config(),
            **self.arguments(),
            "queue_size": self.queue_size,
        }

    def arguments(self):
        """Returns those arguments that `neighbor_consistency` takes as well."""
        return {
            "num_neighbors": self.num_neighbors,
            "temperature": self.temperature,
            "similarity_power": self.similarity_power,
            "direction": self.direction,
            "temperature_squared": self.temperature_squared,
            "cross_replica": self.cross_replica,
            "rows_per_block": self.rows_per_block,
        }


def neighbor_consistency(
    features,
    logits,
    num_neighbors=10,
    temperature=2.0,
    similarity_power=1.0,
    direction="self_to_neighbors",
    temperature_squared=False,
    cross_replica=True,
    rows_per_block=None,
):
    """Returns `NeighborConsistencyLoss` of a batch, as a function.

    Args:
        features: Tensor of shape `(batch, dim)`, float32 or float64.
        logits: Tensor of shape `(batch, num_classes)` and the same dtype.
        num_neighbors: As in `NeighborConsistencyLoss`, as all that follow. Unlike there
            they are not checked.
        temperature: See there.
        similarity_power: See there.
        direction: See there.
        temperature_squared: See there.
        cross_replica: See there.
        rows_per_block: See there.

    Returns:
        Tensor of shape `(batch,)` and the same dtype: nats, at least 0.

    Raises:
        ValueError: If `features` and `logits` are not two matrices of as many rows.

    Example:
    >>> features = tf.constant([[1., 0.], [1., 1.], [0., 2.], [1., 3.]])
    >>> logits = tf.constant([[2., 0., -1.], [1., 1., 0.], [0., 2., 1.], [-1., 0., 3.]])
    >>> loss = keras_ncr.losses.neighbor_consistency(features, logits, num_neighbors=1)
    >>> loss.numpy().round(3)
    array([0.122, 0.575, 0.419, 0.396], dtype=float32)
    """
    vectors, own = vectors_and_predictions(features, logits, temperature)
    return divergence_from_neighbors(
        vectors,
        own,
        everyone(vectors, own, cross_replica),
        num_neighbors=num_neighbors,
        temperature=temperature,
        similarity_power=similarity_power,
        direction=direction,
        temperature_squared=temperature_squared,
        rows_per_block=rows_per_block,
    )


def vectors_and_predictions(features, logits, temperature):
    """Returns features of length 1, and what is predicted at a temperature."""
    features, logits = as_matrices(features, logits)
    softened = tf.nn.softmax(logits / temperature) + PROBABILITY_FLOOR
    return neighbors.unit_vectors(features), softened


def divergence_from_neighbors(
    vectors,
    own,
    candidates,
    *,
    num_neighbors,
    temperature,
    similarity_power,
    direction,
    temperature_squared,
    rows_per_block,
):
    """Returns the loss of examples whose neighbors are sought among `Candidates`."""
    search = Search(num_neighbors, similarity_power, rows_per_block)
    mixture = neighbor_mixture(vectors, candidates, search)
    loss = DIVERGENCES[direction](mixture, own)
    return loss * temperature**2 if temperature_squared else loss


def as_matrices(features, logits):
    """Returns both as tensors, once their shapes are known to fit together."""
    features, logits = tf.convert_to_tensor(features), tf.convert_to_tensor(logits)
    fit = features.shape[:1].is_compatible_with(logits.shape[:1])
    if features.shape.rank != 2 or logits.shape.rank != 2 or not fit:
        raise ValueError(
            "`features` must have shape (batch, dim), `logits` (batch, num_classes). "
            f"Received: features.shape={features.shape}, logits.shape={logits.shape}. "
            "Pool a feature map first, for example with GlobalAveragePooling2D."
        )
    return features, logits


def check_optional(number, name, of_what):
    """Returns a number as an int of at least 1 or `None`, or raises."""
    if number is None:
        return None
    try:
        return check_integer(number, name, minimum=1)
    except ValueError as error:
        raise ValueError(f"{error} Pass `None` for all {of_what}.") from None
