"""The products of a map: what they are, looked at once before any of them is predicted."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reben.data.vector.areas import Area
from reben.errors import ConfigError, GridError
from reben.predict.mapping.zones import first_on_cells
from reben.scene.grid import GRID_METRES, GRID_MULTIPLE, Grid
from reben.scene.opening import Opening
from reben.scene.product import open_scene
from reben.scene.search import is_stac, items_of
from reben.support.times import copernicus_notice, time_in

UNDATED = "unknown"
"""The day of products that do not tell theirs."""


@dataclass(frozen=True)
class Product:
    """A product of a map."""

    source: Any
    """What `open_scene` takes: a path, or a STAC item."""
    name: str
    grid: Grid
    day: str
    """When it was acquired, ``2023-08-21``, or `UNDATED`."""
    bands: tuple[str, ...]
    about: Mapping[str, str]
    pixels: str
    """Fingerprint of its pixels."""


def sources_of(items: Iterable[Any], area: Area | None, query: Mapping[str, Any]) -> list[Any]:
    """Return what is to be opened: paths as they are, STAC items of an area one by one.

    ``items`` are products, STAC items, collections of these, or the address of a STAC API; the
    query is ``datetime``, ``max_cloud`` and ``collection`` of `items_of`, None for any.
    """
    found: list[Any] = []
    asked = False
    for item in [items] if isinstance(items, str | Path | Mapping) else items:
        if not is_stac(item):
            found.append(item)
            continue
        asked = True
        bbox = None if area is None else area.bounds_degrees
        found += items_of(item, bbox=bbox, **query)
    given = [f"{name} (--{name.replace('_', '-')})" for name in query if query[name] is not None]
    if given and not asked:
        raise ConfigError(
            f"{', '.join(given)} would choose among STAC items, and none is named. Leave it out, "
            "and name the products that are wanted."
        )
    if not found:
        raise ConfigError("There is no product to predict. Name at least one.")
    return found


def look_at(source: Any, opening: Opening, bands: Sequence[str]) -> Product:  # noqa: ANN401
    """Return what a product is.

    Raises:
        GridError: If its pixels do not lie on the grid that all products of a zone share.
        MissingBandError: If it lacks a band.
    """
    with open_scene(source, **opening.keywords) as scene:
        scene.require(bands)
        grid = scene.grid
        first = first_on_cells(grid)
        try:
            _ = first and scene.cut(*first, GRID_MULTIPLE, GRID_MULTIPLE)
        except GridError:
            first = None  # 20 or 60 m pixels begin elsewhere
        if first is None:
            is_file = isinstance(source, str | Path) and Path(source).is_file()
            file = source if is_file else "IN.tif"
            raise GridError(
                f"{scene.name} begins at {grid.left:.10g}, {grid.top:.10g} with pixels of "
                f"{grid.pixel[0]:g} m, and products are joined without resampling: those of one "
                f"zone share a grid whose pixels begin at multiples of their size ({GRID_METRES}, "
                f"20 or 60 m). Warp {'it' if is_file else 'each band'} to pixels of 10 m on that "
                f"grid: gdalwarp -tr 10 10 -tap -r near {file} "
                f"{Path(file).stem}_on_grid.tif, or predict it by itself: reben predict-scene."
            )
        when = time_in((scene.about.get("sensing_time", ""), scene.name))
        day = UNDATED if when is None else f"{when:%Y-%m-%d}"
        about = {key: str(text) for key, text in scene.about.items()}
        return Product(source, scene.name, grid, day, scene.bands, about, scene.fingerprint(bands))


def require_each_once(products: Sequence[Product]) -> None:
    """Raise a ConfigError if a product is named twice."""
    counts = Counter((product.name, product.pixels) for product in products)
    twice = [name for (name, _), count in counts.items() if count > 1]
    if twice:
        raise ConfigError(f"{', '.join(twice)} is named more than once. Name each product once.")


def common_facts(products: Sequence[Product]) -> dict[str, str]:
    """Return what is known of all products; where they differ, all values."""
    keys = dict.fromkeys(key for product in products for key in product.about)
    sensed = [product.about.get("sensing_time") or product.name for product in products]
    values = {
        key: sorted({product.about[key] for product in products if key in product.about})
        for key in keys
    }
    facts = {key: "; ".join(found) for key, found in values.items() if key != "sensing_time"}
    return {**facts, "attribution": copernicus_notice(sensed)}
