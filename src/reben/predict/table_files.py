"""Tables into files of several formats, a batch of rows at a time.

A column ``geometry``, if there is one, holds polygons as WKB; each format writes it its own way.

Source: GeoParquet 1.1.0 (OGC); GeoJSON, RFC 7946; WKB, OGC 06-103r4.

Rectangles in a projection -> polygons in longitude and latitude.
"""

import csv
import json
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from reben.errors import ConfigError, MissingExtraError
from reben.spec.patches import Bounds

Ring = tuple[tuple[float, float], ...]
"""A closed polygon of (longitude, latitude) in degrees on WGS 84, counterclockwise; the last point
is the first."""


def rings_of(bounds: Sequence[Bounds | None]) -> list[Ring | None]:
    """Return the corners of rectangles as polygons in degrees; None stays None.

    A polygon across the 180th meridian has longitudes beyond 180, so that it is in one piece.

    Raises:
        MissingExtraError: If pyproj is not installed.
        ConfigError: If a code names no reference system.

    Example:
        >>> ring = rings_of([Bounds(32633, 500_000, 5_000_000, 501_200, 5_001_200)])[0]
        >>> [(round(longitude, 3), round(latitude, 3)) for longitude, latitude in ring[:2]]
        [(15.0, 45.164), (15.0, 45.153)]
    """
    rings: list[Ring | None] = [None] * len(bounds)
    by_code: dict[int, list[int]] = {}
    for place, one in enumerate(bounds):
        if one is not None:
            by_code.setdefault(one.epsg, []).append(place)
    for epsg, places in by_code.items():
        boxes = np.array([bounds[place][1:] for place in places], np.float64)  # type: ignore[index]
        left, bottom, right, top = boxes.T
        corners = np.stack([left, left, right, right]), np.stack([top, bottom, bottom, top])
        x, y = to_degrees(epsg).transform(*(values.T.ravel() for values in corners))
        for place, lon, lat in zip(places, x.reshape(-1, 4), y.reshape(-1, 4), strict=True):
            whole = lon[0] + (lon - lon[0] + 180) % 360 - 180 if np.ptp(lon) > 180 else lon
            points = list(zip(whole.tolist(), lat.tolist(), strict=True))
            rings[place] = (*points, points[0])
    return rings


@lru_cache(maxsize=128)
def to_degrees(epsg: int) -> Any:  # noqa: ANN401 - pyproj is optional
    """Return what transforms coordinates of a reference system to longitude and latitude.

    Raises:
        MissingExtraError: If pyproj is not installed.
        ConfigError: If the code names no reference system.
    """
    pyproj = require_pyproj()
    try:
        return pyproj.Transformer.from_crs(epsg, 4326, always_xy=True)
    except pyproj.exceptions.ProjError as error:
        raise ConfigError(f"EPSG:{epsg} names no reference system: {error}") from error


def require_pyproj() -> Any:  # noqa: ANN401 - the module
    """Return pyproj.

    Raises:
        MissingExtraError: If it is not installed.
    """
    try:
        import pyproj
        import pyproj.exceptions
    except ImportError as error:
        raise MissingExtraError(
            "To give places in longitude and latitude needs pyproj, which is missing. Install it: "
            'pip install "reben[geo]", or leave them out: --no-geometry (geometry=False)'
        ) from error
    return pyproj


GEOMETRY = "geometry"
ABOUT_KEY = "reben"
"""What the file says about itself is under this name: in the metadata of a parquet file's schema,
or as a member of a GeoJSON collection."""
_RING_HEADER = struct.Struct("<BIII")


class TableFile(Protocol):
    """A file that takes rows."""

    def write(self, rows: pa.RecordBatch) -> None:
        """Add rows."""

    def close(self) -> None:
        """Finish the file."""


def open_table(
    path: Path, ending: str, schema: pa.Schema, about: Mapping[str, Any] | None = None
) -> TableFile:
    """Return a file of the format that ``ending`` stands for, ready to take rows.

    Args:
        path: The file, whatever it is called.
        ending: ``.parquet``, ``.geoparquet``, ``.csv``, ``.geojson`` or ``.jsonl``.
        schema: Of the rows.
        about: What to say about them, where the format has a place for it.

    Raises:
        ConfigError: If there is no such format, or it needs places and there are none.
    """
    ending = require_ending(ending)
    if ending in (".geoparquet", ".geojson") and GEOMETRY not in schema.names:
        raise ConfigError(
            f"A file {ending} is there to say where patches lie. Do not leave geometry out, or "
            "choose .parquet, .csv or .jsonl."
        )
    return _FORMATS[ending](path, schema, dict(about or {}))


def require_ending(ending: str) -> str:
    """Return an ending in lower case if it stands for a format.

    Raises:
        ConfigError: If it does not.
    """
    if ending.lower() not in _FORMATS:
        raise ConfigError(
            f"No format is known by the ending {ending!r}. Choose of {', '.join(_FORMATS)}."
        )
    return ending.lower()


# Polygons ---------------------------------------------------------------------------------------


def to_wkb(ring: Ring) -> bytes:
    """Return a polygon without holes as well-known binary."""
    header = _RING_HEADER.pack(1, 3, 1, len(ring))
    return header + np.array(ring, "<f8").tobytes()


def from_wkb(content: bytes) -> Ring:
    """Return the polygon that `to_wkb` wrote."""
    points = np.frombuffer(content, "<f8", offset=_RING_HEADER.size).reshape(-1, 2)
    return tuple((x, y) for x, y in points.tolist())


# Formats ----------------------------------------------------------------------------------------


class _Parquet:
    """Parquet; GeoParquet where there are places."""

    def __init__(self, path: Path, schema: pa.Schema, about: dict[str, Any]) -> None:
        kept = dict(schema.metadata or {})
        self._schema = schema.with_metadata({**kept, ABOUT_KEY: json.dumps(about)})
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
    """A text file of rows."""

    def __init__(self, path: Path, schema: pa.Schema, about: dict[str, Any]) -> None:
        self._file = path.open("w", encoding="utf-8", newline="")
        self._schema = schema
        self._start(about)

    def write(self, rows: pa.RecordBatch) -> None:
        for row in _plain_rows(rows):
            self._add(row)

    def close(self) -> None:
        self._end()
        self._file.close()

    def _start(self, about: dict[str, Any]) -> None:
        """Write what comes before the rows."""

    def _add(self, row: dict[str, Any]) -> None:
        """Write a row."""

    def _end(self) -> None:
        """Write what comes after the rows."""


class _Csv(_Text):
    """CSV: lists are joined by semicolons, polygons are well-known text."""

    def _start(self, about: dict[str, Any]) -> None:
        self._writer = csv.writer(self._file, lineterminator="\n")
        self._writer.writerow(self._schema.names)

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

    def _start(self, about: dict[str, Any]) -> None:
        self._file.write(f'{{"type": "FeatureCollection", "{ABOUT_KEY}": {_dumps(about)},\n')
        self._file.write('"features": [')
        self._separator = "\n"

    def _add(self, row: dict[str, Any]) -> None:
        geometry = _to_geojson(row.pop(GEOMETRY))
        feature = {"type": "Feature", "id": row["id"], "geometry": geometry, "properties": row}
        self._file.write(self._separator + _dumps(feature))
        self._separator = ",\n"

    def _end(self) -> None:
        self._file.write("\n]}\n")


_FORMATS: dict[str, Callable[[Path, pa.Schema, dict[str, Any]], TableFile]] = {
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
