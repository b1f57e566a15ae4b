"""The paper's loss, and the losses for wrong labels that it is compared with."""

from keras_ncr.losses.consistency import NeighborConsistencyLoss, neighbor_consistency

__all__ = ["NeighborConsistencyLoss", "neighbor_consistency"]
