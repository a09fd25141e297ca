"""Many scenes with one model: one scene is one task, done here, by processes, or on a cluster.

A scene that is finished is skipped, one that was begun goes on, and one that fails is named while
the others are done.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from reben.errors import ConfigError
from reben.model.classifier import Classifier
from reben.scene.parts import Parts
from reben.scene.predict import predict_scene
from reben.scene.raster import read_tags, require_rasterio
from reben.scene.scene_settings import SceneSettings
from reben.scene.scoring import fingerprint

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
        device: Where to compute; the CPU by default.
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
        model: Folder of the model, or its id on the Hub.
        product: Where the Sentinel-2 product is.
        sentinel1: Where the Sentinel-1 product is, if there is one.
        out: The GeoTIFF to write.
        options: What holds for all.
    """

    model: str
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


def predict_scenes(  # noqa: PLR0913 - all after the third are named
    model: str | Path,
    products: Iterable[str | Path | tuple[str | Path, str | Path]],
    out_dir: str | Path,
    *,
    options: SceneOptions | None = None,
    num_workers: int = 1,
    dask: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[SceneOutcome, ...]:
    """Predict many scenes and return what came of each, in their order.

    Args:
        model: Folder of the model, or its id on the Hub; a cluster has to find it there too.
        products: Where the products are; a pair is a Sentinel-2 and a Sentinel-1 product.
        out_dir: Folder for the outputs, each called like its product.
        options: What holds for all scenes.
        num_workers: How many processes share the scenes here; with 1 it is this one.
        dask: Address of the scheduler of a Dask cluster, which does them instead.
        progress: Called with how many scenes are done, and how many there are.

    Raises:
        ConfigError: If there is no scene, two have one name, or a number cannot be.
        SceneError: If the cluster cannot be reached.
        MissingExtraError: If rasterio is not installed, or Dask, where it is wanted.
    """
    require_rasterio("Predicting scenes")
    if num_workers < 1:
        raise ConfigError(f"{num_workers} processes cannot share scenes. Ask for one or more.")
    tasks = tasks_of(str(model), products, Path(out_dir), options or SceneOptions())
    outcomes: dict[Path, SceneOutcome] = {}
    if progress is not None:
        progress(0, len(tasks))
    for outcome in _outcomes(tasks, num_workers, dask):
        outcomes[outcome.out] = outcome
        if progress is not None:
            progress(len(outcomes), len(tasks))
    return tuple(outcomes[task.out] for task in tasks)


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
    model: str,
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


def do_task(task: SceneTask) -> SceneOutcome:
    """Do a task and return what came of it; whatever goes wrong is said in there."""
    begun = time.perf_counter()
    try:
        is_new = _do(task)
    except Exception as error:  # noqa: BLE001 - it is told, and the other scenes go on
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        seconds = time.perf_counter() - begun
        return SceneOutcome(task.product, task.out, "failed", reason, seconds)
    seconds = time.perf_counter() - begun
    return SceneOutcome(task.product, task.out, "done" if is_new else "skipped", "", seconds)


def _do(task: SceneTask) -> bool:
    """Do a task; return False if that was done before."""
    options = task.options
    model, model_fingerprint = _load(task.model, options.device)
    if task.out.exists() and not options.overwrite and not Parts.of(task.out).exist:
        _require_same(task, model_fingerprint)
        return False
    predict_scene(
        model,
        task.product,
        task.out,
        **asdict(options.settings),
        table=task.table,
        quicklook=task.quicklook,
        sentinel1=task.sentinel1,
        sentinel1_unit=options.sentinel1_unit,
        boa_offset=options.boa_offset,
        model_name=task.model,
        overwrite=options.overwrite,
    )
    return True


@lru_cache(maxsize=1)
def _load(model: str, device: str | None) -> tuple[Classifier, str]:
    """Return a model, once for each process, and its fingerprint."""
    classifier = Classifier.from_pretrained(model, device=device)
    return classifier, fingerprint(classifier)


def _require_same(task: SceneTask, model_fingerprint: str) -> None:
    """Return if a finished output is what this task would make.

    Raises:
        ConfigError: If it is not; the message says what differs.
    """
    settings = task.options.settings
    wanted = {
        "model_fingerprint": model_fingerprint,
        "stride": str(settings.stride),
        "max_bad": f"{settings.max_bad:g}",
    }
    tags = read_tags(task.out)
    differences = [
        f"{key} was {tags.get(key)}, is {value}"
        for key, value in wanted.items()
        if tags.get(key) != value
    ]
    missing = [f"{p} is missing" for p in (task.table, task.quicklook) if p and not p.exists()]
    if differences or missing:
        raise ConfigError(
            f"{task.out} is finished, but otherwise: {'; '.join(differences + missing)}. Overwrite "
            "it, or choose another folder."
        )


def _outcomes(
    tasks: Sequence[SceneTask], num_workers: int, dask: str | None
) -> Iterator[SceneOutcome]:
    if dask is not None:
        from reben.scene.cluster import do_on_cluster

        return do_on_cluster(do_task, tasks, dask)
    if num_workers == 1:
        return map(do_task, tasks)
    from reben.scene.crew import do_in_processes

    return do_in_processes(do_task, tasks, num_workers)


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
