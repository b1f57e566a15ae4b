"""A table of paths and labels: CSV, Parquet or a pandas DataFrame."""

import collections
import os
import re
import warnings
from collections.abc import Sequence

import numpy as np

from keras_ncr.checks import (
    REGRESSION,
    brief,
    check_class_names,
    check_known,
    check_spellings,
)
from keras_ncr.datasets.image_files import (
    check_readable,
    first_few,
    printable,
    source_of_files,
)
from keras_ncr.datasets.source import Source
from keras_ncr.datasets.table_cells import classes_of_hub, images_in
from keras_ncr.datasets.table_rows import (
    are_whole_numbers,
    faulty_rows,
    is_empty,
    is_measured,
    is_whole,
)
from keras_ncr.datasets.unreadable import Skipped, check_left, check_on_error


def from_table(
    table,
    folder: str | os.PathLike | None = None,
    image: str = "path",
    label: str = "label",
    clean_label: str | None = None,
    class_names: Sequence[str] | None = None,
    name: str | None = None,
    on_error: str = "raise",
) -> Source:
    """Returns the images that a table lists, one a row, as a `Source`.

    The index of an example is the position of its row, its id the path as the table has
    it. The images are read when they are needed: find those that are broken by
    `keras_ncr.datasets.check_images(source)`.

    Labels are class numbers from 0, or names. Text in a CSV file counts as numbers if
    every label of the column is a whole number written without zeros before it ("1",
    not "01") and they are not all among `class_names`; in a DataFrame or Parquet file
    the type of the column decides. Spaces around a name in a CSV file are dropped, and
    "NA" or "null" is a name there like any other.

    A Parquet file or a DataFrame may also hold the images themselves, as the Hugging
    Face hub stores them: bytes of image files, or dicts with `"bytes"` and `"path"`.
    They are then in memory. Their ids are those paths, or else `row-0.png` and so on;
    the names that the hub gives class numbers are those of the classes.

    Args:
        table: Path of a `.csv` (UTF-8, commas), `.tsv` (tabs) or `.parquet` file, with
            names of columns; or a `pandas.DataFrame`.
        folder: Optional path of the folder that paths in the table start from. Absolute
            paths may be anywhere. Defaults to the folder of the table, or for a
            DataFrame to the current one.
        image: String, name of the column with the path of each image, or the image.
            Defaults to `"path"`.
        label: String, name of the column with the labels. Defaults to `"label"`.
        clean_label: Optional string, name of a column with the true labels, one in
            each row: what `label` may be, and -1 or any other name for what is none
            of the classes. Defaults to `None`: nothing is known.
        class_names: Optional strings, the classes in the order of their numbers.
            Defaults to the names in `label`, sorted by their characters' code points;
            or to the numbers, from 0 to the largest, each of which must then occur.
        name: Optional string. What messages call the data set. Defaults to the name of
            the file, or `"table"`.
        on_error: `"raise"` or `"skip"`, which leaves out rows without path, image or
            label, and of labels that are none of the classes, and lists them in
            `skipped` of the source. Images that are broken are left out by
            `skip_broken_images`. Defaults to `"raise"`.

    Returns:
        `Source` of encoded images.

    Raises:
        FileNotFoundError: If the table or an image is not there.
        ValueError: If the table cannot be read or has no rows, a column or a value is
            missing, an image is listed twice or of a kind that TensorFlow does not
            read, or labels are not of the classes, or one of them is spelled in two
            ways, as `1` and `1.0`. Rows are counted as a
            spreadsheet shows them (the first below the header is 2), those of
            Parquet and DataFrames from 0.

    Example:
    >>> import pandas as pd
    >>> for file in ("a.png", "b.png", "c.png"):
    ...     tf.io.write_file(file, tf.io.encode_png(np.zeros((4, 4, 3), "uint8")))
    >>> table = pd.DataFrame(
    ...     {"path": ["c.png", "a.png", "b.png"], "label": ["dog", "cat", "dog"]}
    ... )
    >>> source = keras_ncr.datasets.from_table(table)
    >>> source.class_names, source.labels.tolist(), source.ids.tolist()
    (('cat', 'dog'), [1, 0, 1], ['c.png', 'a.png', 'b.png'])
    """
    skips = check_on_error(on_error)
    frame, is_text, default_folder, default_name = read_table(table)
    folder = os.path.expanduser(os.fspath(default_folder if folder is None else folder))
    name = default_name if name is None else name
    if class_names is not None:
        class_names = check_class_names(class_names)
    elif isinstance(table, str | os.PathLike) and not is_text:
        class_names = classes_of_hub(os.path.expanduser(table), label)
    paths, contents = images_in(_cells(frame, image, "image"), folder)
    frame = frame.copy(deep=False)
    frame[image] = paths
    place = folder if contents is None else None
    skipped = []
    if skips:
        columns = (image, label, clean_label)
        frame, skipped = _sound_rows(frame, columns, class_names, is_text, place)
        check_left(len(frame), skipped, name)
    paths = column_of(frame, image, "image")
    is_path = paths.map(lambda path: isinstance(path, str | os.PathLike))
    refuse(paths, ~is_path, "hold paths")
    ids = paths.map(os.fspath)
    labels, class_names, clean_labels = labels_of(
        frame, is_text, label, clean_label, class_names
    )
    paths = ids.map(lambda path: os.path.join(folder, path))
    _check_listed_once(paths, ids, labels)
    if contents is None:
        _check_files(paths.tolist(), folder)
    return source_of_files(
        name=name,
        paths=paths.tolist(),
        labels=class_numbers(labels, class_names),
        ids=ids.tolist(),
        class_names=class_names,
        clean_labels=clean_labels,
        skipped=skipped,
        contents=None if contents is None else contents[frame.index],
    )


