"""Sentinel-2 level 2A as ESA's processing framework EOPF writes it: groups of a Zarr store.

Bands lie in ``measurements/reflectance/r10m/b02`` and so on, the scene classification in
``conditions/mask/l2a_classification/r20m/scl``; attributes of each array give scale, offset and
place, those of the root the STAC item. In a folder, in a zip that is not unpacked, or on the web.

Source: attributes and arrays of the products S2A_MSIL2A_20251008T100041_N0511_R122_T32TQM and
S2C_MSIL2A_20250811T112131_N0511_R037_T29TPF of the EOPF Sentinel Zarr Samples Service, Zarr
version 2, as they are kept in the tests of EOPF-Explorer/data-model at commit 5443117.
"""

import os
import re
import threading
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from reben.errors import (
    GridError,
    MissingBandError,
    cut,
)
from reben.scene.mission import require_mission
from reben.scene.offset import check_given_offset, statements_in
from reben.scene.readers.arrays import BandArray
from reben.scene.readers.safe_files import refuse_level_1c
from reben.scene.readers.stac import Item
from reben.scene.readers.zarr_store import MARKS, SCHEMES, SIGNED, ZarrStore, mapping_of, said
from reben.scene.row_blocks import RowBlocks, Runs, rows_of_block
from reben.scene.sources import BandSources, closed_on_error
from reben.spec.band_names import CLASSIFICATION, RASTER_ENDINGS, native_metres
from reben.spec.bands import S2_FULL

_CLASSES = "conditions/mask/l2a_classification/r20m/scl"
_STORE = re.compile(rf"(?:{'|'.join(SCHEMES)})://[^?#]*?\.zarr(?=/|$)")
_PROPERTIES = ("platform", "constellation")


def is_zarr(product: str | Path) -> bool:
    """Tell whether a path or an address is that of a Zarr store."""
    try:
        address = urlsplit(str(product))
    except ValueError:
        return False
    if address.scheme in SCHEMES:
        return address.path.rstrip("/").endswith((".zarr", ".zarr.zip"))
    # Of os.path, as names that no file can have are no error there.
    if os.path.isfile(product):  # noqa: PTH113
        return str(product).endswith(".zarr.zip")
    return any(os.path.isfile(os.path.join(product, mark)) for mark in MARKS)  # noqa: PTH113, PTH118


def store_of(item: Item) -> str | None:
    """Return the address of the store that the bands of a STAC item lie in; None for files."""
    addresses = [str(asset["href"]) for asset in item.assets.values()]
    if any(address.partition("?")[0].lower().endswith(RASTER_ENDINGS) for address in addresses):
        return None
    stores = {match[0] for address in addresses if (match := _STORE.match(address))}
    return stores.pop() if len(stores) == 1 else None


def read_zarr(product: str | Path, boa_offset: float | None = None) -> BandSources:
    """Return the Sentinel-2 bands of a product of EOPF; for the errors see `open_scene`."""
    check_given_offset(boa_offset)
    store, shown = ZarrStore.open(product), SIGNED.sub("", str(product))
    attributes = store.attributes
    item = mapping_of(attributes.get("stac_discovery"))
    properties = mapping_of(item.get("properties"))
    name = cut(str(item.get("id") or PurePosixPath(shown.rstrip("/")).name), 200)
    for ending in (".SAFE", ".zip", ".zarr"):
        name = name.removesuffix(ending)
    known = {key: properties[key] for key in _PROPERTIES if key in properties}
    require_mission(name, known, "Sentinel-2")
    level = f"{properties.get('product:type')} {properties.get('processing:level')} {name}"
    if "L1C" in level.upper():
        refuse_level_1c(Path(name))
    crs = mapping_of(attributes.get("other_metadata")).get("horizontal_CRS_code")
    crs = crs or properties.get("proj:code") or properties.get("proj:epsg")
    crs = f"EPSG:{crs}" if isinstance(crs, int) else str(crs or "")
    with closed_on_error() as sources:
        for band in (*S2_FULL, CLASSIFICATION):
            path = _path_of(band)
            if store.has(path):
                sources[band] = ZarrBand(store, path, f"{band} of {name}", crs)
        if not set(sources) - {CLASSIFICATION}:
            raise MissingBandError(
                f"{shown} is a Zarr store without {_path_of('B02')}, where products of EOPF have "
                "their bands. Open it with xarray and pass a Dataset with named bands."
            )
        baseline = properties.get("eopf:baseline") or properties.get("processing:version") or ""
        sensed = properties.get("start_datetime") or properties.get("datetime") or ""
        stated = statements_in(properties)
        return BandSources.decided(
            name,
            sources,
            lambda band: [*stated, *sources[band].statements],
            boa_offset,
            where=f"measurements/reflectance of {name}, {{band}} in small letters",
            about={
                "source": "EOPF Zarr",
                "processing_baseline": str(baseline),
                "sensing_time": str(sensed),
            },
        )


class ZarrBand(BandArray):
    """One band of a store; a `reben.scene.sources.BandSource`, read in whole rows of chunks.

    A row of chunks is kept, as it has to be decoded whole: 120 MB of a 10 m band of ESA.

    Args:
        store: The store.
        path: The path of the array in it.
        name: Its name in error messages.
        crs: The reference system, if the store states one for all arrays.
    """

    def __init__(self, store: "ZarrStore", path: str, name: str, crs: str) -> None:
        self._store = store
        self._zarr = array = store.array(path, name, axes=2)
        self._step = rows_of_block(
            name, array.shape, array.dtype.str, array.chunks[0], "Write it in smaller chunks."
        )
        template = store.template(path, array, name)
        super().__init__(template, name, crs)
        if not (self._array.y.equals(template.y) and self._array.x.equals(template.x)):
            raise GridError(f"{name} is not north-up, as every product of EOPF is.")
        tile = self._step, array.chunks[1]
        self._blocks = RowBlocks(
            array.shape, array.dtype.str, tile, self._read_block, threading.Lock()
        )

    def read_rows(
        self,
        top: int,
        height: int,
        columns: tuple[int, int] | None = None,
        needed: Runs | None = None,
    ) -> NDArray[Any]:
        """Return rows ``top`` to ``top + height``, [height, width], as stored."""
        return self._blocks.rows(top, height, columns, needed)

    def close(self) -> None:
        """Forget its rows and close the store, which all bands share."""
        self._blocks.forget()
        self._store.close()

    def _read_block(self, block: int, columns: tuple[int, int]) -> NDArray[Any]:
        top = block * self._step
        with said(f"{self.name} cannot be read in rows {top} to {top + self._step}"):
            return np.asarray(self._zarr[top : top + self._step, slice(*columns)])


def _path_of(band: str) -> str:
    if band == CLASSIFICATION:
        return _CLASSES
    return f"measurements/reflectance/r{native_metres(band)}m/{band.lower()}"
