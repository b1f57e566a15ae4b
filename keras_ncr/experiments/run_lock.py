"""The lock of a run's folder: one process at a time trains in it."""

import contextlib
import errno
import fcntl
import os
import pathlib
import socket
import warnings
from collections.abc import Iterator

NAME = "running.lock"
# The errors of file systems without locks.
_WITHOUT_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


@contextlib.contextmanager
def held(folder: str | os.PathLike) -> Iterator[None]:
    """Locks a folder for this process until the `with` block, or the process, ends."""
    path = pathlib.Path(folder) / NAME
    with _locked(path) as file:
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}")
        file.flush()
        try:
            yield
        finally:
            # Before the lock is released, so that no other process locks this file.
            path.unlink(missing_ok=True)


def _locked(path):
    """Returns the open file at a path, locked, or raises if another one has it."""
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(open(path, "a+", opener=opened))
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise ValueError(
                f"`workdir` {path.parent} is in use by another run "
                f"({file.read() or 'which has just begun'}). Wait for its end, or pass "
                "another workdir."
            ) from None
        except OSError as error:
            if error.errno not in _WITHOUT_LOCKS:
                raise
            warnings.warn(
                f"{path.parent} cannot be locked: {error.strerror}. See to it that no "
                "other run trains in it.",
                stacklevel=2,
            )
        if not _is_at(file, path):
            return _locked(path)
        stack.pop_all()  # The file stays open.
        return file


def opened(path, flags):
    """Opens a file for `open`, but not what a link in its place leads to."""
    return os.open(path, flags | os.O_NOFOLLOW, 0o666)


def _is_at(file, path):
    """Returns whether an open file is still at its path, and not removed since."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.stat(path))
    except FileNotFoundError:
        return False
