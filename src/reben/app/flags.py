"""What the flags of several verbs have in common: their types, and old names that still work."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter, validators

from reben.errors import ConfigError

AsJson = Annotated[bool, Parameter(name="--json", negative="")]
"""The flag that every verb has."""
Switch = Annotated[bool, Parameter(negative="")]
"""A flag without a value that is off by default; there is no ``--no-...``."""
AtLeastOne = Annotated[int, Parameter(validator=validators.Number(gte=1))]
AtLeastZero = Annotated[int, Parameter(validator=validators.Number(gte=0))]
Share = Annotated[float, Parameter(validator=validators.Number(gte=0, lte=1))]
"""From 0 to 1."""


def formerly(*names: str) -> Parameter:
    """Return the mark of a flag that was renamed: its old names work, and --help hides them.

    Example:
        A flag ``--processes`` that was called ``--workers`` before:

        >>> Processes = Annotated[int | None, formerly("--workers")]
    """
    return Parameter(alias=names)


_Several = Parameter(negative="")
Files = Annotated[tuple[Path, ...], _Several]
Names = Annotated[tuple[str, ...], _Several]
_ALL = "all"


@Parameter(name="*")
@dataclass(frozen=True)
class FilterFlags:
    """Which patches of a store are used."""

    country: Names = ()
    """Only patches of this country; may be given several times. all lifts the filter of a run."""
    season: Annotated[
        tuple[Literal["spring", "summer", "autumn", "winter", "all"], ...], _Several
    ] = ()
    """Only patches acquired in spring (March to May), summer (June to August), autumn (September
    to November) or winter (December to February); may be given several times."""
    snow: bool | None = None
    """Only patches with seasonal snow, or only those without. Default: without."""
    cloud: bool | None = None
    """Only patches with cloud or shadow, or only those without. Default: without."""
    covered: Switch = False
    """Also the patches with snow, cloud or shadow."""
    fraction: Annotated[float | None, Parameter(validator=validators.Number(gt=0, lte=1))] = None
    """Only this share of the patches, for example 0.1; of those to train on, not of those to
    validate on."""
    fraction_by: Literal["tile", "label"] | None = None
    """How the share is drawn: whole tiles until it is reached; or patches, such that labels keep
    their shares. Default: tile."""
    fraction_seed: AtLeastZero | None = None
    """Another seed draws another share; the same one the same share on every machine. Default:
    0."""
    limit: AtLeastOne | None = None
    """Only the first so many patches of each split that is used."""

    def kept(self) -> dict[str, Any]:
        """Return the filters that were given, as arguments of `reben.open_dataset`."""
        found: dict[str, Any] = {}
        if self.country:
            found["countries"] = None if _ALL in self.country else self.country
        if self.season:
            from reben.data.opening import SEASONS

            months = [month for season in self.season for month in SEASONS.get(season, ())]
            found["months"] = None if _ALL in self.season else tuple(months)
        if self.covered:
            found |= {"snow": None, "cloud": None}
        given = {"snow": self.snow, "cloud": self.cloud}
        return found | {name: value for name, value in given.items() if value is not None}

    def drawn(self) -> dict[str, Any]:
        """Return what was given of fraction and limit, as arguments of `reben.open_dataset`."""
        names = ("fraction", "fraction_by", "fraction_seed", "limit")
        given = {name: getattr(self, name) for name in names}
        found = {name: value for name, value in given.items() if value is not None}
        if self.fraction is None and found.keys() - {"limit"}:
            raise ConfigError("--fraction-by and --fraction-seed say how --fraction is drawn.")
        return found


@Parameter(name="*")
@dataclass(frozen=True)
class DataFlags(FilterFlags):
    """Which patches are used, and what lists them."""

    metadata: Files = ()
    """Metadata tables (parquet) that list the patches; may be given several times. Default: those
    of the run, or in the store."""
    strict: Switch = False
    """Refuse a store that holds a part of the patches that the metadata list."""


NO_FILTERS, NO_DATA_FLAGS = FilterFlags(), DataFlags()


@Parameter(name="*")
@dataclass(frozen=True)
class FileFlags:
    """How files are read."""

    s1: Path | None = None
    """Folder of the Sentinel-1 patches, for a model of both sensors; with --metadata, unless
    partners have the same name."""
    metadata: Files = ()
    """Metadata tables (parquet) that list the patches, and name the Sentinel-1 patch of each
    Sentinel-2 patch; may be given several times. Default: those in a store."""
    band_names: str | None = None
    """Names of the bands of a multi-band TIFF in its order, separated by commas; - for one to
    ignore. Default: the descriptions in the file."""
    resample: Literal["auto", "exact", "mean", "centre"] = "exact"
    """How 20 m and 60 m bands in a multi-band TIFF of 10 m get their native size back: exact only
    if pixels are repeated; the mean of the pixels that become one; the one at their centre; or
    auto, exact where it can be, else the mean, and says so."""

    @property
    def names(self) -> list[str] | None:
        """The names of the bands, one by one."""
        return None if self.band_names is None else self.band_names.split(",")


@Parameter(name="*")
@dataclass(frozen=True)
class StoreFlags(FilterFlags):
    """Which patches of a store are meant."""

    split: str | None = None
    """Only patches of this split: train, validation or test."""


@Parameter(name="*")
@dataclass(frozen=True)
class TableFlags:
    """How a table is made."""

    geometry: bool = True
    """Whether the table says where patches lie, in longitude and latitude."""
    batch_size: AtLeastOne = 32
    """Patches that go through the network together."""
    devices: AtLeastOne = 1
    """Processes that share the work, each on its own accelerator if there are several."""
    threads: Annotated[AtLeastZero, formerly("--workers")] = 2
    """Threads of each process that read ahead."""
    strict: Switch = False
    """Stop at the first bad patch, instead of leaving it out and naming it at the end, and refuse
    a store that holds a part of the patches that the metadata list."""
    overwrite: Switch = False
    """Replace FILE if it exists, and unfinished parts that were made with other settings."""
    restart: Switch = False
    """Begin anew, without the parts that an interrupted command left."""


def require_unset(cure: str, **flags: object) -> None:
    """Refuse flags that would have no effect."""
    for name, value in flags.items():
        if value is not None:
            raise ConfigError(f"--{name.replace('_', '-')} has no effect here. {cure}")
