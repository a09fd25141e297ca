"""What stands around the maps of a quick look: title, legend, scale, corners, notes.

All lengths are pixels of the picture. No text leaves the room that it is given.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from reben.data.pictures import Font, fit_font, load_font, shorten, to_image, wrap
from reben.data.places import to_degrees
from reben.scene.grid import Grid
from reben.support.times import time_in

PAPER, INK, SOFT, FAINT, LINE = "#ffffff", "#16202a", "#4b5866", "#7d8995", "#d5dbe1"
MASK, HATCH = (214, 218, 222), (172, 178, 185)
"""The grey of what is masked, and of the lines on it."""
LEGEND_WIDTH, ROW, SWATCH = 520, 50, 34
RAMP_HEIGHT = 140
"""Of the legend of scores."""
_LEAST_FOR_FOUR = 450
"""A narrower map has the coordinates of two corners."""
_PERCENT = 96
_OUTLINE = "#b4bcc4"

_SENTINEL1 = re.compile(r"S1(?P<letter>[A-D])_(IW|EW|SM|WV)_")
_SENTINEL2 = re.compile(r"(?P<satellite>S2[A-D])_MSIL2A_\d{8}T\d{6}_.*_T(?P<tile>\w{5})")


def hatched(width: int, height: int) -> Image.Image:
    """Return a picture of thin diagonal lines on grey."""
    diagonal = (np.arange(width)[None, :] + np.arange(height)[:, None]) % 12
    # Between 0 and 1 across the edge of a line, so that it is not jagged.
    strength = np.clip(2.2 - np.abs(diagonal - 5.5), 0, 1)[..., None]
    mixed = np.array(MASK) * (1 - strength) + np.array(HATCH) * strength
    return to_image(mixed / 255)


def scale_metres(ground_metres: float) -> int:
    """Return a round length of about a quarter of a map.

    Example:
        >>> scale_metres(109_800), scale_metres(6_000)
        (20000, 1000)
    """
    lengths = [digit * ten for ten in (1, 10, 100, 1000, 10_000, 100_000) for digit in (1, 2, 5)]
    return max(length for length in lengths if length <= max(ground_metres * 0.27, 1))


def title_of(product: str, sensed: str = "") -> tuple[str, str]:
    """Return the title of a quick look and the line below it.

    Args:
        product: The name of the product.
        sensed: When it was sensed, where that is known and the name does not say it: a time, or
            days in their order, between semicolons.

    Example:
        >>> title_of("S2B_MSIL2A_20220413T150759_N0400_R025_T33XWJ_20220414T082126")[0]
        'Sentinel-2B, tile 33XWJ, 13 April 2022'
        >>> title_of("my orchard", "2022-04-13T15:07:59Z")
        ('my orchard', 'Land cover by windows of 1200 m, 13 April 2022')
    """
    match = _SENTINEL2.match(product)
    time = time_in([sensed, product])
    date = "" if time is None else f", {time.day} {time:%B %Y}"
    days = sensed.split("; ")
    if len(days) > 1:
        date = f", {len(days)} days from {days[0]} to {days[-1]}"
    if radar := _SENTINEL1.match(product):
        return f"Sentinel-1{radar['letter']}{date}", product
    if match is None:
        return product, f"Land cover by windows of 1200 m{date}"
    satellite = match["satellite"].replace("S2", "Sentinel-2")
    return f"{satellite}, tile {match['tile']}{date}", product


def describe_corner(longitude: float, latitude: float) -> str:
    """Return a place in degrees as people read it.

    Example:
        >>> describe_corner(-8.5, 41.12345)
        '41.123° N, 8.500° W'
    """
    longitude = (longitude + 180) % 360 - 180
    north, east = "N" if latitude >= 0 else "S", "E" if longitude >= 0 else "W"
    return f"{abs(latitude):.3f}° {north}, {abs(longitude):.3f}° {east}"


@dataclass(frozen=True)
class LegendRow:
    """A class in the legend: its colour or pattern, its name, and its share of the cells."""

    swatch: Image.Image
    name: str
    share: float


def draw_legend(canvas: Image.Image, rows: Sequence[LegendRow], *, left: int, top: int) -> None:
    """Draw classes below each other, each with its share."""
    draw = ImageDraw.Draw(canvas)
    draw.text((left + LEGEND_WIDTH, top - 16), "share of cells", FAINT, load_font(22), anchor="rs")
    room = LEGEND_WIDTH - SWATCH - 16 - _PERCENT
    for number, row in enumerate(rows):
        middle = top + number * ROW + SWATCH / 2
        canvas.paste(row.swatch, (left, top + number * ROW))
        box = (left, top + number * ROW, left + SWATCH - 1, top + number * ROW + SWATCH - 1)
        draw.rectangle(box, outline=_OUTLINE)
        lines, font = _fit_name(row.name, room)
        for place, line in enumerate(lines):
            at = (left + SWATCH + 16, middle + (place - (len(lines) - 1) / 2) * 21)
            draw.text(at, line, INK, font, anchor="lm")
        percent = f"{100 * row.share:.0f} %" if row.share >= 0.01 else "< 1 %"
        draw.text((left + LEGEND_WIDTH, middle), percent, SOFT, load_font(24), anchor="rm")


def _fit_name(name: str, room: int) -> tuple[list[str], Font]:
    """Return a name in one or two lines, and the font in which they fit; cut off if none does."""
    lines = wrap(name, load_font(24), room)
    font = fit_font(max(lines, key=len), 24 if len(lines) == 1 else 19, room, smallest=16)
    if all(font.getlength(line) <= room for line in lines):
        return lines, font
    words = " ".join(lines).split(" ")
    starts = [" ".join(words[:count]) for count in range(1, len(words))]
    first = max((one for one in starts if font.getlength(one) <= room), key=len, default="")
    rest = " ".join(words)[len(first) :].strip()
    return [line for line in (first, shorten(rest, font, room)) if line], font


def draw_ramp(
    canvas: Image.Image,
    colours: NDArray[np.uint8],
    ends: tuple[float, float],
    *,
    left: int,
    top: int,
) -> None:
    """Draw the legend of scores.

    Args:
        canvas: The picture.
        colours: From that of the lowest to that of the highest score, uint8 [n, 3].
        ends: The scores at both ends.
        left: Where it begins.
        top: Its upper edge.
    """
    draw = ImageDraw.Draw(canvas)
    top += 14
    draw.text((left, top + 22), "Paler where the highest score is low", INK, load_font(24), "ls")
    width = LEGEND_WIDTH - _PERCENT
    ramp = Image.fromarray(colours[None], "RGB").resize((width, 22), Image.Resampling.NEAREST)
    canvas.paste(ramp, (left, top + 40))
    draw.rectangle((left, top + 40, left + width - 1, top + 61), outline=_OUTLINE)
    low, high = ends
    draw.text((left, top + 70), f"{low:g} or less", SOFT, load_font(22))
    draw.text((left + width, top + 70), f"{high:g} or more", SOFT, load_font(22), anchor="ra")


def draw_corners(
    draw: ImageDraw.ImageDraw, grid: Grid, *, left: int, top: int, size: tuple[int, int]
) -> None:
    """Write the longitude and latitude of the corners of a map beside them."""
    west, south, east, north = grid.bounds
    longitudes, latitudes = to_degrees(
        grid.crs, [west, east, west, east], [north, north, south, south]
    )
    if not (np.isfinite(longitudes).all() and np.isfinite(latitudes).all()):
        return
    texts = [
        describe_corner(*place)
        for place in zip(longitudes.tolist(), latitudes.tolist(), strict=True)
    ]
    right, above, below = left + size[0], top - 10, top + size[1] + 10
    font = load_font(20)
    draw.text((left, above), texts[0], FAINT, font, anchor="ls")
    if size[0] < _LEAST_FOR_FOUR:
        draw.text((left, below), texts[3], FAINT, font, anchor="la")
        return
    draw.text((right, above), texts[1], FAINT, font, anchor="rs")
    draw.text((left, below), texts[2], FAINT, font, anchor="la")
    draw.text((right, below), texts[3], FAINT, font, anchor="ra")


def draw_scale(
    draw: ImageDraw.ImageDraw, ground_metres: float, *, left: int, top: int, width: int
) -> None:
    """Draw a bar of a round length in four parts, with its ends named.

    Args:
        draw: What draws.
        ground_metres: How wide the map is on the ground.
        left: Where the map begins.
        top: Upper edge of the bar.
        width: How wide the map is.
    """
    metres = scale_metres(ground_metres)
    length = width * metres / ground_metres
    for part in range(4):
        start, stop = left + length * part / 4, left + length * (part + 1) / 4
        fill = INK if part % 2 == 0 else PAPER
        draw.rectangle((start, top, stop, top + 11), fill=fill, outline=INK)
    text = f"{metres // 1000} km" if metres >= 1000 else f"{metres} m"
    draw.text((left, top + 22), "0", SOFT, load_font(24))
    draw.text((left + length, top + 22), text, SOFT, load_font(24), anchor="ma")


def draw_north(draw: ImageDraw.ImageDraw, middle: int, top: int) -> None:
    """Draw an arrow that points up, with its letter."""
    tip, base, notch = top - 2, top + 34, top + 26
    draw.polygon([(middle, tip), (middle - 13, base), (middle, notch)], fill=INK)
    draw.polygon([(middle, tip), (middle + 13, base), (middle, notch)], fill=PAPER, outline=INK)
    draw.text((middle, base + 6), "N", INK, load_font(24), anchor="ma")


def draw_notes(
    draw: ImageDraw.ImageDraw, notes: Sequence[str], *, left: int, top: int, width: int
) -> None:
    """Write lines below each other, the first one stronger."""
    for number, note in enumerate(notes):
        font = fit_font(note, 24, width, smallest=18)
        at = (left, top + 34 * number)
        draw.text(at, shorten(note, font, width), FAINT if number else SOFT, font)
