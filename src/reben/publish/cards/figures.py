"""The example picture of a card: a patch as colours, beside its scores as bars.

There are two ways to colour a patch, each with a fixed stretch, so that pictures can be compared:

- true colour: B04, B03, B02 as red, green, blue. Digital numbers 0 to 2000 (reflectance 0 to
  0.2) become 0 to 1, then gamma 1/1.5 lifts the dark end. Brighter pixels become white.
- radar: VV from -19 to -1 dB as red, VH from -26 to -8 dB as green, and their ratio (in dB the
  difference VV - VH) from 0 to 15 dB as blue. Averaged over 3 x 3 pixels of linear power, to
  reduce speckle.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from reben.data.pictures import colour_radar, fit_font, load_font, stretch, to_image, wrap
from reben.errors import BandsMismatchError
from reben.publish.markdown import number
from reben.spec.bands import RGB, S1
from reben.spec.patches import PATCH_METRES, PATCH_PIXELS

Pixels = npt.NDArray[Any]

TRUE_COLOUR = (
    "true colour: B04, B03, B02 as red, green, blue (digital numbers 0 to 2000, gamma 1.5)"
)
RADAR = "radar: VV, VH and VV - VH, in dB, as red, green, blue (3 x 3 mean)"

_WHITE_AT = 2000.0
_GAMMA = 1.5

_ZOOM = 6
_MARGIN = 32
_ROW = 38
_LABEL_WIDTH = 530
_BAR_WIDTH = 330
_PAPER, _INK, _FAINT = "#ffffff", "#1f2933", "#7b8794"
_TRUE, _OTHER, _TRACK = "#0b7a4b", "#9fb3c8", "#eef2f6"


@dataclass(frozen=True)
class Bar:
    """One bar of the picture of scores."""

    label: str
    score: float  # its score, 0 to 1
    is_true: bool  # whether the patch has it
    threshold: float = 0.5  # the score above which the model predicts it


def colour_patch(bands: Mapping[str, Pixels]) -> tuple[Image.Image, str]:
    """Return a patch [120, 120] in colours, true ones if it has them, and how they were made."""
    if not RGB.missing_from(bands):
        stacked = np.stack([np.asarray(bands[name], np.float32) for name in RGB], axis=-1)
        return to_image(stretch(stacked, 0, _WHITE_AT) ** (1 / _GAMMA)), TRUE_COLOUR
    if S1.missing_from(bands):
        raise BandsMismatchError(
            f"A picture of a patch needs B04, B03, B02 or VV, VH; the patch has "
            f"{', '.join(bands)}. Pass the missing bands; the model does not have to take them."
        )
    radar = (_without_speckle(np.asarray(bands[name], np.float32)) for name in S1)
    return to_image(colour_radar(*radar)), RADAR


def draw_example(
    patch: Image.Image, bars: Sequence[Bar], *, title: str, caption: str
) -> Image.Image:
    """Return the picture of a card: the patch, six times its size, and the bars to its right."""
    side = PATCH_PIXELS * _ZOOM
    top = _MARGIN + 56
    height = top + max(side + 74, len(bars) * _ROW) + _MARGIN
    left_of_bars = _MARGIN + side + 44
    width = left_of_bars + _LABEL_WIDTH + _BAR_WIDTH + 90 + _MARGIN
    picture = Image.new("RGB", (width, height), _PAPER)
    draw = ImageDraw.Draw(picture)
    draw.text((_MARGIN, _MARGIN - 4), title, _INK, fit_font(title, 26, side))
    picture.paste(patch.resize((side, side), Image.Resampling.BICUBIC), (_MARGIN, top))
    _draw_scale(draw, left=_MARGIN, top=top + side + 12, side=side)
    draw.text((_MARGIN, top + side + 46), caption, _FAINT, fit_font(caption, 20, side))
    _draw_legend(draw, left_of_bars, _MARGIN - 4)
    for position, bar in enumerate(bars):
        _draw_bar(draw, bar, left_of_bars, top + position * _ROW)
    _name_thresholds(draw, bars, left_of_bars + _LABEL_WIDTH, top - 4)
    return picture


def _without_speckle(backscatter_db: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return the 3 x 3 mean of linear power in dB; edges repeat the nearest pixel."""
    power = np.pad(10 ** (backscatter_db / 10), 1, mode="edge")
    height, width = backscatter_db.shape
    shifted = [power[y : y + height, x : x + width] for y in range(3) for x in range(3)]
    return np.asarray(10 * np.log10(np.mean(shifted, axis=0)), np.float32)


def _draw_scale(draw: ImageDraw.ImageDraw, *, left: int, top: int, side: int) -> None:
    metres = 300
    length = side * metres // PATCH_METRES
    draw.rectangle((left, top + 8, left + length, top + 14), fill=_INK)
    draw.text((left + length + 12, top), f"{metres} m", _INK, load_font(20))
    north = f"{PATCH_METRES} m x {PATCH_METRES} m, north up"
    draw.text((left + side, top), north, _INK, load_font(20), anchor="ra")


def _draw_legend(draw: ImageDraw.ImageDraw, left: int, top: int) -> None:
    for colour, text, start in ((_TRUE, "true label", left), (_OTHER, "other label", left + 170)):
        draw.rounded_rectangle((start, top + 5, start + 20, top + 25), 4, fill=colour)
        draw.text((start + 30, top), text, _INK, load_font(24))
    draw.text(
        (left + _LABEL_WIDTH + _BAR_WIDTH + 88, top), "score", _FAINT, load_font(24), anchor="ra"
    )


def _draw_bar(draw: ImageDraw.ImageDraw, bar: Bar, left: int, top: int) -> None:
    """Draw one label, its bar on a pale track and its score."""
    middle = top + _ROW // 2
    colour = _TRUE if bar.is_true else _INK
    lines = wrap(bar.label, load_font(22), _LABEL_WIDTH - 20)
    font = load_font(22 if len(lines) == 1 else 17)
    step = 18
    for position, line in enumerate(lines):
        offset = round((position - (len(lines) - 1) / 2) * step)
        draw.text((left, middle + offset), line, colour, font, anchor="lm")
    start = left + _LABEL_WIDTH
    draw.rounded_rectangle((start, middle - 10, start + _BAR_WIDTH, middle + 10), 4, fill=_TRACK)
    length = round(_BAR_WIDTH * bar.score)
    if length > 1:
        fill = _TRUE if bar.is_true else _OTHER
        radius = min(4, length // 2)
        draw.rounded_rectangle((start, middle - 10, start + length, middle + 10), radius, fill=fill)
    mark = start + round(_BAR_WIDTH * bar.threshold)
    for y in range(top, top + _ROW - 3, 8):
        draw.line((mark, y, mark, y + 3), fill=_FAINT, width=2)
    draw.text(
        (start + _BAR_WIDTH + 88, middle), number(bar.score), colour, load_font(22), anchor="rm"
    )


def _name_thresholds(
    draw: ImageDraw.ImageDraw, bars: Sequence[Bar], left: int, bottom: int
) -> None:
    """Name the dotted line: by its value if all labels share one."""
    thresholds = [bar.threshold for bar in bars]
    text = f"{thresholds[0]:g}" if len(set(thresholds)) == 1 else "threshold"
    middle = left + round(_BAR_WIDTH * sum(thresholds) / len(thresholds))
    draw.text((middle, bottom), text, _FAINT, load_font(18), anchor="mb")
