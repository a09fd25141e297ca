"""Numbers that somebody passes to a function: of the right kind and within bounds, or an error.

``True``, ``2.5`` and NaN pass most comparisons, and then mean something else than was meant.
"""

import math
import operator
from typing import SupportsFloat, cast

from reben.errors import ConfigError, shown

MOST = (1 << 63) - 1
"""The largest whole number that is of any use to numpy and torch."""


def require_whole(name: str, value: object, least: int = 1, most: int = MOST) -> int:
    """Return ``value`` if it is a whole number from ``least`` to ``most``, of Python or numpy.

    Example:
        >>> require_whole("batch_size", 2.5)
        Traceback (most recent call last):
        reben.errors.ConfigError: batch_size must be a whole number, not 2.5.
    """
    try:
        whole = None if _is_bool(value) else operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        whole = None
    if whole is None:
        raise ConfigError(f"{name} must be a whole number, not {shown(value)}.")
    if not least <= whole <= most:
        bounds = f"at least {least}" if whole < least else f"at most {most}"
        raise ConfigError(f"{name} must be {bounds}, not {shown(value)}.")
    return whole


def require_number(name: str, value: object, least: float, most: float) -> float:
    """Return ``value`` if it is a number from ``least`` to ``most``, of Python or numpy.

    Example:
        >>> require_number("threshold", float("nan"), 0, 1)
        Traceback (most recent call last):
        reben.errors.ConfigError: threshold must be a number from 0 to 1, not nan.
    """
    is_number = hasattr(value, "__float__") and not _is_bool(value)
    try:
        number = float(cast("SupportsFloat", value)) if is_number else math.nan
    except (TypeError, ValueError, OverflowError, RuntimeError):  # an array, or far too large
        number = math.nan
    if not least <= number <= most:
        raise ConfigError(f"{name} must be a number from {least} to {most}, not {shown(value)}.")
    return number


def _is_bool(value: object) -> bool:
    return isinstance(value, bool) or "bool" in str(getattr(value, "dtype", ""))
