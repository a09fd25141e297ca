"""Open a Sentinel scene in any of its forms."""

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from reben.data.patch_folders.multiband import Resample
from reben.errors import ConfigError, ProductError
from reben.scene.alignment import is_aligned
from reben.scene.band_names import CLASSIFICATION
from reben.scene.band_scene import Scene
from reben.scene.band_source import raster_environment
from reben.scene.opening import Opening
from reben.scene.radar.sentinel1 import open_sentinel1
from reben.scene.readers.arrays import read_arrays
from reben.scene.readers.band_folder import read_multiband
from reben.scene.readers.folder import product_in, read_folder
from reben.scene.readers.safe import read_safe
from reben.scene.readers.safe_files import METADATA_FILE, SafeFiles
from reben.scene.readers.stac import open_item, read_stac
from reben.scene.search import is_stac, only_item
from reben.scene.sources import BandSources, closed_on_error
from reben.scene.warping.reprojection import reprojected

if TYPE_CHECKING:
    from xarray import DataArray, Dataset

logger = logging.getLogger(__name__)

_TIFF_ENDINGS = (".tif", ".tiff")


def open_scene(  # noqa: PLR0913 - all after the first are named
    product: "str | Path | Mapping[str, Any] | Dataset | DataArray",
    *,
    sentinel1: "str | Path | Mapping[str, Any] | Dataset | None" = None,
    boa_offset: float | None = None,
    sentinel1_unit: Literal["db", "linear"] | None = None,
    sentinel1_quantity: Literal["sigma0", "gamma0", "beta0"] | None = None,
    trust_offset: bool = False,
    band_names: Sequence[str] | None = None,
    resample: Resample = "auto",
    reproject: bool = False,
) -> Scene:
    """Return a scene that can be read in strips of rows.

    Args:
        product: A Sentinel-2 level-2A product: a ``.SAFE`` folder, a zip of one (read in place),
            a folder with one file per band (``B02.tif``, ``..._B02_10m.tif``), a GeoTIFF of several
            bands of 10 m, a STAC item (file, URL or mapping), an xarray Dataset with named bands,
            or a mapping of DataArrays.
        sentinel1: For models with Sentinel-1 bands, geocoded backscatter of the same place: a
            folder with files named by VV and VH, a mapping of such files, a STAC item, or a
            Dataset. It is warped to the grid of the Sentinel-2 product.
        boa_offset: Added to the stored numbers to get reflectance x 10000, such as -1000. Needed
            only if the product does not state it.
        sentinel1_unit: The unit of the backscatter, if the product does not state it.
        sentinel1_quantity: What the backscatter is, if the product does not state it.
        trust_offset: Whether to read pixels that contradict their offset all the same.
        band_names: Names of the bands of a GeoTIFF of several bands in its order, ``-`` for one to
            skip, if not the descriptions in it.
        resample: How bands that are stored with finer pixels than their own are brought to those:
            ``exact``, ``mean``, ``centre``, or ``auto``, which is exact where pixels are repeated,
            else the mean, and says so in the log and in `Scene.about`.
        reproject: Whether to warp a product whose grid cannot be used to the UTM zone of its place
            while it is read; one that lies right is read as it is.

    Raises:
        ProductError: If the product does not exist, is damaged, or has an unknown form.
        ProductLevelError: If it is of level 1C, or Sentinel-1 is not calibrated.
        MissingBandError: If it has no band, or VV or VH is missing.
        UnknownOffsetError: If nothing states the offset of the numbers.
        OffsetConflictError: If statements about the offset contradict each other, or the pixels
            contradict them: with an offset that was removed already, land would be negative.
        UnknownUnitError: If nothing states whether backscatter is in dB.
        GridError: If bands do not lie on one north-up grid of 10 m.
        DownloadError: If a STAC item could not be fetched.
        MissingExtraError: If rasterio is not installed.
    """
    opening = Opening(resample=resample, reproject=reproject)
    with raster_environment(cache=True):
        found = _read(product, boa_offset, band_names)
        with closed_on_error() as opened:
            opened.update(found.sources)
            if reproject and not is_aligned(found.sources):
                found = reprojected(found)
            scene = Scene(found, opening.resample)
            if CLASSIFICATION not in found.sources:
                logger.warning(
                    "%s has no scene classification (SCL): clouds and shadow get land cover, too.",
                    scene.name,
                )
            if not trust_offset:
                scene.check_offset(boa_offset)
            if sentinel1 is not None:
                scene.add_backscatter(
                    *open_sentinel1(sentinel1, scene.grid, sentinel1_unit, sentinel1_quantity)
                )
    return scene


def _read(
    product: "str | Path | Mapping[str, Any] | Dataset | DataArray",
    boa_offset: float | None,
    band_names: Sequence[str] | None,
) -> BandSources:
    if isinstance(product, str | Path) and Path(product).suffix.lower() in _TIFF_ENDINGS:
        path = Path(product)
        if path.is_file():
            return read_multiband(path, boa_offset, band_names)
    if band_names is not None:
        raise ConfigError(
            f"band_names (--band-names) names the bands of a GeoTIFF of several bands, and "
            f"{product if isinstance(product, str | Path) else 'the product'} is none. Leave it "
            "out: bands are found by the names of files, assets or variables."
        )
    if is_stac(product):
        return read_stac(open_item(only_item(product)), boa_offset)
    if isinstance(product, str | Path):
        return _read_path(product, boa_offset)
    if isinstance(product, Mapping) or hasattr(product, "coords"):
        return read_arrays(product, boa_offset)
    raise ProductError(
        f"product must be a path, the URL of a STAC item, a STAC item or an xarray Dataset, not "
        f"{type(product).__name__}."
    )


def _read_path(product: str | Path, boa_offset: float | None) -> BandSources:
    path = Path(product)
    if not os.path.exists(path):  # noqa: PTH110 - no error for names that no file can have
        raise ProductError(f"No product at {product}. Check the path.")
    if path.name == METADATA_FILE:
        path = path.absolute().parent
    if path.is_dir():
        path = product_in(path)
    if path.is_dir():
        return read_folder(path, boa_offset)
    if path.suffix.lower() == ".zip":
        return read_safe(SafeFiles.open(path), boa_offset)
    raise ProductError(
        f"{product} is not a known kind of product. Pass a .SAFE folder, a zip of one, a folder "
        "with one file per band, a GeoTIFF of several bands, or a STAC item (.json)."
    )
