"""The table of patches of one's own: their labels, by name or by place, and their splits."""

import logging
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from reben.data.encoding.own import OwnFiles, sentinel1_key
from reben.data.encoding.v1 import LABELS_ENDING, Scheme, is_v1_name, read_v1_labels
from reben.data.metadata import COLUMN_TYPES, PatchTable
from reben.data.selecting.label_table import (
    DEFAULTS,
    in_columns,
    is_label_table,
    label_lists,
    read_rows,
)
from reben.data.splits import SplitBy, assign_splits
from reben.data.tiff.places import read_bounds
from reben.data.vector.features import Features, read_features, shapely
from reben.errors import ConfigError, MetadataError, RebenError
from reben.spec.patches import SPLITS, Bounds

logger = logging.getLogger(__name__)

_SHOWN = 5
Row = dict[str, Any]
"""What is known of a patch, by column of the metadata."""


@dataclass(frozen=True)
class Labelling:
    """Where the labels of patches of one's own, and their splits, come from.

    Args:
        labels: A label table, or a vector file with the column ``patch_id`` or geometries.
        split_by: How patches are shared out to splits, if the file does not say.
        seed: Of that.
        scheme: The labels of BigEarthNet v1, which lie beside its bands; by default 43.
    """

    labels: Path | None = None
    split_by: SplitBy | None = None
    seed: int = 0
    scheme: Scheme | None = None


@dataclass
class Labelled:
    """Rows of a table, and what could not be matched."""

    rows: dict[str, Row]
    """Patch -> what is known of it."""
    without_patch: list[str] = field(default_factory=list)
    without_row: list[str] = field(default_factory=list)

    def keep(self, names: Container[str]) -> None:
        """Keep the rows of these patches; others of the other sensor are their partners."""
        gone = [name for name in self.rows if name not in names]
        self.rows = {name: row for name, row in self.rows.items() if name in names}
        partners = {row.get("s1_name") for row in self.rows.values()}
        self.without_patch += [name for name in gone if name not in partners]
        self.without_row = [name for name in self.without_row if name in names]


def label_patches(found: Mapping[str, OwnFiles], how: Labelling) -> Labelled | None:
    """Return what is known of patches, by name; None if nothing tells their labels.

    Raises:
        MetadataError: If the labels cannot be read.
        AreaError: If a vector file cannot be read.
    """
    beside = {
        name: path
        for name, files in found.items()
        if (path := Path(files.first).with_name(name + LABELS_ENDING)).is_file()
    }
    rows: dict[str, Row] = {}
    if how.labels is not None:
        rows = _rows_of_file(how.labels, found, needs_labels=not beside)
    if beside:
        scheme = how.scheme or "43"
        told = {name: read_v1_labels(path, scheme) for name, path in beside.items()}
        known = {name: row for name, row in rows.items() if name in beside}
        rows = {
            name: {"labels": labels, **known.get(name, {})}
            for name, (labels, _) in told.items()
            if (labels or scheme == "43") and (name in known or how.labels is None)
        }
        partners = {partner: name for name, (_, partner) in told.items() if partner}
        for s1_name, name in _partners(found, scheme):
            partners.setdefault(name, s1_name)
        for name, s1_name in partners.items():
            if name in rows:
                rows[name].setdefault("s1_name", s1_name)
    if not rows and how.labels is None:
        return None
    return Labelled(
        {name: row for name, row in rows.items() if name in found},
        [name for name in rows if name not in found],
        [name for name in found if name not in rows],
    )


def _partners(found: Mapping[str, OwnFiles], scheme: Scheme) -> Iterator[tuple[str, str]]:
    """Yield Sentinel-1 patches of v1 with the Sentinel-2 patch that their JSON names."""
    for name, files in found.items():
        path = Path(files.first).with_name(name + LABELS_ENDING)
        if not is_v1_name(name) and path.is_file():
            _, partner = read_v1_labels(path, scheme)
            if partner:
                yield name, partner


def _rows_of_file(
    path: Path, found: Mapping[str, OwnFiles], *, needs_labels: bool
) -> dict[str, Row]:
    needs = ("patch_id", "labels") if needs_labels else ("patch_id",)
    if is_label_table(path):
        return _by_name(read_rows(path, needs), path)
    features = read_features(path)
    if "patch_id" in features.table.column_names:
        return _by_name(in_columns(features.table, path, needs=needs), path)
    return _by_place(features, path, found)


def _by_name(own: pa.Table, path: Path) -> dict[str, Row]:
    names = own["patch_id"].to_pylist()
    columns = {n: own[n].to_pylist() for n in COLUMN_TYPES if n in own.column_names}
    if "labels" in columns:
        columns["labels"] = label_lists(own, path)
    twice = (
        next((name for name in names if names.count(name) > 1), None)
        if (len(set(names)) < len(names))
        else None
    )
    if twice is not None:
        raise MetadataError(f"{path} has the patch {twice} more than once. Keep one row of each.")
    rows = zip(*columns.values(), strict=True)
    return {row["patch_id"]: row for row in (dict(zip(columns, r, strict=True)) for r in rows)}


