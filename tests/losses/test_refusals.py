"""What each loss refuses, and how it says so."""

import re

import numpy as np
import pytest
from label_losses import LOGITS

from keras_ncr.losses import (
    DeterminantMutualInformation,
    GeneralizedCrossEntropy,
    HardBootstrap,
    JensenShannon,
    NeighborConsistencyLoss,
    SoftBootstrap,
    SymmetricCrossEntropy,
    neighbor_consistency,
)

NAN, INF = float("nan"), float("inf")
LABEL_LOSSES = [
    DeterminantMutualInformation,
    GeneralizedCrossEntropy,
    HardBootstrap,
    JensenShannon,
    SoftBootstrap,
    SymmetricCrossEntropy,
]
DIRECTIONS = r"one of \['self_to_neighbors', 'neighbors_to_self'\]"
REFUSED = [
    (NeighborConsistencyLoss, "num_neighbors", [0, -1, 2.5, True, "10"], "1.* `None`"),
    (
        NeighborConsistencyLoss,
        "rows_per_block",
        [0, -1, 2.5, True, "8"],
        "`None` .*row",
    ),
    (NeighborConsistencyLoss, "temperature", [0, NAN, INF, -1, None], "a positive, "),
    (NeighborConsistencyLoss, "similarity_power", [0, True], "a positive, "),
    (NeighborConsistencyLoss, "direction", ["x", None], DIRECTIONS),
    (NeighborConsistencyLoss, "direction", ["self_to_neighbours"], "mean 'self_to_nei"),
    (NeighborConsistencyLoss, "queue_size", [-1, None, 2.5], "at least 0"),
    (NeighborConsistencyLoss, "cross_replica", [1], "True or False"),
    (SoftBootstrap, "weight", [-0.1, 1.1, NAN, "0.5", True], ""),
    (SoftBootstrap, "temperature", [0], "positive"),
    (SoftBootstrap, "stop_gradient", [1], "True or False"),
    (SoftBootstrap, "from_logits", ["no"], "True or False"),
    (HardBootstrap, "weight", [-0.1, 1.1, NAN, "0.5", True], ""),
    (GeneralizedCrossEntropy, "q", [0, -1, 1.01, NAN, "0.7", None], ""),
    (SymmetricCrossEntropy, "log_zero", [0, 4, -INF, NAN, "-4", None], "a negative"),
    (SymmetricCrossEntropy, "cross_entropy_weight", [0], "positive"),
    (SymmetricCrossEntropy, "reverse_weight", [0], "positive"),
    (JensenShannon, "label_weight", [0, 1, -0.5, 1.5, NAN, "0.5"], ""),
    (JensenShannon, "num_views", [0, 1.5, None], ""),
    *[
        (loss, "dtype", ["float16", "bfloat16", None], "one of")
        for loss in LABEL_LOSSES
    ],
]


@pytest.mark.parametrize("loss, argument, values, words", REFUSED)
def test_arguments_out_of_range_are_refused(loss, argument, values, words):
    for value in values:
        with pytest.raises(ValueError, match=f"`{argument}` must be ") as error:
            loss(**{argument: value})
        assert f"Received: {argument}={value!r}" in str(error.value)
        assert re.search(words, str(error.value))


def test_a_queue_of_one_replica_is_refused():
    message = "`queue_size` must be 0 with cross_replica=False.* queue_size=8"
    with pytest.raises(ValueError, match=message):
        NeighborConsistencyLoss(cross_replica=False, queue_size=8)


@pytest.mark.parametrize(
    "features_shape, logits_shape",
    [((4, 2, 2, 3), (4, 3)), ((4,), (4, 3)), ((4, 2), (4,)), ((4, 2), (5, 3))],
)
def test_features_and_logits_that_do_not_fit_are_refused(features_shape, logits_shape):
    features, logits = np.ones(features_shape), np.ones(logits_shape)
    for function in [NeighborConsistencyLoss(), neighbor_consistency]:
        with pytest.raises(ValueError, match="`features` must have shape") as error:
            function(features, logits)
        assert f"features.shape={features_shape}" in str(error.value)
        assert f"logits.shape={logits_shape}" in str(error.value)
        assert "GlobalAveragePooling2D" in str(error.value)


@pytest.mark.parametrize("loss", LABEL_LOSSES)
@pytest.mark.parametrize(
    "labels, logits",
    [
        (np.zeros((6, 3)), LOGITS),
        (np.zeros((6, 1, 1)), LOGITS),
        (np.zeros(1), LOGITS),
        (np.zeros(()), LOGITS),
        (np.zeros(6), LOGITS[0]),
        (np.zeros((6, 2)), LOGITS[:, None]),
    ],
    ids=lambda values: str(values.shape),
)
def test_labels_and_logits_that_do_not_fit_are_refused(loss, labels, logits):
    message = r"`y_true` \(batch,\).*Received: y_pred.shape"
    with pytest.raises(ValueError, match=message):
        loss()(labels, logits)
