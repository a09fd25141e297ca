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
from reben.scene.radar.found import find_sentinel1, is_sentinel1
from reben.scene.radar.sentinel1 import check_given, open_sentinel1, own_grid, put_on_grid
from reben.scene.readers.arrays import read_arrays
from reben.scene.readers.band_folder import read_multiband
from reben.scene.readers.folder import product_in, read_folder
from reben.scene.readers.safe import read_safe
from reben.scene.readers.safe_files import METADATA_FILE, SafeFiles
from reben.scene.readers.stac import Item, open_item, read_stac
from reben.scene.readers.zarr import is_zarr, read_zarr, store_of
from reben.scene.search import is_stac, only_item
from reben.scene.sources import BandSources, closed_on_error
from reben.scene.warping.reprojection import reprojected

if TYPE_CHECKING:
    from xarray import DataArray, Dataset

logger = logging.getLogger(__name__)

_TIFF_ENDINGS = (".tif", ".tiff")


def open_scene(  # noqa: PLR0913 - all after the first are named
    product: Any,  # noqa: ANN401 - see below
    *,
    sentinel1: Any = None,  # noqa: ANN401 - see below
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
            bands of 10 m, a STAC item (whatever `reben.scene.search.items_of` takes and holds one
            alone), an xarray Dataset with named bands, a mapping of DataArrays, or a product of
            ESA's EOPF in Zarr (folder, zip or URL). Or a product of Sentinel-1 in one of the forms
            below, which then is the scene: on its own grid if that is one of 10 m that is true to
            scale, else warped to the UTM zone of its place.
        sentinel1: For models with Sentinel-1 bands, geocoded backscatter of the same place: a
            folder with files named by VV and VH, a GeoTIFF of both, a mapping of such files, a STAC
            item, or a Dataset. It is warped to the grid of the Sentinel-2 product, or is the scene
            if ``product`` is None.
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
    opening = Opening(
        boa_offset=boa_offset,
        trust_offset=trust_offset,
        sentinel1_unit=sentinel1_unit,
        sentinel1_quantity=sentinel1_quantity,
        band_names=None if band_names is None else tuple(band_names),
        resample=resample,
        reproject=reproject,
    )
    with raster_environment(cache=True):
        in_zarr = isinstance(product, str | Path) and is_zarr(product)
        if not in_zarr and is_stac(product):
            product = open_item(only_item(product))
        if product is None or (not in_zarr and is_sentinel1(product, band_names)):
            return _open_radar(product, sentinel1, opening)
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


def _open_radar(product: Any, sentinel1: Any, opening: Opening) -> Scene:  # noqa: ANN401
    """Return a scene of Sentinel-1 alone."""
    if (product is None) == (sentinel1 is None):
        raise ConfigError(
            "product is of Sentinel-1, and sentinel1 (--sentinel1) names one, too. Name one."
            if product is not None
            else "Name a product: product is None, and so is sentinel1."
        )
    if opening.boa_offset is not None or opening.trust_offset:
        raise ConfigError(
            "boa_offset and trust_offset are of Sentinel-2, and the product is of Sentinel-1 "
            "alone. Leave them out (--boa-offset, --trust-offset)."
        )
    unit, quantity = opening.sentinel1_unit, opening.sentinel1_quantity
    check_given(unit, quantity)
    whole = sentinel1 if product is None else product
    found = find_sentinel1(whole, (quantity, unit), opening.band_names)
    with closed_on_error() as opened:
        opened.update(found.sources)
        alignment, grid = own_grid(found)
        about = {"source": "Sentinel-1 alone", "sentinel1_grid": grid}
        scene = Scene(BandSources(found.name, {}, {}, about=about), alignment=alignment)
    scene.add_backscatter(*put_on_grid(found, scene.grid, unit, quantity))
    return scene


def _read(
    product: "str | Path | Mapping[str, Any] | Dataset | DataArray | Item",
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
    if isinstance(product, Item):
        store = store_of(product)
        return read_zarr(store, boa_offset) if store else read_stac(product, boa_offset)
    if isinstance(product, str | Path):
        return _read_path(product, boa_offset)
    if isinstance(product, Mapping) or hasattr(product, "coords"):
        return read_arrays(product, boa_offset)
    raise ProductError(
        f"product must be a path, the URL of a STAC item, a STAC item or an xarray Dataset, not "
        f"{type(product).__name__}."
    )


def _read_path(product: str | Path, boa_offset: float | None) -> BandSources:
    if is_zarr(product):
        return read_zarr(product, boa_offset)
    path = Path(product)
    if not os.path.exists(path):  # noqa: PTH110 - no error for names that no file can have
        raise ProductError(f"No product at {product}. Check the path.")
    if path.name == METADATA_FILE:
        path = path.absolute().parent
    if path.is_dir():
        path = product_in(path)
    if is_zarr(path):
        return read_zarr(path, boa_offset)
    if path.is_dir():
        return read_folder(path, boa_offset)
    if path.suffix.lower() == ".zip":
        return read_safe(SafeFiles.open(path), boa_offset)
    raise ProductError(
        f"{product} is not a known kind of product. Pass a .SAFE folder, a zip of one, a folder "
        "with one file per band, a GeoTIFF of several bands, or a STAC item (.json)."
    )
