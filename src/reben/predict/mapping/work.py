"""The prediction of a map whose products are known: tiles to parts, parts to files."""

import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np

from reben.data.vector.areas import Area
from reben.predict.mapping.pixels import MapScene
from reben.predict.mapping.products import UNDATED, Product, common_facts, require_each_once
from reben.predict.mapping.tiles import Composite, TileTask, all_cells, do_tile
from reben.predict.mapping.zones import TILE_CELLS, Zone, zones_of
from reben.predict.outputs.quicklook import colour_bands, shrink_factor
from reben.predict.resume import MapPart, MapProgress
from reben.predict.scene import require_possible
from reben.predict.scene_settings import SceneOptions, ScenePrediction
from reben.predict.scene_work import Progress, SceneOutputs, SceneWork
from reben.predict.selection import describe_area
from reben.predict.sharing import begin_on_engine, fast_model
from reben.predict.windows import Mosaic
from reben.scene.grid import Grid
from reben.scene.opening import Opening
from reben.spec.patches import PATCH_METRES, PATCH_PIXELS

if TYPE_CHECKING:
    from reben.model.classifier import Classifier

logger = logging.getLogger(__name__)

_MOST_PIXELS = 4000
"""Of the picture of the ground, along its longer side."""
_SHOWN = 5


