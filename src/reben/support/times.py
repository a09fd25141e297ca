"""Times that names and metadata hold, and the notice that names their years."""

import re
from collections.abc import Iterable
from datetime import datetime

_TIME = re.compile(
    r"(?<!\d)(20\d\d)-?([01]\d)-?([0-3]\d)[T ]([0-2]\d):?([0-5]\d):?([0-5]\d)", re.ASCII
)
_DAY = re.compile(r"(20\d\d)-([01]\d)-([0-3]\d)", re.ASCII)
_FIRST_YEAR = 2014
"""Sentinel-1A was launched in it, the first of all."""


def time_in(texts: Iterable[str]) -> datetime | None:
    """Return the first time that texts or names hold; of a text that is a day, its midnight.

    Example:
        >>> time_in(["", "S1A_IW_GRDH_1SDV_20170613T165043_33UUP"]).isoformat()
        '2017-06-13T16:50:43'
    """
    for text in texts:
        whole = _DAY.fullmatch(text)
        for found in [whole] if whole else _TIME.finditer(text):
            try:
                return datetime(*map(int, found.groups()))  # type: ignore[arg-type]
            except ValueError:
                continue
    return None


def copernicus_notice(products: Iterable[str]) -> str:
    """Return the notice that whoever passes on what is made of Sentinel data has to give.

    Args:
        products: For each product, its name or when it was sensed; the years are those of the first
            time in each. Of what holds none, the year is not known.

    Source: Legal notice on the use of Copernicus Sentinel Data and Service Information.

    Example:
        >>> copernicus_notice(["S2A_MSIL2A_20170613T101031_N9999_R022_T33UUP_26_57", "my orchard"])
        'Contains modified Copernicus Sentinel data 2017'
    """
    times = (time_in([text]) for text in products)
    years = sorted({time.year for time in times if time is not None and time.year >= _FIRST_YEAR})
    return f"Contains modified Copernicus Sentinel data {', '.join(map(str, years))}".rstrip()
