"""Mean and standard deviation of the bands of a dataset, measured, written and read.

The file has the keys of a model's ``config.json``, so that one function reads the statistics of
both.

Axes: B patches, h rows and w columns of a band.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from reben.data.dataset import Dataset
from reben.data.preprocess import resize
from reben.data.values import LARGEST_BAD_SHARE, bad_pixels, fill_bad
from reben.errors import ConfigError, PixelValueError, RebenError
from reben.spec.bands import BandSet, native_size
from reben.spec.statistics import SMALLEST_STD, Statistics, Upsampling
from reben.support.atomic import write_text
from reben.support.json_files import Count, check_values, read_json

_AT_ONCE = 32
"""Patches in memory."""
_CURE = "Name a file that reben statistics wrote, or the config.json of a model."


@dataclass
class _Moments:
    """Number, mean and sum of squared deviations of values, of which more may come."""

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0

    def add(self, values: NDArray[Any], times: NDArray[np.float64] | None = None) -> None:
        """Take values of any shape, each as often as ``times`` says, or once.

        Source: Chan, Golub, LeVeque: Updating Formulae and a Pairwise Algorithm for Computing
        Sample Variances, 1979, equation 2.1.
        """
        values = values.astype(np.float64)
        count = int(values.size if times is None else times.sum())
        if not count:
            return
        mean = float(np.average(values, weights=times))
        squares = np.square(values - mean)
        change, total = mean - self.mean, self.count + count
        self.squares += float((squares if times is None else squares * times).sum())
        self.squares += change * change * self.count * count / total
        self.mean += change * count / total
        self.count = total

    @property
    def std(self) -> float:
        """The standard deviation of the values themselves (divided by their number)."""
        return float(np.sqrt(self.squares / self.count)) if self.count else 0.0


@dataclass(frozen=True)
class MeasuredStatistics:
    """What `measure_statistics` found.

    Args:
        statistics: At the size of the images.
        native: Band -> mean and deviation of its own pixels.
        num_patches: How many patches they are of.
        num_excluded: Band -> its pixels without data, which do not count.
        fingerprint: SHA-256 of the names and labels of the patches.
    """

    statistics: Statistics
    native: dict[str, tuple[float, float]]
    num_patches: int
    num_excluded: dict[str, int] = field(default_factory=dict)
    fingerprint: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the content of the file."""
        return {
            **statistics_to_dict(self.statistics),
            "native_mean": [self.native[name][0] for name in self.statistics.mean],
            "native_std": [self.native[name][1] for name in self.statistics.mean],
            "num_patches": self.num_patches,
            "num_excluded": self.num_excluded,
            "fingerprint": self.fingerprint,
        }


def measure_statistics(
    dataset: Dataset,
    *,
    size: int = 120,
    upsampling: Upsampling = "nearest",
    progress: Callable[[int, int], None] | None = None,
) -> MeasuredStatistics:
    """Return mean and standard deviation of each band of a dataset, exact and in one pass.

    Pixels that hold no measurement (see `reben.data.values.bad_pixels`) do not count. Where images
    are interpolated they are filled first, as they are for a model. The deviation is that of the
    pixels themselves, divided by their number.

    Args:
        dataset: The patches, for example ``open_dataset("store")["train"]``, and the bands.
        size: Side length in pixels that the bands are brought to first.
        upsampling: How.
        progress: Called as ``progress(done, total)``, in patches.

    Raises:
        MissingPatchError: If the store lacks a patch.
        PixelValueError: If a band of a patch has too many pixels without data to be used.
        ConfigError: If a band is the same everywhere, so that nothing can be divided by.
    """
    dataset.require_size(size)
    native = {name: _Moments() for name in dataset.bands}
    sides = {name: native_size(name, dataset.size) for name in dataset.bands}
    is_nearest = upsampling == "nearest"
    same = [
        name
        for name in dataset.bands  # where each pixel is repeated equally often, nothing changes
        if size == sides[name] or (is_nearest and size % sides[name] == 0)
    ]
    sized = {name: _Moments() for name in dataset.bands if name not in same}
    times = {name: _repeats(sides[name], size) for name in sized if is_nearest}
    for start in range(0, len(dataset), _AT_ONCE):
        rows = range(start, min(start + _AT_ONCE, len(dataset)))
        for name, pixels in dataset.read(rows).items():
            bad = bad_pixels(name, pixels)
            _require_few(dataset, rows, name, bad)
            good = pixels if bad is None else pixels[~bad]
            native[name].add(good)
            if name in times:
                every = np.broadcast_to(times[name], pixels.shape)
                sized[name].add(good, every if bad is None else every[~bad])
            elif name in sized:
                filled = pixels if bad is None else fill_bad(name, pixels, bad)
                images = resize(torch.from_numpy(filled.astype(np.float32)), size, upsampling)
                sized[name].add(images.numpy())
        if progress is not None:
            progress(rows.stop, len(dataset))
    found = {name: sized.get(name, one) for name, one in native.items()}
    _require_differing(found)
    split = ", ".join(dataset.splits) or "no"
    statistics = Statistics(
        {name: one.mean for name, one in found.items()},
        {name: one.std for name, one in found.items()},
        size,
        upsampling,
        f"measured by reben {version('reben')} on {len(dataset):,} patches of the {split} split of "
        f"{dataset.identity.name} (fingerprint {dataset.table.fingerprint()[:12]})",
    )
    num_pixels = {name: len(dataset) * sides[name] ** 2 for name in dataset.bands}
    return MeasuredStatistics(
        statistics,
        {name: (one.mean, one.std) for name, one in native.items()},
        len(dataset),
        {name: num_pixels[name] - one.count for name, one in native.items()},
        dataset.table.fingerprint(),
    )


