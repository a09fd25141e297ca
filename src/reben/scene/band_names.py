"""Files of the bands of a scene, found by their names in the folders that products have."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from reben.errors import ProductError
from reben.spec.band_names import (
    CLASSIFICATION,
    RASTER_ENDINGS,
    band_named,
    match_band_file,
    native_metres,
    nativeness,
)

__all__ = ["CLASSIFICATION", "band_files", "band_named", "native_metres"]

_SIZE_FOLDERS = {"r10m": 10, "r20m": 20, "r60m": 60}
"""Folders of one pixel size. Source: products from baseline 02.04 on; bucket sentinel-s2-l2a."""
_IMAGES = "img_data"
_GRANULES = "granule"
_DEEPEST = 4  # GRANULE/<tile>/IMG_DATA/R10m; links can lead round in a circle


def band_files(folder: Path, bands: Iterable[str]) -> dict[str, Path]:
    """Return band -> file for the files of a folder that are named by a band.

    Files lie in the folder itself, or below it as products have them: ``R10m``, ``IMG_DATA/R10m``,
    ``GRANULE/<tile>/IMG_DATA/R10m``. If there are several pixel sizes, the native one is used; the
    name says it, else the folder. What a name is, says `reben.spec.band_names.match_band_file`.

    Raises:
        ProductError: If two files are the same band at the same size.
    """
    wanted = set(bands)
    found: dict[str, dict[tuple[bool, int], list[Path]]] = {}
    for path in _files(folder):
        match = match_band_file(path.name, RASTER_ENDINGS)
        if match is None or match.tensor not in wanted:
            continue
        metres = match.metres or _SIZE_FOLDERS.get(path.parent.name.lower(), 0)
        rank = nativeness(match.tensor, metres)
        found.setdefault(match.tensor, {}).setdefault(rank, []).append(path)
    return {band: _only(band, ranked[min(ranked)], folder) for band, ranked in found.items()}


def product_folders(folder: Path) -> list[Path]:
    """Return a folder, and those above it that belong to the same product by their names.

    Example:
        >>> names = product_folders(Path("/x/S2A.SAFE/GRANULE/L2A_T33UUP_A1/IMG_DATA/R10m"))
        >>> [path.name for path in names]
        ['R10m', 'IMG_DATA', 'L2A_T33UUP_A1', 'GRANULE', 'S2A.SAFE']
    """
    here = folder.absolute()
    found = [here]
    while (
        here.name.lower() in {*_SIZE_FOLDERS, _IMAGES, _GRANULES}
        or here.parent.name.lower() == _GRANULES
    ):
        here = here.parent
        found.append(here)
    return found


def _files(folder: Path, deeper: int = _DEEPEST) -> Iterator[Path]:
    """Yield the files of a folder, and of those below it where products have bands."""
    is_granules = folder.name.lower() == _GRANULES
    for path in sorted(folder.iterdir()):
        name = path.name.lower()
        if not path.is_dir() or path.suffix.lower() in RASTER_ENDINGS:
            yield path
        elif deeper and (is_granules or name in {*_SIZE_FOLDERS, _IMAGES, _GRANULES}):
            yield from _files(path, deeper - 1)


def _only(band: str, paths: list[Path], folder: Path) -> Path:
    if len(paths) > 1:
        listed = ", ".join(str(path.relative_to(folder)) for path in paths)
        raise ProductError(
            f"Several files in {folder} are named by band {band}: {listed}. Keep one; put the "
            "bands of several scenes into separate folders."
        )
    return paths[0]
