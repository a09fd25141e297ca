"""What a training checks only now and then, because checking means waiting.

Losses come from the device a few at a time, and late, so that it is never waited for. Ranks ask
each other every few seconds whether to write a checkpoint or to stop, so that all of them do so
after the same step.
"""

import math
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import NamedTuple

import torch
from torch import Tensor

from reben.learn.distributed import num_ranks, sum_over_ranks
from reben.learn.training.hardware import to_host
from reben.support.signals import ENDING, SignalInterrupt, handled_by

READ_EVERY = 10
"""Steps between readings of losses from an accelerator; on a CPU they are read at each step.

Those of so many steps are read as many steps later, when they have long arrived."""
_ASK_SECONDS = 2.0


class StepLoss(NamedTuple):
    """The mean loss of a batch, and how many steps were done before it."""

    step: int
    loss: float


class _Unread(NamedTuple):
    total: Tensor
    num_patches: int
    step: int
    names: Sequence[str]


class LossSum:
    """Adds up losses over patches; they stay on the device until several are read at once.

    Args:
        refuse: Returns the error for a loss that is not finite, from loss, step and patches.
        every: How many are read at once. If it is more than 1, they are read as many steps later.
    """

    def __init__(
        self, refuse: Callable[[float, int, Sequence[str]], Exception], every: int
    ) -> None:
        self.total = 0.0
        self.num_patches = 0
        self.last = math.nan
        """The last mean loss that was read."""
        self._refuse = refuse
        self._every = every
        self._unread: list[_Unread] = []
        self._coming: tuple[Callable[[], Tensor], list[_Unread]] | None = None

    def add(
        self, total: Tensor, num_patches: int, step: int, names: Sequence[str]
    ) -> list[StepLoss]:
        """Add the summed loss of some patches; return those that have arrived meanwhile."""
        self._unread.append(_Unread(total, num_patches, step, names))
        if len(self._unread) < self._every:
            return []
        if self._every == 1:
            return self.read()
        found = self._arrived()
        self._send()
        return found

    def read(self) -> list[StepLoss]:
        """Wait for all losses that are still on the device, and return them."""
        found = self._arrived()
        self._send()
        return found + self._arrived()

    def _send(self) -> None:
        unread, self._unread = self._unread, []
        if unread:
            self._coming = to_host(torch.stack([one.total for one in unread])), unread

    def _arrived(self) -> list[StepLoss]:
        """Return the losses that were sent."""
        if self._coming is None:
            return []
        (values, sent), self._coming = self._coming, None
        found = []
        for value, one in zip(values().tolist(), sent, strict=True):
            self.last = value / one.num_patches
            if not math.isfinite(value):
                raise self._refuse(value, one.step, one.names)
            self.total += value
            self.num_patches += one.num_patches
            found.append(StepLoss(one.step, self.last))
        return found


class Due(NamedTuple):
    """What to do after a step."""

    save: bool
    stop: bool
    fail: bool = False
    """Whether the training failed on some rank."""


class Pauses:
    """Decides when to write a checkpoint, and when to stop after a signal, for all ranks alike.

    Args:
        minutes: Minutes between checkpoints.
        device: The device over which the ranks communicate.
        say: Called with a message for the user.
    """

    def __init__(self, minutes: float, device: torch.device, say: Callable[[str], None]) -> None:
        self._seconds = minutes * 60
        self._device = device
        self._say = say
        self._signal = 0
        self.is_agreed = False
        """Whether all ranks stop, after the same step."""
        self._saved_at = self._asked_at = time.monotonic()
        self._steps = 0
        self._ask_every = 1

    def after_step(self, *, has_failed: bool = False) -> Due:
        """Return what to do now; all ranks call this after the same steps.

        Args:
            has_failed: Whether the training failed on this rank.
        """
        self._steps += 1
        if num_ranks() > 1 and self._steps < self._ask_every:
            return Due(save=False, stop=False)
        now = time.monotonic()
        is_late = now - self._saved_at >= self._seconds
        stop, late, failed, seconds = sum_over_ranks(
            [bool(self._signal), is_late, has_failed, now - self._asked_at], self._device
        )
        # As many steps as take about two seconds, from a sum that is the same on all ranks.
        wanted = min(_ASK_SECONDS, self._seconds) * num_ranks() / max(seconds, 1e-9)
        self._ask_every = max(1, min(round(self._steps * wanted), 2 * self._ask_every))
        self._steps, self._asked_at = 0, now
        return Due(save=bool(stop or late), stop=bool(stop), fail=bool(failed))

    def is_interrupted(self) -> bool:
        """Return whether to stop, by any rank's signals; all of them call this together."""
        return bool(sum_over_ranks([bool(self._signal)], self._device)[0])

    def interruption(self) -> KeyboardInterrupt:
        """Return what to raise when it is time to stop."""
        number, self.is_agreed = self._signal, True
        return KeyboardInterrupt() if number in (0, signal.SIGINT) else SignalInterrupt(number)

    def saved(self) -> None:
        """Restart the clocks after a checkpoint, which all ranks write together."""
        self._saved_at = self._asked_at = time.monotonic()
        self._steps = 0

    def deliver(self) -> None:
        """Hand the signal to the handler that was there before, now that everything is written."""
        if self._signal and callable(signal.getsignal(self._signal)):
            signal.raise_signal(self._signal)

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """Let Ctrl-C or another signal end the training after the batch, a second Ctrl-C at once.

        Other signals often come twice, from launcher and system, so only the first one counts.
        """

        def interrupt(number: int, _frame: FrameType | None) -> None:
            if self._signal:
                if number == signal.SIGINT:
                    raise KeyboardInterrupt
                return
            self._signal = number
            again = " Press Ctrl-C again to stop at once." if number == signal.SIGINT else ""
            self._say(
                f"Interrupted by {signal.Signals(number).name}: finishing the batch and writing a "
                f"checkpoint.{again}"
            )

        with handled_by(interrupt, (signal.SIGINT, *ENDING)):
            yield
