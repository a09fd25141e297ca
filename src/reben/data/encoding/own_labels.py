"""Labels of patches of one's own: a table by name, or features of a vector file by place.

A table (CSV, parquet) or the properties of features (GeoJSON, GeoPackage, shapefile) hold a patch's
name in the column ``patch_id`` or ``id``, and its labels in one of three forms: a column ``labels``
(a list, or a text with semicolons between), a column ``label`` with one label, or a column of 0 and
1 for each label. They may also have ``split``, ``country`` and ``s1_name``. Features without a name
give their labels to the patches that they overlap.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from reben.data.selecting.label_table import SUFFIXES
from reben.data.tables import read_csv, read_parquet
from reben.data.vector.features import Features, read_features, shapely
from reben.errors import MetadataError, cut, first_line, shown
from reben.spec.patches import Bounds

_IDS, _LABELS = ("patch_id", "id"), ("labels", "label")
_OTHERS = ("split", "country", "s1_name")
_FORM = (
    "Give each patch its labels in a column labels (a list, or a text with semicolons between), in "
    "a column label (one), or in a column of 0 and 1 for each label."
)


class Labelled(NamedTuple):
    """What is known of one patch."""

    labels: tuple[str, ...]
    split: str | None = None
    country: str | None = None
    s1_name: str | None = None


class Labels:
    """What is known of patches, by name or by place."""

    def of(self, name: str, place: Bounds | None) -> Labelled | None:
        """Return what is known of a patch, or None."""
        raise NotImplementedError

    def unused(self, names: Iterable[str]) -> list[str]:
        """Return the names of patches with labels that are not among ``names``."""
        return []


@dataclass(frozen=True)
class LabelsByName(Labels):
    """Labels by the name of a patch."""

    rows: Mapping[str, Labelled]

    def of(self, name: str, place: Bounds | None) -> Labelled | None:
        """Return what is known of a patch, or None."""
        return self.rows.get(name)

    def unused(self, names: Iterable[str]) -> list[str]:
        """Return the names of patches with labels that are not among ``names``."""
        known = set(names)
        return [name for name in self.rows if name not in known]


@dataclass(frozen=True)
class LabelsByPlace(Labels):
    """Labels by the features that a patch overlaps, those of all of them together."""

    features: Features
    rows: Sequence[Labelled]
    _trees: dict[int, Any] = field(default_factory=dict)

    def of(self, name: str, place: Bounds | None) -> Labelled | None:
        """Return what the features on a patch say; raise MetadataError if they contradict."""
        if place is None:
            raise MetadataError(
                f"{name} does not say where it lies, and {self.features.name} tells labels by "
                "place. Give its features a column patch_id with the names of the patches."
            )
        if place.epsg not in self._trees:
            here = self.features.in_crs(f"EPSG:{place.epsg}").geometries
            self._trees[place.epsg] = shapely().STRtree(here), here
        tree, geometries = self._trees[place.epsg]
        box = shapely().box(place.left, place.bottom, place.right, place.top)
        found = sorted(tree.query(box, predicate="intersects").tolist())
        on_it = [self.rows[at] for at in found if not geometries[at].touches(box)]
        if not on_it:
            return None
        others = [{getattr(row, key) for row in on_it} - {None} for key in _OTHERS]
        for key, values in zip(_OTHERS, others, strict=True):
            if len(values) > 1:
                raise MetadataError(
                    f"Features of {self.features.name} on the patch {name} say different things of "
                    f"its {key}: {', '.join(sorted(values))}. Correct one of them."
                )
        names = dict.fromkeys(label for row in on_it for label in row.labels)
        return Labelled(tuple(names), *(next(iter(values), None) for values in others))


def read_own_labels(path: str | Path) -> Labels:
    """Return the labels in a table or a vector file.

    Raises:
        MetadataError: If a table cannot be read, has no labels, or names a patch twice.
        AreaError: If a vector file cannot be read.
        MissingExtraError: If it needs shapely, pyproj or pyogrio, which is not installed.
    """
    file = Path(path)
    features = None if file.suffix.lower() in SUFFIXES else read_features(file)
    table = _read_table(file) if features is None else features.table
    columns = _Columns(str(file), table)
    if features is not None and columns.ids is None:
        return LabelsByPlace(features, columns.rows())
    if columns.ids is None:
        raise MetadataError(
            f"{file} has no column patch_id or id; it has {_listed(table.column_names)}. Name the "
            "patches there, as their folders or files are called."
        )
    named = dict(zip(columns.ids, columns.rows(), strict=True))
    if len(named) < len(columns.ids):
        twice = next(name for name in columns.ids if columns.ids.count(name) > 1)
        raise MetadataError(f"{file} names the patch {shown(twice)} twice. Keep one row.")
    return LabelsByName(named)


def _read_table(file: Path) -> pa.Table:
    try:
        if file.suffix.lower() == ".parquet":
            return read_parquet(file)
        return read_csv(file, [*_IDS, *_LABELS, *_OTHERS])
    except FileNotFoundError:
        raise MetadataError(f"The label table {file} does not exist.") from None
    except (pa.ArrowException, OSError) as error:
        raise MetadataError(
            f"Cannot read the label table {file}: {first_line(error)}. {_FORM}"
        ) from None


@dataclass(frozen=True)
class _Columns:
    """The columns of a table, as what they mean."""

    name: str
    table: pa.Table

    @cached_property
    def ids(self) -> list[str] | None:
        column = next((key for key in _IDS if key in self.table.column_names), None)
        if column is None:
            return None
        values = self.table[column].to_pylist()
        if any(value is None for value in values):
            raise MetadataError(f"{self.name} has an empty cell in its column {column}. Fill it.")
        return [str(value) for value in values]

    def rows(self) -> list[Labelled]:
        others = [
            self.table[key].to_pylist()
            if key in self.table.column_names
            else [None] * self.table.num_rows
            for key in _OTHERS
        ]
        return [
            Labelled(labels, *(str(value) if value else None for value in rest))
            for labels, *rest in zip(self._lists(), *others, strict=True)
        ]

    def _lists(self) -> list[tuple[str, ...]]:
        there = [key for key in _LABELS if key in self.table.column_names]
        if len(there) > 1:
            raise MetadataError(f"{self.name} has the columns labels and label. Keep one. {_FORM}")
        if not there:
            return self._from_flags()
        return [self._split(value, there[0]) for value in self.table[there[0]].to_pylist()]

    def _split(self, value: object, column: str) -> tuple[str, ...]:
        if isinstance(value, str):
            parts = value.split(";") if column == "labels" else [value]
            return tuple(part.strip() for part in parts if part.strip())
        if isinstance(value, list) and all(isinstance(part, str) for part in value):
            return tuple(value)
        raise MetadataError(
            f"{self.name} has {cut(repr(value))} in its column {column}, which is no label. {_FORM}"
        )

    def _from_flags(self) -> list[tuple[str, ...]]:
        flags = {
            key: values
            for key in self.table.column_names
            if key not in (*_IDS, *_OTHERS) and set(values := self.table[key].to_pylist()) <= {0, 1}
        }
        if not flags:
            raise MetadataError(
                f"{self.name} has no labels; its columns are {_listed(self.table.column_names)}. "
                f"{_FORM}"
            )
        return [
            tuple(key for key, flag in zip(flags, row, strict=True) if flag)
            for row in zip(*flags.values(), strict=True)
        ]


def _listed(names: Sequence[str]) -> str:
    return cut(", ".join(names), 300) or "none"
