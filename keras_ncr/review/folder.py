"""Checks the folder of a review page: only a page is ever replaced by a page."""

import pathlib
import re

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
