"""Tests of run_lock.py and of a workdir that is in use."""

import errno
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys

import pytest
from settings import config_of

from keras_ncr.experiments import run_lock, workdir
from keras_ncr.experiments.config import default_config

# Another process that has the lock; the package itself takes seconds to import.
SCRIPT = f"""
import importlib.util, sys, time
spec = importlib.util.spec_from_file_location("run_lock", {run_lock.__file__!r})
run_lock = importlib.util.module_from_spec(spec)
spec.loader.exec_module(run_lock)
with run_lock.held(sys.argv[1]):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def other(tmp_path):
    """Another process, which trains in the folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_second_run_is_told_who_has_the_folder(tmp_path, other):
    workdir.claim(tmp_path, default_config())
    config = config_of(trials=7)
    before = (tmp_path / "config.json").read_text()
    expected = (
        f"`workdir` {tmp_path} is in use by another run "
        rf"\(process {other.pid} on {socket.gethostname()}\)"
    )
    with pytest.raises(ValueError, match=expected), workdir.occupied(tmp_path, config):
        pytest.fail("Two have it.")
    assert (tmp_path / "config.json").read_text() == before


def test_killed_process_has_no_lock(tmp_path, other):
    os.kill(other.pid, signal.SIGKILL)
    other.wait()
    assert [path.name for path in tmp_path.iterdir()] == ["running.lock"]
    # What it left does not make the folder one with other files.
    with workdir.occupied(tmp_path, default_config()) as folder:
        lock = (folder / "running.lock").read_text()
        assert lock == f"process {os.getpid()} on {socket.gethostname()}"
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]


def test_one_process_has_the_lock_once(tmp_path):
    with run_lock.held(tmp_path):
        with pytest.raises(ValueError, match=f"in use .*process {os.getpid()} on"):
            with run_lock.held(tmp_path):
                pytest.fail("Twice.")
        assert (tmp_path / "running.lock").exists()
    with run_lock.held(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_lock_ends_with_an_error(tmp_path):
    with pytest.raises(KeyboardInterrupt), run_lock.held(tmp_path):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_file_that_its_holder_removed_is_no_lock(tmp_path, monkeypatch):
    lock, num_calls = fcntl.flock, []

    def remove_first(file, operation):
        num_calls.append(1)
        if len(num_calls) == 1:  # Between opening and locking.
            (tmp_path / "running.lock").unlink()
        lock(file, operation)

    monkeypatch.setattr(fcntl, "flock", remove_first)
    with run_lock.held(tmp_path):
        assert len(num_calls) == 2
        assert (tmp_path / "running.lock").read_text().startswith("process")


def test_file_system_without_locks_is_told_of(tmp_path, monkeypatch):
    def refuse(file, operation):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.warns(UserWarning, match="cannot be locked: No locks available"):
        with run_lock.held(tmp_path):
            pass


def test_folder_of_a_claim_is_that_of_the_run(tmp_path):
    with workdir.occupied(tmp_path / "runs" / "first", default_config()) as folder:
        assert folder == tmp_path / "runs" / "first"
        settings = json.loads((folder / "config.json").read_text())
        assert settings == default_config().to_dict()


def test_folder_that_cannot_be_written_to_is_refused(tmp_path, monkeypatch):
    workdir.claim(tmp_path, default_config())

    def refuse(*args, **kwargs):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr("builtins.open", refuse)
    expected = "`workdir` must be a folder that can be made and written to.*Read-only"
    with pytest.raises(ValueError, match=expected):
        with workdir.occupied(tmp_path, default_config()):
            pytest.fail("It can be written.")


def test_lock_is_not_written_through_a_link(tmp_path):
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "running.lock").symlink_to(tmp_path / "mine")
    with pytest.raises(OSError, match="symbolic link"), run_lock.held(tmp_path / "run"):
        pytest.fail("It is refused.")
    assert (tmp_path / "mine").read_text() == "mine"
