"""Tables into files of several formats, a batch of rows at a time.

A column ``geometry``, if there is one, holds polygons as WKB; each format writes it its own way.

Source: GeoParquet 1.1.0 and GeoPackage 1.3 (OGC); GeoJSON, RFC 7946.
"""

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from reben.errors import ConfigError, first_line
from reben.predict.polygons import Extent, Ring, as_several, box_of, from_wkb
from reben.support.atomic import atomic_file
from reben.support.extras import optional

GEOMETRY = "geometry"
BOX = "bbox"
"""In parquet files with places, a column of their boxes, by which readers find rows."""
ABOUT_KEY = "reben"
"""What the file says about itself is under this name: in the metadata of a parquet file's schema or
of the layer of a GeoPackage, or as a member of a GeoJSON collection."""
FORMATS_OF_PLACES = (".geoparquet", ".geojson", ".gpkg")
_CORNERS = ("xmin", "ymin", "xmax", "ymax")
_LAYER = "reben"


def write_table(path: Path, batches: Iterable[pa.RecordBatch], about: Mapping[str, Any]) -> None:
    """Write rows into a file, whole or not at all; its ending says the format.

    Args:
        path: The file: ``.parquet``, ``.geoparquet``, ``.gpkg``, ``.csv``, ``.geojson`` or
            ``.jsonl``.
        batches: The rows, at least one batch; all have the columns of the first.
        about: What to say about them, where the format has a place for it.
    """
    ending = require_ending(path.suffix)
    coming = iter(batches)
    first = next(coming)
    if ending in FORMATS_OF_PLACES and GEOMETRY not in first.schema.names:
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
    if ending.lower() == ".gpkg":
        optional("pyogrio", "tables", "Writing a GeoPackage")
    return ending.lower()


class _TableFile(Protocol):
    """A file that takes rows."""

    def write(self, rows: pa.RecordBatch) -> None: ...

    def close(self) -> None: ...


class _Parquet:
    """Parquet; GeoParquet where there are places."""

    def __init__(self, path: Path, schema: pa.Schema, about: dict[str, Any]) -> None:
        self._has_places = GEOMETRY in schema.names
        if self._has_places:
            if BOX in schema.names:
                raise ConfigError(f"A table has a column {BOX!r} of its own. Call yours otherwise.")
            box = pa.struct([(corner, pa.float64()) for corner in _CORNERS])
            schema = schema.append(pa.field(BOX, box))
        self._schema = schema.with_metadata({ABOUT_KEY: json.dumps(about)})
        self._writer = pq.ParquetWriter(path, self._schema, compression="zstd")
        self._extent, self._types = Extent(), {"Polygon"}

    def write(self, rows: pa.RecordBatch) -> None:
        columns = rows.columns
        if self._has_places:
            places = [one and from_wkb(one) for one in rows.column(GEOMETRY).to_pylist()]
            boxes = [None if pieces is None else box_of(pieces) for pieces in places]
            self._extent.add(box for box in boxes if box is not None)
            if any(pieces and len(pieces) > 1 for pieces in places):
                self._types.add("MultiPolygon")
            named = [box and dict(zip(_CORNERS, box, strict=True)) for box in boxes]
            columns = [*columns, pa.array(named, self._schema.field(BOX).type)]
        self._writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=self._schema))

    def close(self) -> None:
        if self._has_places:
            # Without a reference system named it is longitude and latitude on WGS 84.
            column: dict[str, Any] = {
                "encoding": "WKB",
                "geometry_types": sorted(self._types, reverse=True),
                "orientation": "counterclockwise",
                "covering": {BOX: {corner: [BOX, corner] for corner in _CORNERS}},
            }
            if self._extent.box is not None:
                column["bbox"] = self._extent.box
            geo = {
                "version": "1.1.0",
                "primary_column": GEOMETRY,
                "columns": {GEOMETRY: column},
            }
            self._writer.add_key_value_metadata({"geo": json.dumps(geo)})
        self._writer.close()


class _GeoPackage:
    """A GeoPackage of one layer; lists are joined by semicolons, all places are multi-polygons."""

    def __init__(self, path: Path, schema: pa.Schema, about: dict[str, Any]) -> None:
        self._write_arrow = optional("pyogrio", "tables", "Writing a GeoPackage").write_arrow
        self._path, self._about = path, {ABOUT_KEY: json.dumps(about, ensure_ascii=False)}
        # GDAL keeps files of its own beside it, and asks for this ending.
        self._folder = TemporaryDirectory(prefix=f"{path.name}.", dir=path.parent)
        self._made = Path(self._folder.name) / "table.gpkg"

    def write(self, rows: pa.RecordBatch) -> None:
        columns = dict(zip(rows.schema.names, rows.columns, strict=True))
        for name, column in columns.items():
            if name == GEOMETRY:
                content = [one and as_several(one) for one in column.to_pylist()]
                columns[name] = pa.array(content, pa.binary())
            elif pa.types.is_nested(column.type):
                columns[name] = pa.array(map(_cell, column.to_pylist()), pa.string())
        is_there = self._made.exists()
        try:
            self._write_arrow(
                pa.table(columns),
                self._made,
                layer=_LAYER,
                driver="GPKG",
                geometry_name=GEOMETRY,
                geometry_type="MultiPolygon",
                crs="EPSG:4326",
                append=is_there,
                layer_metadata=None if is_there else self._about,
            )
        except RuntimeError as error:  # what all of pyogrio's errors are
            # A full disk is an error here too, and SQLite does not say that it was one.
            self._made.with_name("room").write_bytes(bytes(1 << 16))
            raise OSError(first_line(error)) from error

    def close(self) -> None:
        if self._made.exists():
            self._made.replace(self._path)
        self._folder.cleanup()


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
    ".gpkg": _GeoPackage,
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


def _to_geojson(pieces: tuple[Ring, ...] | None) -> dict[str, Any] | None:
    if pieces is None:
        return None
    if len(pieces) == 1:
        return {"type": "Polygon", "coordinates": pieces}
    return {"type": "MultiPolygon", "coordinates": [[piece] for piece in pieces]}


def _cell(value: object) -> object:
    if isinstance(value, tuple):  # polygons
        texts = [f"(({', '.join(f'{x!r} {y!r}' for x, y in piece)}))" for piece in value]
        return f"POLYGON {texts[0]}" if len(texts) == 1 else f"MULTIPOLYGON ({', '.join(texts)})"
    return "; ".join(map(str, value)) if isinstance(value, list) else value
