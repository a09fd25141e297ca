"""What pixels may be: one set of rules for files, stores, arrays and scenes.

A pixel is bad if it is masked, declared to be no data, not finite, or outside the range of its
sensor. A patch that has few of them is used after they are filled, one with more is refused.

Axes: B patches, h rows and w columns of a band.
"""

from collections import Counter
from collections.abc import Mapping
from itertools import combinations
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reben.errors import PixelValueError, cut
from reben.spec.bands import Sensor, sensor

RANGES: Mapping[Sensor, tuple[float, float]] = MappingProxyType(
    {"Sentinel-1": (-100.0, 50.0), "Sentinel-2": (0.0, 65535.0)}
)
"""Least and largest value of a measurement: dB, and digital numbers (reflectance x 10000).

Backscatter of land and sea is -40 to 20 dB; digital numbers are stored as uint16.
"""
LARGEST_BAD_SHARE = 0.05
"""Largest share of bad pixels of a band, or of blank ones, with which a patch is used."""

_LARGEST_REFLECTANCE = 10.0
_LARGEST_PERCENTAGE = 100.0
_EVERY = 7
"""So many pixels stand for one in a quick look; no band has rows of such a length."""
_STRONGEST_VH = -5.0
_VISIBLE = frozenset(("B01", "B02", "B03", "B04"))
NODATA_KEYS = ("_FillValue", "nodata", "missing_value", "nodatavals")
"""Attributes of an array of xarray that tell the value of pixels without data."""
AXES = (("y", "x"), ("northing", "easting"), ("latitude", "longitude"), ("lat", "lon"))
"""What rows and columns of an array of xarray are called."""
WRAPPED = MappingProxyType(
    {
        65535: "which saturated pixels have, and -1 stored without a sign",
        64537: "which is -999 stored without a sign",
        55537: "which is -9999 stored without a sign",
        32768: "which is -32768 stored without a sign",
        32767: "which is the largest number of 16 bits with a sign",
    }
)
"""Digital numbers that stand for something else."""


class SuspiciousInputWarning(UserWarning):
    """Input values that are possible but unlikely."""


def declared_nodata(attributes: Mapping[Any, Any], name: str) -> float | None:
    """Return the value of pixels without data, by the attributes of an array of xarray.

    ``name`` is what messages call the array. That one of `NODATA_KEYS` is not one number, or that
    two of them differ, is a PixelValueError.
    """
    found = {key: _number(attributes[key]) for key in NODATA_KEYS if key in attributes}
    values = {value for value in found.values() if value == value}  # noqa: PLR0124 - NaN
    for key, value in found.items():
        if value is None or len(values) > 1:
            why = "no number" if value is None else "not what its other attributes say"
            raise PixelValueError(
                f"The attribute {key} of {name} is {cut(repr(attributes[key]))}, which is {why}; "
                "it is the value of pixels without data. Correct or remove it."
            )
    return next(iter([*values, *found.values()]), None)


def _number(attribute: Any) -> float | None:  # noqa: ANN401
    array = np.asarray(attribute)
    return float(array.item()) if array.size == 1 and array.dtype.kind in "fiu" else None


def bad_pixels(
    name: str, pixels: NDArray[Any], nodata: float | None = None
) -> NDArray[np.bool_] | None:
    """Tell which pixels of a band hold no measurement; None if all do.

    They are digital numbers (Sentinel-2) or dB (Sentinel-1), of any shape; those that a masked
    array masks are bad, and those of the value ``nodata`` that is declared. A Sentinel-2 file that
    declares 0 says nothing: those of the data set do, and hold dark pixels of 0 in single bands.

    Example:
        >>> bad_pixels("VV", np.array([-9999.0, -12.5, np.nan]))
        array([ True, False,  True])
    """
    low, high = RANGES[sensor(name)]
    values = np.ma.getdata(pixels)
    bad: Any = np.ma.getmask(pixels)
    if values.dtype != np.uint16 and not (
        values.size and values.min() >= low and values.max() <= high  # False for NaN
    ):
        with np.errstate(invalid="ignore"):
            bad = bad | ~((values >= low) & (values <= high))
    bad = bad | _declared(name, values, nodata)
    return np.asarray(bad) if np.any(bad) else None


