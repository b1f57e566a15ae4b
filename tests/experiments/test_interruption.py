"""Tests of interruption.py: signals are noted, and have their usual effect again."""

import os
import signal
import subprocess
import sys
import threading

import pytest

from keras_ncr.experiments.trials import interruption

# The package itself takes seconds to import.
MODULE = interruption.__file__
SCRIPT = f"""
import importlib.util, os, signal, sys, time
spec = importlib.util.spec_from_file_location("interruption", {MODULE!r})
interruption = importlib.util.module_from_spec(spec)
spec.loader.exec_module(interruption)
with interruption.noted() as request:
    os.kill(os.getpid(), signal.SIGTERM)
    print(request.number, flush=True)
    os.kill(os.getpid(), getattr(signal, sys.argv[1]))
    time.sleep(60)
"""


@pytest.fixture(autouse=True)
def handlers():
    """Handlers are those of before at the end of every test.

    They are Python's own, which a shell takes from what runs in its background.
    """
    defaults = {
        signal.SIGINT: signal.default_int_handler,
        signal.SIGTERM: signal.SIG_DFL,
    }
    before = {number: signal.signal(number, defaults[number]) for number in defaults}
    yield
    after = {number: signal.signal(number, before[number]) for number in defaults}
    assert after == defaults


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_first_signal_is_noted(number):
    with interruption.noted() as request:
        assert request.number is None
        os.kill(os.getpid(), number)
        assert request.number == number


def test_second_interruption_is_one_at_once():
    with pytest.raises(KeyboardInterrupt), interruption.noted():
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
        pytest.fail("It went on.")


@pytest.mark.parametrize("second", ["SIGTERM", "SIGINT"])
def test_second_signal_ends_the_process(second):
    process = subprocess.run(
        [sys.executable, "-c", SCRIPT, second], capture_output=True, text=True
    )
    assert process.stdout == f"{signal.SIGTERM.value}\n"
    assert process.returncode == -getattr(signal, second)


def test_handlers_are_put_back_after_an_error():
    with pytest.raises(ZeroDivisionError), interruption.noted():
        raise ZeroDivisionError


def test_ignored_signals_stay_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interruption.noted() as request:
            os.kill(os.getpid(), signal.SIGINT)
            assert request.number is None
    finally:
        signal.signal(signal.SIGINT, before)


def test_other_threads_get_no_handlers():
    before, found = signal.getsignal(signal.SIGTERM), []

    def note():
        with interruption.noted() as request:
            found.append((request.number, signal.getsignal(signal.SIGTERM)))

    thread = threading.Thread(target=note)
    thread.start()
    thread.join()
    assert found == [(None, before)]


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_message_says_what_is_saved(name, code):
    error = interruption.Interrupted(getattr(signal, name), epoch=3, step=7)
    assert str(error) == f"Ended by {name}. Saved at epoch 3, step 7."
    assert error.exit_code == code
    assert isinstance(error, KeyboardInterrupt)
