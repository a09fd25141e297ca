"""Named bands to normalised images: the only place where raw values become model input.

Training, evaluation, prediction and export all go through here. Bands are taken by name, each at
its native size, and put in the order of a band set: upsampled, then ``(x - mean) / std``.

Axes: B patches, C channels, H rows (north to south), W columns (west to east).
"""

import warnings
from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn
from torch.nn import functional

from reben.data.values import (
    AXES,
    LARGEST_BAD_SHARE,
    SuspiciousInputWarning,
    check_values,
    count_odd_bands,
    declared_nodata,
    mask_declared,
    require_plain,
)
from reben.errors import (
    BandsError,
    BandsMismatchError,
    ConfigError,
    PatchShapeError,
    PixelValueError,
    RebenError,
    first_line,
)
from reben.spec.bands import BandSet, native_size, require_band
from reben.spec.patches import PATCH_METRES, PATCH_PIXELS
from reben.spec.statistics import Statistics, Upsampling

NamedBands = Mapping[str, ArrayLike | Tensor]
"""Band -> raw values, [h, w] or [B, h, w]."""
_BOA_OFFSET = 1000
_SCALE = (("scale_factor", 1.0), ("add_offset", 0.0))
_DARK_BANDS = ("B02", "B03", "B04")
_FILLED = (
    "{} has pixels without data, no more than "
    f"{LARGEST_BAD_SHARE:.0%} of it, which were filled with the median of the others"
)


