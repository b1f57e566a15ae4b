"""Data sets that are tables: a text in each row, or columns of numbers and words."""

import dataclasses
import os
from collections.abc import Sequence

import numpy as np

from keras_ncr.checks import check_class_names, check_known
from keras_ncr.datasets.array_source import source_in_memory
from keras_ncr.datasets.image_files import first_few
from keras_ncr.datasets.source import Source
from keras_ncr.datasets.table_rows import is_empty
from keras_ncr.datasets.table_source import (
    class_numbers,
    column_of,
    labels_of,
    read_table,
    refuse,
)


def from_texts(
    table,
    text: str = "text",
    label: str = "label",
    clean_label: str | None = None,
    id_column: str | None = None,
    class_names: Sequence[str] | None = None,
    name: str | None = None,
    picture: str | None = None,
) -> Source:
    r"""Returns the texts of a table, one a row, as a `Source`.

    Args:
        table: As in `keras_ncr.datasets.from_table`: a path, or a `pandas.DataFrame`.
        text: String, name of the column of texts. Defaults to `"text"`.
        label: String, name of the column of labels, read as `from_table` reads it.
            Defaults to `"label"`.
        clean_label: As in `from_table`. Defaults to `None`.
        id_column: Optional string, name of a column of ids, all different. Defaults to
            the numbers of the rows: those that a spreadsheet shows (the first below the
            header is 2), in Parquet files and DataFrames positions from 0.
        class_names: As in `from_table`.
        name: As in `from_table`.
        picture: Optional string, name of a column with the paths of pictures, from the
            table's folder, for people to look at; cells may be empty. Defaults to
            `None`.

    Returns:
        `Source` whose inputs are scalar strings.

    Raises:
        FileNotFoundError: If there is no such table, or a picture is not there.
        ValueError: As `from_table`; or if a text is empty, or an id there twice.

    Example:
    >>> import pandas as pd
    >>> table = pd.DataFrame({"text": ["well done", "too bad"], "label": ["+", "-"]})
    >>> source = keras_ncr.datasets.from_texts(table)
    >>> source.kind, source.class_names, source.stored_inputs.numpy()[0]
    ('text', ('+', '-'), b'well done')
    """
    frame, is_text, fields = _labeled(
        table, label, clean_label, id_column, class_names, name
    )
    texts = column_of(frame, text, "text")
    refuse(texts, ~texts.map(lambda cell: isinstance(cell, str)), "hold texts")
    source = source_in_memory(inputs=texts.to_numpy(object), **fields)
    return _with_pictures(source, frame, picture, table)


def from_columns(
    table,
    columns: Sequence[str] | None = None,
    label: str = "label",
    clean_label: str | None = None,
    id_column: str | None = None,
    class_names: Sequence[str] | None = None,
    name: str | None = None,
    picture: str | None = None,
) -> Source:
    """Returns the rows of a table of numbers and words as a `Source`.

    A column of which all cells are numbers is one of numbers. All others are words,
    where an empty cell is a word like any other.

    Args:
        table: As in `keras_ncr.datasets.from_table`: a path, or a `pandas.DataFrame`.
        columns: Optional strings, the columns that are inputs. Defaults to all but
            those of labels and ids.
        label: String, name of the column of labels, read as `from_table` reads it.
            Defaults to `"label"`.
        clean_label: As in `from_table`. Defaults to `None`.
        id_column: As in `from_texts`. Defaults to the numbers of the rows.
        class_names: As in `from_table`.
        name: As in `from_table`.
        picture: As in `from_texts`; the column is no input.

    Returns:
        `Source` whose inputs are a dict: by the name of a column a scalar, float32 or
        string.

    Raises:
        FileNotFoundError: As `from_texts`.
        ValueError: As `from_table`; or if there is no column for inputs, a column of
            numbers has empty cells, or an id is there twice.

    Example:
    >>> import pandas as pd
    >>> table = pd.DataFrame(
    ...     {"age": [31, 7], "town": ["Bonn", ""], "label": ["adult", "child"]}
    ... )
    >>> source = keras_ncr.datasets.from_columns(table)
    >>> source.kind, sorted(source.stored_inputs), source.stored_inputs["age"].dtype
    ('columns', ['age', 'town'], tf.float32)
    """
    frame, is_text, fields = _labeled(
        table, label, clean_label, id_column, class_names, name
    )
    others = [label, clean_label, id_column, picture]
    others = [column for column in others if column]
    if columns is None:
        columns = [column for column in frame.columns if column not in others]
    columns = [columns] if isinstance(columns, str) else list(columns)
    for column in columns:
        check_known(column, frame.columns, "columns", ", the columns of the table")
    _check_columns(columns, others, frame)
    inputs = {column: _numbers_or_words(frame[column], is_text) for column in columns}
    return _with_pictures(
        source_in_memory(inputs=inputs, **fields), frame, picture, table
    )


