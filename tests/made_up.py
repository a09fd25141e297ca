"""Made-up patches in which every band, patch, row and column differs, so that a swap shows."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from reben.data.identity import DATA_FILE
from reben.data.metadata import METADATA_FILE
from reben.data.store import StoreWriter
from reben.spec.bands import ALL_FULL, native_size, sensor

TILE = "S2A_MSIL2A_20170613T101031_N9999_R022_T33UUP"
SCENE = "S1B_IW_GRDH_1SDV_20170612T165809_33UUP"
LABEL_SETS = (
    ("Pastures", "Arable land"),
    ("Urban fabric",),
    ("Mixed forest", "Inland waters", "Broad-leaved forest"),
)

DESCRIPTION = """\
name = "Ramps"
place = "Austria, Finland"
start = 2017-06-13
end = 2017-06-30
labels = "a rule of three"
licence = "cc0-1.0"
citation = "A. Tester: Ramps, 2017"
"""
"""What ``data.toml`` of a made-up store says."""


def patch_id(number):
    return f"{TILE}_{number // 90:02d}_{number % 90:02d}"


def s1_name(number):
    """The name of the partner: of the same place, from another time."""
    return f"{SCENE}_{number // 90}_{number % 90}"


def band(name, number=0):
    """One band of patch ``number``: a ramp of its own, falling in rows and rising in columns."""
    side = native_size(name)
    place = ALL_FULL.index(name)
    rows, columns = np.meshgrid(np.arange(side), np.arange(side), indexing="ij")
    if sensor(name) == "Sentinel-1":
        level = -19.0 if name == "VH" else -12.0
        return (level + 0.02 * columns - 0.01 * rows - 0.3 * number).astype(np.float32)
    return (300 + 150 * place + 7 * number + 3 * columns + (side - rows)).astype(np.uint16)


def patch(number=0, bands=ALL_FULL):
    return {name: band(name, number) for name in bands}


def row(number, split="train", **changes):
    return {
        "patch_id": patch_id(number),
        "labels": list(LABEL_SETS[number % len(LABEL_SETS)]),
        "split": split,
        "country": "Austria" if number % 2 else "Finland",
        "s1_name": s1_name(number),
        "contains_seasonal_snow": False,
        "contains_cloud_or_shadow": False,
        "s2v1_name": f"S2A_MSIL2A_20170613T101031_0_{number}",
        **changes,
    }


def write_metadata(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def write_store(folder, *, num_train=6, num_validation=3, num_test=3):
    """A store of made-up patch pairs with its metadata."""
    splits = ["train"] * num_train + ["validation"] * num_validation + ["test"] * num_test
    rows = [row(number, split) for number, split in enumerate(splits)]
    with StoreWriter(folder) as writer:
        for number in range(len(rows)):
            bands = patch(number)
            sentinel1 = {name: bands.pop(name) for name in ("VV", "VH")}
            writer.put(patch_id(number), bands)
            writer.put(s1_name(number), sentinel1)
    write_metadata(folder / METADATA_FILE, rows)
    (folder / DATA_FILE).write_text(DESCRIPTION, encoding="utf-8")
    return folder


def read_band(store, name, queue):
    """What a worker process does with a store that it was handed."""
    queue.put(store.get(name, ["B02"])["B02"].sum())


def grow(folder):
    """What another process does: add 40 MB to a store."""
    with StoreWriter(folder) as writer:
        for number in range(100, 110):
            writer.put(f"new{number}", {"x": np.full(500_000, number, np.float64)})