class Preprocess(nn.Module):
    """Named bands at native size -> normalised images.

    Args:
        bands: The bands and their order: channel ``i`` is band ``i``.
        statistics: Mean and standard deviation of each, and the upsampling mode.
        size: Side length of the images in pixels.

    Raises:
        ConfigError: If a band has no statistics.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, bands: BandSet, statistics: Statistics, size: int = 120) -> None:
        super().__init__()
        if size < 1:
            raise ConfigError(f"size must be at least 1 pixel, not {size}.")
        self.bands = bands
        self.statistics = statistics.select(bands)
        self.size = size
        mean = torch.tensor([self.statistics.mean[name] for name in bands], dtype=torch.float32)
        std = torch.tensor([self.statistics.std[name] for name in bands], dtype=torch.float32)
        self.register_buffer("mean", mean[:, None, None], persistent=False)
        self.register_buffer("std", std[:, None, None], persistent=False)

    def forward(self, bands: Mapping[str, Tensor]) -> Tensor:
        """Return normalised images.

        Args:
            bands: Band -> raw values [B, h, w] at native size: digital numbers of any integer or
                float dtype (Sentinel-2), dB (Sentinel-1). Other bands are ignored. Values are not
                checked; `check_bands` does that.

        Returns:
            float32 [B, C, size, size], about zero mean and unit deviation.
        """
        device = self.mean.device
        x_BCHW = torch.cat(
            [
                resize(bands[name].to(device, torch.float32), self.size, self.statistics.upsampling)
                for name in self.bands
            ],
            dim=1,
        )
        return (x_BCHW - self.mean) / self.std

    def extra_repr(self) -> str:
        """Return bands, size and upsampling, for ``print(model)``."""
        return f"{self.bands}, {self.size} pixels, {self.statistics.upsampling}"


def resize(x_Bhw: Tensor, size: int, upsampling: Upsampling) -> Tensor:
    """Return a band as images, [B, 1, size, size], in the dtype of its floats."""
    x_B1hw = x_Bhw[:, None]
    if x_B1hw.shape[-1] == size:
        return x_B1hw
    # The published statistics were measured with aligned corners: their means differ from the
    # native ones, which bilinear sampling without aligned corners would preserve.
    align = None if upsampling == "nearest" else True
    return functional.interpolate(x_B1hw, (size, size), mode=upsampling, align_corners=align)


def check_bands(bands: NamedBands, needed: BandSet, size: int = PATCH_PIXELS) -> dict[str, Tensor]:
    """Return the needed bands, in their order, as tensors [B, h, w], after all checks.

    Args:
        bands: Band -> raw values, array or tensor, [h, w] for one patch or [B, h, w] for
            several: digital numbers (Sentinel-2), dB (Sentinel-1). Keys in any order; other bands
            are left out. Pixels that a masked array masks, or the attributes of an array of xarray
            declare to be no data, are bad; so are those that are not finite or out of range. Where
            they are 5 % of a band at most, they get the median of the others.
        needed: The bands to return, which keep their dtype.
        size: Side length in pixels of 10 m that patches may have beside the usual 120.

    Example:
        >>> check_bands({"B04": np.full((120, 120), 0.1)}, BandSet(("B04",)))
        Traceback (most recent call last):
        reben.errors.PixelValueError: Values of Sentinel-2 reach 0.1 only: ...
    """
    return examine_bands(bands, needed, size)[0]


def examine_bands(
    bands: NamedBands, needed: BandSet, size: int = PATCH_PIXELS
) -> tuple[dict[str, Tensor], "Suspicious"]:
    """Return what `check_bands` does, and how many patches look wrong all the same."""
    if not isinstance(bands, Mapping):
        raise BandsError(
            f"Bands are passed by name, not by position: got {type(bands).__name__}. Pass a "
            f"mapping such as {{{needed.names[0]!r}: array, ...}} with {', '.join(needed)}."
        )
    for name in bands:
        require_band(name)
    missing = needed.missing_from(bands)
    if missing:
        raise BandsMismatchError(
            f"The model needs {', '.join(missing)}; the patch has "
            f"{', '.join(bands) or 'no band'}. Pass the missing bands, or choose a model for these."
        )
    arrays = {name: _as_batch(name, bands[name], size) for name in needed}
    if any(arrays[name].shape[-2:] != (native_size(name, size),) * 2 for name in needed):
        for name in needed:
            _require_native(name, np.shape(bands[name]), size)
    sizes = {name: len(array) for name, array in arrays.items()}
    dims = {np.ndim(bands[name]) for name in needed}
    if len(set(sizes.values())) > 1 or len(dims) > 1 or not min(sizes.values()):
        listed = ", ".join(f"{name} {tuple(np.shape(bands[name]))}" for name in needed)
        raise PatchShapeError(
            f"All bands must have the same number of patches, at least one: got {listed}."
        )
    filled, num_filled = check_values(arrays)
    tensors = {name: _as_tensor(bands[name], filled[name], num_filled[name]) for name in needed}
    notes = Counter({_FILLED.format(name): count for name, count in num_filled.items()})
    return tensors, _count(tensors, filled, notes)


class Suspicious(NamedTuple):
    """How many patches, or windows of a scene, hold values that are possible but unlikely."""

    num_patches: int = 0
    """How many were looked at."""
    num_bright: int = 0
    """Of those, how many have no dark pixel in B02, B03, B04."""
    num_swapped: int = 0
    """Of those, how many have a weaker VV than VH."""
    notes: Mapping[str, int] = Counter()
    """What else is odd -> of how many. It reads on from "in 3 of 5 patches"."""

    def __add__(self, other: object) -> "Suspicious":
        """Return the counts of both together."""
        if not isinstance(other, Suspicious):
            return NotImplemented
        return Suspicious(
            self.num_patches + other.num_patches,
            self.num_bright + other.num_bright,
            self.num_swapped + other.num_swapped,
            Counter(self.notes) + Counter(other.notes),
        )

    def warn(
        self,
        stacklevel: int = 2,
        *,
        unit: str = "patches",
        cure: str = "subtract 1000 from its digital numbers",
        share: float = 0.0,
    ) -> bool:
        """Warn of each kind of unlikely values; return whether there was one.

        Args:
            stacklevel: Whose line the warning shows, counted from the caller.
            unit: What was counted, in the plural.
            cure: What to do about a BOA offset that was not applied.
            share: Warn only of what more than this share of them has, 0 to 1.
        """
        texts = {
            f"{self.num_bright} of {self.num_patches} {unit} have no pixel below {_BOA_OFFSET} in "
            "B02, B03, B04. Either they are all cloud or snow, or the BOA offset of a Sentinel-2 "
            "product of processing baseline 04.00 or later was not applied: "
            f"{cure}.": self.num_bright,
            f"In {self.num_swapped} of {self.num_patches} {unit} VV is weaker than VH on average, "
            "which hardly ever occurs in nature. Are the two swapped?": self.num_swapped,
        }
        texts |= {
            f"In {count} of {self.num_patches} {unit} {note}.": count
            for note, count in self.notes.items()
        }
        raised = [text for text, count in texts.items() if count > share * self.num_patches]
        for text in raised:
            warnings.warn(text, SuspiciousInputWarning, stacklevel=stacklevel + 1)
        return bool(raised)


def count_suspicious(bands: Mapping[str, Tensor]) -> Suspicious:
    """Return how many patches, from `check_bands`, hold values that are possible but unlikely.

    Two mistakes leave no trace in shape, dtype or unit. A Sentinel-2 product of processing
    baseline 04.00 or later has digital numbers that are 1000 too high until its BOA offset is
    applied: then hardly any pixel is below 1000, while vegetation, water and shadow are far
    below in B02, B03 and B04. VV and VH swapped: VV is stronger than VH over any land or sea.

    Source: means for B02, B03, B04 (438, 614, 588) and VV, VH (-12.6, -19.4 dB) in
    band_statistics.json; BOA_ADD_OFFSET in the Sentinel-2 product format, baseline 04.00.
    """
    return _count(bands, {name: _to_array(tensor) for name, tensor in bands.items()}, Counter())


def _count(
    tensors: Mapping[str, Tensor], arrays: Mapping[str, NDArray[Any]], notes: Counter[str]
) -> Suspicious:
    num_bright = num_swapped = 0
    dark = [tensors[name].flatten(1).float().amin(1) for name in _DARK_BANDS if name in tensors]
    if dark:
        num_bright = int((torch.stack(dark).amin(0) >= _BOA_OFFSET).sum())
    if "VV" in tensors and "VH" in tensors:
        weaker = tensors["VV"].flatten(1).mean(1) < tensors["VH"].flatten(1).mean(1)
        num_swapped = int(weaker.sum())
    num_patches = len(next(iter(tensors.values())))
    return Suspicious(num_patches, num_bright, num_swapped, notes + count_odd_bands(arrays))


def _as_batch(name: str, values: ArrayLike | Tensor, size: int) -> NDArray[Any]:
    """Return the values of a band as an array [B, h, w], masked if they are."""
    try:
        array = _as_stated(name, values)
    except RebenError:
        raise
    except (TypeError, ValueError, RuntimeError) as error:  # the last one is torch's
        raise PixelValueError(
            f"Band {name} is not an array of numbers: {first_line(error)}."
        ) from None
    if array.ndim not in (2, 3):
        _require_native(name, array.shape, size)
    return array[None] if array.ndim == 2 else array


def _require_native(name: str, shape: tuple[int, ...], size: int) -> None:
    """Raise a PatchShapeError unless a band has its shape of a patch of 1200 m."""
    side, other = native_size(name), native_size(name, size)
    if len(shape) in (2, 3) and shape[-2:] == (side, side):
        return
    also = "" if size == PATCH_PIXELS else f"; or {other} x {other}, as all bands of {size * 10} m"
    raise PatchShapeError(
        f"Band {name} has shape {shape}; it must be ({side}, {side}), or "
        f"(patches, {side}, {side}): {PATCH_METRES} m at its native "
        f"{PATCH_METRES // side} m per pixel{also}. Cut or resample it to that size. Do not "
        "upsample 20 m and 60 m bands; the model does."
    )


def _as_stated(name: str, values: ArrayLike | Tensor) -> NDArray[Any]:
    """Return the values of a band, masked where an array of xarray says that there is no data."""
    if isinstance(values, list | tuple) and any(hasattr(one, "attrs") for one in values):
        return _to_array([_as_stated(name, one) for one in values])
    attributes = getattr(values, "attrs", None)
    if not isinstance(attributes, Mapping):
        return _to_array(values)
    if tuple(getattr(values, "dims", ()))[:-3:-1] in AXES:
        raise PatchShapeError(
            f"Band {name} has dimensions {', '.join(map(str, values.dims))}: its columns come "  # type: ignore[union-attr]
            "before its rows. Pass it with rows first: array.T"
        )
    what = f"Band {name}"
    scale, offset = (attributes.get(key, usual) for key, usual in _SCALE)
    require_plain(what, float(scale), float(offset))
    return mask_declared(name, _to_array(values), declared_nodata(attributes, what))


def _to_array(values: ArrayLike | Tensor) -> NDArray[Any]:
    if isinstance(values, Tensor):
        values = values.detach().cpu()
        # numpy has no bfloat16; every value of these is one of float32.
        is_half = values.dtype in (torch.bfloat16, torch.float16)
        return np.asarray((values.float() if is_half else values).numpy())
    if isinstance(values, list | tuple) and any(map(np.ma.isMaskedArray, values)):
        return np.ma.stack([np.ma.asarray(one) for one in values])
    array = values if isinstance(values, np.ma.MaskedArray) else np.asarray(values)
    usual = {"e": np.float32, "g": np.float64}.get(array.dtype.char)  # half, and what torch lacks
    return array if usual is None else array.astype(usual)


def _as_tensor(given: ArrayLike | Tensor, array: NDArray[Any], num_filled: int) -> Tensor:
    if isinstance(given, Tensor) and not num_filled:
        return given[None] if given.ndim == 2 else given
    if array.dtype.byteorder not in "=|":
        array = array.astype(array.dtype.newbyteorder("="))
    # torch warns about read-only arrays, though nothing here writes.
    is_fit = array.flags.writeable and array.flags.c_contiguous
    return torch.from_numpy(array if is_fit else array.copy())
