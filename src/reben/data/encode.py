"""Band files become a store: from folders or archives, at the speed of the machine.

Every worker process reads files, joins their pixels to values and writes these itself, in
transactions of some 32 MB; see `reben.data.encoding.jobs`. A store is valid at every moment, and
whatever stops an encoding, the same call goes on from there.
"""

import json
import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import closing
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import NoReturn

from reben.data.encoding.inputs import FolderScan, Selection, Source, keep_metadata, select
from reben.data.encoding.jobs import Job, NameSet, do_jobs
from reben.data.encoding.report import MAX_NAMED, EncodeReport, Failure, Step, Tally
from reben.data.storage.environment import DATA_FILE, stored_names
from reben.data.storage.record import SourceRecord, StoreRecord, count_values
from reben.data.storage.value import KINDS, REFERENCE_MAP, SENTINEL1, SENTINEL2
from reben.data.storage.writer import Flusher, ValueWriter, boot_id
from reben.errors import ArchiveError, ConfigError, EncodeError
from reben.support.atomic import write_text
from reben.support.processes import usable_cores

REPORT_FILE = "encode-report.json"
"""Where the report of the last encoding lies in the folder of the store."""

Progress = Callable[[int, int | None, int], None]
"""Called with patches done, patches in all as far as known, and bytes written."""

_log = logging.getLogger(__name__)


def encode(  # noqa: PLR0913
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
) -> EncodeReport:
    """Write the patches of folders or archives into a store, and return what was done.

    Each input is an unpacked folder; or an archive as published, ``.tar``, ``.tar.gz`` or
    ``.tar.zst``; or the first of the parts that an archive was split into; or ``-``, an archive
    on stdin. Archives are read as streams and never unpacked to disk.

    What the store has already is passed over by its name, unread: to verify a store, use
    `reben.data.inspection.verify_store`. A second call may add other inputs to the same store.

    Where there are metadata, the report counts and names the patches that they list and that are
    not there.

    A patch with a file that is damaged, missing, unknown, or of another size or dtype is left out
    whole, and named in the report; so is the second of two patches of the same name and
    different pixels. The same input gives the same bytes for every value.

    Args:
        out: Folder of the store; made if it is not there.
        s1: Sentinel-1 patches, float32 in dB.
        s2: Sentinel-2 patches, uint16.
        reference_maps: Reference maps, uint16 CORINE codes.
        metadata: Metadata tables, which are kept in the store. Those of an earlier call count
            as well.
        workers: Processes; as many as there are processors by default. An archive keeps one of
            them busy.
        split: Encode only this split.
        countries: Encode only patches of these countries.
        limit: Encode only this many patches, the first ones of the metadata.
        strict: Stop at the first patch that would be left out, and take patches that the metadata
            list and that are not there for an error too.
        progress: Called now and then with patches done, patches in all (None as long as nobody
            knows; an estimate for archives) and bytes written.
        folder: A folder that `reben.download` filled, or an unpacked tree: the inputs and the
            metadata in it are found, logged, and used unless they are given.
        executor: Does the work instead of processes that are started for it. Its workers must run
            on this machine; threads take turns. Progress is then shown at the end of each archive.

    Returns:
        Counts, and the patches that were left out (none).

    Raises:
        EncodeError: If patches were left out, or with ``strict`` are not there, after everything
            else was done; the report is its attribute ``report``, and lies in the store as
            ``encode-report.json``.
        ArchiveError: If an archive is damaged or not to be trusted, also at the end.
        ConfigError: If there is no input, two come from stdin, or a filter lacks metadata.
        MetadataError: If the metadata cannot be read, or leave no patch.
        OutputError: If the store cannot be written, for example for want of space; what was
            written before is valid.
    """
    started = time.perf_counter()
    given = {SENTINEL2.name: s2, SENTINEL1.name: s1, REFERENCE_MAP.name: reference_maps}
    inputs = {kind: Path(path) for kind, path in given.items() if path is not None}
    if folder is not None:
        from reben.data.encoding.find import find_inputs

        found = find_inputs(Path(folder), inputs)
        inputs = found.inputs | inputs
        metadata = [*metadata] or found.metadata
    sources = _find_sources(inputs)
    if executor is not None and any(source.is_pipe for source in sources):
        raise ConfigError("An executor cannot read from stdin. Leave it out, or name an archive.")
    if workers is not None and workers < 1:
        raise ConfigError(f"workers must be at least 1, and it is {workers}.")
    store = Path(out)
    with ValueWriter(store):
        record = StoreRecord.read(store)
    files = keep_metadata(metadata, store)
    selection = select(files, split, countries, limit)
    record = replace(
        record.with_sources(_records(sources, selection)),
        metadata=tuple(file.name for file in files),
        values=None,
        written_since_boot=boot_id(),
    )
    record.write(store)
    run = _Run(store, sources, selection, strict=strict, progress=progress)
    try:
        with Flusher(store / DATA_FILE) as flusher:
            run.work(workers or usable_cores(), executor)
    except KeyboardInterrupt:
        replace(record, written_since_boot="").write(store)
        _log.warning(
            "Interrupted after %d new patches. The store is valid; the same command goes on "
            "from there.",
            run.tally.new.total(),
        )
        raise
    seconds = time.perf_counter() - started
    report = run.report(
        seconds, flusher.seconds, _find_absent(store, sources, selection, run.tally)
    )
    write_text(store / REPORT_FILE, json.dumps(report.to_dict(), indent=2) + "\n")
    if not run.is_stopped:
        record = record.with_sources(_records(sources, selection, run.tally))
    counts = count_values(stored_names(store))
    replace(record, values=counts, written_since_boot="").write(store)
    run.raise_errors(report)
    return report