def _by_place(features: Features, path: Path, found: Mapping[str, OwnFiles]) -> dict[str, Row]:
    """Return the labels of the features that share ground with each patch, all of them."""
    own = in_columns(features.table, path, needs=("labels",))
    lists = label_lists(own, path)
    others = {
        name: own[name].to_pylist() for name in ("split", "country") if name in own.column_names
    }
    rows: dict[str, Row] = {}
    places = places_of(found.values())
    known = {name: place for name, place in zip(found, places, strict=True) if place is not None}
    if not known:
        raise MetadataError(
            f"{path} gives labels by place, and no patch says where it lies: the TIFFs have no "
            "georeference. Name the patches in it, in a column patch_id."
        )
    for epsg in {place.epsg for place in known.values()}:
        shapes = features.in_crs(f"EPSG:{epsg}").geometries
        tree = shapely().STRtree(shapes)
        for name, place in known.items():
            if place.epsg != epsg:
                continue
            box = shapely().box(place.left, place.bottom, place.right, place.top)
            touching = sorted(int(at) for at in tree.query(box, predicate="intersects"))
            inside = [at for at in touching if not shapes[at].touches(box)]
            if inside:
                labels = sorted({label for at in inside for label in lists[at] or ()})
                rows[name] = {"patch_id": name, "labels": labels}
                for column, values in others.items():
                    rows[name][column] = _only(column, {values[at] for at in inside}, name, path)
    return rows


def _only(column: str, values: set[Any], name: str, path: Path) -> Any:  # noqa: ANN401
    if len(values) > 1:
        raise MetadataError(
            f"{path} gives the patch {name} several values of {column}: "
            f"{', '.join(map(str, sorted(map(str, values))))}. Draw the features apart, or leave "
            f"{column} out and pass --split-by tile"
        )
    return values.pop()


def places_of(found: Iterable[OwnFiles]) -> list[Bounds | None]:
    """Return where patches lie, as far as their first files say it."""
    places: list[Bounds | None] = []
    for files in found:
        place = None
        with suppress(RebenError):  # what is wrong with a file is said when it is encoded
            place = read_bounds(files.first)
        places.append(place)
    return places


def make_table(
    labelled: Labelled,
    found: Mapping[str, OwnFiles],
    endings: Sequence[str],
    how: Labelling,
    with_s1: Container[str],
) -> PatchTable:
    """Return the table of the values to be: all columns of the metadata, a row for each value.

    Args:
        labelled: What is known of patches.
        found: The patches.
        endings: What the name of each value of a patch ends with.
        how: How splits are told if the file does not.
        with_s1: Names of Sentinel-1 patches; one that is called like another patch is its partner.
    """
    rows = labelled.rows
    if any(row.get("split") is None for row in rows.values()) and how.split_by is None:
        what = "BigEarthNet v1" if how.labels is None else str(how.labels)
        raise MetadataError(
            f"{what} does not say the split of each patch. Add a column split to a file for "
            f"--labels ({', '.join(SPLITS)}), or let patches be shared out: "
            "--split-by tile (or block, or random)"
        )
    names = list(rows)
    splits = [row.get("split") for row in rows.values()]
    if how.split_by is not None:
        if any(split is not None for split in splits):
            raise ConfigError(
                f"{how.labels} has a column split. Leave out --split-by, or that column."
            )
        places = places_of(found[name] for name in names)
        table = pa.table({"patch_id": pa.array(names, pa.string())})
        splits = list(assign_splits(table, how.split_by, seed=how.seed, places=places))
    columns: dict[str, list[Any]] = {name: [] for name in COLUMN_TYPES}
    for (name, row), split in zip(rows.items(), splits, strict=True):
        partner = row.get("s1_name") or (name if name in with_s1 else "")
        for ending in endings:
            one = {**DEFAULTS, **{key: value for key, value in row.items() if value is not None}}
            one |= {"patch_id": name + ending, "split": split}
            one["s1_name"] = sentinel1_key(partner + ending) if partner else ""
            for column, values in columns.items():
                values.append(one.get(column))
    try:
        arrow = pa.table(columns, schema=pa.schema(COLUMN_TYPES.items()))
    except (pa.ArrowException, TypeError) as error:
        raise MetadataError(
            f"{how.labels} has a column of another type than expected: {error}. Labels and names "
            "are text, flags true or false."
        ) from None
    return PatchTable.from_arrow(arrow, labels=None)


def tell_unmatched(labelled: Labelled, *, strict: bool) -> None:
    """Log rows without a patch and patches without a row; with ``strict`` raise for them."""
    texts = [
        f"{len(names)} {what} ({', '.join(names[:_SHOWN])}{', ...' if names[_SHOWN:] else ''})"
        for names, what in (
            (labelled.without_patch, "rows of the labels have no patch"),
            (labelled.without_row, "patches have no labels and are left out"),
        )
        if names
    ]
    if texts and strict:
        raise MetadataError(
            f"{'; '.join(texts)}. Correct the file of labels, or run it without --strict."
        )
    for text in texts:
        logger.warning("%s.", text)
