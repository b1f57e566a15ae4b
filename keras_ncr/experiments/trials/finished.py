"""What a finished trial left: whether all of it is there, and whole."""

import zipfile

import numpy as np

from keras_ncr.experiments import workdir

_FILES = ("history.csv", "confidence.npy", "model.keras")
_MEASURES = ("last_test_accuracy", "best_test_accuracy", "final_tests")


def finished_result(folder, num_epochs, num_examples):
    """Returns the result of a trial that ended, else None, and its missing files."""
    path = folder / "result.json"
    if not path.exists():
        return None, []
    remedy = f"Remove {folder}: the same command trains that trial again."
    with workdir.damage_named(path, remedy):
        result = workdir.read_dict(path)
        if "failed" in result:
            return result, []
        for measure in _MEASURES:
            result[measure]  # Raises if it is not there.
    gone = [name for name in _FILES if not (folder / name).exists()]
    if gone:
        return result, gone
    workdir.read_history(folder / "history.csv", num_epochs)
    with workdir.damage_named(folder / "confidence.npy", remedy):
        confidence = np.load(folder / "confidence.npy")
        if confidence.shape != (num_examples,):
            raise ValueError(f"it is of shape {confidence.shape}")
    with (
        workdir.damage_named(folder / "model.keras", remedy),
        zipfile.ZipFile(folder / "model.keras") as file,
    ):
        damaged = file.testzip()  # Compares checksums.
        if damaged:
            raise ValueError(f"{damaged} in it has changed")
    return result, []
