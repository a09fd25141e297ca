"""One patch as the data set's archives hold it: a folder with a TIFF for each band."""

from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from reben.data.tiff.read import read_tiff
from reben.errors import BandsError, BandsMismatchError, PatchNameError
from reben.spec.bands import ALL_FULL, PIXEL_METRES, Sensor, sensor


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
    for path in sorted(folder.glob("*_*.tif")):
        patch, _, name = path.stem.rpartition("_")
        # A dot starts the files in which macOS keeps attributes.
        if name not in PIXEL_METRES or patch.startswith("."):
            continue
        known, example = first.setdefault(sensor(name), (patch, path))
        if patch != known:
            raise PatchNameError(
                f"{folder} holds files of more than one {sensor(name)} patch: {example.name} and "
                f"{path.name}. Name the folder of one patch."
            )
        files[name] = path
    if not files:
        raise BandsMismatchError(
            f"{folder} has no band file. It should hold <patch>_<BAND>.tif, "
            f"with {', '.join(PIXEL_METRES)} for <BAND>."
        )
    return files
