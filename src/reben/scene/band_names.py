"""What bands are called: by files, by STAC assets, by arrays. Never told apart by position."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType

from reben.errors import ProductError
from reben.spec.bands import PIXEL_METRES

CLASSIFICATION = "SCL"
"""The name of the scene classification among the bands."""
CLASSIFICATION_METRES = 20

COMMON_NAMES: Mapping[str, str] = MappingProxyType(
    {
        "coastal": "B01",
        "blue": "B02",
        "green": "B03",
        "red": "B04",
        "rededge1": "B05",
        "rededge2": "B06",
        "rededge3": "B07",
        "nir": "B08",
        "nir08": "B8A",
        "nir09": "B09",
        "swir16": "B11",
        "swir22": "B12",
    }
)
"""Common name -> band. ``rededge`` alone is missing: three bands share it.

Source: keys of the assets of Earth Search v1; common names of the STAC extension eo.
"""

_EXTENSIONS = frozenset((".tif", ".tiff", ".jp2"))
_NAME = re.compile(
    r"(?:.*[_.\- ])?(?P<band>B\d[\dA]|[A-Z]{2,3})(?:_(?P<metres>\d\d)m)?", re.IGNORECASE
)


def native_metres(band: str) -> int:
    """Return the pixel size of a band, or of the classification, in metres."""
    return CLASSIFICATION_METRES if band == CLASSIFICATION else PIXEL_METRES[band]


def band_named(text: str) -> str | None:
    """Return the band, or scene classification, that a name means; None if it means none.

    Example:
        >>> band_named("b8a"), band_named("swir16"), band_named("scl"), band_named("rededge")
        ('B8A', 'B11', 'SCL', None)
    """
    upper = text.upper()
    if upper in PIXEL_METRES or upper == CLASSIFICATION:
        return upper
    return COMMON_NAMES.get(text.lower())


def band_files(folder: Path, bands: Iterable[str]) -> dict[str, Path]:
    """Return band -> file for the files in a folder that are named by a band.

    A file is named by a band if its name, without extension, is the band or ends in it after an
    underscore, dot, dash or space, with or without the pixel size: ``B02.tif``,
    ``T33UUP_20230821_B02_10m.jp2``. If there are several pixel sizes, the native one is used.
    """
    wanted = {band.upper(): band for band in bands}
    found: dict[str, dict[int, list[Path]]] = {}
    for path in sorted(folder.iterdir()):
        match = _NAME.fullmatch(path.stem)
        if path.suffix.lower() not in _EXTENSIONS or path.name.startswith(".") or not match:
            continue
        band = wanted.get(match["band"].upper())
        if band:
            metres = int(match["metres"] or 0)
            found.setdefault(band, {}).setdefault(metres, []).append(path)
    return {band: _only(band, sizes, folder) for band, sizes in found.items()}


def _only(band: str, sizes: Mapping[int, list[Path]], folder: Path) -> Path:
    for metres in (native_metres(band), 0, *sorted(sizes)):
        paths = sizes.get(metres, [])
        if len(paths) > 1:
            listed = ", ".join(path.name for path in paths)
            raise ProductError(
                f"Several files in {folder} are named by band {band}: {listed}. Keep one; put the "
                "bands of several scenes into separate folders."
            )
        if paths:
            return paths[0]
    raise AssertionError(band)
