"""Who trains in a folder: one process at a time."""

import contextlib
import errno
import fcntl
import os
import pathlib
import socket
import warnings

NAME = "running.lock"
# What file systems say that have no locks.
_WITHOUT_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


@contextlib.contextmanager
def held(folder):
    """Keeps a folder for this process as long as the `with` block runs.

    The lock goes with the process, however it ends. The file `running.lock` says who
    has it, and is removed at the end.

    Args:
        folder: String or path of the workdir, which exists.

    Raises:
        ValueError: If another run has the folder.

    Example:
    >>> import pathlib, tempfile
    >>> from keras_ncr.experiments import run_lock
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> with run_lock.held(folder):
    ...     [path.name for path in folder.iterdir()]
    ['running.lock']
    """
    path = pathlib.Path(folder) / NAME
    with _locked(path) as file:
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}")
        file.flush()
        try:
            yield
        finally:
            # While the lock is held: whoever opened the file before finds it gone.
            path.unlink(missing_ok=True)


def _locked(path):
    """Returns the open file at a path, locked, or raises if another one has it."""
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(open(path, "a+"))
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
        stack.pop_all()  # Open it stays.
        return file


def _is_at(file, path):
    """Whether a file is still there: its last holder may have removed it meanwhile."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.stat(path))
    except FileNotFoundError:
        return False
