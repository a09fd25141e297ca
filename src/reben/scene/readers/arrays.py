"""A scene in xarray: a Dataset with named bands, or a mapping of DataArrays of any pixel size.

Arrays are read strip by strip, so lazy ones (dask) are never loaded as a whole.
"""

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from reben.data.values import declared_nodata
from reben.errors import MissingBandError, PixelValueError, ProductError, cut
from reben.scene.band_names import CLASSIFICATION
from reben.scene.mission import require_mission
from reben.scene.offset import (
    ScaleStatement,
    check_given_offset,
    statement_of_scale,
    statements_in,
)
from reben.scene.readers.array_place import axes_of, crs_of, north_up, transform_of
from reben.scene.row_blocks import Runs
from reben.scene.sources import BandSources, Placement, Size
from reben.spec.band_names import band_described, metres_named, nativeness
from reben.spec.bands import S2_FULL
from reben.spec.radar_names import polarisation_named

if TYPE_CHECKING:
    from xarray import DataArray, Dataset

_WANTED = (
    "Pass a Dataset with one variable per band, named by the band (B02, B03, ...), a Dataset or "
    "DataArray with such names along a dimension 'band', or a mapping of DataArrays by band."
)


_NAMES = ("band", "common_name", "eo:common_name", "title")
"""Coordinates along the bands that can name them, the first one first."""
_TITLE = re.compile(r"band (\d{1,2}|8A)\b", re.IGNORECASE)


class BandArray:
    """One band of a Dataset; a `reben.scene.sources.BandSource`.

    Args:
        array: [y, x] with coordinates along both.
        name: Its name in error messages.
        crs: The reference system, if the array itself does not state it.
    """

    path = ""

    def __init__(self, array: "DataArray", name: str, crs: str = "") -> None:
        self.name = name
        rows, columns = axes_of(array, name)
        extra = [str(dim) for dim in array.dims if dim not in (rows, columns)]
        more = [f"{dim}=0" for dim in extra if array.sizes[dim] > 1]
        if more:
            raise ProductError(
                f"{name} has dimensions {dict(array.sizes)}; a band of one scene has only rows and "
                f"columns. Select one time first, such as dataset.isel({', '.join(more)})."
            )
        crs = crs or crs_of(array)
        self._array = north_up(array.squeeze(extra, drop=True).transpose(rows, columns))
        height, width = self._array.shape
        self.placement = Placement(crs, transform_of(self._array, name), width, height)

    @property
    def statements(self) -> tuple[ScaleStatement, ...]:
        """What the attributes state; nothing if they are the usual 1 and 0."""
        attributes = self._array.attrs
        scale = number_of(attributes, "scale_factor", self.name, 1.0)
        offset = number_of(attributes, "add_offset", self.name, 0.0)
        if scale is None or offset is None or (scale, offset) == (1.0, 0.0):
            return ()
        said = f"scale_factor is {scale:g} and add_offset is {offset:g}"
        return (statement_of_scale(said, scale, offset),)

    @property
    def nodata(self) -> float | None:
        """The value of pixels without data, by the attributes."""
        try:
            return declared_nodata(self._array.attrs, self.name)
        except PixelValueError as error:
            raise ProductError(str(error)) from None

    @property
    def words(self) -> Mapping[str, str]:
        """The attributes that are texts."""
        return {
            str(key): value for key, value in self._array.attrs.items() if isinstance(value, str)
        }

    def read_rows(
        self,
        top: int,
        height: int,
        columns: tuple[int, int] | None = None,
        needed: Runs | None = None,
    ) -> NDArray[Any]:
        """Return rows ``top`` to ``top + height``, [height, width], as stored."""
        return np.asarray(self._array[top : top + height, slice(*(columns or (None, None)))])

    def read_small(self, size: Size, shape: Size) -> NDArray[Any] | None:
        """Return nothing: a lazy array would be computed as a whole."""
        return None

    def close(self) -> None:
        """Do nothing: the arrays belong to the caller."""


def read_arrays(
    product: "Dataset | DataArray | Mapping[str, DataArray]", boa_offset: float | None = None
) -> BandSources:
    """Return the Sentinel-2 bands of a Dataset; for the errors see `open_scene`."""
    arrays, attributes, crs = named_arrays(product)
    name = str(attributes.get("name") or attributes.get("id") or "the Dataset")
    require_mission(name, attributes, "Sentinel-2")
    for band, array in arrays.items():
        require_mission(f"{band} of {name}", array.attrs, "Sentinel-2")
    check_given_offset(boa_offset)
    sources = {
        band: BandArray(array, f"{band} of {name}", crs)
        for band, array in arrays.items()
        if band in S2_FULL or band == CLASSIFICATION
    }
    if not set(sources) - {CLASSIFICATION}:
        raise MissingBandError(
            f"{name} has nothing named by a Sentinel-2 band; it has "
            f"{', '.join(arrays) or 'no band'}. {_WANTED}"
        )
    said = [*statements_in(attributes), *_own_statements(attributes)]
    return BandSources.decided(
        name,
        sources,
        lambda band: [*said, *sources[band].statements],
        boa_offset,
        where=f"{name}['{{band}}']",
        about={"source": "xarray"},
    )


