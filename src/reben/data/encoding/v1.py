"""BigEarthNet v1: labels, which lie beside the bands of each patch, and what is to be said of it.

Source: the files ``*_labels_metadata.json`` of BigEarthNet v1.0; names and codes of level 3 of the
CORINE Land Cover nomenclature; the 19 classes are those of `reben.spec.labels`.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from reben.errors import MetadataError, shown
from reben.spec.labels import CORINE_TO_LABEL
from reben.support.json_files import read_json

Scheme = Literal["43", "19"]
"""The labels of BigEarthNet v1: its own 43 CORINE classes, or the 19 of v2.0."""
NAME = "BigEarthNet v1"
LABELS_ENDING = "_labels_metadata.json"
_SENTINEL2 = re.compile(r"S2[AB]_MSIL2A_\d{8}T\d{6}_\d{1,3}_\d{1,3}", re.ASCII)

CORINE_NAMES: Mapping[str, int] = MappingProxyType(
    {
        "Continuous urban fabric": 111,
        "Discontinuous urban fabric": 112,
        "Industrial or commercial units": 121,
        "Road and rail networks and associated land": 122,
        "Port areas": 123,
        "Airports": 124,
        "Mineral extraction sites": 131,
        "Dump sites": 132,
        "Construction sites": 133,
        "Green urban areas": 141,
        "Sport and leisure facilities": 142,
        "Non-irrigated arable land": 211,
        "Permanently irrigated land": 212,
        "Rice fields": 213,
        "Vineyards": 221,
        "Fruit trees and berry plantations": 222,
        "Olive groves": 223,
        "Pastures": 231,
        "Annual crops associated with permanent crops": 241,
        "Complex cultivation patterns": 242,
        "Land principally occupied by agriculture, with significant areas of natural vegetation": 243,  # noqa: E501
        "Agro-forestry areas": 244,
        "Broad-leaved forest": 311,
        "Coniferous forest": 312,
        "Mixed forest": 313,
        "Natural grassland": 321,
        "Moors and heathland": 322,
        "Sclerophyllous vegetation": 323,
        "Transitional woodland/shrub": 324,
        "Beaches, dunes, sands": 331,
        "Bare rock": 332,
        "Sparsely vegetated areas": 333,
        "Burnt areas": 334,
        "Inland marshes": 411,
        "Peatbogs": 412,
        "Salt marshes": 421,
        "Salines": 422,
        "Intertidal flats": 423,
        "Water courses": 511,
        "Water bodies": 512,
        "Coastal lagoons": 521,
        "Estuaries": 522,
        "Sea and ocean": 523,
    }
)
"""Label of v1 -> CORINE code."""
DATA_TOML = """\
name = "BigEarthNet v1.0, {labels} labels"
place = "Austria, Belgium, Finland, Ireland, Kosovo, Lithuania, Luxembourg, Portugal, Serbia, \
Switzerland"
start = 2017-06-01
end = 2018-05-31
labels = "CORINE Land Cover 2018, {labels} classes"
licence = "Community Data License Agreement, Permissive, version 1.0"
citation = "arXiv:1902.06148"
url = "https://bigearth.net/"
"""
"""What the store says of its data, for cards."""


def is_v1_name(name: str) -> bool:
    """Tell whether a patch is called like one of BigEarthNet v1.

    Example:
        >>> is_v1_name("S2A_MSIL2A_20170613T101031_0_45")
        True
        >>> is_v1_name("S2A_MSIL2A_20170613T101031_N9999_R022_T33UUP_26_57")
        False
    """
    return _SENTINEL2.fullmatch(name) is not None


def read_v1_labels(path: Path, scheme: Scheme) -> tuple[list[str], str]:
    """Return the labels in the JSON of a patch, and its Sentinel-2 partner, empty if not told.

    Raises:
        MetadataError: If the file is not as it should be.
    """
    values = read_json(path, dict[str, Any], MetadataError, "Unpack it again.")
    names = values.get("labels")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise MetadataError(f"{path} has no list of labels. Unpack it again.")
    unknown = [name for name in names if name not in CORINE_NAMES]
    if unknown:
        raise MetadataError(
            f"{path} has the label {shown(unknown[0])}, which is none of the {len(CORINE_NAMES)} "
            "of BigEarthNet v1. Give the labels of your own patches with --labels FILE."
        )
    partner = values.get("corresponding_s2_patch", "")
    partner = partner if isinstance(partner, str) else ""
    if scheme == "43":
        return names, partner
    codes = (CORINE_NAMES[name] for name in names)
    return sorted({CORINE_TO_LABEL[code] for code in codes if code in CORINE_TO_LABEL}), partner
