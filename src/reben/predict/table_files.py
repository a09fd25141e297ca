"""Tables into files of several formats, a batch of rows at a time; places in degrees.

A column ``geometry``, if there is one, holds polygons as WKB; each format writes it its own way.

Source: GeoParquet 1.1.0 (OGC); GeoJSON, RFC 7946; WKB, OGC 06-103r4.
"""

import csv
import json
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from itertools import chain
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import ArrayLike

from reben.data.places import to_degrees
from reben.errors import ConfigError
from reben.spec.patches import Bounds
from reben.support.atomic import atomic_file

GEOMETRY = "geometry"
ABOUT_KEY = "reben"
"""What the file says about itself is under this name: in the metadata of a parquet file's schema,
or as a member of a GeoJSON collection."""
_RING_HEADER = struct.Struct("<BIII")

Ring = tuple[tuple[float, float], ...]
"""A closed polygon of (longitude, latitude) in degrees on WGS 84, counterclockwise; the last point
is the first."""


# Places -----------------------------------------------------------------------------------------


def to_rings(crs: int | str, x: ArrayLike, y: ArrayLike) -> list[Ring]:
    """Return polygons in degrees. One across the 180th meridian goes on beyond 180 degrees.

    Args:
        crs: As for `to_degrees`.
        x: Eastings of the corners, [polygons, corners], counterclockwise, none repeated.
        y: Northings, as many.
    """
    lon, lat = to_degrees(crs, x, y)
    whole = lon[:, :1] + (lon - lon[:, :1] + 180) % 360 - 180
    lon = np.where(np.ptp(lon, axis=1, keepdims=True) > 180, whole, lon)
    points = (zip(*one, strict=True) for one in zip(lon.tolist(), lat.tolist(), strict=True))
    return [(*ring, ring[0]) for ring in map(tuple, points)]


def rings_of(bounds: Sequence[Bounds | None]) -> list[Ring | None]:
    """Return rectangles as polygons in degrees, as `to_rings` does; None stays None.

    Example:
        >>> ring = rings_of([Bounds(32633, 500_000, 5_000_000, 501_200, 5_001_200)])[0]
        >>> [(round(longitude, 3), round(latitude, 3)) for longitude, latitude in ring[:2]]
        [(15.0, 45.164), (15.0, 45.153)]
    """
    rings: list[Ring | None] = [None] * len(bounds)
    by_code: dict[int, list[tuple[int, Bounds]]] = {}
    for place, one in enumerate(bounds):
        if one is not None:
            by_code.setdefault(one.epsg, []).append((place, one))
    for epsg, members in by_code.items():
        x = [(one.left, one.left, one.right, one.right) for _, one in members]
        y = [(one.top, one.bottom, one.bottom, one.top) for _, one in members]
        for (place, _), ring in zip(members, to_rings(epsg, x, y), strict=True):
            rings[place] = ring
    return rings


def to_wkb(ring: Ring) -> bytes:
    """Return a polygon without holes as well-known binary."""
    header = _RING_HEADER.pack(1, 3, 1, len(ring))
    return header + np.array(ring, "<f8").tobytes()


def from_wkb(content: bytes) -> Ring:
    """Return the polygon that `to_wkb` wrote."""
    points = np.frombuffer(content, "<f8", offset=_RING_HEADER.size).reshape(-1, 2)
    return tuple((x, y) for x, y in points.tolist())


# Files ------------------------------------------------------------------------------------------


def write_table(path: Path, batches: Iterable[pa.RecordBatch], about: Mapping[str, Any]) -> None:
    """Write rows into a file, whole or not at all; its ending says the format.

    Args:
        path: The file: ``.parquet``, ``.geoparquet``, ``.csv``, ``.geojson`` or ``.jsonl``.
        batches: The rows, at least one batch; all have the columns of the first.
        about: What to say about them, where the format has a place for it.
    """
    ending = require_ending(path.suffix)
    coming = iter(batches)
    first = next(coming)
    if ending in (".geoparquet", ".geojson") and GEOMETRY not in first.schema.names:
        raise ConfigError(
            f"A file {ending} is there to say where patches lie. Do not leave geometry out, or "
            "choose .parquet, .csv or .jsonl."
        )
    with (
        atomic_file(path) as temporary,
        closing(_FORMATS[ending](temporary, first.schema, dict(about))) as file,
    ):
        for batch in chain([first], coming):
            if batch.schema != first.schema:
                raise ConfigError(
                    f"These rows have the columns {', '.join(batch.schema.names)}, those before "
                    f"had {', '.join(first.schema.names)}, or of other types. Write the same ones."
                )
            file.write(batch)


def require_ending(ending: str) -> str:
    """Return an ending in lower case if it stands for a format."""
    if ending.lower() not in _FORMATS:
        raise ConfigError(
            f"No table format has the ending {ending!r}. Choose one of {', '.join(_FORMATS)}."
        )
    return ending.lower()


class _TableFile(Protocol):
    """A file that takes rows."""

    def write(self, rows: pa.RecordBatch) -> None: ...

    def close(self) -> None: ...


