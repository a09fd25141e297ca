"""One patch as the data set's archives hold it: a folder with a TIFF for each band."""

import re
from pathlib import Path
from typing import Any, NamedTuple

from numpy.typing import NDArray

from reben.data.tiff.read import read_tiff
from reben.errors import BandsError, BandsMismatchError, PatchNameError
from reben.spec.bands import ALL_FULL, PIXEL_METRES, Sensor, sensor
from reben.spec.patches import REFERENCE_MAP_SUFFIX

REFERENCE_MAP_TENSOR = "Data"
"""What a reference map is called where bands have their names."""
_MAP_ENDING = f"{REFERENCE_MAP_SUFFIX}.tif"
_BANDS = {f"_{name}.tif": name for name in PIXEL_METRES}
_LOOSE = re.compile(
    rf"(?:(?P<patch>.*)_)?(?:(?P<band>VV|VH|B0[1-9]|B8A|B1[0-2])(?:_(?:10|20|60)m)?"
    rf"|{REFERENCE_MAP_SUFFIX[1:]})\.tiff?",
    re.IGNORECASE | re.ASCII,
)


class BandFile(NamedTuple):
    """What the name of a file says: the patch, and the band or `REFERENCE_MAP_TENSOR`."""

    patch: str
    tensor: str


def is_tiff(file: str) -> bool:
    """Tell by its name whether a file is a TIFF; macOS keeps attributes in files with a dot."""
    return file.lower().endswith((".tif", ".tiff")) and not file.startswith(".")


def match_band_file(file: str, *, loosely: bool = False) -> BandFile | None:
    """Return which band of which patch a file holds, by its name; None if it is another file.

    Args:
        file: Name of the file, without its folder.
        loosely: Take names that people give as well: any case, ``.tiff``, a pixel size behind the
            band, no patch in front of it. Then the band may be B10, which no patch has.

    Example:
        >>> match_band_file("field_7_B8A.tif")
        BandFile(patch='field_7', tensor='B8A')
        >>> match_band_file("b8a_20m.TIFF"), match_band_file("b8a_20m.TIFF", loosely=True)
        (None, BandFile(patch='', tensor='B8A'))
    """
    if loosely:
        match = _LOOSE.fullmatch(file)
        if match is None:
            return None
        band = match["band"]
        return BandFile(match["patch"] or "", band.upper() if band else REFERENCE_MAP_TENSOR)
    if file.startswith("."):
        return None
    if file.endswith(_MAP_ENDING):
        return BandFile(file.removesuffix(_MAP_ENDING), REFERENCE_MAP_TENSOR)
    at = file.rfind("_")
    band = _BANDS.get(file[at:])
    return None if band is None else BandFile(file[:at], band)


def band_file_ending(tensor: str) -> str:
    """Return what stands behind the name of the patch in the name of a file."""
    return _MAP_ENDING if tensor == REFERENCE_MAP_TENSOR else f"_{tensor}.tif"


def band_sensor(file: str) -> Sensor | None:
    """Return the sensor of a band file, by its name; None for any other file."""
    found = match_band_file(file)
    if found is None or found.tensor == REFERENCE_MAP_TENSOR:
        return None
    return sensor(found.tensor)


def read_patch_folder(*folders: str | Path) -> dict[str, NDArray[Any]]:
    """Return the bands of one patch: name -> [h, w] at native size, dtype and unit.

    Reads the files ``<patch>_<BAND>.tif``, for example ``..._26_57_B8A.tif``, and no others.
    Sentinel-2 and Sentinel-1 patches lie in different folders; name both to get the bands of
    both. Whether the two show the same place is for you to know: nothing in names or files says
    which Sentinel-1 patch is the partner of a Sentinel-2 patch, only the column ``s1_name`` of
    the metadata does.

    Args:
        folders: One folder for each sensor.

    Returns:
        Sentinel-2 bands as digital numbers, reflectance x 10000, uint16; VV and VH in dB,
        float32; in the order of `reben.spec.bands.ALL_FULL`. Treat the arrays as read-only.

    Raises:
        BandsMismatchError: If a folder is not there or has no band file.
        PatchNameError: If a folder has files of several patches of one sensor.
        BandsError: If two folders give the same band.
        TiffError: If a file is damaged.
        MissingExtraError: If reading a file needs rasterio, which is not installed.
    """
    if not folders:
        raise BandsMismatchError("No patch folder was given; name at least one.")
    found: dict[str, Path] = {}
    for folder in map(Path, folders):
        files = _band_files(folder)
        for name in files:
            if name in found:
                raise BandsError(
                    f"Band {name} is in both {found[name].parent} and {folder}. Name one "
                    "Sentinel-2 and one Sentinel-1 folder of the same place."
                )
        found.update(files)
    return {name: read_tiff(found[name]) for name in ALL_FULL if name in found}


def _band_files(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        kind = "a file" if folder.exists() else "not there"
        raise BandsMismatchError(f"{folder} is no patch folder: it is {kind}.")
    files: dict[str, Path] = {}
    first: dict[Sensor, tuple[str, Path]] = {}
    for path in sorted(folder.iterdir()):
        found = match_band_file(path.name)
        if found is None or found.tensor == REFERENCE_MAP_TENSOR:
            continue
        of = sensor(found.tensor)
        known, example = first.setdefault(of, (found.patch, path))
        if found.patch != known:
            raise PatchNameError(
                f"{folder} holds files of more than one {of} patch: {example.name} and "
                f"{path.name}. Name the folder of one patch."
            )
        files[found.tensor] = path
    if not files:
        raise BandsMismatchError(
            f"{folder} has no band file. It should hold <patch>_<BAND>.tif, "
            f"with {', '.join(PIXEL_METRES)} for <BAND>."
        )
    return files
