"""A classifier that weighs each example by how well CleanNet finds its label to fit."""

import math

import keras
import numpy as np
import tensorflow as tf

from keras_ncr.checks import check_integer, check_positive, check_rate
from keras_ncr.distribution.targets import factors_of
from keras_ncr.models.clean_net import CleanNet, check_verification
from keras_ncr.models.example_memory import ExampleMemory, index_of
from keras_ncr.models.fitting import refuse_replicas
from keras_ncr.models.ncr import NCRModel
from keras_ncr.models.second_stage import check_first_stage_share
from keras_ncr.models.whole_set import WholeSet


class LabelVerification(WholeSet):
    """Weighs the training examples of a `CleanNetModel` as its second stage begins.

    It runs the network over all training examples, as in evaluation, trains a
    `CleanNet` on their features, and has the model keep the weights.
    `CleanNetModel.fit` on arrays adds one by itself.

    Args:
        dataset: As in `CoDivide`.

    Raises:
        ValueError: If the dataset has no numbers, or, in `fit`, not all examples.

    Reference:
        - [Lee et al., 2018](https://arxiv.org/abs/1711.07131)

    Example:
    >>> images = np.zeros((4, 2), "float32")
    >>> targets = {"label": np.zeros(4), "index": np.arange(4)}
    >>> dataset = tf.data.Dataset.from_tensor_slices((images, targets)).batch(2)
    >>> verification = keras_ncr.models.LabelVerification(dataset)
    """

    def on_epoch_begin(self, epoch, logs=None):
        epochs = self.model.first_stage_share * self.params["epochs"]
        since = epoch - math.ceil(epochs)
        refresh = self.model.refresh_epochs
        if since < 0:
            self.model.weigh_alike()
        elif since == 0 or (refresh and since % refresh == 0):
            rows = self.look()
            self.model.weigh(rows[:, 1:], rows[:, 0].astype(int))


