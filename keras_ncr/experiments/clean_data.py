"""What `keras-ncr clean` is given: pictures, or features, with their labels."""

import dataclasses
import os
import pathlib

from keras_ncr import datasets

_TABLES = (".csv", ".tsv", ".parquet")


@dataclasses.dataclass(frozen=True)
class CleanData:
    """The examples whose labels are looked at.

    Args:
        source: `keras_ncr.datasets.Source` of images or features.
        folder: Optional `pathlib.Path` of the folder that ids start from, if they are
            paths of pictures.
        has_class_folders: Bool: whether that folder holds a folder for each class.

    Example:
    >>> from keras_ncr.experiments.clean_data import CleanData
    >>> train, _ = keras_ncr.datasets.digits()
    >>> CleanData(train).words
    'pictures'
    """

    source: datasets.Source
    folder: pathlib.Path | None = None
    has_class_folders: bool = False

    @property
    def words(self) -> str:
        """What the examples are called."""
        return "pictures" if self.source.kind == "images" else "examples"


def read_data(
    path: str,
    *,
    image_key: str = "path",
    label_key: str | None = None,
    split: str = "train",
    data_dir: str | None = None,
    on_error: str = "raise",
) -> CleanData:
    """Returns the examples of whatever a path or a name stands for.

    Args:
        path: String: a folder of class folders; a table, `.csv`, `.tsv` or `.parquet`,
            of paths and labels; a file `.npz` with `features`, `labels` and perhaps
            `ids` and `class_names`; or a name of TensorFlow Datasets.
        image_key: As `image` in `keras_ncr.datasets.from_table`.
        label_key: As in `from_table` and `from_tfds`. Defaults to theirs.
        split: As in `from_tfds`. Defaults to `"train"`.
        data_dir: As in `from_tfds`.
        on_error: As in `from_folder`, `from_table` and `from_tfds`.

    Returns:
        `CleanData`.

    Raises:
        ValueError: If it is none of these, or what is in it cannot be used.
        FileNotFoundError: If pictures of a table are missing, or there is nothing.

    Example:
    >>> from keras_ncr.experiments.clean_data import read_data
    >>> np.savez("features.npz", features=np.zeros((2, 3)), labels=["cat", "dog"])
    >>> read_data("features.npz").source.class_names
    ('cat', 'dog')
    """
    file = pathlib.Path(path).expanduser()
    kind = file.suffix.lower()
    if file.is_dir():
        source = datasets.from_folder(file, on_error=on_error)
        return CleanData(_sound(source, on_error), file, has_class_folders=True)
    if kind == ".npz":
        source = datasets.from_features(file)
        return CleanData(source)
    if kind in _TABLES:
        source = datasets.from_table(
            file, image=image_key, label=label_key or "label", on_error=on_error
        )
        return CleanData(_sound(source, on_error), folder=file.parent)
    if file.exists() or os.sep in path.rstrip(os.sep) or path.startswith("."):
        raise ValueError(
            "What is cleaned must be a folder of class folders, a table "
            f"({', '.join(_TABLES)}), a file of features (.npz), or a name of "
            f"TensorFlow Datasets. Received: {path!r}"
            f"{'' if file.exists() else ', where there is nothing'}."
        )
    try:
        source = datasets.from_tfds(
            path, split, data_dir, label_key=label_key, on_error=on_error
        )
    except ValueError as error:
        raise ValueError(
            f"There is no file or folder {path!r}, and what has its name in TensorFlow "
            f"Datasets cannot be used: {error}"
        ) from error
    return CleanData(source)


def _sound(source, on_error):
    """Returns a source without broken pictures, or raises if there are any."""
    if on_error == "skip":
        return datasets.skip_broken_images(source, verbose=True)
    return datasets.check_images(source, verbose=True)
