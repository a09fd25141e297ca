"""A scene made of band sources: strips of every band at its native size, and their mask.

The scene classification of a level-2A product, as good and bad pixels.
"""

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from reben.errors import GridError, MissingBandError, ProductError
from reben.scene.alignment import CLASSIFICATION, Alignment, align, native_metres
from reben.scene.band_source import BandSource, raster_environment
from reben.scene.grid import GRID_METRES, GRID_MULTIPLE, Grid
from reben.scene.offset import Calibration
from reben.spec.bands import PIXEL_METRES, sensor

GOOD, NODATA, OBSCURED = 0, 1, 2
"""What a pixel of a mask is: fit to be looked at, not measured, hidden or defective."""

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
"""Classes whose pixels do not show the ground. Snow does: it lies on it."""

_MASK_OF_CLASS = np.full(256, GOOD, np.uint8)
_MASK_OF_CLASS[0] = NODATA
_MASK_OF_CLASS[list(OBSCURED_CLASSES)] = OBSCURED


def mask_of(classes: NDArray[Any], name: str) -> NDArray[np.uint8]:
    """Return 0 for good, 1 for no data, 2 for obscured pixels, in the shape of ``classes``.

    Args:
        classes: Class numbers 0 to 11.
        name: What they are called in error messages.

    Raises:
        ProductError: If there is another number: then it is no scene classification.

    Example:
        >>> mask_of(np.array([[4, 0, 3], [11, 9, 10]], np.uint8), "SCL")
        array([[0, 1, 2],
               [0, 2, 2]], dtype=uint8)
    """
    if classes.size and (int(classes.max()) >= len(CLASS_NAMES) or int(classes.min()) < 0):
        raise ProductError(
            f"{name} holds the value {classes.max()}; a scene classification has classes 0 to "
            f"{len(CLASS_NAMES) - 1}. Take it out of the product, or put the right file there."
        )
    mask: NDArray[np.uint8] = _MASK_OF_CLASS[classes.astype(np.uint8, copy=False)]
    return mask


_READERS = 4


class Backscatter(Protocol):
    """Sentinel-1 on the grid of a scene."""

    @property
    def bands(self) -> tuple[str, ...]:
        """VV, VH or both."""

    def read(self, band: str, top: int, height: int) -> tuple[NDArray[np.float32], NDArray[Any]]:
        """Return dB, [height, width], and whether each pixel was measured."""

    def close(self) -> None:
        """Let go of what is held open."""


@dataclass(frozen=True)
class Ingredients:
    """What a product reader found.

    Args:
        name: The product's name.
        sources: Sentinel-2 band, or the classification, -> what it is read from.
        calibrations: Sentinel-2 band -> how its numbers are brought to those of the models.
        missing: Band that the product should hold -> where it was looked for.
        about: Facts about the product, for provenance.
    """

    name: str
    sources: Mapping[str, BandSource]
    calibrations: Mapping[str, Calibration]
    missing: Mapping[str, str] = field(default_factory=dict)
    about: Mapping[str, str] = field(default_factory=dict)


