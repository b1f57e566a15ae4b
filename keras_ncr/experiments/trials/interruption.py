"""Signals to end a run: noted at once, obeyed once all is saved."""

import contextlib
import signal
import threading

# From a terminal or notebook, and from a scheduler.
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(KeyboardInterrupt):
    """A run ended at a signal, after its state was saved.

    Args:
        number: Int: the signal.
        epoch: Int: the epoch that was saved, counted from 1.
        step: Int: the last step of the epoch that was saved, counted from 1.
    """

    def __init__(self, number, epoch, step):
        super().__init__(
            f"Ended by {signal.Signals(number).name}. Saved at epoch {epoch}, "
            f"step {step}."
        )
        # The exit code that shells report for a process ended by a signal.
        self.exit_code = 128 + number


class Request:
    """The signal that asks to end a run: its `number`, or None."""

    number = None


@contextlib.contextmanager
def noted():
    """Yields a `Request` that notes the first SIGINT or SIGTERM."""
    # A second signal has its usual effect. Signals that are ignored, as under `nohup`,
    # stay ignored, and threads other than the main one get none.
    request, previous = Request(), {}

    def note(number, frame):
        if request.number is not None:
            signal.signal(number, previous[number])
            signal.raise_signal(number)
        request.number = number

    if threading.current_thread() is threading.main_thread():
        for number in _SIGNALS:
            # None: a handler from outside Python, which could not be put back.
            if signal.getsignal(number) not in (signal.SIG_IGN, None):
                previous[number] = signal.signal(number, note)
    try:
        yield request
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
