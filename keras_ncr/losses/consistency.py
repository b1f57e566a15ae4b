"""The loss of the paper: neighbor consistency, as a function and as a Keras layer."""

import keras
import tensorflow as tf

from keras_ncr import neighbors, replicas
from keras_ncr.checks import check_bool, check_integer, check_known, check_positive

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
    `batch**2 + batch * num_classes`, time as `batch**2 * (dim + num_classes)`.

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
        **kwargs: As in `keras.layers.Layer`.

    Call arguments:
        features: Tensor of shape `(batch, dim)`; the lengths of its rows do not matter.
        logits: Tensor of shape `(batch, num_classes)`, before softmax.

    Returns:
        Float32 tensor of shape `(batch,)`: one value per example, in nats, at least 0.

    Raises:
        ValueError: If an argument is out of its range, or `features` and `logits` are
            not two matrices of as many rows.

    Reference:
        - [Iscen et al., 2022](https://arxiv.org/abs/2202.02200), Section 4.1.

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
        **kwargs,
    ):
        # Half precision would lose the ties and the small probabilities: the inputs are
        # taken as they come, and cast in `call`.
        super().__init__(autocast=False, **kwargs)
        self.num_neighbors = check_num_neighbors(num_neighbors)
        self.temperature = check_positive(temperature, "temperature")
        self.similarity_power = check_positive(similarity_power, "similarity_power")
        self.direction = check_known(direction, DIVERGENCES, "direction")
        self.temperature_squared = check_bool(
            temperature_squared, "temperature_squared"
        )

    def call(self, features, logits):
        return neighbor_consistency(
            tf.cast(features, "float32"), tf.cast(logits, "float32"), **self.arguments()
        )

    def get_config(self):
        return {**super().get_config(), **self.arguments()}

    def arguments(self):
        """Returns those arguments that `neighbor_consistency` takes as well."""
        return {
            "num_neighbors": self.num_neighbors,
            "temperature": self.temperature,
            "similarity_power": self.similarity_power,
            "direction": self.direction,
            "temperature_squared": self.temperature_squared,
        }


def neighbor_consistency(
    features,
    logits,
    num_neighbors=10,
    temperature=2.0,
    similarity_power=1.0,
    direction="self_to_neighbors",
    temperature_squared=False,
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
    features, logits = as_matrices(features, logits)
    vectors = neighbors.unit_vectors(features)
    own = tf.nn.softmax(logits / temperature) + PROBABILITY_FLOOR
    if replicas.has_other_replicas():
        first = replicas.first_of_replica(own)
        pool = replicas.gather_replicas(own)
        similarities = tf.matmul(
            vectors, replicas.gather_replicas(vectors), transpose_b=True
        )
    else:
        first, pool = 0, own
        similarities = neighbors.self_similarities(vectors)
    weights = neighbors.neighbor_weights(
        similarities, num_neighbors, similarity_power, first
    )
    loss = DIVERGENCES[direction](weights, own, pool)
    return loss * temperature**2 if temperature_squared else loss


@tf.custom_gradient
def self_to_neighbors(weights, own, pool):
    """Returns KL(own || q), with q the weighted mean of the pool: eq. 3 as printed.

    The gradient is written out since it is far shorter than its parts. Normalizing the
    weights takes the mean out of their gradient; a softmax takes out of its gradient
    what all classes have in common. What is left of the gradient of the mixture
    `weights @ pool` is `(1 - own / q) / sum(weights)`.
    """
    targets, total = neighbor_targets(weights, pool)
    ratio = own / targets
    log_ratio = tf.math.log(ratio)
    loss = tf.nn.relu(tf.reduce_sum(own * log_ratio, axis=1))

    def gradient(upstream):
        upstream = upstream[:, None]
        scale = upstream / total
        to_mixture = scale - scale * ratio
        to_weights, to_pool = product_gradient(to_mixture, weights, pool)
        return to_weights, upstream * log_ratio, to_pool

    return loss, gradient


@tf.custom_gradient
def neighbors_to_self(weights, own, pool):
    """Returns KL(q || own), the direction of the authors' released code.

    As in `self_to_neighbors`; what is left for the mixture is
    `(log(q / own) - loss) / sum(weights)`.
    """
    targets, total = neighbor_targets(weights, pool)
    ratio = targets / own
    log_ratio = tf.math.log(ratio)
    loss = tf.nn.relu(tf.reduce_sum(targets * log_ratio, axis=1))

    def gradient(upstream):
        upstream = upstream[:, None]
        to_mixture = (log_ratio - loss[:, None]) * (upstream / total)
        to_weights, to_pool = product_gradient(to_mixture, weights, pool)
        return to_weights, -upstream * ratio, to_pool

    return loss, gradient


DIVERGENCES = {
    "self_to_neighbors": self_to_neighbors,
    "neighbors_to_self": neighbors_to_self,
}


def neighbor_targets(weights, pool):
    """Returns the weighted means of the pool, and the sums of weights, `(batch, 1)`."""
    mixture = tf.matmul(weights, pool)
    # The rows of the pool sum to 1, so this is the sum of a row of weights as well.
    total = tf.reduce_sum(mixture, axis=1, keepdims=True)
    return mixture / total, total


def product_gradient(upstream, left, right):
    """Returns the gradients of `left @ right` with respect to both."""
    to_left = tf.matmul(upstream, right, transpose_b=True)
    to_right = tf.matmul(left, upstream, transpose_a=True)
    return to_left, to_right


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


def check_num_neighbors(num_neighbors):
    """Returns `num_neighbors` as an int or `None`, or raises."""
    if num_neighbors is None:
        return None
    try:
        return check_integer(num_neighbors, "num_neighbors", minimum=1)
    except ValueError as error:
        raise ValueError(f"{error} Pass `None` for all others.") from None
