"""Tests of audit/growing_array.py: rows of many batches, as if put together at once."""

import numpy as np
import pytest

from keras_ncr.audit.growing_array import GrowingArray


@pytest.mark.parametrize("sizes", [[1], [3, 3, 3], [1, 50, 2, 1, 1], [0, 4, 0], [0]])
@pytest.mark.parametrize("shape", [(), (2,), (2, 3)])
def test_rows_are_those_of_all_batches(sizes, shape):
    rng = np.random.default_rng(0)
    batches = [rng.normal(size=(size, *shape)).astype("float32") for size in sizes]
    rows = GrowingArray()
    for batch in batches:
        rows.append(batch)
    finished = rows.finished()
    np.testing.assert_array_equal(finished, np.concatenate(batches))
    assert finished.dtype == "float32"


def test_no_room_is_left_over():
    rows = GrowingArray()
    for _ in range(20):
        rows.append(np.zeros((7, 4), "float16"))
    assert rows.finished().nbytes == 20 * 7 * 4 * 2
    assert rows.array.base is None  # Not a view of something larger.
