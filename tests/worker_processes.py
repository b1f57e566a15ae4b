"""Processes that train together over the loopback, as machines do over a network."""

import json
import os
import pathlib
import socket
import subprocess
import sys
import time


def free_addresses(count):
    """Returns addresses of this machine on which nobody listens yet."""
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    addresses = [f"127.0.0.1:{one.getsockname()[1]}" for one in sockets]
    for one in sockets:
        one.close()
    return addresses


class Workers:
    """Some processes of one command, each of which knows its place among them.

    What they print goes to `worker-0.txt` and so on in the folder. They are killed as
    the `with` block ends.
    """

    def __init__(self, command, folder, count=2):
        self.command = [sys.executable, *map(str, command)]
        self.folder = folder
        self.addresses = free_addresses(count)
        self.processes = {}

    def __enter__(self):
        for index in range(len(self.addresses)):
            self.start(index)
        return self

    def __exit__(self, *exception):
        for process in self.processes.values():
            process.kill()
            process.wait()

    def start(self, index):
        """Starts one worker, or starts it anew where it has ended."""
        if index in self.processes:
            self.processes[index].wait()
        task = {"type": "worker", "index": index}
        cluster = {"cluster": {"worker": self.addresses}, "task": task}
        with open(self.folder / f"worker-{index}.txt", "a") as output:
            self.processes[index] = subprocess.Popen(
                self.command,
                env={**environment(), "TF_CONFIG": json.dumps(cluster)},
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def exit_codes(self, seconds=240):
        """Waits for all to end."""
        return [process.wait(seconds) for process in self.processes.values()]

    def said(self, index):
        """Returns what a worker has printed so far."""
        return (self.folder / f"worker-{index}.txt").read_text()


def environment():
    """Returns the environment of a process that is quiet and uses one thread."""
    checkout = str(pathlib.Path(__file__).parents[1])
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_NUM_INTRAOP_THREADS": "1"}
    return {**os.environ, **quiet, "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": checkout}


def wait_until(condition, seconds=120):
    """Waits until `condition()` holds, or fails."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "What was waited for did not come."
        time.sleep(0.05)
