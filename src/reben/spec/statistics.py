"""Mean and standard deviation of every band, for each published size and upsampling mode.

Sentinel-2 figures are in digital numbers (surface reflectance x 10000, without the BOA offset of
processing baseline 04.00 and later), Sentinel-1 figures in dB. The figures are the ones in
``band_statistics.json`` beside this file.

Source: ConfigILM 0.7.1 (package configilm, MIT licence, module extra/BENv2_utils): over the
official train split of BigEarthNet v2.0, Sentinel-1 figures from v1.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Literal, SupportsFloat, cast, get_args

from reben.errors import ConfigError
from reben.spec.bands import BandSet, require_band

Upsampling = Literal["nearest", "bilinear", "bicubic"]
UPSAMPLING: tuple[Upsampling, ...] = get_args(Upsampling)
"""How bands of 20 m and 60 m are upsampled to the size of those of 10 m."""

SOURCE = (
    "ConfigILM 0.7.1, extra/BENv2_utils: official BigEarthNet v2.0 train split (Sentinel-1 from v1)"
)
"""Where the published figures come from."""

LARGEST, SMALLEST_STD = 1e6, 1e-6
"""Bounds of means and deviations: what float32 can divide by and still tell pixels apart."""
LARGEST_SIDE = 2048
"""Of an image in pixels; a patch has 120."""


@dataclass(frozen=True)
class Statistics:
    """Mean and standard deviation per band, with where they come from.

    Args:
        mean: Band -> mean, in digital numbers (Sentinel-2) or dB (Sentinel-1).
        std: Band -> standard deviation, in the same units, above zero.
        size: Side length in pixels that the bands were upsampled to first.
        upsampling: The upsampling mode.
        source: Who measured them, and on which data.

    Raises:
        UnknownBandError: If a name is not a band of a patch.
        ConfigError: If the two are not for the same bands, or a figure is impossible.
    """

    mean: Mapping[str, float]
    std: Mapping[str, float]
    size: int
    upsampling: Upsampling
    source: str = field(compare=False)

    def __post_init__(self) -> None:
        """Refuse impossible figures."""
        if set(self.mean) != set(self.std):
            raise ConfigError(
                f"Means are for {', '.join(self.mean)}, standard deviations for "
                f"{', '.join(self.std)}; give both for the same bands."
            )
        for name in self.mean:
            require_band(name)
            mean, std = self.mean[name], self.std[name]
            if not (_is_within(mean, -LARGEST) and _is_within(std, SMALLEST_STD)):
                raise ConfigError(
                    f"Band {name} has mean {mean!r} and deviation {std!r}: the mean must lie "
                    f"within {LARGEST:,.0f} of 0, and the deviation between {SMALLEST_STD:f} and "
                    f"{LARGEST:,.0f}. Pass figures in digital numbers or dB."
                )
        if type(self.size) is not int or not 1 <= self.size <= LARGEST_SIDE:
            raise ConfigError(
                f"Images must have 1 to {LARGEST_SIDE} pixels a side, not {self.size!r}; a patch "
                "has 120."
            )
        if self.upsampling not in UPSAMPLING:
            raise ConfigError(f"No upsampling {self.upsampling!r}. Known: {', '.join(UPSAMPLING)}.")
        for figures in ("mean", "std"):
            plain = {name: float(value) for name, value in getattr(self, figures).items()}
            object.__setattr__(self, figures, MappingProxyType(plain))

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle as plain values (read-only mappings do not pickle)."""
        plain = dict(self.mean), dict(self.std), self.size, self.upsampling, self.source
        return Statistics, plain

    def select(self, bands: BandSet) -> "Statistics":
        """Return the figures of ``bands``.

        Raises:
            ConfigError: If a band has none.
        """
        missing = bands.missing_from(self.mean)
        if missing:
            raise ConfigError(
                f"No statistics for {', '.join(missing)}; they cover {', '.join(self.mean)}."
            )
        mean, std = ({name: figures[name] for name in bands} for figures in (self.mean, self.std))
        return replace(self, mean=mean, std=std)


def _is_within(value: object, least: float) -> bool:
    """Tell whether a figure is a number, of Python or numpy, from ``least`` to `LARGEST`."""
    is_number = hasattr(value, "__float__") and not isinstance(value, bool)
    is_number = is_number and not getattr(value, "shape", ())
    return is_number and least <= float(cast("SupportsFloat", value)) <= LARGEST


@cache
def _published() -> dict[str, dict[str, dict[str, float]]]:
    text = (files("reben.spec") / "band_statistics.json").read_text(encoding="utf-8")
    return cast("dict[str, dict[str, dict[str, float]]]", json.loads(text))


def published_sizes() -> tuple[int, ...]:
    """Return the image sizes in pixels for which statistics were published."""
    keys = (key.split("_")[0] for key in _published()["mean"])
    return tuple(sorted({int(size) for size in keys if size.isdigit()}))


def published_statistics(size: int = 120, upsampling: Upsampling = "nearest") -> Statistics:
    """Return the published figures of all 14 bands.

    Args:
        size: Side length in pixels that the bands are upsampled to: 60, 120 or 128.
        upsampling: ``nearest`` (as the published weights), ``bilinear`` or ``bicubic``.

    Raises:
        ConfigError: If none were published for size and upsampling.

    Example:
        >>> round(published_statistics().mean["B02"])
        438
        >>> published_statistics(96)
        Traceback (most recent call last):
        reben.errors.ConfigError: No published statistics for 96 pixels with nearest ...
    """
    key = f"{size}_{upsampling}"
    published = _published()
    if key not in published["mean"]:
        sizes = ", ".join(map(str, published_sizes()))
        raise ConfigError(
            f"No published statistics for {size} pixels with {upsampling} upsampling. "
            f"Published: {sizes} pixels, each with {', '.join(UPSAMPLING)}."
        )
    return Statistics(published["mean"][key], published["std"][key], size, upsampling, SOURCE)