def labels_of(frame, is_text, label, clean_label=None, class_names=None):
    """Returns a column of labels, the classes, and true class numbers or `None`."""
    labels = column_of(frame, label, "label")
    labels = _numbers_or_names(labels, class_names, is_text)
    if class_names is None:
        class_names = _classes_of(labels)
    if clean_label is None:
        return labels, class_names, None
    clean_labels = column_of(frame, clean_label, "clean_label")
    # A class that is called "1" is so here too, where "-1" may stand beside it.
    are_names = _are_names(labels) and set(clean_labels) & set(class_names)
    if not (is_text and are_names):
        clean_labels = _numbers_or_names(clean_labels, class_names, is_text)
    return labels, class_names, _clean_class_numbers(clean_labels, class_names)


def read_table(table):
    """A DataFrame with row numbers as its index, whether it is text, folder, name."""
    import pandas as pd

    if isinstance(table, pd.DataFrame):
        frame, is_text, folder, name = table, False, ".", "table"
    elif isinstance(table, str | os.PathLike):
        table = os.path.expanduser(os.fspath(table))
        folder, name = os.path.split(table)
        folder = folder or "."
        kind = os.path.splitext(name)[1].lower()
        check_known(kind, (".csv", ".tsv", ".parquet"), "end of the table's name")
        if not os.path.isfile(table):
            raise FileNotFoundError(
                f"`table` must be a file that exists. Received: table={table!r}."
            )
        is_text = kind != ".parquet"
        frame = _read_text(table, kind) if is_text else pd.read_parquet(table)
    else:
        raise ValueError(
            "`table` must be the path of a table or a pandas.DataFrame. "
            f"Received: {type(table).__name__}."
        )
    if frame.empty:
        raise ValueError(
            f"`table` must have at least one row below its header. Received: {name!r} "
            f"with columns {list(frame.columns)} and no rows."
        )
    return frame if is_text else frame.reset_index(drop=True), is_text, folder, name