def _declared(name: str, values: NDArray[Any], nodata: float | None) -> NDArray[np.bool_] | bool:
    if nodata is None or (nodata == 0 and sensor(name) == "Sentinel-2"):
        return False
    # A file says it in decimals, its pixels are of its own dtype.
    if values.dtype.kind == "f":
        with np.errstate(over="ignore"):
            nodata = float(values.dtype.type(nodata))
    found: NDArray[np.bool_] = values == nodata
    return found


def mask_declared(name: str, pixels: NDArray[Any], nodata: float | None) -> NDArray[Any]:
    """Return a band as it is, or masked where it holds what `bad_pixels` takes for ``nodata``."""
    found = _declared(name, pixels, nodata)
    return np.ma.masked_array(pixels, found) if np.any(found) else pixels


def require_plain(file: str, scale: float, offset: float) -> None:
    """Raise a PixelValueError if a file says that its pixels are to be scaled first."""
    if (scale, offset) != (1.0, 0.0):
        raise PixelValueError(
            f"{file} has scale {scale:g} and offset {offset:g}, which are not applied to its "
            "pixels. Apply them, and write digital numbers (reflectance x 10000) or dB without "
            "scale and offset."
        )


def fill_bad(name: str, pixels: NDArray[Any], bad: NDArray[np.bool_]) -> NDArray[Any]:
    """Return a band, [h, w] or [B, h, w], whose bad pixels have the median of their patch's others.

    More of them than `LARGEST_BAD_SHARE` of a patch are a PixelValueError.
    """
    filled = np.ma.getdata(pixels).copy()
    patches = filled[None] if filled.ndim == 2 else filled
    for patch, is_bad in zip(patches, bad[None] if bad.ndim == 2 else bad, strict=True):
        if not is_bad.any():
            continue
        if is_bad.mean() > LARGEST_BAD_SHARE:
            raise PixelValueError(_describe_bad(name, patch, is_bad))
        patch[is_bad] = np.median(patch[~is_bad]).astype(patch.dtype)
    return filled


def _describe_bad(name: str, patch: NDArray[Any], is_bad: NDArray[np.bool_]) -> str:
    of = sensor(name)
    low, high = RANGES[of]
    found, counts = np.unique(patch[is_bad], return_counts=True)
    most = f"{found[counts.argmax()]:.6g}"
    unit = "backscatter in dB" if of == "Sentinel-1" else "digital numbers"
    values = most if len(found) == 1 else f"{most} and {len(found) - 1} other values"
    cure = "Fill them, or leave the patch out"
    if of == "Sentinel-2" and found[0] >= -1000 and found[-1] < 0:
        cure = "If a BOA offset made them negative, set them to 0; else leave the patch out"
    return (
        f"Band {name} has {int(is_bad.sum()):,} pixels without data, of {is_bad.size:,}: masked, "
        f"declared as no data, NaN, infinite, or no {unit} of {low:g} to {high:g} (their "
        f"value: {values}). No more than {LARGEST_BAD_SHARE:.0%} are filled. {cure}."
    )


def check_values(
    bands: Mapping[str, NDArray[Any]],
) -> tuple[dict[str, NDArray[Any]], Counter[str]]:
    """Return the bands with bad pixels filled, and how many patches of each band had some.

    Pixels that training saw as they are stay so: where 0 and saturated numbers are no more than
    `LARGEST_BAD_SHARE` of a patch, they are not changed. Values, [B, h, w] at native size, maybe
    masked, of a wrong dtype or in another unit, or too many bad ones, are a PixelValueError.
    """
    plain, largest = {}, {}
    bad: dict[str, NDArray[np.bool_]] = {}
    for name, pixels in bands.items():
        _require_dtype(name, pixels.dtype)
        found = bad_pixels(name, pixels)
        if found is not None:
            bad[name] = found
        plain[name] = np.ma.getdata(pixels)
        largest[name] = _largest(name, plain[name], True if found is None else ~found)
    _refuse_reflectances(plain, largest)
    filled = plain | {name: fill_bad(name, bands[name], mask) for name, mask in bad.items()}
    for of in RANGES:
        _refuse_blank({name: values for name, values in plain.items() if sensor(name) == of})
    _refuse_wrapped(plain, largest)
    return filled, Counter({name: int(mask.any((1, 2)).sum()) for name, mask in bad.items()})


