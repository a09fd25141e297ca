"""The verbs that run models on patches: predict and embed.

With --out, many patches are written into a table; without it, one is shown on the screen.
"""

import shlex
from collections.abc import Callable
from dataclasses import fields, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reben.app.flags import (
    AsJson,
    AtLeastOne,
    FileFlags,
    Share,
    StoreFlags,
    TableFlags,
    require_unset,
)
from reben.app.terminal import print_json, print_table, print_text, progress_bar, talk
from reben.errors import ConfigError
from reben.model.engines.names import Engine
from reben.spec.bands import BandSet
from reben.support.collector import uncollected

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from reben.data.dataset import Dataset
    from reben.model.scores import Scores
    from reben.predict.patch_inputs import PatchSource
    from reben.predict.patch_options import PredictOutcome

_TOP = 5


_NO_FILE_FLAGS, _NO_STORE_FLAGS, _NO_TABLE_FLAGS = FileFlags(), StoreFlags(), TableFlags()
_Flags = tuple[FileFlags, StoreFlags, TableFlags]


def predict(  # noqa: PLR0913 - all but the first two are flags
    model: str,
    /,
    *inputs: Path,
    out: Path | None = None,
    patch: str | None = None,
    top: AtLeastOne = _TOP,
    threshold: Share | None = None,
    bands: str | None = None,
    device: str = "auto",
    engine: Engine = "auto",
    files: FileFlags = _NO_FILE_FLAGS,
    store: StoreFlags = _NO_STORE_FLAGS,
    table: TableFlags = _NO_TABLE_FLAGS,
    as_json: AsJson = False,
) -> None:
    """Predict patches. With --out, write a table for many; without it, print the scores of one.

    The inputs are patch folders of TIFFs, folders of those to any depth (an unpacked
    BigEarthNet-S2), multi-band TIFFs, or a store. Without --out, the highest scores of one patch
    are printed, beside its true labels where they are known.

    Repeat an interrupted command to continue it. Patches that cannot be used are left out and
    named, and the exit code is 2.

    Args:
        model: A run folder, a model folder, or the name of a model on the Hub.
        inputs: What to predict. For one patch of both sensors: its Sentinel-2 folder and its
            Sentinel-1 folder.
        out: Table to write, one row a patch; its ending says the format: .parquet (GeoParquet),
            .geoparquet, .gpkg, .csv, .geojson, .jsonl.
        patch: Without --out: Sentinel-2 name of a patch in the store.
        top: Without --out: how many scores to print.
        threshold: One threshold for all labels. Default: those of the model.
        bands: Bands of the model in their order, for a published model whose name does not say.
        device: Where to compute: auto (an accelerator if there is one, else the CPU), cpu, cuda,
            cuda:1, mps.
        engine: With --out: what computes on a CPU: auto (the quickest one, measured if the work is
            long), eager, optimised, compiled, onnx, openvino.
        files: How files are read.
        store: Which patches of a store.
        table: How the table is made.
        as_json: Write the result as JSON.
    """
    from reben.data.store import is_store
    from reben.model.folder import find_model
    from reben.model.open import open_model, require_device_name

    if len(inputs) == 1 and not is_store(inputs[0]):
        from reben.predict.larger import lead_to_scene

        lead_to_scene(model, inputs[0], bands=bands, names=files.names)
    if out is not None:
        from reben.predict.patches import predict_patches

        require_unset("Leave it out with --out, which writes all scores.", patch=patch)
        require_unset("Leave it out with --out.", top=None if top == _TOP else top)
        write = partial(predict_patches, threshold=threshold)
        opening = (model, device, bands, engine)
        _write_table(write, opening, inputs, out, (files, store, table), as_json)
        return
    require_unset(
        "It is for tables: name one with --out FILE.", engine=None if engine == "auto" else engine
    )
    for flags in (store, table):
        given = {one.name: getattr(flags, one.name) for one in fields(flags)}
        changed = {
            one.name: given[one.name] for one in fields(flags) if given[one.name] != one.default
        }
        require_unset("It is for tables: name one with --out FILE.", **changed)
    command = partial(_command_for_table, model, inputs, bands, files)
    with uncollected():
        require_device_name(device)
        found = find_model(model, bands=bands)
        values, true_labels = _read_one(inputs, patch, found.config.bands, files, command)
        scores = open_model(found, device).predict(values)
    if as_json:
        rows = [{"label": label, "score": score} for label, score in scores.top(top)]
        above = scores.above(threshold)
        print_json({"scores": rows, "above": above, "true_labels": true_labels})
    else:
        _print_scores(scores, top, threshold, true_labels)


