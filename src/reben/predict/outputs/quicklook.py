"""The quick look of a scene: its colours at the left, its dominant classes at the right.

Both maps show the same ground, north up. The scene is in true colour where B04, B03 and B02 are
there, else radar: VV, VH and their ratio as red, green and blue. True colour is stretched for each
scene by itself. Classes have the colours of CORINE maps; masked cells are hatched.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from reben.data.pictures import (
    colour_radar,
    fit_font,
    label_colours,
    load_font,
    stretch,
    to_image,
    wrap,
)
from reben.errors import BandsMismatchError
from reben.predict.strips import Strip
from reben.predict.windows import Mosaic
from reben.scene.grid import GRID_METRES, Grid
from reben.scene.masks import GOOD, NO_DATA, OBSCURED
from reben.spec.bands import RGB, S1, native_size
from reben.spec.patches import PATCH_PIXELS

_ENOUGH_PIXELS = 1100
"""Along the longer side, a quick look needs no more."""
_GAMMA = 1.7

_PAPER, _INK, _SOFT, _FAINT, _LINE = "#ffffff", "#16202a", "#4b5866", "#8a96a3", "#d5dbe1"
_MASK, _HATCH = (236, 239, 242), (203, 210, 217)

# In pixels of the picture.
_MARGIN, _GAP, _MAP = 64, 44, 980
_TOP = 214
_LEGEND_WIDTH, _ROW, _SWATCH = 520, 50, 34
_FOOT = 132

_SENTINEL2 = re.compile(r"(?P<satellite>S2[A-D])_MSIL2A_(?P<date>\d{8})T\d{6}_.*_T(?P<tile>\w{5})")


def colour_bands(available: Sequence[str]) -> tuple[str, ...]:
    """Return the bands that a picture is made from."""
    for bands in (RGB, S1):
        if not bands.missing_from(available):
            return bands.names
    raise BandsMismatchError(
        f"A quick look needs B04, B03, B02 or VV, VH; the product has {', '.join(available)}. "
        "Leave the quick look out, or name a product that holds them."
    )


def shrink_factor(grid: Grid) -> int:
    """Return how many pixels of a scene become one pixel of the picture, along each side."""
    longer = max(grid.width, grid.height)
    return next(
        factor for factor in (6, 3, 2, 1) if longer >= factor * _ENOUGH_PIXELS or factor == 1
    )


def shrink(strip: Strip, bands: Sequence[str], factor: int) -> NDArray[np.float32]:
    """Return the fresh rows of a strip with fewer pixels, float32 [h, w, bands].

    Args:
        strip: Rows of a scene.
        bands: Which bands to take, all of 10 m. Digital numbers are averaged, dB as power.
        factor: How many pixels become one, along each side.
    """
    width = strip.mask.shape[1] // factor
    if not bands:
        return np.empty((strip.num_fresh // factor, width, 0), np.float32)
    small = []
    for name in bands:
        assert native_size(name) == PATCH_PIXELS, name  # noqa: S101 - an invariant
        pixels = strip.bands[name][-strip.num_fresh :].astype(np.float32)
        in_db = name in S1
        values = 10 ** (pixels / 10) if in_db else pixels
        means = values.reshape(-1, factor, width, factor).mean(axis=(1, 3))
        small.append(10 * np.log10(means) if in_db else means)
    return np.stack(small, axis=-1).astype(np.float32)


def shrink_mask(mask: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    """Return what more than half of the pixels are, uint8 [h, w]; good ones where none is.

    Args:
        mask: Rows of a mask, uint8 [H, W].
        factor: How many pixels become one, along each side.
    """
    height, width = mask.shape
    squares = mask.reshape(height // factor, factor, width // factor, factor)
    most = np.zeros((height // factor, width // factor), np.uint8)
    for kind in (NO_DATA, OBSCURED):
        most[(squares == kind).mean(axis=(1, 3)) > 0.5] = kind
    return most


def to_rgb(
    colours: NDArray[np.float32], bands: Sequence[str], kinds: NDArray[np.uint8]
) -> NDArray[np.float32]:
    """Return a picture, float32 [h, w, 3], 0 to 1.

    Args:
        colours: Bands in few pixels, [h, w, bands].
        bands: Their names, as `colour_bands` returned them.
        kinds: What the pixels are, [h, w]; the stretch is that of good ones, so that clouds do not
            darken the land.
    """
    if tuple(bands) == S1.names:
        return colour_radar(colours[..., 0], colours[..., 1])
    known = colours[kinds == GOOD] if (kinds == GOOD).any() else colours.reshape(-1, 3)
    # Haze lifts each band by another amount; white has to be the same for all, or colours change.
    darkest = np.percentile(known, 0.5, axis=0) * 0.9
    brightest = float(np.clip(np.percentile(known.max(axis=-1), 99), 1400, 4200))
    unit = np.stack([stretch(colours[..., i], darkest[i], brightest) for i in range(3)], axis=-1)
    return np.asarray(unit ** (1 / _GAMMA), np.float32)


@dataclass(frozen=True, eq=False)
class QuicklookPicture:
    """What a quick look shows.

    Args:
        mosaic: Scores of the cells, and the bands in few pixels.
        grid: Grid of the scene.
        stride: Side length of a cell, in metres.
        bands: Names of the bands in few pixels.
        knows_clouds: Whether something tells where clouds are.
    """

    mosaic: Mosaic
    grid: Grid
    stride: int
    bands: tuple[str, ...]
    knows_clouds: bool = True

    @property
    def masked_as(self) -> str:
        """What masked cells are, by the pixels that are not good."""
        _, no_data, obscured = self.mosaic.counts
        names = ["no data"] * bool(no_data) + ["cloud", "shadow or defect"] * bool(obscured)
        return ", ".join(names).capitalize() or "Left out"

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of each of the two maps."""
        longer = max(self.grid.width, self.grid.height)
        return (
            round(_MAP * self.grid.width / longer),
            round(_MAP * self.grid.height / longer),
        )

    def scene_map(self) -> Image.Image:
        """Return the colours of the scene, hatched where nothing was measured."""
        unit = to_rgb(self.mosaic.colours, self.bands, self.mosaic.kinds)
        picture = to_image(unit)
        picture = picture.resize(self.size, Image.Resampling.LANCZOS)
        hidden = Image.fromarray(self.mosaic.kinds == NO_DATA).resize(
            self.size, Image.Resampling.NEAREST
        )
        picture.paste(hatched(*self.size), mask=hidden)
        return picture

    def class_map(self, palette: NDArray[np.uint8]) -> Image.Image:
        """Return the dominant classes, hatched where cells are masked.

        Args:
            palette: Colours of the labels, uint8 [K, 3].
        """
        width, height = self.size
        pixels_per_cell = self.stride / GRID_METRES
        columns = (np.arange(width) + 0.5) * self.grid.width / width / pixels_per_cell
        rows = (np.arange(height) + 0.5) * self.grid.height / height / pixels_per_cell
        dominant = self.mosaic.dominant[np.ix_(rows.astype(int), columns.astype(int))]
        picture = np.asarray(hatched(width, height)).copy()
        picture[dominant >= 0] = palette[dominant[dominant >= 0]]
        return Image.fromarray(picture, "RGB")


