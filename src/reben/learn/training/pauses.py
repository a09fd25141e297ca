"""What a training looks up now and then, and not at each step, since looking up means waiting.

Losses are read from the device a few at a time. Ranks ask each other every few seconds whether to
write a checkpoint or to stop; all of them then do so after the same step.
"""

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import NamedTuple

import torch
from torch import Tensor

from reben.learn.distributed import num_ranks, sum_over_ranks

READ_EVERY = 10
"""Steps after which losses are read from an accelerator. On a CPU they are there at once."""
_ASK_SECONDS = 2.0


class StepLoss(NamedTuple):
    """The mean loss of a batch."""

    step: int
    """Steps that were done before it."""
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
        every: How many are read at once.
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

    def add(
        self, total: Tensor, num_patches: int, step: int, names: Sequence[str]
    ) -> list[StepLoss]:
        """Add the sum of the losses of some patches; return the losses that were read, if any."""
        self._unread.append(_Unread(total, num_patches, step, names))
        return self.read() if len(self._unread) >= self._every else []

    def read(self) -> list[StepLoss]:
        """Read what was not read yet, and return it.

        Raises:
            TrainingError: If a loss is NaN or infinite.
        """
        unread, self._unread = self._unread, []
        if not unread:
            return []
        found = []
        values = torch.stack([one.total for one in unread]).tolist()
        for value, one in zip(values, unread, strict=True):
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


class Pauses:
    """Tells when to write a checkpoint, and when to stop after Ctrl-C, on all ranks alike.

    Args:
        minutes: Minutes between checkpoints.
        device: The device of this process, for what ranks tell each other.
        say: What to call with a message for the user.
    """

    def __init__(self, minutes: float, device: torch.device, say: Callable[[str], None]) -> None:
        self._seconds = minutes * 60
        self._ask_seconds = min(_ASK_SECONDS, self._seconds)
        self._device = device
        self._say = say
        self._is_interrupted = False
        self._saved_at = self._asked_at = time.monotonic()
        self._ask_every = 1
        self._steps = 0

    def after_step(self) -> Due:
        """Return what to do now; all ranks call it after the same steps."""
        self._steps += 1
        if num_ranks() > 1 and self._steps < self._ask_every:
            return Due(save=False, stop=False)
        now = time.monotonic()
        is_late = now - self._saved_at >= self._seconds
        asked = [self._is_interrupted, is_late, now - self._asked_at]
        stop, late, seconds = sum_over_ranks(asked, self._device)
        # As many steps as took two seconds, from a sum that is the same on all ranks.
        steps = self._steps * self._ask_seconds * num_ranks() / max(seconds, 1e-9)
        self._ask_every = max(1, min(round(steps), 2 * self._ask_every))
        self._steps, self._asked_at = 0, now
        return Due(save=bool(stop or late), stop=bool(stop))

    def is_interrupted(self) -> bool:
        """Return whether the user wants to stop, on any rank; all of them call it together."""
        return bool(sum_over_ranks([self._is_interrupted], self._device)[0])

    def saved(self) -> None:
        """Start the clocks anew, after a checkpoint, which all ranks write at once."""
        self._saved_at = self._asked_at = time.monotonic()
        self._steps = 0

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """Let Ctrl-C end the training after the batch; a second one ends it at once."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def interrupt(_number: int, _frame: FrameType | None) -> None:
            if self._is_interrupted:
                raise KeyboardInterrupt
            self._is_interrupted = True
            self._say(
                "Interrupted: the batch, or validation, is brought to its end and a checkpoint is "
                "written. Press Ctrl-C again to stop at once."
            )

        before = signal.signal(signal.SIGINT, interrupt)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before or signal.SIG_DFL)
