"""Files that are either whole or not there: written beside their place, then renamed into it.

Folders that are either whole or not there: built beside their place, then renamed into it.
"""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from reben.errors import OutputError, RebenError


@contextmanager
def atomic_file(path: str | Path) -> Iterator[Path]:
    """Yield a fresh path beside ``path``; rename it to ``path`` if the block succeeds.

    Whatever stood at ``path`` stays there untouched until the new file is complete, and for
    good if the block fails. Missing parent folders are made.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        os.close(descriptor)
    except OSError as error:
        raise output_error(path, error) from error
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except RebenError:
        raise
    except OSError as error:
        raise output_error(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(path: str | Path, content: bytes) -> None:
    """Write ``content`` to ``path``, whole or not at all."""
    with atomic_file(path) as temporary, temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def write_text(path: str | Path, text: str) -> None:
    """Write ``text`` to ``path`` as UTF-8, whole or not at all."""
    write_bytes(path, text.encode())


def output_error(path: Path, error: OSError) -> OutputError:
    """Return the error that says why ``path`` could not be written and what to do."""
    reason = error.strerror or str(error)
    if error.errno == errno.ENOSPC:
        parent = next(folder for folder in (path, *path.resolve().parents) if folder.exists())
        free = shutil.disk_usage(parent).free / 1e6
        return OutputError(
            f"Cannot write {path}: {reason} ({free:.0f} MB are free). "
            "What stood there before is unchanged. Free some space, or choose another folder."
        )
    return OutputError(f"Cannot write {path}: {reason}. Choose a folder that you may write to.")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


@contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Yield an empty folder beside ``path``; rename it to ``path`` if the block succeeds.

    If the block fails or is interrupted, the new folder is removed. Missing parent folders are
    made, and stay.
    """
    path = Path(path).absolute()
    require_free(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    except OSError as error:
        raise output_error(path, error) from error
    try:
        yield temporary
        # mkdtemp makes it private; a new folder's permissions are those of its like.
        inside = temporary / "permissions"
        inside.mkdir()
        temporary.chmod(inside.stat().st_mode)
        inside.rmdir()
        if path.is_dir():
            path.rmdir()
        temporary.rename(path)
    except RebenError:
        raise
    except OSError as error:
        raise output_error(path, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def require_free(path: Path) -> None:
    """Return if nothing stands at ``path``, or an empty folder."""
    try:
        if path.is_dir():
            first = min((entry.name for entry in path.iterdir()), default=None)
            if first is not None:
                raise OutputError(
                    f"{path} is not empty: it holds {first}. Nothing was changed there. "
                    "Choose a new folder, or empty this one."
                )
        elif path.exists() or path.is_symlink():
            raise OutputError(f"{path} is there already and is no folder. Choose a new folder.")
    except RebenError:
        raise
    except OSError as error:
        raise output_error(path, error) from error