def draw_quicklook(
    picture: QuicklookPicture, *, labels: Sequence[str], product: str, model: str
) -> Image.Image:
    """Return the quick look."""
    width, height = picture.size
    palette = label_colours(labels)
    legend = list(picture.mosaic.shares(labels).items())
    masked = float(picture.mosaic.is_masked.mean())
    tall = max(height, _ROW * (len(legend) + (masked > 0)))
    second = _MARGIN + width + _GAP
    legend_left = second + width + _GAP
    total = (legend_left + _LEGEND_WIDTH + _MARGIN, _TOP + tall + _FOOT)
    canvas = Image.new("RGB", total, _PAPER)
    draw = ImageDraw.Draw(canvas)
    title, subtitle = title_of(product)
    whole = total[0] - 2 * _MARGIN
    draw.text((_MARGIN, 50), title, _INK, fit_font(title, 50, whole))
    draw.text((_MARGIN, 112), subtitle, _FAINT, fit_font(subtitle, 26, whole))
    what = "True colour" if picture.bands == RGB.names else "Radar: VV, VH, VV - VH"
    maps = (
        (_MARGIN, what, picture.scene_map()),
        (second, "Dominant land cover", picture.class_map(palette)),
    )
    for left, name, content in maps:
        draw.text((left, _TOP - 16), name, _INK, load_font(32), anchor="ls")
        canvas.paste(content, (left, _TOP))
        draw.rectangle((left - 1, _TOP - 1, left + width, _TOP + height), outline=_LINE)
    share = "share of cells"
    draw.text((legend_left + _LEGEND_WIDTH, _TOP - 16), share, _FAINT, load_font(22), anchor="rs")
    for position, (label, part) in enumerate(legend):
        top = _TOP + position * _ROW
        swatch = Image.new("RGB", (_SWATCH, _SWATCH), tuple(palette[labels.index(label)].tolist()))
        _draw_legend_row(canvas, swatch, label, part * (1 - masked), legend_left, top)
    if masked > 0:
        top = _TOP + len(legend) * _ROW
        swatch = hatched(_SWATCH, _SWATCH)
        _draw_legend_row(canvas, swatch, picture.masked_as, masked, legend_left, top)
    foot = _TOP + height + 26
    _draw_scale(draw, picture.grid, left=_MARGIN, top=foot, width=width)
    _draw_north(draw, _MARGIN + width - 14, foot)
    _draw_foot(draw, picture, model, left=second, top=foot)
    return canvas


