"""What data set patches are of: the official one, a synthetic one, or one that its owner describes.

Nothing is assumed. Patches are *official* if every row of their table (patch name, labels, split)
is a row of the metadata of BigEarthNet v2.0. ``official_rows.bin`` beside this file tells that
without the tables: it holds 28 bits of a hash of each of their 549,488 rows, sorted, as gaps
(0.75 MB). One foreign row passes by chance once in 489 times, two once in 240,000; whole splits are
told by their SHA-256.

Patches are *synthetic* if their table says that reben made them up. Anything else is *described* by
a file ``data.toml``, in the store or beside its tables, or else *unknown*::

    name = "Kenya land cover 2021"
    place = "Kenya"
    start = 2021-01-01
    end = 2021-12-31
    labels = "twelve crops, mapped in the field"
    licence = "cc-by-4.0"
    citation = "A. Author: A data set, 2022"    # optional, like url and bounds
    url = "https://example.org/"
    bounds = [33.9, -4.7, 41.9, 5.5]             # west, south, east, north
"""

import shlex
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date
from functools import cache
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray

from reben.errors import MetadataError
from reben.spec.labels import LABELS
from reben.support.json_files import Finite, check_values
from reben.support.toml_files import read_toml

if TYPE_CHECKING:
    from reben.data.metadata import PatchTable

DATA_FILE = "data.toml"
"""The file that describes a data set of your own."""
OFFICIAL_SPLITS: Mapping[str, tuple[int, str]] = MappingProxyType(
    {
        "train": (237_871, "d02d5852631fa644e21a649bb7c26042f5344d0630832fccd16583766873d691"),
        "validation": (122_342, "e5e3ad2c4aa72a2f33d90d0393769f8db829ffcc5c843aa3838082bee5d0855e"),
        "test": (119_825, "189af54ccbd8fa0423de6cbe0e670e8e4464cc9e16c3bb69a4a394014baad30f"),
    }
)
"""Split -> number of its patches, and `PatchTable.fingerprint` of them.

Source: metadata.parquet of Zenodo record 10891137.
"""
ROWS_FILE = "official_rows.bin"
_HASH_BITS = 28
_AT_ONCE = 1 << 16
_LONGEST_NAME = 64
"""Bytes; official names have at most 50."""
_REQUIRED = ("name", "place", "start", "end", "labels", "licence")
_CURE = (
    f"{DATA_FILE} needs name, place, start, end (dates such as 2021-01-31), labels (where they are "
    "from) and licence; citation, url and bounds are optional."
)

_EXAMPLE = (
    'name = "..."', 'place = "..."', "start = 2021-01-01", "end = 2021-12-31", 'labels = "..."',
    'licence = "..."',
)  # fmt: skip

Kind = Literal["official", "synthetic", "described", "unknown"]


