"""Signals that ask a program to end: they interrupt it as Ctrl-C does, with an exit code each.

SLURM, Kubernetes, ``docker stop`` and ``kill`` send SIGTERM. SLURM warns with SIGUSR1 where a job
asks for it. A terminal that is closed sends SIGHUP.
"""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

ENDING = tuple(
    getattr(signal, name) for name in ("SIGTERM", "SIGUSR1", "SIGHUP") if hasattr(signal, name)
)
"""The signals, besides that of Ctrl-C, that ask a program to end."""
_REPEAT_SECONDS = 5.0


class SignalInterrupt(KeyboardInterrupt):
    """An interruption by a signal other than Ctrl-C; ``number`` is that of the signal."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


def exit_code(interrupt: KeyboardInterrupt) -> int:
    """Return the exit code of a program that was interrupted: 128 and the number of the signal.

    Example:
        >>> exit_code(KeyboardInterrupt()), exit_code(SignalInterrupt(signal.SIGTERM))
        (130, 143)
    """
    return 128 + getattr(interrupt, "number", signal.SIGINT)


@contextmanager
def signals_interrupt() -> Iterator[None]:
    """Let the signals that ask a program to end raise a `SignalInterrupt` while the block runs.

    Launchers often send a signal twice: another one within five seconds is not heeded, so that it
    does not end what the first one began. What is ignored outside, as under nohup, stays so.
    """
    until = 0.0

    def interrupt(number: int, _frame: FrameType | None) -> None:
        nonlocal until
        if (now := time.monotonic()) >= until:
            until = now + _REPEAT_SECONDS
            raise SignalInterrupt(number)

    with handled_by(interrupt, ENDING):
        yield


@contextmanager
def handled_by(
    handler: Callable[[int, FrameType | None], None], numbers: tuple[signal.Signals, ...]
) -> Iterator[None]:
    """Let ``handler`` handle signals while the block runs, but for those that are ignored.

    Only the main thread of a program can; in another one nothing happens.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {
        number: signal.signal(number, handler)
        for number in numbers
        if signal.getsignal(number) is not signal.SIG_IGN
    }
    try:
        yield
    finally:
        for number, former in before.items():
            signal.signal(number, signal.SIG_DFL if former is None else former)
