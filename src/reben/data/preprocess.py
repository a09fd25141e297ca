"""Named bands to normalised images: the only place where raw values become model input.

Training, evaluation, prediction and export all go through here. Bands are taken by name, each at
its native size, and put in the order of a band set: upsampled, then ``(x - mean) / std``.

Axes: B patches, C channels, H rows (north to south), W columns (west to east).
"""

import warnings
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn
from torch.nn import functional

from reben.errors import (
    BandsError,
    BandsMismatchError,
    ConfigError,
    PatchShapeError,
    PixelValueError,
)
from reben.spec.bands import BandSet, native_size, require_band
from reben.spec.patches import PATCH_METRES
from reben.spec.statistics import Statistics

NamedBands = Mapping[str, ArrayLike | Tensor]
"""Band -> raw values, [h, w] or [B, h, w]."""
_LARGEST_REFLECTANCE = 10.0
_BOA_OFFSET = 1000
_DARK_BANDS = ("B02", "B03", "B04")


class SuspiciousInputWarning(UserWarning):
    """Input values that are possible but unlikely."""


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
            [self._resize(bands[name].to(device, torch.float32)[:, None]) for name in self.bands],
            dim=1,
        )
        return (x_BCHW - self.mean) / self.std

    def extra_repr(self) -> str:
        """Return bands, size and upsampling, for ``print(model)``."""
        return f"{self.bands}, {self.size} pixels, {self.statistics.upsampling}"

    def _resize(self, x_B1hw: Tensor) -> Tensor:
        if x_B1hw.shape[-1] == self.size:
            return x_B1hw
        mode = self.statistics.upsampling
        # The published statistics were measured with aligned corners: their means differ from the
        # native ones, which bilinear sampling without aligned corners would preserve.
        align = None if mode == "nearest" else True
        return functional.interpolate(
            x_B1hw, (self.size, self.size), mode=mode, align_corners=align
        )


def check_bands(bands: NamedBands, needed: BandSet) -> dict[str, Tensor]:
    """Return the needed bands as a batch of tensors, after all checks.

    Args:
        bands: Band -> raw values, array or tensor, [h, w] for one patch or [B, h, w] for
            several: digital numbers (Sentinel-2), dB (Sentinel-1). Keys in any order; other bands
            are left out.
        needed: The bands to return.

    Returns:
        Band -> tensor [B, h, w] in the order of ``needed``, with the dtype of the input.

    Example:
        >>> check_bands({"B04": np.full((120, 120), 0.1)}, BandSet(("B04",)))
        Traceback (most recent call last):
        reben.errors.PixelValueError: Sentinel-2 values reach 0.1 only: ...
    """
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
    tensors = {name: _as_batch(name, bands[name]) for name in needed}
    sizes = {name: len(tensor) for name, tensor in tensors.items()}
    dims = {np.ndim(bands[name]) for name in needed}
    if len(set(sizes.values())) > 1 or len(dims) > 1 or not min(sizes.values()):
        listed = ", ".join(f"{name} {tuple(np.shape(bands[name]))}" for name in needed)
        raise PatchShapeError(
            f"All bands must have the same number of patches, at least one: got {listed}."
        )
    _check_sentinel2({name: tensors[name] for name in needed.of_sensor("Sentinel-2")})
    _check_sentinel1({name: tensors[name] for name in needed.of_sensor("Sentinel-1")})
    return tensors


class Suspicious(NamedTuple):
    """How many patches, or windows of a scene, hold values that are possible but unlikely."""

    num_patches: int = 0
    """How many were looked at."""
    num_bright: int = 0
    """Of those, how many have no dark pixel in B02, B03, B04."""
    num_swapped: int = 0
    """Of those, how many have a weaker VV than VH."""

    def __add__(self, other: object) -> "Suspicious":
        """Return the counts of both together."""
        if not isinstance(other, Suspicious):
            return NotImplemented
        return Suspicious(*(one + another for one, another in zip(self, other, strict=True)))

    def warn(
        self,
        stacklevel: int = 2,
        *,
        unit: str = "patches",
        cure: str = "subtract 1000 from its digital numbers",
        share: float = 0.0,
    ) -> bool:
        """Warn of each kind of unlikely values.

        Args:
            stacklevel: Whose line the warning shows, counted from the caller.
            unit: What was counted, in the plural.
            cure: What to do about a BOA offset that was not applied.
            share: Warn only of what more than this share of them has, 0 to 1.

        Returns:
            Whether there was anything to warn of.

        Warns:
            SuspiciousInputWarning: For each kind.
        """
        texts = {
            f"{self.num_bright} of {self.num_patches} {unit} have no pixel below {_BOA_OFFSET} in "
            "B02, B03, B04. Either they are all cloud or snow, or the BOA offset of a Sentinel-2 "
            "product of processing baseline 04.00 or later was not applied: "
            f"{cure}.": self.num_bright,
            f"In {self.num_swapped} of {self.num_patches} {unit} VV is weaker than VH on average, "
            "which hardly ever occurs in nature. Are the two swapped?": self.num_swapped,
        }
        raised = [text for text, count in texts.items() if count > share * self.num_patches]
        for text in raised:
            warnings.warn(text, SuspiciousInputWarning, stacklevel=stacklevel + 1)
        return bool(raised)