@keras.saving.register_keras_serializable(package="keras_ncr")
class CleanNetModel(NCRModel):
    """Classifier that weighs examples by what was learned from verified labels.

    The first stage minimizes the compiled loss. As the second one begins, a `CleanNet`
    is trained on the features that the network has by then, on the labels of which
    `verify` was told whether they are right. From then on an example's loss counts
    `max(0, s)` times, s the similarity of its features and its label's class. It is
    the one method of the paper's Table 2 that is told of some labels whether they are
    right; reviewed labels are such ones.

    The verification labels and the weights are saved with the model. It trains on one
    device. `fit` on arrays numbers the examples by itself; a `tf.data.Dataset` has to
    carry their numbers, as `keras_ncr.pipelines.training_batches` does with
    `carry=["index"]`, and `fit` then needs a `LabelVerification` among its callbacks.

    The weights of the classifier's loss are the paper's; the authors' code has only
    `CleanNet`, which says what differs in it.

    Args:
        backbone: As in `NCRModel`. Features that are not negative, as after a ReLU, are
            what the paper has.
        num_classes: As in `NCRModel`.
        num_examples: Int, the number of training examples; `None` if `verify` is to
            count them. Defaults to `None`.
        first_stage_share: Float in [0, 1): the share of the epochs of `fit` that comes
            first. 0 is for a model that was trained before. Defaults to 0.5.
        refresh_epochs: Int, at least 0: after how many epochs of the second stage
            features are taken and `CleanNet` is trained again. Defaults to 0, never.
        num_references: As in `CleanNet`.
        num_steps: As in `CleanNet`.
        margin: As in `CleanNet`.
        wrong_weight: As in `CleanNet`.
        dropout_rate: As in `CleanNet`.
        seed: As in `CleanNet`.
        consistency_loss: As in `NCRModel`.
        consistency_weight: As in `NCRModel`; above 0 the method is joined with NCR, of
            which the weighted loss is then the classification loss. Defaults to 0.0.
        **kwargs: As in `NCRModel`, `warmup_epochs` and `classifier` for example.

    Raises:
        ValueError: If an argument is out of its range; in `compile`, under a strategy
            of several replicas; in `fit`, without verification labels, or if examples
            cannot be numbered or counted.

    Reference:
        - [Lee et al., 2018](https://arxiv.org/abs/1711.07131)

    Example:
    >>> backbone = keras.Sequential([keras.layers.Dense(16, activation="relu")])
    >>> model = keras_ncr.models.CleanNetModel(backbone, num_classes=3, num_steps=10)
    >>> model.compile(
    ...     optimizer="sgd",
    ...     loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    ... )
    >>> x, y = np.random.default_rng(0).normal(size=(32, 5)), np.arange(32) % 3
    >>> model.verify(np.where(np.arange(32) < 8, np.arange(32) % 2, -1))
    >>> history = model.fit(x, y, epochs=2, verbose=0)
    >>> model.label_weights.num_examples
    32
    """

    takes_unlabeled = False
    whole_set = LabelVerification

    def __init__(
        self,
        backbone: keras.Layer,
        num_classes: int,
        num_examples: int | None = None,
        first_stage_share: float = 0.5,
        refresh_epochs: int = 0,
        num_references: int = 32,
        num_steps: int = 60_000,
        margin: float = 0.1,
        wrong_weight: float = 5.0,
        dropout_rate: float = 0.2,
        seed: int = 0,
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
        self.refresh_epochs = check_integer(refresh_epochs, "refresh_epochs", minimum=0)
        self.num_references = check_integer(num_references, "num_references", minimum=1)
        self.num_steps = check_integer(num_steps, "num_steps", minimum=1)
        self.margin = check_rate(margin, "margin")
        self.wrong_weight = check_positive(wrong_weight, "wrong_weight")
        self.dropout_rate = check_rate(dropout_rate, "dropout_rate")
        self.seed = check_integer(seed, "seed", minimum=0)
        # Each example's row: whether a label was found right, -1 if nobody looked, and
        # which one that was, -1 if it is the one trained on.
        self.verification = ExampleMemory(
            2, num_examples, keras.initializers.Constant(-1.0), name="verification"
        )
        self.label_weights = ExampleMemory(
            1, num_examples, "ones", name="label_weights"
        )

    def verify(self, is_right, labels=None):
        """Tells of the training examples whether their labels are right.

        Args:
            is_right: Ints of shape `(num_examples,)`: 1 where a label was found right,
                0 where it was found wrong, -1 where nobody looked.
            labels: Optional ints of shape `(num_examples,)`: the labels that were
                looked at, where they are not the ones to be trained on; else -1.

        Raises:
            ValueError: If values are out of range, or none was found right, or wrong.
        """
        is_right = check_verification(is_right, len(is_right))
        labels = np.full(len(is_right), -1) if labels is None else np.asarray(labels)
        for memory in self.memories():
            memory.reserve(len(is_right))
        self.verification.rows.assign(np.stack([is_right, labels], axis=1))

    def compile(self, *args, **kwargs):
        """As in all models of the package, on one device alone."""
        refuse_replicas(self)
        super().compile(*args, **kwargs)

    def prepared(self, arguments):
        """As in all models, once there are verification labels."""
        arguments = super().prepared(arguments)
        if np.all(self.verification.rows[:, 0] < 0):
            raise ValueError(
                "CleanNetModel needs verification labels: of some examples, whether "
                "the label that was given is right. Received: none. Review some and "
                "pass them to `verify`; in a run, name the file of the review, "
                "`config.data.corrections`, or, where true labels are known, a share "
                "of the examples, `config.cleannet.verified_share`. Without any, train "
                "keras_ncr.ELRModel."
            )
        return arguments

    def weigh_alike(self):
        """Lets all examples count alike, as in the first stage."""
        self.label_weights.rows.assign(tf.ones_like(self.label_weights.rows))

    def weigh(self, features, labels):
        """Weighs the examples anew.

        Args:
            features: Array of shape `(num_examples, dim)`.
            labels: Ints of shape `(num_examples,)`: the labels trained on.
        """
        is_right, judged = np.transpose(self.verification.rows).astype(int)
        net = CleanNet(
            self.num_classes,
            self.num_references,
            self.num_steps,
            self.margin,
            self.wrong_weight,
            dropout_rate=self.dropout_rate,
            seed=self.seed,
        )
        net.fit(features, labels, is_right, np.where(judged < 0, labels, judged))
        weights = np.maximum(net.similarities(features, labels), 0.0)
        self.label_weights.rows.assign(weights[:, None])

    def supervised_loss(self, x, y, features, logits, sample_weight=None):
        """Returns the compiled loss of examples as they are weighed."""
        weights = self.label_weights(index_of(y))[:, 0] * factors_of(sample_weight)
        return self.compute_loss(x, y, logits, weights, training=True)
