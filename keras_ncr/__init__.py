"""Training on wrong labels with Neighbor Consistency Regularization, in Keras."""

import os
import sys

__version__ = "0.1.0"


def _starts_the_command():
    """Whether this process is `keras-ncr`, or `python -m keras_ncr`."""
    if sys.argv[:1] == ["-m"]:  # Python is still looking for the module.
        return sys.orig_argv[-len(sys.argv)] == "keras_ncr"
    return os.path.basename("".join(sys.argv[:1])) == "keras-ncr"


# A program gets everything at once: Keras loads a saved model only if its classes are
# registered. The command answers `--help` and typing errors before it imports Keras;
# for a subcommand it changes `sys.argv` and reloads this file (cli/main.py).
if not _starts_the_command():
    try:
        import keras
    except ModuleNotFoundError as error:
        # Another backend is configured, and it is not even installed.
        raise ImportError(
            f"keras_ncr needs Keras on the TensorFlow backend. Received: {error}. "
            "Install TensorFlow, and set the environment variable "
            "KERAS_BACKEND=tensorflow."
        ) from error

    if keras.backend.backend() != "tensorflow":
        raise ImportError(
            "keras_ncr needs Keras on the TensorFlow backend. "
            f"Received: backend={keras.backend.backend()!r}. Set the environment "
            "variable KERAS_BACKEND=tensorflow before Keras is imported, or `backend` "
            "in the file keras.json of its configuration folder."
        )

    from keras_ncr import (
        backbones,
        datasets,
        distribution,
        features,
        losses,
        models,
        noise,
        pipelines,
        plots,
        review,
    )

    # The function takes the place of the package of the same name.
    from keras_ncr.audit import audit, audit_predictions, find_wrong_labels
    from keras_ncr.losses import NeighborConsistencyLoss
    from keras_ncr.models import ELRModel, NCRClassifier, NCRModel

__all__ = [
    "ELRModel",
    "NCRClassifier",
    "NCRModel",
    "NeighborConsistencyLoss",
    "audit",
    "audit_predictions",
    "backbones",
    "datasets",
    "distribution",
    "features",
    "find_wrong_labels",
    "losses",
    "models",
    "noise",
    "pipelines",
    "plots",
    "review",
]
