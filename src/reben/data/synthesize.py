"""A synthetic data set of any size, file by file in the layout of BigEarthNet v2.0.

It is meant for testing code, not for training models of the Earth: places, images and labels are
invented. Labels follow from the reference maps by the data set's own rule, and images from the
maps, so a model can learn them. The same number and seed give the same files, byte for byte, with
the same versions of numpy, pyarrow and zlib.

Source: layout of the archives and tables in Zenodo record 10891137.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from reben.data.downloading.session import PARTS
from reben.data.metadata import MADE_UP_KEY, METADATA_FILE, SNOW_CLOUD_FILE
from reben.data.synthetic.ground import Landscape, Noise
from reben.data.synthetic.images import SyntheticImages, Weather
from reben.data.synthetic.sites import MOST_PATCHES, TILES, Site, plan_sites
from reben.data.tiff.write import GeoTransform, encode_geotiff
from reben.errors import ConfigError
from reben.spec.bands import PIXEL_METRES, sensor
from reben.spec.labels import labels_of_codes
from reben.spec.patches import PATCH_METRES, PATCH_PIXELS, SPLITS, reference_map_name
from reben.support.atomic import atomic_folder

LEAST_PATCHES = 6
"""The fewest that make three splits of different places."""

_SCHEMA = pa.schema(
    {
        "patch_id": pa.string(),
        "labels": pa.list_(pa.string()),
        "split": pa.string(),
        "country": pa.string(),
        "s1_name": pa.string(),
        "s2v1_name": pa.string(),
        "contains_seasonal_snow": pa.bool_(),
        "contains_cloud_or_shadow": pa.bool_(),
    },
    metadata={MADE_UP_KEY: b"reben synthesize"},
)
_COVERED_SHARE = 69_450 / 549_488
"""Share of patches with snow, cloud or shadow in the data set."""
_SNOWY_MONTHS = {11, 12, 1, 2, 3, 4}
_ON_LAND, _ON_DATE, _ON_PATCH, _WEATHER = 1, 2, 3, 4
"""What a random number is for: part of its seed, with place and seed of the data set."""


def synthesize(
    folder: str | Path,
    *,
    num_patches: int,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write a synthetic data set and return its folder.

    The folder gets BigEarthNet-S2, BigEarthNet-S1 and Reference_Maps with a GeoTIFF for each band
    and map, and the two metadata tables. It appears when everything is written.

    Args:
        folder: A new or empty folder.
        num_patches: Number of patch pairs, 6 or more; a pair takes about 0.32 MB.
        seed: Another seed gives another landscape. 0 or more.
        progress: Called after each patch with patches done and patches in all.

    Raises:
        ConfigError: If the number or the seed is out of range.
        OutputError: If the folder is not empty, or cannot be written.
    """
    if not LEAST_PATCHES <= num_patches <= MOST_PATCHES:
        raise ConfigError(
            f"num_patches must be {LEAST_PATCHES} (for three splits of different places) to "
            f"{MOST_PATCHES}, not {num_patches}."
        )
    if seed < 0:
        raise ConfigError(f"seed must be at least 0, not {seed}.")
    folder = Path(folder)
    rows: dict[Weather, list[dict[str, Any]]] = {"clear": [], "snow": [], "cloud": []}
    with atomic_folder(folder) as temporary:
        sites = plan_sites(num_patches, seed)
        weather = _plan_weather(sites, seed)
        patches = _make_patches(sites, weather, seed)
        for done, (site, codes, bands) in enumerate(patches, start=1):
            _write_patch(temporary, site, codes, bands)
            rows[weather[done - 1]].append(_row_of(site, codes, weather[done - 1]))
            if progress is not None:
                progress(done, num_patches)
        _write_table(temporary / METADATA_FILE, rows["clear"])
        _write_table(temporary / SNOW_CLOUD_FILE, rows["snow"] + rows["cloud"])
    return folder


