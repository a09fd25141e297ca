"""The verb that makes one map of many products: predict-map."""

from pathlib import Path
from typing import Literal

from reben.app.flags import AsJson, AtLeastOne
from reben.app.terminal import print_json, progress_bar, talk
from reben.app.verbs.scene import SceneFlags, SearchFlags, print_scene

_Composite = Literal["median", "scores"]
_NO_FLAGS, _NO_SEARCH = SceneFlags(), SearchFlags()


def predict_map(  # noqa: PLR0913 - all but the first two are flags
    model: str,
    products: list[str],
    /,
    *,
    out: Path,
    table: Path | None = None,
    quicklook: Path | None = None,
    composite: _Composite = "median",
    search: SearchFlags = _NO_SEARCH,
    scene: SceneFlags = _NO_FLAGS,
    processes: AtLeastOne = 1,
    dask: str | None = None,
    as_json: AsJson = False,
) -> None:
    """Predict several Sentinel-2 products into one map.

    Tiles of one day are joined, several days composited. Products of several UTM zones become one
    file each: map_32632.tif, map_32633.tif. Repeat an interrupted command to continue it.

    Args:
        model: A run folder, a model folder, or the name of a model on the Hub.
        products: Products as for predict-scene, STAC items or collections of them, or the address
            of a STAC API.
        out: The Cloud-Optimised GeoTIFF to write, with cells of 1200 m.
        table: Also write a table with a row for each window, and how often it was seen clearly.
        quicklook: Also draw a PNG: true colour beside the dominant class.
        composite: How several days become one map: median (of the clear pixels, band by band), or
            scores (each day is predicted; the mean of the scores, weighted by clear pixels).
        search: Which items, where a product is a STAC API or a collection of items.
        scene: How products are opened and predicted.
        processes: Processes of this machine that share the map's tiles of 60 km.
        dask: Address of a Dask scheduler whose workers do the tiles.
        as_json: Write the result as JSON.
    """
    from reben.model.open import open_model, require_device_name
    from reben.predict.map import predict_map as predict
    from reben.predict.scene_settings import SceneOptions

    require_device_name(scene.device)
    bands = scene.bands
    try:
        with progress_bar("windows") as progress:
            found = predict(
                model if bands is None else open_model(model, scene.device, bands=bands),
                products,
                out,
                aoi=scene.area,
                composite=composite,
                table=table,
                quicklook=quicklook,
                datetime=search.datetime,
                max_cloud=search.max_cloud,
                collection=search.collection,
                options=SceneOptions(
                    settings=scene.settings,
                    **scene.opening.keywords,
                    device=scene.device,
                    overwrite=scene.overwrite,
                ),
                num_workers=processes,
                dask=dask,
                progress=progress,
            )
    except KeyboardInterrupt:
        talk("What is finished is kept; the same command goes on from there.")
        raise
    if as_json:
        print_json([zone.to_dict() for zone in found])
        return
    for zone in found:
        print_scene(zone, as_json=False)
