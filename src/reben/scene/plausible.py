"""Whether pixels fit the offset that metadata or the user state.

Only the numbers tell whether an offset was removed already. One that is subtracted twice makes land
negative, which next to nothing on the ground is: reflectances of land in B02, B03 and B04 at once
are above 0. Numbers from which it was removed are mostly below 1000 there, others hardly ever.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reben.errors import OffsetConflictError
from reben.scene.band_names import CLASSIFICATION
from reben.scene.offset import LARGEST_REFLECTANCE, OffsetAndScale

MOST_NEGATIVE = 0.1
"""The largest share of lit land that may be negative in all visible bands.

Measured on real BigEarthNet patches, whose offset was removed: 88 % would be.
"""
MOST_NEGATIVE_UNLIT = 0.25
"""The same where nothing tells land from water and shadow."""
LEAST_BELOW = 0.001
"""The smallest share of numbers below an offset if it was removed; only clouds and snow have less.
"""
VISIBLE = ("B02", "B03", "B04")
INFRARED = ("B08", "B8A", "B07")
_LAND_CLASSES = (4, 5, 7)  # vegetation, not vegetated, unclassified
_LAND_REFLECTANCE = 0.05  # in the near infrared; water and shadow have less
_ENOUGH_LAND = 0.01


def bands_to_look_at(
    scaling: Mapping[str, OffsetAndScale], available: Mapping[str, object]
) -> list[str]:
    """Return the bands whose pixels `check_offset` needs; none if there is nothing to check."""
    if not any(scale.offset or scale.unused for scale in scaling.values()):
        return []
    visible = [band for band in VISIBLE if band in scaling] or list(scaling)[:1]
    land = next((band for band in (CLASSIFICATION, *INFRARED) if band in available), None)
    return visible if land is None or land in visible else [*visible, land]


def check_offset(
    product: str,
    scaling: Mapping[str, OffsetAndScale],
    numbers: Mapping[str, NDArray[Any]],
    *,
    given: bool,
    cure: str,
) -> None:
    """Raise an OffsetConflictError if pixels contradict the offset with which they are read.

    Args:
        product: What the product is called in error messages.
        scaling: Band -> how its numbers are read.
        numbers: Band, or the classification -> stored numbers, all of one shape; 0 is no data.
            The bands are those of `bands_to_look_at`.
        given: Whether the user gave the offset.
        cure: What to do about an offset that was removed already.
    """
    visible = [band for band in numbers if band in VISIBLE] or list(numbers)[:1]
    measured = np.logical_and.reduce([numbers[band] > 0 for band in visible])
    if not measured.any() or _are_reflectances(visible, scaling, numbers):
        return
    first = scaling[visible[0]]
    offset = first.offset or next((item.offset for item in first.unused if item.offset), 0.0)
    if not offset or (given and not first.offset):
        return
    below = np.stack([numbers[band] < -(scaling[band].offset or offset) for band in visible])
    shares = below[:, measured].mean(axis=1)
    shown = ", ".join(f"{band} {share:.0%}" for band, share in zip(visible, shares, strict=True))
    if not first.offset:
        if below[:, measured].any(axis=0).mean() < LEAST_BELOW:
            unused = "; ".join(item.said for item in first.unused)
            raise OffsetConflictError(
                f"{product} contradicts itself about its offset: {first.source}, so that it would "
                f"be 0, but {unused}, and hardly a number is below {-offset:g} (share: {shown}), "
                "as if it had not been removed. Compare the values with those of the original "
                f"product, then pass the right one: boa_offset={offset:g} or boa_offset=0 "
                "(--boa-offset)."
            )
        return
    land, limit = _lit_land(scaling, numbers, measured)
    share = float(below[:, land].all(axis=0).mean())
    if share > limit:
        raise OffsetConflictError(
            f"{product} would be read with the offset {offset:g} ({first.source}), but its pixels "
            f"look as if an offset had been removed already: {share:.0%} of the "
            f"{'lit land' if limit == MOST_NEGATIVE else 'pixels'} would be negative in "
            f"all of {', '.join(visible)}, more than shadow and water explain (share of "
            f"numbers below {-offset:g}: {shown}). {cure}If {offset:g} is right all the same, pass "
            "trust_offset=True (--trust-offset)."
        )


def _are_reflectances(
    bands: Sequence[str],
    scaling: Mapping[str, OffsetAndScale],
    numbers: Mapping[str, NDArray[Any]],
) -> bool:
    """Tell whether numbers are of another unit, which is refused when they are read."""
    largest = max(float(np.nanmax(numbers[band])) for band in bands)
    return largest <= LARGEST_REFLECTANCE and scaling[bands[0]].quantification >= 100


def _lit_land(
    scaling: Mapping[str, OffsetAndScale],
    numbers: Mapping[str, NDArray[Any]],
    measured: NDArray[np.bool_],
) -> tuple[NDArray[np.bool_], float]:
    """Return which pixels are to be looked at, and how many of them may be negative."""
    land = np.zeros_like(measured)
    if CLASSIFICATION in numbers:
        land = measured & np.isin(numbers[CLASSIFICATION], _LAND_CLASSES)
    else:
        for band in set(INFRARED) & set(numbers):
            scale = scaling[band]
            least = _LAND_REFLECTANCE * scale.quantification - scale.offset
            land = measured & (numbers[band] > least)
    if land.sum() > _ENOUGH_LAND * measured.sum():
        return land, MOST_NEGATIVE
    return measured, MOST_NEGATIVE_UNLIT
