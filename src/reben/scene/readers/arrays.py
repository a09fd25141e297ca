"""A scene in xarray: a Dataset with named bands, or a mapping of DataArrays of any pixel size.

Arrays are read strip by strip, so lazy ones (dask) are never loaded as a whole.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from reben.data.values import AXES, declared_nodata
from reben.errors import GridError, MissingBandError, PixelValueError, ProductError, cut
from reben.scene.band_names import CLASSIFICATION, band_named
from reben.scene.mission import require_mission
from reben.scene.offset import (
    ScaleStatement,
    check_given_offset,
    statement_of_scale,
    statements_in,
)
from reben.scene.sources import BandSources, Placement, Size
from reben.spec.bands import S2_FULL

if TYPE_CHECKING:
    from xarray import DataArray, Dataset

_WANTED = (
    "Pass a Dataset with one variable per band, named by the band (B02, B03, ...), a Dataset or "
    "DataArray with such names along a dimension 'band', or a mapping of DataArrays by band."
)


class BandArray:
    """One band of a Dataset; a `reben.scene.sources.BandSource`.

    Args:
        array: [y, x] with coordinates of pixel centres along both.
        name: Its name in error messages.
        crs: The reference system, if the array itself does not state it.
    """

    path = ""

    def __init__(self, array: "DataArray", name: str, crs: str = "") -> None:
        self.name = name
        extra = [str(dim) for dim in array.dims if array.sizes[dim] == 1]
        rows, columns = _axes(array, name)
        array = array.squeeze([dim for dim in extra if dim not in (rows, columns)], drop=True)
        if array.ndim != 2:
            raise ProductError(
                f"{name} has dimensions {dict(array.sizes)}; a band of one scene has only rows and "
                "columns. Select one time first, such as dataset.isel(time=0)."
            )
        self._array = array.transpose(rows, columns)
        height, width = self._array.shape
        transform = _transform(self._array, name, rows, columns)
        self.placement = Placement(crs or crs_of(array), transform, width, height)

    @property
    def statements(self) -> tuple[ScaleStatement, ...]:
        """What the attributes state; nothing if they are the usual 1 and 0."""
        attributes = self._array.attrs
        scale = number_of(attributes, "scale_factor", self.name, 1.0)
        offset = number_of(attributes, "add_offset", self.name, 0.0)
        if scale is None or offset is None or (scale, offset) == (1.0, 0.0):
            return ()
        said = f"{self.name} has scale_factor {scale:g} and add_offset {offset:g}"
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
        self, top: int, height: int, columns: tuple[int, int] | None = None
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
    if isinstance(product, xarray.Dataset) and "band" in product.dims:
        variables = [str(key) for key in product.data_vars]
        if len(variables) != 1:
            raise ProductError(
                f"The Dataset has a dimension 'band' and {len(variables)} variables "
                f"({', '.join(variables)}); which holds the bands? {_WANTED}"
            )
        product = product[variables[0]]
    if isinstance(product, xarray.DataArray):
        return _split(product), attributes, crs
    items: Mapping[Any, Any] = product.data_vars if isinstance(product, xarray.Dataset) else product
    arrays = _once({str(key): array for key, array in items.items()})
    for key, array in arrays.items():
        if not isinstance(array, xarray.DataArray):
            raise ProductError(
                f"{key} is of type {type(array).__name__}, which has no coordinates. {_WANTED}"
            )
    return arrays, attributes, crs


def crs_of(item: "Dataset | DataArray") -> str:
    """Return the reference system that coordinates or attributes name, as text; "" if none do."""
    for coordinate in item.coords.values():
        for key in ("crs_wkt", "spatial_ref"):
            if coordinate.ndim == 0 and isinstance(coordinate.attrs.get(key), str):
                return str(coordinate.attrs[key])
    for key in ("epsg", "proj:epsg", "proj:code"):
        if key in item.coords and item.coords[key].ndim == 0:
            code = str(item.coords[key].item())
            return f"EPSG:{code}" if code.isdecimal() else code
    return str(item.attrs.get("crs", ""))


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
    if "band" not in array.dims or "band" not in array.coords:
        raise ProductError(
            f"The DataArray has dimensions {dict(array.sizes)} and no coordinate 'band' with band "
            f"names. {_WANTED}"
        )
    names = [str(value) for value in array.coords["band"].values]
    if not any(map(band_named, names)):
        raise MissingBandError(
            f"The bands of the DataArray are called {', '.join(names)}; bands are never identified "
            "by position. Name them: array.assign_coords(band=['B02', 'B03', ...])."
        )
    if len(set(names)) != len(names):
        raise ProductError(f"Bands of the DataArray share a name: {', '.join(names)}.")
    return _once({name: array.isel(band=position) for position, name in enumerate(names)})


def _once(arrays: Mapping[str, "DataArray"]) -> dict[str, "DataArray"]:
    named: dict[str, DataArray] = {}
    for key, array in arrays.items():
        name = band_named(key) or key
        if name in named:
            raise ProductError(f"Two arrays are band {name}; {key} is the second. Remove one.")
        named[name] = array
    return named


def _axes(array: "DataArray", name: str) -> tuple[str, str]:
    for rows, columns in AXES:
        if rows in array.dims and columns in array.dims:
            return rows, columns
    raise GridError(
        f"{name} has dimensions {', '.join(map(str, array.dims))}; rows and columns should be "
        "called y and x."
    )


def _transform(
    array: "DataArray", name: str, rows: str, columns: str
) -> tuple[float, float, float, float, float, float]:
    steps = []
    for axis in (columns, rows):
        if axis not in array.coords or array.sizes[axis] < 2:
            raise GridError(
                f"{name} has fewer than two coordinates along {axis}, so its location is unknown. "
                "Add the pixel centres in metres."
            )
        found = np.asarray(array.coords[axis])
        centres = found.astype(np.float64) if found.dtype.kind in "fiu" else np.full(2, np.nan)
        step = (centres[-1] - centres[0]) / (len(centres) - 1)
        even = centres[0] + step * np.arange(len(centres))
        if not (step and np.abs(centres - even).max() <= abs(step) / 100):
            raise GridError(
                f"The coordinates of {name} along {axis} are not evenly spaced, so its pixels do "
                "not form a regular grid. Resample them to one first, such as with dataset.interp."
            )
        steps.append((float(step), float(centres[0] - step / 2)))
    (a, left), (e, top) = steps
    return (round(a, 6), 0.0, round(left, 4), 0.0, round(e, 6), round(top, 4))
