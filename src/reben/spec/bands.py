"""Bands of a patch: what is fixed about each, and ordered band sets.

A band set is an ordered tuple of names. Order is meaning: channel ``i`` of a model is band
``i`` of its set. Nothing in reben picks bands by how many there are.

Source: Clasen et al., "reBEN: Refined BigEarthNet Dataset for Remote Sensing Image Analysis",
IGARSS 2025, arXiv:2407.03653, section 2; order of the named sets as in ConfigILM 0.7.1, which
the published weights of v0.2.0 and later were trained with. Centre and width of each band of
Sentinel-2A MSI: ESA, Sentinel-2 user guide, table "Radiometric resolutions" (spectral response
functions COPE-GSEG-EOPG-TN-15-0007, version 3); Sentinel-2B is within 4 nm except for B12
(2185.7 nm). Common names: STAC extension eo 2.0.0. Sentinel-1: ESA, Sentinel-1 user guide.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, NamedTuple, Self

from reben.errors import BandsError, UnknownBandError
from reben.spec.patches import PATCH_PIXELS

Sensor = Literal["Sentinel-1", "Sentinel-2"]


class Spectrum(NamedTuple):
    """The part of the spectrum that an optical band measures."""

    common_name: str
    """Its name across sensors, from the list of the STAC extension eo."""
    centre_micrometres: float
    """Its centre."""
    width_micrometres: float
    """Its full width at half maximum."""


class Band(NamedTuple):
    """What is fixed about a band."""

    sensor: Sensor
    """The satellite mission that measures it."""
    metres: int
    """Ground size of one pixel side."""
    spectrum: Spectrum | None = None
    """What an optical band measures; None for radar, whose bands are named by polarisation."""


BANDS: Mapping[str, Band] = MappingProxyType(
    {
        "VV": Band("Sentinel-1", 10),
        "VH": Band("Sentinel-1", 10),
        "B01": Band("Sentinel-2", 60, Spectrum("coastal", 0.4427, 0.021)),
        "B02": Band("Sentinel-2", 10, Spectrum("blue", 0.4924, 0.066)),
        "B03": Band("Sentinel-2", 10, Spectrum("green", 0.5598, 0.036)),
        "B04": Band("Sentinel-2", 10, Spectrum("red", 0.6646, 0.031)),
        "B05": Band("Sentinel-2", 20, Spectrum("rededge071", 0.7041, 0.015)),
        "B06": Band("Sentinel-2", 20, Spectrum("rededge075", 0.7405, 0.015)),
        "B07": Band("Sentinel-2", 20, Spectrum("rededge078", 0.7828, 0.020)),
        "B08": Band("Sentinel-2", 10, Spectrum("nir", 0.8328, 0.106)),
        "B8A": Band("Sentinel-2", 20, Spectrum("nir08", 0.8647, 0.021)),
        "B09": Band("Sentinel-2", 60, Spectrum("nir09", 0.9451, 0.020)),
        "B11": Band("Sentinel-2", 20, Spectrum("swir16", 1.6137, 0.091)),
        "B12": Band("Sentinel-2", 20, Spectrum("swir22", 2.2024, 0.175)),
    }
)
"""All bands of a patch, by name."""
PIXEL_METRES: Mapping[str, int] = MappingProxyType({name: BANDS[name].metres for name in BANDS})
"""Ground size of one pixel side, in metres, for each band."""
RADAR_BAND = "C"
"""The letter of the frequency band of Sentinel-1's radar."""
RADAR_GIGAHERTZ = 5.405
"""Centre frequency of Sentinel-1's radar."""


def require_band(name: str) -> str:
    """Return ``name`` if it is a band of a patch."""
    if name not in BANDS:
        raise UnknownBandError(f"No band {name!r} in a patch. Bands: {', '.join(BANDS)}.")
    return name


