"""How scenes are predicted, one scene of a list as a task, and what came of each."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from reben.data.patch_folders.multiband import Resample
from reben.errors import ConfigError
from reben.model.engines.names import Engine
from reben.predict.outputs.class_map import MapOptions
from reben.predict.outputs.cog import Dtype, require_dtype
from reben.predict.windows import require_stride
from reben.scene.opening import Opening
from reben.scene.radar.backscatter import Quantity, Unit
from reben.spec.patches import PATCH_METRES
from reben.support.numbers import require_number, require_whole

if TYPE_CHECKING:
    from reben.model.classifier import Classifier

MAX_BAD = 0.25
"""The share of bad pixels up to which a window is predicted. The data set left out patches of which
less than three quarters are labelled, so models have seen nothing worse."""

Status = Literal["done", "skipped", "failed"]


@dataclass(frozen=True)
class SceneSettings:
    """How a scene is predicted.

    Args:
        stride: Metres from one window to the next; divides 1200 and is a multiple of 60.
        max_bad: Share of bad pixels (no data, cloud, shadow) above which a window is left out, and
            a cell masked; 0 to 1.
        dtype: How the GeoTIFF stores scores: ``float32``, or ``uint8`` (times 200).
        batch_size: How many windows of a row go through the model at once, at most.
        map: What the GeoTIFF holds.
        engine: What computes scores, see `reben.optimise_for_inference`. A call that goes on keeps
            the engine that it began with.

    Raises:
        ConfigError: If a value is out of its range.
    """

    stride: int = PATCH_METRES
    max_bad: float = MAX_BAD
    dtype: Dtype = "float32"
    batch_size: int = 32
    map: MapOptions = field(default_factory=MapOptions)
    engine: Engine = "auto"

    def __post_init__(self) -> None:
        """Refuse values out of their range."""
        require_stride(self.stride)
        require_dtype(self.dtype)
        require_number("max_bad", self.max_bad, 0, 1)
        require_whole("batch_size", self.batch_size)


@dataclass(frozen=True)
class ScenePrediction:
    """A scene that was predicted.

    Args:
        out: The GeoTIFF of scores or classes.
        table: The table of windows, if one was asked for.
        quicklook: The picture, if one was asked for.
        product: Name of the product.
        num_windows: How many windows the scene has, or its part in the area of interest.
        num_masked: How many of them were left out for bad pixels.
        num_resumed: How many an earlier run had finished.
        shares: Label -> share of the cells with scores in which it has the highest, the largest
            share first; labels that have it nowhere are left out.
        num_no_data: How many of the windows left out were so for pixels without data alone; the
            others for clouds, shadow and defects too.
        about: What is known of the product: its offset and the source of that, its mask, its
            Sentinel-1 quantity, its pixel size on the ground; of the area of interest; and the
            notice that its data ask for.
        beside: Further files that belong to the GeoTIFF: measures of certainty, names of classes.
        num_outside: How many windows of the scene lie outside that area.
    """

    out: Path
    table: Path | None
    quicklook: Path | None
    product: str
    num_windows: int
    num_masked: int
    num_resumed: int
    shares: Mapping[str, float]
    num_no_data: int = 0
    about: Mapping[str, str] = field(default_factory=dict)
    beside: tuple[Path, ...] = ()
    num_outside: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Return all fields as JSON holds them."""
        paths = {
            name: None if (path := getattr(self, name)) is None else str(path)
            for name in ("out", "table", "quicklook")
        }
        beside = [str(path) for path in self.beside]
        known = {"shares": dict(self.shares), "about": dict(self.about), "beside": beside}
        return {**self.__dict__, **paths, **known}


@dataclass(frozen=True)
class SceneOptions:
    """What holds for every scene of a list.

    Args:
        settings: How scenes are predicted.
        table: Ending of the names of the tables of windows, for example ``windows.parquet``;
            None for no tables.
        quicklook: Ending of the names of the quick looks, for example ``map.png``; None for none.
        sentinel1_unit: Whether Sentinel-1 values are ``db`` or ``linear``, where they do not say.
        boa_offset: What is added to digital numbers, where products do not say.
        device: Where to compute; by default an accelerator if there is one.
        overwrite: Whether to replace what is there.
        trust_offset: Whether to read pixels that contradict their offset all the same.
        sentinel1_quantity: What Sentinel-1 values are, where products do not say.
        band_names: Names of the bands of products that are GeoTIFFs of several bands.
        resample: How bands that are stored with finer pixels than their own are brought to those.
        reproject: Whether to warp products whose grid cannot be used.
        aoi: A file, WKT or box of the area of interest.

    Raises:
        ConfigError: If an ending names a folder.
    """

    settings: SceneSettings = field(default_factory=SceneSettings)
    table: str | None = None
    quicklook: str | None = None
    sentinel1_unit: Unit | None = None
    boa_offset: float | None = None
    device: str | None = None
    overwrite: bool = False
    trust_offset: bool = False
    sentinel1_quantity: Quantity | None = None
    band_names: tuple[str, ...] | None = None
    resample: Resample = "auto"
    reproject: bool = False
    aoi: str | None = None

    def settled(self) -> "SceneOptions":
        """Return them for several processes, which do not choose engines each by itself."""
        if self.settings.engine != "auto":
            return self
        return replace(self, settings=replace(self.settings, engine="optimised"))

    def __post_init__(self) -> None:
        """Refuse endings that are paths."""
        for name in (self.table, self.quicklook):
            if name is not None and Path(name).name != name:
                raise ConfigError(
                    f"{name} is a path. With many scenes give the ending of the names alone: each "
                    f"file is called like its product, for example ..._{Path(name).name}."
                )


@dataclass(frozen=True)
class SceneTask:
    """One scene of a list: what to predict with what, and where to write it."""

    model: "str | Classifier"
    product: str
    sentinel1: str | None
    out: Path
    options: SceneOptions
    boa_offset: float | None = None

    @property
    def offset(self) -> float | None:
        """The offset of its numbers, where the product does not say: its own, or that of all."""
        return self.options.boa_offset if self.boa_offset is None else self.boa_offset

    @property
    def opening(self) -> Opening:
        """How its product is opened."""
        return Opening.of(self.options, boa_offset=self.offset)

    @property
    def table(self) -> Path | None:
        """The table of windows to write."""
        return self._beside(self.options.table)

    @property
    def quicklook(self) -> Path | None:
        """The picture to write."""
        return self._beside(self.options.quicklook)

    def _beside(self, ending: str | None) -> Path | None:
        return None if ending is None else self.out.with_name(f"{self.out.stem}_{ending}")


@dataclass(frozen=True)
class SceneOutcome:
    """What came of one scene of a list.

    Args:
        product: Where the product is.
        out: The GeoTIFF.
        status: ``done``, ``skipped`` (it was finished before), or ``failed``.
        reason: Why it failed.
        seconds: How long it took.
    """

    product: str
    out: Path
    status: Status
    reason: str = ""
    seconds: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return all fields as JSON holds them."""
        return {**asdict(self), "out": str(self.out)}
