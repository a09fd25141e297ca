"""A scene made of band sources: strips of every band at its native size, and their mask."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from copy import copy
from dataclasses import replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from reben.data.patch_folders.multiband import Resample
from reben.errors import GridError, MissingBandError, PixelValueError, ProductError
from reben.scene.alignment import Alignment, align
from reben.scene.band_names import CLASSIFICATION, native_metres
from reben.scene.band_source import raster_environment
from reben.scene.finer import FinerBands
from reben.scene.grid import GRID_METRES, GRID_MULTIPLE, Grid
from reben.scene.masks import GOOD, NO_DATA
from reben.scene.offset import facts_of_scaling
from reben.scene.plausible import bands_to_look_at, check_offset
from reben.scene.radar.warped import Sentinel1
from reben.scene.row_blocks import Runs
from reben.scene.sources import BandSources
from reben.scene.stored import SAMPLED_PLACES, StoredNumbers
from reben.spec.bands import PIXEL_METRES, sensor

NO_CLASSES = "no scene classification: only pixels without data are known to be bad"
"""What outputs say of the mask of a product that has none."""
RADAR_ONLY = "pixels without Sentinel-1 data: clouds do not hide the ground from radar"
_READERS = 4
_FINGERPRINT_PLACES = (0.5,)
_SQUARE = (36, 2400)


class Scene:
    """A scene that can be read in strips. Use it as a context manager, or close it.

    Args:
        found: What a product reader found.
        resample: How bands that are stored with finer pixels than their own are brought to those;
            pixels without data do not count.
        alignment: The grid of a scene without Sentinel-2; the others have that of their bands.

    Raises:
        MissingBandError: If there is no Sentinel-2 band, and no grid.
        GridError: If the bands do not lie on one north-up grid of 10 m, or ``resample`` is exact
            and finer pixels are no repeats.
    """

    def __init__(
        self,
        found: BandSources,
        resample: Resample = "auto",
        alignment: Alignment | None = None,
    ) -> None:
        self.name = found.name
        self._found = found
        self._backscatter: Sentinel1 | None = None
        self._in_use: set[str] = set()
        self._bands: frozenset[str] | None = None
        self._sentinel2 = tuple(band for band in PIXEL_METRES if band in found.sources)
        if not self._sentinel2 and alignment is None:
            raise MissingBandError(f"{found.name} has no Sentinel-2 band. {found.where_missing()}")
        aligned: Alignment = alignment or align(found.sources)
        self._stored = StoredNumbers(found, aligned, aligned.grid)
        metres = aligned.pixel_metres
        factors = {band: native_metres(band) // metres[band] for band in self._sentinel2}
        self._finer = FinerBands(self.name, factors, resample)
        self._begin_with_whole_pixels()
        known = {key: text for key, text in found.about.items() if text}
        self.about: Mapping[str, str] = {**known, **self._own_facts()}
        self._look_at_finer()

    def add_backscatter(self, backscatter: Sentinel1, about: Mapping[str, str]) -> None:
        """Add Sentinel-1 bands."""
        self._backscatter = backscatter
        sensed = self.about.get("sensing_time", "")
        apart = backscatter.known.days_from(self.name, sensed) if self._sentinel2 else {}
        self.about = {**self.about, **about, **backscatter.known.about, **apart}

    def for_bands(self, bands: Iterable[str]) -> Self:
        """Return it for a model that uses some bands: its mask and facts are about those alone.

        Clouds do not hide the ground from radar, and a gap of the radar is none of optical bands.
        """
        part = copy(self)
        part._bands = frozenset(bands)
        part._in_use = set(part._bands.intersection(self._sentinel2))
        about = dict(self.about)
        if not any(sensor(band) == "Sentinel-1" for band in part._bands):
            about = {key: text for key, text in about.items() if not key.startswith("sentinel1")}
        part.about = about if part._is_optical else {**about, "mask": RADAR_ONLY}
        return part

    @property
    def grid(self) -> Grid:
        """Its pixels of 10 m."""
        return self._stored.grid

    @property
    def _is_optical(self) -> bool:
        """Whether optical bands are used."""
        return bool(self._sentinel2 if self._bands is None else self._in_use)

    @property
    def _radar(self) -> tuple[str, ...]:
        """The Sentinel-1 bands that are used."""
        there = self._backscatter.bands if self._backscatter else ()
        return tuple(band for band in there if self._bands is None or band in self._bands)

    @property
    def num_cut(self) -> tuple[int, int]:
        """Columns and rows of the product that its grid leaves out at the right and lower edge."""
        return self._stored.alignment.cut

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
            f"{self._found.where_missing(lacking)}{advice}"
        )

    def cut(self, top: int, left: int, height: int, width: int) -> Self:
        """Return a rectangle of it as a scene, which reads its pixels only and shares its files.

        Args:
            top: Its first row of the 10 m grid.
            left: Its first column.
            height: Rows; a multiple of 6.
            width: Columns; a multiple of 6.

        Raises:
            GridError: If it is not within the scene, or begins within a stored pixel.
        """
        metres = max(self._stored.alignment.pixel_metres.values())
        inside = 0 <= top < top + height <= self.grid.height
        inside = inside and 0 <= left < left + width <= self.grid.width
        if not inside or top * GRID_METRES % metres or left * GRID_METRES % metres:
            raise GridError(
                f"{self.name} has {self.grid.height} rows and {self.grid.width} columns of pixels "
                f"of up to {metres} m; {height} x {width} from {top}, {left} cannot be cut out."
            )
        part, (row, column) = copy(self), self._stored.first or (0, 0)
        x, y = self.grid.point(left, top)
        grid = replace(self.grid, left=x, top=y, width=width, height=height)
        part._stored = replace(self._stored, grid=grid, first=(row + top, column + left))
        part._in_use = set() if self._bands is None else self._in_use
        if self._backscatter:
            part._backscatter = self._backscatter.cut(top, left, width)
        return part

    def read(
        self,
        bands: Sequence[str],
        top: int,
        height: int,
        needed: Mapping[str, Runs] | None = None,
    ) -> dict[str, NDArray[Any]]:
        """Return a strip of full width.

        Args:
            bands: Names of the bands.
            top: First row of the 10 m grid; a multiple of 6.
            height: Rows of the 10 m grid; a multiple of 6.
            needed: Optical band -> runs of columns of the 10 m grid that are needed of it, by
                default all. Tiles of files without one of these are not decoded, and are 0.

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
        self.grid.require_rows(self.name, top, height)
        optical = [band for band in bands if sensor(band) == "Sentinel-2"]
        if self._bands is None:
            self._in_use = {*self._in_use, *optical}
        radar = [band for band in bands if band not in optical]
        with raster_environment(cache=True):
            with ThreadPoolExecutor(_READERS) as pool:
                done = {
                    band: pool.submit(self._read_band, band, top, height, (needed or {}).get(band))
                    for band in optical
                }
                # Warping is not for threads: rasterio changes the process's warnings meanwhile.
                backscatter = self._backscatter
                strips: dict[str, NDArray[Any]] = {}
                if backscatter:
                    strips = {b: backscatter.read(b, top, height)[0].copy() for b in radar}
            strips |= {band: future.result() for band, future in done.items()}
        self._tell_finer()
        return {band: strips[band] for band in bands}

    def classified(self, top: int, height: int) -> NDArray[np.uint8]:
        """Return what `read_mask` does as far as the scene classification tells.

        What is bad there is so for `read_mask`.
        """
        self.grid.require_rows(self.name, top, height)
        if not self._is_optical:
            return np.full((height, self.grid.width), GOOD, np.uint8)
        with raster_environment(cache=True):
            return self._stored.classified(top, height)

    def read_mask(self, top: int, height: int, needed: Runs | None = None) -> NDArray[np.uint8]:
        """Return what each pixel of a strip is, [height, width] at 10 m; see also `for_bands`.

        Args:
            top: First row of the 10 m grid; a multiple of 6.
            height: Rows of the 10 m grid; a multiple of 6.
            needed: Runs of columns in which single bands count; by default all. Elsewhere pixels
                are what the classification says, or without data where every band is 0.

        Returns:
            0 for good pixels. 1 for no data: every Sentinel-2 band is 0 there, the scene
            classification says so, Sentinel-1 has none, or a band that was read before has none
            (masked, declared as no data, NaN, no reflectance, or 0 before its offset). 2 for clouds
            of medium or high probability, cloud shadow, thin cirrus, and defective pixels, by the
            scene classification, and for saturated numbers of bands that were read before. Snow is
            good: it lies on the ground.
        """
        self.grid.require_rows(self.name, top, height)
        mask = np.full((height, self.grid.width), GOOD, np.uint8)
        with raster_environment(cache=True):
            if self._is_optical:
                mask = self._stored.mask(self._sentinel2, self._in_use, top, height, needed)
            for band in self._radar:
                assert self._backscatter is not None  # noqa: S101 - an invariant
                mask[~self._backscatter.read(band, top, height)[1]] = NO_DATA
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
            numbers = self._stored.sample(bands)
        except ProductError:
            return  # a damaged band is named when it is read
        given = boa_offset is not None
        check_offset(self.name, scaling, numbers, given=given, cure=self._found.cure)

    def fingerprint(self, bands: Iterable[str]) -> str:
        """Return a SHA-256 of a part of the pixels, which tells apart scenes of one name.

        Args:
            bands: Which of its bands count; with optical ones the scene classification does, too.
        """
        digest, counted = hashlib.sha256(), {*bands}
        if counted.intersection(self._sentinel2):
            counted.add(CLASSIFICATION)
        wanted = [band for band in self._found.sources if band in counted]
        for band, pixels in self._stored.sample(wanted, _FINGERPRINT_PLACES).items():
            digest.update(f"{band} {pixels.dtype} {pixels.shape}".encode())
            digest.update(np.ascontiguousarray(pixels).data)
        for band in self._backscatter.bands if self._backscatter else ():
            if band not in counted:
                continue
            top = self.grid.height // 2 // GRID_MULTIPLE * GRID_MULTIPLE
            top = min(top, self.grid.height - GRID_MULTIPLE)
            digest.update(self.read([band], top, GRID_MULTIPLE)[band].tobytes())
        return digest.hexdigest()

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

    def _read_band(self, band: str, top: int, height: int, needed: Runs | None) -> NDArray[Any]:
        stored = self._finer.to_native(band, self._stored.read(band, top, height, needed))
        return self._found.scaling[band].apply(stored, self._found.sources[band].name)

    def _begin_with_whole_pixels(self) -> None:
        """Leave out rows and columns before repeated pixels of 20 m and 60 m begin."""
        if max(self._stored.alignment.pixel_metres.values()) > GRID_METRES:
            return

        def read(band: str, top: int, left: int) -> NDArray[Any]:
            height = min(_SQUARE[0], self.grid.height - top)
            columns = left, min(left + _SQUARE[1], self.grid.width)
            rows = self._found.sources[band].read_rows(top, height, columns)
            return self._stored.known(band, rows)

        with raster_environment(cache=True), suppress(ProductError, PixelValueError):
            row, column = self._finer.begin(read, (self.grid.height, self.grid.width))
            if row or column:
                aligned = self._stored.alignment.beginning_at(row, column)
                self._stored = StoredNumbers(self._found, aligned, aligned.grid, (row, column))

    def _look_at_finer(self) -> None:
        """See from a part of each band with finer pixels how it was brought to those."""
        with raster_environment(cache=True):
            for strip in self._stored.strips(SAMPLED_PLACES):
                for band in self._finer.factors:
                    try:
                        stored = self._stored.read(band, *strip)
                    except (ProductError, PixelValueError):
                        continue  # a damaged band is named when it is read
                    self._finer.to_native(band, stored)
        self._tell_finer()

    def _tell_finer(self) -> None:
        self._finer.tell()
        self.about = {**self.about, **self._finer.about}

    def _own_facts(self) -> dict[str, str]:
        facts = {"crs": self.grid.crs}
        if self._sentinel2:
            facts |= facts_of_scaling(self._found.scaling)
        facts |= self._stored.facts_of_place
        has_classes = CLASSIFICATION in self._found.sources
        optical = "scene classification, and pixels without data" if has_classes else NO_CLASSES
        facts["mask"] = optical if self._sentinel2 else RADAR_ONLY
        return facts
