"""One patch as the data set's archives hold it: a folder with a TIFF for each band."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from numpy.typing import NDArray

from reben.data.places import require_one_place, require_patch_size
from reben.data.tiff.places import bounds_of
from reben.data.tiff.read import parse_tiff, read_content
from reben.data.tiff.side_files import SideFiles, side_files_in
from reben.data.tiff.tags import read_claims
from reben.data.tiff.with_rasterio import apply_mask, open_with_rasterio
from reben.data.values import mask_declared, require_plain
from reben.errors import BandsError, BandsMismatchError, PatchNameError, TiffError
from reben.spec.band_names import (
    REFERENCE_MAP_TENSOR,
    TIFF_ENDINGS,
    match_band_file,
    nativeness,
)
from reben.spec.bands import ALL_FULL, PIXEL_METRES, Sensor, native_size, sensor
from reben.spec.patches import PATCH_PIXELS, REFERENCE_MAP_SUFFIX, Bounds, place_of_name


def is_tiff(file: str) -> bool:
    """Tell by its name whether a file is a TIFF; macOS keeps attributes in files with a dot."""
    return file.lower().endswith(TIFF_ENDINGS) and not file.startswith(".")


def band_file_ending(tensor: str) -> str:
    """Return what stands behind the name of the patch in the name of a file."""
    return f"{REFERENCE_MAP_SUFFIX if tensor == REFERENCE_MAP_TENSOR else f'_{tensor}'}.tif"


def band_sensor(file: str) -> Sensor | None:
    """Return the sensor of a band file, by its name; None for any other file."""
    found = match_band_file(file)
    return sensor(found.tensor) if found is not None and found.tensor in PIXEL_METRES else None


class Band(NamedTuple):
    """One band of a patch as a file holds it: its pixels, and where they lie if it says so."""

    pixels: NDArray[Any]
    place: Bounds | None


def parse_band(content: bytes, name: str, file: str, size: int | None = PATCH_PIXELS) -> Band:
    """Return a band of a patch; every front end reads it here.

    Args:
        content: All bytes of its TIFF.
        name: The band.
        file: What the file is called in error messages.
        size: Side length in pixels of 10 m that the patch may have beside the usual 120; None does
            not compare pixels with the ground.

    Returns:
        Pixels [h, w] in the dtype of the file; a masked array if some hold the value that the file
        declares to be no data, or if a mask in the file says so.
    """
    pixels = parse_tiff(content, file)
    claims = read_claims(content, file)
    require_plain(f"Band {name}, {file},", claims.scale, claims.offset)
    place = bounds_of(content, file)
    possible = [] if size is None else [*dict.fromkeys((size, PATCH_PIXELS))]
    fitting = [one for one in possible if pixels.shape == (native_size(name, one),) * 2]
    if place is not None and fitting:
        require_patch_size(file, place, place.epsg, len(pixels), fitting[0])
    pixels = mask_declared(name, pixels, claims.nodata)
    if claims.has_more:
        with open_with_rasterio(
            content, file, f"Reading {file}, which holds several images,"
        ) as it:
            pixels = apply_mask(pixels, it, 1)
    return Band(pixels, place)


def read_patch_folder(*folders: str | Path) -> dict[str, NDArray[Any]]:
    """Return the bands of one patch: name -> [h, w] at native size, dtype and unit.

    Reads the files ``<patch>_<BAND>.tif``, for example ``..._26_57_B8A.tif``, and no others; see
    `match_band_file`.
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


def read_patch(
    *folders: str | Path, size: int = PATCH_PIXELS
) -> tuple[dict[str, NDArray[Any]], Bounds | None]:
    """Return the bands of `read_patch_folder`, and where they lie if files or names say it.

    Args:
        folders: One folder for each sensor.
        size: As for `parse_band`.
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
    paths = {name: found[name] for name in ALL_FULL if name in found}
    bands = {
        name: parse_band(read_content(path), name, str(path), size) for name, path in paths.items()
    }
    beside: set[str] = set()
    for folder in map(Path, folders):
        beside |= side_files_in(str(folder), os.listdir(folder))  # noqa: PTH208 - many times
    for name, path in paths.items() if beside else ():
        try:
            sides = SideFiles.read(str(path), beside)
        except OSError as error:
            raise TiffError(f"Cannot read {error.filename}: {error.strerror or error}.") from error
        pixels = sides.apply(name, bands[name].pixels, str(path))
        bands[name] = bands[name]._replace(pixels=pixels)
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
    files: dict[str, tuple[tuple[bool, int], Path]] = {}
    first: dict[Sensor, tuple[str, Path]] = {}
    for path in sorted(folder.iterdir()):
        found = match_band_file(path.name)
        if found is None or found.tensor not in PIXEL_METRES:
            continue
        of = sensor(found.tensor)
        known, example = first.setdefault(of, (found.patch, path))
        if found.patch != known:
            raise PatchNameError(
                f"{folder} holds files of more than one {of} patch: {example.name} and "
                f"{path.name}. Name the folder of one patch."
            )
        rank = nativeness(found.tensor, found.metres)
        other, chosen = files.get(found.tensor, (None, path))
        if rank == other:
            raise BandsError(
                f"Band {found.tensor} is in both {chosen.name} and {path.name} of {folder}. Keep "
                "one."
            )
        if other is None or rank < other:
            files[found.tensor] = rank, path
    if not files:
        raise BandsMismatchError(
            f"{folder} has no band file. It should hold <patch>_<BAND>.tif, "
            f"with {', '.join(PIXEL_METRES)} for <BAND>."
        )
    return {name: path for name, (_, path) in files.items()}
