"""Encode band files into a store: from folders or archives, as fast as the machine allows.

Every worker process reads files, joins their pixels to values and writes these itself, in
transactions of some 32 MB; see `reben.data.encoding.workers`. The store is valid at any moment, and
the same call resumes an encoding that was stopped.
"""

import json
import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reben.data.encoding.inputs import (
    EncodeInput,
    Selection,
    find_metadata,
    keep_metadata,
    looks_own,
    select,
)
from reben.data.encoding.report import EncodeReport, Progress, error_of
from reben.data.encoding.run import EncodingRun
from reben.data.storage.environment import stored_names
from reben.data.storage.record import StoreRecord, count_values
from reben.data.storage.value import KINDS, REFERENCE_MAP, SENTINEL1, SENTINEL2
from reben.data.storage.writer import ValueWriter, boot_id
from reben.errors import ConfigError, StoreError
from reben.spec.patches import SPLITS
from reben.support.atomic import make_folder, write_text
from reben.support.locks import lock_file
from reben.support.numbers import require_whole
from reben.support.processes import usable_cores

if TYPE_CHECKING:
    from reben.data.encoding.own_inputs import OwnEncoding
    from reben.data.encoding.v1 import Scheme
    from reben.data.patch_folders.multiband import Resample
    from reben.data.splits import SplitBy

LOCK_FILE = ".encode.lock"
"""There while an encoding runs."""
REPORT_FILE = "encode-report.json"
"""The report of the last encoding, in the folder of the store."""

_log = logging.getLogger(__name__)


