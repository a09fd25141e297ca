"""Many patches to one table: streamed, resumable, on one device or several."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reben.data.dataset import Dataset
from reben.data.opening import open_dataset, open_unlisted, stored_metadata
from reben.data.patch_folders.multiband import Resample
from reben.data.patch_folders.tree import PatchTree, parse_paths
from reben.data.places import require_pyproj
from reben.data.store import Store
from reben.errors import ConfigError, MetadataError, OutputError, PredictError
from reben.model.engines.names import Engine
from reben.model.open import ModelLike, name_of, open_model
from reben.predict.patch_inputs import FileSource, PatchSource, StoreSource, Unreadable
from reben.predict.patch_options import PredictOptions, PredictOutcome, Progress, listed
from reben.predict.resume import TableProgress
from reben.predict.sharing import begin_on_engine, fast_model
from reben.predict.table_files import FORMATS_OF_PLACES, require_ending
from reben.spec.bands import BandSet
from reben.support.atomic import atomic_file
from reben.support.times import copernicus_notice

if TYPE_CHECKING:
    from reben.model.classifier import Classifier
    from reben.predict.patch_work import PatchJob, What

PART_SIZE = 512
"""Most patches in a part: what a kill can cost."""
_SHOWN = 10


def find_patches(
    inputs: str | Path | Sequence[str | Path],
    bands: BandSet,
    *,
    s1: str | Path | None = None,
    metadata: str | Path | Sequence[str | Path] = (),
    band_names: Sequence[str] | None = None,
    resample: Resample = "exact",
) -> FileSource:
    """Return the patches in files below some paths; they are looked for when they are read.

    Args:
        inputs: Patch folders, folders of patch folders to any depth, TIFFs of several bands,
            folders of those.
        bands: The bands of the model.
        s1: Folder of the Sentinel-1 patches, for a model of both sensors.
        metadata: Tables that say which of them belongs to which Sentinel-2 patch.
        band_names: Names of the bands of TIFFs of several bands, if not the descriptions in them.
        resample: How such TIFFs are brought to native sizes: ``exact``, ``mean``, ``centre``.

    Raises:
        BandsMismatchError: If an input is not there.
        ConfigError: If s1 and metadata do not go with each other or with the model.

    Example:
        >>> find_patches("BigEarthNet-S2", model.bands)  # doctest: +SKIP
    """
    tree = PatchTree(
        parse_paths(inputs),
        bands,
        None if s1 is None else Path(s1),
        parse_paths(metadata),
    )
    return FileSource(tree, None if band_names is None else tuple(band_names), resample)


def find_stored(
    path: str | Path,
    bands: BandSet,
    *,
    metadata: Sequence[str | Path] = (),
    split: str | None = None,
    **filters: Any,  # noqa: ANN401 - those of open_dataset
) -> Dataset:
    """Return the patches of a store; those that no metadata list are told by their names.

    Args:
        path: The store.
        bands: The bands of the model.
        metadata: Tables that list its patches, if they are not in it.
        split: Only the patches of this split.
        filters: As `open_dataset` takes them.

    Raises:
        MetadataError: If there are no metadata, and the bands or a filter need some.
        RebenError: As `open_dataset` does.
    """
    store = Store.open(path)
    if metadata or stored_metadata(store):
        dataset = open_dataset(path, bands, metadata=metadata or None, labels=None, **filters)
        return dataset if split is None else dataset[split]
    asked = ["split"] if split is not None else []
    asked += [name for name, value in filters.items() if value is not None]
    if asked:
        raise MetadataError(
            f"The store {store.path} holds no metadata, so nothing tells the {', '.join(asked)} of "
            "its patches. Name the tables that list them with --metadata FILE (metadata=), or "
            "leave that out to take all of them."
        )
    return open_unlisted(store, bands)


def predict_patches(
    model: ModelLike,
    patches: Dataset | PatchSource,
    out: str | Path,
    *,
    threshold: float | None = None,
    options: PredictOptions | None = None,
    progress: Progress | None = None,
) -> PredictOutcome:
    """Write the scores of many patches into a table, and return what came of it.

    A row has id, geometry where it is known, a score for each label, and the labels above
    threshold. Memory does not grow with the number of patches. A call that was interrupted or
    killed goes on when it is made again: at most a part of 512 patches is lost.

    Args:
        model: Whatever `reben.open_model` takes.
        patches: What `find_patches` or `reben.open_dataset` returns.
        out: The table; the format follows from its ending: .parquet (GeoParquet), .geoparquet,
            .gpkg, .csv, .geojson, .jsonl.
        threshold: One threshold for all labels, 0 to 1; by default those of the model.
        options: How it is done.
        progress: Called as ``progress(done, total)`` after each batch, counted in patches.

    Raises:
        PredictError: If there is no patch, or none that can be used.
        ConfigError: If the table was begun with another model, other patches or settings.
        OutputError: If the table is there already, or cannot be written.
        MissingExtraError: If something optional is needed and not installed.

    Example:
        >>> data = reben.open_dataset("store/", model.bands)["test"]  # doctest: +SKIP
        >>> predict_patches(model, data, "scores.parquet").num_patches  # doctest: +SKIP
        119825
    """
    if threshold is not None and not 0 <= threshold <= 1:
        raise ConfigError(f"A threshold is 0 to 1; got {threshold}.")
    return _run(model, patches, Path(out), "scores", threshold, options, progress)


def embed_patches(
    model: ModelLike,
    patches: Dataset | PatchSource,
    out: str | Path,
    *,
    options: PredictOptions | None = None,
    progress: Progress | None = None,
) -> PredictOutcome:
    """Write the embeddings of many patches into a parquet file: id, geometry, embedding.

    Args:
        model: Whatever `reben.open_model` takes.
        patches: As for `predict_patches`, like all that follow.
        out: The file, ``.parquet``.
        options: How it is done.
        progress: Called after each batch.

    Raises:
        ConfigError: If the file is to be of another format, or as for `predict_patches`.
        RebenError: As `predict_patches` does.
    """
    require_parquet(Path(out))
    return _run(model, patches, Path(out), "embeddings", None, options, progress)


def _run(  # noqa: PLR0913, PLR0917 - those of the two above
    given: ModelLike,
    patches: Dataset | PatchSource,
    out: Path,
    what: "What",
    threshold: float | None,
    options: PredictOptions | None,
    progress: Progress | None,
) -> PredictOutcome:
    options = options or PredictOptions()
    require_possible(out, options)
    with TableProgress(out).held():
        require_possible(out, options)  # another run may have ended just now
        model, name = open_model(given), options.name or name_of(given)
        from reben.predict.patch_work import PatchJob, predict_here, predict_in_processes

        own = model.config.thresholds
        thresholds = own if threshold is None else (threshold,) * len(own)
        source = StoreSource(patches) if isinstance(patches, Dataset) else patches
        total, fingerprint = source.measure()
        if not total:
            raise PredictError("There is no patch in what was given. Name folders that hold some.")
        manifest: dict[str, Any] = {
            "what": what,
            "model": model.fingerprint(),
            "patches": total,
            "patches_sha256": fingerprint,
            "thresholds": list(thresholds),
            "geometry": options.geometry,
            **_settings_of(source),
            "part_size": _choose_part_size(total, options),
        }
        parts = TableProgress(out)
        if options.restart:
            parts.remove()
        begin = partial(parts.begin, replace=options.overwrite, kept=("part_size", "engine"))
        make = partial(fast_model, model, num_patches=total, batch_size=options.batch_size)
        begun, fast = begin_on_engine(begin, manifest, make, _engine_for(what, options))
        size, options = begun["part_size"], replace(options, engine=fast.engine)
        job = PatchJob(source, out, what, size, thresholds, options)
        sizes = [min(size, total - first) for first in range(0, total, size)]
        resumed = sum(
            length for number, length in enumerate(sizes) if parts.num_done(number) == length
        )
        done = resumed
        tell = progress or (lambda _done, _total: None)
        tell(done, total)
        if resumed < total:
            if isinstance(source, StoreSource):
                source.check_first(model.preprocess)
            counts = (
                predict_in_processes(model, job) if options.devices > 1 else predict_here(fast, job)
            )
            for count in counts:
                done += count
                tell(done, total)
        about = _about(model, job, name, manifest["model"])
        return _finish(job, sizes, resumed, about)


def _finish(
    job: "PatchJob", sizes: Sequence[int], resumed: int, about: Mapping[str, Any]
) -> PredictOutcome:
    """Put the parts together."""
    parts = TableProgress(job.out)
    if any(parts.num_done(number) != length for number, length in enumerate(sizes)):
        raise PredictError(
            f"The inputs changed while {job.out} was made: parts of it hold other numbers of "
            "patches. Leave them alone, and begin anew with --restart (restart=True)."
        )
    bad_file = job.out.with_name(f"{job.out.name}.bad.jsonl")
    parts.suspicious(len(sizes)).warn(stacklevel=4)
    shown, num_bad = _write_bad(bad_file, parts.bad(len(sizes)))
    if num_bad == sum(sizes):
        parts.remove()
        raise PredictError(
            f"None of {num_bad} patches could be used: {listed(shown, num_bad)} {bad_file} lists "
            "all; no table was written."
        )
    attribution = copernicus_notice(parts.ids(len(sizes)))
    parts.assemble(len(sizes), {**about, "attribution": attribution, "num_bad": num_bad})
    return PredictOutcome(
        job.out, sum(sizes) - num_bad, resumed, num_bad, shown, bad_file if num_bad else None
    )


def _write_bad(path: Path, bad: Iterator[Unreadable]) -> tuple[tuple[Unreadable, ...], int]:
    """Write what there is of bad patches, one a line; return the first ones, and their number."""
    shown = tuple(islice(bad, _SHOWN))
    if not shown:
        path.unlink(missing_ok=True)  # of a call that had some
        return (), 0
    num_bad = 0
    with atomic_file(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        for one in chain(shown, bad):
            file.write(json.dumps(one._asdict(), ensure_ascii=False) + "\n")
            num_bad += 1
    return shown, num_bad


def _about(model: "Classifier", job: "PatchJob", name: str, fingerprint: str) -> dict[str, Any]:
    """Return what a table says about itself."""
    from importlib.metadata import version

    return {
        "reben_version": version("reben"),
        "model": name,
        "model_sha256": fingerprint,
        "bands": list(model.bands),
        "labels": list(model.labels),
        "thresholds": list(job.thresholds),
        "temperature": model.config.temperature,
        "engine": job.options.engine,
    }


def require_parquet(out: Path) -> None:
    """Refuse another format for embeddings."""
    if out.suffix.lower() not in (".parquet", ".geoparquet"):
        raise ConfigError(f"Embeddings are written as parquet; {out} does not end so.")


def _engine_for(what: "What", options: PredictOptions) -> Engine:
    """Return the engine to ask for: embeddings are computed in torch, and processes by the same."""
    engine = options.engine
    if what == "embeddings" and engine not in ("auto", "eager", "optimised"):
        raise ConfigError(f"Embeddings are computed in torch, not by {engine}. Leave engine out.")
    several = what == "embeddings" or options.devices > 1
    return "optimised" if several and engine == "auto" else engine


def require_possible(out: Path, options: PredictOptions) -> None:
    """Refuse a table that is there already, or that cannot be written as it is asked for."""
    require_ending(out.suffix)
    if out.exists() and not options.overwrite:
        raise OutputError(
            f"{out} is there already, and nothing was changed. Name another file, or replace it: "
            "--overwrite (overwrite=True)."
        )
    if options.geometry:
        require_pyproj()
    elif out.suffix.lower() in FORMATS_OF_PLACES:
        raise ConfigError(
            f"{out} is to say where patches lie, and geometry is to be left out. Keep it, or "
            "choose .parquet, .csv or .jsonl."
        )


def _choose_part_size(total: int, options: PredictOptions) -> int:
    """Return a size such that each device has several parts, in whole batches."""
    if options.part_size is not None:
        return options.part_size
    share = -(-total // (4 * options.devices))
    batches = max(1, share // options.batch_size)
    return min(max(PART_SIZE, options.batch_size), batches * options.batch_size)


def _settings_of(source: PatchSource) -> dict[str, Any]:
    """Return settings of a source that change what is read."""
    if not isinstance(source, FileSource):
        return {}
    names = source.band_names
    return {"band_names": None if names is None else list(names), "resample": source.resample}
