"""A whole scene, window by window: scores as a GeoTIFF, a table of windows, and a quick look.

What is finished is kept beside the output, so that the same call goes on after it was killed. The
output files appear when they are whole; the GeoTIFF is the last of them.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from reben.data.files import atomic_file
from reben.errors import BandsMismatchError, ConfigError, OutputError
from reben.model.classifier import Classifier
from reben.scene.colours import colour_bands, shrink, shrink_factor, shrink_mask
from reben.scene.mosaic import Mosaic, put_together
from reben.scene.parts import Part, Parts
from reben.scene.product import Scene, open_scene
from reben.scene.quicklook import Picture, draw_quicklook
from reben.scene.raster import Dtype, require_dtype, require_rasterio, write_raster
from reben.scene.scoring import Scorer, fingerprint
from reben.scene.strips import Strip, StripReader, count_bad
from reben.scene.window_table import write_windows
from reben.scene.windows import Plan, require_stride
from reben.spec.patches import PATCH_METRES, PATCH_PIXELS

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

    Progress = Callable[[int, int], None]

MAX_BAD = 0.25
"""The share of bad pixels up to which a window is predicted. The data set left out patches of which
less than three quarters are labelled, so models have seen nothing worse."""


@dataclass(frozen=True)
class SceneSettings:
    """How a scene is predicted.

    Args:
        stride: Metres from one window to the next; divides 1200 and is a multiple of 60.
        max_bad: Share of bad pixels (no data, cloud, shadow) above which a window is left out, and
            a cell masked; 0 to 1.
        dtype: How the GeoTIFF stores scores: ``float32``, or ``uint8`` (times 200).
        batch_size: How many windows of a row go through the model at once, at most.

    Raises:
        ConfigError: If a value cannot be.
    """

    stride: int = PATCH_METRES
    max_bad: float = MAX_BAD
    dtype: Dtype = "float32"
    batch_size: int = 32

    def __post_init__(self) -> None:
        """Refuse values that cannot be."""
        require_stride(self.stride)
        require_dtype(self.dtype)
        if not 0 <= self.max_bad <= 1:
            raise ConfigError(f"max_bad is {self.max_bad}; it is a share, 0 to 1.")
        if self.batch_size < 1:
            raise ConfigError(f"A batch cannot have {self.batch_size} windows.")


@dataclass(frozen=True)
class ScenePrediction:
    """What came of a scene.

    Args:
        out: The GeoTIFF of scores.
        table: The table of windows, if one was asked for.
        quicklook: The picture, if one was asked for.
        product: Name of the product.
        num_windows: How many windows the scene has.
        num_masked: How many of them were left out for bad pixels.
        num_resumed: How many an earlier run had finished.
        shares: Label -> share of the cells with scores in which it has the highest, the largest
            share first; labels that have it nowhere are left out.
    """

    out: Path
    table: Path | None
    quicklook: Path | None
    product: str
    num_windows: int
    num_masked: int
    num_resumed: int
    shares: Mapping[str, float]

    def to_dict(self) -> dict[str, Any]:
        """Return all of it as JSON holds it."""
        paths = {
            name: None if (path := getattr(self, name)) is None else str(path)
            for name in ("out", "table", "quicklook")
        }
        return {**self.__dict__, **paths, "shares": dict(self.shares)}


def predict_scene(  # noqa: PLR0913 - all after the third are named
    model: Classifier | str | Path,
    product: Any,  # noqa: ANN401 - whatever open_scene takes
    out: str | Path,
    *,
    stride: int = PATCH_METRES,
    max_bad: float = MAX_BAD,
    table: str | Path | None = None,
    quicklook: str | Path | None = None,
    dtype: Dtype = "float32",
    sentinel1: Any = None,  # noqa: ANN401 - whatever open_scene takes
    sentinel1_unit: Literal["db", "linear"] | None = None,
    boa_offset: float | None = None,
    batch_size: int = 32,
    device: "str | torch.device | None" = None,
    model_name: str | None = None,
    overwrite: bool = False,
    progress: "Progress | None" = None,
) -> ScenePrediction:
    """Predict a whole scene, write the scores, and return what came of it.

    A call that was killed goes on where it was if it is made again.

    Args:
        model: A classifier, or where one is: a folder, or the id of a model on the Hub.
        product: A Sentinel-2 product (folder, zip, STAC item, xarray Dataset), as
            `reben.scene.product.open_scene` takes it; or what that returned.
        out: The GeoTIFF to write: a band for each label, a pixel for each cell of ``stride``
            metres, Cloud-Optimised.
        stride: Metres from one window to the next. Below 1200 windows overlap, and a cell gets the
            mean over those that cover it.
        max_bad: Share of bad pixels above which a window is left out, and a cell masked.
        table: Also write a table of windows; the ending says the format, mostly ``.parquet``.
        quicklook: Also draw a PNG: the scene in true colour beside the dominant class.
        dtype: How scores are stored: ``float32``, or ``uint8`` (score times 200, 255 no data).
        sentinel1: A Sentinel-1 product of the same place, for models that take both.
        sentinel1_unit: Whether its values are ``db`` or ``linear``, where it does not say.
        boa_offset: What is added to the digital numbers, where the product does not say.
        batch_size: How many windows of a row go through the model at once, at most.
        device: Where to compute; by default where the model is.
        model_name: What to call the model in the outputs, if ``model`` is a classifier.
        overwrite: Whether to replace outputs that are there, and parts made with other settings.
        progress: Called with how many windows are done, and how many there are.

    Raises:
        ConfigError: If a setting cannot be, or an earlier run began the output with others.
        ProductError: If the product cannot be used, or is smaller than a window.
        BandsMismatchError: If the product lacks bands of the model or of the quick look.
        PixelValueError: If values are in a wrong unit.
        OutputError: If an output is there already, or cannot be written.
        MissingExtraError: If rasterio is not installed.

    Warns:
        SuspiciousInputWarning: If most of the scene looks like a forgotten BOA offset, or like VV
            and VH swapped.
    """
    require_rasterio("Predicting a scene")
    settings = SceneSettings(stride, max_bad, require_dtype(dtype), batch_size)
    outputs = _Outputs(
        Path(out),
        None if table is None else Path(table),
        None if quicklook is None else Path(quicklook),
    )
    outputs.require_endings()
    outputs.require_free(overwrite=overwrite)
    if not isinstance(model, Classifier):
        model_name = str(model)
        model = Classifier.from_pretrained(model)
    if device is not None:
        model = model.to(device)
    opening = {"sentinel1": sentinel1, "sentinel1_unit": sentinel1_unit, "boa_offset": boa_offset}
    with _opened(product, opening) as scene:
        work = _Work(model, model_name, scene, settings, outputs)
        return work.run(overwrite=overwrite, progress=progress)


@dataclass(frozen=True)
class _Outputs:
    """The files to write."""

    out: Path
    table: Path | None
    quicklook: Path | None

    @property
    def parts(self) -> Parts:
        return Parts.of(self.out)

    def require_endings(self) -> None:
        """Refuse endings that name no format, before hours are spent."""
        if self.table is not None:
            from reben.scene.sinks import require_ending

            require_ending(self.table.suffix)
        for path, endings in ((self.out, (".tif", ".tiff")), (self.quicklook, (".png",))):
            if path is not None and path.suffix.lower() not in endings:
                raise ConfigError(f"{path} cannot be written: call it ...{endings[0]}.")

    def require_free(self, *, overwrite: bool) -> None:
        """Refuse outputs that are there, unless an unfinished run left parts of them too."""
        there = [
            str(path)
            for path in (self.out, self.table, self.quicklook)
            if path is not None and path.exists()
        ]
        if there and not overwrite and not self.parts.exist:
            raise OutputError(
                f"{', '.join(there)} is there already. Nothing was changed. Overwrite it, or "
                "choose another name."
            )


class _Work:
    """The prediction of one scene."""

    def __init__(
        self,
        model: Classifier,
        model_name: str | None,
        scene: Scene,
        settings: SceneSettings,
        outputs: _Outputs,
    ) -> None:
        _require_bands(model, scene)
        self.model = model
        self.model_name = model_name or f"{model.config.backbone} {model.bands.word}"
        self.fingerprint = fingerprint(model)
        self.scene = scene
        self.settings = settings
        self.outputs = outputs
        self.plan = Plan.of(scene.grid, settings.stride)
        self.colours = () if outputs.quicklook is None else colour_bands(scene.bands)
        self.factor = shrink_factor(scene.grid)

    def run(self, *, overwrite: bool, progress: "Progress | None") -> ScenePrediction:
        """Do what is not done yet, write the outputs, and remove the parts."""
        parts = self.outputs.parts
        parts.begin(self.made_with(), overwrite=overwrite)
        resumed = parts.finished(self.plan.rows.num_windows)
        self.score(parts, resumed, progress)
        mosaic = put_together(parts, self.plan, self.settings.max_bad)
        self.write(parts, mosaic)
        parts.discard()
        return ScenePrediction(
            **self.outputs.__dict__,
            product=self.scene.name,
            num_windows=self.plan.num_windows,
            num_masked=mosaic.num_masked_windows,
            num_resumed=len(resumed) * self.plan.columns.num_windows,
            shares=mosaic.shares(self.model.labels),
        )

    def made_with(self) -> dict[str, Any]:
        """Return everything that parts depend on."""
        grid = self.scene.grid
        return {
            "reben": version("reben"),
            "model": self.fingerprint,
            "product": self.scene.name,
            "grid": [grid.crs, grid.left, grid.top, grid.width, grid.height],
            # Where a product lies may change.
            "about": {
                key: str(text) for key, text in sorted(self.scene.about.items()) if key != "source"
            },
            "stride": self.settings.stride,
            "max_bad": self.settings.max_bad,
            "quicklook": list(self.colours),
        }

    def score(self, parts: Parts, resumed: list[int], progress: "Progress | None") -> None:
        """Score the rows of windows that are not done, and keep each as a part."""
        per_row, total = self.plan.columns.num_windows, self.plan.num_windows
        done = len(resumed) * per_row
        if progress is not None:
            progress(done, total)
        rows = [row for row in range(self.plan.rows.num_windows) if row not in set(resumed)]
        if not rows:
            return
        scorer = Scorer(self.model, self.settings.batch_size)
        bands = tuple(dict.fromkeys((*self.model.bands, *self.colours)))
        fill = dict.fromkeys(bands, 0.0) | dict(self.model.preprocess.statistics.mean)
        reader = StripReader(self.scene, bands, self.plan.rows, fill)
        for strip in reader.read_ahead(rows):
            parts.write(strip.row, self.part(strip, scorer))
            done += per_row
            if progress is not None:
                progress(done, total)
        scorer.end()

    def part(self, strip: Strip, scorer: Scorer) -> Part:
        """Return the part of one row of windows."""
        columns, num_labels = self.plan.columns, len(self.model.labels)
        lefts = [columns.start(window) for window in range(columns.num_windows)]
        edges = [(left, left + PATCH_PIXELS) for left in lefts]
        bad = count_bad(strip.mask, edges) / np.float32(PATCH_PIXELS**2)
        used = np.flatnonzero(bad <= self.settings.max_bad)
        scores = np.full((len(lefts), num_labels), np.nan, np.float32)
        scores[used] = scorer.score(strip.bands, [lefts[window] for window in used])
        fresh = strip.mask[-strip.num_fresh :]
        return Part(
            scores=scores,
            bad=bad.astype(np.float32),
            bad_of_cells=self.bad_of_cells(strip),
            colours=shrink(strip, self.colours, self.factor),
            kinds=shrink_mask(fresh, self.factor),
            counts=np.bincount(fresh.ravel(), minlength=3),
        )

    def bad_of_cells(self, strip: Strip) -> "np.typing.NDArray[np.float32]":
        """Return the share of bad pixels of the cells in the fresh rows of a strip."""
        rows, columns = self.plan.rows, self.plan.columns
        top = rows.start(strip.row)
        first = (top + PATCH_PIXELS - strip.num_fresh) // rows.stride
        edges = [columns.cell(number) for number in range(columns.num_cells)]
        widths = np.array([stop - start for start, stop in edges])
        shares = []
        for number in range(first, rows.cells_of(strip.row).stop):
            start, stop = rows.cell(number)
            bad = count_bad(strip.mask[start - top : stop - top], edges)
            shares.append(bad / (widths * (stop - start)))
        return np.array(shares, np.float32)

    def write(self, parts: Parts, mosaic: Mosaic) -> None:
        """Write all outputs, the GeoTIFF last."""
        if self.outputs.table is not None:
            write_windows(
                self.outputs.table,
                parts,
                plan=self.plan,
                grid=self.scene.grid,
                name=self.scene.name,
                labels=self.model.labels,
                thresholds=self.model.config.thresholds,
                about={
                    key: text
                    for key, text in self.tags(mosaic).items()
                    if key not in {"labels", "thresholds"}  # the table has them as lists
                },
            )
        if self.outputs.quicklook is not None:
            picture = draw_quicklook(
                Picture(mosaic, self.scene.grid, self.settings.stride, self.colours),
                labels=self.model.labels,
                product=self.scene.name,
                model=self.model_name,
            )
            with atomic_file(self.outputs.quicklook) as temporary:
                picture.save(temporary, format="PNG")
        write_raster(
            self.outputs.out,
            mosaic.scores,
            grid=self.scene.grid,
            stride_metres=self.settings.stride,
            labels=self.model.labels,
            dtype=self.settings.dtype,
            tags=self.tags(mosaic),
        )

    def tags(self, mosaic: Mosaic) -> dict[str, str]:
        """Return what the outputs say about themselves."""
        thresholds = [f"{threshold:g}" for threshold in self.model.config.thresholds]
        return {
            "reben_version": version("reben"),
            "model": self.model_name,
            "model_fingerprint": self.fingerprint,
            "bands": str(self.model.bands),
            "labels": "; ".join(self.model.labels),
            "thresholds": "; ".join(thresholds),
            "product": self.scene.name,
            **{key: str(text) for key, text in self.scene.about.items()},
            "stride": str(self.settings.stride),
            "max_bad": f"{self.settings.max_bad:g}",
            "num_windows": str(self.plan.num_windows),
            "num_masked": str(mosaic.num_masked_windows),
        }


@contextmanager
def _opened(product: Any, opening: Mapping[str, Any]) -> Iterator[Scene]:  # noqa: ANN401
    """Yield the scene of a product, and close it; a scene that is open already stays so."""
    if not hasattr(product, "read_mask"):
        with open_scene(product, **opening) as scene:
            yield scene
        return
    given = [key for key, value in opening.items() if value is not None]
    if given:
        raise ConfigError(
            f"{', '.join(given)} belongs to opening a product, and this scene is open already. "
            "Pass it to open_scene."
        )
    yield product


def _require_bands(model: Classifier, scene: Scene) -> None:
    missing = model.bands.missing_from(scene.bands)
    if missing:
        raise BandsMismatchError(
            f"The model needs {', '.join(missing)}; {scene.name} has {', '.join(scene.bands)}. "
            "Name the product that holds them too (sentinel1 for VV and VH), or choose a model "
            "for these."
        )