class BandScene:
    """A `reben.scene.product.Scene` made of band sources.

    A source with finer pixels than its band is averaged down to the band's native size, which is
    exact if the finer pixels repeat coarser ones; pixels without data do not count.

    Args:
        found: What a product reader found.

    Raises:
        MissingBandError: If there is no Sentinel-2 band at all.
        GridError: If the bands do not lie on one north-up grid of 10 m.
    """

    def __init__(self, found: Ingredients) -> None:
        self.name = found.name
        self._found = found
        self._backscatter: Backscatter | None = None
        self._sentinel2 = tuple(band for band in PIXEL_METRES if band in found.sources)
        if not self._sentinel2:
            raise MissingBandError(f"{found.name} has no Sentinel-2 band. {self._where_missing()}")
        self._alignment: Alignment = align(
            {band: (source.name, source.placement) for band, source in found.sources.items()}
        )
        self.grid: Grid = self._alignment.grid
        known = {key: text for key, text in found.about.items() if text}
        self.about: Mapping[str, str] = {**known, **self._own_facts()}

    def add_backscatter(self, backscatter: Backscatter, about: Mapping[str, str]) -> None:
        """Give the scene Sentinel-1 bands, too."""
        self._backscatter = backscatter
        self.about = {**self.about, **about}

    @property
    def bands(self) -> tuple[str, ...]:
        """Names of the bands that can be read: Sentinel-1 first."""
        backscatter = self._backscatter.bands if self._backscatter else ()
        return (*backscatter, *self._sentinel2)

    def require(self, bands: Iterable[str]) -> None:
        """Refuse to go on without bands.

        Raises:
            MissingBandError: If one of them cannot be read; the message says where it should be.
        """
        lacking = [band for band in bands if band not in self.bands]
        if not lacking:
            return
        advice = "Choose a model for the bands that are there, or complete the product."
        if all(band in {"VV", "VH"} for band in lacking):
            advice = "Name the Sentinel-1 product of the same place and days: sentinel1=."
        raise MissingBandError(
            f"{self.name} lacks {', '.join(lacking)}; it has {', '.join(self.bands)}. "
            f"{self._where_missing(lacking)}{advice}"
        )

    def read(self, bands: Sequence[str], top: int, height: int) -> dict[str, NDArray[Any]]:
        """Return a strip of full width; see `reben.scene.product.Scene.read`."""
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
        """Return what each pixel is; see `reben.scene.product.Scene.read_mask`."""
        self._check_rows(top, height)
        with raster_environment(cache=True):
            if CLASSIFICATION in self._found.sources:
                classes = self._stored(CLASSIFICATION, top, height)
                mask = mask_of(self._expanded(CLASSIFICATION, classes), self.name)
            else:
                mask = np.zeros((height, self.grid.width), np.uint8)
            mask[self._unmeasured(top, height)] = NODATA
            if self._backscatter:
                for band in self._backscatter.bands:
                    _, measured = self._backscatter.read(band, top, height)
                    mask[~measured] = NODATA
        return mask

    def close(self) -> None:
        """Close all files."""
        for source in self._found.sources.values():
            source.close()
        if self._backscatter:
            self._backscatter.close()

    def __enter__(self) -> Self:
        """Return the scene itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close all files."""
        self.close()

    def _read_band(self, band: str, top: int, height: int) -> NDArray[Any]:
        stored = self._stored(band, top, height)
        factor = native_metres(band) // self._alignment.pixel_metres[band]
        if factor > 1:
            stored = average_down(stored, factor)
        name = self._found.sources[band].name
        return self._found.calibrations[band].apply(stored, name)

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
        rows = rows[:, : self.grid.width * GRID_METRES // metres]
        nodata = self._found.sources[band].nodata
        if nodata and not np.isnan(nodata):
            rows = np.where(rows == nodata, rows.dtype.type(0), rows)
        return rows

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
                f"Rows {top} to {top + height} were asked for; both must be multiples of "
                f"{GRID_MULTIPLE}, so that they are whole pixels of 60 m."
            )
        if top < 0 or height <= 0 or top + height > self.grid.height:
            raise GridError(
                f"Rows {top} to {top + height} were asked for; {self.name} has rows 0 to "
                f"{self.grid.height}."
            )

    def _where_missing(self, bands: Iterable[str] | None = None) -> str:
        missing = self._found.missing
        asked = [band for band in (missing if bands is None else bands) if band in missing]
        return "".join(f"{band} should be at {missing[band]}. " for band in asked)

    def _own_facts(self) -> dict[str, str]:
        facts = {"crs": self.grid.crs, **_summary(self._found.calibrations)}
        columns, rows = self._alignment.cut
        if columns or rows:
            facts["cut"] = f"{columns} columns at the right, {rows} rows at the lower edge"
        if CLASSIFICATION not in self._found.sources:
            facts["mask"] = "no scene classification: only pixels without data are known to be bad"
        return facts


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


def _summary(calibrations: Mapping[str, Calibration]) -> dict[str, str]:
    facts = {}
    for key in ("offset", "quantification", "source"):
        values = {band: _text(getattr(item, key)) for band, item in calibrations.items()}
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
