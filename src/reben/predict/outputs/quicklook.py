"""The quick look of a scene: its colours at the left, its dominant classes at the right.

Both maps show the same ground, north up. The scene is in true colour where B04, B03 and B02 are
there, else radar: VV, VH and their ratio as red, green and blue. True colour is stretched for each
scene by itself. Classes have the colours of their labels, paler where the highest score is low;
masked cells are hatched.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from reben.data.pictures import (
    UNCERTAIN_COLOUR,
    colour_radar,
    fit_font,
    label_colours,
    load_font,
    shorten,
    stretch,
    to_image,
)
from reben.errors import BandsMismatchError
from reben.predict.outputs.class_map import MASKED, classes_of
from reben.predict.outputs.furniture import (
    FAINT,
    INK,
    LEGEND_WIDTH,
    LINE,
    MASK,
    PAPER,
    RAMP_HEIGHT,
    ROW,
    SWATCH,
    LegendRow,
    draw_corners,
    draw_legend,
    draw_north,
    draw_notes,
    draw_ramp,
    draw_scale,
    hatched,
    title_of,
)
from reben.predict.strips import Strip
from reben.predict.windows import Mosaic
from reben.scene.grid import GRID_METRES, Grid
from reben.scene.masks import GOOD, NO_DATA, OBSCURED
from reben.spec.bands import RGB, S1, native_size
from reben.spec.patches import PATCH_PIXELS

_ENOUGH_PIXELS = 1100
"""Along the longer side, a quick look needs no more."""
_GAMMA = 1.7

FULL_SCORE, PALE_SCORE = 0.8, 0.2
"""A score from which on a class has its full colour, and one below which it is palest."""
_PALEST = 0.3
"""The share of its colour that a class keeps; the rest is white."""

# In pixels of the picture.
_MARGIN, _GAP, _MAP = 64, 44, 980
_LEAST_COLUMN, _FOR_NOTES = 470, 900
"""For the words above and below a narrow map; below a narrower one, notes need more room."""
_TOP, _BETWEEN, _NOTE = 256, 50, 34


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
        min_score: Below it, the highest score is uncertain.
    """

    mosaic: Mosaic
    grid: Grid
    stride: int
    bands: tuple[str, ...]
    knows_clouds: bool = True
    min_score: float = 0.0

    @cached_property
    def classes(self) -> NDArray[np.int64]:
        """What the cells show, by the values of a map of classes, int64 [Y, X]."""
        return classes_of(self.mosaic.scores, self.min_score)

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
        cells = np.ix_(rows.astype(int), columns.astype(int))
        highest = np.nan_to_num(self.mosaic.scores).max(axis=-1)
        of_values = np.concatenate([[MASK], palette, [UNCERTAIN_COLOUR]]).astype(np.uint8)
        colours = pale(of_values[self.classes], highest)
        is_uncertain = self.classes > len(palette)
        colours[is_uncertain] = UNCERTAIN_COLOUR
        picture = np.asarray(hatched(width, height)).copy()
        is_known = self.classes[cells] != MASKED
        picture[is_known] = colours[cells][is_known]
        return Image.fromarray(picture, "RGB")

    def legend(self, labels: Sequence[str]) -> list[LegendRow]:
        """Return the classes that are there, the most frequent first; then what is none."""
        counts = np.bincount(self.classes.ravel(), minlength=len(labels) + 2)
        shares = counts / self.classes.size
        palette = label_colours(labels)
        found = [value for value in range(1, len(labels) + 1) if counts[value]]
        found.sort(key=lambda value: -counts[value])
        rows = [
            LegendRow(_swatch(palette[value - 1]), labels[value - 1], shares[value])
            for value in found
        ]
        if counts[len(labels) + 1]:
            name = f"Uncertain: all scores below {self.min_score:g}"
            rows.append(LegendRow(_swatch(UNCERTAIN_COLOUR), name, shares[len(labels) + 1]))
        if counts[MASKED]:
            rows.append(LegendRow(hatched(SWATCH, SWATCH), self.masked_as, shares[MASKED]))
        return rows