@dataclass(frozen=True)
class DataDescription:
    """What is to be said of a data set.

    Args:
        name: Its name.
        place: Countries or regions.
        start: Day of its first image, ISO 8601.
        end: Day of its last image.
        labels: Where its labels are from.
        licence: Licence of the data.
        citation: How to cite it, in BibTeX or in words.
        url: Its page.
        bounds: West, south, east, north in degrees (WGS 84).
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    name: str
    place: str
    start: str
    end: str
    labels: str
    licence: str
    citation: str = ""
    url: str = ""
    bounds: tuple[Finite, Finite, Finite, Finite] | None = None

    def __post_init__(self) -> None:
        """Check that nothing is empty and that dates and bounds are some."""
        empty = [field for field in _REQUIRED if not getattr(self, field).strip()]
        if empty:
            raise MetadataError(f"The description of the data has no {', '.join(empty)}. {_CURE}")
        try:
            days = [date.fromisoformat(day) for day in (self.start, self.end)]
        except ValueError as error:
            raise MetadataError(f"start or end is not a date: {error}. {_CURE}") from None
        if days[0] > days[1]:
            raise MetadataError(f"The data start on {self.start}, after they end, on {self.end}.")
        if self.url and not self.url.startswith("https://"):
            raise MetadataError(f"url is {self.url!r}; it must begin with https://.")
        if self.bounds is not None:
            west, south, east, north = self.bounds
            if not (-180 <= west <= east <= 180 and -90 <= south <= north <= 90):
                raise MetadataError(
                    f"bounds are {self.bounds}; they must be west, south, east, north in degrees."
                )


FIRST_SECOND, LAST_SECOND = "2017-06-13T10:10:31Z", "2018-05-29T11:54:01Z"
"""Acquisition of the first and of the last Sentinel-2 patch of BigEarthNet v2.0, UTC."""
OFFICIAL = DataDescription(
    name="BigEarthNet v2.0",
    place="Austria, Belgium, Finland, Ireland, Kosovo, Lithuania, Luxembourg, Portugal, Serbia, "
    "Switzerland",
    start=FIRST_SECOND[:10],
    end=LAST_SECOND[:10],
    labels="CORINE Land Cover 2018",
    licence="Community Data License Agreement, Permissive, version 1.0",
    citation="arXiv:2407.03653",
    url="https://zenodo.org/records/10891137",
    bounds=(-9.00023345437725, 36.956956702083396, 31.598439091981028, 68.02168200047284),
)
"""BigEarthNet v2.0. Source: arXiv:2407.03653, section 2, and Zenodo record 10891137; bounds and
seconds: the STAC collection ``bigearthnet_v1_source`` of Radiant MLHub, which describes v1.0. The
tiles of v2.0 are among those of v1.0, so the bounds hold, but may be wider than necessary."""


@dataclass(frozen=True)
class DataIdentity:
    """Which data set patches are of, and how that is known.

    Args:
        kind: ``official``: all rows are of BigEarthNet v2.0. ``synthetic``: made up.
            ``described``: its owner says what it is. ``unknown``: nobody does.
        whole: The official splits of which all patches are there, and no others.
        made_up_by: What made the patches up.
        description: What its owner says.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    kind: Kind
    whole: tuple[str, ...] = ()
    made_up_by: str | None = None
    description: DataDescription | None = None

    @property
    def name(self) -> str:
        """What to call the data."""
        if self.kind == "synthetic":
            return "made-up patches in the layout of BigEarthNet v2.0"
        return "an unknown data set" if self.facts is None else self.facts.name

    @property
    def facts(self) -> DataDescription | None:
        """What is to be said of the data; None if it is unknown, or if there is no such place."""
        return OFFICIAL if self.kind == "official" else self.description

    def is_whole(self, split: str) -> bool:
        """Tell whether the patches are all those of official splits, and no others."""
        return self.kind == "official" and set(split.split(", ")) == set(self.whole)

    def of_split(self, split: str) -> Self:
        """Return the identity of the patches of one split."""
        return replace(self, whole=tuple(name for name in self.whole if name == split))

    def describe(self, number: int, split: str) -> str:
        """Return in words which patches of a split, or of several with commas, these are.

        Example:
            >>> DataIdentity("official").describe(6, "test")
            '6 patches of BigEarthNet v2.0, not the whole of its test split (119,825)'
            >>> DataIdentity("official", ("test",)).describe(119_825, "test")
            'the whole test split of BigEarthNet v2.0 (119,825 patches)'
        """
        count = f"{number:,} {'patch' if number == 1 else 'patches'}"
        if self.kind == "synthetic":
            return f"{count} of the {split} split of made-up data"
        if self.kind != "official":
            return f"{count} of the {split} split of {self.name}"
        if self.is_whole(split):
            return f"the whole {split} split of {OFFICIAL.name} ({count})"
        if split not in OFFICIAL_SPLITS:
            return f"{count} of {OFFICIAL.name} ({split})"
        whole = OFFICIAL_SPLITS[split][0]
        return f"{count} of {OFFICIAL.name}, not the whole of its {split} split ({whole:,})"

    def require_known(self, place: Path) -> None:
        """Raise MetadataError if nobody says what the data are; ``place`` is the folder for it."""
        if self.kind == "unknown":
            raise MetadataError(
                f"Nothing says what data set the patches in {place} are of: their names, labels "
                "and splits are not those of BigEarthNet v2.0. A card has to say it. "
                f"{_CURE} Type, with yours: printf '%s\\n' {shlex.join(_EXAMPLE)} > "
                f"{shlex.quote(str(place / DATA_FILE))}"
            )


@dataclass(frozen=True)
class Drawn:
    """What was drawn of the patches of a split: so many, of how many before.

    They are those of some tiles; ``tiles`` is empty if patches were drawn by label.
    """

    tiles: tuple[str, ...]
    num_patches: int
    num_before: int


