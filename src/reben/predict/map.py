"""Several products to one map: tiles of a day joined, several days composited, tile by tile.

The map has cells of 1200 m at multiples of 1200 m from the origin of each zone. It is done in tiles
of 50 x 50 cells; those that are finished are kept beside the output until it is whole.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import closing, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

from reben.data.vector.areas import AreaLike, read_area
from reben.errors import ConfigError, SceneError
from reben.model.config import ModelConfig
from reben.model.folder import find_model
from reben.model.open import ModelLike, name_of
from reben.predict.mapping.products import Product, look_at, sources_of
from reben.predict.mapping.tiles import COMPOSITES, Composite
from reben.predict.mapping.work import MapWork
from reben.predict.outputs.cog import require_rasterio
from reben.predict.resume import MapProgress
from reben.predict.scene import require_possible
from reben.predict.scene_settings import SceneOptions, ScenePrediction
from reben.predict.scene_work import Progress, SceneOutputs
from reben.predict.sharing import cluster_of, load_model, share_cores, shared_model
from reben.scene.opening import Opening
from reben.spec.patches import PATCH_METRES
from reben.support.numbers import require_whole
from reben.support.processes import run_tasks

logger = logging.getLogger(__name__)

_SHOWN = 5


def predict_map(  # noqa: PLR0913 - all after the third are named
    model: ModelLike,
    products: Iterable[Any],
    out: str | Path,
    *,
    aoi: AreaLike | None = None,
    composite: Composite = "median",
    table: str | Path | None = None,
    quicklook: str | Path | None = None,
    datetime: str | None = None,
    max_cloud: float | None = None,
    collection: str | None = None,
    options: SceneOptions | None = None,
    num_workers: int = 1,
    dask: str | None = None,
    executor: Executor | None = None,
    progress: Progress | None = None,
) -> tuple[ScenePrediction, ...]:
    """Predict several Sentinel-2 products into one map, and return what came of each zone.

    Products of one day are joined; of several days, ``composite`` says how they become one. A call
    that was killed goes on where it was if it is made again.

    Args:
        model: Whatever `reben.open_model` takes, for Sentinel-2 bands.
        products: Products as for `reben.predict_scene`, STAC items, collections or searches of
            them, or the address of a STAC API.
        out: The GeoTIFF to write. Products of several UTM zones become one file each:
            ``map_32632.tif``, ``map_32633.tif``; tables and pictures alike.
        aoi: An area of interest: a file, WKT or a box in degrees, as for `reben.predict_scene`.
        composite: ``median``: each pixel and band has the median of its clear looks. ``scores``:
            each day is predicted by itself, and a cell has the mean of the scores, weighted by
            clear pixels.
        table: Also write a table of windows, with how often each was seen clearly.
        quicklook: Also draw a PNG.
        datetime: Of STAC items, the days that are wanted: ``2023-06-01/2023-08-31``.
        max_cloud: Of STAC items, the largest cloud cover in percent.
        collection: Of STAC items, their collection.
        options: How products are opened and windows predicted; its area, table and picture are not
            used.
        num_workers: How many processes share the tiles here; with 1 it is this one.
        dask: Address of the scheduler of a Dask cluster, as for `reben.predict_scenes`.
        executor: Any executor that does the tiles instead; it stays open.
        progress: Called with how many windows are done, and how many there are.

    Raises:
        ConfigError: If a setting cannot be, or an earlier run began the output with others.
        AreaError: If the area cannot be used, or touches no product.
        BandsMismatchError: If the model needs Sentinel-1.
        ProductError: If a product cannot be used, or not be joined to the others.
        SceneError: If tiles failed; the others are kept. Or if the cluster cannot be reached.
        OutputError: If an output is there already, cannot be written, or another run writes it.
    """
    require_rasterio("Predicting a map")
    require_whole("num_workers", num_workers)
    options, out = options or SceneOptions(), Path(out)
    opening = Opening.of(options)
    _check(options, opening, composite)
    outputs = SceneOutputs(
        out,
        None if table is None else Path(table),
        None if quicklook is None else Path(quicklook),
    )
    require_possible(outputs, (), overwrite=options.overwrite)
    area = None if aoi is None else read_area(aoi)
    query = {"datetime": datetime, "max_cloud": max_cloud, "collection": collection}
    sources = sources_of(products, area, query)
    load_model.cache_clear()  # the folder may hold another model than at the last call
    alone = num_workers == 1 and dask is None and executor is None
    options = options if alone else options.settled()
    with (
        shared_model(model, out.absolute().parent, alone=alone) as place,
        nullcontext(executor) if dask is None else cluster_of(dask) as elsewhere,
        MapProgress(out).held(),
    ):
        share = partial(_share, num_workers=num_workers, executor=elsewhere, alone=alone)
        config = find_model(place).config if isinstance(place, str) else place.config
        _refuse_radar(config)
        look = partial(_look_at, opening=opening, bands=config.bands.names)
        found = dict(share(look, list(enumerate(sources)), "products"))
        classifier, fingerprint = load_model(place, options.device)
        work = MapWork(
            [found[number] for number in sorted(found)],
            area,
            outputs,
            options,
            composite,
            (place, name_of(model), classifier, fingerprint),
        )
        return work.run(share, progress)


def _check(options: SceneOptions, opening: Opening, composite: str) -> None:
    if composite not in COMPOSITES:
        raise ConfigError(
            f"Days cannot be composited by {composite!r}. Choose {' or '.join(COMPOSITES)}."
        )
    if options.settings.stride != PATCH_METRES:
        raise ConfigError(
            f"A map of several products has cells of {PATCH_METRES} m, and the stride is "
            f"{options.settings.stride} m. Leave it out, or predict single scenes."
        )
    radar = [name for name in opening.given if name.startswith("sentinel1")]
    if radar:
        raise ConfigError(
            f"{', '.join(radar)} says what Sentinel-1 products are, and a map of several products "
            "is made of Sentinel-2 alone. Leave it out, or predict single scenes."
        )


def _refuse_radar(model: ModelConfig) -> None:
    radar = [band for band in model.bands if band in ("VV", "VH")]
    if radar:
        raise ConfigError(
            f"The model needs {', '.join(radar)}, and a map of several products is made of "
            "Sentinel-2 alone. Choose a model of Sentinel-2 bands, or predict single scenes with "
            "their Sentinel-1 products: reben predict-scene MODEL PRODUCT --sentinel1 PRODUCT."
        )


def _look_at(
    numbered: tuple[int, Any], *, opening: Opening, bands: Sequence[str]
) -> Iterator[tuple[int, Product]]:
    number, source = numbered
    yield number, look_at(source, opening, bands)


def _share(
    function: Callable[[Any], Iterator[Any]],
    tasks: Sequence[Any],
    what: str,
    *,
    num_workers: int,
    executor: Executor | None,
    alone: bool,
) -> Iterator[Any]:
    """Yield what the tasks yield; raise a SceneError at the end if some failed."""
    if alone:
        for task in tasks:
            yield from function(task)
        return
    count = max(1, min(num_workers, len(tasks)))
    answers = run_tasks(
        function,
        tasks,
        num_processes=count,
        executor=executor,
        initializer=share_cores,
        initargs=(count,),
    )
    failed = []
    with closing(answers):
        for answer in answers:
            if answer.error is None:
                yield answer.value
            else:
                failed.append(f"{type(answer.error).__name__}: {answer.error}")
    if failed:
        more = f" And {len(failed) - _SHOWN} more." if len(failed) > _SHOWN else ""
        raise SceneError(
            f"{len(failed)} of {len(tasks)} {what} failed. The same command tries them again and "
            f"keeps the others. {' '.join(dict.fromkeys(failed[:_SHOWN]))}{more}"
        )
