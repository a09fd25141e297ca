"""Files that are either whole or not there: written beside their place, then renamed into it."""

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

    Raises:
        OutputError: If the operating system refuses to write, for example for want of space.
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
    """Write ``content`` to ``path``, whole or not at all.

    Raises:
        OutputError: If the operating system refuses to write.
    """
    with atomic_file(path) as temporary, temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def write_text(path: str | Path, text: str) -> None:
    """Write ``text`` to ``path`` as UTF-8, whole or not at all.

    Raises:
        OutputError: If the operating system refuses to write.
    """
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