@dataclass(frozen=True)
class StoredPart:
    """How many of the patches that are listed a store holds: ``6 of 119,825``."""

    num_stored: int
    num_listed: int

    def __str__(self) -> str:
        return f"{self.num_stored:,} of {self.num_listed:,}"


def identify(table: "PatchTable", description: DataDescription | None = None) -> DataIdentity:
    """Return which data set patches are of, given what `read_description` says of them."""
    if table.made_up_by is not None:
        return DataIdentity("synthetic", made_up_by=table.made_up_by)
    if are_official(table):
        return DataIdentity("official", whole=_whole_splits(table))
    if description is not None:
        return DataIdentity("described", description=description)
    return DataIdentity("unknown")


def read_description(folders: Iterable[Path]) -> DataDescription | None:
    """Return the description in the first folder that has one, or None; `MetadataError` if bad."""
    path = next((path for path in (f / DATA_FILE for f in folders) if path.is_file()), None)
    if path is None:
        return None
    values = read_toml(path, MetadataError, _CURE)
    plain = {
        key: value.isoformat() if isinstance(value, date) else value
        for key, value in values.items()
    }
    found = check_values(plain, DataDescription, str(path), MetadataError, _CURE)
    if found.name.strip().lower() == OFFICIAL.name.lower():
        raise MetadataError(
            f"{path} calls the data {found.name}, which is told by its rows and not by a name. "
            "Give data of your own a name of their own; official metadata need no such file."
        )
    return found


def are_official(table: "PatchTable") -> bool:
    """Tell whether every row of a table is one of the metadata of BigEarthNet v2.0."""
    if not len(table) or not set(table.labels).issubset(LABELS):
        return False
    known = _official_hashes()
    for first in range(0, len(table), _AT_ONCE):
        hashes = hash_rows(table.take(range(first, min(first + _AT_ONCE, len(table)))))
        if hashes is None:
            return False
        wanted = hashes >> np.uint64(64 - _HASH_BITS)
        places = np.searchsorted(known, wanted)
        if (known[np.minimum(places, len(known) - 1)] != wanted).any():
            return False
    return True


def hash_rows(table: "PatchTable") -> NDArray[np.uint64] | None:
    """Return a hash of name, labels (of the 19) and split, uint64 [N]; None for longer names."""
    names = table.names.padded(_LONGEST_NAME)
    if names is None:
        return None
    words = names.view("<u8")
    bits = np.uint64(1) << np.arange(len(LABELS), dtype=np.uint64)
    labels = table.multi_hot(LABELS).astype(np.uint64) @ bits
    splits = table.split_numbers().astype(np.uint64)
    state = np.zeros(len(names), np.uint64)
    for word in (*words.T, labels, splits):
        state = _mixed(state ^ word)
    return state


def _mixed(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return 64 bits mixed by one step of SplitMix64."""
    state = state + np.uint64(0x9E3779B97F4A7C15)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))


def pack_hashes(hashes: NDArray[np.uint64]) -> bytes:
    """Return the content of ``official_rows.bin`` for the hashes of the official rows."""
    kept = np.unique(hashes >> np.uint64(64 - _HASH_BITS))
    gaps = np.diff(kept, prepend=np.uint64(0))
    if gaps.max() > np.iinfo(np.uint16).max:
        raise AssertionError("a gap between two hashes does not fit 16 bits")
    planes = gaps.astype("<u2").view(np.uint8).reshape(-1, 2).T  # all low bytes, then all high ones
    return zlib.compress(planes.tobytes(), 9)


@cache
def _official_hashes() -> NDArray[np.uint64]:
    packed = (files("reben.data") / ROWS_FILE).read_bytes()
    planes = np.frombuffer(zlib.decompress(packed), np.uint8).reshape(2, -1)
    return np.cumsum(np.ascontiguousarray(planes.T).view("<u2").ravel(), dtype=np.uint64)


def _whole_splits(table: "PatchTable") -> tuple[str, ...]:
    """Return the official splits whose patches are exactly those of that split in a table."""
    counts = table.counts("split")
    return tuple(
        split
        for split, (number, fingerprint) in OFFICIAL_SPLITS.items()
        if counts.get(split) == number and table.filter(split=split).fingerprint() == fingerprint
    )
