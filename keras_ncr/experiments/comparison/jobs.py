"""Runs trainings in processes of their own, several at a time, if they are unfinished.

Each has a log beside its folder. A training that outlived its command keeps its folder:
another one is refused there, and that is reported as its failure.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

from keras_ncr.experiments import run_lock, workdir
from keras_ncr.experiments.comparison.outcome import outcome_of
from keras_ncr.experiments.comparison.plan import Job
from keras_ncr.experiments.measures import duration, mean_and_deviation, spread
from keras_ncr.files import replacing

# The command that takes the words of a job.
TRAIN = (sys.executable, "-m", "keras_ncr", "train")
_SECONDS_BETWEEN_LOOKS = 0.1
_SECONDS_TO_END = 10


def run_jobs(
    jobs: Sequence[Job],
    num_processes: int,
    after_each: Callable[[], None] = lambda: None,
) -> None:
    """Runs the jobs that are not finished, and prints a line as each ends."""
    # If a run fails, its line says so, and the others go on. Ctrl-C or a signal to
    # terminate ends all runs; run again, each goes on from what was saved.
    for job in jobs:
        if (job.folder / "config.json").exists():
            workdir.claim(job.folder, job.config)
    waiting = [job for job in jobs if not outcome_of(job).is_finished]
    total = len(waiting)
    print(f"{len(jobs)} runs, {len(jobs) - total} of them finished before", flush=True)
    num_threads = max(1, (os.cpu_count() or 1) // num_processes)
    start = time.monotonic()
    running = []
    with _ending_all_if_interrupted(running):
        while waiting or running:
            while waiting and len(running) < num_processes:
                job = waiting.pop(0)
                running.append((job, _started(job, num_threads), time.monotonic()))
            time.sleep(_SECONDS_BETWEEN_LOOKS)
            for entry in [one for one in running if one[1].poll() is not None]:
                running.remove(entry)
                num_left = len(waiting) + len(running)
                _tell(entry, total - num_left, total, time.monotonic() - start)
                after_each()


def _started(job, num_threads):
    """Returns the process of a job."""
    job.folder.parent.mkdir(parents=True, exist_ok=True)
    # The user's own settings have precedence.
    environment = {
        "TF_NUM_INTRAOP_THREADS": str(num_threads),
        "TF_NUM_INTEROP_THREADS": str(num_threads),
        # Otherwise the first process takes all memory of a GPU.
        "TF_FORCE_GPU_ALLOW_GROWTH": "true",
        "PYTHONUNBUFFERED": "1",
        **os.environ,
    }
    job.beside(".failed").unlink(missing_ok=True)
    with open(job.beside(".log"), "ab", opener=run_lock.opened) as log:
        return subprocess.Popen(
            [*TRAIN, *job.words],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            # Ctrl-C is for the command, which ends its processes itself.
            start_new_session=True,
        )


def _tell(entry, num_ended, total, seconds):
    """Prints a line on a run that has ended, and writes down why if it failed."""
    job, process, started = entry
    outcome = outcome_of(job)
    reason = _failure(job, process, outcome)
    if reason:
        with replacing(job.beside(".failed")) as temporary:
            temporary.write_text(reason + "\n")
        result = f"failed, {reason}"
    else:
        accuracy = "no accuracy"
        if outcome.last:
            accuracy = spread(mean_and_deviation(outcome.last))
        result = f"{accuracy} {outcome.notes}".strip()
    line = f"[{num_ended} of {total}] {job.name}: {result}"
    line += f", took {duration(time.monotonic() - started)}"
    if num_ended < total:
        line += f"; about {duration(seconds / num_ended * (total - num_ended))} left"
    print(line, flush=True)


def _failure(job, process, outcome):
    """Returns why a run failed, or nothing."""
    if outcome.is_finished:
        return ""
    if process.returncode < 0:
        name = signal.Signals(-process.returncode).name
        return f"ended by {name}, log: {job.beside('.log')}"
    lines = job.beside(".log").read_text(errors="replace").splitlines()
    last_line = next((line for line in reversed(lines) if line.strip()), "no words")
    return last_line.strip()


@contextlib.contextmanager
def _ending_all_if_interrupted(running):
    """Turns signals to terminate into KeyboardInterrupt; leaves no process behind."""
    previous = {}
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # As under nohup.
            previous[number] = signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        _end(running)
        for number, handler in previous.items():
            signal.signal(number, handler)


def _end(running):
    """Ends the processes of jobs that still run."""
    processes = [process for _, process, _ in running]
    for process in processes:
        process.terminate()
    for process in processes:
        try:
            process.wait(_SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
