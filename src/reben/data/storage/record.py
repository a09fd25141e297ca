"""``store.json``: what a store is, where it came from, and whether it is finished.

The file lies beside ``data.mdb`` and says what LMDB cannot. Other tools ignore it, and a store
without one is as good. It names sources by their last name only, never by a path.
"""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import ClassVar, Self

from reben.data.storage.value import kind_of_value, own_kind_of_value
from reben.data.storage.writer import boot_id
from reben.errors import StoreError
from reben.support.atomic import write_text
from reben.support.json_files import Count, read_json

RECORD_FILE = "store.json"
FORMAT_VERSION = 1
_CURE = "Remove it; the next encode writes a new one."


@dataclass(frozen=True)
class SourceRecord:
    """One input of an encoding.

    Args:
        kind: ``Sentinel-2``, ``Sentinel-1`` or ``reference map``.
        name: Name of the folder or file, without the folders above it; ``-`` for a pipe.
        selection: The filters, for example ``{"split": "train"}``; empty for all of it.
        num_failures: Patches that were left out.
        finished: Whether it was read to its end.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    kind: str
    name: str
    selection: dict[str, str | Count | list[str]]
    num_failures: Count = 0
    finished: bool = False


@dataclass(frozen=True)
class OwnPatches:
    """What patches of one's own in a store are, all of them alike.

    Args:
        size: Side length in pixels of 10 m; see `reben.spec.bands.native_size`.
        bands: Kind -> the bands of each value.
        scheme: ``own``, or ``BigEarthNet v1``.
        options: How they were made of their files: band names, resampling, crop, tile.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    size: Count
    bands: dict[str, list[str]]
    scheme: str = "own"
    options: dict[str, str | Count] = field(default_factory=dict)


@dataclass(frozen=True)
class StoreRecord:
    """What ``store.json`` says.

    Args:
        sources: The inputs, in the order in which they were first encoded.
        values: Kind -> values in the store; None during an encoding.
        metadata: File names of the metadata tables in the folder.
        finished: Whether every source is.
        written_since_boot: During an encoding, the boot of the machine it belongs to: what it
            wrote survives any process, but not a failure of the machine.
        reben_version: Version of reben that wrote last.
        format_version: Of the store; see docs/data.md.
        own: What its patches are, if they are not those of BigEarthNet v2.0.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    sources: tuple[SourceRecord, ...]
    values: dict[str, Count] | None
    metadata: tuple[str, ...]
    finished: bool = False
    written_since_boot: str = ""
    reben_version: str = ""
    format_version: Count = FORMAT_VERSION
    own: OwnPatches | None = None

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Return the record in a store's folder, or an empty one."""
        path = folder / RECORD_FILE
        if not path.exists():
            return cls((), None, ())
        there = read_json(path, _Version, StoreError, _CURE).format_version
        if there > FORMAT_VERSION:
            raise StoreError(
                f"{path} has format version {there}; this reben knows {FORMAT_VERSION}. "
                "Install a newer reben."
            )
        record = read_json(path, cls, StoreError, _CURE)
        if record.written_since_boot not in ("", boot_id()):
            raise StoreError(
                f"The machine went down while the store {folder} was being written, so part of it "
                "may not have reached the disk. Encode into a new folder; or, if the machine was "
                f"shut down properly, remove written_since_boot from {path.name} there and go on."
            )
        return record

    def with_sources(self, sources: Iterable[SourceRecord]) -> Self:
        """Return a record with these sources instead of those of the same kind and name."""
        new = {(source.kind, source.name): source for source in sources}
        known = [new.pop((old.kind, old.name), old) for old in self.sources]
        together = (*known, *new.values())
        return replace(self, sources=together, finished=all(source.finished for source in together))

    def write(self, folder: Path) -> None:
        """Write it, whole or not at all; raise `OutputError` if that fails."""
        values = asdict(replace(self, reben_version=version("reben")))
        if self.own is None:  # so that older versions read it
            del values["own"]
        write_text(folder / RECORD_FILE, json.dumps(values, indent=2) + "\n")


@dataclass(frozen=True)
class _Version:
    """The part of the record that every version has."""

    format_version: Count


def count_values(names: Iterable[str], *, own: bool = False) -> dict[str, int]:
    """Return how many values of each kind there are among ``names``; see `own_kind_of_value`."""
    return dict(sorted(Counter(map(own_kind_of_value if own else kind_of_value, names)).items()))
