"""Strips of one image, warped from the rows and columns of another that lie below them."""

import math
import threading
from collections.abc import Callable
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from reben.data.places import ground_size
from reben.scene.band_source import import_rasterio
from reben.scene.sources import Placement, Transform

_MARGIN_PIXELS = 3
_WARPING = threading.Lock()  # rasterio changes the warnings of the process meanwhile


class Warp:
    """Warps from one placement to another.

    Args:
        source: Where the pixels lie that there are; may be rotated or upside down.
        target: Where pixels are wanted; north-up.
    """

    def __init__(self, source: Placement, target: Placement) -> None:
        self.source, self.target = source, target

    def window(
        self, top: int, height: int, columns: tuple[int, int] | None = None
    ) -> tuple[range, range]:
        """Return the rows and columns of the source that a strip of the target needs.

        Args:
            top: First row of the target.
            height: How many.
            columns: The first column and the one behind the last; by default all.
        """
        from rasterio.warp import transform_bounds

        a, _, left, _, e, upper = self.target.transform
        first, stop = columns or (0, self.target.width)
        bounds = (left + first * a, upper + (top + height) * e, left + stop * a, upper + top * e)
        west, south, east, north = transform_bounds(self.target.crs, self.source.crs, *bounds)
        if not all(map(math.isfinite, (west, south, east, north))):
            return range(0), range(0)  # where the other reference system has no numbers
        across, down = zip(
            *(self._pixel_at(x, y) for x in (west, east) for y in (south, north)), strict=True
        )
        return _range(down, self.source.height), _range(across, self.source.width)

    def warp(
        self,
        read: Callable[[range, range], NDArray[np.float32]],
        top: int,
        height: int,
        columns: tuple[int, int] | None = None,
        *,
        nearest: bool = False,
    ) -> NDArray[np.float32]:
        """Return a strip of the target, [height, width]; NaN where there are no data.

        Args:
            read: Returns rows and columns of the source, NaN where there are no data: nothing is
                interpolated from those.
            top: As for `window`.
            height: As for `window`.
            columns: As for `window`.
            nearest: Whether to take the nearest pixel instead of interpolating bilinearly.
        """
        from rasterio.warp import Resampling, reproject

        affine = import_rasterio().Affine
        first, stop = columns or (0, self.target.width)
        warped = np.full((height, stop - first), np.nan, np.float32)
        across, down = reversed(self.window(top, height, columns))
        if not across or not down:
            return warped
        values = read(down, across)
        with _WARPING:
            reproject(
                values,
                warped,
                src_transform=affine(*_moved(self.source.transform, across.start, down.start)),
                src_crs=self.source.crs,
                src_nodata=np.nan,
                dst_transform=affine(*_moved(self.target.transform, first, top)),
                dst_crs=self.target.crs,
                dst_nodata=np.nan,
                resampling=Resampling.nearest if nearest else Resampling.bilinear,
                # Else GDAL takes it from the strip's outline, and blurs what is turned.
                **self._pixels_per_source_pixel,
            )
        return warped

    @property
    def source_metres(self) -> tuple[float, float]:
        """Width and height of a pixel of the source on the ground, in the middle of the target."""
        x, y = self._in_source([self.target.width / 2], [self.target.height / 2])
        a, _, _, _, e, _ = self.source.transform
        across, along = 50 * abs(a), 50 * abs(e)  # enough pixels to be measured
        sides = ground_size(
            self.source.crs, x[0] - across, y[0] - along, x[0] + across, y[0] + along
        )
        return sides[0] / 100, sides[1] / 100

    def _in_source(
        self, columns: list[float], rows: list[float]
    ) -> tuple[list[float], list[float]]:
        """Return where pixels of the target lie in the reference system of the source."""
        from rasterio.warp import transform

        a, _, left, _, e, upper = self.target.transform
        eastings, northings = [left + n * a for n in columns], [upper + n * e for n in rows]
        x, y = transform(self.target.crs, self.source.crs, eastings, northings)
        return list(x), list(y)

    def _pixel_at(self, x: float, y: float) -> tuple[float, float]:
        """Return column and row of the source at a point of its reference system."""
        found: tuple[float, float] = ~import_rasterio().Affine(*self.source.transform) @ (x, y)
        return found

    @cached_property
    def _pixels_per_source_pixel(self) -> dict[str, float]:
        width, height = self.target.width, self.target.height
        found = self._in_source(
            [0, width, width / 2, width / 2], [height / 2, height / 2, 0, height]
        )
        west, east, north, south = (self._pixel_at(x, y) for x, y in zip(*found, strict=True))
        return {
            "XSCALE": width / math.dist(west, east),
            "YSCALE": height / math.dist(north, south),
        }


def _moved(transform: Transform, column: int, row: int) -> Transform:
    a, b, left, d, e, upper = transform
    return (a, b, left + column * a + row * b, d, e, upper + column * d + row * e)


def _range(places: tuple[float, ...], size: int) -> range:
    return range(
        max(0, math.floor(min(places)) - _MARGIN_PIXELS),
        min(size, math.ceil(max(places)) + _MARGIN_PIXELS),
    )
