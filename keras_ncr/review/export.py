"""Writes a data set anew, as a table or a folder; what exists is only read."""

import os
import pathlib
import re
import unicodedata

import keras
import numpy as np
import tensorflow as tf

from keras_ncr.checks import check_spellings
from keras_ncr.datasets import Source
from keras_ncr.datasets.image_files import READABLE, first_few, is_hidden
from keras_ncr.files import replacing
from keras_ncr.review.page_data import details_of

TABLES = (".csv", ".parquet")


def write_table(
    source: Source,
    path: str | os.PathLike,
    folder: str | os.PathLike | None = None,
    names: dict | None = None,
):
    """Writes the ids and labels of a source to a table, and texts and columns too."""
    # `keras_ncr.datasets.from_table` reads the table of files: path and label. Others
    # have id and label, or as `names` has them, and between them texts or columns.
    import pandas as pd

    path = _check_new(path)
    is_text = path.suffix.lower() == ".csv"
    ids = source.ids.tolist()
    inputs = details_of(source)
    names = {"id": "id", "text": "text", "label": "label", **(names or {})}
    if folder is not None or inputs is not None:
        _check_names_kept(source, is_text)
    if folder is not None:
        names["id"] = "path"
        ids = _paths_from(path.parent, pathlib.Path(folder).expanduser(), ids)
    columns = {names["id"]: ids}
    if inputs is not None:
        if source.kind == "text":
            inputs.columns = [names["text"]]
        columns |= inputs  # An input that is called as the ids takes their place.
    columns[names["label"]] = [source.class_names[label] for label in source.labels]
    frame = pd.DataFrame(columns)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        if is_text:
            frame.to_csv(temporary, index=False, lineterminator="\n")
        else:
            frame.to_parquet(temporary, index=False)


