"""Which engine is quickest on this machine: measured once, kept in the cache folder.

The file holds times and nothing else; one that cannot be read or written costs a measurement.
"""

import json
import logging
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache, partial
from pathlib import Path
from typing import ClassVar, Generic, Protocol, TypeVar

import torch
from torch import Tensor

from reben.data.sample import cache_folder
from reben.errors import ConfigError, OutputError, RebenError
from reben.model.engines.runtimes import RUNTIMES, versions
from reben.support.atomic import write_text
from reben.support.json_files import Finite, read_json

WORTH_MEASURING = 120.0
"""Seconds of work from which the engines are measured, which takes about ten."""
WORTH_COMPILING = 1800.0
"""Seconds of work from which compiling, which takes up to minutes, is among what is measured."""
CACHE_FILE = "engines.json"
LEAST_GAIN = 0.05
"""Another engine than ``optimised`` is taken if it saves more than this share of the time: less is
within what two measurements differ by."""
SECONDS = 3.0
"""How long the engines are timed, all together, unless one call takes longer."""
ROUNDS = 10
_MOST_KEPT = 200

logger = logging.getLogger(__name__)
Clock = Callable[[], float]


@dataclass(frozen=True)
class Timing:
    """What an engine takes, in seconds: once to prepare it, and for each patch."""

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    prepare: Finite
    per_patch: Finite

    def of(self, num_patches: int | None) -> float:
        """Return the seconds for so many patches; those of one among very many for None."""
        if num_patches is None:
            return self.per_patch
        return self.prepare + num_patches * self.per_patch


def quickest(times: Mapping[str, Timing], num_patches: int | None) -> str:
    """Return the engine that has done the work first; ``optimised`` unless another gains enough.

    Args:
        times: Engine -> what it takes; ``optimised`` is among them.
        num_patches: How many patches there are; None for very many.

    Example:
        >>> times = {"optimised": Timing(0.3, 0.010), "onnx": Timing(5.0, 0.008)}
        >>> quickest(times, 1_000), quickest(times, 10_000)
        ('optimised', 'onnx')
    """
    best = min(times, key=lambda engine: times[engine].of(num_patches))
    limit = (1 - LEAST_GAIN) * times["optimised"].of(num_patches)
    return best if times[best].of(num_patches) < limit else "optimised"


def time_by_turns(
    calls: Mapping[str, Callable[[], object]],
    *,
    rounds: int = ROUNDS,
    seconds: float = SECONDS,
    clock: Clock = time.perf_counter,
) -> dict[str, float]:
    """Return the shortest duration of each call, in seconds.

    They take turns, after one round that does not count, until ``seconds`` are over; each is timed
    at least once.
    """
    begun = clock()
    shortest = dict.fromkeys(calls, float("inf"))
    for number in range(rounds + 1):
        for name, call in calls.items():
            started = clock()
            call()
            if number:
                shortest[name] = min(shortest[name], clock() - started)
        if number and clock() - begun > seconds:
            break
    return shortest