def encode(  # noqa: PLR0913 - one step each
    out: str | Path,
    *,
    s1: str | Path | None = None,
    s2: str | Path | None = None,
    reference_maps: str | Path | None = None,
    metadata: Iterable[str | Path] = (),
    workers: int | None = None,
    split: str | None = None,
    countries: Sequence[str] | None = None,
    limit: int | None = None,
    strict: bool = False,
    progress: Progress | None = None,
    folder: str | Path | None = None,
    executor: Executor | None = None,
    labels: str | Path | None = None,
    split_by: "SplitBy | None" = None,
    split_seed: int = 0,
    band_names: Sequence[str] | None = None,
    resample: "Resample" = "exact",
    crop: int | None = None,
    tile: int | None = None,
    scheme: "Scheme | None" = None,
) -> EncodeReport:
    """Write the patches in folders or archives into a store, and return a report.

    Each input is an unpacked folder; an archive as published (``.tar``, ``.tar.gz`` or
    ``.tar.zst``); the first part of a split archive; or ``-``, an archive on stdin. Archives are
    read as streams and never unpacked to disk.

    Patches that are already in the store are skipped by name; some are read and compared, so that
    a store is not continued from another data set. To check a store, use
    `reben.data.inspection.verify_store`. A second call may add other inputs.

    A patch with a damaged, missing or unknown file, or one of the wrong size, dtype, unit or place,
    is left out and named in the report. So is one of which more than 5 % of a band hold no data;
    where fewer do, they get the median of the others, and the patch is counted. So are the second
    of two patches with the same name and different pixels, a Sentinel-1 patch that the metadata
    pair with another place, and each patch that they list and no input holds. The same input gives
    the same bytes for every value.

    Args:
        out: Folder of the store; created if necessary.
        s1: Sentinel-1 patches, float32 in dB.
        s2: Sentinel-2 patches, uint16.
        reference_maps: Reference maps, uint16 CORINE codes.
        metadata: Metadata tables, which are copied into the store; with a filter, the rows that
            it selects. Those of earlier calls count as well.
        workers: Number of processes; by default the usable cores. An archive keeps one busy.
        split: Encode only this split.
        countries: Encode only patches of these countries.
        limit: Encode only the first so many patches of the metadata.
        strict: Stop at the first patch that would be left out, and raise an error if patches
            listed in the metadata are missing.
        progress: Called now and then with patches done, patches in all (None if unknown; an
            estimate for archives) and bytes written.
        folder: A folder that `reben.download` filled, or an unpacked tree. Inputs and metadata
            are found in it, and logged; those given by other arguments take precedence.
        executor: Does the work instead of new processes. Its workers must run on this machine;
            threads take turns. Progress is then reported at the end of each archive.
        labels: The labels of patches of your own: a table (`reben.data.selecting.label_table`) or a
            vector file, by ``patch_id`` or by place. With it, or any argument below, folders may
            hold patches of any name and size; the metadata of the store are made of it.
        split_by: Share patches out to splits, by ``tile``, ``block`` or at ``random``, if the file
            does not say their splits.
        split_seed: Another seed gives other splits.
        band_names: Names of the bands of TIFFs of several, if not their descriptions; ``-`` for
            one to skip.
        resample: How bands of 20 m and 60 m on a grid of 10 m are brought to their own pixels.
        crop: Keep a square of so many pixels of 10 m in the middle of each patch.
        tile: Cut each patch into squares of so many pixels of 10 m, called ``NAME_r0_c0``.
        scheme: The labels of BigEarthNet v1: its 43, or the 19 that v2.0 has.

    Returns:
        Counts, and the patches that were left out (none).

    Raises:
        EncodeError: If patches were left out, or are missing and ``strict`` is set, after
            everything else was encoded. The report is its attribute ``report``, and lies in the
            store as ``encode-report.json``.
        ArchiveError: If an archive is damaged or cannot be trusted, also at the end.
        ConfigError: If there is no input, two come from stdin, a filter lacks metadata, or a
            setting is impossible.
        MetadataError: If the metadata cannot be read, or no patch passes the filters.
        OutputError: If the store cannot be written, for example because the disk is full; what
            was committed before is valid.
    """
    started = time.perf_counter()
    _check_settings(workers, limit, split)
    given = {SENTINEL2.name: s2, SENTINEL1.name: s1, REFERENCE_MAP.name: reference_maps}
    paths = {kind: Path(path) for kind, path in given.items() if path is not None}
    root = None if folder is None else Path(folder)
    tables: Sequence[str | Path] = [*metadata]
    names = None if band_names is None else tuple(band_names)
    how = {"band_names": names, "resample": resample, "crop": crop, "tile": tile}
    labelling = {
        "labels": None if labels is None else Path(labels),
        "split_by": split_by,
        "seed": split_seed,
        "scheme": scheme,
    }
    own = _plan_own(paths, root, tables, how, labelling, strict=strict)
    if own is None and folder is not None:
        from reben.data.encoding.find import find_inputs

        found = find_inputs(Path(folder), paths, needs_metadata=not tables)
        paths, tables = found.inputs | paths, tables or found.metadata
    inputs = _open_inputs(paths, executor) if own is None else own.inputs
    store = Path(out)
    make_folder(store)
    with lock_file(store / LOCK_FILE, partial(_refuse, store)):
        record = _begin(store)
        files, selection = _keep(store, tables, own, record, (split, countries, limit))
        run = EncodingRun(store, inputs, selection, strict, progress)
        record = replace(
            record.with_sources(run.records(is_over=False)),
            metadata=tuple(file.name for file in files),
            own=None if own is None else own.record,
            values=None,
            written_since_boot=boot_id(),
        )
        record.write(store)
        num_seconds = run.work(record, workers or usable_cores(), executor)
        report = run.report(time.perf_counter() - started, num_seconds)
        for note, count in run.tally.notes.items():
            _log.warning("In %d %s %s", count, "patch" if count == 1 else "patches", note)
        write_text(store / REPORT_FILE, json.dumps(report.to_dict(), indent=2) + "\n")
        if not run.is_stopped:
            record = record.with_sources(run.records(is_over=True))
        counts = count_values(stored_names(store), own=own is not None)
        replace(record, values=counts, written_since_boot="").write(store)
    error = error_of(report, strict=strict, is_stopped=run.is_stopped)
    if error is not None:
        error.report = report
        raise error
    return report