def write_folder(
    source: Source,
    path: str | os.PathLike,
    verbose: bool = False,
    folder: str | os.PathLike | None = None,
):
    """Writes the images of a source to a new folder, with a folder for each class."""
    # Images that are links out of `folder`, from which their ids start, are refused.
    path = _check_new(path)
    if not source.is_encoded or source.read_image is None:
        raise ValueError(
            "A folder can be written of image files only. Received: "
            f"{source.name!r}. Write a table, which ends with "
            f"{' or '.join(TABLES)}."
        )
    if folder is not None:
        _check_inside(source, pathlib.Path(folder).expanduser())
    files = _files_in_class_folders(source)
    _check_found_again(source, files)
    progress = keras.utils.Progbar(
        len(files), verbose=int(verbose), unit_name="picture"
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        for index, file in enumerate(files):
            copy = temporary / file
            copy.parent.mkdir(parents=True, exist_ok=True)
            # Where two names are one to the disk, this raises, and nothing is lost.
            with open(copy, "xb") as stream:
                stream.write(_bytes_of(source, index))
            progress.update(index + 1)


def check_apart(path, folder, argument="output"):
    """Raises if a new folder would be within a folder of class folders."""
    path, folder = pathlib.Path(path).expanduser(), pathlib.Path(folder).expanduser()
    if path.resolve().is_relative_to(folder.resolve()):
        raise ValueError(
            f"The folder of `{argument}` must not be within that of the pictures, "
            f"where it would count as one class more. Received: {str(path)!r}, in "
            f"{str(folder)!r}. Choose another `{argument}`."
        )


def _check_inside(source, folder):
    """Raises if images are links that lead out of their folder."""
    top = os.path.realpath(folder)
    names = source.ids.tolist()
    outside = [name for name in names if _leads_out(name, top)]
    if outside:
        raise ValueError(
            f"{len(outside)} of {len(names)} pictures are links to files outside of "
            f"{str(folder)!r}, which are not copied. Received: {first_few(outside)}. "
            f"Write a table instead, which ends with {' or '.join(TABLES)}."
        )


def _leads_out(name, top):
    """Returns whether a file that is named as below a folder is a link out of it."""
    name = os.path.normpath(name)
    if os.path.isabs(name) or name.split(os.sep)[0] == os.pardir:
        return False  # A table says openly that it is elsewhere.
    return not pathlib.Path(os.path.realpath(f"{top}/{name}")).is_relative_to(top)


def _check_new(path):
    """Returns a path to write to, or raises if something is there."""
    path = pathlib.Path(path).expanduser().absolute()
    is_empty_folder = path.is_dir() and not any(path.iterdir())
    is_table = path.suffix.lower() in TABLES
    if os.path.lexists(path) and (is_table or not is_empty_folder):
        raise ValueError(
            "What is written must not take the place of something. Received: "
            f"{str(path)!r}, which exists. Choose another name, or remove it."
        )
    return path


def _check_names_kept(source, is_text):
    """Raises for names of classes that `from_table` would read as something else."""
    names = {source.class_names[label] for label in np.unique(source.labels)}
    changed = [name for name in names if name != name.strip()]
    if changed:
        raise ValueError(
            "In a table, names of classes must not begin or end with a space. "
            f"Received: {first_few(sorted(changed))}. Write a folder instead."
        )
    are_numbers = all(re.fullmatch("-?(0|[1-9][0-9]*)", name) for name in names)
    in_order = {str(number) for number in range(len(names))}
    if is_text and are_numbers and names != in_order:
        raise ValueError(
            "In a CSV file, classes that are called by numbers must be 0, 1, 2 and so "
            f"on. Received: {first_few(sorted(names))}. Write a .parquet file instead, "
            "in which they are names."
        )


def _paths_from(table_folder, folder, ids):
    """Returns the paths of files as a table in a folder has them, or raises."""
    folder, table_folder = folder.resolve(), table_folder.resolve()
    missing = [name for name in ids if not (folder / name).is_file()]
    if missing:
        raise ValueError(
            f"{len(missing)} of {len(ids)} files are not in {str(folder)!r}, or their "
            f"names are no text in UTF-8. Received: {first_few(missing)}. Write a new "
            "folder instead."
        )
    if folder.is_relative_to(table_folder):
        folder = folder.relative_to(table_folder)
    return [(folder / name).as_posix() for name in ids]


def _files_in_class_folders(source):
    """Returns the path of each image in the new folder, all different."""
    class_names = set(source.class_names)
    wanted = [
        f"{source.class_names[label]}/{_path_in_class(image, class_names)}"
        for image, label in zip(source.ids.tolist(), source.labels, strict=True)
    ]
    # Images that stay where they are come first, so that they keep their names.
    order = np.argsort(np.array(wanted) != source.ids, kind="stable")
    files, taken = [None] * len(wanted), set()
    for index in order:
        files[index] = _free_name(wanted[index], taken)
        taken.add(_on_disk(files[index]))
    return files


def _path_in_class(image, class_names):
    """Returns the path of an image from the folder of its class, or just its name."""
    first, *inner = pathlib.PurePosixPath(image).parts
    is_in_class = inner and first in class_names
    # A class within another would be taken for a mistake.
    if not is_in_class or ".." in inner or inner[0] in class_names:
        return pathlib.PurePosixPath(image).name
    return "/".join(inner)


def _free_name(file, taken):
    """Returns the path of a file, with a number where the path itself is taken."""
    stem, suffix = os.path.splitext(file)
    number = 1
    while _on_disk(file) in taken:
        number += 1
        file = f"{stem} ({number}){suffix}"
    return file


def _on_disk(name):
    """Returns a name as a disk keeps it that does not tell a.jpg from A.jpg."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _check_found_again(source, files):
    """Raises if `from_folder` would not read back what is to be written."""
    filled = [source.class_names[label] for label in np.unique(source.labels)]
    check_spellings(filled, "Names of classes")
    folders = {}
    for name in filled:
        other = folders.setdefault(_on_disk(name), name)
        if other != name:
            raise ValueError(
                "Names of classes must differ in more than case, since many disks take "
                f"folders for the same that do not. Received: {other!r} and {name!r}. "
                f"Write a table instead, which ends with {' or '.join(TABLES)}."
            )
    lost = [
        name
        for name in source.class_names
        if is_hidden(name) or {os.sep, os.altsep or os.sep} & set(name)
    ]
    lost += [
        file
        for file in files
        if not file.lower().endswith(READABLE) or any(map(is_hidden, file.split("/")))
    ]
    if lost:
        raise ValueError(
            "Classes must have names that folders can have, and images names that end "
            f"with one of {', '.join(READABLE)}; none may begin with a dot. Received: "
            f"{first_few(lost)}. Write a table instead, which ends with "
            f"{' or '.join(TABLES)}."
        )


def _bytes_of(source, index):
    """Returns the content of an image file."""
    try:
        return source.read_image(tf.constant(index, tf.int64)).numpy()
    except tf.errors.OpError as error:
        raise ValueError(
            f"Images of {source.name!r} must be files that can be read. Received: "
            f"{str(source.ids[index])!r}, which is gone or may not be read."
        ) from error
