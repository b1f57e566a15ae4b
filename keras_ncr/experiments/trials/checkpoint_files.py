"""The files of checkpoints: keeps the newest two, passes over damaged ones."""

import contextlib
import pathlib
import re
import warnings
from typing import NamedTuple

import numpy as np

from keras_ncr.files import WRITING, NotWritten, replacing

_NAME = "epoch-{:06d}-step-{:06d}.npz"
# The arrays of all other arrays' names, and of the position.
_NAMES, _POSITION = "names", "position"
_PATTERN = re.compile(r"epoch-(\d{6,})-step-(\d{6,})\.npz")


class Position(NamedTuple):
    """How far a trial has come."""

    epoch: int  # How many epochs are done.
    step: int  # How many steps are done of the one after them.


class CheckpointFiles:
    """The checkpoints of a trial: files with the position in them and in the name."""

    # Position and content can never disagree, as in the two files of Keras' own
    # callback.

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        # Those known to be whole, the newest first: two at most.
        self.whole = []

    def positions(self):
        """Returns the positions of all files there, whole or not, the newest first."""
        matches = (_PATTERN.fullmatch(path.name) for path in self.folder.glob("*"))
        return sorted(
            (Position(*map(int, match.groups())) for match in matches if match),
            reverse=True,
        )

    def path(self, position):
        """Returns the path of the file of a position."""
        return self.folder / _NAME.format(*position)

    def save(self, position, arrays):
        """Writes a dict of arrays, and removes what is older than the one before."""
        path = self.path(position)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise NotWritten(path, error) from error
        with replacing(path) as temporary:
            # In a tenth of `save_weights`' time, which counts where epochs are short.
            record = {_NAMES: list(arrays), _POSITION: position}
            np.savez(temporary, **record, **arrays)
        older = [other for other in self.whole if other != position]
        self.whole = [position, *older][:2]
        self._remove_all_but([self.path(other) for other in self.whole])

    def _remove_all_but(self, kept):
        """Removes checkpoints, also those whose writing was cut off."""
        for path in self.folder.glob("*"):
            name = path.name.removeprefix(WRITING)
            if _PATTERN.fullmatch(name) and path not in kept:
                # A file too many is no reason to end a run.
                with contextlib.suppress(OSError):
                    path.unlink()

    def load(self):
        """Returns position and arrays of the newest file that is whole."""
        positions = self.positions()
        for position in positions:
            path = self.path(position)
            try:
                arrays = _read(path, position)
            # NumPy may raise anything on a damaged file.
            except Exception as error:
                warnings.warn(
                    f"The checkpoint {path} is not whole and is passed over: {error!r}",
                    stacklevel=2,
                )
            else:
                self.whole = [position]
                return position, arrays
        if positions:
            warnings.warn(
                f"No checkpoint in {self.folder} is whole. The trial starts anew.",
                stacklevel=2,
            )
        return None

    def clear(self):
        """Removes the checkpoints of a trial that is finished."""
        self._remove_all_but([])
        with contextlib.suppress(OSError):  # It holds other files, or is not there.
            self.folder.rmdir()


def _read(path, position):
    """Returns the arrays of a file, or raises if any of it is damaged."""
    # NumPy leaves a file open that it does not recognize.
    with open(path, "rb") as stream, np.load(stream) as file:
        # Reading to the end of an array compares its checksum.
        arrays = {name: file[name] for name in file.files}
    saved = arrays.pop(_POSITION)
    # The table of contents has no checksum.
    if list(arrays.pop(_NAMES)) != list(arrays):
        raise ValueError("Arrays are missing.")
    if tuple(saved) != position:
        raise ValueError(f"It is of epoch {saved[0]}, step {saved[1]}.")
    return arrays
