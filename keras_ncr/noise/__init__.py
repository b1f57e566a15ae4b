"""Label noise as data: one wrong or right label per example, fixed by seed and key."""

from keras_ncr.noise.instance_noise import InstanceDependentNoise
from keras_ncr.noise.label_noise import LabelNoise
from keras_ncr.noise.noisy_labels import NoisyLabels
from keras_ncr.noise.transition_matrices import asymmetric, pair_flip, symmetric

__all__ = [
    "InstanceDependentNoise",
    "LabelNoise",
    "NoisyLabels",
    "asymmetric",
    "pair_flip",
    "symmetric",
]