def _find_sources(inputs: Mapping[str, Path]) -> list[Source]:
    sources = [Source.find(kind, inputs[name]) for name, kind in KINDS.items() if name in inputs]
    if not sources:
        raise ConfigError("There is nothing to encode. Pass a folder, s1, s2 or reference_maps.")
    if sum(source.is_pipe for source in sources) > 1:
        raise ConfigError("Only one input can come from stdin. Encode the others by another call.")
    return sources


def _records(
    sources: Iterable[Source], selection: Selection, tally: Tally | None = None
) -> Iterator[SourceRecord]:
    for source in sources:
        kind = source.kind.name
        num_failures = tally.failed[kind] if tally else 0
        is_finished = tally is not None and kind not in tally.broken
        yield SourceRecord(kind, source.name, selection.asked, num_failures, is_finished)


def _find_absent(
    store: Path, sources: Iterable[Source], selection: Selection, tally: Tally
) -> dict[str, list[str]]:
    """Return kind -> patch folders that the metadata list, neither stored nor left out."""
    if selection.listed is None:
        return {}
    stored = NameSet(stored_names(store))
    return {
        source.kind.name: [
            name
            for name in selection.folders(source.kind)
            if name + source.kind.suffix not in stored
            and (source.kind.name, name) not in tally.failed_names
        ]
        for source in sources
    }


