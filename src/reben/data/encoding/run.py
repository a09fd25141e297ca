"""One encoding at work: its inputs, its jobs, and what came of them."""

import logging
import sys
from collections.abc import Container, Iterator
from concurrent.futures import Executor
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from reben.data.encoding.inputs import (
    EncodeInput,
    FolderScan,
    Selection,
)
from reben.data.encoding.jobs import Job, NameSet, Without
from reben.data.encoding.report import MAX_NAMED, EncodeReport, Failure, Progress, Step, Tally
from reben.data.encoding.workers import do_jobs
from reben.data.places import require_one_place
from reben.data.storage.environment import DATA_FILE, stored_names
from reben.data.storage.record import SourceRecord, StoreRecord
from reben.data.storage.value import SENTINEL1
from reben.data.storage.writer import Flush, ValueWriter, flushing
from reben.errors import OutputError, PlaceError, RebenError
from reben.spec.patches import place_of_name

if TYPE_CHECKING:
    from reben.data.encoding.own import OwnScan

_log = logging.getLogger(__name__)


@dataclass
class EncodingRun:
    """One encoding: what is to be done, what was done, and what went wrong."""

    store: Path
    inputs: list[EncodeInput]
    selection: Selection
    strict: bool
    progress: Progress | None
    tally: Tally = field(default_factory=Tally)
    is_stopped: bool = False
    num_folders: dict[str, int] = field(default_factory=dict)

    def records(self, *, is_over: bool) -> Iterator[SourceRecord]:
        """Yield what the store's record says of each input."""
        for source in self.inputs:
            kind = source.kind.name
            is_finished = is_over and kind not in self.tally.broken
            yield SourceRecord(
                kind, source.name, self.selection.asked, self.tally.failed[kind], is_finished
            )

    def work(self, record: StoreRecord, num_processes: int, executor: Executor | None) -> float:
        """Encode everything that the store lacks; return the seconds of waiting for the disk.

        Where it is stopped, ``record`` tells that what was committed is on disk.
        """
        flushed = Flush()
        try:
            with flushing(self.store / DATA_FILE) as flushed:
                self._encode(num_processes, executor)
        except (KeyboardInterrupt, RebenError) as error:
            if flushed.is_done:
                with suppress(OutputError):  # the disk may be full
                    replace(record, written_since_boot="").write(self.store)
            if isinstance(error, KeyboardInterrupt):
                _log.warning(
                    "Interrupted after %d new patches. The store is valid; the same command goes "
                    "on from there.",
                    self.tally.new.total(),
                )
            raise
        return flushed.seconds

    def _encode(self, num_processes: int, executor: Executor | None) -> None:
        there = NameSet(stored_names(self.store))
        scans: list[FolderScan | OwnScan] = []
        do = partial(
            do_jobs,
            store=self.store,
            num_processes=num_processes,
            strict=self.strict,
            pipe=sys.stdin.fileno() if any(source.is_pipe for source in self.inputs) else None,
            executor=executor,
        )
        late = chain.from_iterable(scan.late_jobs() for scan in scans)
        for jobs in (self._find_jobs(there, scans, num_processes), late):
            with closing(do(jobs, is_eager=jobs is not late)) as steps:
                for step in steps:
                    self._take(step)
                    if self.strict and (step.failures or step.broken):
                        self.is_stopped = True
                        return
        self._leave_out_apart(there)
        for source in self.inputs:
            self._require_patches(source)

    def _find_jobs(
        self, there: NameSet, scans: "list[FolderScan | OwnScan]", num_processes: int
    ) -> Iterator[Job]:
        """Search the inputs, add the scans of folders to ``scans``, and yield the jobs."""
        archives: list[Job] = []
        for source in self.inputs:
            wanted: Container[str] | None = self.selection.wanted.get(source.kind.name)
            if source.kind is SENTINEL1 and (wrong := self._name_mispaired()):
                wanted = Without(wanted, wrong)
            if source.folder is None:
                archives.append(source.archive_job(wanted, there))
            else:
                scan = source.scan(wanted, there, num_processes)
                self.num_folders[source.kind.name] = scan.num_folders + scan.num_there
                self._take(Step(source.kind.name, num_there=scan.num_there))
                scans.append(scan)
        yield from archives
        for scan in scans:
            yield from scan.jobs()

    def _leave_out_apart(self, there: NameSet) -> None:
        """Take Sentinel-1 patches out whose files lie elsewhere than those of their pair.

        Only patches that this call encoded are compared: the store keeps no places.
        """
        moved, listed = self.tally.moved, self.selection.listed
        if not moved or listed is None:
            return
        stored = NameSet(stored_names(self.store))
        failures = []
        for pair in zip(listed.patch_ids, listed.s1_names, strict=True):
            if moved.keys().isdisjoint(pair) or any(n in there or n not in stored for n in pair):
                continue
            try:
                require_one_place(
                    {
                        f"the files of {name}": moved.get(name) or place_of_name(name)
                        for name in pair
                    }
                )
            except PlaceError as error:
                failures.append(Failure(SENTINEL1.name, pair[1], str(error).rstrip(".")))
        if failures:
            with ValueWriter(self.store) as writer:
                writer.remove(failure.name for failure in failures)
            self._take(Step(SENTINEL1.name, -len(failures), failures=tuple(failures)))

    def _name_mispaired(self) -> NameSet | None:
        """Report pairs of two places; return the names of their Sentinel-1 patches."""
        wrong = list(self.selection.mispaired())
        failures = tuple(
            Failure(SENTINEL1.name, name, f"by its name it lies elsewhere than its pair, {pair}")
            for pair, name in wrong
        )
        self._take(Step(SENTINEL1.name, failures=failures))
        return NameSet(name for _, name in wrong) if wrong else None

    def report(self, seconds: float, flush_seconds: float) -> EncodeReport:
        """Return what was done, in so many seconds, some of them of waiting for the disk."""
        tally, kinds = self.tally, [source.kind.name for source in self.inputs]
        absent = dict(self._find_absent())
        return EncodeReport(
            store=self.store.resolve().name,
            new={kind: tally.new[kind] for kind in kinds},
            there={kind: tally.there[kind] for kind in kinds},
            same={kind: tally.same[kind] for kind in kinds},
            absent={kind: len(names) for kind, names in absent.items()},
            num_bytes=tally.num_bytes,
            failed={kind: tally.failed[kind] for kind in kinds},
            filled={kind: tally.filled[kind] for kind in kinds if tally.filled[kind]},
            broken=tuple(tally.broken.values()),
            failures=tuple(sorted(tally.failures)),
            seconds=seconds,
            flush_seconds=flush_seconds,
            finished=not tally.broken and not self.is_stopped,
            absent_names={kind: tuple(names[:MAX_NAMED]) for kind, names in absent.items()},
        )

    def _find_absent(self) -> Iterator[tuple[str, list[str]]]:
        """Yield each kind with the patches that the metadata list, neither stored nor left out."""
        if self.selection.listed is None:
            return
        stored = NameSet(stored_names(self.store))
        for kind in (source.kind for source in self.inputs):
            listed = self.selection.folders(kind)
            absent = (name for name in listed if name + kind.suffix not in stored)
            failed = self.tally.failed_names
            yield kind.name, [name for name in absent if (kind.name, name) not in failed]

    def _take(self, step: Step) -> None:
        self.tally.add(step)
        if self.progress is not None:
            done = sum(self.tally.seen(source.kind.name) for source in self.inputs)
            self.progress(done, self._count_all(), self.tally.num_bytes)

    def _count_all(self) -> int | None:
        """Return how many patches there are, if it is known or can be estimated."""
        total = 0
        for source in self.inputs:
            kind = source.kind.name
            if kind in self.num_folders:
                total += self.num_folders[kind]
            elif self.selection.wanted:
                total += len(self.selection.wanted[kind])
            elif source.num_bytes and self.tally.read_bytes[kind]:
                share = self.tally.read_bytes[kind] / source.num_bytes
                total += round(self.tally.seen(kind) / min(share, 1))
            else:
                return None
        return total

    def _require_patches(self, source: EncodeInput) -> None:
        kind = source.kind.name
        if self.tally.seen(kind) or kind in self.tally.broken:
            return
        asked = " that was asked for" if self.selection.wanted else ""
        reason = f"There is no {kind} patch{asked} in {source.name}. Is it the right input?"
        self._take(Step(kind, broken=Failure(kind, source.name, reason)))
