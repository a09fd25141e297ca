"""The garbage collector, which waits while much is made that stays."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """Look for no garbage while the block runs.

    Modules stay, so looking through them finds nothing, and takes a fifth of the time of importing
    torch. It is for imports, and for work that is as short.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
