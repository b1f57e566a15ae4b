"""Where the user's own pictures are: paths of settings, and what refuses them."""

import contextlib
import os
import pathlib
import re
from collections.abc import Iterator

from ml_collections import ConfigDict

from keras_ncr.datasets import Skipped, Source
from keras_ncr.datasets.folder_source import split_folders
from keras_ncr.datasets.image_files import first_few, is_hidden
from keras_ncr.datasets.table_cells import is_of_files
from keras_ncr.review import export


def own_path(data: ConfigDict) -> pathlib.Path:
    """Returns the path of the user's data, or says that it must be given."""
    if not data.path:
        raise ValueError(
            f"`config.data.path` must say where the {data.name} is. Received: none. "
            f"Pass --config=configs/{data.name}.py:PATH or --config.data.path=PATH."
        )
    return pathlib.Path(data.path).expanduser()


def picture_folder(data: ConfigDict) -> pathlib.Path | None:
    """Returns the folder that ids of the user's own pictures start from, else None."""
    if data.name not in ("folder", "table"):
        return None
    path = own_path(data)
    if data.name == "folder":
        return folders_of_splits(data)[0]
    is_files = not path.is_file() or is_of_files(path, data.image_key or "path")
    return path.parent if is_files else None


def folders_of_splits(data: ConfigDict) -> tuple[pathlib.Path, pathlib.Path | None]:
    """Returns the folder to train on, and the one to test on or None."""
    folder = own_path(data)
    if data.test_path:
        test_folder = pathlib.Path(data.test_path).expanduser()
    else:
        beside = [folder / split for split in (data.train_split, data.test_split)]
        if all(part.is_dir() for part in beside):
            return beside[0], beside[1]
        test_folder = None
    splits = split_folders(folder) if folder.is_dir() else []
    if splits:
        raise ValueError(
            "`config.data.path` must hold the classes of one split, or the folders of "
            f"config.data.train_split={data.train_split!r} and config.data.test_split="
            f"{data.test_split!r}. Received: {str(folder)!r} with {first_few(splits)}. "
            f"Say which is which, such as --config.data.train_split={splits[-1]} "
            f"--config.data.test_split={splits[0]}, or name both folders by "
            "--config.data.path= and --config.data.test_path=."
        )
    return folder, test_folder


def with_folders_beside(source: Source, folder, test_folder) -> Source:
    """Returns a source that lists the folders beside those of its two splits."""
    if test_folder is None or folder.parent != test_folder.parent:
        return source
    names = sorted(
        entry.name
        for entry in folder.parent.iterdir()
        if entry.is_dir() and not is_hidden(entry.name)
    )
    others = set(names) - {folder.name, test_folder.name}
    reason = f"a folder that is neither {folder.name} nor {test_folder.name}"
    beside = [Skipped(f"../{name}", reason) for name in names if name in others]
    return source.with_left_out(beside)


def check_apart(folder, test_folder):
    """Raises if images of one folder are in the other too."""
    folder, test_folder = folder.resolve(), test_folder.resolve()
    if folder.is_relative_to(test_folder) or test_folder.is_relative_to(folder):
        raise ValueError(
            "`config.data.test_path` must not share images with `config.data.path`. "
            f"Received: {str(test_folder)!r} and {str(folder)!r}, one within the "
            "other. Move them apart."
        )


def check_outside(data: ConfigDict, folder: str | os.PathLike, argument: str) -> None:
    """Raises if what a command writes would be a class among the pictures."""
    if data.name != "folder":
        return
    train_folder, test_folder = folders_of_splits(data)
    if test_folder is not None:
        check_apart(train_folder, test_folder)
    for pictures in (own_path(data), test_folder or train_folder):
        export.check_apart(folder, pictures, argument)


def real_paths(table, source: Source) -> set[str]:
    """Returns the real paths of the images of a table."""
    folder = pathlib.Path(table).expanduser().parent
    return {os.path.realpath(folder / name) for name in source.ids.tolist()}


@contextlib.contextmanager
def naming(key: str) -> Iterator[None]:
    """Names the setting in errors, and says in settings what they say in arguments."""
    try:
        with in_settings():
            yield
    except (ValueError, FileNotFoundError) as error:
        kind = FileNotFoundError if isinstance(error, OSError) else ValueError
        raise kind(f"`config.data.{key}`: {error}") from error


@contextlib.contextmanager
def in_settings() -> Iterator[None]:
    """Says in the settings of a command what errors say in arguments of Python."""
    try:
        yield
    except (ValueError, FileNotFoundError) as error:
        text = str(error)
        for pattern, replacement in _IN_SETTINGS:
            text = re.sub(pattern, replacement, text)
        if text == str(error):
            raise
        kind = FileNotFoundError if isinstance(error, OSError) else ValueError
        raise kind(text) from error


_IN_SETTINGS = (
    # A command has no names of classes: they are those of the data.
    (r", or pass `class_names` if a class may be without\.", "."),
    (r"(; and for a test split|\. If)[^.]*`class_names[^.]*(\.class_names`)?\.", "."),
    (r" If [^.]*`class_names`[^.]*\.", ""),
    (
        r"Paths start from folder=('.*?'); pass `folder` if that is another one\.",
        r"Paths start from the table's own folder, \1: move the table, or write whole "
        "paths.",
    ),
    (r"`(image|text|label|clean_label|picture)`", r"`--config.data.\1_key`"),
    (
        r"Received: (image|text|label|clean_label|picture)=",
        r"Received: --config.data.\1_key=",
    ),
    (r"`id_column`", "`--config.data.id_key`"),
    (r"id_column(?==)", "--config.data.id_key"),
    (r"`columns`", "`--config.data.columns`"),
    (r"columns(?==\[)", "--config.data.columns"),
    (r"`(folder|table)` must", r"The \1 must"),
    # Of TensorFlow Datasets.
    (r"`((clean_)?label_key|is_clean_key)`", r"`--config.data.\1`"),
    (r" ((clean_)?label_key|is_clean_key)=", r" --config.data.\1="),
    (r"pass (DIR|it) as `data_dir`", r"pass \1 by `--config.data.dir=`"),
    (r" data_dir=", " --config.data.dir="),
)