class Measured:
    """The times of the engines on this machine, as far as they are known.

    Args:
        folder: Where they are kept; by default the cache folder.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._path = (cache_folder() if folder is None else folder) / CACHE_FILE

    def get(self, key: str) -> dict[str, Timing] | None:
        """Return the times of a case, engine -> time; None if it was not measured."""
        times = self._read().get(key)
        return times if times and "optimised" in times else None

    def put(self, key: str, times: Mapping[str, Timing]) -> None:
        """Keep the times of a case; without an error where nothing can be written."""
        known = {**self._read(), key: dict(times)}
        kept = {one: known[one] for one in list(known)[-_MOST_KEPT:]}
        content = {
            one: {engine: asdict(timing) for engine, timing in row.items()}
            for one, row in kept.items()
        }
        try:
            write_text(self._path, json.dumps(content, indent=1) + "\n")
        except OutputError as error:
            logger.debug("Which engine is quickest is not kept: %s", error)

    def _read(self) -> dict[str, dict[str, Timing]]:
        try:
            return read_json(self._path, dict[str, dict[str, Timing]], ConfigError, "")
        except RebenError as error:  # not there, damaged, or of another version
            logger.debug("%s", error)
            return {}


class Runnable(Protocol):
    """A model on an engine: images [B, C, H, W] to logits."""

    @property
    def engine(self) -> str:
        """What computes."""

    def __call__(self, images_BCHW: Tensor, /) -> object:
        """Return logits."""


_Model = TypeVar("_Model", bound=Runnable)


class Choice(Generic[_Model]):
    """The choice of an engine for one model.

    Args:
        fast: The model on the engine ``optimised``.
        make: Returns the model on another engine, or on any if that one fails.
        case: What times depend on besides machine, threads, batch size and versions.
        images_BCHW: A batch, as large as those to come.
    """

    def __init__(
        self, fast: _Model, make: Callable[[str], _Model], case: str, images_BCHW: Tensor
    ) -> None:
        self._fast, self._make, self._case, self._images_BCHW = fast, make, case, images_BCHW
        self.seconds_shared: Callable[[], float] = lambda: 0.0
        """How long that took so far which the runtimes share when they are made one by one."""

    def best(self, num_patches: int | None, *, can_compile: bool) -> _Model:
        """Return the model on the engine that is done first; measure only where that pays.

        Args:
            num_patches: How many patches are to come; None for very many.
            can_compile: Whether there is a compiler.
        """
        may_compile = False
        if num_patches is not None:
            work = num_patches * self._seconds({"optimised": self._fast}, rounds=1)["optimised"]
            if work < WORTH_MEASURING:
                return self._fast
            may_compile = can_compile and work >= WORTH_COMPILING
        candidates = {"optimised": torch.__version__, **versions()}
        if may_compile:
            candidates["compiled"] = torch.__version__
        if len(candidates) == 1:
            return self._fast
        measured, key = Measured(), self._key(candidates)
        times, made = measured.get(key), dict[str, _Model]()
        if times is None:
            times, made = self._measure(list(candidates))
            measured.put(key, times)
        engine = quickest(times, num_patches)
        logger.info("The engine %s is the quickest here for %s.", engine, self._case)
        return made.get(engine) or self._make(engine)

    def _key(self, candidates: Mapping[str, str]) -> str:
        """Return everything that times depend on, as one line."""
        engines = ", ".join(f"{engine} {version}" for engine, version in candidates.items())
        return (
            f"{self._case}, batches of {len(self._images_BCHW)}; {torch.get_num_threads()} threads "
            f"of {processor()}; {engines}"
        )

    def _measure(self, engines: Sequence[str]) -> tuple[dict[str, Timing], dict[str, _Model]]:
        """Return what each engine takes, and the model on it; those that fail are left out."""
        logger.info("Measuring once which engine is the quickest here: %s.", ", ".join(engines))
        made, prepare = {}, {}
        for engine in engines:
            started, before = time.perf_counter(), self.seconds_shared()
            model = self._make(engine)
            if model.engine == engine:
                made[engine] = model
                own = time.perf_counter() - started - (self.seconds_shared() - before)
                prepare[engine] = own + (self.seconds_shared() if engine in RUNTIMES else 0.0)
        seconds = self._seconds(made)
        return {engine: Timing(prepare[engine], seconds[engine]) for engine in made}, made

    def _seconds(self, models: Mapping[str, _Model], rounds: int = ROUNDS) -> dict[str, float]:
        """Return the seconds of a patch."""
        calls = {engine: partial(model, self._images_BCHW) for engine, model in models.items()}
        shortest = time_by_turns(calls, rounds=rounds)
        return {engine: one / len(self._images_BCHW) for engine, one in shortest.items()}


@cache
def processor() -> str:
    """Return the name of the processor, as the system has it."""
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8", errors="replace") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass  # no Linux
    return platform.processor() or platform.machine()