def check_units(bands: Mapping[str, NDArray[Any]]) -> None:
    """Raise a PixelValueError if values [B, h, w] are of a wrong dtype or in another unit.

    None of them is out of range; 0 is no data.
    """
    largest = {}
    for name, values in bands.items():
        _require_dtype(name, values.dtype)
        largest[name] = _largest(name, values)
    _refuse_reflectances(bands, largest)


def _largest(name: str, values: NDArray[Any], good: Any = True) -> NDArray[Any]:  # noqa: ANN401
    """Return the largest good value of each patch, [B]; refuse backscatter that is not in dB."""
    lowest = -np.inf if values.dtype.kind == "f" else int(np.iinfo(values.dtype).min)
    largest: NDArray[Any] = values.max((1, 2), initial=lowest, where=good)
    if sensor(name) == "Sentinel-1":
        least = values.min((1, 2), initial=np.inf, where=good)
        if ((least >= 0) & (largest > 0)).any():
            raise PixelValueError(
                f"Band {name} has no negative value: it looks like linear power or amplitude. The "
                "model needs dB: 10 * log10(power), or 20 * log10(amplitude)."
            )
    return largest


def _require_dtype(name: str, dtype: np.dtype[Any]) -> None:
    if sensor(name) == "Sentinel-1":
        if dtype.kind != "f":
            raise PixelValueError(
                f"Band {name} has dtype {dtype}; Sentinel-1 backscatter in dB has fractions. Pass "
                "float32 values in dB, not rounded or digital numbers."
            )
    elif dtype.kind not in "fiu" or dtype.itemsize == 1:
        raise PixelValueError(
            f"Band {name} has dtype {dtype}, which cannot hold digital numbers (reflectance x "
            "10000). Pass the original values, not a picture or a mask."
        )


def _refuse_reflectances(
    bands: Mapping[str, NDArray[Any]], largest: Mapping[str, NDArray[Any]]
) -> None:
    """Refuse patches of which a band holds reflectances, or all hold reflectances or percent."""
    numbers = {name: values for name, values in bands.items() if sensor(name) == "Sentinel-2"}
    if not numbers:
        return
    overall = np.max([largest[name].astype(np.float64) for name in numbers], 0)
    is_float = all(values.dtype.kind == "f" for values in numbers.values())
    may_refuse_all = is_float or not _VISIBLE.isdisjoint(numbers)
    for row, top in enumerate(overall.tolist()):
        dark = [name for name in numbers if 0 < largest[name][row] <= _LARGEST_PERCENTAGE]
        fractions = [name for name in dark if has_fractions(numbers[name][row])]
        if _LARGEST_REFLECTANCE < top <= _LARGEST_PERCENTAGE and fractions:
            raise PixelValueError(
                f"Values of Sentinel-2 reach {top:.4g} only: they look like reflectances in "
                "percent. The model needs digital numbers: multiply by 100."
            )
        small = [name for name in fractions if largest[name][row] <= _LARGEST_REFLECTANCE]
        if 0 < top <= _LARGEST_REFLECTANCE and may_refuse_all:
            small = list(numbers)
        if small:
            reached = max(float(largest[name][row]) for name in small)
            of = ", ".join(small) if len(small) < len(numbers) else "Sentinel-2"
            raise PixelValueError(
                f"Values of {of} reach {reached:.4g} only: they look like reflectances of 0..1. "
                "The model needs digital numbers: multiply by 10000."
            )


def has_fractions(values: NDArray[Any]) -> bool:
    """Tell whether a small value is neither whole nor the mean of 4 or 36 whole numbers."""
    if values.dtype.kind != "f":
        return False
    times = values[np.isfinite(values)].astype(np.float64) * 36
    return bool((np.abs(times - np.rint(times)) > 1e-3).any())


