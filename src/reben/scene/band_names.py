"""The names that files, assets and arrays give to Sentinel-2 bands, besides the bands' own."""

from collections.abc import Mapping
from types import MappingProxyType

from reben.scene.alignment import CLASSIFICATION
from reben.spec.bands import PIXEL_METRES

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
"""Common name -> band. ``rededge`` alone is not here: three bands are called so.

Source: keys of the assets of Earth Search v1; common names of the STAC extension eo.
"""


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
