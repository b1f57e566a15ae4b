"""LongReMix: DivideMix twice, the second time with labels that were long trusted."""

import math

import keras
import numpy as np

from keras_ncr.checks import check_integer
from keras_ncr.models.divide_mix import DivideMixModel
from keras_ncr.models.example_memory import ExampleMemory
from keras_ncr.models.second_stage import check_first_stage_share, check_num_epochs
from keras_ncr.models.weight_average import copy_of, copy_weights


@keras.saving.register_keras_serializable(package="keras_ncr")
class LongReMixModel(DivideMixModel):
    """Two networks trained by DivideMix in two stages: to find labels, and on them.

    In the first stage a label is only trusted if the division has trusted it in each of
    the last `confident_epochs` epochs, those of warm-up too. In the second stage, for
    which both networks start again from the weights they had at first, both trust for
    sure the labels that the first network trusted in the epoch of the first stage's
    second half in which these were most; other labels are divided as in DivideMix.

    It differs from the authors' code in that: both stages belong to one `fit`, with one
    optimizer, where theirs are two programs, the first with a constant learning rate
    and the second with one that is divided by 10 in its middle; in warm-up each network
    has its own history, where both have the first one's there; and in what
    `DivideMixModel` differs: trusted labels that are few are not drawn more often.

    `fit` on arrays does all by itself. On a `tf.data.Dataset`, pass what a
    `DivideMixModel` wants. `confidence.rows`, of shape `(num_examples, 3)`, has for how
    many epochs in a row each network has trusted a label, and 1 for the labels that the
    second stage trusts. The weights that networks start from are saved with the model.

    Args:
        backbones: As in `NetworkPair`; Keras must be able to save and load them.
        num_classes: As in `NetworkPair`.
        num_examples: As in `DivideMixModel`.
        first_stage_share: Float in [0, 1): the share of the epochs of `fit` that comes
            first. 0 leaves plain DivideMix. Defaults to 0.5; the authors have 300
            epochs of 600.
        confident_epochs: Int, at least 1: epochs in a row in which a label must be
            trusted. Defaults to 5, the authors'.
        **kwargs: As in `DivideMixModel`: `warmup_epochs`, for example, of each stage.

    Raises:
        ValueError: As `DivideMixModel`; and if a backbone cannot be copied.

    Reference:
        - [Cordeiro et al., 2023](https://arxiv.org/abs/2103.04173)

    Example:
    >>> backbones = [
    ...     keras.Sequential([keras.layers.Dense(16, activation="relu")])
    ...     for _ in range(2)
    ... ]
    >>> model = keras_ncr.models.LongReMixModel(backbones, 3, warmup_epochs=1)
    >>> model.compile(
    ...     optimizer="sgd",
    ...     loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    ... )
    >>> x, y = np.random.default_rng(0).normal(size=(32, 5)), np.arange(32) % 3
    >>> history = model.fit(x, y, epochs=6, verbose=0)
    >>> model.is_second_stage, tuple(model.confidence.rows.shape)
    (True, (32, 3))
    """

    def __init__(
        self,
        backbones: list,
        num_classes: int,
        num_examples: int | None = None,
        first_stage_share: float = 0.5,
        confident_epochs: int = 5,
        **kwargs,
    ):
        super().__init__(backbones, num_classes, num_examples, **kwargs)
        self.first_stage_share = check_first_stage_share(first_stage_share)
        self.confident_epochs = check_integer(
            confident_epochs, "confident_epochs", minimum=1
        )
        self.confidence = ExampleMemory(3, num_examples, name="confidence")
        self.starts = [copy_of(network) for network in self.networks]
        self.is_second_stage = self.is_counted = False
        self.num_divisions = 0

    def build(self, input_shape):
        super().build(input_shape)
        for start in self.starts:
            start.build(input_shape)
            # Once more, for layers that were not there before.
            start.trainable = False

    def begin_epoch(self, epoch, num_epochs=None):
        """As in `DivideMixModel`; sets the stage too, and starts the second anew."""
        num_epochs = check_num_epochs(num_epochs)
        second = math.ceil(self.first_stage_share * num_epochs)
        pairs = zip(self.networks, self.starts, strict=True)
        if epoch == 0:
            self.confidence.rows.assign(np.zeros(self.confidence.rows.shape))
            for network, start in pairs:
                copy_weights(network, start)
        elif epoch == second:
            for network, start in pairs:
                copy_weights(start, network)
        self.is_second_stage = epoch >= second
        self.is_counted = epoch >= second / 2
        epoch -= second if self.is_second_stage else 0
        num_divisions = super().begin_epoch(epoch)
        if not self.is_second_stage:
            # Those of warm-up count, once there has been some training.
            num_divisions = epoch - min(1, self.warmup_epochs)
        self.num_divisions = num_divisions
        return None if num_divisions == -1 else num_divisions

    def divide(self, losses, is_first=False):
        """As in `DivideMixModel`; then trusts what the stage does."""
        super().divide(losses, is_first)
        trust = self.clean_probabilities.rows.numpy()
        confidence = self.confidence.rows.numpy()
        streaks, chosen = confidence[:, :2], confidence[:, 2:]
        if self.is_second_stage:
            self.clean_probabilities.rows.assign(np.where(chosen, 1.0, trust))
            return
        streaks = np.where(trust > self.threshold, streaks + 1, 0)
        is_confident = streaks >= min(self.confident_epochs, self.num_divisions + 1)
        # The latest of several sets of one size counts, as in the released code.
        if self.is_counted and is_confident[:, 0].sum() >= chosen.sum():
            chosen = is_confident[:, :1]
        self.confidence.rows.assign(np.concatenate([streaks, chosen], axis=1))
        self.clean_probabilities.rows.assign(np.where(is_confident, trust, 0.0))