def pale(colours: NDArray[np.uint8], scores: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return colours as the map shows them at these scores: mixed with white where they are low.

    Args:
        colours: Red, green and blue, uint8 [..., 3].
        scores: The highest score of each, 0 to 1, [...].
    """
    certainty = np.clip((scores - PALE_SCORE) / (FULL_SCORE - PALE_SCORE), 0, 1)[..., None]
    share = _PALEST + (1 - _PALEST) * certainty
    mixed: NDArray[np.float32] = 255 - (255 - colours.astype(np.float32)) * share
    return np.rint(mixed).astype(np.uint8)


def _swatch(colour: Sequence[int] | NDArray[np.uint8]) -> Image.Image:
    red, green, blue = (int(part) for part in colour)
    return Image.new("RGB", (SWATCH, SWATCH), (red, green, blue))


def draw_quicklook(
    picture: QuicklookPicture,
    *,
    labels: Sequence[str],
    product: str,
    model: str,
    about: Mapping[str, str] | None = None,
) -> Image.Image:
    """Return the quick look.

    Args:
        picture: What it shows.
        labels: Names of the labels.
        product: The name of the product.
        model: The name of the model.
        about: What is known of the product: ``sensing_time`` and ``attribution`` are shown.
    """
    about = about or {}
    width, height = picture.size
    column = max(width, _LEAST_COLUMN)
    palette = label_colours(labels)
    rows = picture.legend(labels)
    has_ramp = bool((picture.classes != MASKED).any())
    notes = _notes(picture, model, about.get("attribution"))
    foot, below_legend = height + _BETWEEN, ROW * len(rows) + RAMP_HEIGHT * has_ramp
    is_wide = column >= _FOR_NOTES
    notes_top = foot if is_wide else max(foot, below_legend)
    second = _MARGIN + column + _GAP
    legend_left = second + column + _GAP
    total = (
        legend_left + LEGEND_WIDTH + _MARGIN,
        _TOP + max(notes_top + _NOTE * len(notes), below_legend) + _BETWEEN + 14,
    )
    canvas = Image.new("RGB", total, PAPER)
    draw = ImageDraw.Draw(canvas)
    whole = total[0] - 2 * _MARGIN
    sensed = about.get("days") or about.get("sensing_time") or about.get("sentinel1_sensing_time")
    for text, top, size, ink in zip(
        title_of(product, sensed or ""), (50, 112), (50, 26), (INK, FAINT), strict=True
    ):
        font = fit_font(text, size, whole, smallest=18)
        draw.text((_MARGIN, top), shorten(text, font, whole), ink, font)
    what = "True colour" if picture.bands == RGB.names else "Radar: VV, VH, VV - VH"
    maps = (
        (_MARGIN, what, picture.scene_map()),
        (second, "Dominant land cover", picture.class_map(palette)),
    )
    for left, name, content in maps:
        draw.text((left, _TOP - 46), name, INK, load_font(32), anchor="ls")
        canvas.paste(content, (left, _TOP))
        draw.rectangle((left - 1, _TOP - 1, left + width, _TOP + height), outline=LINE)
    draw_legend(canvas, rows, left=legend_left, top=_TOP)
    if has_ramp:
        draw_ramp(
            canvas,
            _ramp(palette, picture.classes),
            (PALE_SCORE, FULL_SCORE),
            left=legend_left,
            top=_TOP + ROW * len(rows),
        )
    draw_corners(draw, picture.grid, left=_MARGIN, top=_TOP, size=picture.size)
    left_edge, _, right_edge, _ = picture.grid.bounds
    ground = (right_edge - left_edge) * column / width
    draw_scale(draw, ground, left=_MARGIN, top=_TOP + foot, width=column)
    draw_north(draw, _MARGIN + column - 14, _TOP + foot)
    room = column if is_wide else total[0] - _MARGIN - second
    draw_notes(draw, notes, left=second, top=_TOP + notes_top, width=room)
    return canvas


def _ramp(palette: NDArray[np.uint8], classes: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Return the colours of the darkest class that is there, from the lowest score on."""
    present = np.unique(classes)
    shown = palette[present[(present > MASKED) & (present <= len(palette))] - 1]
    darkest = min(shown, key=np.sum, default=np.array(UNCERTAIN_COLOUR, np.uint8))
    scores = np.linspace(PALE_SCORE, FULL_SCORE, 100, dtype=np.float32)
    return pale(np.tile(darkest, (100, 1)), scores)


def _notes(picture: QuicklookPicture, model: str, attribution: str | None) -> list[str]:
    """Return what the classes are, of which ground, who says so, and of whose data."""
    left, bottom, right, top = picture.grid.bounds
    across = f"{(right - left) / 1000:.4g} km x {(top - bottom) / 1000:.4g} km"
    unknown = "" if picture.knows_clouds else "; clouds are not known"
    notes = [
        f"The class with the highest score in each cell of {picture.stride} m{unknown}",
        f"{across}, {picture.grid.crs}",
        f"{model}, reben {version('reben')}",
    ]
    return [*notes, attribution] if attribution else notes
