"""A log that keeps to itself for a while, in whichever threads."""

import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

_LOCK = Lock()
_DEPTHS: Counter[str] = Counter()
_LEVELS: dict[str, int] = {}


@contextmanager
def quieter(name: str, level: int) -> Iterator[None]:
    """Leave out what the log ``name`` says below a level while the block runs.

    Blocks may overlap, in several threads: the log is as before once the last one ends.
    """
    log = logging.getLogger(name)
    with _LOCK:
        if not _DEPTHS[name]:
            _LEVELS[name] = log.level
            log.setLevel(level)
        _DEPTHS[name] += 1
    try:
        yield
    finally:
        with _LOCK:
            _DEPTHS[name] -= 1
            if not _DEPTHS[name]:
                log.setLevel(_LEVELS.pop(name))
