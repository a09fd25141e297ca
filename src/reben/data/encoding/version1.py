"""BigEarthNet v1.0: its folders, and the labels in the JSON file of each of them.

Its 43 labels are classes of CORINE Land Cover; the 19 that v2.0 has as well are made of 32 of them.

Source: arXiv:1902.06148 (Sentinel-2), arXiv:2105.07921 (Sentinel-1, 19 labels); names as in the
label files.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from reben.data.encoding.own_labels import Labelled, Labels
from reben.data.identity import OFFICIAL
from reben.errors import MetadataError
from reben.spec.labels import CORINE_TO_LABEL
from reben.spec.patches import Bounds
from reben.support.json_files import read_json

Scheme = Literal["43", "19"]
"""Which labels the patches of v1.0 get: their own, or those that v2.0 has as well."""
LABEL_FILE = "_labels_metadata.json"
"""What stands behind the name of a patch in the name of its label file."""
_NAME = re.compile(r"S2[AB]_MSIL2A_\d{8}T\d{6}_\d{1,3}_\d{1,3}")
_CLASSES = {
    111: "Continuous urban fabric",
    112: "Discontinuous urban fabric",
    121: "Industrial or commercial units",
    122: "Road and rail networks and associated land",
    123: "Port areas",
    124: "Airports",
    131: "Mineral extraction sites",
    132: "Dump sites",
    133: "Construction sites",
    141: "Green urban areas",
    142: "Sport and leisure facilities",
    211: "Non-irrigated arable land",
    212: "Permanently irrigated land",
    213: "Rice fields",
    221: "Vineyards",
    222: "Fruit trees and berry plantations",
    223: "Olive groves",
    231: "Pastures",
    241: "Annual crops associated with permanent crops",
    242: "Complex cultivation patterns",
    243: "Land principally occupied by agriculture, with significant areas of natural vegetation",
    244: "Agro-forestry areas",
    311: "Broad-leaved forest",
    312: "Coniferous forest",
    313: "Mixed forest",
    321: "Natural grassland",
    322: "Moors and heathland",
    323: "Sclerophyllous vegetation",
    324: "Transitional woodland/shrub",
    331: "Beaches, dunes, sands",
    332: "Bare rock",
    333: "Sparsely vegetated areas",
    334: "Burnt areas",
    411: "Inland marshes",
    412: "Peatbogs",
    421: "Salt marshes",
    422: "Salines",
    423: "Intertidal flats",
    511: "Water courses",
    512: "Water bodies",
    521: "Coastal lagoons",
    522: "Estuaries",
    523: "Sea and ocean",
}
CORINE_OF: Mapping[str, int] = MappingProxyType({name: code for code, name in _CLASSES.items()})
"""Label of v1.0 -> CORINE level-3 code."""
LABELS_43 = tuple(sorted(CORINE_OF))
_CURE = "Take the file from the archive of BigEarthNet v1.0 again."


def is_version1_name(name: str) -> bool:
    """Tell whether a folder is a Sentinel-2 patch of v1.0, by its name.

    Example:
        >>> is_version1_name("S2A_MSIL2A_20170613T101031_0_45")
        True
        >>> is_version1_name("S2A_MSIL2A_20170613T101031_N9999_R022_T33UUP_0_45")
        False
    """
    return _NAME.fullmatch(name) is not None


class LabelsOfFiles(Labels):
    """The labels in the files beside the bands.

    Args:
        folders: Patch -> its folder.
        scheme: Which labels they get.
        splits: Patch -> its split, where it is known.
        s1_names: Patch -> the Sentinel-1 patch that belongs to it.
    """

    def __init__(
        self,
        folders: Mapping[str, Path],
        scheme: Scheme,
        splits: Mapping[str, str],
        s1_names: Mapping[str, str],
    ) -> None:
        self._folders, self._scheme = folders, scheme
        self._splits, self._s1_names = splits, s1_names

    def of(self, name: str, place: Bounds | None) -> Labelled | None:
        """Return the labels of a patch; None if it has none of the 19."""
        file = self._folders[name] / f"{name}{LABEL_FILE}"
        found = read_label_file(file)["labels"]
        unknown = [label for label in found if label not in CORINE_OF]
        if unknown:
            raise MetadataError(f"{file} has the label {unknown[0]!r}, which v1.0 has not. {_CURE}")
        if self._scheme == "19":
            of_19 = (CORINE_TO_LABEL.get(CORINE_OF[label]) for label in found)
            found = sorted({label for label in of_19 if label is not None})
        if not found:
            return None
        return Labelled(tuple(found), self._splits.get(name), None, self._s1_names.get(name))


def read_label_file(file: Path) -> dict[str, Any]:
    """Return what the label file of a patch holds, with its ``labels`` as a list of texts."""
    found = read_json(file, dict[str, Any], MetadataError, _CURE)
    labels = found.get("labels")
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise MetadataError(f"{file} has no list of labels. {_CURE}")
    return found


def description(scheme: Scheme) -> str:
    """Return what a store of such patches says of itself, as TOML."""
    labels = f"CORINE Land Cover 2018, {scheme} labels"
    return "".join(
        f"{key} = {value}\n"
        for key, value in {
            "name": f'"BigEarthNet v1.0, {scheme} labels"',
            "place": f'"{OFFICIAL.place}"',
            "start": OFFICIAL.start,
            "end": OFFICIAL.end,
            "labels": f'"{labels}"',
            "licence": f'"{OFFICIAL.licence}"',
            "citation": '"arXiv:1902.06148, arXiv:2105.07921"',
        }.items()
    )