def _refuse_blank(bands: Mapping[str, NDArray[Any]]) -> None:
    """Refuse patches with too many pixels that are 0 in all bands, which products fill with."""
    share: NDArray[np.float64] | None = None
    for values in bands.values():
        of_band = np.mean(values == 0, (1, 2))
        share = of_band if share is None else np.minimum(share, of_band)
        if not (share > LARGEST_BAD_SHARE).any():
            return
    # Where there is no visible band, dark water may well be 0 in all of them.
    is_optical = any(sensor(name) == "Sentinel-2" for name in bands)
    if share is None or (share.max() < 1 and is_optical and _VISIBLE.isdisjoint(bands)):
        return
    names = ", ".join(bands)
    raise PixelValueError(
        f"{share.max():.0%} of the pixels are 0 in {names}, which is no data; no more than "
        f"{LARGEST_BAD_SHARE:.0%} are taken. Choose a product that covers the whole patch, or "
        "leave the patch out."
    )


def _refuse_wrapped(bands: Mapping[str, NDArray[Any]], largest: Mapping[str, NDArray[Any]]) -> None:
    """Refuse bands with too many pixels of a number that stands for something else."""
    for name, values in bands.items():
        if sensor(name) == "Sentinel-1" or not (largest[name] >= min(WRAPPED)).any():
            continue
        for number, meaning in WRAPPED.items():
            share = float(np.mean(values == number, (1, 2)).max())
            if share > LARGEST_BAD_SHARE:
                raise PixelValueError(
                    f"{share:.0%} of band {name} are {number}, {meaning}; no more than "
                    f"{LARGEST_BAD_SHARE:.0%} are taken. Leave the patch out."
                )


def may_be_odd(bands: Mapping[str, NDArray[Any]]) -> bool:
    """Tell quickly whether `check_values` may find anything in the bands of one sensor of a patch.

    Their values may be of any shape, and are in the dtype of the data set.
    """
    highest = []
    for name, values in bands.items():
        highest.append(float(values.max()))
        low, high = RANGES[sensor(name)]
        if sensor(name) == "Sentinel-1" and not (low <= values.min() < 0 and highest[-1] <= high):
            return True
    first = next(iter(bands.values())).reshape(-1)[::_EVERY]
    num_blank = len(first) - np.count_nonzero(first)
    if num_blank > LARGEST_BAD_SHARE / 2 * len(first):
        return True
    top = max(highest)
    return dict.fromkeys(map(sensor, bands)) == {"Sentinel-2": None} and not (
        _LARGEST_REFLECTANCE < top < min(WRAPPED)
    )


def count_odd_bands(bands: Mapping[str, NDArray[Any]]) -> Counter[str]:
    """Return what is odd about bands [B, h, w], though possible -> of how many patches."""
    odd: Counter[str] = Counter()
    constant: dict[str, NDArray[np.bool_]] = {}
    if "VH" in bands:
        odd[
            f"VH is above {_STRONGEST_VH:g} dB on average, which no land or sea is: are these dB?"
        ] += int((bands["VH"].mean((1, 2)) > _STRONGEST_VH).sum())
    for name, values in bands.items():
        constant[name] = values[:, 0, 0] == values[:, -1, -1]
        for row in np.flatnonzero(constant[name]):
            constant[name][row] = (values[row] == values[row, 0, 0]).all()
        odd[f"all pixels of {name} are the same"] += int(constant[name].sum())
        if values.dtype.kind == "f" and sensor(name) == "Sentinel-2":
            top = values.max((1, 2))
            small = np.flatnonzero((top > 0) & (top <= _LARGEST_PERCENTAGE))
            odd[f"{name} reaches no more than 100, with fractions, as a percentage does"] += sum(
                has_fractions(values[row]) for row in small
            )
    for one, other in combinations(bands, 2):
        if bands[one].shape == bands[other].shape:
            equal = (bands[one][:, 0] == bands[other][:, 0]).all(1) & ~constant[one]
            for row in np.flatnonzero(equal):
                equal[row] = np.array_equal(bands[one][row], bands[other][row])
            odd[f"{one} and {other} are the same in every pixel"] += int(equal.sum())
    return +odd