def _labeled(table, label, clean_label, id_column, class_names, name):
    """Returns a table, whether it is text, and all but the inputs of its `Source`."""
    frame, is_text, _, default_name = read_table(table)
    if class_names is not None:
        class_names = check_class_names(class_names)
    labels, class_names, clean_labels = labels_of(
        frame, is_text, label, clean_label, class_names
    )
    ids = frame.index.to_numpy()
    if id_column is not None:
        column = column_of(frame, id_column, "id_column")
        refuse(column, column.duplicated(), "hold ids that are all different")
        ids = column.to_numpy(str)
    return (
        frame,
        is_text,
        {
            "name": default_name if name is None else name,
            "labels": class_numbers(labels, class_names),
            "ids": ids,
            "num_classes": len(class_names),
            "class_names": tuple(class_names),
            "clean_labels": clean_labels,
        },
    )


def _with_pictures(source, frame, picture, table):
    """Returns a source with the pictures that a column names, if there is one."""
    if picture is None:
        return source
    check_known(picture, frame.columns, "picture", ", the columns of the table")
    is_frame = not isinstance(table, str | os.PathLike)
    folder = "." if is_frame else os.path.dirname(os.path.expanduser(table))
    cells = ["" if is_empty(cell) else str(cell).strip() for cell in frame[picture]]
    paths = [cell and os.path.join(folder, cell) for cell in cells]
    missing = [path for path in paths if path and not os.path.isfile(path)]
    if missing:
        raise FileNotFoundError(
            f"Column {picture!r} must hold paths of pictures, from the table's folder, "
            f"or nothing. Received: {len(missing)} that are not there: "
            f"{first_few(missing)}."
        )
    return dataclasses.replace(source, pictures=np.array(paths, object))


def _check_columns(columns, others, frame):
    """Raises if there are no inputs, labels are among them, or names do not do."""
    if not columns:
        raise ValueError(
            "`columns` must name at least one column of the table that is an input. "
            f"Received: none; the table has {list(frame.columns)}."
        )
    known_answers = [column for column in columns if column in others]
    if known_answers:
        raise ValueError(
            "`columns` must not have labels or ids or pictures among the inputs. "
            f"Received: {known_answers[0]!r}. Leave it out."
        )
    unusable = [c for c in columns if not isinstance(c, str) or not c or "/" in c]
    if unusable or len(set(columns)) < len(columns):
        received = f"{unusable[0]!r}" if unusable else "one of them twice"
        raise ValueError(
            "`columns` must have different names without '/': inputs of a network are "
            f"called so. Received: {received}. Rename it in the table."
        )


def _numbers_or_words(column, is_text):
    """Returns a column as float32, or as strings unless all its cells are numbers."""
    import pandas as pd

    if isinstance(column, pd.DataFrame):
        raise ValueError(
            f"The table must have one column {column.columns[0]!r}. Received: several."
        )
    cells = column.str.strip() if is_text else column
    is_missing = cells.map(is_empty).astype(bool)
    numbers = pd.to_numeric(cells.where(~is_missing), errors="coerce")
    if is_missing.all() or numbers[~is_missing].isna().any():
        words = cells.where(~is_missing, "").map(str)
        return words.to_numpy(object)
    numbers = numbers.astype("float64")
    refuse(
        cells,
        is_missing | ~np.isfinite(numbers.fillna(0)),
        "have a finite number in each row",
        " Fill it, or leave the column out: `columns` names those that are inputs.",
    )
    return numbers.to_numpy("float32")
