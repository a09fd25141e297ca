"""One patch as the data set's archives hold it: a folder with a TIFF for each band."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from numpy.typing import NDArray

from reben.data.places import require_one_place, require_patch_size
from reben.data.tiff.read import parse_tiff, read_content
from reben.data.tiff.tags import bounds_of, read_claims
from reben.data.tiff.with_rasterio import apply_mask, open_with_rasterio
from reben.data.values import mask_declared, require_plain
from reben.errors import BandsError, BandsMismatchError, PatchNameError
from reben.spec.bands import ALL_FULL, PIXEL_METRES, Sensor, native_size, sensor
from reben.spec.patches import REFERENCE_MAP_SUFFIX, Bounds, place_of_name

REFERENCE_MAP_TENSOR = "Data"
"""What a reference map is called where bands have their names."""
_TIFF_ENDINGS = (".tif", ".tiff", ".TIF", ".TIFF")
_MAP_ENDINGS = tuple(f"{REFERENCE_MAP_SUFFIX}{ending}" for ending in _TIFF_ENDINGS)
_BANDS = {f"_{name}{ending}": name for name in PIXEL_METRES for ending in _TIFF_ENDINGS}
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
        loosely: Take names that people give as well: any case, a pixel size behind the band, no
            patch in front of it. Then the band may be B10, which no patch has.

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
    if file.endswith(_MAP_ENDINGS):
        return BandFile(file[: file.rindex(REFERENCE_MAP_SUFFIX)], REFERENCE_MAP_TENSOR)
    at = file.rfind("_")
    band = _BANDS.get(file[at:])
    return None if band is None else BandFile(file[:at], band)


def band_file_ending(tensor: str) -> str:
    """Return what stands behind the name of the patch in the name of a file."""
    return _MAP_ENDINGS[0] if tensor == REFERENCE_MAP_TENSOR else f"_{tensor}.tif"


def band_sensor(file: str) -> Sensor | None:
    """Return the sensor of a band file, by its name; None for any other file."""
    found = match_band_file(file)
    if found is None or found.tensor == REFERENCE_MAP_TENSOR:
        return None
    return sensor(found.tensor)


class Band(NamedTuple):
    """One band of a patch as a file holds it: its pixels, and where they lie if it says so."""

    pixels: NDArray[Any]
    place: Bounds | None


def parse_band(content: bytes, name: str, file: str) -> Band:
    """Return a band of a patch; every front end reads it here.

    Args:
        content: All bytes of its TIFF.
        name: The band.
        file: What the file is called in error messages.

    Returns:
        Pixels [h, w] in the dtype of the file; a masked array if some hold the value that the file
        declares to be no data, or if a mask in the file says so.
    """
    pixels = parse_tiff(content, file)
    claims = read_claims(content, file)
    require_plain(f"Band {name}, {file},", claims.scale, claims.offset)
    place = bounds_of(content, file)
    side = native_size(name)
    if place is not None and pixels.shape == (side, side):
        require_patch_size(file, place, place.epsg, side)
    pixels = mask_declared(name, pixels, claims.nodata)
    if claims.has_more:
        with open_with_rasterio(
            content, file, f"Reading {file}, which holds several images,"
        ) as it:
            pixels = apply_mask(pixels, it, 1)
    return Band(pixels, place)


def read_patch_folder(*folders: str | Path) -> dict[str, NDArray[Any]]:
    """Return the bands of one patch: name -> [h, w] at native size, dtype and unit.

    Reads the files ``<patch>_<BAND>.tif``, for example ``..._26_57_B8A.tif``, and no others.
    Sentinel-2 and Sentinel-1 patches lie in different folders; name both to get the bands of
    both. Which Sentinel-1 patch is the partner of a Sentinel-2 patch is in the column ``s1_name``
    of the metadata; two of different places are refused, as far as names or files say it.

    Args:
        folders: One folder for each sensor.

    Returns:
        Sentinel-2 bands as digital numbers, reflectance x 10000, uint16; VV and VH in dB,
        float32; in the order of `reben.spec.bands.ALL_FULL`. A masked array where pixels have the
        value that the file declares to be no data. Treat the arrays as read-only.

    Raises:
        BandsMismatchError: If a folder is not there or has no band file.
        PatchNameError: If a folder has files of several patches of one sensor.
        BandsError: If two folders give the same band.
        PlaceError: If files or names are of different places.
        PatchShapeError: If a file covers another size of ground than a patch.
        PixelValueError: If a file says that its pixels are to be scaled first.
        TiffError: If a file is damaged.
        MissingExtraError: If reading a file needs rasterio, or measuring its ground pyproj, which
            is not installed.
    """
    return read_patch(*folders)[0]


def read_patch(*folders: str | Path) -> tuple[dict[str, NDArray[Any]], Bounds | None]:
    """Return the bands of `read_patch_folder`, and where they lie if files or names say it."""
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
    paths = {name: found[name] for name in ALL_FULL if name in found}
    bands = {name: parse_band(read_content(path), name, str(path)) for name, path in paths.items()}
    places = {paths[name].name: band.place for name, band in bands.items()}
    place = require_patch_place(places, _patches_of(paths))
    return {name: band.pixels for name, band in bands.items()}, place


def require_patch_place(places: Mapping[str, Bounds | None], names: Iterable[str]) -> Bounds | None:
    """Return where a patch lies; raise a PlaceError if its files or its names disagree.

    A name may say another place than the file that bears it: then the file counts.

    Args:
        places: File -> the place that it says.
        names: The names of the patch: one, or one for each sensor.
    """
    named = {f"the name {name}": place_of_name(name) for name in names}
    of_files = {file: place for file, place in places.items() if place is not None}
    require_one_place(named)
    require_one_place(of_files)
    return next(iter([*reversed(of_files.values()), *filter(None, named.values())]), None)


def _patches_of(paths: Mapping[str, Path]) -> dict[str, None]:
    """Return the names of the patches that files are of, each once."""
    matches = (match_band_file(path.name) for path in paths.values())
    return dict.fromkeys(match.patch for match in matches if match is not None)


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
        if found.tensor in files:
            raise BandsError(
                f"Band {found.tensor} is in both {files[found.tensor].name} and {path.name} of "
                f"{folder}. Keep one."
            )
        files[found.tensor] = path
    if not files:
        raise BandsMismatchError(
            f"{folder} has no band file. It should hold <patch>_<BAND>.tif, "
            f"with {', '.join(PIXEL_METRES)} for <BAND>."
        )
    return files
