"""What the pixels of a scene are: good, without data, or hidden."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from reben.data.values import RANGES
from reben.errors import PixelValueError, ProductError
from reben.scene.offset import MODEL_QUANTIFICATION, OffsetAndScale

GOOD, NO_DATA, OBSCURED = 0, 1, 2
"""What a mask says of a pixel: usable, not measured, hidden or defective."""

CLASS_NAMES = (
    "no data",
    "saturated or defective",
    "dark area",
    "cloud shadow",
    "vegetation",
    "not vegetated",
    "water",
    "unclassified",
    "cloud, medium probability",
    "cloud, high probability",
    "thin cirrus",
    "snow or ice",
)
"""The classes by their number. Source: Sentinel-2 Level-2A Algorithm Theoretical Basis Document."""

OBSCURED_CLASSES = (1, 3, 8, 9, 10)
"""Classes whose pixels do not show the ground. Snow lies on it, so it counts as good."""

_MASK_OF_CLASS = np.full(256, GOOD, np.uint8)
_MASK_OF_CLASS[0] = NO_DATA
_MASK_OF_CLASS[list(OBSCURED_CLASSES)] = OBSCURED
LEAST_NUMBER = -2000
"""Dark ground is measured a little below 0, which becomes 0; a reflectance below -0.2 is none."""


def mask_of(classes: NDArray[Any], name: str) -> NDArray[np.uint8]:
    """Return 0 for good, 1 for no data, 2 for obscured pixels, in the shape of ``classes``.

    Args:
        classes: Class numbers 0 to 11.
        name: What they are called in error messages.

    Example:
        >>> mask_of(np.array([[4, 0, 3], [11, 9, 10]], np.uint8), "SCL")
        array([[0, 1, 2],
               [0, 2, 2]], dtype=uint8)
    """
    if classes.dtype.kind == "f":
        classes = np.where(np.isnan(classes), 0, classes)
    is_class = (classes >= 0) & (classes < len(CLASS_NAMES))
    if classes.dtype.kind == "f":
        is_class &= classes == np.rint(classes)
    if not is_class.all():
        raise ProductError(
            f"The scene classification of {name} holds the value {classes[~is_class][0]:g}; it has "
            f"classes 0 to {len(CLASS_NAMES) - 1}. If that marks pixels without data, declare it: "
            f"gdal_edit.py -a_nodata {classes[~is_class][0]:g} FILE. Else remove the "
            "classification, or replace it by the right one."
        )
    mask: NDArray[np.uint8] = _MASK_OF_CLASS[classes.astype(np.uint8, copy=False)]
    return mask


def bad_numbers(
    stored: NDArray[Any], nodata: float | None, scale: OffsetAndScale, name: str
) -> NDArray[np.bool_] | None:
    """Tell which stored numbers of a band are no measurement; None if all are.

    Those are masked, declared to be no data, NaN, infinite, or no reflectance. 0 is not told here:
    in dark bands it is measured, too.

    Args:
        stored: Digital numbers as stored; masked arrays are honoured.
        nodata: The value that is declared to be no data.
        scale: How numbers become reflectances.
        name: What the band is called in error messages.

    Raises:
        PixelValueError: If they are of a dtype that cannot hold digital numbers.
    """
    values, bad = np.ma.getdata(stored), np.ma.getmaskarray(stored)
    if values.dtype.kind not in "fiu" or values.dtype.itemsize == 1:
        raise PixelValueError(
            f"{name} has dtype {values.dtype}, which cannot hold digital numbers (reflectance x "
            "10000). Pass the original values, not a picture or a mask."
        )
    if values.dtype != np.uint16 or scale.quantification != MODEL_QUANTIFICATION:
        factor = MODEL_QUANTIFICATION / scale.quantification
        with np.errstate(over="ignore", invalid="ignore"):
            numbers = (values.astype(np.float64) + scale.offset) * factor
            bad = bad | ~((numbers >= LEAST_NUMBER) & (numbers <= RANGES["Sentinel-2"][1]))
    if nodata and not np.isnan(nodata):
        with np.errstate(over="ignore"):
            bad = bad | (values == np.array(nodata).astype(values.dtype, casting="unsafe"))
    return bad if bad.any() else None
