"""What became of an encoding: counts, and every patch that was left out with the reason."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import NamedTuple

from reben.errors import ArchiveError, EncodeError
from reben.spec.patches import Bounds

Progress = Callable[[int, int | None, int], None]
"""Called with patches done, patches in all if known, and bytes written."""
MAX_LISTED = 10_000
"""Failures that a report lists; all of them are counted."""
MAX_NAMED = 10
"""Missing patches of each kind that a report names; all of them are counted."""


class Failure(NamedTuple):
    """A patch that was left out, or an input that could not be read to its end.

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
        new: Kind -> values written.
        there: Kind -> patches skipped, because they were in the store before.
        same: Kind -> patches that came twice with the same pixels.
        absent: Kind -> patches that the metadata list (and the filters select) and that neither
            the input nor the store holds; empty without metadata.
        num_bytes: Size of the values written.
        failed: Kind -> patches left out.
        broken: Inputs that could not be read to their end, or hold no patch at all.
        failures: The patches left out, `MAX_LISTED` at most, by kind and name.
        seconds: Time it took, until everything was on disk.
        flush_seconds: How much of that was waiting for the disk at the end.
        finished: Whether every input was read to its end.
        absent_names: Kind -> the names of the first `MAX_NAMED` patches counted in ``absent``.
        filled: Kind -> patches of which a few pixels without data were filled.
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
    filled: dict[str, int] = field(default_factory=dict)

    def to_dict(self) -> dict[str, object]:
        """Return plain values, ready for JSON."""
        return asdict(self) | {
            "broken": [failure._asdict() for failure in self.broken],
            "failures": [failure._asdict() for failure in self.failures],
        }


class Step(NamedTuple):
    """What a worker did since its last step: counts as in `EncodeReport`.

    ``read_bytes`` is how much of an archive has been read so far, compressed; 0 for a folder.
    ``moved`` has the patches whose files lie elsewhere than their names say, with where; ``notes``
    what else is to be said, and of how many patches.
    """

    kind: str
    num_new: int = 0
    num_there: int = 0
    num_same: int = 0
    num_bytes: int = 0
    failures: tuple[Failure, ...] = ()
    read_bytes: int = 0
    broken: Failure | None = None
    num_filled: int = 0
    moved: Mapping[str, Bounds] = {}
    notes: Mapping[str, int] = {}

    @property
    def num_patches(self) -> int:
        """How many patches it is about."""
        return self.num_new + self.num_there + self.num_same + len(self.failures)


class Tally:
    """Adds up steps; every count is by kind."""

    def __init__(self) -> None:
        self.new: Counter[str] = Counter()
        self.there: Counter[str] = Counter()
        self.same: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()
        self.filled: Counter[str] = Counter()
        self.moved: dict[str, Bounds] = {}
        self.notes: Counter[str] = Counter()
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
        self.filled[step.kind] += step.num_filled
        self.moved |= step.moved
        self.notes.update(step.notes)
        self.read_bytes[step.kind] = max(step.read_bytes, self.read_bytes[step.kind])
        self.num_bytes += step.num_bytes
        self.failed_names.update((step.kind, failure.name) for failure in step.failures)
        self.failures.extend(step.failures[: MAX_LISTED - len(self.failures)])
        if step.broken is not None:
            self.broken[step.kind] = step.broken

    def seen(self, kind: str) -> int:
        """Return how many patches of a kind were processed."""
        return self.new[kind] + self.there[kind] + self.same[kind] + self.failed[kind]


def error_of(report: EncodeReport, *, strict: bool, is_stopped: bool) -> EncodeError | None:
    """Return the error that a report calls for, or None."""
    num_failed = sum(report.failed.values())
    if report.broken:
        more = f" {num_failed} patches were left out as well." if num_failed else ""
        return ArchiveError(f"{report.broken[0].reason}{more}")
    if num_failed:
        first = report.failures[0]
        if is_stopped:
            return EncodeError(f"Stopped at {first.name}: {first.reason}. The store is valid.")
        counted = (report.new, report.there, report.same, report.failed)
        num_seen = sum(sum(counts.values()) for counts in counted)
        return EncodeError(
            f"{num_failed} of {num_seen} patches were left out, the first one {first.name}: "
            f"{first.reason}. All are listed in encode-report.json in the store. Repair the files "
            "and run the same command again: it does only what is missing."
        )
    if strict and any(report.absent.values()):
        missing = ", ".join(
            f"{count} {kind}, the first one {report.absent_names[kind][0]}"
            for kind, count in report.absent.items()
            if count
        )
        return EncodeError(
            f"Patches listed in the metadata are missing: {missing}. All others were encoded. Add "
            "the missing ones and run the same command again, or run it without strict."
        )
    return None