def _require_differing(found: Mapping[str, _Moments]) -> None:
    """Raise for bands that are the same everywhere, which nothing can be divided by."""
    same = [name for name, one in found.items() if one.std < SMALLEST_STD]
    if same:
        others = ",".join(name for name in found if name not in same)
        cure = f"Leave {'it' if len(same) == 1 else 'them'} out: --bands {others}"
        raise ConfigError(
            f"{', '.join(f'{name} is {found[name].mean:g}' for name in same)} in every pixel of "
            "these patches, so images cannot be divided by a deviation. "
            f"{cure if others else 'No other band is left: look at the files that were encoded.'}"
        )


def _repeats(side: int, size: int) -> NDArray[np.float64]:
    """Return how often nearest upsampling takes each pixel of a band, [h, w]."""
    positions = torch.arange(side * side, dtype=torch.float32).view(1, side, side)
    taken = resize(positions, size, "nearest").numpy().astype(int).ravel()
    return np.bincount(taken, minlength=side * side).reshape(side, side).astype(np.float64)


def _require_few(dataset: Dataset, rows: range, name: str, bad: NDArray[np.bool_] | None) -> None:
    """Raise for the first patch that training would refuse."""
    for row, share in zip(rows, () if bad is None else bad.mean((1, 2)), strict=bad is not None):
        if share > LARGEST_BAD_SHARE:
            raise PixelValueError(
                f"{share:.0%} of the pixels of band {name} of {dataset.table.names[row]} hold "
                f"no data, more than the {LARGEST_BAD_SHARE:.0%} with which a patch is used. Leave "
                "the patch out of the metadata."
            )


def statistics_to_dict(statistics: Statistics) -> dict[str, Any]:
    """Return statistics under the keys that a model's ``config.json`` has."""
    return {
        "bands": list(statistics.mean),
        "band_mean": list(statistics.mean.values()),
        "band_std": list(statistics.std.values()),
        "image_size": statistics.size,
        "upsampling": statistics.upsampling,
        "statistics_source": statistics.source,
    }


def write_statistics(statistics: Statistics | MeasuredStatistics, path: Path) -> Path:
    """Write statistics as JSON and return the file."""
    values = (
        statistics_to_dict(statistics)
        if isinstance(statistics, Statistics)
        else statistics.to_dict()
    )
    write_text(path, json.dumps(values, indent=1, ensure_ascii=False) + "\n")
    return path


def read_statistics(path: str | Path) -> Statistics:
    """Return the statistics in a file of `write_statistics`, or in the config of a model.

    Raises:
        ConfigError: If there is no such file, or it holds none.
    """
    path = Path(path)
    values = read_json(path, dict[str, Any], ConfigError, _CURE)
    found = check_values(values, _File, str(path), ConfigError, _CURE)
    if not len(found.bands) == len(found.band_mean) == len(found.band_std):
        raise ConfigError(f"{path} has not one mean and deviation for each of its bands. {_CURE}")
    try:
        bands = BandSet(found.bands).names
        return Statistics(
            dict(zip(bands, found.band_mean, strict=True)),
            dict(zip(bands, found.band_std, strict=True)),
            found.image_size,
            found.upsampling,
            found.statistics_source,
        )
    except RebenError as error:
        raise type(error)(f"{path}: {error}") from None


@dataclass(frozen=True)
class _File:
    """The keys of a file of statistics."""

    bands: tuple[str, ...]
    band_mean: tuple[float, ...]
    band_std: tuple[float, ...]
    image_size: Count
    upsampling: Upsampling
    statistics_source: str
