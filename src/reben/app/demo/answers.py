"""What a model says about one patch, and how much of it depends on which bands."""

import threading
import warnings
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from reben.data.preprocess import check_bands
from reben.data.values import SuspiciousInputWarning
from reben.errors import RebenError
from reben.spec.bands import BandSet, native_size, sensor

if TYPE_CHECKING:
    from reben.model.classifier import Classifier

GROUPS: Mapping[str, tuple[str, ...]] = {
    "Sentinel-1": ("VV", "VH"),
    "Visible": ("B01", "B02", "B03", "B04"),
    "Red edge": ("B05", "B06", "B07"),
    "Near infrared": ("B08", "B8A", "B09"),
    "Short-wave infrared": ("B11", "B12"),
}
"""Bands that belong together and can be switched off together."""

_ONE_AT_A_TIME = threading.Lock()
"""Warnings are caught for the whole process, so patches are predicted one after the other."""

Bands = Mapping[str, NDArray[Any]]


class LabelScore(NamedTuple):
    """One label of a result."""

    label: str
    score: float
    full: float
    """The score with every band."""
    threshold: float

    @property
    def is_above(self) -> bool:
        """Whether the model says that the patch has the label."""
        return self.score > self.threshold


@dataclass(frozen=True, eq=False)
class PatchResult:
    """Scores of one patch, or of one cell of a scene.

    Args:
        labels: Names of the labels.
        thresholds: For each label, the score above which it counts as present.
        full: The scores with every band, in the order of ``labels``.
        scores: The scores without the groups that are switched off; ``full`` if none is.
        switched_off: Groups that are switched off.
        moves: Group -> the label whose score changes most when only this group is switched off,
            and the change.
        warnings: What looks odd about the values.
    """

    labels: tuple[str, ...]
    thresholds: tuple[float, ...]
    full: tuple[float, ...]
    scores: tuple[float, ...]
    switched_off: tuple[str, ...] = ()
    moves: Mapping[str, tuple[str, float]] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @property
    def rows(self) -> list[LabelScore]:
        """The labels, the highest score with every band first."""
        every = map(LabelScore, self.labels, self.scores, self.full, self.thresholds)
        return sorted(every, key=lambda row: -row.full)

    @property
    def above(self) -> list[str]:
        """The labels above their threshold."""
        return [row.label for row in self.rows if row.is_above]

    @property
    def crossed(self) -> list[str]:
        """The labels that switching off moved across their threshold, either way."""
        return [row.label for row in self.rows if (row.full > row.threshold) != row.is_above]


def groups_of(bands: BandSet) -> dict[str, tuple[str, ...]]:
    """Return the groups that a model with ``bands`` uses, with the bands that it uses of each."""
    taken = {name: tuple(b for b in bands if b in members) for name, members in GROUPS.items()}
    return {name: members for name, members in taken.items() if members}


def score_patch(model: "Classifier", bands: Bands, off: Collection[str] = ()) -> PatchResult:
    """Return what ``model`` says about a patch.

    A band is switched off by setting all its pixels to its mean over the training patches, which
    is 0 after normalisation: the model learns nothing from it. Models are not trained on such
    input, so this shows what a model looks at, not how good it would be without these bands.

    Args:
        model: The model.
        bands: Band -> [h, w], raw values.
        off: Groups to switch off.
    """
    groups = groups_of(model.bands)
    off = [name for name in groups if name in off]
    sets_off = [*groups.values(), tuple(band for name in off for band in groups[name])]
    with _ONE_AT_A_TIME, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", SuspiciousInputWarning)
        full = model.predict(bands).values
        odd = [str(w.message) for w in caught if issubclass(w.category, SuspiciousInputWarning)]
        means = model.config.statistics.mean
        bands = {
            name: tensor[0].numpy() for name, tensor in check_bands(bands, model.bands).items()
        }
        stacked = {
            name: np.stack(
                [
                    np.full_like(bands[name], means[name], np.float32)
                    if name in without
                    else np.asarray(bands[name], np.float32)
                    for without in sets_off
                ]
            )
            for name in model.bands
        }
        *alone, together = model.predict(stacked).values
    moves = {}
    for name, scores in zip(groups, alone, strict=True):
        k = int(np.argmax(np.abs(scores - full)))
        moves[name] = model.labels[k], float(scores[k] - full[k])
    return PatchResult(
        labels=model.labels,
        thresholds=model.config.thresholds,
        full=tuple(map(float, full)),
        scores=tuple(map(float, together if off else full)),
        switched_off=tuple(off),
        moves=moves,
        warnings=tuple(odd),
    )


class BandRow(NamedTuple):
    """One band: what the model expects, and what it got."""

    position: int | None
    """Its channel, counted from 0, or None if the model does not use it."""
    name: str
    sensor: str
    expected: int
    """Its side length in pixels."""
    got: str | None
    """The size that came, for example ``60 x 60``, or None if the band is missing."""
    dtype: str | None
    values: tuple[float, float, float] | None
    """Lowest value, median and highest value of those that are numbers."""
    problem: str | None

    @property
    def status(self) -> str:
        """``OK``, ``not used``, or what is wrong."""
        return self.problem or ("not used" if self.position is None else "OK")


def compare_bands(needed: BandSet, bands: Bands) -> list[BandRow]:
    """Return what the model expects beside what it got: its channels first, then other bands."""
    names = [*needed, *(name for name in bands if name not in needed)]
    return [_compare_band(name, needed, bands.get(name)) for name in names]


def _compare_band(name: str, needed: BandSet, pixels: NDArray[Any] | None) -> BandRow:
    position = needed.index(name) if name in needed else None
    expected = native_size(name)
    if pixels is None:
        return BandRow(position, name, sensor(name), expected, None, None, None, "missing")
    finite = pixels[np.isfinite(pixels)]
    values = None
    if finite.size:
        values = float(finite.min()), float(np.median(finite)), float(finite.max())
    problem = None
    if position is not None:
        try:
            check_bands({name: pixels}, BandSet((name,)))
        except RebenError as error:
            problem = str(error)
    got = " x ".join(map(str, pixels.shape))
    return BandRow(position, name, sensor(name), expected, got, str(pixels.dtype), values, problem)