def named_arrays(
    product: "Dataset | DataArray | Mapping[str, DataArray]",
) -> tuple[dict[str, "DataArray"], dict[str, Any], str]:
    """Return band -> array, the attributes that hold for all, and the reference system or ""."""
    import xarray

    crs = ""
    attributes: dict[str, Any] = {}
    if isinstance(product, xarray.Dataset | xarray.DataArray):
        crs = crs_of(product)
        # Catalogue readers put the properties of an item into coordinates of one value.
        scalars = {str(key): item.item() for key, item in product.coords.items() if item.size == 1}
        attributes = {**scalars, **{str(key): value for key, value in product.attrs.items()}}
        if "bands" in product.dims and "band" not in product.dims:  # of openEO
            product = product.rename(bands="band")
    if isinstance(product, xarray.Dataset) and "band" in product.dims:
        variables = [str(key) for key, item in product.data_vars.items() if "band" in item.dims]
        if len(variables) != 1:
            raise ProductError(
                f"The Dataset has a dimension 'band' and {len(variables)} variables "
                f"({', '.join(variables)}); which holds the bands? {_WANTED}"
            )
        product = product[variables[0]]
    if isinstance(product, xarray.DataArray):
        return _split(product), attributes, crs
    items: Mapping[Any, Any] = product.data_vars if isinstance(product, xarray.Dataset) else product
    arrays = _by_band((str(key), array) for key, array in items.items())
    for key, array in arrays.items():
        if not isinstance(array, xarray.DataArray):
            raise ProductError(
                f"{key} is of type {type(array).__name__}, which has no coordinates. {_WANTED}"
            )
    return arrays, attributes, crs


def number_of(
    attributes: Mapping[Any, Any], key: str, name: str, default: float | None = None
) -> float | None:
    """Return an attribute that is a number; ``default`` if it is not there."""
    value = attributes.get(key, default)
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.item()
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float | np.number):
        raise ProductError(
            f"The attribute {key} of {name} is {cut(repr(value))}, which is no number. Correct or "
            "remove it."
        )
    try:
        return float(value)
    except (OverflowError, TypeError):
        raise ProductError(
            f"The attribute {key} of {name} is no number that can be. Correct or remove it."
        ) from None


def _own_statements(attributes: Mapping[str, Any]) -> list[ScaleStatement]:
    if "boa_offset" not in attributes:
        return []
    offset = number_of(attributes, "boa_offset", "the Dataset")
    if offset is None:
        return []
    check_given_offset(offset)
    return [ScaleStatement(f"attribute boa_offset is {offset:g}", offset)]


def _split(array: "DataArray") -> dict[str, "DataArray"]:
    """Return the bands along a dimension 'band', by the first of their names that means a band."""
    if "band" not in array.dims:
        raise ProductError(
            f"The DataArray has dimensions {dict(array.sizes)} and no coordinate 'band' with band "
            f"names. {_WANTED}"
        )
    count = array.sizes["band"]
    told = [_texts(array.coords[key]) for key in _NAMES if key in array.coords]
    long_names = array.attrs.get("long_name")
    told += [[str(text) for text in long_names]] if isinstance(long_names, tuple | list) else []
    by_band = list(zip(*(texts for texts in told if len(texts) == count), strict=True))
    names = [next(filter(_is_band, texts), texts[0]) for texts in by_band]
    if not any(map(_is_band, names)):
        raise MissingBandError(
            f"The bands of the DataArray are called {', '.join(names) or 'nothing'}; bands are "
            "never identified by position. Name them: "
            "array.assign_coords(band=['B02', 'B03', ...])."
        )
    return _by_band([(name, array.isel(band=place)) for place, name in enumerate(names)])


def _texts(coordinate: "DataArray") -> list[str]:
    return [str(value) for value in np.ravel(coordinate.values)]


def _band_in(text: str) -> str | None:
    """Return the band that a name means, or a title such as 'Band 8A - Vegetation red edge'."""
    match = _TITLE.match(text)
    return band_described(f"B{match[1]}" if match else text)


def _is_band(text: str) -> bool:
    return bool(_band_in(text) or polarisation_named(text))


def _by_band(arrays: Iterable[tuple[str, "DataArray"]]) -> dict[str, "DataArray"]:
    """Return arrays by band; of several sizes of a band, by their names, the native one."""
    ranked: dict[str, tuple[tuple[bool, int], str, DataArray]] = {}
    for key, array in arrays:
        band = _band_in(key) or _band_in(str(getattr(array, "attrs", {}).get("long_name", "")))
        rank = (False, 0) if band is None else nativeness(band, metres_named(key))
        name = band or key
        known = ranked.get(name)
        if known and known[0] == rank:
            raise ProductError(f"Two arrays are band {name}: {known[1]} and {key}. Remove one.")
        if known is None or rank < known[0]:
            ranked[name] = rank, key, array
    return {name: array for name, (_, _, array) in ranked.items()}
