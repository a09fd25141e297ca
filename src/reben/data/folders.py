"""Folders that are either whole or not there: built beside their place, then renamed into it."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from reben.data.files import output_error
from reben.errors import OutputError, RebenError


@contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Yield an empty folder beside ``path``; rename it to ``path`` if the block succeeds.

    If the block fails or is interrupted, the new folder is removed. Missing parent folders are
    made, and stay.

    Raises:
        OutputError: If something stands at ``path`` already, other than an empty folder, or if
            the operating system refuses to write.
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
    """Return if nothing stands at ``path``, or an empty folder.

    Raises:
        OutputError: If there is something else; the message says what.
    """
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