def native_size(name: str, size: int = PATCH_PIXELS) -> int:
    """Return the side length of band ``name`` in pixels, before any upsampling.

    Args:
        name: The band.
        size: Side length of the patch in pixels of 10 m. Where it is no whole number of the band's
            own pixels, the band has pixels of 10 m: there are no others that fill the patch.

    Example:
        >>> native_size("B02"), native_size("B8A"), native_size("B09")
        (120, 60, 20)
        >>> native_size("B02", 64), native_size("B8A", 64), native_size("B09", 64)
        (64, 32, 64)
    """
    whole, rest = divmod(size, BANDS[require_band(name)].metres // 10)
    return size if rest else whole


def sensor(name: str) -> Sensor:
    """Return the satellite mission that measures band ``name``."""
    return BANDS[require_band(name)].sensor


@dataclass(frozen=True)
class BandSet:
    """Bands in a fixed order, each at most once.

    Args:
        names: Band names, for example ``("B04", "B03", "B02")``.

    Raises:
        UnknownBandError: If a name is not a band of a patch.
        BandsError: If a name is repeated, or none is given.

    Example:
        >>> BandSet(("B04", "B03", "B02")).index("B02")
        2
        >>> len(ALL), ALL.names[:3]
        (12, ('VV', 'VH', 'B02'))
        >>> BandSet(("B10",))
        Traceback (most recent call last):
        reben.errors.UnknownBandError: No band 'B10' in a patch. Bands: VV, VH, B01, ...
    """

    names: tuple[str, ...]

    def __post_init__(self) -> None:
        """Refuse unknown and repeated names."""
        given: object = self.names
        if isinstance(given, str):
            raise BandsError(
                f"Band names must be a tuple, not the text {self.names!r}. "
                "Use BandSet.parse for a text."
            )
        object.__setattr__(self, "names", tuple(self.names))
        for name in self.names:
            require_band(name)
        if not self.names:
            raise BandsError("A band set needs at least one band; none was given.")
        repeated = sorted({name for name in self.names if self.names.count(name) > 1})
        if repeated:
            raise BandsError(
                f"Repeated in {', '.join(self.names)}: {', '.join(repeated)}. Name each band once."
            )

    @classmethod
    def parse(cls, text: "BandSet | str | Iterable[str]") -> Self:
        """Return the band set that ``text`` names.

        Args:
            text: A word of `BAND_SETS`, or band names separated by commas, in any case; or a
                sequence of band names, or a band set. The order of the names is kept.

        Raises:
            UnknownBandError: If a name is neither a band nor a word.
            BandsError: If a band is repeated.

        Example:
            >>> BandSet.parse("rgb").names
            ('B04', 'B03', 'B02')
            >>> BandSet.parse("B08, b04") == BandSet.parse(["B08", "B04"])
            True
        """
        if not isinstance(text, str):
            return cls(tuple(text))
        words = {word.lower(): bands for word, bands in BAND_SETS.items()}
        if text.strip().lower() in words:
            return cls(words[text.strip().lower()].names)
        names = [name.strip().upper() for name in text.split(",") if name.strip()]
        unknown = [name for name in names if name not in BANDS]
        if unknown or not names:
            asked = ", ".join(unknown) if unknown else repr(text)
            raise UnknownBandError(
                f"No band or band set {asked}. Bands: {', '.join(BANDS)}. "
                f"Sets: {', '.join(BAND_SETS)}. Separate bands by commas."
            )
        return cls(tuple(names))

    def __iter__(self) -> Iterator[str]:
        """Yield the names in channel order."""
        return iter(self.names)

    def __len__(self) -> int:
        """Count the channels."""
        return len(self.names)

    def __contains__(self, name: object) -> bool:
        """Tell whether band ``name`` is in the set."""
        return name in self.names

    def __str__(self) -> str:
        """Return the names separated by commas, as `parse` reads them."""
        return ",".join(self.names)

    def index(self, name: str) -> int:
        """Return the channel that holds band ``name``.

        Raises:
            UnknownBandError: If the set does not hold it.
        """
        if name not in self.names:
            raise UnknownBandError(f"No band {name!r} in this set. It holds {', '.join(self)}.")
        return self.names.index(name)

    def missing_from(self, available: Iterable[str]) -> tuple[str, ...]:
        """Return the names of this set that ``available`` lacks, in order."""
        have = set(available)
        return tuple(name for name in self.names if name not in have)

    def of_sensor(self, mission: Sensor) -> tuple[str, ...]:
        """Return the names that ``mission`` measures, in order."""
        return tuple(name for name in self.names if sensor(name) == mission)

    @property
    def word(self) -> str:
        """The shortest text that `parse` reads as this set: a word of `BAND_SETS`, or the names."""
        same = (word for word, bands in BAND_SETS.items() if bands.names == self.names)
        return next(same, str(self))


S1 = BandSet(("VV", "VH"))
"""Sentinel-1: both polarisations."""
S2 = BandSet(("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12"))
"""Sentinel-2 bands of 10 m and 20 m."""
ALL = BandSet((*S1, *S2))
"""Sentinel-1, then Sentinel-2 bands of 10 m and 20 m."""
S2_FULL = BandSet(
    ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12")
)
"""All twelve Sentinel-2 bands of a patch."""
ALL_FULL = BandSet((*S1, *S2_FULL))
"""All fourteen bands of a patch pair."""
RGB = BandSet(("B04", "B03", "B02"))
"""Red, green, blue."""
TEN_METRES = BandSet(("B02", "B03", "B04", "B08"))
"""Sentinel-2 bands of 10 m."""

BAND_SETS: Mapping[str, BandSet] = MappingProxyType(
    {
        "s1": S1,
        "s2": S2,
        "all": ALL,
        "s2_full": S2_FULL,
        "all_full": ALL_FULL,
        "rgb": RGB,
        "10m": TEN_METRES,
    }
)
"""The words for band sets, as the command line takes them."""
