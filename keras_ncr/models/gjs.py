"""The generalized Jensen-Shannon loss (GJS): several views that agree with a label."""

import keras
import tensorflow as tf

from keras_ncr.checks import check_integer
from keras_ncr.distribution.targets import label_of, weight_of
from keras_ncr.losses import JensenShannon
from keras_ncr.models.ncr import NCRModel
from keras_ncr.models.views import by_example


@keras.saving.register_keras_serializable(package="keras_ncr")
class GJSModel(NCRModel):
    """Classifier trained on the Jensen-Shannon divergence of a label and several views.

    The loss, `keras_ncr.losses.JensenShannon`, is low where the predictions for all
    views of an example agree with each other and with the label. It is the model's own,
    so `compile` takes none. Evaluation has one view, and reports the loss of that.

    In training a batch holds `num_views` views of each example in neighboring rows, as
    `pipelines.second_view` makes them; labels and weights are repeated likewise.
    With `num_views=1`, which is the plain Jensen-Shannon loss (JS), a batch is like any
    other.

    Args:
        backbone: As in `NCRModel`.
        num_classes: As in `NCRModel`.
        label_weight: Float between 0 and 1 (the paper's pi_1), as in
            `keras_ncr.losses.JensenShannon`: near 0 the loss is cross-entropy, near 1
            the mean absolute error, more robust and slower to train. Defaults to 0.5.
            The released configs have 0.1 to 0.9, by data set and rate of noise.
        num_views: Int, at least 1. Defaults to 2, as in the paper.
        consistency_loss: As in `NCRModel`.
        consistency_weight: As in `NCRModel`; above 0 the method is joined with NCR,
            over all rows, other views of an example included. Defaults to 0.0.
        **kwargs: As in `NCRModel`, `warmup_epochs` and `classifier` for example.

    Raises:
        ValueError: If an argument is out of its range; in `compile`, for a loss; in
            `fit`, if arrays do not hold views in neighboring rows.
        tf.errors.InvalidArgumentError: In `fit`, if a batch does not.

    Reference:
        - [Englesson and Azizpour, 2021](https://arxiv.org/abs/2105.04522)

    Example:
    >>> backbone = keras.Sequential([keras.layers.Dense(16, activation="relu")])
    >>> model = keras_ncr.models.GJSModel(backbone, num_classes=3)
    >>> model.compile(optimizer="sgd", metrics=["accuracy"])
    >>> x, y = np.random.default_rng(0).normal(size=(32, 5)), np.arange(32) % 3
    >>> views, labels = np.repeat(x, 2, axis=0), np.repeat(y, 2)
    >>> views += np.random.default_rng(1).normal(size=views.shape, scale=0.1)
    >>> history = model.fit(views, labels, shuffle=False, verbose=0)
    >>> model.predict(x, verbose=0).shape
    (32, 3)
    """

    built_in_loss = "the Jensen-Shannon divergence"
    takes_unlabeled = False

    def __init__(
        self,
        backbone: keras.Layer,
        num_classes: int,
        label_weight: float = 0.5,
        num_views: int = 2,
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
        self.num_views = check_integer(num_views, "num_views", minimum=1)
        self.training_loss = JensenShannon(label_weight, num_views=self.num_views)
        self.label_weight = self.training_loss.label_weight

    def evaluation_loss(self):
        """Returns the divergence of a label and one view."""
        return JensenShannon(self.label_weight)

    def compute_loss(
        self, x=None, y=None, y_pred=None, sample_weight=None, training=True
    ):
        """As in `keras.Model`: over all views in training, over one in evaluation."""
        if not training:
            return super().compute_loss(x, y, y_pred, sample_weight, training)
        by_example(y_pred, self.num_views)  # Says what is wrong with an odd batch.
        loss = self.training_loss(label_of(y), y_pred, weight_of(sample_weight))
        return loss + tf.cast(self.additional_loss(), loss.dtype)
