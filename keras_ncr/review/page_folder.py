"""The folder of a review page. A page replaces another page, and nothing else."""

import pathlib
import re

FILES = (
    "index.html",
    "page.css",
    "cards.js",
    "decisions.js",
    "page.js",
    "data.js",
)
THUMBNAILS = "thumbnails"
# How the `data.js` of a page begins.
MARK = "// Written by keras_ncr.review."
_THUMBNAIL = re.compile(r"\d+\.(png|jpg)")


def check_folder(folder) -> pathlib.Path:
    """Returns the path of a folder to which a page may be written, or raises.

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
    """Returns whether a folder holds a page that this package wrote."""
    try:
        with open(path / "data.js", encoding="ascii") as file:
            return file.readline().startswith(MARK)
    except (OSError, UnicodeDecodeError):
        return False


def _foreign(path, names):
    """Returns the names of files in a folder that belong to no page."""
    foreign = sorted(set(names) - {*FILES, THUMBNAILS})
    if (path / THUMBNAILS).is_dir():
        foreign += sorted(
            f"{THUMBNAILS}/{entry.name}"
            for entry in (path / THUMBNAILS).iterdir()
            if not _THUMBNAIL.fullmatch(entry.name)
        )
    return foreign
