"""Files and folders that are complete or absent: made beside their place, then renamed into it."""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from reben.errors import OutputError, RebenError, first_line

_KEPT_CHARACTERS = 40
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What the system says where there is no room: disk, quota, size of a file."""
_CURES = {
    errno.EISDIR: "Name a file that does not exist yet, or another folder.",
    errno.ENAMETOOLONG: "Choose a shorter name.",
    errno.EROFS: "Choose a folder that is not mounted read-only.",
}


@contextmanager
def atomic_file(path: str | Path) -> Iterator[Path]:
    """Yield a fresh path beside ``path``; rename it to ``path`` if the block succeeds.

    A file at ``path`` stays untouched until the new one is complete, and for good if the block
    fails. Missing parent folders are created. What cannot be written, for example because the disk
    is full, is an `OutputError`.
    """
    path = Path(path)
    with writing(path, ValueError):
        path.parent.mkdir(parents=True, exist_ok=True)
        # What is wrong with a path is found out before hours of work, not when it takes its name.
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        with suppress(FileNotFoundError):
            path.lstat()
        descriptor, name = tempfile.mkstemp(prefix=_hidden(path), dir=path.parent)
        os.close(descriptor)
    temporary = Path(name)
    try:
        with writing(path):
            yield temporary
            mask = os.umask(0)
            os.umask(mask)
            temporary.chmod(0o666 & ~mask)
            _to_disk(temporary)  # else a power cut could leave the new name without its content
            temporary.replace(path)
            _to_disk(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def writing(path: Path, *also: type[Exception]) -> Iterator[None]:
    """Turn an OSError, or one of ``also``, into the `OutputError` that says why and what to do."""
    failures: tuple[type[Exception], ...] = (OSError, *also)
    try:
        yield
    except RebenError:
        raise
    except failures as error:
        raise output_error(path, error) from error


def _hidden(path: Path) -> str:
    # A name may have 255 bytes, and what makes it another one takes some of them.
    return f".{path.name[:_KEPT_CHARACTERS]}."


def write_bytes(path: str | Path, content: bytes | memoryview) -> None:
    """Write ``content`` to ``path`` as a whole or not at all."""
    with atomic_file(path) as temporary, temporary.open("wb") as file:
        file.write(content)


def _to_disk(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except PermissionError:  # Windows opens no folder
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: str | Path, text: str) -> None:
    r"""Write ``text`` to ``path`` as UTF-8, as a whole or not at all.

    Bytes of file names that are no text are written as JSON writes them: ``\udcff``.
    """
    write_bytes(path, text.encode(errors="backslashreplace"))


def make_folder(path: Path) -> None:
    """Make a folder and those above it, where they are missing; `OutputError` if that fails."""
    with writing(path):
        path.mkdir(parents=True, exist_ok=True)


def output_error(path: Path, error: Exception) -> OutputError:
    """Return the error that says why ``path`` could not be written and what to do."""
    reason = first_line(error)
    number = error.errno if isinstance(error, OSError) else None
    if number in FULL or any(os.strerror(full) in str(error) for full in FULL):
        parent = next(folder for folder in (path, *path.resolve().parents) if folder.exists())
        free = shutil.disk_usage(parent).free / 1e6
        return OutputError(
            f"Cannot write {path}: {reason} ({free:.0f} MB are free). "
            "A previous file there is unchanged. Free some space, or choose another folder."
        )
    cure = _CURES.get(number or 0, "Choose a folder with write permission.")
    if isinstance(error, ValueError):
        cure = "Choose another name."
    return OutputError(f"Cannot write {path}: {reason}. {cure}")


def remove_leftovers(folder: Path, names: Iterable[str]) -> None:
    """Remove what a process that was killed while it wrote one of these files left beside it."""
    for name in names:
        for left in folder.glob(f".{name}.????????"):
            left.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Yield an empty folder beside ``path``; rename it to ``path`` if the block succeeds.

    If the block fails or is interrupted, the new folder is removed. Missing parent folders are
    created and stay.
    """
    path = Path(path).absolute()
    require_free(path)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=_hidden(path), dir=path.parent))
    try:
        with writing(path):
            yield temporary
            # mkdtemp makes it private; give it the permissions of an ordinary new folder.
            inside = temporary / "permissions"
            inside.mkdir()
            temporary.chmod(inside.stat().st_mode)
            inside.rmdir()
            if path.is_dir():
                path.rmdir()
            temporary.rename(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def require_free(path: Path) -> None:
    """Raise an OutputError unless ``path`` is free or an empty folder."""
    with writing(path):
        if path.is_dir():
            first = min((entry.name for entry in path.iterdir()), default=None)
            if first is not None:
                raise OutputError(
                    f"{path} is not empty: it holds {first}. Nothing was changed. Choose a new "
                    "folder, or empty this one."
                )
        elif path.exists() or path.is_symlink():
            raise OutputError(f"{path} exists and is not a folder. Choose a new folder.")
