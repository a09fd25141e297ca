"""A whole scene, window by window: scores as a GeoTIFF, a table of windows, and a quick look.

What is finished is kept beside the output, so that the same call goes on after it was killed. The
output files appear when they are whole; the GeoTIFF is the last of them.
"""

import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from reben.data.patch_folders.multiband import Resample
from reben.data.vector.areas import AreaLike, read_area
from reben.errors import ConfigError, OutputError
from reben.model.engines.names import Engine
from reben.model.folder import find_model
from reben.model.open import ModelLike, as_classifier, name_of, open_model
from reben.predict.outputs.class_map import MapOptions, What
from reben.predict.outputs.cog import Dtype, require_dtype, require_rasterio
from reben.predict.resume import SceneProgress
from reben.predict.scene_settings import MAX_BAD, ScenePrediction, SceneSettings
from reben.predict.scene_work import Progress, SceneOutputs, SceneWork
from reben.predict.table_files import require_ending
from reben.scene.band_scene import Scene
from reben.scene.opening import Opening
from reben.scene.product import open_scene
from reben.spec.patches import PATCH_METRES

if TYPE_CHECKING:
    import torch

logger = logging.getLogger(__name__)


def predict_scene(  # noqa: PLR0913 - all after the third are named
    model: ModelLike,
    product: Any,  # noqa: ANN401 - whatever open_scene takes
    out: str | Path,
    *,
    stride: int = PATCH_METRES,
    max_bad: float = MAX_BAD,
    table: str | Path | None = None,
    quicklook: str | Path | None = None,
    dtype: Dtype = "float32",
    what: What = "scores",
    min_score: float = 0.0,
    measures: Sequence[str] = (),
    sentinel1: Any = None,  # noqa: ANN401 - whatever open_scene takes
    sentinel1_unit: Literal["db", "linear"] | None = None,
    sentinel1_quantity: Literal["sigma0", "gamma0", "beta0"] | None = None,
    boa_offset: float | None = None,
    trust_offset: bool = False,
    band_names: Sequence[str] | None = None,
    resample: Resample = "auto",
    reproject: bool = False,
    aoi: AreaLike | None = None,
    batch_size: int = 32,
    engine: Engine = "auto",
    device: "str | torch.device | None" = None,
    model_name: str | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> ScenePrediction:
    """Predict a whole scene, write the scores, and return what came of it.

    A call that was killed goes on where it was if it is made again.

    Args:
        model: Whatever `reben.open_model` takes.
        product: A Sentinel-2 product (folder, zip, STAC item, xarray Dataset), or one of Sentinel-1
            for a model of that alone, as `reben.scene.product.open_scene` takes it; or what that
            returned. None if ``sentinel1`` is the product.
        out: The GeoTIFF to write: a band for each label, a pixel for each cell of ``stride``
            metres, Cloud-Optimised.
        stride: Metres from one window to the next. Below 1200 windows overlap, and a cell gets the
            mean over those that cover it.
        max_bad: Share of bad pixels above which a window is left out, and a cell masked.
        table: Also write a table of windows; the ending says the format, mostly ``.parquet``.
        quicklook: Also draw a PNG: the scene in true colour beside the dominant class.
        dtype: How scores are stored: ``float32``, or ``uint8`` (score times 200, 255 no data).
        what: What the GeoTIFF holds: ``scores``, or ``classes``: one coloured band, the dominant
            class of each cell.
        min_score: Where the highest score is below it, the class is "uncertain".
        measures: Also write how certain cells are, into ``..._certainty.tif``: ``score`` (the
            highest), ``gap`` (to the second), ``entropy``, as `MEASURES` defines them.
        sentinel1: A Sentinel-1 product of the same place, for models that take both.
        sentinel1_unit: Whether its values are ``db`` or ``linear``, where it does not say.
        sentinel1_quantity: What they are, where it does not say.
        boa_offset: What is added to the digital numbers, where the product does not say.
        trust_offset: Whether to read pixels that contradict their offset all the same.
        band_names: Names of the bands of a GeoTIFF of several bands, if not those in it.
        resample: How bands that are stored with finer pixels than their own are brought to those.
        reproject: Whether to warp a product whose grid cannot be used to the UTM zone of its place.
        aoi: An area of interest: a file, WKT or a box in degrees, as
            `reben.data.vector.areas.read_area` takes it. Only windows that touch it are read and
            predicted, and written.
        batch_size: How many windows of a row go through the model at once, at most.
        engine: What computes scores on a CPU, see `reben.optimise_for_inference`.
        device: Where to compute, as for `reben.open_model`.
        model_name: What to call the model in the outputs; by default its run, folder or id.
        overwrite: Whether to replace outputs that are there, and parts made with other settings.
        progress: Called with how many windows are done, and how many there are.

    Raises:
        AreaError: If the area cannot be used, or touches no window of the scene.
        ConfigError: If a setting cannot be, or an earlier run began the output with others.
        ProductError: If the product cannot be used, or is smaller than a window.
        BandsMismatchError: If the product lacks bands of the model or of the quick look.
        PixelValueError: If values are in a wrong unit.
        OutputError: If an output is there already, cannot be written, or another run writes it.
        MissingExtraError: If rasterio is not installed.

    Warns:
        SuspiciousInputWarning: If most of the scene looks like a forgotten BOA offset, or like VV
            and VH swapped.
    """
    require_rasterio("Predicting a scene")
    settings = SceneSettings(
        stride,
        max_bad,
        require_dtype(dtype),
        batch_size,
        MapOptions(what, min_score, tuple(measures)),
        engine,
    )
    outputs = SceneOutputs(
        Path(out),
        None if table is None else Path(table),
        None if quicklook is None else Path(quicklook),
    )
    further = settings.map.beside(outputs.out)
    require_possible(outputs, further, overwrite=overwrite)
    area = None if aoi is None else read_area(aoi)
    model_name = name_of(model_name or model)
    own = as_classifier(model)
    if own is None:  # no more than looked at before the product is
        model = find_model(cast("str", model))
    config = cast("Any", own or model).config
    opening = Opening(
        boa_offset=boa_offset,
        trust_offset=trust_offset,
        sentinel1_unit=sentinel1_unit,
        sentinel1_quantity=sentinel1_quantity,
        band_names=None if band_names is None else tuple(band_names),
        resample=resample,
        reproject=reproject,
    )
    for read in (product, sentinel1):
        _refuse_product(read, (*outputs, *further))
    if None not in (sentinel1, product) and not config.bands.of_sensor("Sentinel-1"):
        logger.warning("%s uses no Sentinel-1 band: sentinel1 is not read.", model_name)
        sentinel1 = None
    with _opened(product, sentinel1, opening) as scene:
        classifier = open_model(model, "auto" if device is None else device)
        work = SceneWork(classifier, model_name, scene, settings, outputs, area)
        with SceneProgress(outputs.out).held():
            # Another run may have ended just now.
            require_possible(outputs, further, overwrite=overwrite)
            return work.run(overwrite=overwrite, progress=progress)


@contextmanager
def _opened(product: Any, sentinel1: Any, opening: Opening) -> Iterator[Scene]:  # noqa: ANN401
    """Yield the scene of a product, and close it; a scene that is open already stays so."""
    if not hasattr(product, "read_mask"):
        with open_scene(product, sentinel1=sentinel1, **opening.keywords) as scene:
            yield scene
        return
    given = [*([] if sentinel1 is None else ["sentinel1"]), *opening.given]
    if given:
        raise ConfigError(
            f"{', '.join(given)} belongs to opening a product, and this scene is open already. "
            "Pass it to open_scene."
        )
    yield product


def _refuse_product(product: Any, outputs: Iterable[Path | None]) -> None:  # noqa: ANN401
    """Refuse to write over what is read."""
    if not isinstance(product, str | Path) or not _exists(product):
        return
    read = Path(product).resolve()
    for path in outputs:
        if path is not None and _exists(path) and read in (path.resolve(), *path.resolve().parents):
            raise ConfigError(f"{path} is the product, or a file of it. Name another output.")


def _exists(path: str | Path) -> bool:
    return os.path.exists(path)  # noqa: PTH110 - no error for names that no file can have


def require_possible(outputs: SceneOutputs, further: Iterable[Path], *, overwrite: bool) -> None:
    """Refuse endings of no format, and outputs that are there unless unfinished parts are too."""
    if outputs.table is not None:
        require_ending(outputs.table.suffix)
    for path, endings in ((outputs.out, (".tif", ".tiff")), (outputs.quicklook, (".png",))):
        if path is not None and path.suffix.lower() not in endings:
            raise ConfigError(f"{path} cannot be written: call it ...{endings[0]}.")
    there = [str(path) for path in (*outputs, *further) if path is not None and _exists(path)]
    if there and not overwrite and not SceneProgress(outputs.out).exists:
        raise OutputError(
            f"{', '.join(there)} is there already. Nothing was changed. Overwrite it, or choose "
            "another name."
        )
