"""Scenes as tasks: what is to be done with each product of a list, and what came of it."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from reben.errors import ConfigError
from reben.predict.scene_settings import SceneSettings

if TYPE_CHECKING:
    from reben.model.classifier import Classifier

Status = Literal["done", "skipped", "failed"]


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
        device: Where to compute, as for `reben.open_model`.
        overwrite: Whether to replace what is there.

    Raises:
        ConfigError: If an ending names a folder.
    """

    settings: SceneSettings = field(default_factory=SceneSettings)
    table: str | None = None
    quicklook: str | None = None
    sentinel1_unit: Literal["db", "linear"] | None = None
    boa_offset: float | None = None
    device: str | None = None
    overwrite: bool = False

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
    """One scene of a list.

    Args:
        model: Folder of the model, its id on the Hub, or for this process the model itself.
        product: Where the Sentinel-2 product is.
        sentinel1: Where the Sentinel-1 product is, if there is one.
        out: The GeoTIFF to write.
        options: What holds for all.
    """

    model: "str | Classifier"
    product: str
    sentinel1: str | None
    out: Path
    options: SceneOptions

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
    """What came of a task.

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
        """Return all of it as JSON holds it."""
        return {**asdict(self), "out": str(self.out)}


def read_list(path: str | Path) -> list[str | tuple[str, str]]:
    """Return the products that a file lists, one on a line.

    A tab separates a Sentinel-2 product from a Sentinel-1 product of the same place. Empty lines
    and those that begin with # are left out.

    Raises:
        ConfigError: If the file cannot be read, or a line holds more than two.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"The list {path} cannot be read: {error}.") from error
    products: list[str | tuple[str, str]] = []
    for number, line in enumerate(lines, start=1):
        fields = [text.strip() for text in line.split("\t")]
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if len(fields) > 2 or not all(fields):
            raise ConfigError(
                f"Line {number} of {path} is {line!r}. It should name one product, or a Sentinel-2 "
                "and a Sentinel-1 product with a tab between them."
            )
        products.append(fields[0] if len(fields) == 1 else (fields[0], fields[1]))
    return products


def tasks_of(
    model: "str | Classifier",
    products: Iterable[str | Path | tuple[str | Path, str | Path]],
    folder: Path,
    options: SceneOptions,
) -> list[SceneTask]:
    """Return one task for each product.

    Raises:
        ConfigError: If there is none, or two would have the same outputs.
    """
    tasks: dict[Path, SceneTask] = {}
    for item in products:
        product, sentinel1 = item if isinstance(item, tuple) else (item, None)
        out = folder / f"{_stem(str(product))}.tif"
        if out in tasks:
            raise ConfigError(
                f"{tasks[out].product} and {product} would both be written to {out}. Name each "
                "product once, or predict them into different folders."
            )
        radar = None if sentinel1 is None else str(sentinel1)
        tasks[out] = SceneTask(model, str(product), radar, out, options)
    if not tasks:
        raise ConfigError("There is no scene to predict. Name at least one product.")
    return list(tasks.values())


def _stem(product: str) -> str:
    """Return what outputs of a product are called.

    Example:
        >>> _stem("/data/S2A_MSIL2A_X.SAFE/"), _stem("https://host/items/S2A_X.json?token=1")
        ('S2A_MSIL2A_X', 'S2A_X')
    """
    name = product.partition("?")[0].rstrip("/\\").replace("\\", "/").rpartition("/")[-1]
    for ending in (".zip", ".SAFE", ".json", ".geojson"):
        name = name.removesuffix(ending)
    return name or "scene"
