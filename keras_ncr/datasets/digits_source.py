"""Handwritten digits that scikit-learn ships: a data set without a download."""

import numpy as np

from keras_ncr.datasets.array_source import from_arrays
from keras_ncr.datasets.source import Source


def digits() -> tuple[Source, Source]:
    """Returns scikit-learn's digits as a training and a test `Source`.

    1,797 gray images of 8 x 8 pixels, split into 1,437 for training and 360 for
    testing by scikit-learn's `train_test_split(test_size=0.2, random_state=0)`,
    stratified by class. Pixels are brought from scikit-learn's 0 to 16 to 0 to 255. An
    example's id is its position in scikit-learn's data set.

    Returns:
        Tuple `(train, test)` of `Source`.

    Reference:
        - [The data set in scikit-learn](https://scikit-learn.org/stable/modules/generated/sklearn.datasets.load_digits.html)

    Example:
    >>> train, test = keras_ncr.datasets.digits()
    >>> train.num_examples, test.num_examples
    (1437, 360)
    """
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    data = load_digits()
    images = np.round(data.images[..., None] * (255 / 16)).astype(np.uint8)
    splits = train_test_split(
        np.arange(len(images)), test_size=0.2, random_state=0, stratify=data.target
    )
    return tuple(
        from_arrays(
            images[positions],
            data.target[positions],
            num_classes=10,
            ids=positions,
            name=f"digits/{split}",
        )
        for split, positions in zip(("train", "test"), splits, strict=True)
    )