def _make_patches(
    sites: Sequence[Site], weather: Sequence[Weather], seed: int
) -> Iterable[tuple[Site, NDArray[np.uint16], dict[str, NDArray[Any]]]]:
    """Yield each site with its map and bands, holding one landscape at a time."""
    pairs = zip(sites, weather, strict=True)
    for tile, of_tile in groupby(pairs, key=lambda pair: pair[0].tile):
        number = TILES.index(tile)
        land = Landscape(np.random.default_rng([seed, _ON_LAND, number]), tile.biome, tile.sea)
        for date, of_date in groupby(of_tile, key=lambda pair: pair[0].date):
            images: SyntheticImages | None = None
            for site, cover in of_date:
                month = site.sentinel2.acquired.month
                images = images or SyntheticImages(
                    np.random.default_rng([seed, _ON_DATE, number, date]),
                    land.num_regions,
                    month,
                    tile.biome,
                )
                key = [seed, _ON_PATCH, number, date, site.column, site.row]
                ground = land.ground(site.column, site.row)
                bands = images.measure(
                    ground, site.column, site.row, np.random.default_rng(key), cover
                )
                yield site, ground.codes, bands


def _plan_weather(sites: Sequence[Site], seed: int) -> list[Weather]:
    """Return the weather of each site: covered ones lie together, equally often in all splits."""
    fronts = [
        Noise(np.random.default_rng([seed, _WEATHER, number]), 5) for number in range(len(TILES))
    ]
    scores = np.empty(len(sites))
    for i, site in enumerate(sites):
        rows, columns = np.array([site.row + 100.0 * site.date]), np.array([float(site.column)])
        scores[i] = fronts[TILES.index(site.tile)].at(rows, columns)[0, 0]
        scores[i] += 1.2 * _may_snow(site)
    weather: list[Weather] = ["clear"] * len(sites)
    for split in SPLITS:
        members = [i for i, site in enumerate(sites) if site.split == split]
        worst = sorted(members, key=lambda i: scores[i], reverse=True)
        for i in worst[: round(_COVERED_SHARE * len(members))]:
            weather[i] = "snow" if _may_snow(sites[i]) else "cloud"
    return weather


def _may_snow(site: Site) -> bool:
    is_cold = site.tile.biome not in {"mediterranean", "atlantic"}
    return is_cold and site.sentinel2.acquired.month in _SNOWY_MONTHS


def _write_patch(
    folder: Path, site: Site, codes: NDArray[np.uint16], bands: dict[str, NDArray[Any]]
) -> None:
    sentinel2, sentinel1, bounds = site.sentinel2, site.sentinel1, site.sentinel2.bounds
    optical = folder / PARTS["s2"] / sentinel2.tile_name / sentinel2.name
    radar = folder / PARTS["s1"] / sentinel1.scene_name / sentinel1.name
    land = folder / PARTS["reference_maps"] / sentinel2.tile_name / sentinel2.name
    for new in (optical, radar, land):
        new.mkdir(parents=True)
    for name, pixels in bands.items():
        place = GeoTransform(bounds.left, bounds.top, PIXEL_METRES[name], bounds.epsg)
        is_radar = sensor(name) == "Sentinel-1"
        path = radar if is_radar else optical
        content = encode_geotiff(pixels, place, None if is_radar else 0)
        (path / f"{path.name}_{name}.tif").write_bytes(content)
    place = GeoTransform(bounds.left, bounds.top, PATCH_METRES // PATCH_PIXELS, bounds.epsg)
    content = encode_geotiff(codes, place, 0, deflate=True)
    (land / f"{reference_map_name(sentinel2.name)}.tif").write_bytes(content)


def _row_of(site: Site, codes: NDArray[np.uint16], weather: Weather) -> dict[str, Any]:
    sentinel2 = site.sentinel2
    return {
        "patch_id": sentinel2.name,
        "labels": list(labels_of_codes(np.unique(codes).tolist())),
        "split": site.split,
        "country": site.tile.country,
        "s1_name": site.sentinel1.name,
        "s2v1_name": (
            f"{sentinel2.satellite}_MSIL2A_{sentinel2.acquired:%Y%m%dT%H%M%S}"
            f"_{site.column}_{site.row}"
        ),
        "contains_seasonal_snow": weather == "snow",
        "contains_cloud_or_shadow": weather == "cloud",
    }


def _write_table(path: Path, rows: list[dict[str, Any]]) -> None:
    rows = sorted(rows, key=lambda row: row["patch_id"])
    pq.write_table(pa.Table.from_pylist(rows, schema=_SCHEMA), path)