def title_of(product: str) -> tuple[str, str]:
    """Return the title of a quick look and the line below it.

    Example:
        >>> title_of("S2B_MSIL2A_20220413T150759_N0400_R025_T33XWJ_20220414T082126")[0]
        'Sentinel-2B, tile 33XWJ, 13 April 2022'
        >>> title_of("my orchard")
        ('my orchard', 'Land cover by windows of 1200 m')
    """
    match = _SENTINEL2.match(product)
    if match is None:
        return product, "Land cover by windows of 1200 m"
    day = datetime.strptime(match["date"], "%Y%m%d")
    satellite = match["satellite"].replace("S2", "Sentinel-2")
    return f"{satellite}, tile {match['tile']}, {day.day} {day:%B %Y}", product


def scale_metres(ground_metres: float) -> int:
    """Return a round length of about a quarter of a map.

    Example:
        >>> scale_metres(109_800), scale_metres(6_000)
        (20000, 1000)
    """
    lengths = [digit * ten for ten in (1, 10, 100, 1000, 10_000, 100_000) for digit in (1, 2, 5)]
    return max(length for length in lengths if length <= max(ground_metres * 0.27, 1))


def hatched(width: int, height: int) -> Image.Image:
    """Return a picture of thin diagonal lines on pale grey."""
    diagonal = (np.arange(width)[None, :] + np.arange(height)[:, None]) % 12
    # Between 0 and 1 across the edge of a line, so that it is not jagged.
    strength = np.clip(2.2 - np.abs(diagonal - 5.5), 0, 1)[..., None]
    mixed = np.array(_MASK) * (1 - strength) + np.array(_HATCH) * strength
    return to_image(mixed / 255)


def _draw_legend_row(
    canvas: Image.Image, swatch: Image.Image, label: str, share: float, left: int, top: int
) -> None:
    draw = ImageDraw.Draw(canvas)
    canvas.paste(swatch, (left, top))
    draw.rectangle((left, top, left + _SWATCH - 1, top + _SWATCH - 1), outline="#b4bcc4")
    room = _LEGEND_WIDTH - _SWATCH - 106
    lines = wrap(label, load_font(24), room)
    font = load_font(24 if len(lines) == 1 else 19)
    for number, line in enumerate(lines):
        middle = top + _SWATCH / 2 + (number - (len(lines) - 1) / 2) * 21
        draw.text((left + _SWATCH + 16, middle), line, _INK, font, anchor="lm")
    percent = f"{100 * share:.0f} %" if share >= 0.01 else "< 1 %"
    right = (left + _LEGEND_WIDTH, top + _SWATCH / 2)
    draw.text(right, percent, _SOFT, load_font(24), anchor="rm")


def _draw_scale(draw: ImageDraw.ImageDraw, grid: Grid, *, left: int, top: int, width: int) -> None:
    """Draw a bar of a round length in four parts, with its ends named."""
    ground = grid.width * GRID_METRES
    metres = scale_metres(ground)
    length = width * metres / ground
    for part in range(4):
        start, stop = left + length * part / 4, left + length * (part + 1) / 4
        fill = _INK if part % 2 == 0 else _PAPER
        draw.rectangle((start, top, stop, top + 11), fill=fill, outline=_INK)
    text = f"{metres // 1000} km" if metres >= 1000 else f"{metres} m"
    draw.text((left, top + 22), "0", _SOFT, load_font(24))
    draw.text((left + length, top + 22), text, _SOFT, load_font(24), anchor="ma")


def _draw_north(draw: ImageDraw.ImageDraw, middle: int, top: int) -> None:
    """Draw an arrow that points up, with its letter."""
    tip, base, notch = top - 2, top + 34, top + 26
    draw.polygon([(middle, tip), (middle - 13, base), (middle, notch)], fill=_INK)
    draw.polygon([(middle, tip), (middle + 13, base), (middle, notch)], fill=_PAPER, outline=_INK)
    draw.text((middle, base + 6), "N", _INK, load_font(24), anchor="ma")


def _draw_foot(
    draw: ImageDraw.ImageDraw, picture: QuicklookPicture, model: str, *, left: int, top: int
) -> None:
    """Say below the classes what they are, and who says so."""
    grid = picture.grid
    across = " x ".join(f"{n * GRID_METRES / 1000:g} km" for n in (grid.width, grid.height))
    lines = (
        f"The class with the highest score in each cell of {picture.stride} m"
        + ("" if picture.knows_clouds else "; clouds are not known"),
        f"{model}, reben {version('reben')}",
    )
    for number, line in enumerate(lines):
        colour = _SOFT if number == 0 else _FAINT
        draw.text((left, top - 4 + 34 * number), line, colour, load_font(24))
    right = left + picture.size[0] + _GAP + _LEGEND_WIDTH
    draw.text((right, top - 4), grid.crs, _SOFT, load_font(24), anchor="ra")
    draw.text((right, top + 30), across, _FAINT, load_font(24), anchor="ra")
