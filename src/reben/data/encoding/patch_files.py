"""The files of patches, patch by patch, from an unpacked folder or from an archive."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from reben.data.archives.tar import read_members
from reben.data.patch_folders.folder import is_tiff
from reben.data.storage.value import Kind, PatchFilesError
from reben.errors import ArchiveError

_MAX_FILE_BYTES = 1 << 24
"""The largest band file has 58 kB; this leaves room for other ways to write one."""
_MAX_WAITING_BYTES = 1 << 27
_READ_BYTES = 1 << 16


@dataclass
class PatchFiles:
    """What there is of one patch.

    Args:
        name: Name of its folder.
        files: Tensor -> content of its file.
        problem: Why it cannot be used, if so.
        num_bytes: Size of the files.
    """

    name: str
    files: dict[str, bytes] = field(default_factory=dict)
    problem: str | None = None
    num_bytes: int = 0

    def add(self, kind: Kind, file: str, content: bytes) -> None:
        """Take one more file of the patch; what is no TIFF is passed over."""
        try:
            tensor = kind.tensor_of(self.name, file)
        except PatchFilesError as error:
            self.problem = self.problem or str(error)
            return
        if tensor is None:
            return
        known = self.files.setdefault(tensor, content)
        if known is content:
            self.num_bytes += len(content)
        elif known != content:
            self.problem = self.problem or f"there are two different files {file}"


def read_patch_files(folder: str, kind: Kind) -> PatchFiles:
    """Return the files in the patch folder at path ``folder``."""
    patch = PatchFiles(folder[folder.rfind("/") + 1 :])
    try:
        kind.require_folder(patch.name)
        for name in os.listdir(folder):  # noqa: PTH208 - a million times
            tensor = kind.tensor_of(patch.name, name)
            if tensor is not None:
                patch.files[tensor] = content = _read_file(f"{folder}/{name}")
                patch.num_bytes += len(content)
    except PatchFilesError as error:
        patch.problem = str(error)
    except OSError as error:
        patch.problem = f"cannot be read: {error.strerror or error}"
    return patch


def _read_file(path: str) -> bytes:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        content = os.read(descriptor, _READ_BYTES)
        if len(content) < _READ_BYTES:
            return content
        pieces = [content]
        while (content := os.read(descriptor, _READ_BYTES)) and len(pieces) < _MAX_FILE_BYTES >> 16:
            pieces.append(content)
        return b"".join(pieces)
    finally:
        os.close(descriptor)


def patches_of_archive(
    chunks: Iterator[bytes], archive: str, kind: Kind, wants: Callable[[str], bool]
) -> Iterator[PatchFiles]:
    """Yield the patches of a tar archive, each as soon as its folder is complete and left.

    Patches that stay incomplete come last. A patch whose folder comes again later is yielded
    again.

    Args:
        chunks: The bytes of the tar archive.
        archive: What it is called in error messages.
        kind: What its patch folders hold.
        wants: Tells by its name whether to read a patch; asked once for each folder.

    Raises:
        ArchiveError: If the archive is damaged or not to be trusted, after the patches that were
            complete by then.
    """
    grouping = _Grouping(kind, wants)
    try:
        for member in read_members(chunks, archive, grouping.wants):
            yield from grouping.take_finished()
            grouping.add(member.content)
    except ArchiveError:
        grouping.leave()
        yield from grouping.take_finished()
        raise
    grouping.leave()
    yield from grouping.take_finished()
    yield from grouping.waiting.values()


class _Grouping:
    """Members of an archive, by patch folder."""

    def __init__(self, kind: Kind, wants: Callable[[str], bool]) -> None:
        self.waiting: dict[str, PatchFiles] = {}
        self._kind = kind
        self._wants_patch = wants
        self._folder: str | None = None
        self._patch: PatchFiles | None = None
        self._file = ""
        self._waiting_bytes = 0
        self._finished: list[PatchFiles] = []

    def wants(self, path: str, size: int) -> bool:
        """Tell whether to read a member; it is added next, if so."""
        folder, _, self._file = path.rpartition("/")
        if folder != self._folder:
            self.leave()
            self._enter(folder)
        patch = self._patch
        if patch is None or not is_tiff(self._file):
            return False
        if folder not in self.waiting:
            self.waiting[folder] = patch
            if not self._kind.is_folder(patch.name):
                patch.problem = self._kind.folder_problem(patch.name)
        if size > _MAX_FILE_BYTES:
            patch.problem = patch.problem or f"the file {self._file} has {size} bytes"
        return patch.problem is None

    def add(self, content: bytes) -> None:
        """Take the member that was wanted last."""
        if self._patch is not None:
            before = self._patch.num_bytes
            self._patch.add(self._kind, self._file, content)
            self._waiting_bytes += self._patch.num_bytes - before

    def leave(self) -> None:
        """Finish the patch of the current folder, if nothing of it is missing."""
        patch = self.waiting.get(self._folder or "")
        if patch is not None and (patch.problem or len(patch.files) == len(self._kind.sizes)):
            self._finish(self._folder or "")
        while self._waiting_bytes > _MAX_WAITING_BYTES:
            self._finish(next(iter(self.waiting)))

    def take_finished(self) -> Iterator[PatchFiles]:
        """Yield the patches that were finished since the last call."""
        while self._finished:
            yield self._finished.pop(0)

    def _enter(self, folder: str) -> None:
        self._folder = folder
        name = folder.rpartition("/")[2]
        is_folder = self._kind.is_folder(name)
        is_wanted = self._wants_patch(name) if is_folder else self._kind.may_hold(name)
        self._patch = self.waiting.get(folder, PatchFiles(name)) if is_wanted else None

    def _finish(self, folder: str) -> None:
        patch = self.waiting.pop(folder)
        self._waiting_bytes -= patch.num_bytes
        self._finished.append(patch)
