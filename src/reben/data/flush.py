"""Gets a growing file to the disk while others write it, so that nobody has to wait at the end.

A commit that waits for the disk keeps every other writer waiting as well, and the disk idle while
values are copied; so workers commit without waiting, and this does the waiting beside them.
"""

import os
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from reben.data.files import output_error

_SECONDS = 2.0
_sync = getattr(os, "fdatasync", os.fsync)


class Flusher:
    """Asks the system now and then to write a file to the disk; use it as a context manager.

    Leaving the context waits until all of the file is on the disk.

    Args:
        path: The file.

    Raises:
        OutputError: On leaving, if the disk refuses the file.
    """

    def __init__(self, path: Path) -> None:
        self.seconds = 0.0
        """How long leaving the context took."""
        self._path = path
        self._descriptor = os.open(path, os.O_RDWR)
        self._stopped = threading.Event()
        self._error: OSError | None = None
        self._thread = threading.Thread(target=self._work, daemon=True)

    def __enter__(self) -> Self:
        """Start."""
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Wait for what is not on the disk yet, and stop."""
        started = time.perf_counter()
        self._stopped.set()
        self._thread.join()
        try:
            if self._error is not None:
                raise self._error
            _sync(self._descriptor)
        except OSError as failure:
            raise output_error(self._path, failure) from failure
        finally:
            os.close(self._descriptor)
            self.seconds = time.perf_counter() - started

    def _work(self) -> None:
        while not self._stopped.wait(_SECONDS):
            try:
                _sync(self._descriptor)
            except OSError as error:
                self._error = error
                return


def boot_id() -> str:
    """Return what differs from one start of the machine to the next; nothing where unknown."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""
