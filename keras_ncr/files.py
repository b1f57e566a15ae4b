"""Writes files and folders safely: a reader sees the old or the new one, never half.

The package writes only files of its own, in folders that are its own, never through
links, and deletes only what it wrote. `replacing` puts a file in the place of a link
and leaves alone what the link leads to; `check_no_links` refuses folders that hold one.
"""

import contextlib
import errno
import json
import os
import pathlib
import re
import shutil

# How the name begins of what is not whole yet. It is hidden beside its place.
WRITING = ".writing-"
# How the name begins of a folder while another one takes its place.
_OLD = ".replaced-"
# What a spreadsheet takes for a formula, and what `as_cell` made of it.
_FORMULA = re.compile(r"'*[=+\-@\t\r]")
_ESCAPED = re.compile(r"'+[=+\-@\t\r]")
_NUMBER = re.compile(r"-?\d+(\.\d+)?([eE][+-]?\d+)?")


class NotWritten(OSError):
    """A file or folder could not be written, for the reason in an `OSError`."""

    def __init__(self, path, error):
        super().__init__(error.errno, error.strerror or str(error))
        self.path = path

    def __str__(self):
        return (
            f"{self.path} could not be written: {self.strerror}. What was saved before "
            "is whole. Make room or see to it that the folder can be written to; the "
            "same command then goes on."
        )


@contextlib.contextmanager
def replacing(path):
    """Yields a path to write to; what was written there then takes the place of `path`.

    If anything goes wrong, nothing of it stays, and `path` is as it was. After a power
    failure, too, a file is the old or the new one. A folder takes the place of an empty
    one, or of none. One process at a time may write to a path.
    """
    path = pathlib.Path(path)
    temporary = path.with_name(WRITING + path.name)
    try:
        _remove(temporary)  # What a process left that was killed.
        yield temporary
        _sync(temporary)
        os.replace(temporary, path)
        _sync(path.parent)
    except BaseException as error:
        with contextlib.suppress(OSError):
            _remove(temporary)
        if isinstance(error, OSError) and not isinstance(error, NotWritten):
            raise NotWritten(path, error) from error
        raise


@contextlib.contextmanager
def replacing_folder(path):
    """Yields a new folder to write to, which then takes the place of `path`."""
    # If anything goes wrong, `path` is as it was. Otherwise what was in it is removed;
    # the caller checks before that it may be.
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    old = path.with_name(_OLD + path.name)
    if old.exists() and not path.exists():  # A process was killed in between.
        old.rename(path)
    shutil.rmtree(old, ignore_errors=True)
    try:
        with replacing(path) as new:
            new.mkdir()
            yield new
            if path.exists():
                path.rename(old)
    except BaseException:
        if old.exists() and not path.exists():
            old.rename(path)
        raise
    shutil.rmtree(old, ignore_errors=True)


def write_json(path, content):
    """Writes `content`, made of dicts, lists, numbers and strings, to a JSON file."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n")


def check_no_links(folder):
    """Raises if a folder of the package's own, itself perhaps a link, holds a link."""
    for parent, folders, files in os.walk(folder):
        for path in (os.path.join(parent, name) for name in sorted(folders + files)):
            if os.path.islink(path):
                raise ValueError(
                    "`workdir` must hold no links, through which files elsewhere would "
                    f"be changed. Received: {path}, which leads to "
                    f"{os.readlink(path)}. Put that in its place, or remove the link."
                )


def is_ours(path, mark):
    """Returns whether a file, no link, has the package's mark in its first kilobyte."""
    if path.is_symlink() or not path.is_file():
        return False
    with open(path, "rb") as file:
        return mark.encode() in file.read(1000)


def check_none_lost(folder, names, mark):
    """Raises if a file would be replaced, unless the first has the package's mark."""
    if is_ours(folder / names[0], mark):
        return
    for path in (folder / name for name in names):
        if os.path.lexists(path):
            raise ValueError(
                "`workdir` must not hold files of yours that would be replaced. "
                f"Received: {path}, which this command did not write. Move it away, or "
                "pass another workdir."
            )


def as_cell(value):
    """Returns a value as it goes into a CSV file that people open in a spreadsheet."""
    # A spreadsheet would compute a text that begins with `=`, `+`, `-` or `@`. Numbers,
    # and texts that are negative numbers, stay as they are.
    if not isinstance(value, str) or _NUMBER.fullmatch(value):
        return value
    return f"'{value}" if _FORMULA.match(value) else value


def from_cell(text):
    """Returns the text that `as_cell` escaped, and any other text as it is."""
    return text[1:] if _ESCAPED.match(text) else text


def _remove(path):
    """Removes a file or a folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _sync(path):
    """Waits until a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network file systems know no sync of folders, and say that it is invalid.
        if error.errno != errno.EINVAL or not path.is_dir():
            raise
    finally:
        os.close(descriptor)
