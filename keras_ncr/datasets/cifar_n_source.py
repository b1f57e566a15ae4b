"""CIFAR-10N and CIFAR-100N: the labels that people gave to the images of CIFAR."""

import os
import typing

import numpy as np

from keras_ncr.checks import check_known, check_labels
from keras_ncr.datasets.source import Source
from keras_ncr.datasets.tfds_source import from_tfds

_NUM_TRAIN = 50_000


class _Annotation(typing.NamedTuple):
    """Where labels by people are found, and the share of them that is wrong."""

    builder: str
    key: str
    rate: float


_ANNOTATIONS = {
    "aggregate": _Annotation("cifar10_n", "aggre_label", 0.0901),
    "worst": _Annotation("cifar10_n", "worse_label", 0.4021),
    "random1": _Annotation("cifar10_n", "random_label1", 0.1723),
    "random2": _Annotation("cifar10_n", "random_label2", 0.1812),
    "random3": _Annotation("cifar10_n", "random_label3", 0.1764),
    "fine": _Annotation("cifar100_n", "noise_label", 0.4020),
}


def cifar_n(
    annotation: str,
    split: str = "train",
    data_dir: str | os.PathLike | None = None,
    limit: int | None = None,
    download: bool = True,
    on_error: str = "raise",
) -> Source:
    """Returns CIFAR-10 or CIFAR-100 with the labels of people, as a `Source`.

    `labels` are what people said, `clean_labels` the labels of CIFAR. The test split is
    the one of CIFAR, whose labels are both.

    The labels of people must be wrong as often as the authors' are. Early versions of
    the data set gave them to the wrong images, where nine in ten are wrong.

    Args:
        annotation: String. Of CIFAR-10N, where three people labeled each image:
            `"random1"`, `"random2"`, `"random3"`, one person's label (17.23, 18.12,
            17.64 % wrong); `"aggregate"`, the majority's (9.01 %); `"worst"`, a wrong
            one if there was any (40.21 %). Of CIFAR-100N: `"fine"` (40.20 %).
        split: String. `"train"`, `"test"` or a part of one. Defaults to `"train"`.
        data_dir: As in `from_tfds`.
        limit: As in `from_tfds`.
        download: As in `from_tfds`. The authors' files are fetched by hand; the message
            of the error says which.
        on_error: As in `from_tfds`.

    Returns:
        `Source`.

    Raises:
        ValueError: If there is no such annotation or split, or if the labels are wrong
            more or less often than chance explains.
        FileNotFoundError: If the data set is neither prepared nor can be.

    Reference:
        - [Wei et al., 2022](https://arxiv.org/abs/2110.12088)
        - [The authors' files](https://github.com/UCSC-REAL/cifar-10-100n)

    Example:
    >>> import tensorflow_datasets as tfds
    >>> with tfds.testing.mock_data(num_examples=5):  # random labels, no download
    ...     source = keras_ncr.datasets.cifar_n("worst")
    >>> source.labels.shape, source.clean_labels.shape
    ((5,), (5,))
    """
    check_known(annotation, _ANNOTATIONS, "annotation")
    builder, key, _ = _ANNOTATIONS[annotation]
    is_test = split.split("[")[0] == "test"
    source = from_tfds(
        builder,
        split,
        data_dir,
        limit,
        download,
        label_key="label" if is_test else key,
        clean_label_key="label",
        on_error=on_error,
    )
    if not is_test:
        remedy = (
            "Early versions of the data set gave labels to the wrong images. Update "
            f"`tensorflow-datasets`, delete {builder!r} from the data directory and "
            "prepare it again."
        )
        _check_share_of_wrong_labels(source, annotation, remedy)
    return source