def embed(  # noqa: PLR0913 - all but the first two are flags
    model: str,
    /,
    *inputs: Path,
    out: Path,
    bands: str | None = None,
    device: str = "auto",
    files: FileFlags = _NO_FILE_FLAGS,
    store: StoreFlags = _NO_STORE_FLAGS,
    table: TableFlags = _NO_TABLE_FLAGS,
    as_json: AsJson = False,
) -> None:
    """Write the embeddings of patches, for example for similarity search.

    An embedding is what the network computes of a patch before its last layer.

    Args:
        model: A run folder, a model folder, or the name of a model on the Hub.
        inputs: Patches, as reben predict takes them.
        out: Parquet file to write, one row a patch: id, geometry, embedding.
        bands: Bands of the model in their order, for a published model whose name does not say.
        device: Where to compute: auto (an accelerator if there is one, else the CPU), cpu, cuda,
            cuda:1, mps.
        files: How files are read.
        store: Which patches of a store.
        table: How the table is made.
        as_json: Write the result as JSON.
    """
    from reben.predict.patches import embed_patches, require_parquet

    require_parquet(out)
    flags = (files, store, table)
    _write_table(embed_patches, (model, device, bands, "auto"), inputs, out, flags, as_json)


def _write_table(
    write: "Callable[..., PredictOutcome]",
    model: tuple[str, str, str | None, Engine],
    inputs: tuple[Path, ...],
    out: Path,
    flags: _Flags,
    as_json: bool,
) -> None:
    from reben.model.folder import find_model
    from reben.model.open import name_of, open_model, require_device_name
    from reben.predict.patch_options import PredictOptions
    from reben.predict.patches import require_possible

    name, device, bands, engine = model
    table = flags[2]
    require_device_name(device)
    found = find_model(name, bands=bands)
    options = PredictOptions(
        batch_size=table.batch_size,
        devices=table.devices,
        num_workers=table.threads,
        geometry=table.geometry,
        strict=table.strict,
        overwrite=table.overwrite,
        restart=table.restart,
        name=name_of(found),
        engine=engine,
    )
    require_possible(out, options)
    patches = _patches_in(inputs, found.config.bands, flags)
    classifier = open_model(found, device)
    try:
        with progress_bar("patches") as progress:
            outcome = write(classifier, patches, out, options=options, progress=progress)
    except KeyboardInterrupt:
        talk("What is finished is kept; the same command goes on from there.")
        raise
    if outcome.num_resumed:
        talk(f"{outcome.num_resumed} patches were done by an earlier command.")
    if as_json:
        bad_file = None if outcome.bad_file is None else str(outcome.bad_file)
        bad = [one._asdict() for one in outcome.bad]
        print_json({**vars(outcome), "out": str(outcome.out), "bad": bad, "bad_file": bad_file})
    else:
        print_text(f"{outcome.out}: {outcome.num_patches} patches")
    outcome.require_all()


def _patches_in(inputs: tuple[Path, ...], bands: BandSet, flags: _Flags) -> "Dataset | PatchSource":
    """Return the patches that the inputs are."""
    from reben.data.store import is_store
    from reben.predict.patches import find_patches, find_stored

    files, store, table = flags
    if not inputs:
        raise ConfigError("There is nothing to predict. Name patch folders, TIFFs, or a store.")
    if any(map(is_store, inputs)):
        if len(inputs) > 1:
            raise ConfigError("A store must be the only input. Make a table of each.")
        if replace(files, metadata=()) != _NO_FILE_FLAGS:
            raise ConfigError(
                f"{inputs[0]} is a store, which holds bands by name, and both sensors. Leave --s1, "
                "--band-names and --resample out."
            )
        dataset = find_stored(
            inputs[0], bands, metadata=files.metadata, split=store.split, **store.kept()
        )
        if table.strict:
            dataset.require_whole()
        return dataset.draw(**store.drawn())
    if store != _NO_STORE_FLAGS:
        raise ConfigError(
            "--split, --country, --limit and the like choose patches of a store, and "
            f"{inputs[0]} is none (it holds no data.mdb). Leave them out, or encode the files into "
            "a store."
        )
    return find_patches(
        inputs,
        bands,
        s1=files.s1,
        metadata=files.metadata,
        band_names=files.names,
        resample=files.resample,
    )


