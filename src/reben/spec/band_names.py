"""What bands are called by others: in names of files, in assets, in descriptions.

Bands are told by name, never by position. This is the only place that knows such names; patches
and scenes, files and arrays ask here.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from reben.spec.bands import BANDS, PIXEL_METRES
from reben.spec.patches import REFERENCE_MAP_SUFFIX

CLASSIFICATION = "SCL"
"""The name of the scene classification among the bands."""
CLASSIFICATION_METRES = 20
REFERENCE_MAP_TENSOR = "Data"
"""What a reference map is called where bands have their names."""
TIFF_ENDINGS = (".tif", ".tiff")
RASTER_ENDINGS = (*TIFF_ENDINGS, ".jp2")

COMMON_NAMES: Mapping[str, str] = MappingProxyType(
    {
        **{band.spectrum.common_name: name for name, band in BANDS.items() if band.spectrum},
        "rededge1": "B05",
        "rededge2": "B06",
        "rededge3": "B07",
    }
)
"""Common name -> band. ``rededge`` alone is missing: three bands share it.

Source: keys of the assets of Earth Search v1; common names of the STAC extension eo 1 and 2.
"""

_BAND = r"(?P<band>B0?[1-9]|B1[0-2]|B8A|VV|VH|SCL)(?:_(?P<metres>10|20|60)m)?"
_NAME = re.compile(_BAND, re.IGNORECASE | re.ASCII)
_FILE = re.compile(
    rf"(?:(?P<before>.*)[_.\- ])?(?:{_BAND}|{REFERENCE_MAP_SUFFIX[1:]})(?P<ending>\.\w+)",
    re.IGNORECASE | re.ASCII | re.DOTALL,
)
_DESCRIPTION = re.compile(
    rf"(?:(?P<before>.*)[_.:\- ])?{_BAND}(?:\s*[,(].*)?", re.IGNORECASE | re.ASCII | re.DOTALL
)
_SENTINEL = re.compile(
    r"(?<![a-z\d])(?:s[12][a-d]?|sentinel[-_ ]?[12][a-d]?|msi|t\d\d[a-z]{3})(?![a-z\d])",
    re.IGNORECASE | re.ASCII,
)
_OTHER_SATELLITES = re.compile(r"L[CETMO]\d\d_|HLS[._]|MOD\d|MYD\d|VNP\d", re.IGNORECASE)
_QUANTITY = re.compile(r"(?:.*_)?(?:SR|TOA|sur_refl)", re.IGNORECASE)  # of Landsat and MODIS


class BandFile(NamedTuple):
    """What the name of a file says."""

    patch: str
    """What stands before the band: mostly the name of the patch or tile; may be empty."""
    tensor: str
    """The band, `CLASSIFICATION`, B10, which no patch has, or `REFERENCE_MAP_TENSOR`."""
    metres: int
    """The pixel size behind the band; 0 if none is there."""


def native_metres(band: str) -> int:
    """Return the pixel size of a band, or of the classification, in metres."""
    return CLASSIFICATION_METRES if band == CLASSIFICATION else PIXEL_METRES[band]


def band_named(text: str) -> str | None:
    """Return the band, or scene classification, that a name means; None if it means none.

    Example:
        >>> band_named("b8a"), band_named("B2"), band_named("B02_10m"), band_named("swir16")
        ('B8A', 'B02', 'B02', 'B11')
        >>> band_named("scl"), band_named("rededge"), band_named("B10")
        ('SCL', None, None)
    """
    match = _NAME.fullmatch(text.strip())
    if match is None:
        return COMMON_NAMES.get(text.strip().lower())
    band = _padded(match["band"])
    return band if band in PIXEL_METRES or band == CLASSIFICATION else None


def metres_named(text: str) -> int:
    """Return the pixel size behind the name of a band; 0 if none is there.

    Example:
        >>> metres_named("B05_20m"), metres_named("B05")
        (20, 0)
    """
    match = _NAME.fullmatch(text.strip())
    return int(match["metres"] or 0) if match else 0


def band_described(text: str) -> str | None:
    """Return the band that the description of a band in a file means; None if it means none.

    Before the name may stand what tells a product of Sentinel: its name, or a tile; behind it what
    is in brackets or after a comma.

    Example:
        >>> band_described("S2_B02"), band_described("20230821T101031_20230821T101559_T33UUP_B2")
        ('B02', 'B02')
        >>> band_described("B8A, central wavelength 865 nm"), band_described("Blue")
        ('B8A', 'B02')
        >>> band_described("SR_B2"), band_described("sur_refl_b02"), band_described("Band 2")
        (None, None, None)
    """
    match = _DESCRIPTION.fullmatch(text.strip())
    if match is None:
        return band_named(text)
    before = (match["before"] or "").replace("_", " ")
    return band_named(match["band"]) if not before or _SENTINEL.search(before) else None


def match_band_file(file: str, endings: tuple[str, ...] = TIFF_ENDINGS) -> BandFile | None:
    """Return which band of what a file holds, by its name; None if it is another file.

    The band stands at the end, alone or after an underscore, dot, dash or space, in any case, with
    or without its pixel size. Files of satellites whose bands have the same names, such as
    Landsat's, are other files, and so are hidden ones, where macOS keeps attributes.

    Args:
        file: Name of the file, without its folder.
        endings: What such a file may end with, in small letters.

    Example:
        >>> match_band_file("field_7_B8A.tif")
        BandFile(patch='field_7', tensor='B8A', metres=0)
        >>> match_band_file("b2_10m.TIFF")
        BandFile(patch='', tensor='B02', metres=10)
        >>> match_band_file("LC08_L2SP_193023_20230821_02_T1_SR_B2.TIF")
    """
    match = _FILE.fullmatch(file)
    if match is None or file.startswith(".") or match["ending"].lower() not in endings:
        return None
    before = match["before"] or ""
    is_sentinel = _SENTINEL.search(before.replace("_", " "))
    if _OTHER_SATELLITES.match(file) or (_QUANTITY.fullmatch(before) and not is_sentinel):
        return None
    band = match["band"]
    tensor = _padded(band) if band else REFERENCE_MAP_TENSOR
    return BandFile(before, tensor, int(match["metres"] or 0))


def nativeness(band: str, metres: int) -> tuple[bool, int]:
    """Return a key that sorts files of one band: its own pixel size first, then an unsaid one."""
    return metres != native_metres(band), metres


def _padded(band: str) -> str:
    return f"B0{band[1:]}" if len(band) == 2 and band[1:].isdigit() else band.upper()
