"""The record of what training saw: clean labels, noisy labels, example ids."""

import dataclasses
import hashlib
import os
import zipfile
import zlib
from typing import Self

import numpy as np

from keras_ncr.checks import check_clean_labels, check_ids, check_labels
from keras_ncr.files import replacing

_FORMAT = "keras_ncr.NoisyLabels.1"
# What NumPy and zipfile raise on truncated, changed or foreign files.
_READ_ERRORS = (
    EOFError,
    KeyError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    zipfile.BadZipFile,
    zlib.error,
)


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class NoisyLabels:
    """The saved record of the labels of a training set, example by example.

    The arrays are copied and made read-only. The record can be kept in a file that
    loads without pickle and that is checked against its hash.

    Args:
        clean_labels: Integers of shape `(n,)`: the true labels. -1 stands for a label
            that is known to be wrong while the true one is not known, or none of the
            classes. `None` if nothing is known.
        noisy_labels: Integers of shape `(n,)`: the labels that training sees.
        ids: Optional integers or strings of shape `(n,)`, all different: which example
            each label belongs to. `None`, the default, stands for the positions
            0 to n - 1.

    Raises:
        ValueError: If a label is not a class number, the lengths differ, or `ids` are
            neither integers nor strings, or not all different.

    Example:
    >>> record = keras_ncr.noise.NoisyLabels([0, 1, 2, 2], [0, 1, 2, 0])
    >>> record.is_noisy
    array([False, False, False,  True])
    >>> record.realized_rate
    0.25
    """

    clean_labels: np.ndarray | None
    noisy_labels: np.ndarray
    ids: np.ndarray | None = None

    def __post_init__(self):
        """Checks the arrays and replaces them with read-only copies."""
        clean = self.clean_labels
        if clean is not None:
            clean = check_clean_labels(clean)
        noisy = check_labels(self.noisy_labels, name="noisy_labels")
        if clean is not None and len(clean) != len(noisy):
            raise ValueError(
                "`clean_labels` and `noisy_labels` must have the same length. "
                f"Received: {len(clean)} and {len(noisy)} labels."
            )
        ids = None if self.ids is None else check_ids(self.ids, len(noisy))
        for name, array in zip(_FIELDS, (clean, noisy, ids), strict=True):
            if array is not None:
                array.setflags(write=False)
            # The only way to set a field of a frozen dataclass.
            object.__setattr__(self, name, array)

    def __len__(self):
        return len(self.noisy_labels)

    def __repr__(self):
        rate = self.realized_rate
        return (
            f"NoisyLabels(num_examples={len(self)}, "
            f"realized_rate={rate if rate is None else f'{rate:.4f}'}, "
            f"hash='{self.hash}')"
        )

    @property
    def is_noisy(self) -> np.ndarray | None:
        """Bool array of shape `(n,)`: the label is wrong (not "was drawn").

        A clean label of -1 makes it wrong. None if nothing is known.
        """
        if self.clean_labels is None:
            return None
        return self.clean_labels != self.noisy_labels

    @property
    def realized_rate(self) -> float | None:
        """Float in [0, 1]: the share of all labels that ended up wrong, or None."""
        return None if self.clean_labels is None else float(np.mean(self.is_noisy))

    @property
    def hash(self) -> str:
        """SHA-256 of labels and ids in hexadecimal, the same on every machine."""
        return _sha256(self.clean_labels, self.noisy_labels, self.ids)

    def transition_matrix(self, num_classes: int) -> np.ndarray:
        """Returns the realized transition matrix: shares of noisy by clean label.

        Args:
            num_classes: Int. Must exceed every label.

        Returns:
            Float64 array of shape `(num_classes, num_classes)`. Entry `[i, j]` is the
            share of examples of clean class i that carry label j. Rows sum to 1; the
            row of a class without examples is all zeros. Examples whose clean label
            is -1 count in no row.

        Raises:
            ValueError: If a label is `num_classes` or more, or the clean labels are
                not known.

        Example:
        >>> keras_ncr.noise.NoisyLabels([0, 0, 1, 1], [0, 1, 1, 1]).transition_matrix(2)
        array([[0.5, 0.5],
               [0. , 1. ]])
        """
        if self.clean_labels is None:
            raise ValueError(
                "The transition matrix counts labels by their true class, which this "
                "record does not know. Received: clean_labels=None."
            )
        clean = check_clean_labels(self.clean_labels, num_classes)
        noisy = check_labels(self.noisy_labels, num_classes, "noisy_labels")
        clean, noisy = clean[clean >= 0], noisy[clean >= 0]
        cells = np.bincount(clean * num_classes + noisy, minlength=num_classes**2)
        counts = cells.reshape(num_classes, num_classes).astype(np.float64)
        return counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)

    def save(self, path: str | os.PathLike):
        """Writes the record to `path` as .npz, with its hash.

        A reader sees the old file or the new one, never half a file.

        Args:
            path: String or path-like: the file, used as it is (by habit `noise.npz`).
                Its directory must exist.

        Raises:
            NotWritten: An `OSError`, if it cannot be written. The old file stays.

        Example:
        >>> import os, tempfile
        >>> path = os.path.join(tempfile.mkdtemp(), "noise.npz")
        >>> record = keras_ncr.noise.NoisyLabels([0, 1, 1], [0, 1, 0])
        >>> record.save(path)
        >>> keras_ncr.noise.NoisyLabels.load(path).noisy_labels
        array([0, 1, 0])
        """
        arrays = {
            "format": np.array(_FORMAT),
            "hash": np.array(self.hash),
            **{name: getattr(self, name) for name in _FIELDS},
        }
        # `load` takes a missing array for None.
        arrays = {name: array for name, array in arrays.items() if array is not None}
        with (
            replacing(os.path.expanduser(path)) as temporary,
            open(temporary, "wb") as file,
        ):
            np.savez_compressed(file, **arrays)

    @classmethod
    def load(cls, path: str | os.PathLike) -> Self:
        """Returns the record that `save` wrote to `path`, after checking its hash.

        Args:
            path: String or path-like: the file.

        Returns:
            A `NoisyLabels`.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If the file is truncated, was changed after it was saved, or
                is something else.
        """
        # Outside of `try`: a file that is missing or may not be read is not damaged.
        with open(os.path.expanduser(path), "rb") as stream:
            try:
                return cls._read(stream)
            except _READ_ERRORS as error:
                raise ValueError(
                    "`path` must be a file written by `NoisyLabels.save`, unchanged. "
                    f"Received: {os.fspath(path)}, which could not be read: {error}. "
                    "Restore it from a backup, or delete it and draw the labels again "
                    "with the same seed."
                ) from error

    @classmethod
    def _read(cls, stream):
        """Returns the record in an open file; damage raises one of `_READ_ERRORS`."""
        with np.load(stream, allow_pickle=False) as file:
            if str(file["format"]) != _FORMAT:
                raise ValueError(f"its format is {file['format']}")
            record = cls(*(file[name] if name in file else None for name in _FIELDS))
            if str(file["hash"]) != record.hash:
                raise ValueError("its contents do not match the hash it carries")
        return record


_FIELDS = tuple(field.name for field in dataclasses.fields(NoisyLabels))


def _sha256(clean_labels, noisy_labels, ids):
    """Hashes fixed byte layouts, since dtypes and byte orders differ by machine."""
    digest = hashlib.sha256(f"{_FORMAT} {len(noisy_labels)}".encode())
    for labels in (clean_labels, noisy_labels):
        if labels is None:
            digest.update(b"no clean labels")
        else:
            digest.update(labels.astype("<i8").tobytes())
    if ids is None:
        digest.update(b"no ids")
    elif ids.dtype.kind == "i":
        digest.update(b"int ids" + ids.astype("<i8").tobytes())
    else:
        encoded = [text.encode() for text in ids.tolist()]
        # Lengths go in too, or ["ab", "c"] and ["a", "bc"] would hash alike.
        lengths = np.array([len(text) for text in encoded], "<i8")
        digest.update(b"str ids" + lengths.tobytes() + b"".join(encoded))
    return digest.hexdigest()
