"""Examples without a label, which is -1: told apart, and put beside others."""

import dataclasses

import numpy as np
import tensorflow as tf

from keras_ncr.datasets.source import Source, read_by_index


def parts_by_label(source: Source) -> tuple[Source, Source | None]:
    """Returns the examples that have a label, and those that have none or `None`."""
    has_label = source.labels >= 0
    if has_label.all():
        return source, None
    return (
        source.subset(np.flatnonzero(has_label)),
        source.subset(np.flatnonzero(~has_label), f"{source.name}/unlabeled"),
    )


def with_unlabeled(source: Source, unlabeled: Source) -> Source:
    """Returns a source with the examples of another behind its own, all without label.

    Args:
        source: `keras_ncr.datasets.Source`. Its examples keep their index.
        unlabeled: `Source` of inputs of the same kind, with other ids. Its labels do
            not matter.

    Returns:
        `Source` with the label -1 for the examples of the other.

    Raises:
        ValueError: If inputs are of different kinds, or an id is in both.

    Example:
    >>> train, test = keras_ncr.datasets.digits()
    >>> few, others = train.subset(range(100)), train.subset(range(100, 1437))
    >>> both = keras_ncr.datasets.with_unlabeled(few, others)
    >>> both.num_examples, int(np.sum(both.labels == -1))
    (1437, 1337)
    """
    specs = [part.dataset.element_spec["inputs"] for part in (source, unlabeled)]
    if specs[0] != specs[1]:
        raise ValueError(
            f"`unlabeled` must have inputs as {source.name!r} has. Received: "
            f"{specs[1]}, and there {specs[0]}."
        )
    ids = np.concatenate([source.ids, unlabeled.ids])
    if len(set(ids.tolist())) < len(ids):
        raise ValueError(
            f"`unlabeled` must hold other examples than {source.name!r}. Received: "
            f"{len(ids) - len(set(ids.tolist()))} ids that are in both."
        )
    start = source.num_examples
    none = np.full(unlabeled.num_examples, -1)
    labels, clean_labels = np.concatenate([source.labels, none]), None
    if source.clean_labels is not None:
        clean_labels = np.concatenate([source.clean_labels, none])
    read_image = None
    if source.read_image is None or unlabeled.read_image is None:

        def renumber(example):
            return {
                **example,
                "label": tf.constant(-1, tf.int64),
                "index": example["index"] + start,
            }

        dataset = source.dataset.concatenate(unlabeled.dataset.map(renumber))
    else:

        def read_image(index):
            return tf.cond(
                index < start,
                lambda: source.read_image(index),
                lambda: unlabeled.read_image(index - start),
            )

        dataset = read_by_index(read_image, labels)
    return dataclasses.replace(
        source,
        dataset=dataset,
        labels=labels,
        ids=ids,
        clean_labels=clean_labels,
        read_image=read_image,
    )
