"""L_DMI in two stages: a model trained on given labels, then on mutual information."""

import keras
import tensorflow as tf

from keras_ncr.checks import check_positive
from keras_ncr.distribution.targets import factors_of, label_of
from keras_ncr.losses.labels import label_distributions
from keras_ncr.losses.mutual_information import mutual_information_loss
from keras_ncr.models.fitting import counts_in_loss
from keras_ncr.models.ncr import NCRModel
from keras_ncr.models.second_stage import SecondStage, check_first_stage_share


@keras.saving.register_keras_serializable(package="keras_ncr")
class LDMIModel(NCRModel):
    """Classifier trained on the compiled loss first, and then on L_DMI.

    The second stage minimizes `keras_ncr.losses.DeterminantMutualInformation`, the
    negative logarithm of the determinant of labels against predictions, which wrong
    labels change by a constant if they depend on the true class alone. It holds on to
    what the first stage has learned: alone it does not know which class is which.

    A batch should hold many more examples than there are classes. One that has examples
    of a single class stops the second stage. Evaluation reports the compiled loss.

    The authors start the optimizer anew for the second stage and in each of its epochs,
    and choose the epoch by validation; here the optimizer goes on, and the last epoch
    counts. `DeterminantMutualInformation` says how the losses differ.

    Args:
        backbone: As in `NCRModel`.
        num_classes: As in `NCRModel`.
        first_stage_share: Float in [0, 1): the share of the epochs of `fit` that comes
            first. 0 is for a model that was trained before. Loops without `fit` assign
            `is_second_stage` themselves. Defaults to 0.5; the authors have 120 of 220
            epochs on CIFAR-10, half of 20 on Clothing1M.
        second_stage_weight: Positive float: a factor of L_DMI, and so, for SGD, of the
            learning rate in the second stage. Defaults to 0.01. The authors' rate falls
            from 1e-3 to 1e-6 on CIFAR-10; there they do not divide by the batch size,
            which has no part in the gradient.
        consistency_loss: As in `NCRModel`.
        consistency_weight: As in `NCRModel`. Defaults to 0.0.
        **kwargs: As in `NCRModel`, `warmup_epochs` and `classifier` for example.

    Raises:
        ValueError: If an argument is out of its range.
        tf.errors.InvalidArgumentError: In `fit`, if a batch of the second stage holds
            one class alone.

    Reference:
        - [Xu et al., 2019](https://arxiv.org/abs/1909.03388)

    Example:
    >>> backbone = keras.Sequential([keras.layers.Dense(16, activation="relu")])
    >>> model = keras_ncr.models.LDMIModel(backbone, num_classes=3)
    >>> model.compile(
    ...     optimizer="sgd",
    ...     loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    ... )
    >>> x, y = np.random.default_rng(0).normal(size=(32, 5)), np.arange(32) % 3
    >>> history = model.fit(x, y, epochs=2, verbose=0)
    >>> bool(model.is_second_stage)
    True
    """

    takes_unlabeled = False

    def __init__(
        self,
        backbone: keras.Layer,
        num_classes: int,
        first_stage_share: float = 0.5,
        second_stage_weight: float = 0.01,
        consistency_loss: keras.Layer | None = None,
        consistency_weight: float = 0.0,
        **kwargs,
    ):
        super().__init__(
            backbone,
            num_classes,
            consistency_loss=consistency_loss,
            consistency_weight=consistency_weight,
            **kwargs,
        )
        self.first_stage_share = check_first_stage_share(first_stage_share)
        self.second_stage_weight = check_positive(
            second_stage_weight, "second_stage_weight"
        )
        # A plain variable: `fit` sets it every epoch.
        self.is_second_stage = tf.Variable(first_stage_share == 0, trainable=False)

    def own_callbacks(self):
        """Returns the callbacks of `NCRModel`, and the one that changes the stage."""
        return [*super().own_callbacks(), SecondStage()]

    def begin_second_stage(self):
        """Does nothing: the loss alone changes."""

    def compute_loss(
        self, x=None, y=None, y_pred=None, sample_weight=None, training=True
    ):
        """As in `keras.Model`; in the second stage of training it is L_DMI."""
        # Read before replicas wait for each other: they have one list of such terms.
        additional = self.additional_loss()
        first = super().compute_loss(x, y, y_pred, sample_weight, training)
        if not training:
            return first
        logits = tf.cast(y_pred, "float32")
        labels = tf.cast(tf.convert_to_tensor(label_of(y)), "float32")
        is_labeled = counts_in_loss(self.loss, labels)
        labels = label_distributions(labels, logits)
        labels = tf.where(is_labeled[:, None], labels, 0.0)
        if sample_weight is not None:
            labels *= factors_of(sample_weight)[:, None]
        loss, num_present = mutual_information_loss(labels, logits)
        message = (
            "A batch of the second stage must hold two classes at least: L_DMI tells "
            "how they are told apart. Shuffle, or make batches larger. Received "
            "classes:"
        )
        is_first = ~tf.convert_to_tensor(self.is_second_stage)
        assertion = tf.debugging.Assert(
            is_first | (num_present > 1), [message, num_present]
        )
        with tf.control_dependencies([assertion]):
            share = loss / self.distribute_strategy.num_replicas_in_sync
        second = tf.cast(self.second_stage_weight * share, first.dtype)
        return tf.where(is_first, first, second + tf.cast(additional, first.dtype))
