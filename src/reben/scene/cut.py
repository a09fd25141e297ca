"""Patches cut out of a scene, by points or polygons: folders that encode and predict take.

::

    S2/<patch>/<patch>_B02.tif   digital numbers without offset, uint16, at native size
    S1/<patch>/<patch>_VV.tif    backscatter in dB, float32
    labels.csv                   patch_id, labels (separated by semicolons), split and country,
                                 geometry (WKT in degrees); patches.csv for features without labels
    cut.json                     what was cut, how, and what was left out

No pixel is resampled: patches begin where pixels of 60 m do.
"""

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from reben.data.places import to_degrees
from reben.data.vector.features import DEGREES, Features, moved, read_features, shapely
from reben.errors import AreaError, ConfigError
from reben.scene.band_scene import Scene
from reben.scene.band_source import import_rasterio
from reben.scene.grid import GRID_METRES, GRID_MULTIPLE, Grid
from reben.scene.masks import GOOD
from reben.scene.opening import Opening
from reben.scene.product import open_scene
from reben.spec.bands import Sensor, native_size, sensor
from reben.spec.patches import PATCH_METRES, PATCH_PIXELS
from reben.support.atomic import atomic_folder, write_text
from reben.support.bounds import MAX_NAME_BYTES
from reben.support.times import copernicus_notice

LABELS_COLUMN = "labels"
_KEPT = ("split", "country")
"""Columns of the features that encode takes, too."""
MAX_BAD = 0.25
"""Share of bad pixels above which a patch is left out."""
FOLDERS: dict[Sensor, str] = {"Sentinel-2": "S2", "Sentinel-1": "S1"}
_TOUCH_METRES = 0.01
_LONGEST_NAME = MAX_NAME_BYTES - len("_B8A.tif")
_BLOCK = 1024
"""Pixels along a tile of ESA's files: patches in one are read one after the other."""


class _Spot(NamedTuple):
    """A patch to cut: its name, the feature it is of, and its upper left pixel."""

    name: str
    feature: int
    top: int
    left: int


