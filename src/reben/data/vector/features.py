"""Features of vector files: GeoJSON, GeoPackage, shapefiles (also zipped), and WKT.

All need the optional shapely and pyproj, all but WKT pyogrio too.

Source: GeoJSON, RFC 7946 (longitude before latitude, on WGS 84).
"""

import logging
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from reben.data.places import reference_system, transformer
from reben.errors import AreaError, cut, first_line
from reben.support.bounds import (
    MAX_ROWS,
    MAX_TABLE_BYTES,
    MAX_TABLE_FILE_BYTES,
    MEBIBYTE,
    check_file,
    read_start,
    read_text,
)
from reben.support.extras import optional

if TYPE_CHECKING:
    from collections.abc import Iterator

logger = logging.getLogger(__name__)

DEGREES = "EPSG:4326"
"""The reference system of GeoJSON and WKT: longitude and latitude on WGS 84."""
_FORMS = "GeoJSON, GeoPackage, a shapefile (.shp, or a .zip of one), or WKT (.wkt)"
_ROWS_AT_ONCE = 1024
_START = 512
_STEP_DEGREES, _STEP_METRES = 0.05, 5000.0
"""The longest straight piece of an outline that is moved to another reference system as such."""
_SHOWN = 3

shapely = partial(optional, "shapely", "tables", "Reading areas")
"""Returns shapely, or raises a MissingExtraError."""


@dataclass(frozen=True, eq=False)
class Features:
    """What a file of vector features holds.

    Args:
        name: What the file is called in messages.
        geometries: Valid shapely geometries with two coordinates, at least one.
        table: Their properties, a row for each; perhaps without columns.
        crs: The reference system of the coordinates, such as ``EPSG:4326``; x is always the
            easting or longitude.
    """

    name: str
    geometries: tuple[Any, ...]
    table: pa.Table
    crs: str

    def in_crs(self, crs: str) -> Self:
        """Return them in another reference system; `AreaError` if one has no coordinates there."""
        if reference_system(crs) == reference_system(self.crs):
            return self
        shapes = moved(np.array(self.geometries, object), self.crs, crs)
        is_somewhere = np.isfinite(shapely().bounds(shapes)).all(axis=1)
        lost = (np.flatnonzero(~is_somewhere) + 1).tolist()
        if lost:
            raise AreaError(
                f"{self.name} has features that lie nowhere in {cut(crs)}: {_some(lost)}. Leave "
                "them out, or correct the file's reference system."
            )
        return type(self)(self.name, tuple(shapes), self.table, crs)


def read_features(path: str | Path) -> Features:
    """Return the features of a vector file, with their properties.

    Args:
        path: GeoJSON (longitude and latitude, unless it names another reference system),
            GeoPackage with one layer, a shapefile or a zip of one, or a text file of WKT with a
            geometry on each line (in degrees, or behind ``SRID=32633;``).

    Raises:
        AreaError: If it cannot be read, has no features, one without a geometry, no reference
            system, or coordinates that cannot be.
    """
    name = str(path)
    try:
        check_file(path, MAX_TABLE_FILE_BYTES)
        start = read_start(path, _START)
        is_text = Path(path).suffix.lower() in (".wkt", ".txt")
        text = read_text(path) if is_text else ""
    except OSError as error:
        raise AreaError(
            f"The area {name} cannot be read: {first_line(error)}. Name a file ({_FORMS}) or give "
            "a box in degrees: west,south,east,north."
        ) from error
    if not start.strip():
        raise AreaError(f"{name} is empty. Save it again, as {_FORMS}.")
    return parsed_wkt(text, name) if is_text else _read_with_gdal(Path(path), start)


