"""Metadata and store together: which of the patches that are listed the store holds."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from reben.data.metadata import PatchTable
from reben.data.storage.environment import stored_keys
from reben.data.storage.record import StoreRecord
from reben.data.store import Store
from reben.errors import MissingPatchError
from reben.spec.bands import BandSet, Sensor

_COLUMNS: Mapping[Sensor, str] = {"Sentinel-2": "patch_id", "Sentinel-1": "s1_name"}


def keep_stored(store: Store, table: PatchTable, bands: BandSet) -> PatchTable:
    """Return the patches of which a store holds what bands need, judging by names.

    A mission of which it holds no patch at all is not asked for: the same store may be read with
    other bands. Values are not read; the names of the whole data set take some two seconds.

    Raises:
        MissingPatchError: If it holds none of the patches.
        StoreError: If it is damaged.
    """
    keys = pa.array(list(stored_keys(store.path)), pa.binary())
    missions = [mission for mission in _COLUMNS if bands.of_sensor(mission)]
    found = [
        pc.is_in(table.rows.column(_COLUMNS[mission]).cast(pa.binary()), value_set=keys)
        for mission in missions
    ]
    there = [one for one in found if pc.any(one).as_py()]
    if not there:
        names = table.rows.column(_COLUMNS[missions[0]])
        raise MissingPatchError(
            f"The store {store.path} holds none of the {len(table):,} {missions[0]} patches that "
            "the metadata list and the filters leave, the first one "
            f"{names[0].as_py() or 'without a name'}.{why_part(store.path)} Use fewer filters, "
            "name the metadata of this store with --metadata FILE (metadata=), choose bands that "
            "it has, or encode the patches into it."
        )
    keep = there[0] if len(there) == 1 else pc.and_(*there)
    return table if pc.all(keep).as_py() else table.take(np.flatnonzero(keep))


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
