"""The verb that runs models on whole Sentinel scenes: predict-scene."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from reben.app.flags import AsJson, AtLeastOne, Share, Switch, formerly
from reben.app.terminal import print_json, print_table, print_text, progress_bar, talk
from reben.errors import ConfigError, SceneError
from reben.model.engines.names import Engine

if TYPE_CHECKING:
    from reben.predict.scene_settings import SceneOutcome, ScenePrediction, SceneSettings
    from reben.scene.opening import Opening

_Dtype = Literal["float32", "uint8"]
_What = Literal["scores", "classes"]
_Unit = Literal["db", "linear"]
_Resample = Literal["auto", "exact", "mean", "centre"]
_Quantity = Literal["sigma0", "gamma0", "beta0"]
_SHOWN = 8


@Parameter(name="*")
@dataclass(frozen=True)
class OpeningFlags:
    """How products are opened, where they do not say it themselves."""

    sentinel1_unit: _Unit | None = None
    """Unit of the Sentinel-1 values, where the product does not say."""
    sentinel1_quantity: _Quantity | None = None
    """What the Sentinel-1 values are, where the product does not say."""
    boa_offset: float | None = None
    """What is added to digital numbers, such as -1000, where the product does not say."""
    band_names: str | None = None
    """Names of the bands of a GeoTIFF of several bands in its order, separated by commas; - for one
    to skip. Default: the descriptions in the file."""
    resample: _Resample = "auto"
    """How 20 m and 60 m bands that are stored at 10 m get their own pixels back: auto takes them
    where pixels are repeated and else their mean, and says so; exact refuses other than repeats;
    mean; centre."""
    reproject: Switch = False
    """Warp a product whose reference system does not measure the ground, or whose pixels are not
    of 10, 20 and 60 m, to the UTM zone of its place while it is read."""
    trust_offset: Switch = False
    """Read pixels that contradict their offset all the same."""

    @property
    def opening(self) -> "Opening":
        """How products are opened."""
        from reben.scene.opening import Opening

        names = None if self.band_names is None else tuple(self.band_names.split(","))
        return Opening.of(self, band_names=names)


@Parameter(name="*")
@dataclass(frozen=True)
class SceneFlags(OpeningFlags):
    """How scenes are predicted."""

    stride: int = 1200
    """Metres from one window to the next: 1200, or less for windows that overlap (a divisor of
    1200 and a multiple of 60). It is the size of a pixel of the result, too."""
    max_bad: Share = 0.25
    """Share of pixels without data, under clouds or in shadow above which a window is left out."""
    dtype: _Dtype = "float32"
    """How scores are stored; as uint8 they are times 200."""
    what: _What = "scores"
    """What the GeoTIFF holds: scores, a band for each class, or classes: one coloured band with the
    dominant class, as GIS programs open it."""
    min_score: Share = 0.0
    """With --what classes: below it, the highest score makes the class "uncertain"."""
    measures: Annotated[str | None, Parameter(name="--with")] = None
    """Also write how certain cells are, into ..._certainty.tif: score (the highest), gap (to the
    second), entropy, separated by commas."""
    aoi: str | None = None
    """Area of interest: a file (GeoJSON, GeoPackage, shapefile, WKT). Only windows that touch it
    are read, predicted and written."""
    bbox: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None
    """The same as a box in degrees: west,south,east,north."""
    bands: str | None = None
    """Bands of the model in their order, for a published model whose name does not say."""
    device: str = "auto"
    """Where to compute: auto (an accelerator if there is one, else the CPU), cpu, cuda, cuda:1,
    mps."""
    engine: Engine = "auto"
    """What computes on a CPU: auto (the quickest one, measured if the work is long), eager,
    optimised, compiled, onnx, openvino."""
    batch_size: AtLeastOne = 32
    """Windows that go through the network together."""
    overwrite: Switch = False
    """Replace outputs that are there."""

    @property
    def settings(self) -> "SceneSettings":
        """How windows are predicted and scores written."""
        from reben.predict.outputs.class_map import MapOptions
        from reben.predict.scene_settings import SceneSettings

        options = MapOptions(self.what, self.min_score, self.wanted_measures)
        return SceneSettings(
            self.stride, self.max_bad, self.dtype, self.batch_size, options, self.engine
        )

    @property
    def area(self) -> str | None:
        """The area of interest."""
        if self.aoi is not None and self.bbox is not None:
            raise ConfigError("--aoi and --bbox both name an area. Give one of them.")
        return self.aoi if self.bbox is None else self.bbox

    @property
    def wanted_measures(self) -> tuple[str, ...]:
        """The measures of certainty, one by one."""
        return tuple(name.strip() for name in (self.measures or "").split(",") if name.strip())


@Parameter(name="*")
@dataclass(frozen=True)
class SearchFlags:
    """Which item, where the product is a STAC API or a collection of items."""

    datetime: str | None = None
    """Day or time of the item: 2023-08-21, 2023-08, or 2023-06-01/2023-08-31."""
    max_cloud: float | None = None
    """Largest cloud cover of the item, in percent."""
    collection: str | None = None
    """Collection of the item, such as sentinel-2-l2a."""

    def item(self, product: str, area: str | None) -> dict[str, Any] | str:
        """Return the only STAC item of a product; a product of another kind as it is."""
        from reben.data.vector.areas import read_area
        from reben.scene.search import is_stac, only_item

        given = {key: value for key, value in vars(self).items() if value is not None}
        if not is_stac(product):
            if given:
                flags = ", ".join(f"--{key.replace('_', '-')}" for key in given)
                raise ConfigError(
                    f"{flags}: chooses among STAC items, and {product} holds none. Leave it out."
                )
            return product
        box = None if area is None else read_area(area).bounds_degrees
        return only_item(product, bbox=box, **given)


@Parameter(name="*")
@dataclass(frozen=True)
class ManyFlags:
    """Many scenes instead of one."""

    list_file: Annotated[Path | None, Parameter(name="--list")] = None
    """File with one product on a line; behind tabs may stand its Sentinel-1 product and its
    offset: boa_offset=-1000."""
    out_dir: Path | None = None
    """Folder for the outputs of --list, each called like its product."""
    processes: Annotated[AtLeastOne, formerly("--workers")] = 1
    """Processes of this machine that share the scenes of --list."""
    dask: str | None = None
    """Address of a Dask scheduler whose workers do the scenes of --list."""


_NO_FLAGS, _NO_SEARCH, _NOT_MANY = SceneFlags(), SearchFlags(), ManyFlags()


def predict_scene(  # noqa: PLR0913 - all but the first two are flags
    model: str,
    product: str | None = None,
    /,
    *,
    out: Path | None = None,
    table: Path | None = None,
    quicklook: Path | None = None,
    sentinel1: str | None = None,
    scene: SceneFlags = _NO_FLAGS,
    search: SearchFlags = _NO_SEARCH,
    many: ManyFlags = _NOT_MANY,
    as_json: AsJson = False,
) -> None:
    """Predict a whole Sentinel scene into a GeoTIFF of scores or of classes.

    Repeat an interrupted command to continue it. With --list, finished scenes are skipped, and
    those that fail are named at the end, after the others are done.

    Args:
        model: A run folder, a model folder, or the name of a model on the Hub.
        product: A Sentinel-2 L2A product: a .SAFE folder or a zip of one, a folder with a file for
            each band, a GeoTIFF of several bands, a STAC item or a collection of items (file or
            address; FILE#ID names one), or the address of a STAC API. For a model of Sentinel-1
            alone, a Sentinel-1 product.
        out: The Cloud-Optimised GeoTIFF to write.
        table: Also write a table with a row for each window (.parquet, .gpkg, .geojson, .csv,
            .jsonl).
            With --list, the ending of the tables' names.
        quicklook: Also draw a PNG: true colour beside the dominant class. With --list, the ending
            of the pictures' names.
        sentinel1: A Sentinel-1 product of the same place, for models that take both: a folder with
            files named by VV and VH, a GeoTIFF of both, or a STAC item.
        scene: How scenes are predicted.
        search: Which item, where the product is a STAC API or a collection of items.
        many: Many scenes instead of one.
        as_json: Write the result as JSON.
    """
    if many.list_file is not None:
        given = (product, out, sentinel1)
        if given != (None, None, None) or search != _NO_SEARCH:
            raise ConfigError(
                "--list names the products and --out-dir the outputs: leave PRODUCT, --out, "
                "--sentinel1, --datetime, --max-cloud and --collection out."
            )
        _predict_many(model, many, table, quicklook, scene, as_json=as_json)
        return
    if (product is None and sentinel1 is None) or out is None:
        raise ConfigError("Name a product and --out FILE, or many with --list and --out-dir.")
    if many != _NOT_MANY:
        raise ConfigError("--out-dir, --processes and --dask belong to --list.")
    from reben.model.folder import find_model
    from reben.model.open import require_device_name
    from reben.predict.scene import predict_scene as predict

    require_device_name(scene.device)
    found_model = find_model(model, bands=scene.bands)
    try:
        with progress_bar("windows") as progress:
            found = predict(
                found_model,
                None if product is None else search.item(product, scene.area),
                out,
                stride=scene.stride,
                max_bad=scene.max_bad,
                table=table,
                quicklook=quicklook,
                dtype=scene.dtype,
                what=scene.what,
                min_score=scene.min_score,
                measures=scene.wanted_measures,
                sentinel1=sentinel1,
                **scene.opening.keywords,
                aoi=scene.area,
                batch_size=scene.batch_size,
                engine=scene.engine,
                device=scene.device,
                overwrite=scene.overwrite,
                progress=progress,
            )
    except KeyboardInterrupt:
        talk("What is finished is kept; the same command goes on from there.")
        raise
    print_scene(found, as_json=as_json)


def _predict_many(
    model: str,
    many: ManyFlags,
    table: Path | None,
    quicklook: Path | None,
    scene: SceneFlags,
    *,
    as_json: bool,
) -> None:
    from reben.predict.many import predict_scenes, read_list
    from reben.predict.scene_settings import SceneOptions

    if many.list_file is None or many.out_dir is None:
        raise ConfigError("--list needs --out-dir, the folder for the outputs.")
    if scene.bands is not None:
        raise ConfigError(
            "--bands cannot be used with --list. Save the model once with its bands: "
            "Classifier.from_pretrained(name, bands=...).save_pretrained(folder)."
        )
    options = SceneOptions(
        settings=scene.settings,
        table=None if table is None else str(table),
        quicklook=None if quicklook is None else str(quicklook),
        **scene.opening.keywords,
        aoi=scene.area,
        device=scene.device,
        overwrite=scene.overwrite,
    )
    with progress_bar("scenes") as progress:
        outcomes = predict_scenes(
            model,
            read_list(many.list_file),
            many.out_dir,
            options=options,
            num_workers=many.processes,
            dask=many.dask,
            progress=progress,
        )
    _print_many(outcomes, as_json=as_json)


def print_scene(found: "ScenePrediction", *, as_json: bool) -> None:
    """Print what came of a scene, or of a zone of a map."""
    if as_json:
        print_json(found.to_dict())
        return
    hidden = found.num_masked - found.num_no_data
    outside = f" in the area ({found.num_outside} outside)" if "area" in found.about else ""
    talk(
        f"{found.num_windows} windows{outside}, {found.num_masked} of them left out: "
        f"{found.num_no_data} for missing data, {hidden} for clouds, shadow or defects."
    )
    rows = [(label, f"{share:.1%}") for label, share in found.shares.items()]
    print_table(("dominant class", "of cells>"), rows[:_SHOWN])
    for path in (found.out, *found.beside, found.table, found.quicklook):
        if path is not None:
            print_text(str(path))


def _print_many(outcomes: "tuple[SceneOutcome, ...]", *, as_json: bool) -> None:
    if as_json:
        print_json([outcome.to_dict() for outcome in outcomes])
    else:
        rows = [(o.product, o.status, f"{o.seconds:.0f}") for o in outcomes]
        print_table(("product", "status", "seconds>"), rows)
    failed = [outcome for outcome in outcomes if outcome.status == "failed"]
    if failed:
        listed = "; ".join(f"{outcome.product}: {outcome.reason}" for outcome in failed)
        raise SceneError(
            f"{len(failed)} of {len(outcomes)} scenes failed. The same command tries them again, "
            f"and skips the others. {listed}"
        )
