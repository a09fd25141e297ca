"""A scene as colours, with fewer pixels than it has: what the quick look shows.

True colour where B04, B03 and B02 are there, else radar: VV, VH and their ratio as red, green and
blue. Each scene gets its own stretch, for pictures to look at; those of patches have a fixed one.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reben.errors import BandsMismatchError
from reben.scene.grid import Grid
from reben.scene.strips import COVERED, GOOD, NO_DATA, Strip
from reben.spec.bands import RGB, S1, native_size
from reben.spec.patches import PATCH_PIXELS

_ENOUGH_PIXELS = 1100
"""Along the longer side, a quick look needs no more."""
_GAMMA = 1.7
_RADAR_RANGES_DB = ((-19.0, -1.0), (-26.0, -8.0), (0.0, 15.0))


def colour_bands(available: Sequence[str]) -> tuple[str, ...]:
    """Return the bands that a picture is made from.

    Raises:
        BandsMismatchError: If neither B04, B03, B02 nor VV, VH are there.
    """
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
    for kind in (NO_DATA, COVERED):
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
        vv_db, vh_db = colours[..., 0], colours[..., 1]
        channels = (vv_db, vh_db, vv_db - vh_db)
        limits = _RADAR_RANGES_DB
        stretched = [_stretch(x, *limit) for x, limit in zip(channels, limits, strict=True)]
        return np.stack(stretched, axis=-1)
    known = colours[kinds == GOOD] if (kinds == GOOD).any() else colours.reshape(-1, 3)
    # Haze lifts each band by another amount; white has to be the same for all, or colours change.
    darkest = np.percentile(known, 0.5, axis=0) * 0.9
    brightest = float(np.clip(np.percentile(known.max(axis=-1), 99), 1400, 4200))
    unit = np.stack([_stretch(colours[..., i], darkest[i], brightest) for i in range(3)], axis=-1)
    return np.asarray(unit ** (1 / _GAMMA), np.float32)


def _stretch(values: NDArray[Any], low: float, high: float) -> NDArray[np.float32]:
    return np.clip((values - low) / (high - low), 0, 1).astype(np.float32)
