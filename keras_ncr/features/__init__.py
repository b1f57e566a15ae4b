"""Features of whole data sets: extraction, nearest neighbors, label propagation."""

from keras_ncr.features.extraction import features_and_logits_model, features_of
from keras_ncr.features.feature_cache import extract
from keras_ncr.features.figure_logger import FigureLogger
from keras_ncr.features.label_propagation import propagate_labels
from keras_ncr.models.nearest import nearest_neighbors

__all__ = [
    "FigureLogger",
    "extract",
    "features_and_logits_model",
    "features_of",
    "nearest_neighbors",
    "propagate_labels",
]
