"""Many scenes with one model: one scene is one task, done here, by processes, or on a cluster.

A scene that is finished is skipped, one that was begun goes on, and one that fails is named while
the others are done.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import closing
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from reben.data.vector.areas import read_area
from reben.errors import ConfigError, OffsetConflictError, first_line
from reben.model.open import ModelLike, name_of
from reben.predict.outputs.cog import read_tags, require_rasterio
from reben.predict.resume import SceneProgress
from reben.predict.scene import predict_scene
from reben.predict.scene_settings import SceneOptions, SceneOutcome, SceneTask
from reben.predict.sharing import cluster_of, load_model, share_cores, shared_model
from reben.scene.offset import check_given_offset
from reben.support.bounds import read_text
from reben.support.memory import keep_freed_memory
from reben.support.numbers import require_whole
from reben.support.processes import WorkerDiedError, run_tasks

if TYPE_CHECKING:
    from reben.model.classifier import Classifier

_OFFSET = "boa_offset="

ListedScene = (
    str | Path | tuple[str | Path, str | Path] | tuple[str | Path, str | Path | None, float | None]
)
"""A Sentinel-2 product; its Sentinel-1 product; the offset of its digital numbers."""


def predict_scenes(  # noqa: PLR0913 - all after the third are named
    model: ModelLike,
    products: Iterable[ListedScene],
    out_dir: str | Path,
    *,
    options: SceneOptions | None = None,
    num_workers: int = 1,
    dask: str | None = None,
    executor: Executor | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[SceneOutcome, ...]:
    """Predict many scenes and return what came of each, in their order.

    Args:
        model: Whatever `reben.open_model` takes; a cluster has to find it there too. A classifier
            that is shared with other processes lies in ``out_dir`` meanwhile.
        products: Where the products are; a pair is a Sentinel-2 and a Sentinel-1 product. A third
            value is the offset of that product, as ``boa_offset`` of the options; then the second
            may be None.
        out_dir: Folder for the outputs, each called like its product.
        options: What holds for all scenes.
        num_workers: How many processes share the scenes here; with 1 it is this one.
        dask: Address of the scheduler of a Dask cluster, which does them instead, for example
            ``tcp://10.0.0.1:8786``. Its workers need reben, and the model, the products and the
            folder of the outputs under the same names.
        executor: Any executor that does them instead; it stays open.
        progress: Called with how many scenes are done, and how many there are.

    Raises:
        ConfigError: If there is no scene, two have one name, or a number cannot be.
        SceneError: If the cluster cannot be reached.
        MissingExtraError: If rasterio is not installed, or Dask, where it is wanted.
    """
    require_rasterio("Predicting scenes")
    require_whole("num_workers", num_workers)
    load_model.cache_clear()  # the folder may hold another model than at the last call
    outcomes: dict[Path, SceneOutcome] = {}
    alone = num_workers == 1 and dask is None and executor is None
    options = options or SceneOptions()
    options = options if alone else options.settled()
    with shared_model(model, Path(out_dir), alone=alone) as place:
        tasks = tasks_of(place, products, Path(out_dir), options)
        tell = progress or (lambda _done, _total: None)
        tell(0, len(tasks))
        for outcome in _outcomes(tasks, num_workers, dask, executor):
            outcomes[outcome.out] = outcome
            tell(len(outcomes), len(tasks))
    return tuple(outcomes[task.out] for task in tasks)


def read_list(path: str | Path) -> list[ListedScene]:
    """Return the products that a file lists, one on a line.

    A tab separates a Sentinel-2 product from a Sentinel-1 product of the same place, and from its
    offset: ``boa_offset=-1000``. Empty lines and those that begin with # are left out.
    """
    try:
        lines = read_text(path).splitlines()
    except OSError as error:
        raise ConfigError(
            f"The list {path} cannot be read: {first_line(error)}. Name a text file with a "
            "product on each line."
        ) from error
    products: list[ListedScene] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        fields = [text.strip() for text in line.split("\t")]
        offsets = [text.removeprefix(_OFFSET) for text in fields[1:] if text.startswith(_OFFSET)]
        names = [fields[0], *(text for text in fields[1:] if not text.startswith(_OFFSET))]
        if len(names) > 2 or len(offsets) > 1 or not all(names):
            raise ConfigError(
                f"Line {number} of {path} is {line!r}. It should name one product, and behind tabs "
                f"may stand its Sentinel-1 product and its offset, such as {_OFFSET}-1000."
            )
        if offsets:
            radar = names[1] if len(names) == 2 else None
            products.append((names[0], radar, _offset_of(offsets[0], f"Line {number} of {path}")))
        else:
            products.append(names[0] if len(names) == 1 else (names[0], names[1]))
    return products


def _offset_of(text: str, where: str) -> float:
    try:
        offset = float(text)
        check_given_offset(offset)
    except (ValueError, OffsetConflictError) as error:
        raise ConfigError(
            f"{where} says {_OFFSET}{text}, which is no offset: pass 0, or -1000 for products of "
            f"processing baseline 04.00 and later."
        ) from error
    return offset


def tasks_of(
    model: "str | Classifier",
    products: Iterable[ListedScene],
    folder: Path,
    options: SceneOptions,
) -> list[SceneTask]:
    """Return one task for each product."""
    tasks: dict[Path, SceneTask] = {}
    for item in products:
        whole = item if isinstance(item, tuple) else (item,)
        product, sentinel1, boa_offset = (*whole, None, None)[:3]
        out = folder / f"{_stem(str(product))}.tif"
        if out in tasks:
            raise ConfigError(
                f"{tasks[out].product} and {product} would both be written to {out}. Name each "
                "product once, or predict them into different folders."
            )
        radar = None if sentinel1 is None else str(sentinel1)
        tasks[out] = SceneTask(model, str(product), radar, out, options, boa_offset)
    if not tasks:
        raise ConfigError("There is no scene to predict. Name at least one product.")
    return list(tasks.values())


def _stem(product: str) -> str:
    """Return what outputs of a product are called.

    Example:
        >>> _stem("/data/S2A_MSIL2A_X.SAFE/"), _stem("https://host/items/S2A_X.json?token=1")
        ('S2A_MSIL2A_X', 'S2A_X')
        >>> _stem("items.json#S2A_33UUP")
        'S2A_33UUP'
    """
    product = product.rpartition("#")[2] or product  # one item of a collection
    name = product.partition("?")[0].rstrip("/\\").replace("\\", "/").rpartition("/")[-1]
    for ending in (".zip", ".SAFE", ".json", ".geojson"):
        name = name.removesuffix(ending)
    return name or "scene"


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
    settings = {key: value for key, value in vars(options.settings).items() if key != "map"}
    model, model_fingerprint = load_model(task.model, options.device)
    if task.out.exists() and not options.overwrite and not SceneProgress(task.out).exists:
        radar = task.sentinel1 if model.bands.of_sensor("Sentinel-1") else None
        _require_same(replace(task, sentinel1=radar), model_fingerprint)
        return False
    predict_scene(
        model,
        task.product,
        task.out,
        **settings,
        **asdict(options.settings.map),
        table=task.table,
        quicklook=task.quicklook,
        sentinel1=task.sentinel1,
        **task.opening.keywords,
        aoi=options.aoi,
        model_name=name_of(task.model),
        overwrite=options.overwrite,
    )
    return True


def _require_same(task: SceneTask, model_fingerprint: str) -> None:
    """Return if a finished output is what this task would make."""
    settings = task.options.settings
    wanted = {
        "model_fingerprint": model_fingerprint,
        "stride": str(settings.stride),
        "max_bad": f"{settings.max_bad:g}",
        **settings.map.tags,
    }
    tags = {"what": "scores", "area_sha256": "none"} | read_tags(task.out)
    aoi = task.options.aoi
    wanted["area_sha256"] = "none" if aoi is None else read_area(aoi).digest
    if task.offset is not None:
        wanted["boa_offset"] = f"{task.offset:g}"
    if (task.sentinel1 is None) == ("sentinel1" in tags):
        wanted["sentinel1"] = str(task.sentinel1)
    differences = [
        f"{key} was {tags.get(key)}, is {value}"
        for key, value in wanted.items()
        if tags.get(key) != value
    ]
    others = (task.table, task.quicklook, *settings.map.beside(task.out))
    missing = [f"{path} is missing" for path in others if path and not path.exists()]
    if differences or missing:
        raise ConfigError(
            f"{task.out} is finished, but otherwise: {'; '.join(differences + missing)}. Overwrite "
            "it, or choose another folder."
        )


def _outcomes(
    tasks: Sequence[SceneTask], num_workers: int, dask: str | None, executor: Executor | None
) -> Iterator[SceneOutcome]:
    if dask is not None:
        with cluster_of(dask) as cluster:
            yield from share_tasks(do_task, tasks, num_workers, cluster)
    elif num_workers == 1 and executor is None:
        yield from map(do_task, tasks)
    else:
        yield from share_tasks(do_task, tasks, num_workers, executor)


def share_tasks(
    do: Callable[[SceneTask], SceneOutcome],
    tasks: Sequence[SceneTask],
    num_processes: int,
    executor: Executor | None = None,
) -> Iterator[SceneOutcome]:
    """Yield the outcomes of tasks as they come from processes or from an executor."""
    num_processes = min(num_processes, len(tasks))
    answers = run_tasks(
        partial(_one, do),
        tasks,
        num_processes=num_processes,
        executor=executor,
        initializer=share_cores,
        initargs=(num_processes,),
    )
    with closing(answers):
        for answer in answers:
            if answer.value is not None:
                yield answer.value
                continue
            reason = " ".join(f"{type(answer.error).__name__}: {answer.error}".split())
            if isinstance(answer.error, WorkerDiedError):
                reason = (
                    f"{answer.error}. If memory ran out, use fewer processes or smaller batches"
                )
            yield SceneOutcome(answer.task.product, answer.task.out, "failed", reason)


def _one(do: Callable[[SceneTask], SceneOutcome], task: SceneTask) -> tuple[SceneOutcome]:
    keep_freed_memory()
    return (do(task),)
