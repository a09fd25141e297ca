"""What is asked of STAC items: a box, a time, cloud, a collection; checked, and told of an item."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Self

from reben.data.vector.areas import read_box
from reben.errors import ConfigError, cut
from reben.support.times import time_in

_TIME_KEYS = ("datetime", "start_datetime", "end_datetime")
_DAY = re.compile(r"(\d{4})(?:-(\d\d)(?:-(\d\d))?)?", re.ASCII)
_OPEN = ("", "..")


@dataclass(frozen=True)
class Query:
    """Which items are wanted; by default all.

    Args:
        bbox: West, south, east, north in degrees, which the box of an item touches.
        begin: The earliest time, UTC without a zone.
        end: The latest.
        said: The interval as the user wrote it.
        max_cloud: The largest ``eo:cloud_cover``, in percent.
        collection: The collection that they are of.
        id: The only item that is wanted.
    """

    bbox: tuple[float, float, float, float] | None = None
    begin: datetime | None = None
    end: datetime | None = None
    said: str = ""
    max_cloud: float | None = None
    collection: str | None = None
    id: str | None = None

    @classmethod
    def of(
        cls,
        bbox: str | Sequence[float] | None,
        interval: str | None,
        max_cloud: float | None,
        collection: str | None,
    ) -> Self:
        """Return a query of checked values; a ConfigError or AreaError for impossible ones."""
        box = None if bbox is None else read_box(bbox)
        if max_cloud is not None and not 0 <= max_cloud <= 100:
            raise ConfigError(f"max_cloud is {max_cloud:g}; it is a share in percent, 0 to 100.")
        begin, end = (None, None) if interval is None else _interval(interval)
        return cls(box, begin, end, interval or "", max_cloud, collection)

    def keeps(self, item: Mapping[str, Any]) -> bool:
        """Tell whether an item is wanted; one that does not state its cloud is not."""
        times, cloud = times_of(item), cloud_of(item)
        return not (
            (self.id is not None and item.get("id") != self.id)
            or (self.collection is not None and item.get("collection") != self.collection)
            or (self.max_cloud is not None and (cloud is None or cloud > self.max_cloud))
            or (self.begin is not None and (not times or max(times) < self.begin))
            or (self.end is not None and (not times or min(times) > self.end))
            or (self.bbox is not None and not _touches(item.get("bbox"), self.bbox))
        )

    @property
    def interval(self) -> str | None:
        """The time as an API is asked for it."""
        if self.begin is None and self.end is None:
            return None
        return "/".join(
            ".." if time is None else f"{time.isoformat()}Z" for time in (self.begin, self.end)
        )

    def __str__(self) -> str:
        """Return what was asked for, as text."""
        box = "" if self.bbox is None else ",".join(f"{degrees:g}" for degrees in self.bbox)
        cloud = "" if self.max_cloud is None else f"{self.max_cloud:g}"
        told = {
            "id": self.id,
            "collection": self.collection,
            "bbox": box,
            "datetime": self.said,
            "max_cloud": cloud,
        }
        return ", ".join(f"{key} {value}" for key, value in told.items() if value)


def times_of(item: Mapping[str, Any]) -> list[datetime]:
    """Return the times that an item states, UTC without a zone."""
    properties = _properties(item)
    times = (time_in((str(properties.get(key) or ""),)) for key in _TIME_KEYS)
    return [time for time in times if time is not None]


def cloud_of(item: Mapping[str, Any]) -> float | None:
    """Return the cloud cover of an item in percent, if it states one that can be."""
    cloud: Any = _properties(item).get("eo:cloud_cover")
    is_share = isinstance(cloud, int | float) and 0 <= cloud <= 100
    return float(cloud) if is_share else None


def _properties(item: Mapping[str, Any]) -> Mapping[str, Any]:
    properties = item.get("properties")
    return properties if isinstance(properties, Mapping) else {}


def _touches(box: object, wanted: tuple[float, float, float, float]) -> bool:
    """Tell whether the box of an item, perhaps with heights, touches another; unknown ones do."""
    if not isinstance(box, list | tuple) or len(box) not in (4, 6):
        return True
    numbers = [float(number) for number in box if isinstance(number, int | float)]
    if len(numbers) != len(box):
        return True
    half = len(box) // 2
    west, south, east, north = *numbers[:2], *numbers[half : half + 2]
    if south > wanted[3] or north < wanted[1]:
        return False
    east += 360 * (east < west)
    right = wanted[2] + 360 * (wanted[2] < wanted[0])
    return any(west + turn <= right and east + turn >= wanted[0] for turn in (-360, 0, 360))


def _interval(text: str) -> tuple[datetime | None, datetime | None]:
    """Return begin and end of a date, a time, or two of them, UTC without a zone."""
    parts = [part.strip() for part in text.split("/")]
    if len(parts) > 2 or all(part in _OPEN for part in parts):
        raise _no_interval(text)
    spans = [(None, None) if part in _OPEN else _span(part, text) for part in parts]
    begin, end = spans[0][0], spans[-1][1]
    if begin is not None and end is not None and begin > end:
        raise ConfigError(f"The datetime {text} ends before it begins. Swap both dates.")
    return begin, end


def _span(part: str, text: str) -> tuple[datetime, datetime]:
    match = _DAY.fullmatch(part)
    try:
        if not match:
            time = datetime.fromisoformat(part)
            time = time.astimezone(UTC).replace(tzinfo=None) if time.tzinfo else time
            return time, time
        year, month, day = (int(number) if number else 0 for number in match.groups())
        begin = datetime(year, month or 1, day or 1)
        if day:
            following = begin + timedelta(days=1)
        else:
            following = datetime(year + (month in (0, 12)), month % 12 + 1 if month else 1, 1)
    except (ValueError, OverflowError):
        raise _no_interval(text) from None
    return begin, following - timedelta(seconds=1)


def _no_interval(text: str) -> ConfigError:
    return ConfigError(
        f"The datetime {cut(text)!r} is none: write 2023-08-21, 2023-08, 2023, or two as "
        "2023-06-01/2023-08-31; one of them may be .. for open."
    )