class _Run:
    """One encoding: what is done so far, and what has gone wrong."""

    def __init__(
        self,
        store: Path,
        sources: list[Source],
        selection: Selection,
        *,
        strict: bool,
        progress: Progress | None,
    ) -> None:
        self.tally = Tally()
        self._store = store
        self._sources = sources
        self._selection = selection
        self._strict = strict
        self._progress = progress
        self._num_folders: dict[str, int] = {}
        self.is_stopped = False

    def work(self, num_processes: int, executor: Executor | None) -> None:
        """Do everything that the store does not have."""
        there = NameSet(stored_names(self._store))
        archives: list[Job] = []
        scans = []
        for source in self._sources:
            wanted = self._selection.wanted.get(source.kind.name)
            if source.folder is None:
                archives.append(source.archive_job(wanted, there))
            else:
                scan = FolderScan(source, wanted, there, num_processes)
                self._num_folders[source.kind.name] = scan.num_folders + scan.num_there
                self._take(Step(source.kind.name, num_there=scan.num_there))
                scans.append(scan)
        folders = (job for scan in scans for job in scan.jobs())
        late = (job for scan in scans for job in scan.late_jobs())
        do = partial(
            do_jobs,
            store=self._store,
            num_processes=num_processes,
            strict=self._strict,
            pipe=sys.stdin.fileno() if any(s.is_pipe for s in self._sources) else None,
            executor=executor,
        )
        for jobs in (chain(archives, folders), late):
            with closing(do(jobs)) as steps:
                for step in steps:
                    self._take(step)
                    if self._strict and (step.failures or step.broken):
                        self.is_stopped = True
                        return
        for source in self._sources:
            self._require_patches(source)

    def report(
        self, seconds: float, flush_seconds: float, absent: Mapping[str, Sequence[str]]
    ) -> EncodeReport:
        """Return what was done."""
        tally = self.tally
        kinds = [source.kind.name for source in self._sources]
        return EncodeReport(
            store=self._store.resolve().name,
            new={kind: tally.new[kind] for kind in kinds},
            there={kind: tally.there[kind] for kind in kinds},
            same={kind: tally.same[kind] for kind in kinds},
            absent={kind: len(names) for kind, names in absent.items()},
            failed={kind: tally.failed[kind] for kind in kinds},
            broken=tuple(tally.broken.values()),
            failures=tuple(sorted(tally.failures)),
            num_bytes=tally.num_bytes,
            seconds=seconds,
            flush_seconds=flush_seconds,
            finished=not tally.broken and not self.is_stopped,
            absent_names={kind: tuple(names[:MAX_NAMED]) for kind, names in absent.items()},
        )

    def raise_errors(self, report: EncodeReport) -> None:
        """Raise what has gone wrong, if anything has.

        Raises:
            ArchiveError: If an input could not be read to its end.
            EncodeError: If patches were left out.
        """
        num_failed = sum(report.failed.values())
        if not num_failed and not report.broken:
            if self._strict and any(report.absent.values()):
                self._raise_absent(report)
            return
        first = [*report.broken, *report.failures][0]
        left_out = (
            f"{num_failed} of {sum(map(self.tally.seen, report.failed))} patches were left out, "
            f"the first one {first.name}: {first.reason}. "
        )
        error = EncodeError(
            f"{left_out}All are listed in {REPORT_FILE} in the store. Mend the files and give "
            "the same command again: it does only what is missing."
        )
        if report.broken:
            error = ArchiveError(
                f"{first.reason} {num_failed} patches were left out as well."
                if num_failed
                else first.reason
            )
        elif self.is_stopped:
            error = EncodeError(f"Stopped at {first.name}: {first.reason}. The store is valid.")
        error.report = report
        raise error

    @staticmethod
    def _raise_absent(report: EncodeReport) -> NoReturn:
        lacking = ", ".join(
            f"{num_absent} {kind}, the first one {report.absent_names[kind][0]}"
            for kind, num_absent in report.absent.items()
            if num_absent
        )
        error = EncodeError(
            f"The metadata list patches that are not there: {lacking}. All that is there was "
            "encoded. Add the missing ones and give the same command again, or leave out strict."
        )
        error.report = report
        raise error

    def _take(self, step: Step) -> None:
        self.tally.add(step)
        if self._progress is not None:
            kinds = [source.kind.name for source in self._sources]
            done = sum(map(self.tally.seen, kinds))
            self._progress(done, self._count_all(), self.tally.num_bytes)

    def _count_all(self) -> int | None:
        """Return how many patches there are, as far as it is known."""
        total = 0
        for source in self._sources:
            kind = source.kind.name
            if kind in self._num_folders:
                total += self._num_folders[kind]
            elif self._selection.wanted:
                total += len(self._selection.wanted[source.kind.name])
            elif source.num_bytes and self.tally.read_bytes[kind]:
                share = self.tally.read_bytes[kind] / source.num_bytes
                total += round(self.tally.seen(kind) / min(share, 1))
            else:
                return None
        return total

    def _require_patches(self, source: Source) -> None:
        kind = source.kind.name
        if self.tally.seen(kind) or kind in self.tally.broken:
            return
        asked = " that was asked for" if self._selection.wanted else ""
        reason = f"There is no {kind} patch{asked} in {source.name}. Is it the right input?"
        self._take(Step(kind, broken=Failure(kind, source.name, reason)))
