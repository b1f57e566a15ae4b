"""The folder of a review page: written whole or not at all, and never over other files.

Nothing of the user's is deleted: only a folder that holds a page, and nothing else, is
replaced by a new page.
"""

import contextlib
import os
import pathlib
import re
import shutil

FILES = (
    "index.html",
    "page.css",
    "cards.js",
    "corrections.js",
    "page.js",
    "data.js",
)
THUMBNAILS = "thumbnails"
# How `data.js` begins, by which a page is known.
MARK = "// Written by keras_ncr.review."
_THUMBNAIL = re.compile(r"\d+\.(png|jpg)")


def check_folder(folder):
    """Returns the path of the folder that a page may be written to, or raises.

    Args:
        folder: String or path: a folder that is new, empty, or holds a review page and
            nothing else.

    Returns:
        `pathlib.Path`, absolute.

    Raises:
        ValueError: If it is a file, or a folder with other files.

    Example:
    >>> keras_ncr.review.check_folder("review").name
    'review'
    """
    path = pathlib.Path(folder).expanduser().resolve()
    if not path.exists():
        return path
    if not path.is_dir():
        raise ValueError(
            f"`folder` must be a folder. Received: {path}, which is a file. Pass "
            "another one."
        )
    names = sorted(entry.name for entry in path.iterdir())
    foreign = _foreign(path, names)
    if not names or (_is_page(path) and not foreign):
        return path
    raise ValueError(
        "`folder` must be new, empty, or hold nothing but a review page, which is then "
        f"replaced. Received: {path}, which holds {(foreign or names)[0]!r}. Move that "
        "away, or pass another folder."
    )


@contextlib.contextmanager
def replacing_folder(path):
    """Yields a new folder to write to, which then takes the place of `path`.

    If the writing fails, `path` is left as it was.

    Args:
        path: `pathlib.Path`, as `check_folder` returns it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.new.{os.getpid()}")
    old = path.with_name(f".{path.name}.old.{os.getpid()}")
    new.mkdir()
    try:
        yield new
        check_folder(path)  # It took a while: files may have been put there.
        if path.exists():
            path.rename(old)
        try:
            new.rename(path)
        except OSError:
            if old.exists():
                old.rename(path)
            raise
    finally:
        # The new one is still there only if something above failed.
        for leftover in (new, old):
            shutil.rmtree(leftover, ignore_errors=True)


def _is_page(path):
    """Whether a folder holds a page that this package wrote."""
    try:
        with open(path / "data.js", encoding="ascii") as file:
            return file.readline().startswith(MARK)
    except (OSError, UnicodeDecodeError):
        return False


def _foreign(path, names):
    """The names of files in a folder that no page has."""
    foreign = sorted(set(names) - {*FILES, THUMBNAILS})
    if (path / THUMBNAILS).is_dir():
        foreign += sorted(
            f"{THUMBNAILS}/{entry.name}"
            for entry in (path / THUMBNAILS).iterdir()
            if not _THUMBNAIL.fullmatch(entry.name)
        )
    return foreign