def _read_with_gdal(path: Path, start: bytes) -> Features:
    shapely()
    pyogrio = optional("pyogrio", "tables", "Reading areas")
    source, kind = _source(path, start)
    try:
        _check_layers(path, pyogrio.list_layers(source), kind)
        opened = pyogrio.open_arrow(source, use_pyarrow=True, batch_size=_ROWS_AT_ONCE)
        with opened as (meta, reader):
            table = _collected(reader, path)
    except (pyogrio.errors.DataSourceError, RuntimeError, pa.ArrowException) as error:
        reason = first_line(error).partition("; It might help")[0]
        raise AreaError(f"{path} cannot be read: {reason}. Save it again, as {_FORMS}.") from error
    column = meta["geometry_name"] or "wkb_geometry"
    shapes = shapely().from_wkb([one.as_py() for one in table.column(column)], on_invalid="fix")
    plain = {
        field.name: table.column(field.name).cast(getattr(field.type, "storage_type", field.type))
        for field in table.schema
        if field.name not in (column, meta["fid_column"])
    }
    return _checked(str(path), shapes, pa.table(plain), meta["crs"] or "")


def _collected(reader: "Iterator[pa.RecordBatch]", path: Path) -> pa.Table:
    pieces, num_bytes, num_rows = [], 0, 0
    for batch in reader:
        num_bytes, num_rows = num_bytes + batch.nbytes, num_rows + len(batch)
        if num_bytes > MAX_TABLE_BYTES or num_rows > MAX_ROWS:
            raise AreaError(
                f"{path} holds more than {MAX_TABLE_BYTES // MEBIBYTE} MiB or {MAX_ROWS:,} "
                "features. Cut out the part that is wanted."
            )
        pieces.append(batch)
    if not num_rows:
        raise AreaError(f"{path} has no features. Save the layer that holds them.")
    return pa.Table.from_batches(pieces)


def _source(path: Path, start: bytes) -> tuple[str, str]:
    """Return what GDAL opens, and its form; by the content, as GDAL would open programs, too."""
    if start.startswith(b"SQLite format 3\0"):
        return str(path), "GeoPackage"
    if start.startswith(b"\0\0\x27\x0a"):
        return str(path), "shapefile"
    if start.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"{"):
        return str(path), "GeoJSON"
    if start.startswith(b"PK\3\4"):
        return f"/vsizip/{{{path.absolute()}}}/{_shape_in(path)}", "shapefile"
    raise AreaError(f"{path} is in no form that is read. Save it as {_FORMS}.")


