"""The loss of the paper: neighbor consistency, as a function and as a Keras layer."""

from typing import NamedTuple

import keras
import tensorflow as tf

from keras_ncr.checks import check_bool, check_integer, check_known, check_positive
from keras_ncr.losses import neighbors
from keras_ncr.losses.batch_sizes import RecentExamples, by_blocks
from keras_ncr.losses.mean_prediction import DIVERGENCES, log_softmax

__all__ = ["NeighborConsistencyLoss", "neighbor_consistency"]


class Settings(NamedTuple):
    """The settings of eq. 3, as in `NeighborConsistencyLoss`."""

    num_neighbors: int | None = 10
    temperature: float = 2.0
    similarity_power: float = 1.0
    direction: str = "self_to_neighbors"
    temperature_squared: bool = False
    cross_replica: bool = True
    rows_per_block: int | None = None


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

    The computation is in float32 whatever the dtype policy, and from logarithms: value
    and gradients are exact however sure and contrary the predictions are. Where an
    example finds possible what all its neighbors hold less probable than 1e-30 (logits
    that differ by more than 138 at temperature 2), a step of `"self_to_neighbors"`
    takes three more products for every 46 nats below; beyond 200 such steps, or for
    neighbors of less than 1e-6 of the largest weight, the target may count as more
    probable than it is. `"neighbors_to_self"` has no such case.

    Memory grows as `batch**2 + batch * num_classes`, time as
    `batch**2 * (dim + num_classes)`.

    Accuracy falls where a batch has fewer examples than there are classes (Table 6 of
    the paper): neighbors are then of other classes. With `queue_size` the most recent
    training examples may be neighbors too, as in cross-batch memory. Their features and
    logits are those of the step that saw them; they get no gradient, and are used only
    once there are `queue_size` of them. At the start of an epoch, an example may meet
    itself as it was a few steps ago.

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
        queue_size: Int: how many past training examples may be neighbors, beside the
            batch. Defaults to 0, as in the paper.
        rows_per_block: Int, or `None`: how many rows are compared at once. Then memory
            grows as `rows_per_block * batch` instead of `batch**2`, and a step takes
            three more products of matrices. 1,024 suits a batch of 16,384. Defaults to
            `None`, all rows at once, the fastest for usual batches.
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

    In a functional model it is one more output, which `PassThrough` minimizes:

    >>> inputs = keras.Input((5,))
    >>> features = keras.layers.Dense(8, activation="relu")(inputs)
    >>> logits = keras.layers.Dense(3)(features)
    >>> consistency = keras_ncr.NeighborConsistencyLoss()(features, logits)
    >>> model = keras.Model(inputs, [logits, consistency])
    >>> model.compile(
    ...     loss=[
    ...         keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    ...         keras_ncr.losses.PassThrough(),
    ...     ],
    ...     loss_weights=[0.1, 0.9],
    ... )
    """

    def __init__(
        self,
        num_neighbors: int | None = 10,
        temperature: float = 2.0,
        similarity_power: float = 1.0,
        direction: str = "self_to_neighbors",
        temperature_squared: bool = False,
        cross_replica: bool = True,
        queue_size: int = 0,
        rows_per_block: int | None = None,
        **kwargs,
    ):
        # Half precision would lose the ties and the small probabilities: the inputs are
        # taken as they come, and cast in `call`.
        super().__init__(autocast=False, **kwargs)
        settings = Settings(
            check_optional(num_neighbors, "num_neighbors", "others"),
            check_positive(temperature, "temperature"),
            check_positive(similarity_power, "similarity_power"),
            check_known(direction, DIVERGENCES, "direction"),
            check_bool(temperature_squared, "temperature_squared"),
            check_bool(cross_replica, "cross_replica"),
            check_optional(rows_per_block, "rows_per_block", "rows"),
        )
        for name, value in settings._asdict().items():
            setattr(self, name, value)
        self.queue_size = check_integer(queue_size, "queue_size", minimum=0)
        if self.queue_size and not cross_replica:
            raise ValueError(
                "`queue_size` must be 0 with cross_replica=False: a queue holds the "
                f"examples of all replicas. Received: queue_size={queue_size}. Leave "
                "one of them out."
            )
        self.queue = RecentExamples(self.queue_size) if self.queue_size else None

    @property
    def settings(self):
        """What `consistency` takes."""
        return Settings(*(getattr(self, name) for name in Settings._fields))

    def build(self, features_shape, logits_shape):
        if self.queue is not None:
            self.queue.build(features_shape, logits_shape)

    def call(self, features, logits, training=None):
        features, logits = tf.cast(features, "float32"), tf.cast(logits, "float32")
        return consistency(
            features, logits, self.settings, self.queue if training else None
        )

    def compute_output_spec(self, features, logits, training=None):
        # Keras would trace `call` for it each time that a model is built.
        check_matrices(features, logits)
        return keras.KerasTensor(features.shape[:1], "float32")

    def get_config(self):
        return {
            **super().get_config(),
            **self.settings._asdict(),
            "queue_size": self.queue_size,
        }


def neighbor_consistency(
    features,
    logits,
    num_neighbors: int | None = 10,
    temperature: float = 2.0,
    similarity_power: float = 1.0,
    direction: str = "self_to_neighbors",
    temperature_squared: bool = False,
    cross_replica: bool = True,
    rows_per_block: int | None = None,
) -> tf.Tensor:
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
    return consistency(
        features,
        logits,
        Settings(
            num_neighbors,
            temperature,
            similarity_power,
            direction,
            temperature_squared,
            cross_replica,
            rows_per_block,
        ),
    )


def consistency(features, logits, settings, queue=None):
    """Returns eq. 3 for each example of a batch, and puts the batch into the queue."""
    features, logits = tf.convert_to_tensor(features), tf.convert_to_tensor(logits)
    check_matrices(features, logits)
    vectors = neighbors.unit_vectors(features)
    log_own = log_softmax(logits / settings.temperature)
    pool = neighbors.pool_of(vectors, log_own, settings.cross_replica)
    if queue is not None:
        pool = queue.appended_to(pool)

    def consistency_of(vectors, log_own, pool):
        similarities = neighbors.cosine_similarities(vectors, pool)  # s_ij
        weights = neighbors.neighbor_weights(  # s_ij where j is in NN_k(i), else 0
            similarities, settings.num_neighbors, settings.similarity_power, pool.first
        )
        return DIVERGENCES[settings.direction](weights, pool, log_own)

    loss = by_blocks(consistency_of, vectors, log_own, pool, settings.rows_per_block)
    if queue is not None:
        queue.add(pool)
    return loss * settings.temperature**2 if settings.temperature_squared else loss


def neighbor_predictions(features, logits, settings):
    """Returns the neighbors' mean prediction, not softened, `(batch, num_classes)`."""
    vectors = neighbors.unit_vectors(tf.cast(features, logits.dtype))
    log_own = log_softmax(logits)
    pool = neighbors.pool_of(vectors, log_own, settings.cross_replica)

    def predictions_of(vectors, log_own, pool):
        weights = neighbors.neighbor_weights(
            neighbors.cosine_similarities(vectors, pool),
            settings.num_neighbors,
            settings.similarity_power,
            pool.first,
        )
        return tf.matmul(weights, tf.exp(pool.log_predictions))

    sums = by_blocks(predictions_of, vectors, log_own, pool, settings.rows_per_block)
    return sums / tf.reduce_sum(sums, axis=1, keepdims=True)


def check_matrices(features, logits):
    """Raises `ValueError` unless both are matrices of as many rows."""
    shapes = [tf.TensorShape(part.shape) for part in (features, logits)]
    fit = shapes[0][:1].is_compatible_with(shapes[1][:1])
    if shapes[0].rank != 2 or shapes[1].rank != 2 or not fit:
        raise ValueError(
            "`features` must have shape (batch, dim), `logits` (batch, num_classes). "
            f"Received: features.shape={shapes[0]}, logits.shape={shapes[1]}. "
            "Pool a feature map first, for example with GlobalAveragePooling2D."
        )


def check_optional(number, name, of_what):
    """Returns a number as an int of at least 1 or `None`, or raises."""
    if number is None:
        return None
    try:
        return check_integer(number, name, minimum=1)
    except ValueError as error:
        raise ValueError(f"{error} Pass `None` for all {of_what}.") from None
