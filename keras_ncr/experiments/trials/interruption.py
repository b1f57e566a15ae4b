"""Signals to end a run: noted at once, obeyed when nothing is lost by it."""

import contextlib
import signal
import threading

# From a terminal or a notebook, and from a scheduler that needs the machine.
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(KeyboardInterrupt):
    """A run ended at a signal, after what it had done was saved.

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
        # What shells report of a process that a signal ended.
        self.exit_code = 128 + number


class Request:
    """What is known of the wish to end a run: `number` is that of the signal."""

    number = None


@contextlib.contextmanager
def noted():
    """Yields a `Request`, in which the first SIGINT or SIGTERM is noted.

    The second one has the effect that it has elsewhere. In threads other than the main
    one, which get no signals, and for signals that are ignored, as under `nohup`,
    nothing changes.

    Example:
    >>> import signal
    >>> from keras_ncr.experiments.trials import interruption
    >>> with interruption.noted() as request:
    ...     signal.raise_signal(signal.SIGTERM)
    >>> request.number == signal.SIGTERM
    True
    """
    request, previous = Request(), {}

    def note(number, frame):
        if request.number is not None:
            signal.signal(number, previous[number])
            signal.raise_signal(number)
        request.number = number

    if threading.current_thread() is threading.main_thread():
        for number in _SIGNALS:
            # None: set by code that is not Python's, which could not be put back.
            if signal.getsignal(number) not in (signal.SIG_IGN, None):
                previous[number] = signal.signal(number, note)
    try:
        yield request
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
