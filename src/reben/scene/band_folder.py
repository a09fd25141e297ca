"""A folder with one raster file per band."""

from pathlib import Path

from reben.errors import MissingBandError
from reben.scene.band_names import CLASSIFICATION, band_files
from reben.scene.band_source import BandFile, BandSources, closed_on_error
from reben.scene.offset import check_given_offset
from reben.spec.bands import S2_FULL


def read_folder(folder: Path, boa_offset: float | None = None) -> BandSources:
    """Return the Sentinel-2 bands of a folder; for the errors see `open_scene`."""
    check_given_offset(boa_offset)
    paths = band_files(folder, (*S2_FULL, CLASSIFICATION))
    if not set(paths) - {CLASSIFICATION}:
        raise MissingBandError(
            f"{folder} has no file named by a band, such as B02.tif or ..._B02_10m.tif. "
            f"{_what_is_there(folder)}"
        )
    with closed_on_error() as sources:
        for band, path in paths.items():
            sources[band] = BandFile(str(path))
        return BandSources.decided(
            folder.name,
            sources,
            lambda band: sources[band].statements,
            boa_offset,
            where=f"{folder.name}/..._{{band}}.tif",
            about={"source": "one file per band"},
        )


def _what_is_there(folder: Path) -> str:
    products = sorted(path.name for path in folder.glob("*.SAFE"))
    if products:
        return f"It holds products; name one: {', '.join(products[:3])}."
    names = sorted(path.name for path in folder.iterdir())[:5]
    return f"It holds: {', '.join(names)}." if names else "It is empty."
