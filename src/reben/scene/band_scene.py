"""A scene made of band sources: strips of every band at its native size, and their mask."""

import math
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from reben.errors import GridError, MissingBandError, ProductError
from reben.scene.alignment import Alignment, align
from reben.scene.band_names import CLASSIFICATION, native_metres
from reben.scene.band_source import BandSources, raster_environment
from reben.scene.grid import GRID_METRES, GRID_MULTIPLE, Grid
from reben.scene.offset import OffsetAndScale
from reben.scene.plausible import bands_to_look_at, check_offset
from reben.scene.warped import Sentinel1
from reben.spec.bands import PIXEL_METRES, sensor

GOOD, NO_DATA, OBSCURED = 0, 1, 2
"""What a mask says of a pixel: usable, not measured, hidden or defective."""

CLASS_NAMES = (
    "no data",
    "saturated or defective",
    "dark area",
    "cloud shadow",
    "vegetation",
    "not vegetated",
    "water",
    "unclassified",
    "cloud, medium probability",
    "cloud, high probability",
    "thin cirrus",
    "snow or ice",
)
"""The classes by their number. Source: Sentinel-2 Level-2A Algorithm Theoretical Basis Document."""

OBSCURED_CLASSES = (1, 3, 8, 9, 10)
"""Classes whose pixels do not show the ground. Snow lies on it, so it counts as good."""

_MASK_OF_CLASS = np.full(256, GOOD, np.uint8)
_MASK_OF_CLASS[0] = NO_DATA
_MASK_OF_CLASS[list(OBSCURED_CLASSES)] = OBSCURED
_READERS = 4
_SAMPLED_PIXELS = 1_000_000
_SAMPLED_PLACES = (0, 0.1, 0.3, 0.5, 0.7, 0.9)


