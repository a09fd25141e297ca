"""One tile of a map is one task: its products opened, its cells scored, its part kept.

Axes: Y rows of cells, X columns of cells, K labels.
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from reben.model.engines.names import Engine
from reben.predict.mapping.pixels import RANKS, Layer, MapScene, layer_of
from reben.predict.mapping.products import Product
from reben.predict.mapping.zones import Zone
from reben.predict.resume import MapPart, MapProgress, ScenePart
from reben.predict.scene_settings import SceneSettings
from reben.predict.scene_work import SceneOutputs, SceneWork
from reben.predict.selection import Selection
from reben.predict.sharing import fast_model, load_model
from reben.predict.windows import Plan
from reben.scene.opening import Opening
from reben.scene.product import open_scene
from reben.support.quiet import quieter

if TYPE_CHECKING:
    from reben.model.classifier import Classifier

Composite = Literal["median", "scores"]
COMPOSITES: tuple[Composite, ...] = ("median", "scores")
"""How several days become one map: the median of clear pixels, or the mean of scores."""


@dataclass(frozen=True, eq=False)
class TileTask:
    """A tile of a map: its cells, the products that cover them, and how they are predicted.

    Its part is kept beside the map ``out``, under its number among all tiles. ``model`` is the
    model, or where it is; so many pixels as ``factor`` become one of the picture, 0 for none.
    """

    number: int
    out: Path
    model: "str | Classifier" = field(repr=False)
    device: str | None
    tile: Zone
    products: tuple[Product, ...] = field(repr=False)
    opening: Opening
    settings: SceneSettings
    composite: Composite
    factor: int

    @property
    def num_windows(self) -> int:
        """How many windows are predicted."""
        return int(self.tile.is_wanted.sum())


class _Rows(dict[int, ScenePart]):
    """Rows of cells of a tile, kept as the parts of a scene are."""

    def write(self, row: int, part: ScenePart) -> None:
        """Keep a row."""
        self[row] = part


def do_tile(task: TileTask) -> Iterator[int]:
    """Do a tile, keep its part, and yield how many windows it has."""
    classifier = _fast_model(task.model, task.device, task.settings.engine)
    # What is said of each product was said when they were looked at.
    with ExitStack() as stack, quieter("reben.scene", logging.ERROR):
        looks = _looks(task, stack)
        groups = [looks] if task.composite == "median" else [[look] for look in looks]
        parts = [_score(task, classifier, group) for group in groups]
    whole = parts[0] if len(parts) == 1 else mean_of(parts, task.settings.max_bad)
    MapProgress(task.out).write(task.number, whole)
    yield task.num_windows


@lru_cache(maxsize=1)
def _fast_model(model: "str | Classifier", device: str | None, engine: Engine) -> "Classifier":
    return fast_model(load_model(model, device)[0], engine, 0, 1)


def _looks(task: TileTask, stack: ExitStack) -> list[list[Layer]]:
    """Return the products of each day, opened; days in order."""
    by_day: dict[str, list[Layer]] = {}
    how = task.opening.keywords | {"trust_offset": True}  # held against the pixels before
    for product in task.products:
        scene = stack.enter_context(open_scene(product.source, **how))
        layer = layer_of(scene, task.tile.grid)
        if layer is not None:
            by_day.setdefault(product.day, []).append(layer)
    return [by_day[day] for day in sorted(by_day)]


def _score(task: TileTask, classifier: "Classifier", looks: Sequence[Sequence[Layer]]) -> MapPart:
    bands = task.products[0].bands
    scene = MapScene(f"tile {task.number}", task.tile.grid, bands, looks)
    picture = Path("tile.png") if task.factor else None
    pixels: Any = scene  # read as a scene is
    work = SceneWork(
        classifier,
        "",
        pixels,
        task.settings,
        SceneOutputs(task.out, None, picture),
        all_cells(task.tile),
    )
    work.factor = task.factor or 1
    rows = _Rows()
    work.score(rows, [], None)
    return stacked([rows[row] for row in sorted(rows)], scene)


def all_cells(tile: Zone) -> Selection:
    """Return the windows of a rectangle of cells."""
    place = (0, 0, tile.grid.height, tile.grid.width)
    return Selection(Plan.of(tile.grid), place, tile.is_wanted)


def stacked(rows: Sequence[ScenePart], scene: MapScene) -> MapPart:
    """Return rows of cells as one part."""
    of_windows, of_pixels = ("scores", "bad", "no_data"), ("bad_of_cells", "colours", "kinds")
    return MapPart(
        **{name: np.stack([getattr(row, name) for row in rows]) for name in of_windows},
        **{name: np.concatenate([getattr(row, name) for row in rows]) for name in of_pixels},
        counts=np.sum([row.counts for row in rows], axis=0),
        looks=scene.clear_looks,
    )


def mean_of(parts: Sequence[MapPart], max_bad: float) -> MapPart:
    """Return the mean scores of several looks, weighted by clear pixels; the rest of the best one.

    A look counts up to ``max_bad``, its share of bad pixels.
    """
    scores = np.stack([part.scores for part in parts])
    bad = np.stack([part.bad for part in parts])
    counts = ~np.isnan(scores[..., :1])
    weights = np.where(counts, 1 - bad[..., None], 0).astype(np.float32)
    # A look that is bad up to the limit of 1 may weigh nothing; then all that count are equal.
    weights = np.where(weights.sum(axis=0) > 0, weights, counts)
    total = weights.sum(axis=0)
    sums = (np.where(counts, scores, 0) * weights).sum(axis=0)
    mean = np.where(total > 0, sums / np.maximum(total, np.finfo(np.float32).tiny), np.nan)
    kinds = np.stack([part.kinds for part in parts])
    clearest = RANKS[kinds].argmin(axis=0)[None]
    colours = np.stack([part.colours for part in parts])
    return MapPart(
        scores=mean.astype(np.float32),
        bad=bad.min(axis=0),
        no_data=np.min([part.no_data for part in parts], axis=0),
        bad_of_cells=np.min([part.bad_of_cells for part in parts], axis=0),
        colours=np.take_along_axis(colours, clearest[..., None], axis=0)[0],
        kinds=np.take_along_axis(kinds, clearest, axis=0)[0],
        counts=np.max([part.counts for part in parts], axis=0),
        looks=np.sum([part.looks for part in parts], axis=0, dtype=np.float32),
    )
