"""A folder with one raster file for each band, told apart by their names, never by position."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from reben.errors import MissingBandError, ProductError
from reben.scene.alignment import CLASSIFICATION, native_metres
from reben.scene.band_scene import Ingredients
from reben.scene.band_source import BandFile
from reben.scene.offset import check_given_offset, decide
from reben.spec.bands import S2_FULL

_EXTENSIONS = frozenset((".tif", ".tiff", ".jp2"))
_NAME = re.compile(
    r"(?:.*[_.\- ])?(?P<band>B\d[\dA]|[A-Z]{2,3})(?:_(?P<metres>\d\d)m)?", re.IGNORECASE
)


def band_files(folder: Path, bands: Iterable[str]) -> dict[str, Path]:
    """Return band -> file, for the files of a folder that are named by a band.

    A file is named by a band if its name, without extension, is the band or ends in it after an
    underscore, dot, dash or space, with or without the pixel size: ``B02.tif``,
    ``T33UUP_20230821_B02_10m.jp2``. Of several sizes the native one is taken.

    Raises:
        ProductError: If several files are named by one band.
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


def read_folder(folder: Path, boa_offset: float | None = None) -> Ingredients:
    """Return the Sentinel-2 bands of a folder and how their numbers are to be read.

    Raises:
        ProductError: If a file is damaged, or several are named by one band.
        MissingBandError: If no file is named by a band.
        UnknownOffsetError: If neither the files nor ``boa_offset`` say which offset they carry.
        OffsetConflictError: If files contradict themselves.
        MissingExtraError: If rasterio is not installed.
    """
    check_given_offset(boa_offset)
    paths = band_files(folder, (*S2_FULL, CLASSIFICATION))
    if not set(paths) - {CLASSIFICATION}:
        raise MissingBandError(
            f"{folder} has no file that is named by a band, such as B02.tif or ..._B02_10m.tif. "
            f"{_what_is_there(folder)}"
        )
    return read_files({band: str(path) for band, path in paths.items()}, folder.name, boa_offset)


def read_files(paths: Mapping[str, str], name: str, boa_offset: float | None) -> Ingredients:
    """Return what files of one band each hold; see `read_folder`."""
    sources: dict[str, BandFile] = {}
    try:
        for band, path in paths.items():
            sources[band] = BandFile(path)
        calibrations = {
            band: decide(band, name, source.statements, boa_offset)
            for band, source in sources.items()
            if band != CLASSIFICATION
        }
    except Exception:
        for source in sources.values():
            source.close()
        raise
    missing = {
        band: f"{name}/..._{band}.tif" for band in (*S2_FULL, CLASSIFICATION) if band not in paths
    }
    return Ingredients(name, sources, calibrations, missing, {"source": "one file for each band"})


def _only(band: str, sizes: Mapping[int, list[Path]], folder: Path) -> Path:
    for metres in (native_metres(band), 0, *sorted(sizes)):
        paths = sizes.get(metres, [])
        if len(paths) > 1:
            listed = ", ".join(path.name for path in paths)
            raise ProductError(
                f"Several files in {folder} are named by band {band}: {listed}. Leave one there; "
                "bands of several scenes go into a folder each."
            )
        if paths:
            return paths[0]
    raise AssertionError(band)


def _what_is_there(folder: Path) -> str:
    products = sorted(path.name for path in folder.glob("*.SAFE"))
    if products:
        return f"It holds products, though; name one: {', '.join(products[:3])}."
    names = sorted(path.name for path in folder.iterdir())[:5]
    return f"It holds: {', '.join(names)}." if names else "It is empty."
