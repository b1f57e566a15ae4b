"""One array of many batches, whose number is not known before the last has come."""

import numpy as np


class GrowingArray:
    """An array to which rows are added, without a second copy of all at the end.

    Batches in a list would be held twice while they are put together, which a million
    examples have no room for.

    Example:
    >>> from keras_ncr.audit.growing_array import GrowingArray
    >>> rows = GrowingArray()
    >>> for batch in ([[1, 2]], [[3, 4], [5, 6]]):
    ...     rows.append(np.array(batch))
    >>> rows.finished()
    array([[1, 2],
           [3, 4],
           [5, 6]])
    """

    def __init__(self):
        self.array, self.count = None, 0

    def append(self, batch):
        """Adds rows.

        Args:
            batch: Array of shape `(size, ...)`, of the shape and dtype of all others.
        """
        if self.array is None:
            self.array = np.empty((0, *batch.shape[1:]), batch.dtype)
        end = self.count + len(batch)
        if end > len(self.array):
            # In place: the system moves large blocks without copying them.
            self._resize(max(end, len(self.array) * 5 // 4))
        self.array[self.count : end] = batch
        self.count = end

    def finished(self):
        """Returns the array of all rows, to which no more can be added."""
        self._resize(self.count)
        return self.array

    def _resize(self, size):
        # No view of the array was given away yet, which NumPy cannot know.
        self.array.resize((size, *self.array.shape[1:]), refcheck=False)