def _form_of(path, kind):
    """Returns what stands between the columns, and whether spaces follow it."""
    with open(path, encoding="utf-8-sig", errors="replace") as file:
        header = file.readline()
        # Spreadsheets in some languages write `;`.
        is_semicolon = kind == ".csv" and header.count(";") > header.count(",")
        separator = "\t" if kind == ".tsv" else ";" if is_semicolon else ","
        # A quote behind a space would be part of the name.
        spaced = re.compile(f'(^|{separator}) +"')
        return separator, any(map(spaced.search, (header, *file)))


def _read_text(path, kind):
    """Returns the rows of a text file that are not empty, every cell as text."""
    import pandas as pd

    separator, has_spaces = _form_of(path, kind)
    try:
        with warnings.catch_warnings():
            # pandas drops cells beyond the header's with no more than a warning.
            warnings.simplefilter("error", pd.errors.ParserWarning)
            frame = pd.read_csv(
                path,
                sep=separator,
                dtype=str,  # "01" and "1" are two names, and "NA" is one
                keep_default_na=False,
                skip_blank_lines=False,  # so that rows keep their numbers
                index_col=False,
                skipinitialspace=has_spaces,
                encoding="utf-8-sig",  # Excel begins its files with a mark
            )
    except (ValueError, pd.errors.ParserWarning) as error:
        raise ValueError(
            f"`table` must be text in UTF-8 with {separator!r} between the columns, "
            'such as a spreadsheet exports as "CSV UTF-8". Received: '
            f"table={path!r}. {error}"
        ) from error
    frame.columns = frame.columns.str.strip()
    frame.index += 2  # below the header, which is row 1
    return frame[(frame != "").any(axis="columns")]


def _sound_rows(frame, columns, class_names, is_text, folder):
    """The rows of a table that can be used, and a list of the others."""
    arguments = ("image", "label", "clean_label")
    paths, labels, clean_labels = (
        None if column is None else _cells(frame, column, argument)
        for column, argument in zip(columns, arguments, strict=True)
    )
    reasons = faulty_rows(paths, labels, clean_labels, class_names, is_text, folder)
    skipped = [
        Skipped(
            f"row {row}" if is_empty(paths[row]) else printable(str(paths[row])), reason
        )
        for row, reason in reasons.items()
    ]
    return frame.drop(index=list(reasons)), skipped


def _cells(frame, name, argument):
    """A column as Python objects."""
    check_known(name, frame.columns, argument, ", the columns of the table")
    column = frame[name]
    if column.ndim != 1:
        raise ValueError(f"The table must have one column {name!r}. Received: several.")
    column = column.astype(object)
    if argument != "image":  # Names of files may begin and end with spaces.
        column = column.map(
            lambda cell: cell.strip() if isinstance(cell, str) else cell
        )
    return column


def column_of(frame, name, argument):
    """A column without empty cells, as Python objects."""
    column = _cells(frame, name, argument)
    remedy = ""
    if argument == "text":
        remedy = " Fill them, or remove the rows."
    if argument == "clean_label":
        remedy = (
            " Where a label is known to be wrong and no more, write -1 or 'unknown'. "
            "Where nothing is known, move the row to a table of its own."
        )
    refuse(column, column.map(is_empty), "have no empty cells", remedy)
    return column


def _numbers_or_names(labels, class_names, is_text):
    """Labels that are all integers or all strings."""
    if is_text:
        return labels.map(int) if are_whole_numbers(labels, class_names) else labels
    if all(isinstance(label, str) for label in labels):
        return labels
    refuse(
        labels,
        ~labels.map(is_whole).astype(bool),
        "hold whole class numbers only, one in each cell, or strings only",
        f" {REGRESSION}" if is_measured(labels) else "",
    )
    return labels.map(int)


def _are_names(labels):
    return isinstance(labels.iloc[0], str)