@dataclass(frozen=True)
class CutPatches:
    """What `cut_patches` wrote.

    Args:
        out: The folder.
        names: The patches in it.
        left_out: Patch or feature -> why it was left out.
        about: What is known of the scene.
    """

    out: Path
    names: tuple[str, ...]
    left_out: dict[str, str] = field(default_factory=dict)
    about: dict[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values, for JSON."""
        return {**asdict(self), "out": str(self.out), "names": list(self.names)}


def cut_patches(  # noqa: PLR0913 - all after the third are named
    product: Any,  # noqa: ANN401 - as open_scene takes it
    features: str | Path | Features,
    out: str | Path,
    *,
    size: int = PATCH_METRES,
    within: bool = False,
    id_column: str | None = None,
    labels_column: str = LABELS_COLUMN,
    max_bad: float = MAX_BAD,
    sentinel1: Any = None,  # noqa: ANN401 - as open_scene takes it
    opening: Opening | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> CutPatches:
    """Cut patches out of a scene into a new folder, and return what was cut.

    A point gives the patch around it, moved by up to 30 m onto the pixels of 60 m. Any other
    geometry gives the patches of a grid from the upper left corner of the scene that it touches,
    as `reben.predict_scene` places its windows.

    Args:
        product: Whatever `reben.open_scene` takes.
        features: A vector file, as `reben.data.vector.features.read_features` takes it.
        out: The folder to write, new or empty.
        size: Side length of the patches in metres, a multiple of 60.
        within: Only patches that lie in their feature as a whole; not for points.
        id_column: Column of the features that names the patches; by default they are numbered.
        labels_column: Column of their labels, which is optional if it has the usual name.
        max_bad: Share of pixels without data, under clouds or in shadow above which a patch is left
            out.
        sentinel1: A Sentinel-1 product of the same place, cut at the same spots.
        opening: What the user says about the product.
        progress: Called as ``progress(done, total)``, in patches.

    Raises:
        AreaError: If the file cannot be used, or no patch is left.
        ConfigError: If there is no such column, names are no names of folders or occur twice, or
            the size is no multiple of 60 m.
        OutputError: If the folder is not empty or cannot be written.
        ProductError: If the scene cannot be read.
    """
    if size < GRID_METRES * GRID_MULTIPLE or size % (GRID_METRES * GRID_MULTIPLE):
        raise ConfigError(f"The size is {size} m; it must be a multiple of 60, the largest pixel.")
    found = features if isinstance(features, Features) else read_features(features)
    names = _names(found, id_column)
    labels = _labels(found, labels_column)
    columns = {} if labels is None else {LABELS_COLUMN: labels}
    columns |= {one: _column(found, one, "") for one in _KEPT if one in found.table.column_names}
    keywords = (opening or Opening()).keywords
    with (
        atomic_folder(out) as folder,
        open_scene(product, sentinel1=sentinel1, **keywords) as scene,
    ):
        spots, left_out = _spots(found, names, scene.grid, size // GRID_METRES, within=within)
        # Those that lie in the same tiles of the files come one after the other.
        order = sorted(spots, key=lambda s: (s.top // _BLOCK, s.left // _BLOCK, s.top, s.left))
        pixels, done = size // GRID_METRES, set()
        for number, spot in enumerate(order):
            reason = _cut_one(scene, spot, pixels, max_bad, folder)
            if reason is None:
                done.add(spot.name)
            else:
                left_out[spot.name] = reason
            if progress is not None:
                progress(number + 1, len(order))
        written = [spot for spot in spots if spot.name in done]
        if not written:
            first = next(iter(left_out.items()), (found.name, "it gives no patch"))
            raise AreaError(
                f"No patch of {found.name} can be cut out of {scene.name}: {len(left_out)} were "
                f"left out, the first one {first[0]}: {first[1]}. Choose another scene, a smaller "
                "--size, a higher --max-bad, or leave --within out."
            )
        about = _about(scene)
        _write_table(folder, written, columns, scene.grid, pixels)
        result = CutPatches(Path(out), tuple(spot.name for spot in written), left_out, about)
        told = {
            "reben_version": version("reben"), "product": scene.name, **about,
            "size_metres": size, "max_bad": max_bad, "num_patches": len(written),
            "left_out": left_out,
        }  # fmt: skip
        write_text(folder / "cut.json", json.dumps(told, indent=1, ensure_ascii=False) + "\n")
    return result


def _about(scene: Scene) -> dict[str, str]:
    known = {key: str(text) for key, text in scene.about.items()}
    sensed = known.get("sensing_time") or scene.name, known.get("sentinel1_sensing_time")
    return {**known, "attribution": copernicus_notice(filter(None, sensed))}


def _names(features: Features, column: str | None) -> list[str]:
    """Return what the patches of each feature are called."""
    if column is None:
        stem = Path(features.name).stem.replace(" ", "_") or "patch"
        return [f"{stem}_{number + 1}" for number in range(len(features.geometries))]
    names = [str(value).strip() for value in _column(features, column, "--id")]
    seen: set[str] = set()
    for number, name in enumerate(names, 1):
        fault = None
        if name in ("", "None") or name.startswith(".") or not name.isprintable():
            fault = "is no name of a folder"
        elif any(mark in name for mark in "/\\:") or len(name.encode()) > _LONGEST_NAME:
            fault = "cannot be the name of a folder: it is too long, or holds / \\ or :"
        elif name in seen:
            fault = "occurs twice"
        if fault:
            raise ConfigError(
                f"{column} of feature {number} of {features.name} is {name!r}, which {fault}. "
                "Correct it, name another column with --id, or leave --id out to number the "
                "patches."
            )
        seen.add(name)
    return names


def _labels(features: Features, column: str) -> list[str] | None:
    """Return the labels of each feature as text, separated by semicolons; None if it has none."""
    if column == LABELS_COLUMN and column not in features.table.column_names:
        return None
    values = _column(features, column, "--labels")
    lists = [value if isinstance(value, list) else [value] for value in values]
    return [";".join(str(one) for one in each if one is not None) for each in lists]


def _column(features: Features, name: str, flag: str) -> list[Any]:
    if name not in features.table.column_names:
        there = ", ".join(features.table.column_names) or "none"
        raise ConfigError(
            f"{features.name} has no column {name!r}; it has: {there}. Name one of them: {flag}"
        )
    found: pa.ChunkedArray = features.table.column(name)
    values: list[Any] = found.to_pylist()
    return values


def _spots(
    features: Features, names: Sequence[str], grid: Grid, pixels: int, *, within: bool
) -> tuple[list[_Spot], dict[str, str]]:
    """Return the patches to cut, and which features or patches are left out, and why."""
    module = shapely()
    spots: list[_Spot] = []
    left_out: dict[str, str] = {}
    degrees = np.array(features.in_crs(DEGREES).geometries, object)
    x, y = _outline(grid)
    # A place far from the scene may have no coordinates in its reference system.
    near = module.intersects(
        degrees, module.box(x.min() - 1, y.min() - 1, x.max() + 1, y.max() + 1)
    )
    shapes = np.full(len(degrees), None, object)
    shapes[near] = moved(degrees[near], DEGREES, grid.crs)
    for number, (name, shape) in enumerate(zip(names, shapes, strict=True)):
        corners = [] if shape is None else list(_corners(shape, grid, pixels, within=within))
        if not corners:
            left_out[name] = (
                "no patch of the grid lies within it"
                if within and shape is not None and module.box(*grid.bounds).intersects(shape)
                else "it lies outside the scene"
            )
        for position, (top, left) in enumerate(corners):
            patch = name if len(corners) == 1 else f"{name}_{position + 1}"
            if top < 0 or left < 0 or top + pixels > grid.height or left + pixels > grid.width:
                left_out[patch] = "it lies partly or wholly outside the scene"
            else:
                spots.append(_Spot(patch, number, top, left))
    twice = {spot.name for spot in spots}
    if len(twice) < len(spots):
        raise ConfigError(
            f"Patches of several features of {features.name} would have one name, such as "
            f"{min(twice)}. Name another column with --id, or leave --id out."
        )
    return spots, left_out


def _outline(grid: Grid) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    left, bottom, right, top = grid.bounds
    return to_degrees(grid.crs, [left, left, right, right], [bottom, top, bottom, top])


def _corners(shape: Any, grid: Grid, pixels: int, *, within: bool) -> Iterator[tuple[int, int]]:  # noqa: ANN401 - of shapely
    """Yield the upper left pixels of the patches of one geometry in the system of ``grid``."""
    module = shapely()
    for part in module.get_parts(shape) if "Point" in shape.geom_type else ():
        column = (part.x - grid.left) / grid.pixel[0] - pixels / 2
        row = (grid.top - part.y) / grid.pixel[1] - pixels / 2
        yield tuple(int(np.floor(s / GRID_MULTIPLE + 0.5)) * GRID_MULTIPLE for s in (row, column))  # type: ignore[misc]
    if "Point" in shape.geom_type:
        return
    # One more on each side, so that what lies beyond the edge is named.
    tops, lefts = (np.arange(-pixels, side, pixels) for side in (grid.height, grid.width))
    west, north = (
        grid.left + lefts[None, :] * grid.pixel[0],
        grid.top - tops[:, None] * grid.pixel[1],
    )
    east, south = west + pixels * grid.pixel[0], north - pixels * grid.pixel[1]
    inner = _TOUCH_METRES
    boxes = module.box(west + inner, south + inner, east - inner, north - inner)
    module.prepare(shape)
    chosen = module.covers(shape, boxes) if within else module.intersects(shape, boxes)
    for row, column in np.argwhere(chosen):
        yield int(tops[row]), int(lefts[column])


def _cut_one(scene: Scene, spot: _Spot, pixels: int, max_bad: float, folder: Path) -> str | None:
    """Write one patch, or return why it is left out."""
    part = scene.cut(spot.top, spot.left, pixels, pixels)
    bands = part.read(part.bands, 0, pixels)
    bad = float((part.read_mask(0, pixels) != GOOD).mean())
    if bad > max_bad:
        return f"{bad:.0%} of its pixels have no data, or are hidden by clouds or shadow"
    radar = [name for name in bands if sensor(name) == "Sentinel-1"]
    if bad and radar:  # where nothing was measured, a scene has the mean of the training data
        unknown = part.for_bands(radar).read_mask(0, pixels) != GOOD
        bands |= {name: np.where(unknown, np.float32(np.nan), bands[name]) for name in radar}
    for name, values in bands.items():
        place = folder / FOLDERS[sensor(name)] / spot.name
        place.mkdir(parents=True, exist_ok=True)
        _write_band(place / f"{spot.name}_{name}.tif", name, values, part.grid)
    return None


def _write_band(path: Path, name: str, values: NDArray[Any], grid: Grid) -> None:
    rasterio = import_rasterio()
    optical = sensor(name) == "Sentinel-2"
    if optical and values.dtype != np.uint16:
        values = np.rint(np.clip(values, 0, 65535)).astype(np.uint16)
    step = PATCH_PIXELS // native_size(name)
    across, down = grid.pixel
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        width=values.shape[1],
        height=values.shape[0],
        count=1,
        dtype=values.dtype,
        crs=grid.crs,
        transform=rasterio.Affine(across * step, 0, grid.left, 0, -down * step, grid.top),
        nodata=0 if optical else None,
    ) as file:
        file.write(values, 1)


def _write_table(
    folder: Path,
    spots: Sequence[_Spot],
    columns: Mapping[str, Sequence[Any]],
    grid: Grid,
    pixels: int,
) -> None:
    """Write names, columns of the features, and outlines in degrees."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["patch_id", *columns, "geometry"])
    for spot in spots:
        ends = spot.left + pixels, spot.top + pixels
        corners = [(spot.left, spot.top), (spot.left, ends[1]), ends, (ends[0], spot.top)]
        longitudes, latitudes = to_degrees(
            grid.crs, *np.transpose([grid.point(*corner) for corner in (*corners, corners[0])])
        )
        ring = ", ".join(f"{x:.7f} {y:.7f}" for x, y in zip(longitudes, latitudes, strict=True))
        told = (values[spot.feature] for values in columns.values())
        writer.writerow([spot.name, *told, f"POLYGON (({ring}))"])
    write_text(
        folder / ("labels.csv" if LABELS_COLUMN in columns else "patches.csv"), text.getvalue()
    )
