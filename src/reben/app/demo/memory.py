"""What the page keeps of its visitors: within one bound for all, and no longer than their visit.

Nothing else holds a patch or a scene: what is no longer here is read again from its files.
"""

import shutil
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Hashable, Iterable
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar, cast

_Thing = TypeVar("_Thing")


class Memory:
    """Patches, results and scenes that were shown last, and the uploads of each visit.

    Args:
        most_bytes: How much is kept of all visits together.
    """

    def __init__(self, most_bytes: int) -> None:
        self.most_bytes = most_bytes
        self._things: OrderedDict[tuple[str, Hashable], tuple[Any, int]] = OrderedDict()
        self._uploads: defaultdict[str, set[Path]] = defaultdict(set)
        self._lock = Lock()

    @property
    def num_bytes(self) -> int:
        """How much is kept now."""
        return sum(size for _, size in self._things.values())

    def get(
        self,
        visit: str,
        key: Hashable,
        make: Callable[[], _Thing],
        size_of: Callable[[_Thing], int],
    ) -> _Thing:
        """Return what is kept of a visit under ``key``, else what ``make`` returns; keep it."""
        place = (visit, key)
        with self._lock:
            if place in self._things:
                self._things.move_to_end(place)
                return cast("_Thing", self._things[place][0])
        made = make()
        with self._lock:
            self._things[place] = made, size_of(made)
            while self.num_bytes > self.most_bytes:
                self._things.popitem(last=False)
        return made

    def note_uploads(self, visit: str, files: Iterable[Path]) -> None:
        """Remember which uploaded files a visit uses; each lies in a folder of its own."""
        with self._lock:
            self._uploads[visit].update(files)

    def end(self, visit: str) -> None:
        """Forget a visit, and remove the files that only it uses."""
        with self._lock:
            for place in [place for place in self._things if place[0] == visit]:
                del self._things[place]
            mine = self._uploads.pop(visit, set())
            unused = mine.difference(*self._uploads.values())
        for file in unused:
            shutil.rmtree(file.parent, ignore_errors=True)