class Scene:
    """A scene that can be read in strips. Use it as a context manager, or close it.

    A source with finer pixels than its band is averaged to the band's native size, which is exact
    if the finer pixels repeat coarser ones; pixels without data do not count.

    Args:
        found: What a product reader found.

    Raises:
        MissingBandError: If there is no Sentinel-2 band.
        GridError: If the bands do not lie on one north-up grid of 10 m.
    """

    def __init__(self, found: BandSources) -> None:
        self.name = found.name
        self._found = found
        self._backscatter: Sentinel1 | None = None
        self._sentinel2 = tuple(band for band in PIXEL_METRES if band in found.sources)
        if not self._sentinel2:
            raise MissingBandError(f"{found.name} has no Sentinel-2 band. {self._where_missing()}")
        self._alignment: Alignment = align(
            {band: (source.name, source.placement) for band, source in found.sources.items()}
        )
        self.grid: Grid = self._alignment.grid
        known = {key: text for key, text in found.about.items() if text}
        self.about: Mapping[str, str] = {**known, **self._own_facts()}

    def add_backscatter(self, backscatter: Sentinel1, about: Mapping[str, str]) -> None:
        """Add Sentinel-1 bands."""
        self._backscatter = backscatter
        self.about = {**self.about, **about, **backscatter.known.about}

    @property
    def bands(self) -> tuple[str, ...]:
        """Names of the bands that can be read: Sentinel-1 first."""
        backscatter = self._backscatter.bands if self._backscatter else ()
        return (*backscatter, *self._sentinel2)

    def require(self, bands: Iterable[str]) -> None:
        """Raise a MissingBandError, which says where it should be, if a band cannot be read."""
        lacking = [band for band in bands if band not in self.bands]
        if not lacking:
            return
        advice = "Choose a model for the available bands, or complete the product."
        if all(band in {"VV", "VH"} for band in lacking):
            advice = "Pass the Sentinel-1 product of the same place and time: sentinel1=."
        raise MissingBandError(
            f"{self.name} lacks {', '.join(lacking)}; it has {', '.join(self.bands)}. "
            f"{self._where_missing(lacking)}{advice}"
        )

    def read(self, bands: Sequence[str], top: int, height: int) -> dict[str, NDArray[Any]]:
        """Return a strip of full width.

        Args:
            bands: Names of the bands.
            top: First row of the 10 m grid; a multiple of 6.
            height: Rows of the 10 m grid; a multiple of 6.

        Returns:
            Band -> pixels at native size, [height * 10 / pixel metres, width * 10 / pixel metres].
            Sentinel-2 as reflectance x 10000 without offset, uint16 or float32, never below 0, 0
            where there are no data. Sentinel-1 in dB, float32, never NaN: pixels without data
            have the mean of the training data.

        Raises:
            MissingBandError: If the scene lacks a band.
            GridError: If rows are not multiples of 6, or outside the scene.
            ProductError: If a file is damaged there.
        """
        self.require(bands)
        self._check_rows(top, height)
        optical = [band for band in bands if sensor(band) == "Sentinel-2"]
        radar = [band for band in bands if band not in optical]
        with raster_environment(cache=True):
            with ThreadPoolExecutor(_READERS) as pool:
                done = {band: pool.submit(self._read_band, band, top, height) for band in optical}
                # Warping is not for threads: rasterio changes the process's warnings meanwhile.
                strips = self._read_backscatter(radar, top, height)
            strips |= {band: future.result() for band, future in done.items()}
        return {band: strips[band] for band in bands}

    def read_mask(self, top: int, height: int) -> NDArray[np.uint8]:
        """Return what each pixel of a strip is, [height, width] at 10 m.

        Returns:
            0 for good pixels. 1 for no data: every Sentinel-2 band is 0 there, the scene
            classification says so, or Sentinel-1 has none. 2 for clouds of medium or high
            probability, cloud shadow, thin cirrus, saturated and defective pixels, by the scene
            classification; without one there is no 2. Snow is good: it lies on the ground.
        """
        self._check_rows(top, height)
        with raster_environment(cache=True):
            if CLASSIFICATION in self._found.sources:
                classes = self._stored(CLASSIFICATION, top, height)
                mask = mask_of(self._expanded(CLASSIFICATION, classes), self.name)
            else:
                mask = np.zeros((height, self.grid.width), np.uint8)
            mask[self._unmeasured(top, height)] = NO_DATA
            if self._backscatter:
                for band in self._backscatter.bands:
                    _, measured = self._backscatter.read(band, top, height)
                    mask[~measured] = NO_DATA
        return mask

    def check_offset(self, boa_offset: float | None) -> None:
        """Raise an OffsetConflictError if the pixels contradict the offset they are read with.

        Args:
            boa_offset: The offset that the user gave.
        """
        scaling = self._found.scaling
        bands = bands_to_look_at(scaling, self._found.sources)
        if not bands:
            return
        try:
            numbers = self._sample(bands)
        except ProductError:
            return  # a damaged band is named when it is read
        given = boa_offset is not None
        check_offset(self.name, scaling, numbers, given=given, cure=self._found.cure)

    def _sample(self, bands: Sequence[str]) -> dict[str, NDArray[Any]]:
        """Return stored numbers of a part of the scene, all of one shape: small scenes whole."""
        height, width = self.grid.height, self.grid.width
        shrink = math.ceil(math.sqrt(height * width / _SAMPLED_PIXELS))
        shape = height // shrink, width // shrink
        with raster_environment(cache=True):
            small = {band: self._small(band, shape) for band in bands}
            if all(pixels is not None for pixels in small.values()):
                return {band: pixels for band, pixels in small.items() if pixels is not None}
            tops = [int(height * share) for share in _SAMPLED_PLACES]
            strips = [(top - top % GRID_MULTIPLE, GRID_MULTIPLE) for top in tops]
            return {
                band: np.concatenate(
                    [self._expanded(band, self._stored(band, *strip)) for strip in strips]
                )
                for band in bands
            }

    def _small(self, band: str, shape: tuple[int, int]) -> NDArray[Any] | None:
        metres = self._alignment.pixel_metres[band]
        size = self.grid.height * GRID_METRES // metres, self.grid.width * GRID_METRES // metres
        pixels = self._found.sources[band].read_small(size, shape)
        return None if pixels is None else self._known(band, pixels)

    def close(self) -> None:
        """Close all files."""
        for source in self._found.sources.values():
            source.close()
        if self._backscatter:
            self._backscatter.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read_band(self, band: str, top: int, height: int) -> NDArray[Any]:
        stored = self._stored(band, top, height)
        factor = native_metres(band) // self._alignment.pixel_metres[band]
        if factor > 1:
            stored = average_down(stored, factor)
        name = self._found.sources[band].name
        return self._found.scaling[band].apply(stored, name)

    def _read_backscatter(
        self, bands: Sequence[str], top: int, height: int
    ) -> dict[str, NDArray[Any]]:
        if self._backscatter is None:
            return {}
        return {band: self._backscatter.read(band, top, height)[0].copy() for band in bands}

    def _stored(self, band: str, top: int, height: int) -> NDArray[Any]:
        metres = self._alignment.pixel_metres[band]
        rows = self._found.sources[band].read_rows(
            top * GRID_METRES // metres, height * GRID_METRES // metres
        )
        return self._known(band, rows[:, : self.grid.width * GRID_METRES // metres])

    def _known(self, band: str, stored: NDArray[Any]) -> NDArray[Any]:
        nodata = self._found.sources[band].nodata
        if nodata and not np.isnan(nodata):
            stored = np.where(stored == nodata, stored.dtype.type(0), stored)
        return stored

    def _expanded(self, band: str, pixels: NDArray[Any]) -> NDArray[Any]:
        factor = self._alignment.pixel_metres[band] // GRID_METRES
        return pixels if factor == 1 else pixels.repeat(factor, axis=0).repeat(factor, axis=1)

    def _unmeasured(self, top: int, height: int) -> NDArray[np.bool_]:
        # Mostly the first band has data everywhere, and no other one need be read.
        empty = np.ones((height, self.grid.width), np.bool_)
        for band in sorted(self._sentinel2, key=native_metres):
            stored = self._stored(band, top, height)
            nothing = (stored == 0) | (np.isnan(stored) if stored.dtype.kind == "f" else False)
            empty &= self._expanded(band, nothing)
            if not empty.any():
                break
        return empty

    def _check_rows(self, top: int, height: int) -> None:
        if top % GRID_MULTIPLE or height % GRID_MULTIPLE:
            raise GridError(
                f"top and height must be multiples of {GRID_MULTIPLE}, so that strips hold whole "
                f"pixels of 60 m; they are {top} and {height}."
            )
        if top < 0 or height <= 0 or top + height > self.grid.height:
            raise GridError(
                f"{self.name} has rows 0 to {self.grid.height}, not {top} to {top + height}."
            )

    def _where_missing(self, bands: Iterable[str] | None = None) -> str:
        missing = self._found.missing
        asked = [band for band in (missing if bands is None else bands) if band in missing]
        return "".join(f"{band} should be at {missing[band]}. " for band in asked)

    def _own_facts(self) -> dict[str, str]:
        facts = {"crs": self.grid.crs, **_summary(self._found.scaling)}
        columns, rows = self._alignment.cut
        if columns or rows:
            facts["cut"] = f"{columns} columns at the right, {rows} rows at the lower edge"
        if CLASSIFICATION not in self._found.sources:
            facts["mask"] = "no scene classification: only pixels without data are known to be bad"
        return facts


def mask_of(classes: NDArray[Any], name: str) -> NDArray[np.uint8]:
    """Return 0 for good, 1 for no data, 2 for obscured pixels, in the shape of ``classes``.

    Args:
        classes: Class numbers 0 to 11.
        name: What they are called in error messages.

    Example:
        >>> mask_of(np.array([[4, 0, 3], [11, 9, 10]], np.uint8), "SCL")
        array([[0, 1, 2],
               [0, 2, 2]], dtype=uint8)
    """
    if classes.size and (int(classes.max()) >= len(CLASS_NAMES) or int(classes.min()) < 0):
        raise ProductError(
            f"{name} holds the value {classes.max()}; a scene classification has classes 0 to "
            f"{len(CLASS_NAMES) - 1}. Remove the file, or replace it by the right one."
        )
    mask: NDArray[np.uint8] = _MASK_OF_CLASS[classes.astype(np.uint8, copy=False)]
    return mask


def average_down(values: NDArray[Any], factor: int) -> NDArray[np.float32]:
    """Return means over squares of ``factor`` pixels; those without data, 0 or NaN, do not count.

    Example:
        >>> average_down(np.array([[4, 6, 0, 0], [0, 5, 0, 0]], np.uint16), 2)
        array([[5., 0.]], dtype=float32)
    """
    height, width = (side // factor for side in values.shape)
    known = np.nan_to_num(values[: height * factor, : width * factor].astype(np.float32))
    squares = known.reshape(height, factor, width, factor)
    count = np.maximum((squares != 0).sum(axis=(1, 3)), 1)
    means: NDArray[np.float32] = (squares.sum(axis=(1, 3)) / count).astype(np.float32)
    return means


def _summary(scaling: Mapping[str, OffsetAndScale]) -> dict[str, str]:
    facts = {}
    for key in ("offset", "quantification", "source"):
        values = {band: _text(getattr(item, key)) for band, item in scaling.items()}
        same = len(set(values.values())) == 1
        listed = "; ".join(f"{band}: {value}" for band, value in values.items())
        facts[key] = next(iter(values.values())) if same else listed
    return {
        "boa_offset": facts["offset"],
        "quantification": facts["quantification"],
        "boa_offset_source": facts["source"],
    }


def _text(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:g}"
