"""Metadata and store together: which of the patches that are listed the store holds."""

import json
import re
from pathlib import Path

import numpy as np

from reben.data.metadata import PatchTable
from reben.data.places import require_partners
from reben.data.storage.environment import all_stored
from reben.data.storage.names import Names
from reben.data.storage.record import StoreRecord
from reben.data.store import Store
from reben.errors import MissingPatchError
from reben.spec.bands import BandSet, Sensor
from reben.spec.patches import REFERENCE_MAP_SUFFIX

_USUAL_END = re.compile(rb"[A-Z]{2}_\d\d_\d\d")
_AT_ONCE = 1 << 14


def keep_stored(store: Store, table: PatchTable, bands: BandSet) -> PatchTable:
    """Return the patches of which a store holds what bands need, judging by names.

    A mission of which it holds no patch at all is not asked for: the same store may be read with
    other bands. Values are not read; the names of the whole data set take some two seconds.

    Raises:
        MissingPatchError: If it holds none of the patches.
        StoreError: If it is damaged.
    """
    stored = all_stored(store.path, without=REFERENCE_MAP_SUFFIX)
    names_of = {mission: names for mission, names in _missions(table) if bands.of_sensor(mission)}
    found = [names.are_in(stored) for names in names_of.values()]
    there = [one for one in found if one.any()]
    if not there:
        mission, names = next(iter(names_of.items()))
        raise MissingPatchError(
            f"The store {store.path} holds none of the {len(table):,} {mission} patches that "
            "the metadata list and the filters leave, the first one "
            f"{names[0] or 'without a name'}.{why_part(store.path)} Use fewer filters, "
            "name the metadata of this store with --metadata FILE (metadata=), choose bands that "
            "it has, or encode the patches into it."
        )
    keep = np.logical_and.reduce(there)
    return table if keep.all() else table.take(keep)


def find_missing(
    store: Store, table: PatchTable, bands: BandSet, *, masks: bool
) -> tuple[list[str], int]:
    """Return the names of values that patches need and a store lacks, and how many they need."""
    wanted = [
        (names, "") for mission, names in _missions(table) if bands.of_sensor(mission)
    ] + masks * [(table.names, REFERENCE_MAP_SUFFIX)]
    missing: dict[str, None] = {}
    for suffix in sorted({suffix for _, suffix in wanted}):
        stored = all_stored(store.path, suffix, without="" if suffix else REFERENCE_MAP_SUFFIX)
        for names in (names for names, of in wanted if of == suffix):
            rows = np.flatnonzero(~names.are_in(stored))
            missing |= dict.fromkeys(name + suffix for name in names.texts(rows))
    return list(missing), len(wanted) * len(table)


def require_all_partners(table: PatchTable) -> None:
    """Raise a PlaceError if the names of a pair are of different places; see `require_partners`.

    Of the pairs whose names end alike in the usual way, one for each two heads tells for all.
    """
    first, second = table.names, table.partners
    usual = np.array([_USUAL_END.fullmatch(tail) is not None for tail in first.tail_bytes()])
    alike = usual[first.tail_numbers()] & (first.ends() == second.ends())
    heads = first.head_numbers() << np.int64(32) | second.head_numbers()
    _, one_each = np.unique(heads[alike], return_index=True)
    rows = np.concatenate([np.flatnonzero(alike)[one_each], np.flatnonzero(~alike)])
    for at in range(0, len(rows), _AT_ONCE):
        some = rows[at : at + _AT_ONCE]
        for pair in zip(first.texts(some), second.texts(some), strict=True):
            require_partners(*pair)


def _missions(table: PatchTable) -> list[tuple[Sensor, Names]]:
    return [("Sentinel-2", table.names), ("Sentinel-1", table.partners)]


def why_part(store: Path) -> str:
    """Return in a sentence, after a space, why a store may lack patches; empty if unknown."""
    record = StoreRecord.read(store)
    num_failed = sum(source.num_failures for source in record.sources)
    asked = {json.dumps(source.selection) for source in record.sources if source.selection}
    if record.sources and not record.finished:
        return (
            " The store is unfinished: its encoding was stopped, or is going on. The same reben "
            "encode command goes on from there."
        )
    if num_failed:
        return (
            f" {num_failed:,} patches were left out when it was encoded; encode-report.json in it "
            "says why."
        )
    if asked:
        return f" It was encoded as a part: {', '.join(sorted(asked))}."
    return ""
