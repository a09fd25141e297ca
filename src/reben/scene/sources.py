"""The bands of a scene, as the readers of products find them."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from reben.scene.band_names import CLASSIFICATION
from reben.scene.offset import OffsetAndScale, ScaleStatement, decide, log_unused
from reben.scene.row_blocks import Runs
from reben.spec.bands import S2_FULL

Transform = tuple[float, float, float, float, float, float]
"""Pixel to reference system, (a, b, c, d, e, f): x = a * column + b * row + c, y alike."""


Size = tuple[int, int]
"""Rows and columns."""


@dataclass(frozen=True)
class Placement:
    """Where the pixels of a band lie.

    Args:
        crs: The reference system in any form that rasterio reads; empty if there is none.
        transform: Pixel to reference system.
        width: Pixels in a row.
        height: Rows.
    """

    crs: str
    transform: Transform
    width: int
    height: int


class BandSource(Protocol):
    """One band, read in strips of rows."""

    @property
    def name(self) -> str:
        """Its name in error messages; never holds a signature or token."""

    @property
    def path(self) -> str:
        """The local file that it is, which other programs can read; empty if there is none."""

    @property
    def placement(self) -> Placement:
        """Where its pixels lie."""

    @property
    def statements(self) -> tuple[ScaleStatement, ...]:
        """What the source itself states about its numbers."""

    @property
    def nodata(self) -> float | None:
        """The value of pixels without data, None if none is declared."""

    @property
    def words(self) -> Mapping[str, str]:
        """Texts of its metadata: units, descriptions, tags."""

    def read_rows(
        self,
        top: int,
        height: int,
        columns: tuple[int, int] | None = None,
        needed: Runs | None = None,
    ) -> NDArray[Any]:
        """Return rows ``top`` to ``top + height`` as stored, [height, width].

        Args:
            top: The first row.
            height: How many.
            columns: The first column and the one behind the last; by default all.
            needed: Which of these, counted from the first, are of use; others may be 0.
        """

    def read_small(self, size: Size, shape: Size) -> NDArray[Any] | None:
        """Return its upper left part in ``shape`` pixels, as stored; None if that is slow."""

    def close(self) -> None:
        """Close what is open."""


@contextmanager
def closed_on_error() -> Iterator[dict[str, BandSource]]:
    """Yield a dict for band sources, which are closed if the block raises."""
    sources: dict[str, BandSource] = {}
    try:
        yield sources
    except BaseException:
        for source in sources.values():
            source.close()
        raise


@dataclass(frozen=True)
class BandSources:
    """The bands of a product, as its reader found them.

    Args:
        name: The product's name.
        sources: Sentinel-2 band, or the classification -> its source.
        scaling: Sentinel-2 band -> how its numbers become those of the models.
        missing: Band that the product should hold -> where it was looked for.
        about: Facts about the product, for provenance.
        no_data: The value of pixels without data beside 0, where files do not declare it.
        saturated: The value of saturated pixels.
        cure: What to do if the pixels look as if the offset had been removed already.
    """

    name: str
    sources: Mapping[str, BandSource]
    scaling: Mapping[str, OffsetAndScale]
    missing: Mapping[str, str] = field(default_factory=dict)
    about: Mapping[str, str] = field(default_factory=dict)
    no_data: float | None = None
    saturated: float = np.iinfo(np.uint16).max
    cure: str = "Pass boa_offset=0 (--boa-offset 0) to read the numbers as they are. "

    @classmethod
    def decided(
        cls,
        name: str,
        sources: Mapping[str, BandSource],
        said: Callable[[str], Sequence[ScaleStatement]],
        boa_offset: float | None,
        *,
        where: str,
        about: Mapping[str, str],
    ) -> Self:
        """Return bands whose offsets follow from statements about them.

        Args:
            name: The product's name.
            sources: Band -> its source.
            said: Gives what the metadata state about a band.
            boa_offset: The offset that the user gives.
            where: Where a missing ``{band}`` was looked for.
            about: Facts about the product.
        """
        bands = [band for band in sources if band != CLASSIFICATION]
        scaling = {band: decide(band, name, said(band), boa_offset) for band in bands}
        lacking = [band for band in (*S2_FULL, CLASSIFICATION) if band not in sources]
        missing = {band: where.replace("{band}", band) for band in lacking}
        unused = log_unused(name, scaling)
        return cls(name, sources, scaling, missing, {**about, "boa_offset_unused": unused})

    def where_missing(self, bands: Iterable[str] | None = None) -> str:
        """Return sentences on where missing bands should be, by default all of them."""
        asked = [
            band for band in (self.missing if bands is None else bands) if band in self.missing
        ]
        return "".join(f"{band} should be at {self.missing[band]}. " for band in asked)
