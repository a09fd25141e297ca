"""The patches of a store that no metadata list, as rico-hdl writes it: told by their names."""

import pyarrow as pa

from reben.data.metadata import COLUMN_TYPES, PatchTable
from reben.data.selecting.label_table import UNKNOWN
from reben.data.storage.record import StoreRecord
from reben.data.storage.value import OTHER, kind_of_value, own_kind_of_value
from reben.data.store import Store
from reben.errors import MetadataError, MissingPatchError
from reben.spec.bands import BandSet


def table_of_names(store: Store, bands: BandSet) -> PatchTable:
    """Return the patches of a store by the names in it, in byte order, for bands of one mission.

    Nothing is known of their labels, splits and countries. Patches with names of their own count
    as Sentinel-2.

    Raises:
        MetadataError: If the bands are of both missions: only metadata tell which patches pair.
        MissingPatchError: If there is no patch of that mission.
        StoreError: If it is damaged.
    """
    missions = [name for name in ("Sentinel-2", "Sentinel-1") if bands.of_sensor(name)]
    if len(missions) > 1:
        raise MetadataError(
            f"The store {store.path} holds no metadata, and the model takes bands of both "
            "missions: only metadata tell which Sentinel-1 patch belongs to which Sentinel-2 "
            "patch. Name them: --metadata metadata.parquet (metadata=)."
        )
    kinds = {missions[0], *([OTHER] if missions[0] == "Sentinel-2" else [])}
    kind_of = kind_of_value if StoreRecord.read(store.path).own is None else own_kind_of_value
    names = [name for name in store.names() if kind_of(name) in kinds]
    if not names:
        raise MissingPatchError(
            f"The store {store.path} holds no {missions[0]} patch, which the bands "
            f"{', '.join(bands)} are of. Choose a model for what it holds: reben inspect "
            f"{store.path} shows it."
        )
    number = len(names)
    columns = {
        "patch_id": names,
        "labels": [[]] * number,
        "split": ["test"] * number,
        "country": [UNKNOWN] * number,
        "s1_name": names if missions[0] == "Sentinel-1" else [""] * number,
        "contains_seasonal_snow": [False] * number,
        "contains_cloud_or_shadow": [False] * number,
    }
    rows = pa.table(columns, schema=pa.schema(COLUMN_TYPES.items()))
    return PatchTable.from_arrow(rows)
