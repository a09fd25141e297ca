"""What became of an encoding: counts, and every patch that was left out with the reason."""

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import NamedTuple

MAX_LISTED = 10_000
"""Failures that a report lists; all of them are counted."""
MAX_NAMED = 10
"""Absent patches of each kind that a report names; all of them are counted."""


class Failure(NamedTuple):
    """A patch that was left out whole, or an input that could not be read to its end.

    Args:
        kind: ``Sentinel-2``, ``Sentinel-1`` or ``reference map``.
        name: Name of the patch folder, or of the input.
        reason: What is wrong.
    """

    kind: str
    name: str
    reason: str


@dataclass(frozen=True)
class EncodeReport:
    """What one call of `reben.encode` did.

    Args:
        store: Name of the store's folder.
        new: Kind -> values that were written.
        there: Kind -> patches that were passed over, because the store had them before.
        same: Kind -> patches that came twice with the very same pixels.
        absent: Kind -> patches that the metadata list, as far as they were asked for, and that
            neither the input nor the store has; empty without metadata.
        num_bytes: Size of the values that were written.
        failed: Kind -> patches that were left out.
        broken: Inputs that could not be read to their end, or hold no patch at all.
        failures: The patches that were left out, `MAX_LISTED` at most, by kind and name.
        seconds: Time it took, until everything was on the disk.
        flush_seconds: How much of that was waiting for the disk at the end.
        finished: Whether every input was gone through to its end.
        absent_names: Kind -> the names of the first `MAX_NAMED` of those that are absent.
    """

    store: str
    new: dict[str, int]
    there: dict[str, int]
    same: dict[str, int]
    absent: dict[str, int]
    num_bytes: int
    failed: dict[str, int]
    broken: tuple[Failure, ...]
    failures: tuple[Failure, ...]
    seconds: float
    flush_seconds: float
    finished: bool
    absent_names: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def to_dict(self) -> dict[str, object]:
        """Return plain values, ready for JSON."""
        return asdict(self) | {
            "broken": [failure._asdict() for failure in self.broken],
            "failures": [failure._asdict() for failure in self.failures],
        }


class Step(NamedTuple):
    """What a worker did since its last step.

    Args:
        kind: Kind of the values.
        num_new: Values written.
        num_there: Patches passed over, because the store had them before.
        num_same: Patches that came twice with the same pixels.
        num_bytes: Size of the values written.
        failures: Patches left out.
        read_bytes: How much of an archive has been read so far, compressed; 0 for a folder.
        broken: Why an archive could not be read to its end.
    """

    kind: str
    num_new: int = 0
    num_there: int = 0
    num_same: int = 0
    num_bytes: int = 0
    failures: tuple[Failure, ...] = ()
    read_bytes: int = 0
    broken: Failure | None = None


class Tally:
    """Adds up steps; every count is by kind."""

    def __init__(self) -> None:
        self.new: Counter[str] = Counter()
        self.there: Counter[str] = Counter()
        self.same: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()
        self.read_bytes: Counter[str] = Counter()
        self.num_bytes = 0
        self.failures: list[Failure] = []
        self.failed_names: set[tuple[str, str]] = set()
        self.broken: dict[str, Failure] = {}

    def add(self, step: Step) -> None:
        """Count one more step."""
        self.new[step.kind] += step.num_new
        self.there[step.kind] += step.num_there
        self.same[step.kind] += step.num_same
        self.failed[step.kind] += len(step.failures)
        self.read_bytes[step.kind] = max(step.read_bytes, self.read_bytes[step.kind])
        self.num_bytes += step.num_bytes
        self.failed_names.update((step.kind, failure.name) for failure in step.failures)
        self.failures.extend(step.failures[: MAX_LISTED - len(self.failures)])
        if step.broken is not None:
            self.broken[step.kind] = step.broken

    def seen(self, kind: str) -> int:
        """Return how many patches of a kind were gone through."""
        return self.new[kind] + self.there[kind] + self.same[kind] + self.failed[kind]
