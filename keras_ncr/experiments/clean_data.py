"""What `keras-ncr clean` is given: pictures, texts, rows or features, with labels."""

import dataclasses
import os
import pathlib

import numpy as np

from keras_ncr import datasets
from keras_ncr.datasets.image_files import READABLE, UNREADABLE
from keras_ncr.datasets.table_source import read_table

_TABLES = (".csv", ".tsv", ".parquet")
# What examples are called, by the kind of their inputs.
_WORDS = {"images": "pictures", "text": "texts", "columns": "rows"}
# A column whose cells have so many words on average holds texts.
_WORDS_OF_TEXT = 4


@dataclasses.dataclass(frozen=True)
class CleanData:
    """The examples whose labels are looked at.

    `folder` is where ids start from, if they are paths of pictures, and
    `has_class_folders` whether it holds a folder for each class. `names` is what the
    corrected table calls its columns, as in `keras_ncr.review.export.write_table`.
    """

    source: datasets.Source
    folder: pathlib.Path | None = None
    has_class_folders: bool = False
    names: dict = dataclasses.field(default_factory=dict)

    @property
    def words(self) -> str:
        """What the examples are called."""
        return _WORDS.get(self.source.kind, "examples")


@dataclasses.dataclass(frozen=True)
class TableKeys:
    """Which columns of a table are what, as far as it was said."""

    image_key: str | None = None
    text_key: str | None = None
    columns: tuple | list | None = None
    label_key: str | None = None
    id_key: str | None = None
    picture_key: str | None = None

    def completed(self, file: pathlib.Path) -> "TableKeys":
        """Returns the keys of a file, with nothing left open but columns."""
        inputs = ("image_key", "text_key", "columns")
        said = [f"--{name}" for name in inputs if getattr(self, name)]
        if len(said) > 1:
            raise ValueError(
                "A table has pictures, texts or columns: pass one of these flags. "
                f"Received: {' and '.join(said)}."
            )
        names, image, text = _names_of_columns(file), self.image_key, self.text_key
        if not said:
            image = "path" if "path" in names else None
            text = "text" if "text" in names and image is None else None
        is_id = "id" in names and "id" not in (self.columns or ()) and image is None
        return dataclasses.replace(
            self,
            image_key=image,
            text_key=text,
            label_key=self.label_key or "label",
            id_key=self.id_key or ("id" if is_id else None),
        )


def read_data(
    path: str,
    keys: TableKeys = TableKeys(),
    split: str = "train",
    data_dir: str | None = None,
    on_error: str = "raise",
) -> CleanData:
    """Returns the examples of whatever a path or a name stands for.

    That is a folder of class folders; a table, `.csv`, `.tsv` or `.parquet`, of
    pictures (`image_key`, or a column `path`), texts (`text_key`, or a column `text`)
    or columns (`columns`, or all but labels, ids and pictures); a file `.npz` with
    `features`, `labels` and perhaps `ids` and `class_names`; or a name of TensorFlow
    Datasets.
    """
    file = pathlib.Path(path).expanduser()
    kind = file.suffix.lower()
    if kind not in _TABLES or file.is_dir():
        for name, value in dataclasses.asdict(keys).items():
            if value and name != "label_key":
                raise ValueError(
                    f"--{name} is for tables ({', '.join(_TABLES)}). Received: "
                    f"--{name}={value}, and {path!r}. Leave it out."
                )
    if file.is_dir():
        source = datasets.from_folder(file, on_error=on_error)
        return CleanData(_sound(source, on_error), file, has_class_folders=True)
    if kind == ".npz":
        source = datasets.from_features(file)
        return CleanData(source)
    if kind in _TABLES:
        return _of_table(file, keys, on_error)
    if file.exists() or os.sep in path.rstrip(os.sep) or path.startswith("."):
        raise ValueError(
            "What is cleaned must be a folder of class folders, a table "
            f"({', '.join(_TABLES)}), a file of features (.npz), or a name of "
            f"TensorFlow Datasets. Received: {path!r}"
            f"{'' if file.exists() else ', where there is nothing'}."
        )
    try:
        source = datasets.from_tfds(
            path, split, data_dir, label_key=keys.label_key, on_error=on_error
        )
    except ValueError as error:
        raise ValueError(
            f"There is no file or folder {path!r}, and what has its name in TensorFlow "
            f"Datasets cannot be used: {error}"
        ) from error
    return CleanData(source)


def _of_table(file, keys, on_error):
    """Returns the pictures, texts or rows of a table."""
    keys = keys.completed(file)
    image, label = keys.image_key, keys.label_key
    if image is not None:
        for name in ("id_key", "picture_key"):
            if value := getattr(keys, name):
                raise ValueError(
                    f"--{name} is for tables of texts and rows. Received: "
                    f"--{name}={value}, and pictures in {image!r}. Leave it out."
                )
        source = datasets.from_table(file, image=image, label=label, on_error=on_error)
        return CleanData(_sound(source, on_error), folder=file.parent)
    if on_error == "skip":
        raise ValueError(
            "--on_error=skip leaves out pictures. Received: a table without any. "
            "Remove the rows that cannot be used, and leave it out. Paths of pictures "
            "in another column than 'path': --image_key=NAME."
        )
    others = {"label": label, "id_column": keys.id_key, "picture": keys.picture_key}
    names = {"label": label, "id": keys.id_key or "id"}
    if keys.text_key is not None:
        source = datasets.from_texts(file, text=keys.text_key, **others)
        return CleanData(source, names={**names, "text": keys.text_key})
    source = datasets.from_columns(file, keys.columns, **others)
    if not keys.columns:
        _check_are_columns(source)
    return CleanData(source, names=names)


def _names_of_columns(file):
    """Returns the names of a table's columns."""
    if file.suffix.lower() == ".parquet" and file.is_file():
        from pyarrow import parquet

        return parquet.read_schema(file).names
    return list(read_table(file)[0].columns)


def _check_are_columns(source):
    """Raises for columns that nobody named, and that look like pictures or texts."""
    import pandas as pd

    for name, cells in source.stored_inputs.items():
        cells = pd.Series(np.asarray(cells))
        if cells.dtype != object or not (texts := cells.str.decode("utf-8")).any():
            continue
        if texts.str.lower().str.endswith(READABLE + UNREADABLE).all():
            what = f"pictures: --image_key={name}, or to show beside: --picture_key"
        elif texts.str.split().str.len().mean() >= _WORDS_OF_TEXT:
            what = "texts: --text_key"
        elif len(texts) > 20 and texts.is_unique:
            what = "names of the rows: --id_key"
        else:
            continue
        others = ",".join(other for other in source.stored_inputs if other != name)
        raise ValueError(
            f"Column {name!r} seems to hold {what}={name}. Received: "
            f"{texts.iloc[0][:60]!r} in the first row. Say what it is by this flag, or "
            f"which columns are inputs, such as --columns={others or name}."
        )


def _sound(source, on_error):
    """Returns a source without broken pictures, or raises if there are any."""
    if on_error == "skip":
        return datasets.skip_broken_images(source, verbose=True)
    return datasets.check_images(source, verbose=True)