def count_suspicious(bands: Mapping[str, Tensor]) -> Suspicious:
    """Return how many patches hold values that are possible but unlikely.

    Two mistakes leave no trace in shape, dtype or unit. A Sentinel-2 product of processing
    baseline 04.00 or later has digital numbers that are 1000 too high until its BOA offset is
    applied: then hardly any pixel is below 1000, while vegetation, water and shadow are far
    below in B02, B03 and B04. VV and VH swapped: VV is stronger than VH over any land or sea.

    Args:
        bands: Band -> tensor [B, h, w], as `check_bands` returns it.

    Source: means for B02, B03, B04 (438, 614, 588) and VV, VH (-12.6, -19.4 dB) in
    band_statistics.json; BOA_ADD_OFFSET in the Sentinel-2 product format, baseline 04.00.
    """
    num_bright = num_swapped = 0
    dark = [bands[name].flatten(1).float().amin(1) for name in _DARK_BANDS if name in bands]
    if dark:
        num_bright = int((torch.stack(dark).amin(0) >= _BOA_OFFSET).sum())
    if "VV" in bands and "VH" in bands:
        weaker = bands["VV"].flatten(1).mean(1) < bands["VH"].flatten(1).mean(1)
        num_swapped = int(weaker.sum())
    return Suspicious(len(next(iter(bands.values()))), num_bright, num_swapped)


def warn_of_suspicious(bands: Mapping[str, Tensor]) -> None:
    """Warn of values that are possible but unlikely; see `count_suspicious`.

    Args:
        bands: Band -> tensor [B, h, w], as `check_bands` returns it.
    """
    count_suspicious(bands).warn(stacklevel=4)


def _as_batch(name: str, values: ArrayLike | Tensor) -> Tensor:
    try:
        tensor = values if isinstance(values, Tensor) else torch.from_numpy(_writable(values))
    except (TypeError, ValueError) as error:
        raise PixelValueError(f"Band {name} is not an array of numbers: {error}.") from None
    side = native_size(name)
    if tensor.ndim not in (2, 3) or tuple(tensor.shape[-2:]) != (side, side):
        raise PatchShapeError(
            f"Band {name} has shape {tuple(tensor.shape)}; it must be ({side}, {side}), or "
            f"(patches, {side}, {side}): {PATCH_METRES} m at its native "
            f"{PATCH_METRES // side} m per pixel. Cut or resample it to that size. Do not upsample "
            "20 m and 60 m bands; the model does."
        )
    return tensor[None] if tensor.ndim == 2 else tensor


def _writable(values: ArrayLike) -> np.ndarray:
    array = np.asarray(values)
    if array.dtype.byteorder not in "=|":
        array = array.astype(array.dtype.newbyteorder("="))
    # torch warns about read-only arrays, though nothing here writes.
    return array if array.flags.writeable and array.flags.c_contiguous else array.copy()


def _check_sentinel2(tensors: Mapping[str, Tensor]) -> None:
    for name, tensor in tensors.items():
        if tensor.dtype in (torch.bool, torch.uint8, torch.int8) or tensor.is_complex():
            raise PixelValueError(
                f"Band {name} has dtype {tensor.dtype}, which cannot hold digital numbers "
                "(reflectance x 10000). Pass the original values, not a picture or a mask."
            )
        _check_finite(name, tensor)
    floats = [tensor for tensor in tensors.values() if tensor.is_floating_point()]
    if floats and len(floats) == len(tensors):
        largest = torch.stack([tensor.flatten(1).amax(1).float() for tensor in floats]).amax(0)
        small = (largest > 0) & (largest <= _LARGEST_REFLECTANCE)
        if bool(small.any()):
            raise PixelValueError(
                f"Sentinel-2 values reach {float(largest[small].max()):.4g} only: they look like "
                "reflectances of 0..1. The model needs digital numbers: multiply by 10000."
            )


def _check_sentinel1(tensors: Mapping[str, Tensor]) -> None:
    for name, tensor in tensors.items():
        if not tensor.is_floating_point():
            raise PixelValueError(
                f"Band {name} has dtype {tensor.dtype}; Sentinel-1 backscatter in dB has "
                "fractions. Pass float32 values in dB, not rounded or digital numbers."
            )
        _check_finite(name, tensor)
        smallest = tensor.flatten(1).amin(1)
        linear = (smallest >= 0) & (tensor.flatten(1).amax(1) > 0)
        if bool(linear.any()):
            raise PixelValueError(
                f"Band {name} has no negative value: it looks like linear power or amplitude. "
                "The model needs dB: 10 * log10(power), or 20 * log10(amplitude)."
            )


def _check_finite(name: str, tensor: Tensor) -> None:
    if tensor.is_floating_point():
        bad = int((~torch.isfinite(tensor)).sum())
        if bad:
            raise PixelValueError(
                f"Band {name} has {bad} values that are NaN or infinite, of {tensor.numel()}. "
                "Fill pixels without data, or leave the patch out."
            )
