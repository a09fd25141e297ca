"""A product in a folder: ESA's format, a part of it, or one file for each band.

Parts of a product keep their place in it (``R10m``, ``IMG_DATA``, ``GRANULE``), so that its
metadata are found: beside the bands, or in the folders of the product above them.

Source: layout of ESA's products; of the bucket sentinel-s2-l2a: ``R10m``, ``R20m`` and ``R60m``
with ``metadata.xml`` of the tile and ``tileInfo.json`` above them, which name the product.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from reben.errors import MissingBandError, ProductError, cut
from reben.scene.band_names import band_files, product_folders
from reben.scene.band_source import BandFile
from reben.scene.offset import ScaleStatement, check_given_offset, offset_of_baseline
from reben.scene.readers.safe import Safe, read_safe
from reben.scene.readers.safe_files import (
    LEVEL_1C_FILE,
    METADATA_FILE,
    SafeFiles,
    first_text,
    parse_metadata,
    refuse_level_1c,
)
from reben.scene.sources import BandSources, closed_on_error
from reben.spec.band_names import CLASSIFICATION
from reben.spec.bands import S2_FULL
from reben.support.bounds import MAX_XML_BYTES, read_file
from reben.support.json_files import read_json
from reben.support.times import time_in

_XML_FILES = (METADATA_FILE, "MTD_TL.xml", "metadata.xml")
_JSON_FILES = {"tileInfo.json": "productName", "productInfo.json": "name"}
_MARKS = (METADATA_FILE, LEVEL_1C_FILE, "zarr.json", ".zgroup")
_ENDINGS = (".SAFE", ".zarr")
_IS_ESA = re.compile(rb"Level-(1C|2A)_(User_Product|Tile_ID)")
_START_BYTES = 1000
_PRODUCT_NAME = re.compile(r"S2[A-D]_MSIL(?P<level>1C|2A)_\w+?_N(?P<first>\d\d)(?P<last>\d\d)_\w+")
_TILE_ID = re.compile(r"_N(\d\d\.\d\d)$")


def read_folder(folder: Path, boa_offset: float | None = None) -> BandSources:
    """Return the Sentinel-2 bands of a folder; for the errors see `open_scene`."""
    check_given_offset(boa_offset)
    for above in product_folders(folder):
        if (above / METADATA_FILE).exists():
            if (above / "GRANULE").is_dir() or not _paths(folder):
                return read_safe(SafeFiles.open(above), boa_offset)
        elif (above / LEVEL_1C_FILE).exists():
            refuse_level_1c(above)
    paths = _paths(folder)
    if not set(paths) - {CLASSIFICATION}:
        if folder.name.endswith(".SAFE"):
            SafeFiles.open(folder)  # says that it has no metadata
        names = sorted(path.name for path in folder.iterdir())[:5]
        listed = f"It holds: {', '.join(names)}." if names else "It is empty."
        raise MissingBandError(
            f"{folder} has no file named by a band, such as B02.tif or ..._B02_10m.tif. {listed}"
        )
    known = _Metadata.of(folder, paths.values())
    with closed_on_error() as sources:
        for band, path in paths.items():
            sources[band] = BandFile(str(path))
        found = BandSources.decided(
            known.name,
            sources,
            lambda band: [*known.said(band), *sources[band].statements],
            boa_offset,
            where=f"{folder.name}/..._{{band}}.tif",
            about={"source": "one file per band", **_sensed(paths.values()), **known.about},
        )
    safe = known.safe
    return found if safe is None else replace(found, no_data=safe.no_data, saturated=safe.saturated)


def _sensed(paths: Iterable[Path]) -> dict[str, str]:
    """Return when a scene was acquired, where the names of its files agree on it."""
    times = {when for path in paths if (when := time_in([path.name]))}
    return {"sensing_time": f"{times.pop():%Y-%m-%dT%H:%M:%SZ}"} if len(times) == 1 else {}


def product_in(folder: Path) -> Path:
    """Return the only Sentinel-2 product in a folder; the folder itself if it is or holds none.

    Raises:
        ProductError: If it holds several.
    """
    if any((folder / mark).exists() for mark in _MARKS) or _paths(folder):
        return folder
    products = [path for path in sorted(folder.iterdir()) if _is_product(path)]
    if len(products) > 1:
        listed = cut(", ".join(path.name for path in products), 300)
        raise ProductError(
            f"{folder} holds {len(products)} products: {listed}. Name one of them: {products[0]}; "
            "or list all in a file, one a line, and pass it with --list FILE --out-dir DIR."
        )
    return products[0] if products else folder


def _is_product(path: Path) -> bool:
    if path.name.startswith((".", "S1")):
        return False
    if path.is_dir():
        return path.suffix in _ENDINGS or any((path / mark).is_file() for mark in _MARKS[:2])
    is_archive = path.name.endswith((".SAFE.zip", ".zarr.zip"))
    return is_archive or (path.suffix == ".zip" and bool(_PRODUCT_NAME.match(path.name)))


def _paths(folder: Path) -> dict[str, Path]:
    return band_files(folder, (*S2_FULL, CLASSIFICATION))


@dataclass
class _Metadata:
    """What the files beside bands, and above them in the same product, say about them."""

    name: str
    safe: Safe | None = None
    statements: list[ScaleStatement] = field(default_factory=list)

    @classmethod
    def of(cls, folder: Path, paths: Iterable[Path]) -> "_Metadata":
        """Return what they say; raise a ProductLevelError if they are of level 1C."""
        known = cls(product_folders(folder)[-1].name.removesuffix(".SAFE"))
        above = dict.fromkeys(here for path in paths for here in product_folders(path.parent))
        for here in above:
            for name in _XML_FILES:
                if (here / name).exists():
                    known._add_xml(here / name)
            for name, key in _JSON_FILES.items():
                if (here / name).exists():
                    known._add_json(here / name, key)
        return known

    def said(self, band: str) -> list[ScaleStatement]:
        """Return what they state about the numbers of a band."""
        return self.statements if self.safe is None else self.safe.statements_of(band)

    @property
    def about(self) -> dict[str, str]:
        """Facts about the product, for provenance."""
        return {} if self.safe is None else self.safe.about

    def _add_xml(self, path: Path) -> None:
        try:
            content = read_file(path, MAX_XML_BYTES)
        except OSError as error:
            raise ProductError(
                f"{path} cannot be read: {error.strerror or error}. Download it again."
            ) from None
        if not _IS_ESA.search(content[:_START_BYTES]):
            return
        root = parse_metadata(content, str(path))
        if "1C" in root.tag:
            refuse_level_1c(path.parent)
        if root.tag.endswith("User_Product"):
            self.safe = Safe.parse(content, str(path))
            self.name = self.safe.name.removesuffix(".SAFE") or self.name
        tile = first_text(root, "TILE_ID", "TILE_ID_2A") or ""
        match = _TILE_ID.search(tile)
        if match:
            self._add_baseline(f"{path.name} is of the tile {cut(tile)}", match[1])

    def _add_json(self, path: Path, key: str) -> None:
        told = read_json(path, dict[str, Any], ProductError, "Download it again, or remove it.")
        name = str(told.get(key, ""))
        match = _PRODUCT_NAME.fullmatch(name)
        if match is None:
            return
        if match["level"] == "1C":
            refuse_level_1c(path.parent)
        self.name = name
        self._add_baseline(f"{path.name} is of {name}", f"{match['first']}.{match['last']}")

    def _add_baseline(self, said: str, baseline: str) -> None:
        offset = offset_of_baseline(baseline)
        if offset is not None:
            words = f"{said}, processing baseline {baseline}"
            self.statements.append(ScaleStatement(words, offset))