def human_labels(
    path: str | os.PathLike, annotation: str, source: Source, image_order=None
) -> Source:
    """Returns a source of CIFAR's training images with the labels of people.

    For those who have CIFAR and the authors' file, and not the data sets `cifar10_n`
    and `cifar100_n`. The file must be the CSV that the instructions of these make of
    `CIFAR-10_human_ordered.npy` or `CIFAR-100_human_ordered.npy`: a pickle, which could
    run anything when it is loaded.

    The rows of the file are in the order of `from_tfds("cifar10", "train")`. Other
    orders are refused, since the true labels in the file must be those of the source.

    Args:
        path: String or path-like: the CSV file, with a column of the true labels
            `clean_label`, and one of each annotation.
        annotation: As in `cifar_n`.
        source: `Source` of the whole training split. `subset` can take a part of what
            comes back.
        image_order: Optional integer array of shape `(n,)`: the index in the source of
            the image of each row. For a source in the order of CIFAR's own files, such
            as that of `keras.datasets`, it is the authors' `image_order_c10.npy` or
            `image_order_c100.npy`. Defaults to 0 to n - 1.

    Returns:
        `Source` with the images and ids of `source`, other labels, and its labels as
        `clean_labels`.

    Raises:
        ValueError: If the file is not such a CSV or has another number of rows, its
            true labels differ from the source's labels, or the labels of people are
            wrong more or less often than the authors'.

    Reference:
        - [How to make the CSV](https://www.tensorflow.org/datasets/catalog/cifar10_n)

    Example:
    >>> import os, tempfile
    >>> images = np.zeros((4, 32, 32, 3), "uint8")
    >>> source = keras_ncr.datasets.from_arrays(images, [0, 1, 2, 3])
    >>> path = os.path.join(tempfile.mkdtemp(), "CIFAR-10_human_annotations.csv")
    >>> rows, names = [[0, 0], [1, 3], [2, 2], [3, 0]], "clean_label,worse_label"
    >>> np.savetxt(path, rows, "%d", delimiter=",", header=names, comments="")
    >>> noisy = keras_ncr.datasets.human_labels(path, "worst", source)
    >>> noisy.labels, noisy.clean_labels
    (array([0, 3, 2, 0]), array([0, 1, 2, 3]))
    """
    check_known(annotation, _ANNOTATIONS, "annotation")
    clean_labels, labels = _read_columns(
        path, ("clean_label", _ANNOTATIONS[annotation].key), source.num_classes
    )
    if len(labels) != source.num_examples:
        raise ValueError(
            f"`source` must be the whole training split, {len(labels)} examples as "
            f"{os.fspath(path)} has rows. Received: {source.num_examples} examples."
        )
    if image_order is not None:
        rank = _inverse_permutation(image_order, len(labels))
        clean_labels, labels = clean_labels[rank], labels[rank]
    _check_same_images(clean_labels, source, path)
    source = source.relabeled(labels, clean_labels=source.labels)
    remedy = f"Make {os.fspath(path)} anew from the authors' file."
    _check_share_of_wrong_labels(source, annotation, remedy)
    return source


def _read_columns(path, names, num_classes):
    """Integer columns of a CSV file by the names in its first line."""
    try:
        with open(os.path.expanduser(path), encoding="utf-8") as file:
            header = file.readline().strip().split(",")
            table = np.loadtxt(file, delimiter=",", ndmin=2)
        if table.shape[1] != len(header):
            raise ValueError(f"{len(header)} names, but {table.shape[1]} columns")
    except ValueError as error:  # text that is no number, or no text at all
        raise ValueError(
            "`path` must be a CSV file of numbers with one line of names. Received: "
            f"{os.fspath(path)}, which could not be read: {error}. The authors' .npy "
            "files become such a CSV by the instructions in "
            "https://www.tensorflow.org/datasets/catalog/cifar10_n."
        ) from error
    for name in names:
        if name not in header:
            raise ValueError(
                f"`path` must have a column {name!r}. "
                f"Received: {os.fspath(path)} with the columns {header}."
            )
    try:
        return [
            check_labels(table[:, header.index(name)], num_classes, name)
            for name in names
        ]
    except ValueError as error:
        raise ValueError(f"{os.fspath(path)}: {error}") from error


def _inverse_permutation(image_order, num_examples):
    """The row of each index, from the index of each row."""
    image_order = check_labels(image_order, num_examples, "image_order")
    if not np.array_equal(np.sort(image_order), np.arange(num_examples)):
        raise ValueError(
            f"`image_order` must hold each index from 0 to {num_examples - 1} once. "
            f"Received: {len(np.unique(image_order))} different ones among "
            f"{len(image_order)}."
        )
    return np.argsort(image_order)


def _check_same_images(clean_labels, source, path):
    """Raises if the true labels show that rows and images do not go together."""
    differs = clean_labels != source.labels
    if np.any(differs):
        index = int(np.argmax(differs))
        raise ValueError(
            f"`clean_label` in {os.fspath(path)} must be the labels of "
            f"{source.name!r}. Received: {np.sum(differs)} of {len(differs)} that "
            f"differ, the first at index {index} ({clean_labels[index]}, where the "
            f"source has {source.labels[index]}). The rows are in another order: take "
            "the file with `_ordered` in its name and `from_tfds`, or pass "
            "`image_order`."
        )


def _check_share_of_wrong_labels(source, annotation, remedy):
    """Raises if labels are wrong more or less often than the authors' labels."""
    expected = _ANNOTATIONS[annotation].rate
    share = np.mean(source.labels != source.clean_labels)
    # A part is a sample of the split. The whole leaves nothing to chance, only to how
    # the published shares were rounded.
    unseen = max(0, 1 - source.num_examples / _NUM_TRAIN)
    deviation = np.sqrt(expected * (1 - expected) * unseen / source.num_examples)
    tolerance = 0.0005 + 6 * deviation
    if abs(share - expected) > tolerance:
        raise ValueError(
            f"The labels {annotation!r} of {source.name!r} must be wrong for "
            f"{100 * expected:.2f} % of the images, give or take {100 * tolerance:.2f} "
            f"%. Received: {100 * share:.2f} %. {remedy}"
        )
