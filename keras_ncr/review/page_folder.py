"""The folder of a review page. A page replaces another page, and nothing else."""

import json
import pathlib

SUMMARY = "summary.html"
FILES = (
    "index.html",
    SUMMARY,
    "page.css",
    "cards.js",
    "decisions.js",
    "page.js",
    "data.js",
)
THUMBNAILS = "thumbnails"
# How the `data.js` of a page begins.
MARK = "// Written by keras_ncr.review."


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
        there = {entry.name for entry in (path / THUMBNAILS).iterdir()}
        foreign += [f"{THUMBNAILS}/{name}" for name in sorted(there - _pictures(path))]
    return foreign


def _pictures(path):
    """Returns the names of the thumbnails that the page in a folder shows."""
    try:
        _, _, data = (path / "data.js").read_text(encoding="ascii").partition("=")
        return set(json.loads(data.strip().removesuffix(";"))["examples"]["picture"])
    except (OSError, ValueError, KeyError, TypeError):  # No page, or a damaged one.
        return set()
