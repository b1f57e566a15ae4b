"""Whether a `tf.data.Dataset` gives its examples in the same order in each pass."""

import tensorflow as tf


def check_fixed_order(dataset: tf.data.Dataset, name: str) -> None:
    """Raises if a data set is shuffled, or read in another order, in each pass."""
    # What is said of examples by position would then go to others. What a generator or
    # a file gives in another order is not seen.
    if dataset.options().deterministic is False or _changes_order(dataset):
        raise ValueError(
            f"`{name}` must give its examples in the same order in each pass. "
            "Received: a data set that is shuffled anew each time (or read with "
            "`deterministic=False`), so that labels and ids would go to other "
            "examples. Leave shuffling to training: `shuffle=False` in "
            "`keras.utils.image_dataset_from_directory`, no `.shuffle(...)`; or one "
            "order for ever, by `reshuffle_each_iteration=False`."
        )


def _changes_order(dataset):
    """Returns whether a data set, or one that it is made from, changes its order."""
    # TensorFlow has no public names for these.
    kind = type(dataset).__name__
    if kind == "CacheDataset":  # It remembers the order of the first pass.
        return False
    is_fixed = getattr(dataset, "_reshuffle_each_iteration", None) is False
    if kind == "_ShuffleDataset" and not is_fixed:
        return True
    if getattr(dataset, "_deterministic", None) == "false":
        return True
    return any(map(_changes_order, getattr(dataset, "_inputs", tuple)()))
