"""The work of encoding, cut into jobs; one process does a job from reading to writing."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from reben.data.byte_stream import RawStream, decompress, read_ahead
from reben.data.encode_report import Failure, Step
from reben.data.name_set import NameSet
from reben.data.patch_files import PatchFiles, patches_of_archive, read_patch_files
from reben.data.value import KINDS, Kind, KindName, PatchFilesError
from reben.data.value_writer import ValueWriter
from reben.errors import ArchiveError

BATCH_BYTES = 32 << 20
"""Size of a transaction: large enough that waiting for the disk does not count."""
DIFFERENT = "it is there twice, with different pixels; the one that came first was kept"


@dataclass(frozen=True)
class FolderJob:
    """Encode some patch folders.

    Args:
        kind: What they hold.
        folders: Their paths.
    """

    kind: KindName
    folders: list[str]

    def run(self, writer: ValueWriter, *, strict: bool) -> Iterator[Step]:
        """Do it, and yield what was done after every commit."""
        batch = _Batch(KINDS[self.kind], writer)
        for folder in self.folders:
            batch.add(read_patch_files(folder, batch.kind))
            if batch.is_full or (strict and batch.failures):
                yield batch.commit()
        yield batch.commit()


@dataclass(frozen=True)
class ArchiveJob:
    """Encode the patches of an archive.

    Args:
        kind: What they hold.
        name: What the archive is called in messages.
        parts: Its files, in order; none for the pipe that the worker was given.
        wanted: Names of the patch folders to encode; all if None.
        there: Names of the values that the store had when the encoding began.
    """

    kind: KindName
    name: str
    parts: tuple[Path, ...]
    wanted: NameSet | None
    there: NameSet

    def run(self, writer: ValueWriter, *, strict: bool, pipe: int | None = None) -> Iterator[Step]:
        """Do it, and yield what was done after every commit.

        Raises:
            ArchiveError: If the archive is damaged or not to be trusted; patches that were
                complete before are written.
        """
        batch = _Batch(KINDS[self.kind], writer)
        raw = RawStream(self.parts or (0 if pipe is None else pipe))
        chunks = read_ahead(decompress(raw, self.name))
        try:
            for patch in patches_of_archive(chunks, self.name, batch.kind, self._wants(batch)):
                if patch.problem is None and len(patch.files) < len(batch.kind.sizes):
                    yield batch.commit(raw.num_read)
                    batch.settle(patch)
                else:
                    batch.add(patch)
                if batch.is_full or (strict and batch.failures):
                    yield batch.commit(raw.num_read)
        except ArchiveError:
            yield batch.commit(raw.num_read)
            raise
        finally:
            chunks.close()
        yield batch.commit(raw.num_read)

    def _wants(self, batch: "_Batch") -> Callable[[str], bool]:
        def wants(patch: str) -> bool:
            if self.wanted is not None and patch not in self.wanted:
                return False
            if patch + batch.kind.suffix in self.there:
                batch.num_there += 1
                return False
            return True

        return wants


Job = FolderJob | ArchiveJob


class _Batch:
    """Values until their commit, and what else there is to say of it."""

    def __init__(self, kind: Kind, writer: ValueWriter) -> None:
        self.kind = kind
        self.num_there = 0
        self.failures: list[Failure] = []
        self._writer = writer
        self._num_same = 0

    @property
    def is_full(self) -> bool:
        """Whether it is time to commit."""
        return self._writer.pending_bytes >= BATCH_BYTES

    def add(self, patch: PatchFiles) -> None:
        """Make a value of a patch, or a failure."""
        try:
            if patch.problem is not None:
                raise PatchFilesError(patch.problem)
            self._writer.add(patch.name + self.kind.suffix, self.kind.value(patch.files))
        except PatchFilesError as error:
            self._fail(patch.name, str(error))

    def settle(self, patch: PatchFiles) -> None:
        """Make a failure of a patch that lacks files, unless its value was written before."""
        value = self._writer.get(patch.name + self.kind.suffix)
        try:
            if value is None:
                self.kind.value(patch.files)
            elif self.kind.agrees(patch.files, value):
                self._num_same += 1
            else:
                self._fail(patch.name, DIFFERENT)
        except PatchFilesError as error:
            self._fail(patch.name, str(error))

    def commit(self, read_bytes: int = 0) -> Step:
        """Write the values and return what was done since the last commit."""
        written = self._writer.commit()
        for name in written.different:
            self._fail(name.removesuffix(self.kind.suffix), DIFFERENT)
        step = Step(
            kind=self.kind.name,
            num_new=written.num_new,
            num_there=self.num_there,
            num_same=self._num_same + len(written.same),
            num_bytes=written.num_bytes,
            failures=tuple(self.failures),
            read_bytes=read_bytes,
        )
        self.num_there = self._num_same = 0
        self.failures = []
        return step

    def _fail(self, patch: str, reason: str) -> None:
        # A name may hold bytes that are no text; the report does.
        patch, reason = (
            text.encode(errors="backslashreplace").decode() for text in (patch, reason)
        )
        self.failures.append(Failure(self.kind.name, patch, reason))
