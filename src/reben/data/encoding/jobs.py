"""The work of encoding, cut into jobs: one process does a job from reading to writing.

Only names cross between processes, never pixels.
"""

from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import Protocol, Self

import numpy as np

from reben.data.archives.stream import RawStream, decompress, read_ahead
from reben.data.encoding.patch_files import (
    PatchFiles,
    PatchFilesError,
    patches_of_archive,
    read_patch_files,
)
from reben.data.encoding.quick import quick_reader
from reben.data.encoding.report import Failure, Step
from reben.data.storage.value import KINDS, Kind, blob_layout, view_tensor
from reben.data.storage.writer import ValueWriter
from reben.errors import ArchiveError, RebenError, first_line
from reben.spec.patches import Bounds

BATCH_BYTES = 4 << 20
"""Size of a transaction: its values are still in the cache of the processor when it is written."""
READER_ERRORS = (
    *(PatchFilesError, RebenError, OSError, ValueError, TypeError, LookupError),
    *(ArithmeticError, RuntimeError, MemoryError),
)
"""What readers raise for a file, also where nobody foresaw what it holds."""
DIFFERENT = "it is there twice, with different pixels; the one that came first was kept"
OTHER = (
    "the store has other pixels under this name, and keeps them; perhaps it was made from another "
    "data set, since only some of the patches that it had were compared"
)
NUM_COMPARED = 16
"""Patches of an input that are compared with what the store had of them before."""


class ValueToBe(Protocol):
    """What a batch makes a value of; see `reben.data.encoding.patch_files.PatchFiles`."""

    @property
    def name(self) -> str:
        """Of the value, without the suffix of its kind."""

    @property
    def num_filled(self) -> int:
        """Bands of which pixels without data were filled, once the value is made."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What is to be said of it, once the value is made."""

    @property
    def moved_to(self) -> Bounds | None:
        """Where it lies, if that is not where its name says."""

    def value(self, kind: Kind) -> bytes:
        """Return the value."""


class NameSet:
    """A set of names that takes eight bytes a name, the same in every process.

    Any two names are confused with a chance of one in 10^19.

    Example:
        >>> names = NameSet(["a", "b"])
        >>> "a" in names, "c" in names, len(names)
        (True, False, 2)
    """

    def __init__(self, names: Iterable[str]) -> None:
        hashes = np.unique(np.fromiter(map(_hash, names), np.uint64))
        self._hashes = array("Q", hashes.tobytes())

    def __contains__(self, name: object) -> bool:
        if not isinstance(name, str):
            return False
        number = _hash(name)
        place = bisect_left(self._hashes, number)
        return place < len(self._hashes) and self._hashes[place] == number

    def __len__(self) -> int:
        return len(self._hashes)


@dataclass(frozen=True)
class Without:
    """Names that are wanted (None: all) and not left out."""

    wanted: Container[str] | None
    left_out: NameSet

    def __contains__(self, name: object) -> bool:
        return name not in self.left_out and (self.wanted is None or name in self.wanted)


def _hash(name: str) -> int:
    content = name.encode("utf-8", "surrogateescape")
    return int.from_bytes(blake2b(content, digest_size=8).digest(), "little")


@dataclass(frozen=True)
class FolderJob:
    """Encode the patch folders at some paths."""

    kind: str
    folders: list[str]
    is_again: bool = False
    """Whether a process died that did it, so that part of it may be done."""
    is_there: bool = False
    """Whether they were in the store before, and counted; then they are only compared with it."""

    @property
    def name(self) -> str:
        """What it is called in messages."""
        return self.folders[0]

    @property
    def is_alone(self) -> bool:
        """Whether a patch of its own is what ends the process."""
        return self.is_again and len(self.folders) == 1

    def parts(self, num_done: int) -> list[Self]:
        """Return what is left to do after its process died: the rest once more, then in halves."""
        rest = self.folders[num_done:]
        if self.is_alone or not rest:
            return []
        half = (len(rest) + 1) // 2 if self.is_again else len(rest)
        parts = rest[:half], rest[half:]
        return [replace(self, folders=part, is_again=True) for part in parts if part]

    def as_failure(self, error: BaseException) -> Step:
        """Return the step that leaves out its only patch."""
        reason = f"the process that read it ended ({first_line(error)})"
        return Step(self.kind, failures=(_failure(KINDS[self.kind], _name(self.name), reason),))

    def run(self, writer: ValueWriter, *, strict: bool, pipe: int | None) -> Iterator[Step]:
        """Do it, and yield what was done after every commit."""
        batch = Batch(KINDS[self.kind], writer)
        quick = quick_reader(writer, batch.kind)
        for folder in self.folders:
            if self.is_there:
                batch.compare(read_patch_files(folder, batch.kind))
                continue
            if self.is_again and writer.get(_name(folder) + batch.kind.suffix) is not None:
                batch.num_found += 1
                continue
            if (value := quick.read(folder)) is not None:
                writer.add(_name(folder) + batch.kind.suffix, value)
            elif batch.add(patch := read_patch_files(folder, batch.kind)):
                quick.learn(patch)
            if batch.is_full or (strict and batch.failures):
                step = batch.commit()
                quick.free()
                yield step
        step = batch.commit()
        quick.free()
        yield step