def _classes_of(labels):
    """The names of the classes that occur."""
    found = sorted(set(labels))
    if not _are_names(labels) and found != list(range(len(found))):
        first = next(i for i, label in enumerate(found) if label != i)
        raise ValueError(
            f"Column {labels.name!r} must hold each class number from 0 up to its "
            f"largest. Received: {found[0]} to {found[-1]}, and none of class {first}. "
            "Subtract 1 from numbers that begin with 1. If a class may be without "
            "images, pass `class_names`; the numbers are names if they are given there."
        )
    if _are_names(labels):
        if is_measured(labels):
            raise ValueError(
                f"Column {labels.name!r} must hold classes. Received: {len(found):,} "
                f"different numbers in {len(labels):,} rows, {found[0]!r} for one. "
                f"{REGRESSION}"
            )
        check_spellings(found, f"Labels in column {labels.name!r}")
    if len(found) < 2:
        raise ValueError(
            f"Column {labels.name!r} must hold at least two classes. Received: "
            f"{found[0]!r} alone. If there are others, pass `class_names`."
        )
    return tuple(str(label) for label in found)


def class_numbers(labels, class_names):
    """Labels as an array of class numbers."""
    if _are_names(labels):
        number_of = {name: number for number, name in enumerate(class_names)}
        for row, label in labels.items():
            if label not in number_of:
                check_known(label, class_names, f"{labels.name} of row {row}")
        return labels.map(number_of).to_numpy(np.int64)
    largest = len(class_names) - 1
    is_outside = (labels < 0) | (labels > largest)
    refuse(labels, is_outside, f"hold class numbers from 0 to {largest}")
    return labels.to_numpy(np.int64)


def _clean_class_numbers(labels, class_names):
    """True labels as an array of class numbers, -1 for what is none of the classes."""
    if _are_names(labels):
        number_of = {name: number for number, name in enumerate(class_names)}
        numbers = np.array([number_of.get(label, -1) for label in labels])
    else:
        is_outside = (labels < -1) | (labels >= len(class_names))
        expectation = f"hold class numbers from 0 to {len(class_names) - 1}, or -1"
        refuse(labels, is_outside, expectation)
        numbers = labels.to_numpy(np.int64)
    if np.all(numbers == -1):
        raise ValueError(
            f"Column {labels.name!r} must hold classes out of {list(class_names)}. "
            f"Received: none of them in any row, but {first_few(sorted(set(labels)))}."
        )
    return numbers


def _check_listed_once(paths, ids, labels):
    """Refuses an image with two rows, and so perhaps with two labels."""
    rows_of = collections.defaultdict(list)
    for row, path in paths.items():
        rows_of[os.path.normpath(path)].append(row)
    repeated = [rows for rows in rows_of.values() if len(rows) > 1]
    if repeated:
        rows = repeated[0]
        raise ValueError(
            f"Column {ids.name!r} must list each image once. Received: "
            f"{ids[rows[0]]!r} in rows {', '.join(map(str, rows))} with labels "
            f"{', '.join(repr(labels[row]) for row in rows)}; "
            f"{len(repeated)} such images in all. Keep one row of each."
        )


def _check_files(paths, folder):
    """Refuses images that are not there or are of a kind that cannot be read."""
    missing = [path for path in paths if not os.path.isfile(path)]
    if missing:
        remedy = ""
        if "\\" in missing[0] and os.sep == "/":
            remedy = " Between folders write / instead of \\."
        raise FileNotFoundError(
            f"{len(missing)} of the {len(paths)} images that the table lists are not "
            f"there: {first_few(missing)}. Paths start from folder={folder!r}; pass "
            f"`folder` if that is another one.{remedy}"
        )
    check_readable(paths)


def refuse(column, is_wrong, expectation, remedy=""):
    """Raises for the first wrong cell, by the row that a user can go to."""
    if is_wrong.any():
        position = int(is_wrong.argmax())
        raise ValueError(
            f"Column {column.name!r} must {expectation}. Received: "
            f"{brief(column.tolist()[position])} in row {column.index[position]}; "
            f"{is_wrong.sum()} such rows in all.{remedy}"
        )