class _Parquet:
    """Parquet; GeoParquet where there are places."""

    def __init__(self, path: Path, schema: pa.Schema, about: dict[str, Any]) -> None:
        self._schema = schema.with_metadata({ABOUT_KEY: json.dumps(about)})
        self._writer = pq.ParquetWriter(path, self._schema, compression="zstd")
        self._bbox = np.array([np.inf, np.inf, -np.inf, -np.inf])

    def write(self, rows: pa.RecordBatch) -> None:
        if GEOMETRY in rows.schema.names:
            for content in filter(None, rows.column(GEOMETRY).to_pylist()):
                points = np.array(from_wkb(content))
                self._bbox[:2] = np.minimum(self._bbox[:2], points.min(0))
                self._bbox[2:] = np.maximum(self._bbox[2:], points.max(0))
        self._writer.write_batch(rows.replace_schema_metadata(self._schema.metadata))

    def close(self) -> None:
        if GEOMETRY in self._schema.names:
            # Without a reference system named it is longitude and latitude on WGS 84.
            column: dict[str, Any] = {
                "encoding": "WKB",
                "geometry_types": ["Polygon"],
                "orientation": "counterclockwise",
            }
            if np.isfinite(self._bbox).all():
                column["bbox"] = self._bbox.tolist()
            geo = {
                "version": "1.1.0",
                "primary_column": GEOMETRY,
                "columns": {GEOMETRY: column},
            }
            self._writer.add_key_value_metadata({"geo": json.dumps(geo)})
        self._writer.close()


class _Text:
    """A text file with a row on each line."""

    end = ""

    def __init__(self, path: Path, schema: pa.Schema, about: dict[str, Any]) -> None:
        self._file = path.open("w", encoding="utf-8", newline="")
        self._begin(schema, about)

    def write(self, rows: pa.RecordBatch) -> None:
        for row in _plain_rows(rows):
            self._add(row)

    def close(self) -> None:
        self._file.write(self.end)
        self._file.close()

    def _begin(self, schema: pa.Schema, about: dict[str, Any]) -> None:
        pass

    def _add(self, row: dict[str, Any]) -> None:
        raise NotImplementedError


class _Csv(_Text):
    """CSV: lists are joined by semicolons, polygons are well-known text."""

    def _begin(self, schema: pa.Schema, about: dict[str, Any]) -> None:
        self._writer = csv.writer(self._file, lineterminator="\n")
        self._writer.writerow(schema.names)

    def _add(self, row: dict[str, Any]) -> None:
        self._writer.writerow([_cell(value) for value in row.values()])


class _JsonLines(_Text):
    """An object a line; polygons are GeoJSON."""

    def _add(self, row: dict[str, Any]) -> None:
        if GEOMETRY in row:
            row[GEOMETRY] = _to_geojson(row[GEOMETRY])
        self._file.write(_dumps(row) + "\n")


class _GeoJson(_Text):
    """A collection with a feature a line."""

    end = "\n]}\n"

    def _begin(self, schema: pa.Schema, about: dict[str, Any]) -> None:
        self._file.write(f'{{"type": "FeatureCollection", "{ABOUT_KEY}": {_dumps(about)},\n')
        self._file.write('"features": [')
        self._separator = "\n"

    def _add(self, row: dict[str, Any]) -> None:
        geometry = _to_geojson(row.pop(GEOMETRY))
        feature = {"type": "Feature", "id": row["id"], "geometry": geometry, "properties": row}
        self._file.write(self._separator + _dumps(feature))
        self._separator = ",\n"


_FORMATS: dict[str, Callable[[Path, pa.Schema, dict[str, Any]], _TableFile]] = {
    ".parquet": _Parquet,
    ".geoparquet": _Parquet,
    ".csv": _Csv,
    ".geojson": _GeoJson,
    ".jsonl": _JsonLines,
}


def _plain_rows(rows: pa.RecordBatch) -> Iterator[dict[str, Any]]:
    """Yield rows as plain values; float32 as the shortest decimals that are the very same."""
    columns = {}
    for name in rows.schema.names:
        column = rows.column(name)
        if name == GEOMETRY:
            values = [content and from_wkb(content) for content in column.to_pylist()]
        elif pa.types.is_float32(column.type):
            values = [None if v is None else _short(v) for v in column.to_pylist()]
        elif pa.types.is_fixed_size_list(column.type):
            values = [v and [_short(one) for one in v] for v in column.to_pylist()]
        else:
            values = column.to_pylist()
        columns[name] = values
    for row in zip(*columns.values(), strict=True):
        yield dict(zip(columns, row, strict=True))


def _short(value: float) -> float:
    return float(str(np.float32(value)))


def _dumps(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _to_geojson(ring: Ring | None) -> dict[str, Any] | None:
    return None if ring is None else {"type": "Polygon", "coordinates": [ring]}


def _cell(value: object) -> object:
    if isinstance(value, tuple):  # a polygon
        return f"POLYGON (({', '.join(f'{x!r} {y!r}' for x, y in value)}))"
    return "; ".join(map(str, value)) if isinstance(value, list) else value