def _plan_own(
    paths: Mapping[str, Path],
    root: Path | None,
    tables: Sequence[str | Path],
    how: dict[str, Any],
    labels: dict[str, Any],
    *,
    strict: bool,
) -> "OwnEncoding | None":
    """Return what is to be encoded if the patches are one's own: by arguments, or by their files.

    Args:
        paths: Kind -> folder.
        root: A folder of both kinds.
        tables: Metadata, which are those of others.
        how: Arguments of `OwnOptions`.
        labels: Arguments of `Labelling`.
        strict: As for `encode`.
    """
    defaults = {"resample": "exact", "seed": labels["seed"]}
    is_said = any(value != defaults.get(name) for name, value in (how | labels).items())
    if not is_said and (root is None or paths or not looks_own(root)):
        return None
    # These import what reads tables, which takes as long as all else.
    from reben.data.encoding.own import OwnOptions
    from reben.data.encoding.own_inputs import plan_own
    from reben.data.encoding.own_table import Labelling

    own = plan_own(paths, root, OwnOptions(**how), Labelling(**labels), strict=strict)
    if tables:
        raise ConfigError(
            f"The metadata of patches of your own come from --labels: --labels {tables[0]}"
        )
    return own


def _check_settings(workers: int | None, limit: int | None, split: str | None) -> None:
    if workers is not None:
        require_whole("workers", workers)
    if limit is not None:
        require_whole("limit", limit)
    if split not in (None, *SPLITS):
        raise ConfigError(f"No split {split!r}. Known: {', '.join(SPLITS)}.")


def _refuse(store: Path, holder: str) -> StoreError:
    return StoreError(
        f"The store {store} is being encoded by {holder}. Wait until it is done, or choose "
        "another folder; one call encodes several inputs at once."
    )


def _warn_of_part(store: Path, record: StoreRecord) -> None:
    """Say that the metadata in a store may not list what is encoded now."""
    if any(source.selection for source in record.sources):
        _log.warning(
            "The metadata in %s list what earlier calls selected. Patches that they do not list "
            "are encoded and not used, until you name the metadata of all of them with --metadata.",
            store,
        )


def _keep(
    store: Path,
    metadata: Iterable[str | Path],
    own: "OwnEncoding | None",
    record: StoreRecord,
    filters: tuple[str | None, Sequence[str] | None, int | None],
) -> tuple[list[Path], Selection]:
    """Write metadata into the store; return its files, and what they and the filters select."""
    if own is not None:
        from reben.data.encoding.own_inputs import keep_own

        files = keep_own(store, own, record)
        return files, select(files, *filters)
    if record.own is not None:
        raise StoreError(
            f"The store {store} holds other patches ({record.own.scheme}). Encode these into "
            "another folder."
        )
    listing = find_metadata(metadata, store)
    selection = select([*listing.values()], *filters)
    files = keep_metadata(listing, store, selection)
    if not selection.asked and any(store / name == path for name, path in listing.items()):
        _warn_of_part(store, record)
    return files, selection


def _begin(store: Path) -> StoreRecord:
    """Return the record of a store that can be written, new or old."""
    with ValueWriter(store):
        return StoreRecord.read(store)


def _open_inputs(paths: Mapping[str, Path], executor: Executor | None) -> list[EncodeInput]:
    inputs = [EncodeInput.find(kind, paths[name]) for name, kind in KINDS.items() if name in paths]
    if not inputs:
        raise ConfigError("There is nothing to encode. Pass a folder, s1, s2 or reference_maps.")
    num_pipes = sum(source.is_pipe for source in inputs)
    if num_pipes > 1:
        raise ConfigError("Only one input can come from stdin. Encode the others in another call.")
    if num_pipes and executor is not None:
        raise ConfigError("An executor cannot read from stdin. Leave it out, or name an archive.")
    return inputs