@dataclass(frozen=True)
class ArchiveJob:
    """Encode the wanted patches of an archive (None: all) that the store did not have."""

    kind: str
    name: str
    parts: tuple[Path, ...]
    """Its files, in order; none for stdin."""
    wanted: Container[str] | None
    there: NameSet

    def run(self, writer: ValueWriter, *, strict: bool, pipe: int | None) -> Iterator[Step]:
        """Do it, and yield what was done after every commit.

        If the archive is damaged or cannot be trusted, the last step says so; patches that were
        complete before are written.
        """
        batch = Batch(KINDS[self.kind], writer)
        raw = RawStream(self.parts or (0 if pipe is None else pipe))
        try:
            with closing(read_ahead(decompress(raw, self.name))) as chunks:
                compared: set[str] = set()
                wants = self._wants(batch, compared)
                for patch in patches_of_archive(chunks, self.name, batch.kind, wants):
                    if patch.name in compared:
                        compared.remove(patch.name)
                        batch.compare(patch)
                    elif patch.problem is None and len(patch.files) < len(batch.kind.sizes):
                        yield batch.commit(raw.num_read)
                        batch.settle(patch)
                    else:
                        batch.add(patch)
                    if batch.is_full or (strict and batch.failures):
                        yield batch.commit(raw.num_read)
            yield batch.commit(raw.num_read)
        except ArchiveError as error:
            yield batch.commit(raw.num_read)
            yield Step(self.kind, broken=Failure(self.kind, self.name, str(error)))

    def _wants(self, batch: "Batch", compared: set[str]) -> Callable[[str], bool]:
        seen: set[int] = set()

        def wants(patch: str) -> bool:
            if self.wanted is not None and patch not in self.wanted:
                return False
            if patch + batch.kind.suffix not in self.there:
                return True
            is_again = hash(patch) in seen
            seen.add(hash(patch))
            batch.num_there += not is_again
            if not is_again and len(seen) <= NUM_COMPARED:
                compared.add(patch)
                return True
            return is_again

        return wants


Job = FolderJob | ArchiveJob


class Batch:
    """Values up to their commit, with what else a step says."""

    def __init__(self, kind: Kind, writer: ValueWriter) -> None:
        self.kind = kind
        self.num_there = 0
        self.num_found = 0
        """Values that were written by a process that died before it could tell."""
        self.num_filled = 0
        self.moved: dict[str, Bounds] = {}
        self.notes: Counter[str] = Counter()
        self.failures: list[Failure] = []
        self._writer = writer
        self._num_same = 0

    @property
    def is_full(self) -> bool:
        """Whether it is time for a commit."""
        return self._writer.pending_bytes >= BATCH_BYTES

    def add(self, patch: ValueToBe) -> bool:
        """Make a value of a patch, or a failure; tell whether it is a value."""
        try:
            value = patch.value(self.kind)
        except READER_ERRORS as error:
            self.fail(patch.name, error)
            return False
        self._writer.add(patch.name + self.kind.suffix, value)
        self.num_filled += bool(patch.num_filled)
        self.notes.update(patch.notes)
        if patch.moved_to is not None:
            self.moved[patch.name] = patch.moved_to
        return True

    def compare(self, patch: ValueToBe) -> None:
        """Make a failure of a patch that differs from what the store had of it before."""
        there = self._writer.get(patch.name + self.kind.suffix)
        with suppress(*READER_ERRORS):  # what is there need not be good here any more
            if there is not None and _tensors(there) != _tensors(patch.value(self.kind)):
                self.num_there -= 1
                self._fail(patch.name, OTHER)

    def settle(self, patch: PatchFiles) -> None:
        """Make a failure of a patch that lacks files, unless its value was written before."""
        value = self._writer.get(patch.name + self.kind.suffix)
        try:
            if value is None:
                patch.value(self.kind)
            elif patch.agrees(self.kind, value):
                self._num_same += 1
            else:
                self._fail(patch.name, DIFFERENT)
        except READER_ERRORS as error:
            self._fail(patch.name, _reason(error))

    def commit(self, read_bytes: int = 0) -> Step:
        """Write the values and return what was done since the last commit."""
        stored = self._writer.commit()
        for name in stored.different:
            self._fail(name.removesuffix(self.kind.suffix), DIFFERENT)
        num_same = self._num_same + len(stored.same)
        num_bytes = stored.num_bytes + self.num_found * self.kind.num_bytes
        step = Step(
            self.kind.name, stored.num_new + self.num_found, self.num_there, num_same, num_bytes,
            tuple(self.failures), read_bytes, num_filled=self.num_filled,
            moved=self.moved, notes=self.notes,
        )  # fmt: skip
        self.num_there = self.num_found = self.num_filled = self._num_same = 0
        self.failures, self.moved, self.notes = [], {}, Counter()
        return step

    def fail(self, patch: str, error: Exception) -> None:
        """Make a failure of a patch that cannot be read."""
        self._fail(patch, _reason(error))

    def _fail(self, patch: str, reason: str) -> None:
        self.failures.append(_failure(self.kind, patch, reason))


def _failure(kind: Kind, patch: str, reason: str) -> Failure:
    # A name may hold bytes that are not text; the report cannot.
    texts = [text.encode(errors="backslashreplace").decode() for text in (patch, reason)]
    return Failure(kind.name, *texts)


def _tensors(value: bytes) -> dict[str, bytes]:
    """Return the pixels in a value, in whichever order its writer left them."""
    places = blob_layout(value, "it")
    return {tensor: view_tensor(value, place).tobytes() for tensor, place in places.items()}


def _name(folder: str) -> str:
    return folder[folder.rfind("/") + 1 :]


def _reason(error: Exception) -> str:
    if isinstance(error, PatchFilesError | RebenError):
        return str(error).rstrip(".")
    return f"cannot be read ({type(error).__name__}: {first_line(error)})"