def _shape_in(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as file:
            entries = file.infolist()
            shapes = [one.filename for one in entries if one.filename.lower().endswith(".shp")]
            is_shape = len(shapes) == 1 and file.open(shapes[0]).read(4) == b"\0\0\x27\x0a"
    except (OSError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        said = first_line(error)
        raise AreaError(f"{path} cannot be unpacked: {said}. Zip it again.") from error
    if not is_shape:
        raise AreaError(
            f"{path} holds {len(shapes)} shapefiles; it should hold one. Unpack it, and name the "
            "file that is wanted."
        )
    if sum(entry.file_size for entry in entries) > MAX_TABLE_BYTES:
        raise AreaError(f"{path} unpacks to more than {MAX_TABLE_BYTES // MEBIBYTE} MiB. Cut it.")
    return shapes[0]


def _check_layers(path: Path, layers: NDArray[Any], kind: str) -> None:
    names = [name for name, geometry in layers if geometry is not None]
    if len(names) != 1:
        listed = f" ({', '.join(names[:10])})" if names else ""
        cure = "Save the layer that holds the features by itself"
        if names:
            cure += f": ogr2ogr area.gpkg {path} '{names[0]}'"
        raise AreaError(f"{path} is a {kind} with {len(names)} layers of features{listed}. {cure}")


def parsed_wkt(text: str, name: str) -> Features:
    """Return the geometries of WKT, one on a line; ``name`` is what messages call it."""
    crs, lines = DEGREES, []
    for line in filter(None, map(str.strip, text.splitlines())):
        prefix, _, rest = line.rpartition(";")
        if prefix:
            crs = f"EPSG:{prefix.upper().removeprefix('SRID=').strip()}"
        lines.append(rest)
    module = shapely()
    try:
        if len(lines) > 1 and not all(line.endswith(")") for line in lines):
            lines = [" ".join(lines)]
        shapes = module.from_wkt(lines)
    except module.errors.GEOSException as error:
        raise AreaError(
            f"{name} is no WKT: {first_line(error)}. It should be like POLYGON ((13.1 47.8, 13.4 "
            "47.8, 13.4 48.0, 13.1 47.8)), or be a file, or west,south,east,north in degrees."
        ) from error
    return _checked(name, shapes, pa.table({}), crs)


def _checked(name: str, shapes: NDArray[Any], table: pa.Table, crs: str) -> Features:
    """Return features whose geometries can be used, mended where that is needed."""
    module = shapely()
    shapes = module.force_2d(shapes)
    without = np.flatnonzero(module.is_missing(shapes) | module.is_empty(shapes)) + 1
    if len(without) or not len(shapes):
        which = f": {_some(without.tolist())} of {len(shapes)}" if len(shapes) else ""
        raise AreaError(f"{name} has features without a geometry{which}. Leave them out.")
    if not crs:
        raise AreaError(
            f"{name} does not say its reference system. Add it: ogr2ogr -a_srs EPSG:32633 "
            f"area.gpkg {name}, with the code of its own."
        )
    system = reference_system(crs)
    bounds = module.bounds(shapes)
    if not np.isfinite(bounds).all():
        raise AreaError(f"{name} has coordinates that are no numbers. Correct it.")
    if system.is_geographic:
        check_degrees(name, (*bounds[:, :2].min(axis=0), *bounds[:, 2:].max(axis=0)))
    invalid = np.flatnonzero(~module.is_valid(shapes))
    if len(invalid):
        logger.warning(
            "%s: outlines that cross themselves were mended in %d of %d features: %s.",
            name, len(invalid), len(shapes), _some((invalid + 1).tolist()),
        )  # fmt: skip
        shapes[invalid] = module.make_valid(shapes[invalid])
    return Features(name, tuple(shapes), table, crs)


def check_degrees(name: str, bounds: Sequence[float]) -> None:
    """Raise an AreaError unless west, south, east, north can be longitudes and latitudes."""
    west, south, east, north = (float(number) for number in bounds)
    if west >= -180 and east <= 180 and south >= -90 and north <= 90:
        return
    cure = "Correct it"
    if west >= -90 and east <= 90 and south >= -180 and north <= 180:
        cure = "Latitude and longitude seem to be swapped: longitude comes first"
    elif max(map(abs, (west, south, east, north))) > 360:
        cure = (
            "They look like metres: say so with ogr2ogr -a_srs EPSG:32633 area.gpkg FILE, with the "
            "code of their own reference system, and name area.gpkg"
        )
    raise AreaError(
        f"{name} is in degrees, and reaches from {west:g} to {east:g} in longitude and from "
        f"{south:g} to {north:g} in latitude; there are -180 to 180 and -90 to 90. {cure}."
    )


def moved(shapes: NDArray[Any], source: str, target: str) -> NDArray[Any]:
    """Return geometries in another reference system; long straight lines may be curves there."""
    module = shapely()
    step = _STEP_DEGREES if reference_system(source).is_geographic else _STEP_METRES
    move = transformer(source, target)
    dense = module.segmentize(shapes, step)
    moved: NDArray[Any] = module.transform(
        dense, lambda points: np.column_stack(move.transform(points[:, 0], points[:, 1]))
    )
    return moved


def _some(numbers: Sequence[int]) -> str:
    more = f" and {len(numbers) - _SHOWN} more" if len(numbers) > _SHOWN else ""
    return "number " + ", ".join(map(str, numbers[:_SHOWN])) + more
