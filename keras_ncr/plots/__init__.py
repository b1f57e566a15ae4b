"""Figures of data, of training, of memorized labels, and of audits.

Each function takes arrays and returns a `matplotlib.figure.Figure`, which a notebook
shows and `figure.savefig("picture.png")` writes.
"""

from keras_ncr.plots.audit import audit_figure
from keras_ncr.plots.comparison import comparison_figure, sweep_figure
from keras_ncr.plots.data import augmentation_figure, class_count_figure, contact_sheet
from keras_ncr.plots.memorization import (
    confidence_comparison_figure,
    confidence_figure,
    memorization_figure,
)
from keras_ncr.plots.similarity import similarity_figure
from keras_ncr.plots.training import training_figure
from keras_ncr.plots.transitions import (
    transition_matrices_figure,
    transition_matrix_figure,
)

__all__ = [
    "audit_figure",
    "augmentation_figure",
    "class_count_figure",
    "comparison_figure",
    "confidence_comparison_figure",
    "confidence_figure",
    "contact_sheet",
    "memorization_figure",
    "similarity_figure",
    "sweep_figure",
    "training_figure",
    "transition_matrices_figure",
    "transition_matrix_figure",
]
