"""Tables into files of several formats, a batch of rows at a time.

A column ``geometry``, if there is one, holds polygons as WKB; each format writes it its own way.

Source: GeoParquet 1.1.0 and GeoPackage 1.3 (OGC); GeoJSON, RFC 7946.
"""

import csv
import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

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
    rows = _of_one_kind(chain([first], coming), first.schema)
    with atomic_file(path) as temporary:
        _FORMATS[ending](temporary, _Table(first.schema, rows, dict(about)))


def require_ending(ending: str) -> str:
    """Return an ending in lower case if it stands for a format."""
    if ending.lower() not in _FORMATS:
        raise ConfigError(
            f"No table format has the ending {ending!r}. Choose one of {', '.join(_FORMATS)}."
        )
    if ending.lower() == ".gpkg":
        optional("pyogrio", "tables", "Writing a GeoPackage")
    return ending.lower()


def _of_one_kind(batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        if batch.schema != schema:
            raise ConfigError(
                f"These rows have the columns {', '.join(batch.schema.names)}, those before "
                f"had {', '.join(schema.names)}, or of other types. Write the same ones."
            )
        yield batch


class _Table(NamedTuple):
    schema: pa.Schema
    batches: Iterable[pa.RecordBatch]
    about: dict[str, Any]


def _write_parquet(path: Path, table: _Table) -> None:
    """Write parquet; GeoParquet where there are places."""
    schema, has_places = table.schema, GEOMETRY in table.schema.names
    if has_places:
        if BOX in schema.names:
            raise ConfigError(f"A table has a column {BOX!r} of its own. Call yours otherwise.")
        box = pa.struct([(corner, pa.float64()) for corner in _CORNERS])
        schema = schema.append(pa.field(BOX, box))
    schema = schema.with_metadata({ABOUT_KEY: json.dumps(table.about)})
    extent, types = Extent(), {"Polygon"}
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for rows in table.batches:
            columns = rows.columns
            if has_places:
                places = [one and from_wkb(one) for one in rows.column(GEOMETRY).to_pylist()]
                boxes = [None if pieces is None else box_of(pieces) for pieces in places]
                extent.add(filter(None, boxes))
                types |= {"MultiPolygon" for pieces in places if pieces and len(pieces) > 1}
                named = [box and dict(zip(_CORNERS, box, strict=True)) for box in boxes]
                columns = [*columns, pa.array(named, schema.field(BOX).type)]
            writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=schema))
        if has_places:
            # Without a reference system named it is longitude and latitude on WGS 84.
            column = {
                "encoding": "WKB",
                "geometry_types": sorted(types, reverse=True),
                "orientation": "counterclockwise",
                "covering": {BOX: {corner: [BOX, corner] for corner in _CORNERS}},
                **({} if extent.box is None else {"bbox": extent.box}),
            }
            geo = {"version": "1.1.0", "primary_column": GEOMETRY, "columns": {GEOMETRY: column}}
            writer.add_key_value_metadata({"geo": json.dumps(geo)})


def _write_geopackage(path: Path, table: _Table) -> None:
    """Write one layer; lists are joined by semicolons, all places are multi-polygons."""
    pyogrio = optional("pyogrio", "tables", "Writing a GeoPackage")
    metadata = {ABOUT_KEY: json.dumps(table.about, ensure_ascii=False)}
    # GDAL keeps files of its own beside it, and asks for this ending.
    with TemporaryDirectory(prefix=f"{path.name}.", dir=path.parent) as folder:
        made = Path(folder) / "table.gpkg"
        for rows in table.batches:
            columns = dict(zip(rows.schema.names, rows.columns, strict=True))
            for name, column in columns.items():
                if name == GEOMETRY:
                    content = [one and as_several(one) for one in column.to_pylist()]
                    columns[name] = pa.array(content, pa.binary())
                elif pa.types.is_nested(column.type):
                    columns[name] = pa.array(map(_cell, column.to_pylist()), pa.string())
            is_there = made.exists()
            try:
                pyogrio.write_arrow(
                    pa.table(columns),
                    made,
                    layer=_LAYER,
                    driver="GPKG",
                    geometry_name=GEOMETRY,
                    geometry_type="MultiPolygon",
                    crs="EPSG:4326",
                    append=is_there,
                    layer_metadata=None if is_there else metadata,
                )
            except RuntimeError as error:  # what all of pyogrio's errors are
                # A full disk is an error here too, and SQLite does not say that it was one.
                made.with_name("room").write_bytes(bytes(1 << 16))
                raise OSError(first_line(error)) from error
        made.replace(path)


def _write_csv(path: Path, table: _Table) -> None:
    """Write CSV: lists are joined by semicolons, polygons are well-known text."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(table.schema.names)
        writer.writerows(map(_cell, row.values()) for row in _plain_rows(table.batches))


def _write_json_lines(path: Path, table: _Table) -> None:
    """Write an object a line; polygons are GeoJSON."""
    with path.open("w", encoding="utf-8", newline="") as file:
        for row in _plain_rows(table.batches):
            if GEOMETRY in row:
                row[GEOMETRY] = _to_geojson(row[GEOMETRY])
            file.write(_dumps(row) + "\n")


def _write_geojson(path: Path, table: _Table) -> None:
    """Write a collection with a feature a line."""
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(
            f'{{"type": "FeatureCollection", "{ABOUT_KEY}": {_dumps(table.about)},\n"features": ['
        )
        separator = "\n"
        for row in _plain_rows(table.batches):
            geometry = _to_geojson(row.pop(GEOMETRY))
            feature = {"type": "Feature", "id": row["id"], "geometry": geometry, "properties": row}
            file.write(separator + _dumps(feature))
            separator = ",\n"
        file.write("\n]}\n")


_FORMATS = {
    ".parquet": _write_parquet,
    ".geoparquet": _write_parquet,
    ".csv": _write_csv,
    ".geojson": _write_geojson,
    ".jsonl": _write_json_lines,
    ".gpkg": _write_geopackage,
}


def _plain_rows(batches: Iterable[pa.RecordBatch]) -> Iterator[dict[str, Any]]:
    """Yield rows as plain values; float32 as the shortest decimals that are the very same."""
    for rows in batches:
        columns = [_plain_column(name, rows.column(name)) for name in rows.schema.names]
        for row in zip(*columns, strict=True):
            yield dict(zip(rows.schema.names, row, strict=True))


def _plain_column(name: str, column: pa.Array) -> list[Any]:
    values: list[Any] = column.to_pylist()
    if name == GEOMETRY:
        return [content and from_wkb(content) for content in values]
    if pa.types.is_float32(column.type):
        return [None if value is None else _short(value) for value in values]
    if pa.types.is_fixed_size_list(column.type):
        return [value and list(map(_short, value)) for value in values]
    return values


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
