"""The paper's loss, and the losses for wrong labels that it is compared with."""

from keras_ncr.losses.bootstrap import HardBootstrap, SoftBootstrap
from keras_ncr.losses.consistency import NeighborConsistencyLoss, neighbor_consistency
from keras_ncr.losses.jensen_shannon import JensenShannon
from keras_ncr.losses.mutual_information import DeterminantMutualInformation
from keras_ncr.losses.pass_through import PassThrough
from keras_ncr.losses.robust import GeneralizedCrossEntropy, SymmetricCrossEntropy

__all__ = [
    "DeterminantMutualInformation",
    "GeneralizedCrossEntropy",
    "HardBootstrap",
    "JensenShannon",
    "NeighborConsistencyLoss",
    "PassThrough",
    "SoftBootstrap",
    "SymmetricCrossEntropy",
    "neighbor_consistency",
]
