"""Times that names and metadata hold."""

import re
from collections.abc import Iterable
from datetime import datetime

_TIME = re.compile(
    r"(?<!\d)(20\d\d)-?([01]\d)-?([0-3]\d)[T ]([0-2]\d):?([0-5]\d):?([0-5]\d)", re.ASCII
)


def time_in(texts: Iterable[str]) -> datetime | None:
    """Return the first time that texts or names hold.

    Example:
        >>> time_in(["", "S1A_IW_GRDH_1SDV_20170613T165043_33UUP"]).isoformat()
        '2017-06-13T16:50:43'
    """
    for text in texts:
        for found in _TIME.finditer(text):
            try:
                return datetime(*map(int, found.groups()))  # type: ignore[arg-type]
            except ValueError:
                continue
    return None
