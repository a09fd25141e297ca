"""How many patches are predicted, and what came of it."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from reben.errors import PredictError
from reben.model.engines.names import Engine
from reben.predict.patch_inputs import Unreadable
from reben.support.numbers import require_whole


class Progress(Protocol):
    """What is called as work goes on: ``(done, total)``, counted in patches."""

    def __call__(self, done: int, total: int) -> None:
        """Say that ``done`` of ``total`` are finished."""


@dataclass(frozen=True)
class PredictOptions:
    """How patches are predicted; none of it changes what the table says of a patch.

    Args:
        batch_size: Patches that go through the network together.
        devices: Processes that share the work, each on an accelerator of its own where there are
            several; on a CPU they share its cores.
        num_workers: Threads of each process that read ahead.
        geometry: Whether the table says where patches lie; that needs pyproj.
        strict: Whether the first bad patch ends the work. Otherwise bad ones are left out.
        overwrite: Whether to replace the table if it exists, and unfinished parts that were made
            with other settings.
        restart: Whether to begin anew, without the parts that an interrupted call left.
        part_size: Patches in a part; by default such that all devices have something to do.
        name: What to call the model in the table.
        engine: What computes scores, see `reben.optimise_for_inference`; with several devices
            ``auto`` is ``optimised``. A call that goes on keeps the engine that it began with.
    """

    batch_size: int = 32
    devices: int = 1
    num_workers: int = 2
    geometry: bool = True
    strict: bool = False
    overwrite: bool = False
    restart: bool = False
    part_size: int | None = None
    name: str | None = None
    engine: Engine = "auto"

    def __post_init__(self) -> None:
        """Refuse numbers that cannot be."""
        counts = {name: getattr(self, name) for name in ("batch_size", "devices", "part_size")}
        for name, value in counts.items():
            if value is not None:
                require_whole(name, value)


@dataclass(frozen=True)
class PredictOutcome:
    """What came of predicting many patches.

    Args:
        out: The table.
        num_patches: Rows in it.
        num_resumed: How many patches were done by an earlier call.
        num_bad: Patches that could not be used.
        bad: The first of those, each with the reason.
        bad_file: All of those, if there are any.
    """

    out: Path
    num_patches: int
    num_resumed: int
    num_bad: int
    bad: tuple[Unreadable, ...] = ()
    bad_file: Path | None = None

    def require_all(self) -> None:
        """Return if all patches could be used.

        Raises:
            PredictError: If not; the message names the first ones.
        """
        if self.num_bad:
            raise PredictError(
                f"{self.num_bad} of {self.num_bad + self.num_patches} patches could not be used: "
                f"{listed(self.bad, self.num_bad)} {self.bad_file} lists all; {self.out} holds "
                "the others."
            )


def listed(bad: Iterable[Unreadable], num_bad: int) -> str:
    """Return the first few bad patches as a text that says how many more there are."""
    shown = list(bad)[:3]
    text = " ".join(f"{name}: {reason}" for name, reason in shown)
    return text + (f" And {num_bad - len(shown)} more." if num_bad > len(shown) else "")
