"""Which satellite an item or a dataset is of, by what its properties say."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from reben.errors import ProductError, ProductLevelError, cut

Mission = Literal["Sentinel-2", "Sentinel-1"]

_KEYS = ("platform", "constellation", "mission")
_OF: Mapping[Mission, re.Pattern[str]] = {
    "Sentinel-2": re.compile(r"sentinel[-_ ]?2|(?<![a-z\d])s2[a-d]?(?![a-z\d])", re.IGNORECASE),
    "Sentinel-1": re.compile(r"sentinel[-_ ]?1|(?<![a-z\d])s1[a-d]?(?![a-z\d])", re.IGNORECASE),
}
_HARMONISED = re.compile(r"(?<![a-z])hls\d?([sl]30)?(?![a-z])", re.IGNORECASE)
_OTHER_COLLECTIONS = re.compile(
    r"(?<![a-z])(landsat|modis|viirs|aster|naip|planetscope|spot|alos|proba|prisma|enmap"
    r"|sentinel[-_ ]?[1-6]|l[cet]0\d|m[oyc]d\d\d|vnp\d\d)(?![a-z])"
    r"|(?<![a-z])m[oyc]d\d\d[a-z]",
    re.IGNORECASE,
)
_OTHER_INSTRUMENTS = re.compile(
    r"(?<![a-z])(oli|tirs|etm|modis|viirs|olci|slstr)(?![a-z])", re.IGNORECASE
)
_LEVEL_1C = re.compile(r"l1c|level[-_ ]?1c", re.IGNORECASE)
# Earth Engine's S1_GRD is made of GRD, and calibrated.
_LEVEL_1 = re.compile(r"(?<![a-z])(?<!copernicus/s1_)(grd|slc|raw)(?![a-z])", re.IGNORECASE)
_CURES: Mapping[Mission, str] = {
    "Sentinel-2": "Use a Sentinel-2 level-2A product of the same place and season.",
    "Sentinel-1": "Use a calibrated, terrain-corrected Sentinel-1 product of the same place.",
}


def is_of(properties: Mapping[str, Any], mission: Mission) -> bool:
    """Tell whether properties name a mission."""
    return any(_OF[mission].search(_text(properties.get(key))) for key in (*_KEYS, "collection"))


def require_mission(name: str, properties: Mapping[str, Any], mission: Mission) -> None:
    """Raise unless properties name a mission, or none; with Sentinel-2 not its level 1C.

    Args:
        name: What the product is called in error messages.
        properties: Of a STAC item with its ``collection``, or of a dataset.
        mission: What it should be of.

    Raises:
        ProductError: If it is of another one.
        ProductLevelError: If its collection is of a level that the models cannot use.

    Example:
        >>> require_mission("LC09", {"platform": "landsat-9"}, "Sentinel-2")
        Traceback (most recent call last):
        reben.errors.ProductError: LC09 is of another satellite than Sentinel-2: its platform is...
    """
    said = {key: _text(properties.get(key)) for key in (*_KEYS, "collection", "instruments")}
    collection = said["collection"]
    wrong = [key for key in _KEYS if said[key] and not _OF[mission].search(said[key])]
    is_other = _OTHER_COLLECTIONS.search(collection) and not _OF[mission].search(collection)
    if is_other or _HARMONISED.search(collection):
        wrong.append("collection")
    if _OTHER_INSTRUMENTS.search(said["instruments"]) and not wrong:
        wrong.append("instruments")
    if wrong:
        words = " and ".join(f"its {key} is {cut(said[key])}" for key in wrong)
        others: list[Mission] = [
            other
            for other, pattern in _OF.items()
            if other != mission and any(pattern.search(said[key]) for key in wrong)
        ]
        cure = _CURES[mission]
        if others == ["Sentinel-1"]:
            cure = f"Pass it as sentinel1= (--sentinel1), beside a product of Sentinel-2. {cure}"
        raise ProductError(
            f"{name} is of another satellite than {mission}: {words}. The models were trained on "
            f"Sentinel-2 and Sentinel-1 of BigEarthNet, and bands of others have other wavelengths "
            f"and pixels, even where they share a name. {cure}"
        )
    levels = [_text(properties.get(key)) for key in ("processing:level", "s2:product_type")]
    _refuse_level(name, [collection, *levels], mission)


def _refuse_level(name: str, said: Sequence[str], mission: Mission) -> None:
    collection, level, product_type = said
    is_1c = _LEVEL_1C.search(collection) or "1C" in product_type.upper()
    if mission == "Sentinel-2" and (is_1c or level.upper() in ("L1C", "L1")):
        raise ProductLevelError(
            f"{name} is of level 1C ({cut(', '.join(filter(None, said)))}): top-of-atmosphere "
            "reflectance. The models were trained on level 2A; use the level-2A item of the same "
            "scene."
        )
    if mission == "Sentinel-1" and _LEVEL_1.search(collection):
        raise ProductLevelError(
            f"{name} is of the collection {cut(collection)}: digital numbers in radar geometry, "
            f"not calibrated. {_CURES[mission]}"
        )


def _text(value: object) -> str:
    if isinstance(value, list | tuple):
        return " ".join(map(str, value))
    return value.strip() if isinstance(value, str) else ""