class MapWork:
    """The prediction of a map whose products are known.

    The files of several zones get their names from ``outputs``. ``model`` is what tasks name it by,
    its name in outputs, itself, and its fingerprint.
    """

    def __init__(
        self,
        products: Sequence[Product],
        area: Area | None,
        outputs: SceneOutputs,
        options: SceneOptions,
        composite: Composite,
        model: "tuple[str | Classifier, str, Classifier, str]",
    ) -> None:
        require_each_once(products)
        self.products = sorted(products, key=lambda product: (product.day, product.name))
        self.area, self.outputs, self.options = area, outputs, options
        self.composite: Composite = composite
        self.place, self.model_name, self.model, self.fingerprint = model
        self.zones = zones_of([product.grid for product in products], area)
        self.bands = tuple(
            band for band in products[0].bands if all(band in one.bands for one in products)
        )
        self.parts = MapProgress(outputs.out)
        self.days = sorted({product.day for product in products})
        self._say()

    def run(
        self, share: Callable[..., Iterator[int]], progress: Progress | None
    ) -> tuple[ScenePrediction, ...]:
        """Do the tiles that are not done yet, write the outputs, and remove the parts."""
        files = [self.files_of(zone) for zone in self.zones]
        for outputs in files:
            further = self.options.settings.map.beside(outputs.out)
            require_possible(
                outputs, further, overwrite=self.options.overwrite or self.parts.exists
            )
        self.begin()
        numbers = count()
        by_zone = [self.tasks_of(zone, numbers) for zone in self.zones]
        tasks = [task for of_zone in by_zone for task in of_zone]
        resumed = set(self.parts.finished(len(tasks)))
        tell = progress or (lambda _done, _total: None)
        done = sum(task.num_windows for task in tasks if task.number in resumed)
        total = sum(task.num_windows for task in tasks)
        tell(done, total)
        rest = [task for task in tasks if task.number not in resumed]
        for num_windows in share(do_tile, rest, "tiles"):
            done += num_windows
            tell(done, total)
        written = tuple(
            self.write(zone, outputs, of_zone, resumed)
            for zone, outputs, of_zone in zip(self.zones, files, by_zone, strict=True)
        )
        self.parts.remove()
        return written

    def begin(self) -> None:
        """Begin or go on, on the engine that the map was begun with."""
        settings = self.options.settings
        num_windows = sum(int(zone.is_wanted.sum()) for zone in self.zones)
        begin = partial(self.parts.begin, replace=self.options.overwrite, kept=("engine",))
        make = partial(
            fast_model, self.model, num_patches=num_windows, batch_size=settings.batch_size
        )
        _, fast = begin_on_engine(begin, self.made_with(), make, settings.engine)
        self.options = replace(self.options, settings=replace(settings, engine=fast.engine))

    def files_of(self, zone: Zone) -> SceneOutputs:
        """Return the files of a zone: those that were asked for, if there is one zone only."""
        if len(self.zones) == 1:
            return self.outputs
        out, *others = (
            None if path is None else path.with_name(f"{path.stem}_{zone.code}{path.suffix}")
            for path in self.outputs
        )
        return SceneOutputs(out or self.outputs.out, *others)

    def tasks_of(self, zone: Zone, numbers: Iterator[int]) -> list[TileTask]:
        """Return one task for each tile of a zone, with the products that lie in it."""
        return [
            TileTask(
                next(numbers),
                self.outputs.out,
                self.place,
                self.options.device,
                tile,
                tuple(one for one in self.products if _overlaps(one.grid, tile.grid)),
                Opening.of(self.options),
                self.options.settings,
                self.composite,
                self.factor_of(zone.grid),
            )
            for tile in zone.tiles()
        ]

    def factor_of(self, grid: Grid) -> int:
        """Return how many pixels become one of the picture; 0 for no picture."""
        if self.outputs.quicklook is None:
            return 0
        longer = max(grid.width, grid.height)
        if longer <= _MOST_PIXELS * 6:
            return shrink_factor(grid)
        fitting = (one for one in (12, 24, 60, 120) if longer <= _MOST_PIXELS * one)
        return next(fitting, PATCH_PIXELS)

    def made_with(self) -> dict[str, Any]:
        """Return everything that the parts depend on."""
        facts = [
            [one.name, one.pixels, one.day, sorted(one.about.items()), list(one.grid.bounds)]
            for one in self.products
        ]
        return {
            "reben": version("reben"),
            "model": self.fingerprint,
            "num_products": len(self.products),
            "products": hashlib.sha256(json.dumps(facts).encode()).hexdigest(),
            "area": "" if self.area is None else self.area.digest,
            "composite": self.composite,
            "max_bad": self.options.settings.max_bad,
            "tile_cells": TILE_CELLS,
            "quicklook": self.outputs.quicklook is not None,
        }

    def write(
        self, zone: Zone, outputs: SceneOutputs, tasks: Sequence[TileTask], resumed: set[int]
    ) -> ScenePrediction:
        """Write the outputs of a zone, and return what came of it."""
        whole = self.whole_of(zone, tasks)
        products = [one for one in self.products if one.grid.crs == zone.grid.crs]
        days = sorted({product.day for product in products})
        seen = float(whole.looks[zone.is_wanted].mean())
        about = {
            **common_facts(products),
            "products": "; ".join(product.name for product in products),
            "days": "; ".join(days),
            "composite": self.composite if len(days) > 1 else "one day",
            "clear_looks": f"{seen:.3g} of {len(days)} in the mean",
            "cells": f"{PATCH_METRES} m, at multiples of it from the origin of {zone.grid.crs}",
            **({} if self.area is None else describe_area(self.area)),
        }
        scene: Any = MapScene(outputs.out.stem, zone.grid, self.bands, (), about)
        settings = self.options.settings
        work = SceneWork(self.model, self.model_name, scene, settings, outputs, all_cells(zone))
        is_left_out = np.isnan(whole.scores[..., 0])
        mosaic = Mosaic(
            scores=whole.scores,
            colours=whole.colours,
            kinds=whole.kinds,
            counts=whole.counts,
            num_masked_windows=int((is_left_out & ~np.isnan(whole.bad)).sum()),
            num_no_data_windows=int((whole.no_data > settings.max_bad).sum()),
        )
        work.write(_Rows(whole), mosaic)
        return ScenePrediction(
            *outputs,
            product=f"{len(products)} products",
            num_windows=int(zone.is_wanted.sum()),
            num_masked=mosaic.num_masked_windows,
            num_no_data=mosaic.num_no_data_windows,
            num_resumed=sum(task.num_windows for task in tasks if task.number in resumed),
            shares=mosaic.shares(self.model.labels),
            about=about,
            beside=settings.map.beside(outputs.out),
        )

    def whole_of(self, zone: Zone, tasks: Sequence[TileTask]) -> MapPart:
        """Return the tiles of a zone put together; what none covers is left out."""
        shape, num_labels = zone.is_wanted.shape, len(self.model.labels)
        factor = self.factor_of(zone.grid)
        per_cell = PATCH_PIXELS // factor if factor else 0
        pixels = shape[0] * per_cell, shape[1] * per_cell
        num_colours = len(colour_bands(self.bands)) if factor else 0
        whole = MapPart(
            scores=np.full((*shape, num_labels), np.nan, np.float32),
            bad=np.full(shape, np.nan, np.float32),
            no_data=np.full(shape, np.nan, np.float32),
            bad_of_cells=np.ones(shape, np.float32),
            colours=np.zeros((*pixels, num_colours), np.float32),
            kinds=np.ones(pixels, np.uint8),
            counts=np.zeros(3, np.int64),
            looks=np.zeros(shape, np.float32),
        )
        for task in tasks:
            part = self.parts.read(task.number)
            row, column = (a - b for a, b in zip(task.tile.first, zone.first, strict=True))
            height, width = task.tile.is_wanted.shape
            cells = slice(row, row + height), slice(column, column + width)
            for name in ("scores", "bad", "no_data", "bad_of_cells", "looks"):
                getattr(whole, name)[cells] = getattr(part, name)
            if factor:
                small = tuple(slice(c.start * per_cell, c.stop * per_cell) for c in cells)
                whole.colours[small], whole.kinds[small] = part.colours, part.kinds
            whole.counts[:] += part.counts
        return whole

    def _say(self) -> None:
        undated = [product.name for product in self.products if product.day == UNDATED]
        if undated and len(self.products) > 1:
            shown = ", ".join(undated[:_SHOWN]) + (", ..." if len(undated) > _SHOWN else "")
            logger.warning(
                "%d products do not tell their day and are taken as of one day: %s.",
                len(undated), shown,
            )  # fmt: skip
        if len(self.zones) > 1:
            logger.warning(
                "The products lie in %d zones, and the map is one file for each: %s.",
                len(self.zones), ", ".join(str(self.files_of(zone).out) for zone in self.zones),
            )  # fmt: skip


class _Rows:
    """The rows of a whole map, read as those of a scene are."""

    def __init__(self, whole: MapPart) -> None:
        self._whole = whole

    def read(self, row: int) -> MapPart:
        """Return a row of windows."""
        names = ("scores", "bad", "no_data", "looks")
        return replace(self._whole, **{name: getattr(self._whole, name)[row] for name in names})


def _overlaps(one: Grid, other: Grid) -> bool:
    if one.crs != other.crs:
        return False
    left, bottom, right, top = one.bounds
    west, south, east, north = other.bounds
    return left < east and west < right and bottom < north and south < top