def _read_one(
    inputs: tuple[Path, ...],
    patch: str | None,
    bands: BandSet,
    flags: FileFlags,
    command: Callable[[], str],
) -> tuple[dict[str, "NDArray[Any]"], list[str] | None]:
    """Return the raw values of one patch, and its true labels where they are known."""
    from reben.data.store import is_store

    if not inputs:
        raise ConfigError("There is nothing to predict. Name a patch folder, or a store.")
    if is_store(inputs[0]):
        if len(inputs) > 1:
            raise ConfigError(f"{inputs[0]} is a store; it must be the only input.")
        return _read_from_store(inputs[0], patch, bands, flags.metadata)
    if patch is not None:
        raise ConfigError(
            f"--patch {patch} names a patch of a store, but {inputs[0]} is none (it holds no "
            f"data.mdb). Leave --patch out for a patch folder."
        )
    return _read_files(inputs, bands, flags, command), None


def _read_files(
    inputs: tuple[Path, ...], bands: BandSet, flags: FileFlags, command: Callable[[], str]
) -> dict[str, "NDArray[Any]"]:
    """Return the bands of the only patch at or below the inputs."""
    from reben.data.patch_folders.folder import band_sensor, read_patch_folder
    from reben.data.patch_folders.multiband import read_multiband
    from reben.data.patch_folders.tree import PatchTree

    if len(inputs) == 1 and inputs[0].is_file():
        return read_multiband(inputs[0], bands, names=flags.names, resample=flags.resample)
    paired = flags.s1 is not None or bool(flags.metadata)
    if not paired and (
        len(inputs) > 1
        or not inputs[0].is_dir()
        or any(band_sensor(file.name) for file in inputs[0].iterdir())
    ):
        return read_patch_folder(*inputs)
    places = list(islice(PatchTree(inputs, bands, flags.s1, flags.metadata), 2))
    if len(places) > 1:
        raise ConfigError(
            f"There are several patches in {' and '.join(map(str, inputs))}, for example "
            f"{places[0].paths[0]}. Name one, or write a table of all. Type: {command()}"
        )
    if not places:
        return read_patch_folder(*inputs)  # which says what there should be
    if places[0].problem is not None:
        raise places[0].problem
    if places[0].is_file:
        file = Path(places[0].paths[0])
        return read_multiband(file, bands, names=flags.names, resample=flags.resample)
    return read_patch_folder(*places[0].paths)


def _command_for_table(
    model: str, inputs: tuple[Path, ...], bands: str | None, files: FileFlags
) -> str:
    """Return the command that predicts all patches of the inputs."""
    words = ["reben", "predict", model, *map(str, inputs), "--out", "scores.csv"]
    given = {"--bands": bands, "--s1": files.s1, "--band-names": files.band_names}
    words += [f"{flag}={value}" for flag, value in given.items() if value is not None]
    words += [f"--metadata={file}" for file in files.metadata]
    words += [] if files.resample == "exact" else [f"--resample={files.resample}"]
    return shlex.join(words)


def _read_from_store(
    store: Path, patch: str | None, bands: BandSet, metadata: tuple[Path, ...]
) -> tuple[dict[str, "NDArray[Any]"], list[str] | None]:
    from reben.predict.patches import find_stored

    dataset = find_stored(store, bands, metadata=metadata, snow=None, cloud=None)
    if patch is None:
        raise ConfigError(
            f"{store} is a store of {len(dataset)} patches. Name one with --patch, for example "
            f"--patch {dataset.table.patch_ids[0]}, or a table for all: --out FILE."
        )
    row = dataset.table.position(patch)
    labels = sorted(dataset.table.label_names[row]) if dataset.metadata else None
    return dataset.patch(row), labels


def _print_scores(
    scores: "Scores", top: int, threshold: float | None, true_labels: list[str] | None
) -> None:
    """Print the highest scores of a patch as a table."""
    above = set(scores.above(threshold))
    rows = [
        (label, f"{score:.4f}", "yes" if label in above else "")
        + (() if true_labels is None else ("yes" if label in true_labels else "",))
        for label, score in scores.top(top)
    ]
    columns = ("label", "score>", "above threshold")
    print_table(columns if true_labels is None else (*columns, "true label"), rows)
    if true_labels is not None:
        print_text(f"True labels: {'; '.join(true_labels) or 'none'}")
