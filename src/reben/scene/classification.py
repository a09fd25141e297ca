"""The scene classification of a level-2A product, as good and bad pixels."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from reben.errors import ProductError

GOOD, NODATA, OBSCURED = 0, 1, 2
"""What a pixel of a mask is: fit to be looked at, not measured, hidden or defective."""

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
"""Classes whose pixels do not show the ground. Snow does: it lies on it."""

_MASK_OF_CLASS = np.full(256, GOOD, np.uint8)
_MASK_OF_CLASS[0] = NODATA
_MASK_OF_CLASS[list(OBSCURED_CLASSES)] = OBSCURED


def mask_of(classes: NDArray[Any], name: str) -> NDArray[np.uint8]:
    """Return 0 for good, 1 for no data, 2 for obscured pixels, in the shape of ``classes``.

    Args:
        classes: Class numbers 0 to 11.
        name: What they are called in error messages.

    Raises:
        ProductError: If there is another number: then it is no scene classification.

    Example:
        >>> mask_of(np.array([[4, 0, 3], [11, 9, 10]], np.uint8), "SCL")
        array([[0, 1, 2],
               [0, 2, 2]], dtype=uint8)
    """
    if classes.size and (int(classes.max()) >= len(CLASS_NAMES) or int(classes.min()) < 0):
        raise ProductError(
            f"{name} holds the value {classes.max()}; a scene classification has classes 0 to "
            f"{len(CLASS_NAMES) - 1}. Take it out of the product, or put the right file there."
        )
    mask: NDArray[np.uint8] = _MASK_OF_CLASS[classes.astype(np.uint8, copy=False)]
    return mask
